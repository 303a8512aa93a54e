//! VHDX, by Microsoft's "\[MS-VHDX\]: Virtual Hard Disk v2 File Format".

use kvm_core::Bytes;
use serde::Serialize;

use crate::inspect::{Ends, Facts, Header as AnyHeader};
use crate::read::{Fault, Fields, Source, malformed};
use crate::{Format, Reference, Risk};

/// Where the two headers and the two region tables are.
const HEADERS: [u64; 2] = [64 << 10, 128 << 10];
const REGIONS: [u64; 2] = [192 << 10, 256 << 10];

const HEADER_SIZE: u64 = 4 << 10;
/// A region table and a metadata table have this size and at most so many entries of 32 bytes.
const TABLE_SIZE: u64 = 64 << 10;
const ENTRIES_MAX: usize = 2047;
const ENTRY: usize = 32;

/// Identifiers, as they stand in the file: the first three parts in little endian.
const BAT: [u8; 16] = guid(0x2dc2_7766, 0xf623, 0x4200, 0x9d64_115e_9bfd_4a08);
const METADATA: [u8; 16] = guid(0x8b7c_a206, 0x4790, 0x4b9a, 0xb8fe_575f_050f_886e);
const FILE_PARAMETERS: [u8; 16] = guid(0xcaa1_6737, 0xfa36, 0x4d43, 0xb3b6_33f0_aa44_e76b);
const DISK_SIZE: [u8; 16] = guid(0x2fa5_4224, 0xcd1b, 0x4876, 0xb211_5dbe_d83b_f4b8);
const DISK_ID: [u8; 16] = guid(0xbeca_12ab, 0xb2e6, 0x4523, 0x93ef_c309_e000_c746);
const LOGICAL_SECTOR: [u8; 16] = guid(0x8141_bf1d, 0xa96f, 0x4709, 0xba47_f233_a8fa_ab5f);
const PHYSICAL_SECTOR: [u8; 16] = guid(0xcda3_48c7, 0x445d, 0x4471, 0x9cc9_e988_5251_c556);
const PARENT_LOCATOR: [u8; 16] = guid(0xa8d3_5f2d, 0xb30b, 0x454d, 0xabf7_d3d8_4834_ab0c);
const KNOWN_ITEMS: [[u8; 16]; 6] =
    [FILE_PARAMETERS, DISK_SIZE, DISK_ID, LOGICAL_SECTOR, PHYSICAL_SECTOR, PARENT_LOCATOR];

/// Flags of a metadata item and of the file's parameters.
const ITEM_REQUIRED: u32 = 1 << 2;
const HAS_PARENT: u32 = 1 << 1;

/// What a parent's description may take.
const LOCATOR_MAX: u64 = 64 << 10;

/// The header of a VHDX image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Header {
    /// Which of the two copies of the header is in force counts up with every change.
    pub sequence: u64,
    /// Whether changes stand in the log that the image itself does not have yet.
    pub has_log: bool,
    /// The size of the guest's disk.
    pub virtual_size: Bytes,
    /// Bytes in a block.
    pub block_size: u32,
    /// The image below.
    pub backing: Option<Reference>,
}

pub(crate) fn matches(ends: &Ends<'_>) -> bool {
    ends.head.has(0, b"vhdxfile")
}

pub(crate) fn read(source: &mut Source<'_>) -> Result<(AnyHeader, Facts), Fault> {
    let (sequence, has_log) = current_header(source)?;
    let metadata = metadata_region(source)?;
    let (header, unknown) = metadata_items(source, metadata, sequence, has_log)?;
    let format = Format::Vhdx;
    let mut risks = Vec::new();
    if unknown {
        risks.push(Risk::UnknownFeatures { format, what: "metadata that a reader must know".into() });
    }
    if has_log {
        risks.push(Risk::NeedsRepair { format, what: "has changes in its log that must be replayed first".into() });
    }
    let (virtual_size, backing) = (Some(header.virtual_size), header.backing.clone());
    Ok((AnyHeader::Vhdx(header), Facts { virtual_size, backing, risks, ..Facts::default() }))
}

/// The valid header with the higher number: its number, and whether there is a log to replay.
fn current_header(source: &mut Source<'_>) -> Result<(u64, bool), Fault> {
    let mut current = None;
    for offset in HEADERS {
        let bytes = source.bytes(offset, HEADER_SIZE, "the header")?;
        let fields = Fields(&bytes);
        if fields.has(0, b"head") && is_intact(&bytes) {
            let has_log = fields.array::<16>(48) != [0; 16];
            current = current.max(Some((fields.le64(8), has_log)));
        }
    }
    current.ok_or_else(|| malformed("neither of its two headers is intact"))
}

