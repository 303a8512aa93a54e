//! qcow2, by QEMU's specification of it (`docs/interop/qcow2.txt`): the header, the map of what is allocated, and a check
//! of its references.

mod data;
mod header;
mod map;
mod snapshot;
mod table;
mod verify;

pub use header::{Compression, Encryption, Header};
pub use map::{Extent, ExtentKind, Map};
pub use snapshot::{Bitmap, Snapshot};
pub use verify::{Verified, verify};

pub(crate) use data::Data;
pub(crate) use header::{matches, read};
