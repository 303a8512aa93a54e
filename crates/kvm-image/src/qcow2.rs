//! qcow2, by QEMU's specification of it (`docs/interop/qcow2.txt`): the header, the map of what is allocated, a check of its
//! references, and what bitmaps mark.

mod data;
mod header;
mod map;
mod marks;
mod snapshot;
mod table;
mod verify;

pub use header::{Compression, Encryption, Header};
pub use map::{Extent, ExtentKind, Map};
pub use marks::{data_outside, marked};
pub use snapshot::{Bitmap, Snapshot};
pub use verify::{Verified, verify};

pub(crate) use data::Data;
pub(crate) use header::{matches, read};
