//! Progress of long work, told to whoever shows it.

use std::fmt;

use serde::Serialize;

use crate::Bytes;
use crate::op::OpId;

/// Receives progress. Libraries never print: a command line draws bars, a server forwards, a test records.
pub trait Reporter: fmt::Debug + Send + Sync {
    /// Takes one piece of news; must not block.
    fn report(&self, progress: &Progress);
}

/// Progress of one operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "progress", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Progress {
    /// The journal stands; the first step is next.
    Started {
        /// The operation.
        operation: OpId,
        /// What it does, in one line.
        title: String,
        /// How many steps it has.
        steps: usize,
    },
    /// A step began, ended or was taken back.
    Step {
        /// The operation.
        operation: OpId,
        /// Which, from 0.
        step: usize,
        /// What it does, in one line.
        title: String,
        /// What became of it.
        outcome: StepOutcome,
    },
    /// How far a step is that moves data.
    Moved {
        /// What is moved, in one line.
        title: String,
        /// So much is done, holes included.
        #[serde(rename = "done_bytes")]
        done: Bytes,
        /// Of so much, as far as is known.
        #[serde(rename = "total_bytes")]
        total: Bytes,
    },
    /// Something that the user should know, but that stops nothing.
    Warning {
        /// In one line.
        message: String,
    },
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// Its intent is in the journal.
    Started,
    /// It is done.
    Done,
    /// It was done already when an interrupted operation went on.
    AlreadyDone,
    /// It went wrong.
    Failed,
    /// It is taken back.
    Undone,
}

/// Listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn report(&self, _: &Progress) {}
}

/// Tells a function.
///
/// ```
/// use kvm_core::{OnProgress, Progress, Reporter as _};
/// let on_progress = OnProgress(|progress: &Progress| assert!(matches!(progress, Progress::Warning { .. })));
/// on_progress.report(&Progress::Warning { message: "the disk is nearly full".into() });
/// ```
#[derive(Clone, Copy)]
pub struct OnProgress<F>(pub F);

impl<F: Fn(&Progress) + Send + Sync> Reporter for OnProgress<F> {
    fn report(&self, progress: &Progress) {
        (self.0)(progress);
    }
}

impl<F> fmt::Debug for OnProgress<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnProgress")
    }
}
