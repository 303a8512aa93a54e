//! VHD, the disk of Virtual PC, by Microsoft's "Virtual Hard Disk Image Format Specification".

use kvm_core::Bytes;
use serde::Serialize;

use crate::inspect::{Ends, Facts, Header as AnyHeader};
use crate::read::{Fault, Fields, Source, malformed};
use crate::{Format, Reference};

const MAGIC: &[u8] = b"conectix";
const FOOTER: u64 = 512;

/// Writers whose disks have the size in the footer rather than that of their geometry; as in QEMU.
const SIZED: [&[u8]; 5] = [b"win ", b"qem2", b"d2v ", b"tap\0", b"CTXS"];

/// The sectors of the largest geometry that can be written: larger disks have it, too.
const GEOMETRY_MAX: u64 = 65_535 * 16 * 255;

/// The footer of a VHD image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Header {
    /// The size of the guest's disk.
    pub virtual_size: Bytes,
    /// How it is stored.
    pub kind: Kind,
    /// The image below.
    pub backing: Option<Reference>,
}

/// How a VHD image is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The disk, and the footer behind it.
    Fixed,
    /// Only what was written.
    Dynamic,
    /// Only what differs from another image.
    Differencing,
}

pub(crate) fn matches(ends: &Ends<'_>) -> bool {
    ends.head.has(0, MAGIC) || ends.tail.has(0, MAGIC)
}

pub(crate) fn read(source: &mut Source<'_>) -> Result<(AnyHeader, Facts), Fault> {
    // A dynamic image begins with a copy of its footer.
    let start = source.bytes(0, FOOTER, "the footer")?;
    let end = source.bytes(source.length.saturating_sub(FOOTER), FOOTER, "the footer")?;
    let footer = if start.starts_with(MAGIC) { &start } else { &end };
    if checksum(footer, 64) != Fields(footer).be32(64) {
        return Err(malformed("the checksum of its footer is wrong"));
    }
    let fields = Fields(footer);
    let kind = match fields.be32(60) {
        2 => Kind::Fixed,
        3 => Kind::Dynamic,
        4 => Kind::Differencing,
        other => return Err(Fault::Unsupported(format!("a VHD image of kind {other}"))),
    };
    let backing = if kind == Kind::Fixed { None } else { dynamic(source, fields.be64(16), kind)? };
    let [heads, sectors] = fields.array(58);
    let geometry = u64::from(fields.be16(56)) * u64::from(heads) * u64::from(sectors);
    let is_sized = SIZED.contains(&&fields.array::<4>(28)[..]) || geometry == GEOMETRY_MAX;
    let size = if is_sized { fields.be64(48) } else { geometry * 512 };
    let header = Header { virtual_size: Bytes::new(size), kind, backing };
    let (virtual_size, backing) = (Some(header.virtual_size), header.backing.clone());
    Ok((AnyHeader::Vpc(header), Facts { virtual_size, backing, ..Facts::default() }))
}

/// Checks the second header and gives the image below.
fn dynamic(source: &mut Source<'_>, offset: u64, kind: Kind) -> Result<Option<Reference>, Fault> {
    let bytes = source.bytes(offset, 1024, "the dynamic header")?;
    let fields = Fields(&bytes);
    if !fields.has(0, b"cxsparse") || checksum(&bytes, 36) != fields.be32(36) {
        return Err(malformed("its dynamic header is not intact"));
    }
    let block = fields.be32(32);
    if !block.is_power_of_two() || block < 512 {
        return Err(malformed(format!("blocks of {block} bytes")));
    }
    let table = u64::from(fields.be32(28)) * 4;
    if fields.be64(16).checked_add(table).is_none_or(|end| end > source.length) {
        return Err(malformed("its block table is beyond the end of the file"));
    }
    let name = bytes.get(64..576).unwrap_or_default().chunks_exact(2);
    let units = name.map(|unit| u16::from_be_bytes([unit[0], unit[1]])).take_while(|unit| *unit != 0);
    let name = String::from_utf16_lossy(&units.collect::<Vec<_>>());
    let format = Some(Format::Vpc.as_str().to_owned());
    Ok((kind == Kind::Differencing).then(|| Reference::new(name, format)))
}

/// The complement of the sum of all bytes, those of the checksum itself left out.
fn checksum(bytes: &[u8], at: usize) -> u32 {
    let counted = bytes.iter().enumerate().filter(|(i, _)| !(at..at + 4).contains(i));
    !counted.fold(0_u32, |sum, (_, byte)| sum.wrapping_add(u32::from(*byte)))
}
