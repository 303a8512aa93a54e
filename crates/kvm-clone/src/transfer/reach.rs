//! How far a transfer has come, for whoever takes it back.

use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// What of a new file may be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reached {
    /// All of it, or something: an earlier process may have come further than this one knows.
    #[default]
    Unknown,
    /// Nothing was asked for: what is there is somebody else's.
    Nothing,
    /// It is being written beside its place; what has its name is somebody else's.
    Partial,
}

/// Notes how far a transfer has come. A process that finishes what another one began knows nothing of it.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    reached: Mutex<Reached>,
    /// The file has begun to be there.
    has_begun: CancellationToken,
    /// The one before has.
    before: Option<CancellationToken>,
}

impl Reach {
    pub(crate) fn get(&self) -> Reached {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, reached: Reached) {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = reached;
    }

    /// Waits until the file before this one is there. Where that goes wrong whoever waits here is cancelled.
    pub(super) async fn turn(&self) {
        if let Some(before) = &self.before {
            before.cancelled().await;
        }
    }

    pub(super) fn has_begun(&self) {
        self.has_begun.cancel();
    }
}

/// Has the files of an operation begin one after the other, though they are sent together: of several operations that want
/// the same files the one that has the first of them gets all, and never each of them one.
#[derive(Debug, Default)]
pub(crate) struct Turns(Option<CancellationToken>);

impl Turns {
    /// For the next file.
    pub(crate) fn next(&mut self) -> Reach {
        let has_begun = CancellationToken::new();
        let before = self.0.replace(has_begun.clone());
        Reach { has_begun, before, ..Reach::default() }
    }
}
