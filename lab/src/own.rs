//! What this process holds of the machine, to find leaks.

use std::fs;

/// How many threads and open files this process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    /// Threads.
    pub threads: usize,
    /// Open file descriptors.
    pub descriptors: usize,
}

impl Own {
    /// Counts them now.
    ///
    /// # Panics
    /// When `/proc` cannot be read.
    #[must_use]
    pub fn count() -> Self {
        let count = |dir: &str| fs::read_dir(dir).unwrap_or_else(|e| panic!("{dir}: {e}")).count();
        // Reading the directory of descriptors needs one.
        Self { threads: count("/proc/self/task"), descriptors: count("/proc/self/fd") - 1 }
    }

    /// Whether it is no more than this, in both.
    #[must_use]
    pub fn is_at_most(self, other: Self) -> bool {
        self.threads <= other.threads && self.descriptors <= other.descriptors
    }
}
