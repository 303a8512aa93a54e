//! Plans and what became of them, as every changing verb shows them.

use kvm_core::op::{OpStatus, Plan, PlanLine};
use kvm_core::text::printable;
use kvm_core::{Result, VmId};
use serde::Serialize;

use crate::printer::{Outcome, Page, Printer};
use crate::session::{Done, Session};
use crate::text;

/// A plan that was only asked for.
#[derive(Debug, Serialize)]
pub(crate) struct PlanView {
    dry_run: bool,
    kind: &'static str,
    title: String,
    target: String,
    lines: Vec<PlanLine>,
    steps: Vec<String>,
    #[serde(skip)]
    text: String,
}

impl PlanView {
    /// What `--dry-run` prints.
    pub(crate) fn of(plan: &Plan) -> Self {
        Self {
            dry_run: true,
            kind: plan.kind,
            title: plan.title.clone(),
            target: plan.target.clone(),
            lines: plan.lines.clone(),
            steps: plan.steps.iter().map(|step| step.title()).collect(),
            text: plan.to_string(),
        }
    }
}

impl Outcome for PlanView {
    fn text(&self, page: &mut Page<'_>) {
        page.block(&self.text);
    }
}

/// The plan of a copy that was not carried out.
#[derive(Serialize)]
pub(crate) struct Rewritten {
    #[serde(flatten)]
    pub(crate) plan: PlanView,
    /// In what its document differs.
    pub(crate) changes: Vec<String>,
}

impl Outcome for Rewritten {
    fn text(&self, page: &mut Page<'_>) {
        self.plan.text(page);
        for change in &self.changes {
            page.line(format_args!("  {change}"));
        }
    }
}

/// Says in what a plan is less than, or different from, what was asked for, when it is carried out without being shown.
pub(crate) fn note_differences(plan: &Plan, printer: &mut Printer) {
    for line in &plan.lines {
        let what = match line.action.as_str() {
            "leave out" => " left out",
            "change" => "",
            _ => continue,
        };
        // Names may be those of a stranger's document.
        let (name, why) = (printable(&line.name), printable(line.note.as_deref().unwrap_or_default()));
        printer.note(&format!("{} {name}{what}: {why}", line.kind));
    }
}

/// An operation that changed one VM.
#[derive(Debug, Serialize)]
pub(crate) struct Changed {
    name: String,
    id: VmId,
    #[serde(flatten)]
    done: DoneForm,
    #[serde(skip)]
    verb: &'static str,
}

/// The operation's part of a result.
#[derive(Debug, Serialize)]
pub(crate) struct DoneForm {
    operation: String,
    status: OpStatus,
    took_seconds: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    recovered: Vec<Recovered>,
}

#[derive(Debug, Serialize)]
struct Recovered {
    operation: String,
    status: OpStatus,
}

impl DoneForm {
    pub(crate) fn of(done: &Done) -> Self {
        let recovered = done.outcome.recovered.iter();
        Self {
            operation: done.outcome.operation.to_string(),
            status: done.outcome.status,
            took_seconds: (done.took.as_secs_f64() * 1000.0).round() / 1000.0,
            recovered: recovered.map(|(id, status)| Recovered { operation: id.to_string(), status: *status }).collect(),
        }
    }

    /// How it ended.
    pub(crate) fn status_word(&self) -> &'static str {
        self.status.as_str()
    }

    /// Says what was done and how it can be looked at.
    pub(crate) fn text(&self, what: &str, page: &mut Page<'_>) {
        for other in &self.recovered {
            page.done(format_args!(
                "finished the interrupted operation {} first: {}",
                other.operation,
                other.status.as_str()
            ));
        }
        let took = text::duration(std::time::Duration::from_secs_f64(self.took_seconds));
        page.done(format_args!("{what} in {took}   (operation {0}, kvmctl op show {0})", self.operation));
    }
}

impl Changed {
    /// `verb` says what was done: `created`.
    pub(crate) fn new(name: String, id: VmId, verb: &'static str, done: &Done) -> Self {
        Self { name, id, done: DoneForm::of(done), verb }
    }
}

impl Outcome for Changed {
    fn text(&self, page: &mut Page<'_>) {
        self.done.text(&format!("{} {}", self.name, self.verb), page);
    }
}

/// Asks before something is destroyed: what is typed has to be `word`. `Cancelled` for anything else.
pub(crate) async fn confirm(session: &Session, printer: &mut Printer, question: &str, word: &str) -> Result<()> {
    if session.yes {
        return Ok(());
    }
    match printer.ask(question).await? == word {
        true => Ok(()),
        false => Err(kvm_core::Error::new(kvm_core::ErrorKind::Cancelled, "nothing was done")
            .with_detail("what was typed is something else")),
    }
}

/// Shows a plan and asks whether to go on, when something may be lost.
pub(crate) async fn agree(plan: &Plan, session: &Session, printer: &mut Printer) -> Result<()> {
    if session.yes {
        return Ok(());
    }
    printer.preview(&plan.to_string());
    match printer.ask("Go on? [y/N] ").await?.as_str() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(kvm_core::Error::new(kvm_core::ErrorKind::Cancelled, "nothing was done")),
    }
}
