//! What is in one file of a package, wherever that stands.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use kvm_core::Bytes;
use kvm_image::ReadAt;

/// The bytes of one file of a package: a part of an archive, or a file of its own.
#[derive(Clone, Debug)]
pub struct Content {
    file: Arc<File>,
    offset: u64,
    length: u64,
}

impl Content {
    pub(crate) fn new(file: Arc<File>, offset: u64, length: u64) -> Self {
        Self { file, offset, length }
    }

    /// How many bytes there are.
    #[must_use]
    pub fn length(&self) -> Bytes {
        Bytes::new(self.length)
    }

    /// Everything, of a file that is small.
    pub(crate) fn read_all(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.length).map_err(|_| io::ErrorKind::OutOfMemory)?];
        FileExt::read_exact_at(&*self.file, &mut bytes, self.offset)?;
        Ok(bytes)
    }
}

impl ReadAt for Content {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.length.saturating_sub(offset).min(buffer.len() as u64);
        let buffer = &mut buffer[..usize::try_from(left).unwrap_or(0)];
        if buffer.is_empty() { Ok(0) } else { FileExt::read_at(&*self.file, buffer, self.offset + offset) }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.length)
    }
}
