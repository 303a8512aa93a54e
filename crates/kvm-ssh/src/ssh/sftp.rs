//! Whole files by the SFTP subsystem, read under a limit and written so that no crash leaves a part.
//!
//! Durability takes two extensions of OpenSSH's server, `fsync@openssh.com` and `posix-rename@openssh.com`; without them
//! nothing is written.

use std::path::Path;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kvm_core::text::printable;
use kvm_core::{Bytes, Entropy, Error, ErrorKind, FilePart, Resource, Result};
use russh::keys::ssh_encoding::Encode as _;
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::client::{Config, RawSftpSession};
use russh_sftp::protocol::{FileAttributes, OpenFlags, Packet, StatusCode};

use super::client::Connection;
use super::error::host_error;

/// How our unfinished files begin; whoever finds one may delete it.
const PREFIX: &str = ".kvmm-";
/// What one request carries: as much as every server has to take.
const PIECE: usize = 32 << 10;
/// How many requests are on their way at once.
const AHEAD: usize = 16;
/// The largest answer that is read.
const LARGEST_ANSWER: u32 = 256 << 10;

const FSYNC: &str = "fsync@openssh.com";
const RENAME: &str = "posix-rename@openssh.com";
const STATVFS: &str = "statvfs@openssh.com";

/// A conversation with the host's file server, for one file.
pub(super) struct Sftp<'a> {
    session: RawSftpSession,
    connection: &'a Connection,
    can_sync: bool,
    can_rename: bool,
    can_measure: bool,
}

/// A path on the host as the protocol has it.
pub(super) fn checked(path: &Path) -> Result<&str> {
    let text = path.to_str().ok_or_else(|| invalid(path, "is not UTF-8"))?;
    if !text.starts_with('/') {
        return Err(invalid(path, "is not absolute; a host has no present directory"));
    }
    if text.contains('\0') { Err(invalid(path, "contains a NUL character")) } else { Ok(text) }
}

impl<'a> Sftp<'a> {
    pub(super) async fn open(connection: &'a Connection) -> Result<Self> {
        let channel = connection.session().await?;
        connection.answer(channel.request_subsystem(true, "sftp")).await?;
        let config = Config {
            max_packet_len: LARGEST_ANSWER,
            request_timeout_secs: connection.stall().as_secs().max(1),
            ..Config::default()
        };
        let session = RawSftpSession::new_with_config(channel.into_stream(), config);
        let version = session.init().await.map_err(|e| {
            host_error(ErrorKind::Unsupported, connection.shown(), "has no file server (SFTP)").with_source(e)
        })?;
        let has = |name| version.extensions.contains_key(name);
        let (can_sync, can_rename, can_measure) = (has(FSYNC), has(RENAME), has(STATVFS));
        Ok(Self { session, connection, can_sync, can_rename, can_measure })
    }

    pub(super) async fn read(&self, path: &Path, limit: Bytes) -> Result<Vec<u8>> {
        let name = checked(path)?;
        let trouble = |e| self.trouble("read", path, e);
        // Before it is opened: the server would wait for somebody who writes into a FIFO.
        let attributes = self.session.stat(name).await.map_err(trouble)?.attrs;
        if !attributes.is_regular() {
            return Err(invalid(path, "is not a regular file"));
        }
        let handle = self.session.open(name, OpenFlags::READ, FileAttributes::empty()).await.map_err(trouble)?.handle;
        let limit = limit.get();
        let too_large = || invalid(path, &format!("is larger than {limit} bytes"));
        // Files of /proc and /sys say that they are empty, so the size is what can be read.
        let mut data: Vec<u8> = Vec::new();
        loop {
            let left = limit.saturating_sub(data.len() as u64).saturating_add(1);
            let wanted = u32::try_from(left).unwrap_or(u32::MAX).min(PIECE as u32);
            match self.session.read(handle.as_str(), data.len() as u64, wanted).await {
                Ok(piece) if piece.data.len() > wanted as usize => return Err(self.corrupt()),
                Ok(piece) if piece.data.is_empty() => return Err(self.corrupt()),
                Ok(piece) => data.extend_from_slice(&piece.data),
                Err(SftpError::Status(status)) if status.status_code == StatusCode::Eof => break,
                Err(e) => return Err(trouble(e)),
            }
            if data.len() as u64 > limit {
                return Err(too_large());
            }
        }
        Ok(data)
    }

