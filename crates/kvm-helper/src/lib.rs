//! The helper of KVM Manager on another host: reads, compares and writes disk images there.
//!
//! [`serve`] is the whole of it: it answers the requests of [`kvm_wire`] that come in over one stream on another one. The
//! program `kvm-helper` does that with its standard streams. It opens no port and starts no program, and it touches only
//! files that it is told, below the directories that it is told, through no link.
//!
//! - Images are read once, in several threads: hashed, compressed, sent. Holes are not read, zeros not sent.
//! - A new file is written beside its place, compared with its digest after it was read back, made durable, and then named.
//! - A changed file is changed only after all changes are there and durable; cut in the middle, they are applied again.
//! - Memory is bounded, whatever the image: a few MiB for each thread, and 2 MiB for each TiB of image.

#![forbid(unsafe_code)]

mod block;
mod directory;
mod failure;
mod image;
mod image_lock;
mod marks;
mod partial;
mod pass;
mod peer;
mod place;
mod receive;
mod redo;
mod saved;
mod send;
mod session;
mod settings;
mod sum;
mod tree;
mod update;

pub use session::serve;
pub use settings::Settings;
