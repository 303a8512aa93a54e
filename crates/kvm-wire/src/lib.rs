//! What KVM Manager and its helper on another host say to each other.
//!
//! A session is a pair of byte streams. Both carry [`Frame`]s: messages ([`Request`] to the helper, [`Reply`] from it),
//! [`Block`]s of disk images in both directions, and [`DigestRun`]s. The bytes are described in `docs/wire.md`.
//!
//! This crate is data only: it does no input or output, knows no clock and starts no thread. Whoever has bytes feeds a
//! [`Decoder`], or reads a [`Header`] and then exactly as much as it announces.
//!
//! ```
//! use kvm_wire::{Decoder, FileRef, Frame, Request};
//!
//! let request = Request::Stat { file: FileRef::new("/var/lib/images", "web.qcow2") };
//! let bytes = Frame::request(&request)?.to_bytes();
//!
//! let mut decoder = Decoder::new();
//! let mut rest = &bytes[..];
//! let frame = decoder.next(&mut rest)?.expect("a whole frame");
//! assert_eq!(frame.as_request()?, request);
//! # Ok::<(), kvm_wire::WireError>(())
//! ```

#![forbid(unsafe_code)]

mod block;
mod digest;
mod error;
mod frame;
mod message;

pub use block::{Block, DigestRun, Encoding};
pub use digest::{
    Digest, GROUP_LEAVES, GROUP_SIZE, GroupHasher, LEAF_SIZE, groups_in, is_zero, leaf_digest, leaves_in, root_digest,
};
pub use error::WireError;
pub use frame::{Decoder, Frame, FrameKind, Header, MAX_PAYLOAD};
pub use message::{
    Access, BITMAP_PREFIX, Cause, Compression, Entry, EntryKind, FailureKind, FileRef, Identity, Keep, Opening,
    Pending, Reply, Request, Span, VERSION, What,
};
