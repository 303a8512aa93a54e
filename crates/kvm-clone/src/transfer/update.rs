//! An image on another host that is brought up to date: only what changed goes over.

use kvm_core::{Bytes, DiskPath, Error, ErrorKind, Result, Transport};
use kvm_wire::{Access, Compression, Digest, Keep, Opening, Reply, Request, What};

use super::difference::{Difference, difference, missing};
use super::patience::Patience;
use super::relay::{Relay, relay};
use super::{Session, Watch, file, keep, left, unexpected};
use crate::spec::Compress;

/// A copy of an image on another host, which is to become what the image is now. Both hosts have a helper
/// ([`Transport::helper`]).
///
/// What changed is found by digests, collected beside the copy, compared and made durable; the copy itself is not touched
/// before all of it is there, and cut at any later moment it is finished by the next one.
#[derive(Clone, Copy, Debug)]
pub struct ImageUpdate<'a> {
    /// Where the image is.
    pub source: &'a dyn Transport,
    /// Its path there. QEMU must not have it open for writing.
    pub from: &'a DiskPath,
    /// Whether it is known to be qcow2, so that what it says of itself can be believed: which parts have changed since it
    /// was read last. A guest could write that onto a raw disk as well.
    pub is_qcow2: bool,
    /// Where the copy is.
    pub target: &'a dyn Transport,
    /// Its path there. Nobody may use it.
    pub to: &'a DiskPath,
    /// Most bytes per second on the way to the target.
    pub limit: Option<Bytes>,
    /// Whether what is under way is compressed.
    pub compression: Compress,
    /// Whether what an earlier attempt has brought beside the copy is compared and not sent again; else nothing may wait there
    /// to be applied.
    pub resume: bool,
}

/// What an update took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Updated {
    /// How long the image is.
    pub length: Bytes,
    /// How much of it the copy had not.
    pub changed: Bytes,
    /// How many bytes that took on the way.
    pub wire: Bytes,
}

/// In what an image and its copy differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// How long the image is.
    pub(crate) length: Bytes,
    /// How much of it the copy has not.
    pub(crate) changed: Bytes,
    /// How many bytes that took on the way; zero while nothing was sent.
    pub(crate) wire: Bytes,
    /// The digest of the copy as it is.
    pub(crate) there: Option<Digest>,
    /// Whether all of the copy had to be read, because it is another file than the one that was written last.
    pub(crate) was_read: bool,
    /// How much of the image was not read, because a bitmap says that it has not changed.
    pub(crate) spared: Bytes,
}

