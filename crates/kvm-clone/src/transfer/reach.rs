//! How far a transfer has come, for whoever takes it back.

use std::sync::{Mutex, PoisonError};

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
pub(crate) struct Reach(Mutex<Reached>);

impl Reach {
    pub(crate) fn get(&self) -> Reached {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, reached: Reached) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reached;
    }
}
