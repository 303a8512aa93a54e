//! Whole files, read under a limit and written so that no crash leaves a part.

use std::fs::{self, File, FileType, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use kvm_core::{Bytes, Error, ErrorKind, FilePart, Resource, Result};
use rustix::fs::{Mode, OFlags};

use super::error::file_error;

/// How our unfinished files begin; whoever finds one may delete it.
const PREFIX: &str = ".kvmm-";

pub(crate) async fn read(path: &Path, limit: Bytes) -> Result<Vec<u8>> {
    let path = path.to_owned();
    blocking(move || read_now(&path, limit.get())).await
}

pub(crate) async fn read_part(path: &Path, offset: u64, length: Bytes) -> Result<FilePart> {
    let path = path.to_owned();
    blocking(move || read_part_now(&path, offset, length)).await
}

pub(crate) async fn write(path: &Path, data: &[u8], mode: u32) -> Result<()> {
    let (path, data) = (path.to_owned(), data.to_owned());
    blocking(move || write_now(&path, &data, mode)).await
}

pub(crate) async fn remove(path: &Path) -> Result<()> {
    let path = path.to_owned();
    blocking(move || remove_now(&path)).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal("file work did not finish").with_source(e))?
}

fn read_now(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let (file, kind) = open(path)?;
    if !kind.is_file() {
        return Err(refused(path, "is not a regular file"));
    }
    // Files of /proc and /sys say that they are empty, so the size is what can be read.
    let mut data = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut data).map_err(|e| file_error("read", path, e))?;
    if data.len() as u64 > limit {
        return Err(refused(path, &format!("is larger than {limit} bytes")));
    }
    Ok(data)
}

fn read_part_now(path: &Path, offset: u64, length: Bytes) -> Result<FilePart> {
    if length > FilePart::MAX {
        return Err(refused(path, &format!("is read in parts of at most {}", FilePart::MAX)));
    }
    let (mut file, kind) = open(path)?;
    if !kind.is_file() && !kind.is_block_device() {
        return Err(refused(path, "is neither a regular file nor a block device"));
    }
    let read = |e| file_error("read", path, e);
    // The metadata of a block device says 0.
    let end = file.seek(SeekFrom::End(0)).map_err(read)?;
    file.seek(SeekFrom::Start(offset.min(end))).map_err(read)?;
    let mut data = Vec::new();
    file.take(length.get()).read_to_end(&mut data).map_err(read)?;
    Ok(FilePart { data, length: Bytes::new(end) })
}

fn open(path: &Path) -> Result<(File, FileType)> {
    let open = |e| file_error("open", path, e);
    // Without waiting: opening a FIFO for reading would block until somebody writes.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|e| open(e.into()))?);
    let kind = file.metadata().map_err(open)?.file_type();
    Ok((file, kind))
}

fn write_now(path: &Path, data: &[u8], mode: u32) -> Result<()> {
    let name = path.file_name().ok_or_else(|| refused(path, "does not name a file"))?;
    let dir = directory(path);
    let permissions = Permissions::from_mode(mode & 0o7777);
    let mut file = tempfile::Builder::new()
        .prefix(PREFIX)
        .permissions(permissions.clone())
        .tempfile_in(dir)
        .map_err(|e| file_error("create a file in", dir, e))?;
    let written = file
        .write_all(data)
        // Once more: the process's mask took bits away when the file was made.
        .and_then(|()| fs::set_permissions(file.path(), permissions))
        .and_then(|()| file.as_file().sync_all());
    written.map_err(|e| file_error("write", path, e))?;
    let path = dir.join(name);
    file.persist(&path).map_err(|e| file_error("replace", &path, e.error))?;
    sync_dir(dir)
}

fn remove_now(path: &Path) -> Result<()> {
    // The kernel itself refuses a directory.
    fs::remove_file(path).map_err(|e| file_error("remove", path, e))?;
    sync_dir(directory(path))
}

/// Where the file's name stands.
fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn sync_dir(dir: &Path) -> Result<()> {
    let synced = File::open(dir).and_then(|d| d.sync_all());
    match synced {
        // Some file systems of the network kind have no such thing.
        Err(e) if e.kind() == io::ErrorKind::InvalidInput || e.kind() == io::ErrorKind::Unsupported => Ok(()),
        other => other.map_err(|e| file_error("sync", dir, e)),
    }
}

fn refused(path: &Path, why: &str) -> Error {
    let shown = PathBuf::from(path).display().to_string();
    Error::new(ErrorKind::InvalidInput, format!("{} {why}", kvm_core::text::printable(&shown)))
        .on(Resource::File(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(bytes: u64) -> Bytes {
        Bytes::new(bytes)
    }

    #[tokio::test]
    async fn what_is_written_is_read_again_with_its_mode_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spec");
        for data in [&b"first"[..], b"", b"second \0\xff"] {
            write(&path, data, 0o640).await.unwrap();
            assert_eq!(read(&path, limit(100)).await.unwrap(), data);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_file_as_large_as_the_limit_is_read_and_one_byte_more_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, [7; 64]).unwrap();
        assert_eq!(read(&path, limit(64)).await.unwrap().len(), 64);
        assert_eq!(read(&path, limit(63)).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[tokio::test]
    async fn files_of_the_kernel_are_read_although_they_say_that_they_are_empty() {
        let text = read(Path::new("/proc/self/status"), limit(1 << 20)).await.unwrap();
        assert!(text.starts_with(b"Name:"));
    }

    #[tokio::test]
    async fn what_is_no_regular_file_is_refused_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::from(0o600), 0).unwrap();
        for path in [dir.path(), &fifo, Path::new("/dev/zero")] {
            let e = read(path, limit(10)).await.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::InvalidInput, "{}", path.display());
        }
    }

    #[tokio::test]
    async fn missing_files_and_directories_are_not_found() {
        let dir = tempfile::tempdir().unwrap();
        let e = read(&dir.path().join("none"), limit(10)).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::NotFound);
        let e = write(&dir.path().join("none/file"), b"x", 0o600).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_link_is_replaced_and_what_it_points_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        write(&link, b"new", 0o600).await.unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(fs::read(&link).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
    }

    #[tokio::test]
    async fn of_a_link_the_link_alone_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        fs::create_dir(&target).unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        remove(&link).await.unwrap();
        assert!(fs::symlink_metadata(&link).is_err() && target.is_dir());
        assert_eq!(remove(&target).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(target.is_dir());
    }

    #[tokio::test]
    async fn a_directory_is_never_replaced_and_leaves_no_unfinished_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub");
        fs::create_dir(&path).unwrap();
        assert_eq!(write(&path, b"x", 0o600).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(write(Path::new("/"), b"x", 0o600).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