impl ImageUpdate<'_> {
    /// Brings the copy up to date.
    ///
    /// `NotFound` when one of them is not there; `Busy` when somebody writes to the image or uses the copy; `InvalidState`
    /// when an update waits there already; `Corrupt` when what arrived is not what was sent; `Unsupported` without helpers,
    /// and for a copy on a device; `NoSpace`, `Denied`, `Cancelled`, `Unavailable`.
    pub async fn run(&self, watch: Watch<'_>) -> Result<Updated> {
        let (mut target, Changed { length, changed, wire, .. }) = self.unless_cancelled(watch).await?;
        match target.ask(&Request::Publish).await? {
            Reply::Published => {
                target.give_back(self.target).await;
                Ok(Updated { length, changed, wire })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Finds out how much would be sent. `access` says whether somebody may be writing to the image meanwhile, so that
    /// the answer is about no single moment.
    pub(crate) async fn measure(&self, access: Access) -> Result<Changed> {
        let (source, target, difference) = self.compare(access).await?;
        source.give_back(self.source).await;
        target.give_back(self.target).await;
        Ok(changed(&difference))
    }

    /// Sends what changed, and has it wait beside the copy, whole and durable; [`recover`] applies it. The errors are
    /// those of [`run`](Self::run).
    pub(crate) async fn stage(&self, watch: Watch<'_>) -> Result<Changed> {
        let (target, changed) = self.unless_cancelled(watch).await?;
        target.give_back(self.target).await;
        Ok(changed)
    }

    async fn unless_cancelled(&self, watch: Watch<'_>) -> Result<(Session, Changed)> {
        tokio::select! {
            biased;
            () = watch.cancel.cancelled() => Err(Error::new(ErrorKind::Cancelled, "the transfer was cancelled")),
            done = self.send(watch) => done,
        }
    }

    /// Gives the session of the target, where the update is ready.
    async fn send(&self, watch: Watch<'_>) -> Result<(Session, Changed)> {
        let (mut source, mut target, difference) = self.compare(Access::Exclusive).await?;
        let found = changed(&difference);
        let Difference { root, length, there: (expect, _), .. } = difference;
        let opening = if self.resume { Opening::Resume } else { Opening::New };
        let begin = Request::Update { file: file(self.to), expect, length, opening };
        let mut patience = left(self.resume, self.target, watch);
        let begun = loop {
            if let Some(reply) = patience.settle(target.ask(&begin).await).await? {
                break reply;
            }
        };
        let Reply::Updating { was_there, .. } = begun else { return Err(unexpected(&begun)) };
        let spans = if was_there { missing(&mut source, &difference, &mut target).await? } else { difference.spans };
        let compression = if self.compression == Compress::Auto { Compression::Zstd } else { Compression::Off };
        let (keep, access) = (keep(self.is_qcow2), Access::Exclusive);
        let send = Request::Send { file: file(self.from), what: What::Ranges(spans), compression, keep, access };
        let sent = relay(&mut source, &send, &mut target, Relay { limit: self.limit, length, watch }).await?;
        source.give_back(self.source).await;
        match target.ask(&Request::Finish { root }).await? {
            Reply::Ready => Ok((target, Changed { wire: Bytes::new(sent.wire), ..found })),
            other => Err(unexpected(&other)),
        }
    }

    /// Both helpers, who know the digests of their images now, and in what these differ.
    async fn compare(&self, access: Access) -> Result<(Session, Session, Difference)> {
        let (mut source, mut target) = tokio::try_join!(Session::open(self.source), Session::open(self.target))?;
        // What was read while somebody wrote is the digest of nothing.
        let keep = if access == Access::Exclusive { keep(self.is_qcow2) } else { Keep::Forget };
        let here = Request::Scan { file: file(self.from), keep, access };
        let difference = difference(&mut source, &here, &mut target, &scan(self.to)).await?;
        Ok((source, target, difference))
    }
}

fn changed(difference: &Difference) -> Changed {
    let (there, was_saved) = difference.there;
    Changed {
        length: Bytes::new(difference.length),
        changed: Bytes::new(difference.spans.iter().map(|span| span.length).sum()),
        wire: Bytes::ZERO,
        there: Some(there),
        was_read: !was_saved,
        spared: Bytes::new(difference.spared),
    }
}

fn scan(path: &DiskPath) -> Request {
    Request::Scan { file: file(path), keep: Keep::Remember, access: Access::Exclusive }
}

/// The digest of an image on a host.
pub(crate) async fn root(host: &dyn Transport, path: &DiskPath) -> Result<Digest> {
    match Session::ask_once(host, &scan(path)).await? {
        Reply::Scanned { root, .. } => Ok(root),
        other => Err(unexpected(&other)),
    }
}

/// What an image will be once the update that waits beside it is applied; `None` when none does.
pub(crate) async fn staged(host: &dyn Transport, path: &DiskPath) -> Result<Option<Digest>> {
    match Session::ask_once(host, &Request::Stat { file: file(path) }).await? {
        Reply::Stat { pending, .. } => Ok(pending.map(|pending| pending.after)),
        other => Err(unexpected(&other)),
    }
}

/// Applies the update that waits beside an image, again if that was interrupted; `None` when none does. Whoever else has the
/// image open, such as a helper that was left, is waited for if that is wanted; else it is `Busy`.
pub(crate) async fn recover(
    host: &dyn Transport,
    path: &DiskPath,
    is_waited: bool,
    watch: Watch<'_>,
) -> Result<Option<Digest>> {
    let why = format!("{path} is in use, as by a helper that has not noticed yet that it was left; it is waited for");
    let mut patience = if is_waited { Patience::with(host, why, watch) } else { Patience::none(watch) };
    let recover = Request::Recover { file: file(path) };
    loop {
        match patience.settle(Session::ask_once(host, &recover).await).await? {
            Some(Reply::Recovered { root }) => return Ok(root),
            Some(other) => return Err(unexpected(&other)),
            None => {}
        }
    }
}
