//! Disk images, read by their own headers and judged before any other program opens them.
//!
//! - **Look**: [`inspect`] runs the readers of all formats over a [`ReadAt`] and says what the image is, how large its
//!   disk is, which other files it names, and what speaks against it ([`Risk`]).
//! - **Decide**: [`check`] holds that against what the caller expects. A disk that is recorded as raw stays raw,
//!   whatever its guest wrote into it: then [`inspect_as`] does not even look.
//! - **Walk**: [`Chain`] follows backing files under a limit, [`qcow2::Map`] lists what is allocated, [`qcow2::verify`]
//!   looks for references that would lose data.
//! - **Copy**: [`Disk`] reads what the guest sees through a raw, qcow2 or VMDK image and those below it; [`mod@write`] makes a
//!   new image of it, as qcow2 or as the VMDK of an appliance. So an image from a stranger becomes one of ours without any
//!   other program opening it.
//! - **Who uses what**: [`graph`] knows machines, snapshots and images as one graph, and whether an image may be deleted,
//!   moved, committed, pulled or reverted without hurting somebody else.
//!
//! Everything here is a pure function of bytes. Headers are written by strangers, so nothing is allocated by a size that
//! was not checked, [`inspect`] reads less than 1 MiB, and no input makes it panic.
//!
//! ```
//! use kvm_image::{Expect, Format, check, inspect};
//!
//! let disk = vec![0_u8; 4096];
//! let seen = inspect(&disk)?;
//! assert_eq!(check(&seen, &Expect::any())?, Format::Raw);
//! # Ok::<(), kvm_image::ImageError>(())
//! ```

#![forbid(unsafe_code)]

mod chain;
mod check;
mod disk;
mod error;
mod format;
pub mod graph;
mod inspect;
pub mod iso;
pub mod luks;
pub mod partition;
pub mod qcow2;
pub mod qed;
mod read;
mod reference;
mod risk;
pub mod vdi;
pub mod vhdx;
pub mod vmdk;
pub mod vpc;
pub mod write;

pub use chain::{CHAIN_MAX, Chain, Link, Opened};
pub use check::{Chains, Expect, Secret, check};
pub use disk::Disk;
pub use error::ImageError;
pub use format::Format;
pub use inspect::{Content, Header, Inspection, inspect, inspect_as};
pub use read::{READ_MAX, ReadAt};
pub use reference::{Reference, ReferenceKind};
pub use risk::Risk;
