//! What a guest sees, read through the formats that hold it.

use flate2::{Decompress, FlushDecompress, Status};
use kvm_core::Bytes;

use crate::read::fill;
use crate::{CHAIN_MAX, Format, ImageError, ReadAt, Risk, qcow2, vmdk};

/// The disk of an image, and of those below it, as the guest sees it.
///
/// Images of strangers are judged with [`check`](crate::check) first; even so, none makes a reader allocate more than a few
/// MiB or read outside of its own bytes.
///
/// ```
/// use kvm_image::{Disk, Format};
///
/// let bytes = vec![7_u8; 1024];
/// let mut disk = Disk::open(&bytes, Format::Raw)?;
/// let mut sector = [0; 512];
/// disk.read(512, &mut sector)?;
/// assert_eq!(sector, [7; 512]);
/// # Ok::<(), kvm_image::ImageError>(())
/// ```
pub struct Disk<'a> {
    /// From the image itself down to the last one below it.
    layers: Vec<Layer<'a>>,
    size: u64,
}

/// One image.
struct Layer<'a> {
    source: &'a dyn ReadAt,
    format: Format,
    data: Data<'a>,
    unpacked: Unpacked,
}

enum Data<'a> {
    Raw { length: u64 },
    Qcow2(Box<qcow2::Data<'a>>),
    Vmdk(vmdk::Data<'a>),
}

/// What an image has at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Nothing; the image below has it, and without one it is zero.
    Absent,
    /// Zeros.
    Zero,
    /// The bytes, here in the file.
    Plain { host: u64 },
    /// A part of the disk that was compressed as one.
    Packed { start: u64, size: u64, host: u64, length: u64, packing: Packing },
}

/// How a part is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// Bare.
    Deflate,
    /// With a header and a checksum.
    Zlib,
}

/// The part that was unpacked last: most reads take less than one.
#[derive(Default)]
struct Unpacked {
    start: Option<u64>,
    bytes: Vec<u8>,
}

impl<'a> Disk<'a> {
    /// The disk of an image of this format.
    ///
    /// # Errors
    /// [`ImageError::Damaged`] when its tables cannot be followed, [`ImageError::Refused`] for formats and features that are
    /// not read here, [`ImageError::Read`] for those of the source.
    pub fn open(source: &'a dyn ReadAt, format: Format) -> Result<Self, ImageError> {
        let data = match format {
            Format::Raw | Format::Iso => {
                Data::Raw { length: source.len().map_err(|source| ImageError::Read { offset: 0, source })? }
            }
            Format::Qcow2 => Data::Qcow2(Box::new(qcow2::Data::open(source)?)),
            Format::Vmdk => Data::Vmdk(vmdk::Data::open(source)?),
            other => {
                let what = format!("copying from {other}");
                return Err(ImageError::Refused { risks: vec![Risk::Unsupported { what }] });
            }
        };
        let size = match &data {
            Data::Raw { length } => *length,
            Data::Qcow2(data) => data.size(),
            Data::Vmdk(data) => data.size(),
        };
        Ok(Self { layers: vec![Layer { source, format, data, unpacked: Unpacked::default() }], size })
    }

    /// The same disk over another one, which has what this one's images do not. Beyond its end there are zeros.
    ///
    /// # Errors
    /// [`ImageError::TooDeep`].
    pub fn over(mut self, below: Self) -> Result<Self, ImageError> {
        self.layers.extend(below.layers);
        if self.layers.len() > CHAIN_MAX { Err(ImageError::TooDeep { max: CHAIN_MAX }) } else { Ok(self) }
    }

    /// The size that the guest sees.
    #[must_use]
    pub fn size(&self) -> Bytes {
        Bytes::new(self.size)
    }

    /// How many bytes from `offset` on, up to `most`, are known to be zero without reading them; 0 when there may be data.
    ///
    /// # Errors
    /// As for [`Disk::read`].
    pub fn hole(&mut self, offset: u64, most: u64) -> Result<u64, ImageError> {
        let (mut end, limit) = (offset, offset.saturating_add(most).min(self.size));
        while end < limit {
            match self.piece(end)? {
                (None, length) => end = end.saturating_add(length).min(limit),
                (Some(_), _) => break,
            }
        }
        Ok(end - offset)
    }

