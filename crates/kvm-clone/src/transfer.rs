//! Images from one host to another through the helpers of both.
//!
//! The controller relays frames as they come: it checks their form and counts them, and unpacks none. Both helpers know
//! the digests of what they send and write, so what lies between them is trusted with nothing.

mod difference;
mod pace;
mod relay;
mod session;
mod update;

pub(crate) use session::Session;
pub(crate) use update::{Changed, recover, root, staged};
pub use update::{ImageUpdate, Updated};

use kvm_core::{Bytes, Clock, DiskPath, Error, ErrorKind, Reporter, Result, Transport};
use kvm_wire::{Access, Compression, FileRef, Keep, Opening, Reply, Request, What};
use tokio_util::sync::CancellationToken;

use crate::spec::Compress;
use difference::{Difference, difference};
use pace::Pace;
use relay::{Relay, relay};
use session::failure;

/// An image that goes from one host to another, each of which has a helper
/// ([`Transport::helper`]).
///
/// It is written beside its place under a name that says that it is not whole, read back and compared, made durable, and
/// then gets its name, which has to be free: whoever sees it sees all of it, also after a power cut. Holes and zeros are
/// neither sent nor written. Both sides keep at most a few blocks of 1 MiB in memory.
#[derive(Clone, Copy, Debug)]
pub struct ImageTransfer<'a> {
    /// Where it is.
    pub source: &'a dyn Transport,
    /// Its path there. QEMU must not have it open for writing.
    pub from: &'a DiskPath,
    /// Where it goes.
    pub target: &'a dyn Transport,
    /// Its path there.
    pub to: &'a DiskPath,
    /// Most bytes per second on the way to the target.
    pub limit: Option<Bytes>,
    /// Whether what is under way is compressed.
    pub compression: Compress,
    /// Whether what an earlier attempt has brought is compared and not sent again; else it must not be there.
    pub resume: bool,
}

/// What watches a transfer.
#[derive(Clone, Copy, Debug)]
pub struct Watch<'a> {
    /// Hears how far it is.
    pub reporter: &'a dyn Reporter,
    /// What the transfer is called in progress.
    pub title: &'a str,
    /// Waits, where there is a limit.
    pub clock: &'a dyn Clock,
    /// Ends it; what was brought stays for another attempt.
    pub cancel: &'a CancellationToken,
}

/// What a transfer took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transferred {
    /// How long the image is.
    pub length: Bytes,
    /// How much of it was sent.
    pub data: Bytes,
    /// How many bytes that took on the way.
    pub wire: Bytes,
}

/// The permission bits of new images; the hypervisor gives them to whom it wants.
const MODE: u32 = 0o600;

impl ImageTransfer<'_> {
    /// Does it. `Unsupported` without a helper on either side; `NotFound`, `AlreadyExists`, `NoSpace`, `Denied`; `Busy` when
    /// somebody writes to the source; `Corrupt` when what arrived is not what was sent; `Cancelled`, `Unavailable`.
    pub async fn run(&self, watch: Watch<'_>) -> Result<Transferred> {
        tokio::select! {
            biased;
            () = watch.cancel.cancelled() => Err(Error::new(ErrorKind::Cancelled, "the transfer was cancelled")),
            done = self.carry_out(watch) => done,
        }
    }

    async fn carry_out(&self, watch: Watch<'_>) -> Result<Transferred> {
        let (from, to) = (file(self.from), file(self.to));
        let (mut source, mut target) = tokio::try_join!(Session::open(self.source), Session::open(self.target))?;
        let stat = source.ask(&Request::Stat { file: from.clone() }).await?;
        let Reply::Stat { length, .. } = stat else { return Err(unexpected(&stat)) };
        let opening = if self.resume { Opening::Resume } else { Opening::New };
        let created = target.ask(&Request::Create { file: to, length, mode: MODE, opening }).await?;
        let Reply::Created { was_there } = created else { return Err(unexpected(&created)) };
        let (keep, access) = (Keep::Remember, Access::Exclusive);
        let (what, known) = match was_there {
            true => {
                let scan = Request::Scan { file: from.clone(), keep, access };
                let Difference { root, spans, .. } =
                    difference(&mut source, &scan, &mut target, &Request::ScanPartial).await?;
                (What::Ranges(spans), Some(root))
            }
            false => (What::All, None),
        };
        let compression = if self.compression == Compress::Auto { Compression::Zstd } else { Compression::Off };
        let send = Request::Send { file: from, what, compression, keep, access };
        let way = Relay { pace: &Pace::new(self.limit), length, watch };
        let sent = relay(&mut source, &send, &mut target, way).await?;
        let root = known.or(sent.root).ok_or_else(|| Error::internal("nobody knows the digest of the image"))?;
        let ready = target.ask(&Request::Finish { root }).await?;
        let Reply::Ready = ready else { return Err(unexpected(&ready)) };
        match target.ask(&Request::Publish).await? {
            Reply::Published => {
                Ok(Transferred { length: Bytes::new(length), data: Bytes::new(sent.data), wire: Bytes::new(sent.wire) })
            }
            other => Err(unexpected(&other)),
        }
    }
}

/// A file as the helper is told of it.
fn file(path: &DiskPath) -> FileRef {
    let (root, name) = path.as_str().rsplit_once('/').unwrap_or_default();
    FileRef::new(if root.is_empty() { "/" } else { root }, name)
}

/// A reply that does not belong to the question.
fn unexpected(reply: &Reply) -> Error {
    Error::new(ErrorKind::Corrupt, "the helper on the host answered something else than it was asked")
        .with_detail(format!("{reply:?}"))
}
