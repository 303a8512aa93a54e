//! Where the helper keeps what is its own.

use std::path::PathBuf;

/// Directories on the helper's host. They are made when they are needed, for their owner alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// For digests of images that were computed before, such as `/var/lib/kvm-manager/digests`. What is in there can be
    /// deleted at any time.
    pub digests: PathBuf,
    /// For locks, such as `/run/lock/kvm-manager`.
    pub locks: PathBuf,
}
