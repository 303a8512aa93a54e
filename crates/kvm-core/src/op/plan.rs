//! What an operation would do, as data that can be shown.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{LockKey, Step};

/// What an operation would do. Its `Display` is what a dry run prints.
#[derive(Debug)]
pub struct Plan {
    /// Engine and verb: `vm.create`.
    pub kind: &'static str,
    /// What it does, in one line: `create web on qemu:///system`.
    pub title: String,
    /// How to reach the host again, in canonical form.
    pub target: String,
    /// What nobody else may work on meanwhile.
    pub locks: Vec<LockKey>,
    /// What is shown to whoever has to agree.
    pub lines: Vec<PlanLine>,
    /// The steps, in order.
    pub steps: Vec<Box<dyn Step>>,
    /// How many of the steps can be taken back. Once the one after these has happened, the operation only goes forward.
    pub reversible: usize,
}

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanLine {
    /// What happens: `create`, `remove`, `keep`, `change`, `start`…
    pub action: String,
    /// To what kind of thing: `volume`, `domain`…
    pub kind: String,
    /// To which.
    pub name: String,
    /// Size, reason, who else uses it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
}

impl PlanLine {
    /// A line without a note.
    #[must_use]
    pub fn new(action: impl Into<String>, kind: impl Into<String>, name: impl Into<String>) -> Self {
        Self { action: action.into(), kind: kind.into(), name: name.into(), note: None }
    }

    /// The same line with a note.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title)?;
        write_lines(f, &self.lines)
    }
}

/// Writes lines as aligned columns, each on a new line.
fn write_lines(f: &mut fmt::Formatter<'_>, lines: &[PlanLine]) -> fmt::Result {
    let shown = |text: &str| crate::text::printable(text).to_string();
    let width =
        |column: fn(&PlanLine) -> &str| lines.iter().map(|l| shown(column(l)).chars().count()).max().unwrap_or(0);
    let (action, kind, name) = (width(|l| &l.action), width(|l| &l.kind), width(|l| &l.name));
    for line in lines {
        let note = line.note.as_deref().unwrap_or_default();
        let text = format!(
            "  {:action$}  {:kind$}  {:name$}  {}",
            shown(&line.action),
            shown(&line.kind),
            shown(&line.name),
            shown(note)
        );
        write!(f, "\n{}", text.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_prints_as_aligned_columns_without_trailing_space() {
        let plan = Plan {
            kind: "vm.delete",
            title: "delete build-01 on mock:///demo".into(),
            target: "mock:///demo".into(),
            locks: vec![],
            lines: vec![
                PlanLine::new("remove", "domain", "build-01"),
                PlanLine::new("remove", "volume", "default/build-01.qcow2").note("31.4 GiB on disk"),
                PlanLine::new("keep", "volume", "iso/debian.iso").note("read-only"),
            ],
            steps: vec![],
            reversible: 0,
        };
        assert_eq!(
            plan.to_string(),
            "delete build-01 on mock:///demo\n  remove  domain  build-01\n  remove  volume  default/build-01.qcow2  31.4 GiB on \
             disk\n  keep    volume  iso/debian.iso          read-only"
        );
    }
}
