//! Files by directory and name, opened so that no link leads elsewhere.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use kvm_wire::{FailureKind, FileRef};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::failure::{Result, Trouble};

/// Nothing on the way may be a link, or lead out of the directory.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// The ends of names that are ours.
pub(crate) const PARTIAL: &str = ".partial";
pub(crate) const SYNC: &str = ".sync";

/// A file's directory, open, and its name in there.
#[derive(Debug)]
pub(crate) struct Place {
    file: FileRef,
    directory: OwnedFd,
    name: String,
}

impl Place {
    /// Finds the directory in which the file is, or will be.
    pub(crate) fn find(file: &FileRef) -> Result<Self> {
        let (parent, name) = split(file).map_err(|e| e.of(file))?;
        let root = root(&file.root).map_err(|e| e.of(file))?;
        let directory = match parent.as_os_str().is_empty() {
            true => root,
            false => rustix::fs::openat2(&root, &parent, DIRECTORY, Mode::empty(), BENEATH)
                .map_err(|e| refused("cannot open the directory", e).of(file))?,
        };
        Ok(Self { file: file.clone(), directory, name: name.to_owned() })
    }

    /// How the caller named it.
    pub(crate) fn file(&self) -> &FileRef {
        &self.file
    }

    /// The file's own name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The name of a file of ours beside it.
    pub(crate) fn beside(&self, end: &str) -> String {
        format!("{}{end}", self.name)
    }

    /// Opens what has this name in the directory. A FIFO or device does not hold it up.
    pub(crate) fn open(&self, name: &str, flags: OFlags, mode: Mode) -> Result<File> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = rustix::fs::openat2(&self.directory, name, flags, mode, BENEATH);
        opened.map(File::from).map_err(|e| refused(&format!("cannot open {name}"), e).of(&self.file))
    }

    /// Whether there is anything of this name.
    pub(crate) fn has(&self, name: &str) -> Result<bool> {
        match rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(refused(&format!("cannot look for {name}"), e).of(&self.file)),
        }
    }

    /// Gives a file another name, which must be free, durably.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<()> {
        let directory = &self.directory;
        let renamed =
            match rustix::fs::renameat_with(directory, from, directory, to, rustix::fs::RenameFlags::NOREPLACE) {
                // Not every file system knows the flag; a second name is refused everywhere when it is taken.
                Err(Errno::INVAL) => rustix::fs::linkat(directory, from, directory, to, AtFlags::empty())
                    .and_then(|()| rustix::fs::unlinkat(directory, from, AtFlags::empty())),
                renamed => renamed,
            };
        renamed.map_err(|e| refused(&format!("cannot rename {from} to {to}"), e).of(&self.file))?;
        self.sync()
    }

    /// Removes a file of ours durably; one that is not there is removed already.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        match rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()) {
            Ok(()) => self.sync(),
            Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(refused(&format!("cannot remove {name}"), e).of(&self.file)),
        }
    }

    /// Makes a directory of the file's name with these permission bits.
    pub(crate) fn make_directory(&self, mode: u32) -> Result<()> {
        let failed = |e| refused("cannot make the directory", e).of(&self.file);
        let mode = Mode::from_raw_mode(mode & 0o777);
        rustix::fs::mkdirat(&self.directory, &self.name, mode).map_err(failed)?;
        // Once more: the process's mask took bits away when it was made.
        let made = rustix::fs::openat2(&self.directory, &self.name, DIRECTORY, Mode::empty(), BENEATH);
        made.and_then(|made| rustix::fs::fchmod(made, mode)).map_err(failed)?;
        self.sync()
    }

    /// Gives the file or directory of this name another place, which must be free, durably.
    pub(crate) fn rename_to(&self, to: &Self) -> Result<()> {
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        let renamed = rustix::fs::renameat_with(&self.directory, &self.name, &to.directory, &to.name, flags);
        renamed.map_err(|e| refused(&format!("cannot rename it to {}", to.name), e).of(&self.file))?;
        to.sync()?;
        self.sync()
    }

    /// Removes the file or empty directory of this name, durably; what is not there is removed already.
    pub(crate) fn remove_any(&self) -> Result<()> {
        let removed = match rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::empty()) {
            Err(Errno::ISDIR) => rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::REMOVEDIR),
            removed => removed,
        };
        match removed {
            Ok(()) => self.sync(),
            Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(refused("cannot remove it", e).of(&self.file)),
        }
    }

    /// Makes names durable.
    pub(crate) fn sync(&self) -> Result<()> {
        rustix::fs::fsync(&self.directory).map_err(|e| Trouble::io("cannot sync the directory", e).of(&self.file))
    }
}

/// Opens a directory below a root, or the root itself where the name is empty.
pub(crate) fn open_directory(file: &FileRef) -> Result<OwnedFd> {
    if file.name.is_empty() {
        return root(&file.root).map_err(|e| e.of(file));
    }
    let place = Place::find(file)?;
    rustix::fs::openat2(&place.directory, &place.name, DIRECTORY, Mode::empty(), BENEATH)
        .map_err(|e| refused("cannot open the directory", e).of(file))
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens a directory that the caller named by an absolute path. On the way to it there may be links: it is the caller who
/// says where it is.
pub(crate) fn root(path: &str) -> Result<OwnedFd> {
    if !path.starts_with('/') || path.contains('\0') {
        return Err(Trouble::invalid("root: an absolute path is needed"));
    }
    rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty()).map_err(|e| refused("cannot open the directory", e))
}

fn split(file: &FileRef) -> Result<(PathBuf, &str)> {
    let path = Path::new(&file.name);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let name = path.file_name().and_then(OsStr::to_str).filter(|_| plain && !file.name.contains('\0'));
    let Some(name) = name.filter(|name| file.name.ends_with(name)) else {
        return Err(Trouble::invalid("name: a relative path to a file, without . and .., is needed"));
    };
    if [PARTIAL, SYNC].iter().any(|end| name.ends_with(end)) {
        return Err(Trouble::invalid(format!("name: {PARTIAL} and {SYNC} stand for files that are not finished")));
    }
    Ok((path.parent().map(Path::to_owned).unwrap_or_default(), name))
}

/// What `openat2` says about links is no input or output that went wrong.
fn refused(doing: &str, error: Errno) -> Trouble {
    match error {
        Errno::LOOP | Errno::XDEV => {
            Trouble::new(FailureKind::Denied, format!("{doing}: a link on the way leads elsewhere"))
        }
        Errno::NXIO => Trouble::invalid(format!("{doing}: neither a file nor a block device")),
        _ => Trouble::io(doing, error),
    }
}
