//! Where the bytes of an image come from, and how much of them is read.

use std::io;

use crate::ImageError;

/// The most that reading one header takes from its source, in bytes.
pub const READ_MAX: u64 = 1 << 20;

/// Bytes that can be read at any offset: a file, a block device, memory, or something far away.
///
/// The readers of this crate ask for few and small pieces, so an implementation over a network needs no cache.
pub trait ReadAt {
    /// Reads up to `buffer.len()` bytes at `offset`; fewer only at the end, and none behind it.
    ///
    /// # Errors
    /// Those of the source.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// The length in bytes.
    ///
    /// # Errors
    /// Those of the source.
    fn len(&self) -> io::Result<u64>;

    /// Whether there are no bytes at all.
    ///
    /// # Errors
    /// Those of the source.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|length| length == 0)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(<[u8]>::len(self) as u64)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.as_slice().read_at(offset, buffer)
    }

    fn len(&self) -> io::Result<u64> {
        ReadAt::len(self.as_slice())
    }
}

/// Files and block devices. Asking for the length moves the file's own position; reading does not.
#[cfg(unix)]
impl ReadAt for std::fs::File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        // The metadata of a block device says 0.
        io::Seek::seek(&mut &*self, io::SeekFrom::End(0))
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, buffer)
    }

    fn len(&self) -> io::Result<u64> {
        (**self).len()
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Box<T> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, buffer)
    }

    fn len(&self) -> io::Result<u64> {
        (**self).len()
    }
}

/// Reads as much of `buffer` as the source has at `offset`.
pub(crate) fn fill(source: &dyn ReadAt, offset: u64, buffer: &mut [u8]) -> Result<usize, ImageError> {
    let mut done = 0;
    while done < buffer.len() {
        let at = offset.saturating_add(done as u64);
        match source.read_at(at, &mut buffer[done..]) {
            Ok(0) => break,
            Ok(read) => done = buffer.len().min(done + read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(ImageError::Read { offset: at, source }),
        }
    }
    Ok(done)
}

/// A source with its length and a limit on how much is read from it.
pub(crate) struct Source<'a> {
    bytes: &'a dyn ReadAt,
    pub(crate) length: u64,
    left: u64,
}

/// Why a header cannot be read: the source, or what it says.
pub(crate) enum Fault {
    Source(ImageError),
    /// What is wrong with it, to be continued with the format's name.
    Malformed(String),
    /// What this reader does not know.
    Unsupported(String),
}

impl From<ImageError> for Fault {
    fn from(error: ImageError) -> Self {
        Self::Source(error)
    }
}

/// A header that cannot be right.
pub(crate) fn malformed(what: impl Into<String>) -> Fault {
    Fault::Malformed(what.into())
}

impl<'a> Source<'a> {
    /// A source of which at most `limit` bytes are read.
    pub(crate) fn new(bytes: &'a dyn ReadAt, limit: u64) -> Result<Self, ImageError> {
        let length = bytes.len().map_err(|source| ImageError::Read { offset: 0, source })?;
        // No file is longer; so sums of offsets inside it cannot overflow.
        Ok(Self { bytes, length: length.min(i64::MAX.unsigned_abs()), left: limit })
    }

    /// Exactly `length` bytes at `offset`. They are only allocated when the source is long enough to have them.
    pub(crate) fn bytes(&mut self, offset: u64, length: u64, what: &str) -> Result<Vec<u8>, Fault> {
        let end = offset.checked_add(length).filter(|end| *end <= self.length);
        end.ok_or_else(|| malformed(format!("{what} is beyond the end of the file")))?;
        self.left =
            self.left.checked_sub(length).ok_or_else(|| malformed(format!("{what} makes the header too large")))?;
        let mut buffer = vec![0; usize::try_from(length).map_err(|_| malformed(format!("{what} is too large")))?];
        let read = fill(self.bytes, offset, &mut buffer)?;
        // A source that became shorter meanwhile.
        if read < buffer.len() {
            return Err(malformed(format!("{what} is beyond the end of the file")));
        }
        Ok(buffer)
    }

    /// What there is of `length` bytes at `offset`.
    pub(crate) fn some(&mut self, offset: u64, length: u64, what: &str) -> Result<Vec<u8>, Fault> {
        self.bytes(offset, length.min(self.length.saturating_sub(offset)), what)
    }
}

/// Fields of a header, by their offset. Behind the end everything is zero, so that a reader needs no case for it.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn array<const N: usize>(self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        let rest = self.0.get(at..).unwrap_or_default();
        let length = rest.len().min(N);
        bytes[..length].copy_from_slice(&rest[..length]);
        bytes
    }

    pub(crate) fn be16(self, at: usize) -> u16 {
        u16::from_be_bytes(self.array(at))
    }

    pub(crate) fn be32(self, at: usize) -> u32 {
        u32::from_be_bytes(self.array(at))
    }

    pub(crate) fn be64(self, at: usize) -> u64 {
        u64::from_be_bytes(self.array(at))
    }

    pub(crate) fn le16(self, at: usize) -> u16 {
        u16::from_le_bytes(self.array(at))
    }

    pub(crate) fn le32(self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    pub(crate) fn le64(self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }

    pub(crate) fn has(self, at: usize, magic: &[u8]) -> bool {
        self.0.get(at..).is_some_and(|rest| rest.starts_with(magic))
    }

    /// Text that ends at a NUL or at the end of its field, for people.
    pub(crate) fn text(self, at: usize, length: usize) -> String {
        let rest = self.0.get(at..).unwrap_or_default();
        let field = &rest[..rest.len().min(length)];
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
        String::from_utf8_lossy(&field[..end]).trim_end().to_owned()
    }
}

/// The name of another file: exact, or refused.
pub(crate) fn file_name(bytes: Vec<u8>, what: &str) -> Result<String, Fault> {
    let name = String::from_utf8(bytes).map_err(|_| malformed(format!("the name of its {what} is not UTF-8")))?;
    if name.contains('\0') {
        return Err(malformed(format!("the name of its {what} contains a NUL byte")));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_not_read_behind_its_end_or_beyond_the_limit() {
        let bytes = vec![7; 100];
        let mut source = Source::new(&bytes, 60).unwrap_or_else(|_| panic!());
        assert!(matches!(source.bytes(90, 11, "x"), Err(Fault::Malformed(_))));
        assert!(matches!(source.bytes(u64::MAX, 11, "x"), Err(Fault::Malformed(_))));
        assert!(source.bytes(0, 50, "x").is_ok_and(|read| read == [7; 50]));
        assert!(matches!(source.bytes(0, 11, "x"), Err(Fault::Malformed(_))));
        assert!(source.some(95, 10, "x").is_ok_and(|read| read.len() == 5));
    }

    #[test]
    fn fields_behind_the_end_are_zero() {
        let fields = Fields(&[1, 2, 3]);
        assert_eq!((fields.be16(1), fields.be32(2), fields.le64(9)), (0x0203, 0x0300_0000, 0));
        assert_eq!(Fields(b"ab \0cd").text(0, 6), "ab");
    }
}
