//! What a journal amounts to: the state of an operation and of each of its steps.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Entry, ErrorRecord, Header, Record};
use crate::{Error, ErrorKind, Result};

/// How an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OpStatus {
    /// Its owner works on it.
    Running,
    /// Its owner died; it waits to be resumed or undone.
    Interrupted,
    /// Every step is done.
    Succeeded,
    /// It went wrong and everything is as it was before.
    Undone,
    /// It was cancelled and everything is as it was before.
    Cancelled,
    /// It went wrong, and what it did could not be finished or taken back in full.
    NeedsAttention,
}

impl OpStatus {
    /// The name used in tables and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Succeeded => "succeeded",
            Self::Undone => "undone",
            Self::Cancelled => "cancelled",
            Self::NeedsAttention => "needs_attention",
        }
    }

    /// Whether somebody still has to do something about it.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Running | Self::Interrupted | Self::NeedsAttention)
    }
}

/// How a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Begun; whether it happened is to be probed.
    Unknown,
    /// Done by this operation.
    Done,
    /// It was so before; not ours.
    Skipped,
    /// It went wrong without having done anything.
    Failed,
    /// Taken back.
    Undone,
}

/// An operation as its journal tells it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpView {
    /// The plan and who began it.
    pub header: Header,
    /// How it stands.
    pub status: OpStatus,
    /// How each step stands.
    pub steps: Vec<StepState>,
    /// Why it did not succeed.
    pub error: Option<ErrorRecord>,
    /// When it began.
    pub started: Timestamp,
    /// When the last line was written.
    pub updated: Timestamp,
}

impl OpView {
    /// Reads a journal. `Corrupt` when it does not begin with its plan or names steps that the plan does not have;
    /// `Unsupported` when a newer version wrote it.
    ///
    /// `owned` says whether a living process holds the journal.
    pub fn replay(entries: &[Entry], owned: bool) -> Result<Self> {
        let Some((Entry { at, record: Record::Opened(header) }, rest)) = entries.split_first() else {
            return Err(corrupt("does not begin with a plan"));
        };
        if header.version > super::journal::VERSION {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the journal has version {}, this program knows up to {}",
                    header.version,
                    super::journal::VERSION
                ),
            ));
        }
        let mut view = Self {
            header: (**header).clone(),
            status: OpStatus::Interrupted,
            steps: vec![StepState::Pending; header.steps.len()],
            error: None,
            started: *at,
            updated: *at,
        };
        for entry in rest {
            view.note(entry)?;
        }
        if owned && view.status == OpStatus::Interrupted {
            view.status = OpStatus::Running;
        }
        Ok(view)
    }

    /// Learns from the next line. `Corrupt` as in [`replay`](Self::replay).
    pub(super) fn note(&mut self, entry: &Entry) -> Result<()> {
        self.updated = entry.at;
        let (step, state) = match &entry.record {
            Record::Opened(_) => return Err(corrupt("has a second plan")),
            Record::TakenOver { .. } => {
                self.status = OpStatus::Interrupted;
                return Ok(());
            }
            Record::Closed { status, error } => {
                self.status = *status;
                self.error = error.clone().or(self.error.take());
                return Ok(());
            }
            Record::Intent { step } | Record::UndoIntent { step } => (*step, StepState::Unknown),
            Record::Done { step } => (*step, StepState::Done),
            Record::Skipped { step } => (*step, StepState::Skipped),
            Record::Failed { step, error, maybe } => {
                self.error = Some(error.clone());
                (*step, if *maybe { StepState::Unknown } else { StepState::Failed })
            }
            Record::UndoFailed { step, error } => {
                self.error = Some(error.clone());
                (*step, StepState::Unknown)
            }
            Record::Undone { step } => (*step, StepState::Undone),
        };
        *self.steps.get_mut(step).ok_or_else(|| corrupt("names a step that its plan does not have"))? = state;
        Ok(())
    }

    /// Whether the point of no return is behind it: from here it only goes forward.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        self.steps.iter().skip(self.header.reversible).any(|s| matches!(s, StepState::Unknown | StepState::Done))
    }
}

fn corrupt(why: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the journal {why}"))
}
