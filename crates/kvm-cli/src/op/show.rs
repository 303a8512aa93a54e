//! `kvmctl op show`.

use kvm_core::Result;
use kvm_core::op::{ErrorRecord, OpId, OpStatus, OpView, PlanLine, StepState, Store as _};
use serde::Serialize;

use super::One;
use crate::printer::{Outcome, Page};
use crate::session::Session;

/// Arguments of `op show`.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  kvmctl op show 7f3a1b2c", after_long_help = "Library: kvm_core::op::Store::view")]
pub struct Args {
    #[command(flatten)]
    one: One,
}

#[derive(Debug, Serialize)]
pub(super) struct Shown {
    operation: String,
    kind: String,
    title: String,
    target: String,
    status: OpStatus,
    /// Whether it can only go forward.
    committed: bool,
    user: String,
    pid: u32,
    started: String,
    updated: String,
    error: Option<ErrorRecord>,
    lines: Vec<PlanLine>,
    steps: Vec<Step>,
}

#[derive(Debug, Serialize)]
struct Step {
    name: String,
    title: String,
    state: StepState,
}

impl From<OpView> for Shown {
    fn from(view: OpView) -> Self {
        let (committed, header) = (view.is_committed(), view.header);
        let steps = header.steps.into_iter().zip(view.steps);
        Self {
            operation: header.id.to_string(),
            kind: header.kind,
            title: header.title,
            target: header.target,
            status: view.status,
            committed,
            user: header.owner.user,
            pid: header.owner.pid,
            started: format!("{:.0}", view.started),
            updated: format!("{:.0}", view.updated),
            error: view.error,
            lines: header.lines,
            steps: steps.map(|(step, state)| Step { name: step.name, title: step.title, state }).collect(),
        }
    }
}

impl Args {
    pub(super) fn operation(self) -> OpId {
        self.one.operation
    }
}

pub(super) async fn run(operation: &OpId, session: &Session) -> Result<Shown> {
    session.store()?.view(operation).await.map(Shown::from)
}

impl Outcome for Shown {
    fn text(&self, page: &mut Page<'_>) {
        let mut fields = vec![
            ("operation", Some(self.operation.clone())),
            ("title", Some(self.title.clone())),
            ("kind", Some(self.kind.clone())),
            ("target", Some(self.target.clone())),
            ("status", Some(self.status.as_str().to_owned())),
            ("started", Some(format!("{} by {} (process {})", self.started, self.user, self.pid))),
            ("updated", Some(self.updated.clone())),
        ];
        if let Some(error) = &self.error {
            let lines: Vec<&str> = std::iter::once(&error.message).chain(&error.causes).map(String::as_str).collect();
            fields.push(("error", Some(lines.join("\n"))));
        }
        let steps: Vec<_> =
            self.steps.iter().map(|step| format!("{:9}  {}", super::word(step.state), step.title)).collect();
        fields.push(("steps", Some(steps.join("\n"))));
        page.fields(&fields);
        if matches!(self.status, OpStatus::Interrupted | OpStatus::NeedsAttention) {
            let id = &self.operation;
            page.line(match self.committed {
                true => format!("it is past its point of no return: kvmctl op resume {id}"),
                false => format!("do the rest: kvmctl op resume {id}; take it back: kvmctl op undo {id}"),
            });
        }
    }
}
