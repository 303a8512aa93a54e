//! Partition tables: recognised, not followed.

use serde::Serialize;

use crate::read::Fields;

/// A kind of partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Partitions {
    /// In the first sector, as of the PC.
    Mbr,
    /// With identifiers, as of UEFI.
    Gpt,
}

/// Entries of the first sector: where, how many, how long.
const ENTRIES: usize = 446;
const COUNT: usize = 4;
const ENTRY: usize = 16;

pub(crate) fn find(head: Fields<'_>) -> Option<Partitions> {
    // Disks have sectors of 512 or of 4096 bytes.
    if [512, 4096].iter().any(|at| head.has(*at, b"EFI PART")) {
        return Some(Partitions::Gpt);
    }
    let mut entries = (0..COUNT).map(|i| head.array::<ENTRY>(ENTRIES + i * ENTRY));
    // The boot sector of a file system ends with the same two bytes, but has code in place of entries.
    let is_plausible = entries.clone().all(|entry| matches!(entry[0], 0 | 0x80));
    let is_used = entries.any(|entry| entry[4] != 0 && entry[12..] != [0; 4]);
    (head.has(510, &[0x55, 0xaa]) && is_plausible && is_used).then_some(Partitions::Mbr)
}
