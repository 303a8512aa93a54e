//! Where the helper keeps what is its own.

use std::path::PathBuf;
use std::time::Duration;

/// A directory on the helper's host, which is made when it is needed, for its owner alone; and a habit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// For digests of images that were computed before, such as `/var/lib/kvm-manager/digests`. What is in there can be
    /// deleted at any time.
    pub digests: PathBuf,
    /// How often the other side hears that work goes on, so that it can tell that from a way that was cut.
    pub sign_of_life: Duration,
}

impl Settings {
    /// With this directory, and a sign of life every 5 seconds: several within the shortest silence that anybody takes for
    /// a cut.
    pub fn new(digests: impl Into<PathBuf>) -> Self {
        Self { digests: digests.into(), sign_of_life: Duration::from_secs(5) }
    }
}