/// Where the metadata is.
fn metadata_region(source: &mut Source<'_>) -> Result<u64, Fault> {
    for offset in REGIONS {
        let bytes = source.bytes(offset, TABLE_SIZE, "the region table")?;
        let fields = Fields(&bytes);
        if !fields.has(0, b"regi") || !is_intact(&bytes) {
            continue;
        }
        let mut metadata = None;
        for at in entries(16, fields.le32(8))? {
            match fields.array::<16>(at) {
                METADATA => metadata = Some(fields.le64(at + 16)),
                BAT => {}
                _ if fields.le32(at + 28) & 1 != 0 => {
                    return Err(Fault::Unsupported("a vhdx image with an unknown region".into()));
                }
                _ => {}
            }
        }
        return metadata.ok_or_else(|| malformed("it has no metadata"));
    }
    Err(malformed("neither of its two region tables is intact"))
}

/// The header, and whether there are items that a reader must know but this one does not.
fn metadata_items(source: &mut Source<'_>, region: u64, sequence: u64, has_log: bool) -> Result<(Header, bool), Fault> {
    let bytes = source.bytes(region, TABLE_SIZE, "the metadata table")?;
    let fields = Fields(&bytes);
    if !fields.has(0, b"metadata") {
        return Err(malformed("its metadata table has no signature"));
    }
    let mut header = Header { sequence, has_log, virtual_size: Bytes::ZERO, block_size: 0, backing: None };
    let (mut unknown, mut has_parent, mut locator) = (false, false, None);
    for at in entries(ENTRY, fields.le16(10).into())? {
        let id = fields.array::<16>(at);
        let (offset, length) = (u64::from(fields.le32(at + 16)), u64::from(fields.le32(at + 20)));
        let place = region.checked_add(offset).ok_or_else(|| malformed("metadata beyond the end of the file"))?;
        match id {
            FILE_PARAMETERS => {
                let item = source.bytes(place, 8, "the file's parameters")?;
                header.block_size = Fields(&item).le32(0);
                has_parent = Fields(&item).le32(4) & HAS_PARENT != 0;
            }
            DISK_SIZE => header.virtual_size = Bytes::new(Fields(&source.bytes(place, 8, "the size")?).le64(0)),
            PARENT_LOCATOR => locator = Some((place, length)),
            _ => unknown |= fields.le32(at + 24) & ITEM_REQUIRED != 0 && !KNOWN_ITEMS.contains(&id),
        }
    }
    if header.virtual_size == Bytes::ZERO || header.block_size == 0 {
        return Err(malformed("its metadata says no size"));
    }
    if has_parent || locator.is_some() {
        let name = locator.map(|place| parent(source, place)).transpose()?.flatten();
        header.backing = Some(Reference::new(name.unwrap_or_default(), Some(Format::Vhdx.as_str().to_owned())));
    }
    Ok((header, unknown))
}

/// The path in a parent locator: pairs of keys and values in UTF-16.
fn parent(source: &mut Source<'_>, (place, length): (u64, u64)) -> Result<Option<String>, Fault> {
    if length > LOCATOR_MAX {
        return Err(malformed(format!("the description of its parent has {length} bytes")));
    }
    let bytes = source.bytes(place, length, "the description of its parent")?;
    let fields = Fields(&bytes);
    let text = |offset: u32, length: u16| {
        let start = usize::try_from(offset).ok()?;
        let units = bytes.get(start..start.checked_add(length.into())?)?.chunks_exact(2);
        let units: Vec<u16> = units.map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
        Some(String::from_utf16_lossy(&units))
    };
    let pairs = (0..usize::from(fields.le16(18))).map(|i| 20 + i * 12).take_while(|at| at + 12 <= bytes.len());
    let mut path = None;
    for at in pairs {
        let key = text(fields.le32(at), fields.le16(at + 8)).unwrap_or_default();
        if ["relative_path", "absolute_win32_path", "volume_path"].contains(&&*key) {
            path = path.or(text(fields.le32(at + 4), fields.le16(at + 10)));
        }
    }
    Ok(path)
}

/// The offsets of so many entries behind a table's head.
fn entries(head: usize, count: u32) -> Result<impl Iterator<Item = usize>, Fault> {
    let count = usize::try_from(count).ok().filter(|count| *count <= ENTRIES_MAX);
    let count = count.ok_or_else(|| malformed("a table with more entries than it can hold"))?;
    Ok((0..count).map(move |i| head + i * ENTRY))
}

/// Whether the checksum at offset 4 is that of the bytes with zeros in its place.
fn is_intact(bytes: &[u8]) -> bool {
    let said = Fields(bytes).le32(4);
    let parts = [bytes.get(..4), Some(&[0; 4][..]), bytes.get(8..)];
    crc32c(parts.into_iter().flatten().flatten().copied()) == said
}

/// CRC-32C (Castagnoli).
pub(crate) fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 })
    })
}

const fn guid(a: u32, b: u16, c: u16, d: u64) -> [u8; 16] {
    let (a, b, c, d) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes(), d.to_be_bytes());
    [a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]]
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(super::crc32c(b"123456789".iter().copied()), 0xe306_9283);
    }
}
