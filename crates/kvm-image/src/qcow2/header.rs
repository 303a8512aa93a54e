//! The header and its extensions.

use kvm_core::Bytes;
use serde::Serialize;

use super::snapshot::{self, Bitmap, Snapshot};
use crate::inspect::{Ends, Facts, Header as AnyHeader};
use crate::read::{Fault, Fields, Source, file_name, malformed};
use crate::{Format, Reference, Risk};

const MAGIC: &[u8] = b"QFI\xfb";

/// Limits of QEMU's own reader: it opens nothing beyond them.
const L1_BYTES_MAX: u64 = 32 << 20;
const REFCOUNT_TABLE_BYTES_MAX: u64 = 8 << 20;
const BACKING_NAME_MAX: u32 = 1023;

/// How far into the file header extensions may reach.
const EXTENSIONS_MAX: u64 = 64 << 10;

const DIRTY: u64 = 1;
const CORRUPT: u64 = 1 << 1;
const DATA_FILE: u64 = 1 << 2;
const COMPRESSION: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;
const KNOWN: u64 = DIRTY | CORRUPT | DATA_FILE | COMPRESSION | EXTENDED_L2;

/// Of the autoclear bits: the data file is the disk, byte for byte.
const RAW_DATA_FILE: u64 = 1 << 1;

const BACKING_FORMAT: u32 = 0xe279_2aca;
const DATA_FILE_NAME: u32 = 0x4441_5441;
const BITMAPS: u32 = 0x2385_2875;

/// The header of a qcow2 image. Offsets and lengths are in bytes and were checked against the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// The size of the guest's disk.
    pub virtual_size: Bytes,
    /// A cluster has 2 to this power bytes: 9 to 21.
    pub cluster_bits: u32,
    /// Features that a reader must know.
    pub incompatible: u64,
    /// Features that a reader may ignore.
    pub compatible: u64,
    /// Features that a writer who does not know them switches off.
    pub autoclear: u64,
    /// The width of a reference count, in bits.
    pub refcount_bits: u32,
    /// How compressed clusters are compressed.
    pub compression: Compression,
    /// How the data is encrypted.
    pub encryption: Encryption,
    /// The image below.
    pub backing: Option<Reference>,
    /// The file that holds the data in place of this one.
    pub data_file: Option<Reference>,
    /// Where the first-level table is.
    pub l1_offset: u64,
    /// The number of its entries.
    pub l1_entries: u32,
    /// Where the table of reference counts is.
    pub refcount_table_offset: u64,
    /// Its length in clusters.
    pub refcount_table_clusters: u32,
    /// The number of internal snapshots.
    pub snapshot_count: u32,
    /// The first of them: as many as fit into a few hundred KiB.
    pub snapshots: Vec<Snapshot>,
    /// The number of bitmaps.
    pub bitmap_count: u32,
    /// The first of them.
    pub bitmaps: Vec<Bitmap>,
    /// The length of the file.
    pub file_length: u64,
}

/// How compressed clusters are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// zlib, as raw deflate.
    Zlib,
    /// Zstandard.
    Zstd,
}

/// How the data is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// Not at all.
    None,
    /// By QEMU's old AES method, which is broken.
    Aes,
    /// By LUKS.
    Luks,
}

