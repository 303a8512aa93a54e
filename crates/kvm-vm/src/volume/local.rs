//! Files of this machine, read and written piece by piece on threads of their own.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{TrySendError, sync_channel};

use kvm_core::{Bytes, Error, ErrorKind, Holes, Piece, Resource, Result};
use kvm_image::{Content, Expect, Format, ReadAt as _, Risk};
use rustix::fs::SeekFrom;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::upload::ImageCheck;

/// How many pieces may wait between a file and the network.
const AHEAD: usize = 4;

/// How many bytes may wait for the disk before it is told to write them.
const SYNC_EVERY: usize = 32 << 20;

/// A file that can be sent, as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) length: Bytes,
    /// What of it is stored: the rest are holes.
    pub(crate) stored: Bytes,
    /// Nanoseconds since 1970, to notice that it has changed; 0 for a device, which always does.
    pub(crate) modified: i128,
    pub(crate) format: Format,
    /// Whether it cannot be read without a key.
    pub(crate) is_encrypted: bool,
}

/// Looks at a file that is to be sent. `InvalidInput` for what is neither a file nor a block device, and for an image that
/// is refused.
pub(crate) async fn look(path: &Path, check: ImageCheck) -> Result<Source> {
    let path = path.to_owned();
    blocking(move || {
        let file = open(&path)?;
        let failed = |e| trouble("read", &path, e);
        let about = file.metadata().map_err(failed)?;
        let length = file.len().map_err(failed)?;
        let seen = kvm_image::inspect(&file)?;
        let format = match check {
            ImageCheck::Complete => kvm_image::check(&seen, &Expect::any().with_secret())
                .map_err(|e| Error::from(e).on(Resource::File(path.display().to_string())))?,
            ImageCheck::None => seen.format.unwrap_or(Format::Raw),
        };
        let stored = if about.is_file() { (about.blocks() * 512).min(length) } else { length };
        let modified = i128::from(about.mtime()) * 1_000_000_000 + i128::from(about.mtime_nsec());
        let modified = if about.is_file() { modified } else { 0 };
        let is_encrypted = seen.contents.iter().any(|content| matches!(content, Content::Luks(_)))
            || seen.risks.iter().any(|risk| matches!(risk, Risk::Encrypted { .. }));
        Ok(Source { is_encrypted, path, length: Bytes::new(length), stored: Bytes::new(stored), modified, format })
    })
    .await
}

fn open(path: &Path) -> Result<File> {
    let failed = |e| trouble("read", path, e);
    // A pipe would keep us until somebody writes to it.
    let kind = fs::metadata(path).map_err(failed)?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        let message = format!("{} is neither a file nor a block device", shown(path));
        return Err(Error::invalid("file", message));
    }
    File::open(path).map_err(failed)
}

/// Reads a file from its beginning to its end. The last piece is an error when the file cannot be read, or has become
/// another one.
pub(crate) fn read(path: &Path, length: Bytes, holes: Holes) -> mpsc::Receiver<Result<Piece>> {
    let (to, from) = mpsc::channel(AHEAD);
    let (path, length) = (path.to_owned(), length.get());
    spawn_blocking(move || {
        let mut at = 0;
        let file = match open(&path) {
            Ok(file) => file,
            Err(e) => return drop(to.blocking_send(Err(e))),
        };
        while at < length {
            let piece = next(&file, at, length, holes).map_err(|e| trouble("read", &path, e));
            at += piece.as_ref().map_or(0, |piece| piece.length().get());
            let is_error = piece.is_err();
            // Nobody takes it any more: then it was cancelled.
            if to.blocking_send(piece).is_err() || is_error {
                return;
            }
        }
    });
    from
}

/// What stands at this place, up to the next hole or the end.
fn next(file: &File, at: u64, length: u64, holes: Holes) -> io::Result<Piece> {
    let mut end = length;
    if holes == Holes::Keep {
        match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) if data > at => return Ok(Piece::Hole(Bytes::new(data.min(length) - at))),
            Ok(_) => end = rustix::fs::seek(file, SeekFrom::Hole(at)).map_or(length, |hole| hole.min(length)),
            // Nothing but a hole up to the end.
            Err(rustix::io::Errno::NXIO) => return Ok(Piece::Hole(Bytes::new(length - at))),
            // A device, or a file system without holes.
            Err(_) => {}
        }
    }
    let wanted = (end - at).min(Piece::DATA_MAX.get());
    let wanted = usize::try_from(wanted).unwrap_or(0);
    let mut data = Vec::with_capacity(wanted);
    while data.len() < wanted {
        let place = at + data.len() as u64;
        // Into memory that nobody has filled with zeros before.
        if rustix::io::pread(file, rustix::buffer::spare_capacity(&mut data), place)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    data.truncate(wanted);
    Ok(Piece::Data(data))
}

