//! The contract of what is in volumes: bytes streamed in and out, copies, sizes.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Bytes, PoolName, Result, VolumeInfo, VolumeName};

/// What is in the volumes of a host: a facet of [`Storage`](crate::Storage).
///
/// A stream carries the volume as it is stored: of an image with a format its file, not the disk that a guest sees. Every
/// call is `NotFound` without the pool or the volume and `InvalidState` when the pool is not active.
#[async_trait]
pub trait VolumeContent: fmt::Debug + Send + Sync {
    /// Opens a volume to be read from its beginning to its end. `Unsupported` when `holes` are to be kept and this kind
    /// of pool cannot tell them; `Busy` when the host knows that it must not be read now. Source: `virStorageVolDownload`.
    async fn download(&self, pool: &PoolName, volume: &VolumeName, holes: Holes) -> Result<Box<dyn VolumeReader>>;

    /// Opens a volume to be written from its beginning on, `length` bytes.
    ///
    /// What the volume held stays where nothing is written. With [`Holes::Keep`] a hole is skipped, so it reads as zeros
    /// only in a volume that nothing was written to before; with [`Holes::Fill`] zeros are written there. What the
    /// volume is afterwards, its pool knows after a refresh. `Busy`, `NoSpace`, `Unsupported` as for the reader. Source:
    /// `virStorageVolUpload`.
    async fn upload(
        &self,
        pool: &PoolName,
        volume: &VolumeName,
        length: Bytes,
        holes: Holes,
    ) -> Result<Box<dyn VolumeWriter>>;

    /// Changes the size that a guest sees. `InvalidInput` when the new size is not larger, or not smaller where
    /// [`Resize::Shrink`] says so; `InvalidState` when the volume takes more space than it is to have; `NoSpace`;
    /// `Unsupported` for formats that cannot. Source: `virStorageVolResize`.
    async fn resize(&self, pool: &PoolName, volume: &VolumeName, size: Bytes, how: Resize) -> Result<()>;

    /// Overwrites all that a volume holds, its format included. `Busy`; `Unsupported` when the host lacks what it takes.
    /// Source: `virStorageVolWipePattern`.
    async fn wipe(&self, pool: &PoolName, volume: &VolumeName, pattern: WipePattern) -> Result<()>;

    /// Makes a volume from its document with what another one holds, in the same pool or another of this host.
    ///
    /// Where the formats differ, the disk is converted. The new disk has the size of the document, and never less than
    /// that of the original. Errors are those of [`create_volume`](crate::Storage::create_volume), and `NotFound` for the
    /// original; after an error there is no new volume. Whoever calls sees to it that nobody writes to the original
    /// meanwhile. Source: `virStorageVolCreateXMLFrom`.
    async fn copy(
        &self,
        from: (&PoolName, &VolumeName),
        pool: &PoolName,
        doc: &kvm_xml::StorageVolume,
        blocks: Blocks,
    ) -> Result<VolumeInfo>;

    /// Makes a volume as [`create_volume`](crate::Storage::create_volume) does, of an image with tables those at once; all
    /// of its space where the document's allocation is its capacity. `Unsupported` for formats without tables. Source:
    /// `virStorageVolCreateXML` with `VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA`.
    async fn create_preallocated(&self, pool: &PoolName, doc: &kvm_xml::StorageVolume) -> Result<VolumeInfo>;

    /// Reads a volume's document: all that the host knows of it. Source: `virStorageVolGetXMLDesc`.
    async fn definition(&self, pool: &PoolName, volume: &VolumeName) -> Result<kvm_xml::StorageVolume>;
}

/// A volume that is read piece by piece. Dropping it ends the reading.
#[async_trait]
pub trait VolumeReader: fmt::Debug + Send {
    /// How many bytes there are from beginning to end, holes included, as far as the host knows.
    fn length(&self) -> Bytes;

    /// Gives the next piece, none of them empty; `None` at the end. `Timeout` when nothing comes for too long,
    /// `Unavailable` when the connection is lost; after an error nothing more comes.
    async fn next(&mut self) -> Result<Option<Piece>>;
}

/// A volume that is written piece by piece. Dropping it before [`finish`](Self::finish) ends the writing; what was
/// written by then may be there.
#[async_trait]
pub trait VolumeWriter: fmt::Debug + Send {
    /// Writes the next piece. `NoSpace`; `InvalidInput` for more than the length that was promised; `Timeout` when
    /// nothing is taken for too long; `Unavailable`. After an error nothing more is taken.
    async fn write(&mut self, piece: Piece) -> Result<()>;

    /// Says that this was all, and waits until the host has it. `InvalidInput` when less was written than promised.
    async fn finish(self: Box<Self>) -> Result<()>;
}

/// A piece of a stream.
#[derive(Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes as they are.
    Data(Vec<u8>),
    /// So many zeros that take no space.
    Hole(Bytes),
}

impl Piece {
    /// How much data a reader gives at a time at most, and so how much memory a piece takes.
    pub const DATA_MAX: Bytes = Bytes::from_mib(1);

    /// How many bytes of the volume it stands for.
    #[must_use]
    pub fn length(&self) -> Bytes {
        match self {
            Self::Data(data) => Bytes::new(data.len() as u64),
            Self::Hole(length) => *length,
        }
    }
}

impl fmt::Debug for Piece {
    /// Shows how much it is: the content of a disk belongs in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(data) => write!(f, "Data({} bytes)", data.len()),
            Self::Hole(length) => write!(f, "Hole({} bytes)", length.get()),
        }
    }
}

/// What becomes of holes: parts of a volume that were never written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holes {
    /// They stay holes and take neither time nor space.
    Keep,
    /// They are zeros like any other.
    Fill,
}

/// How a volume's size changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// It becomes larger, and takes space as it is written.
    Grow,
    /// It becomes larger, and takes all its space at once.
    Allocate,
    /// It becomes smaller; what lies beyond the new end is lost.
    Shrink,
}

/// What a volume is overwritten with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WipePattern {
    /// Zeros, once.
    Zero,
    /// Random bytes, once. Hosts need the program `scrub` for it.
    Random,
    /// Four passes as the American NNSA asks for. Hosts need `scrub`.
    Nnsa,
    /// The device is told that nothing is needed any longer. Few kinds of pool can.
    Trim,
}

/// Whether a copy has blocks of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blocks {
    /// All are copied.
    Own,
    /// They are shared until one side changes (`reflink`): at once, on file systems that can; `Unsupported` on others.
    Shared,
}