impl Header {
    /// Bytes in a cluster.
    #[must_use]
    pub fn cluster_size(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Whether clusters are divided into 32 subclusters, each allocated by itself.
    #[must_use]
    pub fn has_extended_l2(&self) -> bool {
        self.incompatible & EXTENDED_L2 != 0
    }

    /// Whether the data file is the disk, byte for byte.
    #[must_use]
    pub fn has_raw_data_file(&self) -> bool {
        self.data_file.is_some() && self.autoclear & RAW_DATA_FILE != 0
    }

    /// Entries of a second-level table; each stands for a cluster.
    pub(super) fn l2_entries(&self) -> u64 {
        self.cluster_size() / self.l2_entry_size()
    }

    pub(super) fn l2_entry_size(&self) -> u64 {
        if self.has_extended_l2() { 16 } else { 8 }
    }

    /// The first-level entries that the disk needs.
    pub(super) fn l1_needed(&self) -> u64 {
        self.virtual_size.get().div_ceil(self.cluster_size()).div_ceil(self.l2_entries())
    }

    /// The features without which the image would be read wrongly.
    pub(super) fn unknown_features(&self) -> Vec<Risk> {
        let unknown = self.incompatible & !KNOWN;
        let what = format!("the incompatible features {unknown:#x}");
        if unknown == 0 { Vec::new() } else { vec![Risk::UnknownFeatures { format: Format::Qcow2, what }] }
    }

    fn facts(&self) -> Facts {
        let format = Format::Qcow2;
        let mut risks = self.unknown_features();
        if self.incompatible & CORRUPT != 0 {
            risks.push(Risk::Corrupt { format });
        }
        if self.incompatible & DIRTY != 0 {
            risks.push(Risk::NeedsRepair { format, what: "was not closed properly".into() });
        }
        let method = match self.encryption {
            Encryption::None => None,
            Encryption::Aes => Some("AES of old QEMU"),
            Encryption::Luks => Some("LUKS"),
        };
        risks.extend(method.map(|method| Risk::Encrypted { format, method: method.to_owned() }));
        Facts {
            virtual_size: Some(self.virtual_size),
            backing: self.backing.clone(),
            data_file: self.data_file.clone(),
            external: Vec::new(),
            risks,
        }
    }
}

pub(crate) fn matches(ends: &Ends<'_>) -> bool {
    ends.head.has(0, MAGIC)
}

pub(crate) fn read(source: &mut Source<'_>) -> Result<(AnyHeader, Facts), Fault> {
    let header = Header::read(source)?;
    let facts = header.facts();
    Ok((AnyHeader::Qcow2(Box::new(header)), facts))
}

/// What the extensions say.
#[derive(Default)]
struct Extensions {
    backing_format: Option<String>,
    data_file: Option<String>,
    bitmaps: Option<[u8; 24]>,
}

impl Header {
    pub(crate) fn read(source: &mut Source<'_>) -> Result<Self, Fault> {
        let bytes = source.some(0, 112, "the header")?;
        let fields = Fields(&bytes);
        if !fields.has(0, MAGIC) {
            return Err(malformed("it has no signature"));
        }
        let version = fields.be32(4);
        match version {
            2 if bytes.len() >= 72 => {}
            3 if bytes.len() >= 104 => {}
            2 | 3 => return Err(malformed("it ends too early")),
            1 => return Err(Fault::Unsupported("a qcow image of version 1".into())),
            _ => return Err(Fault::Unsupported(format!("a qcow2 image of version {version}"))),
        }
        let cluster_bits = fields.be32(20);
        if !(9..=21).contains(&cluster_bits) {
            return Err(malformed(format!("clusters of 2^{cluster_bits} bytes")));
        }
        let cluster = 1_u64 << cluster_bits;
        let (is_3, length) = if version == 3 { (true, fields.be32(100)) } else { (false, 72) };
        if is_3 && (length < 104 || u64::from(length) > cluster || !length.is_multiple_of(8)) {
            return Err(malformed(format!("a header of {length} bytes")));
        }
        let of_version_3 = |at| if is_3 { fields.be64(at) } else { 0 };
        let refcount_order = if is_3 { fields.be32(96) } else { 4 };
        if refcount_order > 6 {
            return Err(malformed(format!("reference counts of 2^{refcount_order} bits")));
        }
        let backing_offset = fields.be64(8);
        let extensions_end = if backing_offset == 0 { cluster } else { backing_offset };
        if backing_offset > cluster {
            return Err(malformed("the name of its backing file is outside the first cluster"));
        }
        let extensions = extensions(source, u64::from(length), extensions_end.min(EXTENSIONS_MAX))?;
        let mut header = Self {
            version,
            virtual_size: Bytes::new(fields.be64(24)),
            cluster_bits,
            incompatible: of_version_3(72),
            compatible: of_version_3(80),
            autoclear: of_version_3(88),
            refcount_bits: 1 << refcount_order,
            compression: Compression::Zlib,
            encryption: match fields.be32(32) {
                0 => Encryption::None,
                1 => Encryption::Aes,
                2 => Encryption::Luks,
                other => return Err(Fault::Unsupported(format!("encryption method {other} of qcow2"))),
            },
            backing: None,
            data_file: None,
            l1_offset: fields.be64(40),
            l1_entries: fields.be32(36),
            refcount_table_offset: fields.be64(48),
            refcount_table_clusters: fields.be32(56),
            snapshot_count: fields.be32(60),
            snapshots: Vec::new(),
            bitmap_count: 0,
            bitmaps: Vec::new(),
            file_length: source.length,
        };
        // Only there when the header is long enough to have the field.
        let compression = if is_3 && length > 104 { fields.array::<1>(104)[0] } else { 0 };
        header.compression = match (compression, header.incompatible & COMPRESSION != 0) {
            (0, _) => Compression::Zlib,
            (1, true) => Compression::Zstd,
            (other, true) => return Err(Fault::Unsupported(format!("compression method {other} of qcow2"))),
            (_, false) => return Err(malformed("a compression method without its feature bit")),
        };
        header.name_others(source, backing_offset, fields.be32(16), &extensions)?;
        header.check_tables()?;
        header.snapshots = snapshot::snapshots(source, header.snapshot_count, fields.be64(64), cluster)?;
        if let Some(field) = extensions.bitmaps {
            (header.bitmap_count, header.bitmaps) = snapshot::bitmaps(source, Fields(&field), cluster)?;
        }
        Ok(header)
    }

