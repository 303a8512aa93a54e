//! What continuous integration runs: one quiet line per stage, the whole output of what failed.

mod stage;
mod tally;

use std::time::{Duration, Instant};

use crate::report;
use crate::workspace;
use stage::{Outcome, STAGES, Stage};
use tally::Tally;

/// Whether to run the tests of the lab or only to build them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lab {
    Run,
    BuildOnly,
}

/// Runs all stages, or the named ones, and answers whether none of them failed.
pub(crate) fn run(names: &[&str]) -> bool {
    if let Some(unknown) = names.iter().find(|name| !STAGES.iter().any(|s| s.name == **name)) {
        let known: Vec<&str> = STAGES.iter().map(|stage| stage.name).collect();
        report::error(format_args!("no stage {unknown}; there are: {}", known.join(" ")));
        return false;
    }
    let wanted = |stage: &&Stage| names.is_empty() || names.contains(&stage.name);
    run_stages(STAGES.iter().filter(wanted))
}

/// Runs the tests that need a lab, or builds them so that nothing compiles while guests boot.
pub(crate) fn lab(what: Lab) -> bool {
    let stage = match what {
        Lab::Run => stage::LAB,
        Lab::BuildOnly => stage::LAB_BUILD,
    };
    run_stages([&stage])
}

fn run_stages<'a>(stages: impl IntoIterator<Item = &'a Stage>) -> bool {
    let root = workspace::root();
    let start = Instant::now();
    let mut total = Tally::default();
    let mut failed = Vec::new();
    for stage in stages {
        report::begin(format_args!("{:<10}", stage.name));
        let begun = Instant::now();
        let outcome = (stage.run)(&root).unwrap_or_else(|error| Outcome::failed(error.to_string()));
        let time = seconds(begun.elapsed());
        match outcome {
            Outcome::Passed { remark, tally } => {
                total += tally;
                report::line(format_args!("ok      {time:>7}  {remark}"));
            }
            Outcome::Skipped { reason } => report::line(format_args!("skipped          {reason}")),
            Outcome::Failed { output, tally } => {
                total += tally;
                failed.push(stage.name);
                report::line(format_args!("FAILED  {time:>7}"));
                report::indented(&output);
            }
        }
    }
    if !failed.is_empty() {
        report::line(format_args!("failed: {}", failed.join(", ")));
    }
    if total.ran() > 0 {
        report::line(total.summary(failed.is_empty(), start.elapsed()));
    }
    failed.is_empty()
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
