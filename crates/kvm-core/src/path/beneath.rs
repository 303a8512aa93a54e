//! Resolution of a path below a directory without following links, by the kernel.

use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use super::{DiskPath, DiskRoot, FIELD, NOUN};
use crate::text::{printable, refused};
use crate::{Error, ErrorKind, Resource};

/// How often a path is resolved anew while its directories are being renamed.
const ATTEMPTS: usize = 32;

/// Which step failed, and how.
pub(super) enum Failure {
    /// The directory itself cannot be opened.
    Root(Errno),
    /// The path below it cannot be resolved.
    Below(Errno),
}

/// Resolves `relative` below `root`; a missing last component is fine.
pub(super) fn check(root: &Path, relative: &Path) -> Result<(), Failure> {
    let directory =
        openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(Failure::Root)?;
    match resolve(&directory, relative, OFlags::empty()) {
        Err(Errno::NOENT) => match relative.parent() {
            Some(parent) if parent != Path::new("") => resolve(&directory, parent, OFlags::DIRECTORY),
            _ => return Ok(()),
        },
        resolved => resolved,
    }
    .map(drop)
    .map_err(Failure::Below)
}

fn resolve(directory: &OwnedFd, relative: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    // The kernel asks to look again when it saw a rename on the way; somebody may rename for ever.
    for _ in 0..ATTEMPTS {
        match openat2(directory, relative, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            done => return done,
        }
    }
    Err(Errno::AGAIN)
}

impl Failure {
    pub(super) fn on_path(self, path: &DiskPath, root: &DiskRoot) -> Error {
        let (errno, place) = match self {
            Self::Root(errno) => (errno, root.as_str()),
            Self::Below(errno) => (errno, path.as_str()),
        };
        let shown = printable(place);
        let error = match errno {
            Errno::LOOP => refused(FIELD, NOUN, place, "goes through a symbolic link; name the file itself"),
            Errno::XDEV => refused(FIELD, NOUN, place, format_args!("leaves {root}")),
            Errno::NOTDIR => refused(FIELD, NOUN, place, "goes through something that is not a directory"),
            Errno::NOENT => Error::new(ErrorKind::NotFound, format!("there is no directory for {shown}")),
            Errno::ACCESS | Errno::PERM => Error::new(ErrorKind::Denied, format!("no permission to look at {shown}")),
            Errno::AGAIN => Error::new(ErrorKind::Busy, format!("the directories of {shown} keep changing")),
            Errno::NOSYS => Error::new(ErrorKind::Unsupported, "this kernel cannot resolve a path below a directory"),
            _ => Error::new(ErrorKind::Internal, format!("cannot resolve {shown}")),
        };
        error.on(Resource::File(place.to_owned())).with_source(std::io::Error::from(errno))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_and_missing_directories_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let pool = dir.path().canonicalize().unwrap().join("images");
        std::fs::create_dir_all(pool.join("sub")).unwrap();
        std::fs::write(pool.join("sub/a.img"), b"").unwrap();
        symlink("/etc", pool.join("link-to-etc")).unwrap();
        symlink("sub/a.img", pool.join("link.img")).unwrap();
        let root = DiskRoot::parse(pool.to_str().unwrap()).unwrap();
        let check = |relative: &str| DiskPath::parse(&format!("{root}/{relative}")).unwrap().check_beneath(&root);

        for fine in ["sub/a.img", "sub/new.img", "new.img"] {
            check(fine).unwrap();
        }
        for linked in ["link-to-etc/shadow", "link.img", "link-to-etc/new.img"] {
            let e = check(linked).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::InvalidInput, "{linked}: {e}");
            assert_eq!(e.resource(), Some(&Resource::Field("disk_path".into())));
        }
        assert_eq!(check("none/new.img").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(check("sub/a.img/x").unwrap_err().kind(), ErrorKind::InvalidInput);

        let outside = DiskPath::parse("/var/lib/x.img").unwrap().check_beneath(&root).unwrap_err();
        assert_eq!(outside.kind(), ErrorKind::InvalidInput);
        let gone = DiskRoot::parse(&format!("{root}/gone")).unwrap();
        let path = DiskPath::parse(&format!("{gone}/a.img")).unwrap();
        assert_eq!(path.check_beneath(&gone).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
