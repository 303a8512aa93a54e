//! QEMU's image lock: bytes of the file that say who does what with it.
//!
//! QEMU holds a shared lock on byte 100 + n while it uses permission n, and on byte 200 + n while nobody else may use it
//! (`block/file-posix.c`, `RAW_LOCK_PERM_BASE` and `RAW_LOCK_SHARED_BASE`). Whoever opens an image takes its bytes first
//! and then looks whether others hold bytes against it; so do we. The locks belong to the open file and go with it.

use std::fs::File;
use std::io;

use kvm_wire::{Cause, FailureKind};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::failure::{Result, Trouble};

/// What is used of an image, and forbidden to others meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It is read, and nobody may write or resize it.
    Read,
    /// It is written, and nobody may do anything with it.
    Write,
}

const USES: i64 = 100;
const FORBIDS: i64 = 200;

// Permissions, by their number.
const CONSISTENT_READ: i64 = 0;
const WRITE: i64 = 1;
const RESIZE: i64 = 3;
/// All that there are, and room for more.
const ALL: i64 = 64;

impl Purpose {
    /// The bytes that we hold.
    fn held(self) -> &'static [i64] {
        match self {
            Self::Read => &[USES + CONSISTENT_READ, FORBIDS + WRITE, FORBIDS + RESIZE],
            Self::Write => &[
                USES + CONSISTENT_READ,
                USES + WRITE,
                USES + RESIZE,
                FORBIDS + CONSISTENT_READ,
                FORBIDS + WRITE,
                FORBIDS + RESIZE,
            ],
        }
    }

    /// The ranges of bytes, as start and length, that nobody else may hold.
    fn against(self) -> &'static [(i64, i64)] {
        match self {
            Self::Read => &[(USES + WRITE, 1), (USES + RESIZE, 1), (FORBIDS + CONSISTENT_READ, 1)],
            Self::Write => &[(USES, ALL), (FORBIDS, ALL)],
        }
    }
}

/// Locks an image. `busy` with [`Cause::InUse`] when another process uses it against that.
pub(crate) fn lock(file: &File, purpose: Purpose) -> Result<()> {
    for byte in purpose.held() {
        let lock = bytes(libc::F_RDLCK, *byte, 1);
        fcntl(file, FcntlArg::F_OFD_SETLK(&lock)).map_err(|e| match e {
            nix::Error::EACCES | nix::Error::EAGAIN => in_use(),
            e => unlockable(e),
        })?;
    }
    for (start, length) in purpose.against() {
        let mut lock = bytes(libc::F_WRLCK, *start, *length);
        fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock)).map_err(unlockable)?;
        if i32::from(lock.l_type) != libc::F_UNLCK {
            return Err(in_use());
        }
    }
    Ok(())
}

fn bytes(kind: i32, start: i64, length: i64) -> libc::flock {
    // The kinds are 0, 1 and 2, and the kernel wants a process id of 0.
    let [l_type, l_whence] = [kind, libc::SEEK_SET].map(|n| i16::try_from(n).unwrap_or_default());
    libc::flock { l_type, l_whence, l_start: start, l_len: length, l_pid: 0 }
}

fn in_use() -> Trouble {
    Trouble::new(FailureKind::Busy, "another process, such as a running VM, uses the image").because(Cause::InUse)
}

fn unlockable(error: nix::Error) -> Trouble {
    Trouble::new(
        FailureKind::Unsupported,
        format!("the file system does not say who uses the image: {}", io::Error::from(error)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(file: &File, byte: i64) {
        fcntl(file, FcntlArg::F_OFD_SETLK(&bytes(libc::F_RDLCK, byte, 1))).unwrap();
    }

    #[test]
    fn a_writer_and_whoever_lets_nobody_read_are_noticed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (byte, read, write) in [
            (USES + CONSISTENT_READ, true, false),
            (USES + WRITE, false, false),
            (USES + RESIZE, false, false),
            (FORBIDS + CONSISTENT_READ, false, false),
            (FORBIDS + WRITE, true, false),
        ] {
            let other = file.reopen().unwrap();
            held(&other, byte);
            assert_eq!(lock(&file.reopen().unwrap(), Purpose::Read).is_ok(), read, "{byte}");
            assert_eq!(lock(&file.reopen().unwrap(), Purpose::Write).is_ok(), write, "{byte}");
            drop(other);
            lock(&file.reopen().unwrap(), Purpose::Write).unwrap();
        }
    }

    #[test]
    fn readers_read_together_and_a_writer_is_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let [a, b, c] = [(); 3].map(|()| file.reopen().unwrap());
        lock(&a, Purpose::Read).unwrap();
        lock(&b, Purpose::Read).unwrap();
        assert!(lock(&c, Purpose::Write).is_err());
        drop((a, b));
        lock(&c, Purpose::Write).unwrap();
        assert!(lock(&file.reopen().unwrap(), Purpose::Read).is_err());
    }
}