/// A file that is written. It is there under its name from the beginning.
#[derive(Debug)]
pub(crate) struct Sink {
    path: PathBuf,
    to: mpsc::Sender<Piece>,
    done: JoinHandle<io::Result<()>>,
}

impl Sink {
    /// Makes the file, in place of an earlier one of this name.
    pub(crate) async fn create(path: &Path) -> Result<Self> {
        let new = path.to_owned();
        let file = blocking(move || {
            // An earlier attempt's, of which nothing is of use.
            remove(&new)?;
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true).mode(0o600);
            options.open(&new).map_err(|e| trouble("write", &new, e))
        })
        .await?;
        let (to, from) = mpsc::channel(AHEAD);
        Ok(Self { path: path.to_owned(), to, done: spawn_blocking(move || write(&file, from)) })
    }

    pub(crate) async fn write(&mut self, piece: Piece) -> Result<()> {
        match self.to.send(piece).await {
            Ok(()) => Ok(()),
            // It takes no more, so it has said why.
            Err(_) => match (&mut self.done).await {
                Ok(Err(e)) => Err(trouble("write", &self.path, e)),
                _ => Err(Error::internal("a file is written no longer")),
            },
        }
    }

    /// Waits until all of it is on disk.
    pub(crate) async fn finish(self) -> Result<()> {
        let Self { path, to, done } = self;
        drop(to);
        let done = done.await.map_err(|e| Error::internal("a file was not written").with_source(e))?;
        done.map_err(|e| trouble("write", &path, e))
    }
}

fn write(file: &File, mut from: mpsc::Receiver<Piece>) -> io::Result<()> {
    let (mut at, mut unsynced) = (0, 0);
    std::thread::scope(|scope| {
        // The disk writes while more arrives. An error is told once, to whoever waits for the disk then.
        let (due, is_due) = sync_channel(1);
        let syncing = scope.spawn(move || is_due.into_iter().try_for_each(|()| file.sync_data()));
        while let Some(piece) = from.blocking_recv() {
            if let Piece::Data(data) = &piece {
                file.write_all_at(data, at)?;
                unsynced += data.len();
            }
            at += piece.length().get();
            if unsynced >= SYNC_EVERY {
                match due.try_send(()) {
                    Ok(()) => unsynced = 0,
                    // The disk is slower than what arrives.
                    Err(TrySendError::Full(())) => {}
                    Err(TrySendError::Disconnected(())) => break,
                }
            }
        }
        drop(due);
        syncing.join().map_err(|_| io::Error::other("the thread that waits for the disk panicked"))?
    })?;
    file.set_len(at)?;
    file.sync_all()
}

/// Gives a finished file its name: durably, and unless `replace`, only when nothing has it.
pub(crate) async fn publish(from: &Path, to: &Path, replace: bool) -> Result<()> {
    let (from, to) = (from.to_owned(), to.to_owned());
    blocking(move || {
        let failed = |e: rustix::io::Errno| trouble("write", &to, e.into());
        let flags = if replace { rustix::fs::RenameFlags::empty() } else { rustix::fs::RenameFlags::NOREPLACE };
        rustix::fs::renameat_with(rustix::fs::CWD, &from, rustix::fs::CWD, &to, flags).map_err(failed)?;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| trouble("write", &to, e))
    })
    .await
}

/// Whether there is a file of this name, or anything else.
pub(crate) async fn exists(path: &Path) -> Result<bool> {
    let path = path.to_owned();
    blocking(move || match fs::symlink_metadata(&path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(trouble("look at", &path, e)),
    })
    .await
}

/// Removes a file; one that is not there is fine.
pub(crate) async fn forget(path: &Path) -> Result<()> {
    let path = path.to_owned();
    blocking(move || remove(&path)).await
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(trouble("remove", path, e)),
        _ => Ok(()),
    }
}

pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    spawn_blocking(work).await.map_err(|e| Error::internal("a look at a file was not finished").with_source(e))?
}

fn shown(path: &Path) -> String {
    kvm_core::text::printable(&path.display().to_string()).to_string()
}

pub(crate) fn trouble(verb: &str, path: &Path, e: io::Error) -> Error {
    let kind = match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => ErrorKind::NoSpace,
        // It became shorter while it was read.
        io::ErrorKind::UnexpectedEof => ErrorKind::Corrupt,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("cannot {verb} {}", shown(path)))
        .on(Resource::File(path.display().to_string()))
        .with_source(e)
}
