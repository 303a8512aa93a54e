//! New images of a disk, complete by themselves.
//!
//! Both forms are written from the beginning to the end, so that they can go straight into a socket. What is zero takes no
//! room in them.

mod qcow2;
mod vmdk;

use std::io;

pub use qcow2::Qcow2;
pub use vmdk::stream_vmdk;

use crate::{Disk, ImageError};

/// The unit of both forms: a cluster of the one, a grain of the other.
const UNIT: usize = 64 << 10;

/// Whether a part of the disk is only zeros. Reads it when that is not known otherwise.
fn is_zero(disk: &mut Disk<'_>, offset: u64, buffer: &mut [u8]) -> Result<bool, ImageError> {
    let length = (disk.size().get() - offset).min(buffer.len() as u64);
    if disk.hole(offset, length)? >= length {
        return Ok(true);
    }
    disk.read(offset, buffer)?;
    Ok(is_blank(buffer))
}

/// Whether all bytes are zero.
fn is_blank(bytes: &[u8]) -> bool {
    // As long as the first is zero and each equals the one before it; the comparison of slices is fast.
    bytes.first() == Some(&0) && bytes[1..] == bytes[..bytes.len() - 1]
}

fn unwritten(source: io::Error) -> ImageError {
    ImageError::Write { source }
}
