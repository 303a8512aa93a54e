//! VMDK as appliances have it: a compressed stream, by VMware's "Virtual Disk Format 5.0" (`streamOptimized`).

use std::io::Write;

use flate2::{Compress, Compression, FlushCompress, Status};

use super::{UNIT, is_zero, unwritten};
use crate::vmdk::{AT_END, MAGIC, SECTOR};
use crate::{Disk, Format, ImageError};

/// Sectors in a grain.
const GRAIN: u64 = UNIT as u64 / SECTOR;
/// Entries in a table.
const TABLE: usize = 512;
/// Bytes of the disk that a table stands for.
const SPAN: u64 = TABLE as u64 * UNIT as u64;
/// Sectors in front of the first grain; the descriptor is among them.
const OVERHEAD: u64 = 128;
const DESCRIPTOR: u64 = 20;

/// Kinds of marker.
const GRAIN_TABLE: u32 = 1;
const GRAIN_DIRECTORY: u32 = 2;
const FOOTER: u32 = 3;

/// Writes a disk as one compressed VMDK stream, which VMware, VirtualBox and QEMU read. Gives the bytes of the disk that
/// are not zero, in whole grains of 64 KiB.
///
/// # Errors
/// Those of [`Disk::read`], and [`ImageError::Write`]; [`ImageError::Damaged`] when the result would be longer than the 2 TiB
/// that the format can address.
pub fn stream_vmdk(disk: &mut Disk<'_>, out: &mut dyn Write) -> Result<u64, ImageError> {
    let capacity = disk.size().get().div_ceil(SECTOR);
    let mut out = Out { out, sectors: 0 };
    out.put(&header(capacity, AT_END))?;
    out.put(&descriptor(capacity))?;
    out.put(&vec![0; index((OVERHEAD - out.sectors) * SECTOR)])?;
    let tables = capacity.div_ceil(GRAIN * TABLE as u64);
    let mut directory: Vec<u32> = vec![0; index(tables)];
    let mut grain = vec![0; UNIT];
    let mut packed = Vec::with_capacity(UNIT + UNIT / 8);
    let mut populated = 0;
    for (number, place) in (0_u64..).zip(&mut directory) {
        let (start, mut table) = (number * SPAN, [0_u32; TABLE]);
        if disk.hole(start, SPAN)? >= SPAN {
            continue;
        }
        for (of_table, entry) in (0_u64..).zip(&mut table) {
            let sector = (number * TABLE as u64 + of_table) * GRAIN;
            if sector >= capacity {
                break;
            }
            // What is behind the end of the disk reads as zero.
            if is_zero(disk, sector * SECTOR, &mut grain)? {
                continue;
            }
            *entry = out.address()?;
            pack(&grain, &mut packed)?;
            out.marker(sector, u32::try_from(packed.len()).unwrap_or(u32::MAX), &packed)?;
            populated += UNIT as u64;
        }
        if table != [0; TABLE] {
            *place = out.table(GRAIN_TABLE, &table)?;
        }
    }
    let directory = out.table(GRAIN_DIRECTORY, &directory)?;
    out.metadata(FOOTER, 1)?;
    out.put(&header(capacity, directory.into()))?;
    // A marker of zeros ends the stream.
    out.put(&[0; SECTOR as usize])?;
    Ok(populated)
}

/// What is written, in whole sectors.
struct Out<'a> {
    out: &'a mut dyn Write,
    sectors: u64,
}

impl Out<'_> {
    /// Writes bytes and fills up the last sector.
    fn put(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        let sectors = (bytes.len() as u64).div_ceil(SECTOR);
        self.out.write_all(bytes).map_err(unwritten)?;
        self.out.write_all(&[0; SECTOR as usize][..index(sectors * SECTOR) - bytes.len()]).map_err(unwritten)?;
        self.sectors += sectors;
        Ok(())
    }

    /// Where the next thing will stand.
    fn address(&self) -> Result<u32, ImageError> {
        u32::try_from(self.sectors).map_err(|_| ImageError::Damaged {
            format: Format::Vmdk,
            what: "it would be longer than 2 TiB, which no VMDK stream can be".into(),
        })
    }

    /// A marker with data right behind it.
    fn marker(&mut self, value: u64, size: u32, data: &[u8]) -> Result<(), ImageError> {
        let mut bytes = Vec::with_capacity(12 + data.len());
        bytes.extend(value.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(data);
        self.put(&bytes)
    }

    /// A marker that announces so many sectors of metadata.
    fn metadata(&mut self, kind: u32, sectors: u64) -> Result<(), ImageError> {
        self.marker(sectors, 0, &kind.to_le_bytes())
    }

    /// A table behind its marker; gives its address.
    fn table(&mut self, kind: u32, entries: &[u32]) -> Result<u32, ImageError> {
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        self.metadata(kind, (bytes.len() as u64).div_ceil(SECTOR))?;
        let address = self.address()?;
        self.put(&bytes)?;
        Ok(address)
    }
}

fn header(capacity: u64, directory: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(SECTOR as usize);
    header.extend(MAGIC);
    header.extend(3_u32.to_le_bytes());
    // Newlines below can be checked; grains are compressed; markers.
    header.extend(0x3_0001_u32.to_le_bytes());
    header.extend(capacity.to_le_bytes());
    header.extend(GRAIN.to_le_bytes());
    header.extend(1_u64.to_le_bytes());
    header.extend(DESCRIPTOR.to_le_bytes());
    header.extend((TABLE as u32).to_le_bytes());
    header.extend(0_u64.to_le_bytes()); // no second directory
    header.extend(directory.to_le_bytes());
    header.extend(OVERHEAD.to_le_bytes());
    header.extend(b"\0\n \r\n"); // closed properly; a transfer as text would change these
    header.extend(1_u16.to_le_bytes()); // deflate
    header.resize(SECTOR as usize, 0);
    header
}

fn descriptor(capacity: u64) -> Vec<u8> {
    // The geometry of old firmware, which VMware derives in the same way.
    let cylinders = (capacity / (255 * 63)).clamp(1, 65535);
    let mut text = format!(
        "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"streamOptimized\"\n\n\
         # Extent description\nRDONLY {capacity} SPARSE \"disk.vmdk\"\n\n\
         # The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"4\"\nddb.geometry.cylinders = \"{cylinders}\"\n\
         ddb.geometry.heads = \"255\"\nddb.geometry.sectors = \"63\"\nddb.adapterType = \"lsilogic\"\n"
    )
    .into_bytes();
    text.resize(index(DESCRIPTOR * SECTOR), 0);
    text
}

fn pack(grain: &[u8], packed: &mut Vec<u8>) -> Result<(), ImageError> {
    let mut deflate = Compress::new(Compression::fast(), true);
    packed.clear();
    // There is room for what cannot be compressed, too.
    match deflate.compress_vec(grain, packed, FlushCompress::Finish) {
        Ok(Status::StreamEnd) => Ok(()),
        _ => Err(ImageError::Damaged { format: Format::Vmdk, what: "a part of it cannot be compressed".into() }),
    }
}

/// A number of bytes in memory.
fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