    /// As the server says it, a block device has no length: it is refused like everything that is no regular file.
    pub(super) async fn read_part(&self, path: &Path, offset: u64, length: Bytes) -> Result<FilePart> {
        let name = checked(path)?;
        let trouble = |e| self.trouble("read", path, e);
        if length > FilePart::MAX {
            return Err(invalid(path, &format!("is read in parts of at most {}", FilePart::MAX)));
        }
        let attributes = self.session.stat(name).await.map_err(trouble)?.attrs;
        if !attributes.is_regular() {
            return Err(invalid(path, "is not a regular file"));
        }
        let end = attributes.size.ok_or_else(|| self.corrupt())?;
        let handle = self.session.open(name, OpenFlags::READ, FileAttributes::empty()).await.map_err(trouble)?.handle;
        let wanted = length.get().min(end.saturating_sub(offset));
        let mut data: Vec<u8> = Vec::new();
        while (data.len() as u64) < wanted {
            let piece = u32::try_from(wanted - data.len() as u64).unwrap_or(u32::MAX).min(PIECE as u32);
            match self.session.read(handle.as_str(), offset + data.len() as u64, piece).await {
                Ok(read) if read.data.len() > piece as usize || read.data.is_empty() => return Err(self.corrupt()),
                Ok(read) => data.extend_from_slice(&read.data),
                // It became shorter meanwhile.
                Err(SftpError::Status(status)) if status.status_code == StatusCode::Eof => break,
                Err(e) => return Err(trouble(e)),
            }
        }
        Ok(FilePart { data, length: Bytes::new(end) })
    }

    pub(super) async fn write(&self, path: &Path, data: &[u8], mode: u32, entropy: &dyn Entropy) -> Result<()> {
        let name = checked(path)?;
        let dir = match path.parent().and_then(Path::to_str) {
            Some(dir) if path.file_name().is_some() && !name.ends_with('/') => dir,
            _ => return Err(invalid(path, "does not name a file")),
        };
        if self.session.lstat(name).await.is_ok_and(|found| found.attrs.is_dir()) {
            return Err(invalid(path, "is a directory"));
        }
        let dir_handle = self.durable(dir).await?;
        let id = entropy.uuid().simple();
        let unfinished = format!("{}/{PREFIX}{id}", dir.trim_end_matches('/'));
        let written = self.write_unfinished(&unfinished, name, path, data, mode).await;
        if written.is_err() {
            // What cannot be removed now is recognised by its name.
            let _gone = self.session.remove(unfinished.as_str()).await;
        }
        match written {
            Err(e) if e.kind() == ErrorKind::Internal && self.is_full(dir, data.len()).await => {
                Err(Error::new(ErrorKind::NoSpace, format!("no room for {}", shown(path)))
                    .on(Resource::File(path.display().to_string()))
                    .with_source(e))
            }
            Err(e) => Err(e),
            Ok(()) => self.session.fsync(dir_handle).await.map(drop).map_err(|e| self.trouble("sync", path, e)),
        }
    }

    /// The directory in which a login begins.
    pub(super) async fn home(&self) -> Result<String> {
        let names = self.session.realpath(".").await.map_err(|e| self.trouble("find", Path::new("."), e))?;
        let name = names.files.into_iter().next().map(|file| file.filename);
        name.filter(|name| checked(Path::new(name)).is_ok()).ok_or_else(|| self.corrupt())
    }

    /// Makes a directory for its owner alone, unless there is something of that name.
    pub(super) async fn make_directory(&self, path: &str) {
        let private = FileAttributes { permissions: Some(0o700), ..FileAttributes::empty() };
        // Whoever uses it sees what is there.
        let _made = self.session.mkdir(path, private).await;
    }

    /// What stands at a path, links not followed; `None` when nothing does.
    pub(super) async fn look(&self, path: &str) -> Result<Option<FileAttributes>> {
        match self.session.lstat(path).await {
            Ok(found) => Ok(Some(found.attrs)),
            Err(SftpError::Status(status)) if status.status_code == StatusCode::NoSuchFile => Ok(None),
            Err(e) => Err(self.trouble("look at", Path::new(path), e)),
        }
    }

    pub(super) async fn remove(&self, path: &Path) -> Result<()> {
        let name = checked(path)?;
        let trouble = |e| self.trouble("remove", path, e);
        let dir = path.parent().and_then(Path::to_str).ok_or_else(|| invalid(path, "does not name a file"))?;
        // OpenSSH's server has no word for it when it is asked to remove one.
        if self.session.lstat(name).await.map_err(trouble)?.attrs.is_dir() {
            return Err(invalid(path, "is a directory"));
        }
        let dir_handle = self.durable(dir).await?;
        self.session.remove(name).await.map_err(trouble)?;
        self.session.fsync(dir_handle).await.map(drop).map_err(|e| self.trouble("sync", path, e))
    }

