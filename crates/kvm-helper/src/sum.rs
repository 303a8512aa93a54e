//! The SHA-256 of a file, as `sha256sum` computes it.

use kvm_wire::{Access, Digest, FileRef, Reply};
use sha2::{Digest as _, Sha256};

use crate::failure::{Result, Trouble};
use crate::image::Image;
use crate::peer::Peer;
use crate::place::Place;

/// So much is read, and hashed, at once.
const PART: usize = 1 << 20;

pub(crate) fn sum(file: &FileRef, peer: &Peer) -> Result<Reply> {
    let image = Image::open(&Place::find(file)?, Access::Exclusive)?;
    let (identity, length) = (image.identity()?, image.length());
    let (zeros, mut bytes) = (vec![0; PART], vec![0; PART]);
    let (mut hasher, mut progress, mut at) = (Sha256::new(), peer.progress(length), 0);
    while at < length {
        let (start, end) = image.data_from(at)?.unwrap_or((length, length));
        // A hole counts as zeros, but is not read.
        while at < end {
            peer.check()?;
            let is_hole = at < start;
            let part = usize::try_from(if is_hole { start - at } else { end - at }).unwrap_or(PART).min(PART);
            if is_hole {
                hasher.update(&zeros[..part]);
            } else {
                image.read(&mut bytes[..part], at)?;
                hasher.update(&bytes[..part]);
            }
            at += part as u64;
            progress.add(part as u64)?;
        }
    }
    match image.identity()? == identity {
        true => Ok(Reply::Summed { sha256: Digest::from_bytes(hasher.finalize().into()) }),
        false => Err(Trouble::changed().of(file)),
    }
}
