//! What a qcow2 image has at a place of the disk.

use super::header::{Compression, Encryption};
use super::table::{Step, Tables, Target};
use crate::disk::{Packing, Piece};
use crate::{ImageError, ReadAt, Risk};

/// The data of an image, looked up by its place on the disk.
pub(crate) struct Data<'a>(Tables<'a>);

impl<'a> Data<'a> {
    pub(crate) fn open(source: &'a dyn ReadAt) -> Result<Self, ImageError> {
        let tables = Tables::open(source)?;
        let header = &tables.header;
        let refused = match (&header.data_file, header.encryption, header.compression) {
            (Some(_), ..) => Some("a qcow2 image with a data file of its own"),
            (_, Encryption::Aes | Encryption::Luks, _) => Some("reading an encrypted qcow2 image"),
            (.., Compression::Zstd) => Some("a qcow2 image that is compressed by zstd"),
            _ => None,
        };
        match refused {
            Some(what) => Err(ImageError::Refused { risks: vec![Risk::Unsupported { what: what.to_owned() }] }),
            None => Ok(Self(tables)),
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.0.header.virtual_size.get()
    }

    /// What is at `offset`, and how far that reaches.
    pub(crate) fn piece(&mut self, offset: u64) -> Result<(Piece, u64), ImageError> {
        let cluster = self.0.header.cluster_size();
        let within = offset % cluster;
        self.0.seek(offset / cluster);
        let target = loop {
            match self.0.step()? {
                Some(Step::Table { .. }) => {}
                Some(Step::Hole { clusters }) => {
                    return Ok((Piece::Absent, clusters.saturating_mul(cluster) - within));
                }
                Some(Step::Cluster { target, .. }) => break target,
                None => return Ok((Piece::Absent, u64::MAX)),
            }
        };
        let rest = cluster - within;
        Ok(match target {
            Target::Unallocated => (Piece::Absent, rest),
            Target::Zero { .. } => (Piece::Zero, rest),
            Target::Data { host } => (Piece::Plain { host: host + within }, rest),
            Target::Compressed { host, length } => {
                (Piece::Packed { start: offset - within, size: cluster, host, length, packing: Packing::Deflate }, rest)
            }
            Target::Parts { host, allocated, zero } => {
                let size = cluster / 32;
                let part = within / size;
                let kind = match (allocated >> part & 1, zero >> part & 1) {
                    (1, _) => Piece::Plain { host: host + within },
                    (_, 1) => Piece::Zero,
                    _ => Piece::Absent,
                };
                (kind, size - within % size)
            }
        })
    }
}
