//! An image: a regular file or a block device, and where its data is.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};

use kvm_wire::{Access, FailureKind, FileRef, Identity};
use rustix::fs::{FallocateFlags, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use crate::failure::{Result, Trouble};
use crate::image_lock::{Purpose, lock};
use crate::place::Place;

/// Longer images are refused: the digests of their groups would not fit into the memory that the helper allows itself.
pub(crate) const MAX_LENGTH: u64 = 16 << 40;

/// An open image.
#[derive(Debug)]
pub(crate) struct Image {
    file: File,
    length: u64,
    is_device: bool,
    name: FileRef,
}

impl Image {
    /// Opens an image to be read.
    pub(crate) fn open(place: &Place, access: Access) -> Result<Self> {
        let image = Self::of(place.open(place.name(), OFlags::RDONLY, Mode::empty())?, place.file())?;
        if access == Access::Exclusive {
            lock(&image.file, Purpose::Read).map_err(|e| e.of(place.file()))?;
        }
        Ok(image)
    }

    /// Opens an image to be read and written, by nobody else meanwhile.
    pub(crate) fn open_to_write(place: &Place) -> Result<Self> {
        let image = Self::of(place.open(place.name(), OFlags::RDWR, Mode::empty())?, place.file())?;
        lock(&image.file, Purpose::Write).map_err(|e| e.of(place.file()))?;
        Ok(image)
    }

    /// The image in an open file.
    pub(crate) fn of(file: File, name: &FileRef) -> Result<Self> {
        let metadata = file.metadata().map_err(|e| Trouble::io("cannot look at the file", e).of(name))?;
        let kind = metadata.file_type();
        let length = match (kind.is_file(), kind.is_block_device()) {
            (true, _) => metadata.len(),
            (_, true) => rustix::fs::seek(&file, SeekFrom::End(0))
                .map_err(|e| Trouble::io("cannot measure the device", e).of(name))?,
            _ => return Err(Trouble::invalid("neither a file nor a block device").of(name)),
        };
        check_length(length).map_err(|e| e.of(name))?;
        Ok(Self { file, length, is_device: kind.is_block_device(), name: name.clone() })
    }

    pub(crate) fn name(&self) -> &FileRef {
        &self.name
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn is_device(&self) -> bool {
        self.is_device
    }

    /// What the file is at this moment; `None` for a block device, of which nothing tells whether it was written to.
    pub(crate) fn identity(&self) -> Result<Option<Identity>> {
        if self.is_device {
            return Ok(None);
        }
        let it = self.file.metadata().map_err(|e| self.failed("cannot look at the file", e))?;
        let time = |seconds: i64, nanoseconds: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds);
        Ok(Some(Identity {
            dev: it.dev(),
            ino: it.ino(),
            size: it.len(),
            mtime: time(it.mtime(), it.mtime_nsec()),
            ctime: time(it.ctime(), it.ctime_nsec()),
        }))
    }

    /// How much of it takes room.
    pub(crate) fn allocated(&self) -> Result<u64> {
        if self.is_device {
            return Ok(self.length);
        }
        let it = self.file.metadata().map_err(|e| self.failed("cannot look at the file", e))?;
        Ok(it.blocks().saturating_mul(512))
    }

    /// The next data at or behind `offset`: its first byte and the first one behind it.
    pub(crate) fn data_from(&self, offset: u64) -> Result<Option<(u64, u64)>> {
        if offset >= self.length {
            return Ok(None);
        }
        let seek = |to| rustix::fs::seek(&self.file, to);
        let start = match seek(SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            // Who does not know holes has none.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((offset, self.length))),
            Err(e) => return Err(self.failed("cannot look for data", e)),
        };
        let end = seek(SeekFrom::Hole(start)).map_err(|e| self.failed("cannot look for holes", e))?;
        // The end moves when somebody makes the file longer.
        let (start, end) = (start.min(self.length), end.min(self.length));
        Ok((start < end).then_some((start, end)))
    }

    pub(crate) fn read(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_exact_at(bytes, offset).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => Trouble::changed().of(&self.name),
            _ => self.failed(&format!("cannot read at {offset}"), e),
        })
    }

    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.file.write_all_at(bytes, offset).map_err(|e| self.failed(&format!("cannot write at {offset}"), e))
    }

    /// Makes zeros, and no room taken if that can be had.
    pub(crate) fn write_zeros(&self, offset: u64, length: u64) -> Result<()> {
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.file, hole, offset, length) {
            Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NODEV) => {
                let zeros = vec![0; usize::try_from(length.min(1 << 20)).unwrap_or_default()];
                let mut at = offset;
                while at < offset + length {
                    let part = &zeros[..usize::try_from((offset + length - at).min(1 << 20)).unwrap_or_default()];
                    self.write(part, at)?;
                    at += part.len() as u64;
                }
                Ok(())
            }
            punched => punched.map_err(|e| self.failed(&format!("cannot clear at {offset}"), e)),
        }
    }

    /// Makes the file this long.
    pub(crate) fn resize(&mut self, length: u64) -> Result<()> {
        check_length(length).map_err(|e| e.of(&self.name))?;
        if length != self.length {
            self.file.set_len(length).map_err(|e| self.failed("cannot make the file that long", e))?;
            self.length = length;
        }
        Ok(())
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|e| self.failed("cannot make the file durable", e))
    }

    /// Has the disk take what was written; its length and times may follow later.
    pub(crate) fn settle(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| self.failed("cannot make the file durable", e))
    }

    pub(crate) fn failed(&self, doing: &str, error: impl Into<io::Error>) -> Trouble {
        Trouble::io(doing, error).of(&self.name)
    }
}

fn check_length(length: u64) -> Result<()> {
    match length <= MAX_LENGTH {
        true => Ok(()),
        false => Err(Trouble::new(FailureKind::Unsupported, "images of more than 16 TiB are not supported")),
    }
}
