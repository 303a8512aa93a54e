//! The host's locks: files that are locked as long as the session that holds them.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use kvm_wire::{Cause, FailureKind, Holder};

use crate::failure::{Result, Trouble};
use crate::saved;

/// The most that is read of what a holder wrote about itself.
const MOST: u64 = 4096;

/// A lock that is held until this is dropped. Its file stays: who removes a lock file may remove another's.
#[derive(Debug)]
pub(crate) struct HostLock {
    _file: File,
}

impl HostLock {
    pub(crate) fn take(directory: &Path, key: &str, owner: &str) -> Result<Self> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !(1..=128).contains(&key.len()) || key.starts_with('.') || !key.chars().all(allowed) {
            return Err(Trouble::invalid("key: letters, digits, -, _ and . are needed, 128 at most"));
        }
        if owner.len() > 1024 || owner.chars().any(char::is_control) {
            return Err(Trouble::invalid("owner: one line of at most 1024 bytes is needed"));
        }
        saved::make(directory)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(directory.join(format!("{key}.lock")))
            .map_err(|e| Trouble::io("cannot open the lock", e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = holder(&file);
                let text = format!("{key} is locked by {}", holder.owner);
                return Err(Trouble::new(FailureKind::Busy, text).because(Cause::Held { holder }));
            }
            Err(TryLockError::Error(e)) => return Err(Trouble::io("cannot lock", e)),
        }
        let text = format!("{}\n{owner}\n", std::process::id());
        let written = file.set_len(0).and_then(|()| file.write_all_at(text.as_bytes(), 0));
        written.map_err(|e| Trouble::io("cannot write the lock", e))?;
        Ok(Self { _file: file })
    }
}

/// Who wrote itself into a lock; empty in the moment before it has.
fn holder(file: &File) -> Holder {
    let mut text = String::new();
    // What cannot be read says nothing.
    let _read = file.take(MOST).read_to_string(&mut text);
    let mut lines = text.lines();
    let pid = lines.next().and_then(|line| line.parse().ok()).unwrap_or_default();
    Holder { pid, owner: lines.next().unwrap_or("somebody").to_owned() }
}
