//! Optical discs: ISO 9660 (ECMA-119) and the beginning of UDF (ECMA-167).

use kvm_core::Bytes;
use serde::Serialize;

use crate::inspect::{Ends, Facts, Header as AnyHeader};
use crate::read::{Fault, Fields, Source};

/// Volume descriptors stand from here on, one per sector.
const FIRST: usize = 32 << 10;
const SECTOR: usize = 2 << 10;

/// How many of them are looked at.
const DESCRIPTORS: usize = 16;

/// The primary descriptor of a disc.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Header {
    /// The name of the disc; empty for one that is UDF alone.
    pub volume: String,
    /// Whether firmware can boot from it (El Torito).
    pub is_bootable: bool,
}

/// The descriptors and the identifier of each.
fn descriptors(bytes: Fields<'_>, first: usize) -> impl Iterator<Item = (usize, [u8; 5])> {
    (0..DESCRIPTORS).map(move |i| first + i * SECTOR).map(move |at| (at, bytes.array::<5>(at + 1)))
}

pub(crate) fn matches(ends: &Ends<'_>) -> bool {
    descriptors(ends.head, FIRST).any(|(_, id)| [*b"CD001", *b"BEA01"].contains(&id))
}

pub(crate) fn read(source: &mut Source<'_>) -> Result<(AnyHeader, Facts), Fault> {
    let bytes = source.some(FIRST as u64, (DESCRIPTORS * SECTOR) as u64, "the volume descriptors")?;
    let fields = Fields(&bytes);
    let of_kind = |kind| descriptors(fields, 0).find(|(at, id)| id == b"CD001" && fields.array::<1>(*at) == [kind]);
    let volume = of_kind(1).map_or_else(String::new, |(at, _)| fields.text(at + 40, 32));
    let is_bootable = of_kind(0).is_some_and(|(at, _)| fields.has(at + 7, b"EL TORITO SPECIFICATION"));
    // Not what the descriptor says: a disc is read as raw, with whatever follows.
    let virtual_size = Some(Bytes::new(source.length));
    Ok((AnyHeader::Iso(Header { volume, is_bootable }), Facts { virtual_size, ..Facts::default() }))
}