    /// Fills `buffer` with what is at `offset`; behind the end of the disk there are zeros.
    ///
    /// # Errors
    /// [`ImageError::Damaged`] when the tables of an image or what it has compressed cannot be right, [`ImageError::Read`]
    /// for those of a source.
    pub fn read(&mut self, mut offset: u64, mut buffer: &mut [u8]) -> Result<(), ImageError> {
        while !buffer.is_empty() {
            if offset >= self.size {
                buffer.fill(0);
                return Ok(());
            }
            let (place, length) = self.piece(offset)?;
            let length = usize::try_from(length.min(self.size - offset)).unwrap_or(usize::MAX).min(buffer.len());
            let (now, later) = buffer.split_at_mut(length);
            match place {
                None => now.fill(0),
                Some((layer, piece)) => self.layers[layer].load(piece, offset, now)?,
            }
            offset += length as u64;
            buffer = later;
        }
        Ok(())
    }

    /// Which layer has what is at `offset`; `None` when it is zero. How far that reaches is at least 1.
    fn piece(&mut self, offset: u64) -> Result<(Option<(usize, Piece)>, u64), ImageError> {
        let mut reach = u64::MAX;
        for (i, layer) in self.layers.iter_mut().enumerate() {
            let (piece, length) = layer.piece(offset)?;
            reach = reach.min(length);
            match piece {
                Piece::Absent => {}
                Piece::Zero => return Ok((None, reach)),
                found => return Ok((Some((i, found)), reach)),
            }
        }
        Ok((None, reach))
    }
}

impl Layer<'_> {
    fn piece(&mut self, offset: u64) -> Result<(Piece, u64), ImageError> {
        match &mut self.data {
            Data::Raw { length } if offset < *length => Ok((Piece::Plain { host: offset }, *length - offset)),
            Data::Raw { .. } => Ok((Piece::Absent, u64::MAX)),
            Data::Qcow2(data) if offset < data.size() => data.piece(offset),
            Data::Vmdk(data) if offset < data.size() => data.piece(offset),
            Data::Qcow2(_) | Data::Vmdk(_) => Ok((Piece::Absent, u64::MAX)),
        }
    }

    /// Fills `buffer`, which is not longer than the piece reaches.
    fn load(&mut self, piece: Piece, offset: u64, buffer: &mut [u8]) -> Result<(), ImageError> {
        match piece {
            Piece::Absent | Piece::Zero => buffer.fill(0),
            Piece::Plain { host } => {
                let read = fill(self.source, host, buffer)?;
                // The last cluster of a disk may be longer than the file.
                buffer[read..].fill(0);
            }
            Piece::Packed { start, size, host, length, packing } => {
                if self.unpacked.start != Some(start) {
                    self.unpacked.start = None;
                    self.unpack(start, size, host, length, packing)?;
                    self.unpacked.start = Some(start);
                }
                let at = usize::try_from(offset - start).unwrap_or(usize::MAX);
                buffer.copy_from_slice(&self.unpacked.bytes[at..at + buffer.len()]);
            }
        }
        Ok(())
    }

    fn unpack(&mut self, start: u64, size: u64, host: u64, length: u64, packing: Packing) -> Result<(), ImageError> {
        let damaged = || ImageError::Damaged {
            format: self.format,
            what: format!("what is compressed at {start} of the disk cannot be unpacked"),
        };
        // Both are at most a few MiB: clusters and grains have a limit, and packed they are hardly longer.
        let mut packed = vec![0; usize::try_from(length).map_err(|_| damaged())?];
        let read = fill(self.source, host, &mut packed)?;
        self.unpacked.bytes.clear();
        self.unpacked.bytes.resize(usize::try_from(size).map_err(|_| damaged())?, 0);
        let mut inflate = Decompress::new(packing == Packing::Zlib);
        let status = inflate.decompress(&packed[..read], &mut self.unpacked.bytes, FlushDecompress::Finish);
        // A stream for a longer part would be cut off here; one for a shorter part is not a whole one.
        match status {
            Ok(Status::StreamEnd) if inflate.total_out() == size => Ok(()),
            Ok(Status::Ok | Status::BufError) if inflate.total_out() == size && packing == Packing::Deflate => Ok(()),
            _ => Err(damaged()),
        }
    }
}
