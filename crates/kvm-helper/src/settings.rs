//! Where the helper keeps what is its own.

use std::path::PathBuf;
use std::time::Duration;

/// Directories on the helper's host, which are made when they are needed, for their owner alone; and a habit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// For digests of images that were computed before, such as `/var/lib/kvm-manager/digests`. What is in there can be
    /// deleted at any time.
    pub digests: PathBuf,
    /// For locks, such as `/run/lock/kvm-manager`.
    pub locks: PathBuf,
    /// How often the other side hears that work goes on, so that it can tell that from a way that was cut.
    pub sign_of_life: Duration,
}

impl Settings {
    /// With these directories, and a sign of life every 5 seconds: several within the shortest silence that anybody takes for
    /// a cut.
    pub fn new(digests: impl Into<PathBuf>, locks: impl Into<PathBuf>) -> Self {
        Self { digests: digests.into(), locks: locks.into(), sign_of_life: Duration::from_secs(5) }
    }
}
