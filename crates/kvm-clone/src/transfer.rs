//! Images from one host to another through the helpers of both.
//!
//! The controller relays frames as they come: it checks their form and counts them, and unpacks none. Both helpers know
//! the digests of what they send and write, so what lies between them is trusted with nothing.

mod difference;
mod files;
mod patience;
mod reach;
mod relay;
mod session;
mod stall;
mod update;

pub(crate) use files::digest_of;
pub(crate) use reach::{Reach, Reached, Turns};
pub(crate) use session::Session;
pub(crate) use update::{Changed, recover, root, staged};
pub use update::{ImageUpdate, Updated};

use kvm_core::op::Pace;
use kvm_core::{Bytes, Clock, DiskPath, Error, ErrorKind, Progress, Reporter, Resource, Result, Transport};
use kvm_wire::{Access, Compression, Digest, FileRef, Keep, Opening, Reply, Request, What};
use tokio_util::sync::CancellationToken;

use crate::spec::Compress;
use difference::{Difference, difference};
use patience::Patience;
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
    /// Whether it is known to be qcow2, so that what it says of itself can be believed: which parts have changed since it
    /// was read last. A guest could write that onto a raw disk as well.
    pub is_qcow2: bool,
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
    /// Shared with other transfers at the same time, which keep their limit together then.
    pub pace: &'a Pace,
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
    /// How much of it was not read, because a bitmap says that it has not changed since it was read last.
    pub spared: Bytes,
}

/// The permission bits of new images; the hypervisor gives them to whom it wants.
const MODE: u32 = 0o600;

impl ImageTransfer<'_> {
    /// Does it. `Unsupported` without a helper on either side; `NotFound`, `AlreadyExists`, `NoSpace`, `Denied`; `Busy` when
    /// somebody writes to the source; `Corrupt` when what arrived is not what was sent; `Cancelled`, `Unavailable`.
    pub async fn run(&self, watch: Watch<'_>) -> Result<Transferred> {
        self.run_noting(watch, &Reach::default()).await
    }

    /// The same, and notes how far it has come.
    pub(crate) async fn run_noting(&self, watch: Watch<'_>, reach: &Reach) -> Result<Transferred> {
        let transfer = FileTransfer {
            source: self.source,
            from: file(self.from),
            keep: keep(self.is_qcow2),
            target: self.target,
            to: file(self.to),
            limit: self.limit,
            compression: self.compression,
            resume: self.resume,
            seed: None,
            expect: None,
        };
        transfer.run_noting(watch, reach).await
    }
}

/// The same by what the helpers call files, with what only backups have.
#[derive(Clone, Debug)]
pub(crate) struct FileTransfer<'a> {
    pub(crate) source: &'a dyn Transport,
    pub(crate) from: FileRef,
    /// What the source's helper remembers of it.
    pub(crate) keep: Keep,
    pub(crate) target: &'a dyn Transport,
    pub(crate) to: FileRef,
    pub(crate) limit: Option<Bytes>,
    pub(crate) compression: Compress,
    pub(crate) resume: bool,
    /// A file of the target that resembles this one: what they share is not sent.
    pub(crate) seed: Option<FileRef>,
    /// The digest that the file must have. With another one it does not get its name.
    pub(crate) expect: Option<Digest>,
}