    fn name_others(&mut self, source: &mut Source<'_>, offset: u64, size: u32, said: &Extensions) -> Result<(), Fault> {
        if offset != 0 && size != 0 {
            if size > BACKING_NAME_MAX {
                return Err(malformed(format!("the name of its backing file has {size} bytes")));
            }
            let name = source.bytes(offset, size.into(), "the name of its backing file")?;
            let name = file_name(name, "backing file")?;
            self.backing = Some(Reference::new(name, said.backing_format.clone()));
        }
        let has_data_file = self.incompatible & DATA_FILE != 0;
        if has_data_file || said.data_file.is_some() {
            let name = said.data_file.clone().unwrap_or_default();
            self.data_file = Some(Reference::new(name, Some(Format::Raw.as_str().to_owned())));
        }
        Ok(())
    }

    /// Tables that are where tables can be, and no larger than QEMU reads.
    fn check_tables(&self) -> Result<(), Fault> {
        if self.has_extended_l2() && self.cluster_bits < 14 {
            return Err(malformed("subclusters in clusters of less than 16 KiB"));
        }
        let l1_bytes = u64::from(self.l1_entries) * 8;
        if l1_bytes > L1_BYTES_MAX {
            return Err(malformed(format!("its first-level table has {} entries", self.l1_entries)));
        }
        if u64::from(self.l1_entries) < self.l1_needed() {
            return Err(malformed(format!("its first-level table is too small for a disk of {:#}", self.virtual_size)));
        }
        let table = u64::from(self.refcount_table_clusters) << self.cluster_bits;
        if table == 0 || table > REFCOUNT_TABLE_BYTES_MAX {
            return Err(malformed(format!("its table of reference counts has {table} bytes")));
        }
        let tables = [
            (self.l1_offset, l1_bytes, "first-level table"),
            (self.refcount_table_offset, table, "table of reference counts"),
        ];
        for (offset, length, name) in tables {
            let is_inside = offset.checked_add(length).is_some_and(|end| end <= self.file_length);
            if length > 0 && (!offset.is_multiple_of(self.cluster_size()) || offset == 0 || !is_inside) {
                return Err(malformed(format!("its {name} is not inside the file")));
            }
        }
        Ok(())
    }
}

fn extensions(source: &mut Source<'_>, start: u64, end: u64) -> Result<Extensions, Fault> {
    let bytes = source.some(start, end.saturating_sub(start), "the header")?;
    let mut said = Extensions::default();
    let mut at = 0;
    while at + 8 <= bytes.len() {
        let (kind, length) = (Fields(&bytes).be32(at), Fields(&bytes).be32(at + 4));
        if kind == 0 {
            break;
        }
        at += 8;
        let end = usize::try_from(length).ok().and_then(|length| at.checked_add(length));
        let data = end
            .and_then(|end| bytes.get(at..end))
            .ok_or_else(|| malformed(format!("extension {kind:#x} of {length} bytes reaches behind the header")))?;
        match kind {
            BACKING_FORMAT => said.backing_format = Some(file_name(data.to_vec(), "backing format")?),
            DATA_FILE_NAME => said.data_file = Some(file_name(data.to_vec(), "data file")?),
            BITMAPS => said.bitmaps = Some(Fields(data).array(0)),
            // Nothing that a reader needs.
            _ => {}
        }
        at += data.len().next_multiple_of(8);
    }
    Ok(said)
}
