//! VDI, the disk of VirtualBox, by what QEMU makes of it (`block/vdi.c`).

use kvm_core::Bytes;
use serde::Serialize;

use crate::inspect::{Ends, Facts, Header as AnyHeader};
use crate::read::{Fault, Fields, Source, malformed};
use crate::{Format, Reference};

const MAGIC: [u8; 4] = 0xbeda_107f_u32.to_le_bytes();
const AT: usize = 64;

/// The header of a VDI image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Header {
    /// The size of the guest's disk.
    pub virtual_size: Bytes,
    /// Whether all blocks are stored, in their order.
    pub is_fixed: bool,
    /// Bytes in a block.
    pub block_size: u32,
    /// The number of blocks that are stored.
    pub allocated: u32,
    /// The image below, which VDI names by an identifier only.
    pub backing: Option<Reference>,
}

pub(crate) fn matches(ends: &Ends<'_>) -> bool {
    ends.head.has(AT, &MAGIC)
}

pub(crate) fn read(source: &mut Source<'_>) -> Result<(AnyHeader, Facts), Fault> {
    let bytes = source.bytes(0, 512, "the header")?;
    let fields = Fields(&bytes);
    let version = fields.le32(68);
    if version != 0x0001_0001 {
        return Err(Fault::Unsupported(format!("a VDI image of version {}.{}", version >> 16, version & 0xffff)));
    }
    let (kind, block_size, blocks) = (fields.le32(76), fields.le32(376), fields.le32(384));
    if !(1..=4).contains(&kind) {
        return Err(Fault::Unsupported(format!("a VDI image of kind {kind}")));
    }
    let size = fields.le64(368);
    if block_size == 0 || u64::from(blocks) * u64::from(block_size) < size {
        return Err(malformed(format!("{blocks} blocks of {block_size} bytes are less than its disk")));
    }
    if u64::from(fields.le32(340)) + u64::from(blocks) * 4 > source.length {
        return Err(malformed("its block table is beyond the end of the file"));
    }
    // Kinds 3 and 4 are what differs from another image; so is what names a predecessor or a parent.
    let [link, parent] = [424, 440].map(|at| fields.array::<16>(at));
    let below = [link, parent].into_iter().find(|id| *id != [0; 16]);
    let backing = (kind > 2 || below.is_some()).then(|| {
        let id = below.unwrap_or_default();
        let name = id.iter().map(|byte| format!("{byte:02x}")).collect();
        Reference::new(name, Some(Format::Vdi.as_str().to_owned()))
    });
    let header = Header {
        virtual_size: Bytes::new(size),
        is_fixed: kind == 2,
        block_size,
        allocated: fields.le32(388),
        backing,
    };
    let (virtual_size, backing) = (Some(header.virtual_size), header.backing.clone());
    Ok((AnyHeader::Vdi(header), Facts { virtual_size, backing, ..Facts::default() }))
}