impl FileTransfer<'_> {
    /// As [`ImageTransfer::run`]. `Corrupt` as well when the source is not what was expected.
    pub(crate) async fn run(self, watch: Watch<'_>) -> Result<Transferred> {
        self.run_noting(watch, &Reach::default()).await
    }

    /// The same, and notes how far it has come.
    pub(crate) async fn run_noting(self, watch: Watch<'_>, reach: &Reach) -> Result<Transferred> {
        // An earlier attempt may have left a part of it.
        if !self.resume && self.seed.is_none() {
            reach.set(Reached::Nothing);
        }
        let mut begun = unless_cancelled(watch, self.begin(watch)).await?;
        let turn = async {
            reach.turn().await;
            Ok(())
        };
        unless_cancelled(watch, turn).await?;
        reach.set(Reached::Unknown);
        let Begun { target, length, opening, .. } = &mut begun;
        let create = Request::Create { file: self.to.clone(), length: *length, mode: MODE, opening: *opening };
        let created = self.create(target, &create, watch).await?;
        let Reply::Created { was_there } = created else { return Err(unexpected(&created)) };
        reach.has_begun();
        if !was_there {
            reach.set(Reached::Partial);
        }
        unless_cancelled(watch, self.complete(begun, was_there, watch, reach)).await
    }

    /// Both helpers, and what is to be created.
    async fn begin(&self, watch: Watch<'_>) -> Result<Begun> {
        let (mut source, mut target) = tokio::try_join!(Session::open(self.source), Session::open(self.target))?;
        let has_seed = match self.seed.clone() {
            Some(seed) => plant(&mut target, &self.to, seed, watch).await?,
            None => false,
        };
        let stat = source.ask(&Request::Stat { file: self.from.clone() }).await?;
        let Reply::Stat { length, allocated, .. } = stat else { return Err(unexpected(&stat)) };
        let opening = if self.resume || has_seed { Opening::Resume } else { Opening::New };
        if opening == Opening::New {
            check_room(&mut target, &self.to, Bytes::new(allocated.min(length))).await?;
        }
        Ok(Begun { source, target, length, opening })
    }

    /// Has the file created.
    async fn create(&self, target: &mut Session, create: &Request, watch: Watch<'_>) -> Result<Reply> {
        let mut patience = left(self.resume, self.target, watch);
        loop {
            // Its answer is waited for in any case: who takes back what was begun is to find it there.
            if let Some(reply) = patience.settle(target.ask(create).await).await? {
                return Ok(reply);
            }
        }
    }

    async fn complete(&self, begun: Begun, was_there: bool, watch: Watch<'_>, reach: &Reach) -> Result<Transferred> {
        let (Begun { mut source, mut target, length, .. }, from) = (begun, self.from.clone());
        let (keep, access) = (self.keep, Access::Exclusive);
        let (what, known, spared) = match was_there {
            true => {
                let scan = Request::Scan { file: from.clone(), keep, access };
                let Difference { root, spans, spared, .. } =
                    difference(&mut source, &scan, &mut target, &Request::ScanPartial).await?;
                (What::Ranges(spans), Some(root), spared)
            }
            false => (What::All, None, 0),
        };
        let compression = if self.compression == Compress::Auto { Compression::Zstd } else { Compression::Off };
        let send = Request::Send { file: from, what, compression, keep, access };
        let way = Relay { limit: self.limit, length, watch };
        let sent = relay(&mut source, &send, &mut target, way).await?;
        let root = known.or(sent.root).ok_or_else(|| Error::internal("nobody knows the digest of the image"))?;
        if let Some(expected) = self.expect.filter(|expected| *expected != root) {
            return Err(Error::new(ErrorKind::Corrupt, "the file is not what it was when it was stored")
                .on(Resource::File(format!("{}/{}", self.from.root, self.from.name)))
                .with_detail(format!("expected {expected}, found {root}")));
        }
        let ready = target.ask(&Request::Finish { root }).await?;
        let Reply::Ready = ready else { return Err(unexpected(&ready)) };
        reach.set(Reached::Unknown);
        let published = target.ask(&Request::Publish).await;
        if published.as_ref().is_err_and(|e| e.kind() == ErrorKind::AlreadyExists) {
            // The name is somebody else's by now; what waits beside it is ours.
            let _left = target.have(Request::Discard).await;
        }
        match published? {
            Reply::Published => {
                source.give_back(self.source).await;
                target.give_back(self.target).await;
                Ok(Transferred {
                    length: Bytes::new(length),
                    data: Bytes::new(sent.data),
                    wire: Bytes::new(sent.wire),
                    spared: Bytes::new(spared),
                })
            }
            other => Err(unexpected(&other)),
        }
    }
}

/// A transfer of which nothing is on the target yet.
struct Begun {
    source: Session,
    target: Session,
    length: u64,
    opening: Opening,
}

/// Where an earlier attempt is gone on with, its helper may hold what that one has brought.
fn left<'a>(is_again: bool, target: &dyn Transport, watch: Watch<'a>) -> Patience<'a> {
    let why = "the helper of the attempt before has not noticed yet that it was left; it is waited for";
    if is_again { Patience::with(target, why, watch) } else { Patience::none(watch) }
}

async fn unless_cancelled<T>(watch: Watch<'_>, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        biased;
        () = watch.cancel.cancelled() => Err(Error::new(ErrorKind::Cancelled, "the transfer was cancelled")),
        done = work => done,
    }
}

/// `NoSpace` when the target has less room than what is going to be written: others may have written since that was planned.
async fn check_room(target: &mut Session, to: &FileRef, needed: Bytes) -> Result<()> {
    let free = target.space(&to.root).await?;
    match free < needed {
        true => Err(Error::new(ErrorKind::NoSpace, "not enough space for the copy")
            .on(Resource::File(to.root.clone()))
            .with_detail(format!("asked {needed}, free {free}; nothing was written"))),
        false => Ok(()),
    }
}

/// Begins a file with what another one of its host holds. Without it all is sent, which is only slower.
async fn plant(target: &mut Session, file: &FileRef, from: FileRef, watch: Watch<'_>) -> Result<bool> {
    let name = from.name.clone();
    match target.have(Request::Seed { file: file.clone(), from }).await {
        Ok(()) => Ok(true),
        // An earlier attempt has come further.
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(true),
        Err(e) if matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::Cancelled | ErrorKind::Timeout) => Err(e),
        Err(e) => {
            let message = format!("all of it is sent, for {name} cannot be built upon: {e}");
            watch.reporter.report(&Progress::Warning { message });
            Ok(false)
        }
    }
}

/// What a helper remembers of an image.
pub(crate) fn keep(is_qcow2: bool) -> Keep {
    if is_qcow2 { Keep::Track } else { Keep::Remember }
}

/// A file as the helper is told of it.
pub(crate) fn file(path: &DiskPath) -> FileRef {
    let (root, name) = path.as_str().rsplit_once('/').unwrap_or_default();
    FileRef::new(if root.is_empty() { "/" } else { root }, name)
}

/// A reply that does not belong to the question.
fn unexpected(reply: &Reply) -> Error {
    Error::new(ErrorKind::Corrupt, "the helper on the host answered something else than it was asked")
        .with_detail(format!("{reply:?}"))
}