    /// Opens a directory in which an entry is to change, so that the change can be made durable in the end. Before it
    /// happens: a server that cannot do that is not asked for the change either.
    async fn durable(&self, dir: &str) -> Result<String> {
        if !(self.can_sync && self.can_rename) {
            let text = "cannot change files durably: its file server is not OpenSSH's";
            return Err(host_error(ErrorKind::Unsupported, self.connection.shown(), text));
        }
        let opened = self.session.open(dir, OpenFlags::READ, FileAttributes::empty()).await;
        Ok(opened.map_err(|e| self.trouble("open", Path::new(dir), e))?.handle)
    }

    async fn write_unfinished(&self, unfinished: &str, name: &str, path: &Path, data: &[u8], mode: u32) -> Result<()> {
        let trouble = |e| self.trouble("write", path, e);
        let permissions = FileAttributes { permissions: Some(mode & 0o7777), ..FileAttributes::empty() };
        // Nobody reads it before it has its own mode.
        let private = FileAttributes { permissions: Some(0o600), ..FileAttributes::empty() };
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE;
        let handle = self.session.open(unfinished, flags, private).await.map_err(trouble)?.handle;
        let pieces = (0..data.len()).step_by(PIECE).map(|offset| {
            let piece = data[offset..data.len().min(offset + PIECE)].to_vec();
            self.session.write(handle.as_str(), offset as u64, piece)
        });
        stream::iter(pieces).buffered(AHEAD).try_for_each(|_| async { Ok(()) }).await.map_err(trouble)?;
        self.session.fsetstat(handle.as_str(), permissions).await.map_err(trouble)?;
        self.session.fsync(handle.as_str()).await.map_err(trouble)?;
        self.session.close(handle.as_str()).await.map_err(trouble)?;
        let mut names = Vec::new();
        let encoded = unfinished.encode(&mut names).and_then(|()| name.encode(&mut names));
        encoded.map_err(|_| invalid(path, "is too long"))?;
        match self.session.extended(RENAME, names).await.map_err(trouble)? {
            Packet::Status(status) if status.status_code == StatusCode::Ok => Ok(()),
            Packet::Status(status) => Err(trouble(SftpError::Status(status))),
            _ => Err(self.corrupt()),
        }
    }

    /// Whether there is no room for this much. The protocol itself has one word for all failures.
    async fn is_full(&self, dir: &str, size: usize) -> bool {
        if !self.can_measure {
            return false;
        }
        let measured = self.session.statvfs(dir).await;
        measured.is_ok_and(|fs| {
            let room = fs.blocks_avail.saturating_mul(fs.fragment_size);
            room < size as u64 || (fs.inodes > 0 && fs.inodes_avail == 0)
        })
    }

    /// An error about a file: `cannot <verb> <path>`.
    fn trouble(&self, verb: &str, path: &Path, e: SftpError) -> Error {
        let kind = match &e {
            SftpError::Status(status) => match status.status_code {
                StatusCode::NoSuchFile => ErrorKind::NotFound,
                StatusCode::PermissionDenied => ErrorKind::Denied,
                StatusCode::OpUnsupported => ErrorKind::Unsupported,
                StatusCode::NoConnection | StatusCode::ConnectionLost => ErrorKind::Unavailable,
                StatusCode::BadMessage => ErrorKind::InvalidInput,
                _ => ErrorKind::Internal,
            },
            SftpError::Timeout => ErrorKind::Timeout,
            SftpError::UnexpectedPacket => ErrorKind::Corrupt,
            _ => ErrorKind::Unavailable,
        };
        let text = format!("cannot {verb} {} on {}", shown(path), self.connection.shown());
        // The status's own text is the server's.
        let told = printable(&e.to_string()).to_string();
        Error::new(kind, text).on(Resource::File(path.display().to_string())).with_detail(told)
    }

    fn corrupt(&self) -> Error {
        host_error(ErrorKind::Corrupt, self.connection.shown(), "does not keep to the file protocol")
    }
}

fn shown(path: &Path) -> String {
    printable(&path.display().to_string()).to_string()
}

fn invalid(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("{} {why}", shown(path))).on(Resource::File(path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_would_mean_something_else_on_the_host_is_refused() {
        use std::os::unix::ffi::OsStrExt as _;
        assert_eq!(checked(Path::new("/srv/a b/é")).unwrap(), "/srv/a b/é");
        for bytes in [&b"relative"[..], b"", b"./x", b"/a\0b", b"/a\xff"] {
            let path = Path::new(std::ffi::OsStr::from_bytes(bytes));
            assert_eq!(checked(path).unwrap_err().kind(), ErrorKind::InvalidInput, "{path:?}");
        }
    }
}
