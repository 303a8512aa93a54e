//! What a journal says: one entry per line, intent before and outcome after.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{LockKey, PlanLine};
use crate::{Entropy, Error, ErrorKind, Result};

/// The version that this code writes. It reads this one and those before it.
pub(super) const VERSION: u32 = 1;

/// Names an operation: eight hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OpId(String);

impl OpId {
    /// A random one. Whoever stores it checks that it is free.
    #[must_use]
    pub fn random(entropy: &dyn Entropy) -> Self {
        let random = entropy.uuid();
        Self(random.as_bytes()[12..].iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OpId {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        if s.len() == 8 && s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            Ok(Self(s.to_owned()))
        } else {
            Err(Error::invalid("operation", "an operation is named by eight hexadecimal digits"))
        }
    }
}

impl TryFrom<String> for OpId {
    type Error = Error;

    fn try_from(s: String) -> Result<Self> {
        s.parse()
    }
}

impl From<OpId> for String {
    fn from(id: OpId) -> Self {
        id.0
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When it was written.
    pub at: Timestamp,
    /// What it says.
    #[serde(flatten)]
    pub record: Record,
}

/// What one line of a journal says. Steps are counted from 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// The whole plan; always the first line.
    Opened(Box<Header>),
    /// The step was pending and is about to be done.
    Intent {
        /// Which.
        step: usize,
    },
    /// The step is done.
    Done {
        /// Which.
        step: usize,
    },
    /// The step's effect was there before the operation came to it; it is not ours to take back.
    Skipped {
        /// Which.
        step: usize,
    },
    /// The step went wrong.
    Failed {
        /// Which.
        step: usize,
        /// How.
        error: ErrorRecord,
        /// Whether something of it may have happened.
        maybe: bool,
    },
    /// The step is about to be taken back.
    UndoIntent {
        /// Which.
        step: usize,
    },
    /// The step is taken back.
    Undone {
        /// Which.
        step: usize,
    },
    /// Taking the step back went wrong.
    UndoFailed {
        /// Which.
        step: usize,
        /// How.
        error: ErrorRecord,
    },
    /// Another process took the operation over.
    TakenOver {
        /// Who.
        owner: Owner,
    },
    /// The operation ended.
    Closed {
        /// How: `succeeded`, `undone`, `cancelled` or `needs_attention`.
        status: super::OpStatus,
        /// Why it did not succeed.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        error: Option<ErrorRecord>,
    },
}

/// The first line of a journal: everything that is needed to finish the operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the journal's form.
    pub version: u32,
    /// The operation.
    pub id: OpId,
    /// Engine and verb: `vm.create`.
    pub kind: String,
    /// What it does, in one line.
    pub title: String,
    /// How to reach the host again.
    pub target: String,
    /// What nobody else may work on meanwhile.
    pub locks: Vec<LockKey>,
    /// What was shown to whoever agreed.
    pub lines: Vec<PlanLine>,
    /// The steps.
    pub steps: Vec<StepRecord>,
    /// How many of the steps can be taken back.
    pub reversible: usize,
    /// Who began it.
    pub owner: Owner,
}

/// A step in a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Its stable name.
    pub name: String,
    /// What it does, in one line.
    pub title: String,
    /// What its engine needs to make it again.
    pub data: Value,
}

/// Who works on an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The person or account.
    pub user: String,
    /// The process.
    pub pid: u32,
}

/// An error as a journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorRecord {
    /// What can be done about it.
    pub kind: ErrorKind,
    /// What went wrong.
    pub message: String,
    /// The causes, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub causes: Vec<String>,
}

impl From<&Error> for ErrorRecord {
    fn from(error: &Error) -> Self {
        let causes = error.causes().map(ToString::to_string).collect();
        Self { kind: error.kind(), message: error.message().to_owned(), causes }
    }
}
