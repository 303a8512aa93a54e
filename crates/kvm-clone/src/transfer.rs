//! Images from one host to another through the helpers of both.
//!
//! The controller relays frames as they come: it checks their form and counts them, and unpacks none. Both helpers know
//! the digests of what they send and write, so what lies between them is trusted with nothing.

mod difference;
mod pace;
mod relay;
mod session;

pub(crate) use pace::Pace;
pub(crate) use relay::relay;
pub(crate) use session::{Session, failure};

use kvm_core::op::StepContext;
use kvm_core::{Error, ErrorKind, Host, Result};
use kvm_wire::{Access, Compression, FileRef, Keep, Opening, Reply, Request, What};

use difference::difference;

/// An image that goes from one host to another.
#[derive(Debug)]
pub(crate) struct Transfer<'a> {
    pub(crate) source: &'a Host,
    pub(crate) from: FileRef,
    pub(crate) target: &'a Host,
    pub(crate) to: FileRef,
    /// What people call it.
    pub(crate) title: String,
    pub(crate) compression: Compression,
    pub(crate) pace: Pace,
}

/// The permission bits of new images; the hypervisor gives them to whom it wants.
const MODE: u32 = 0o600;

impl Transfer<'_> {
    /// Brings the image to the other host, under a name that says that it is not whole, verifies it, and gives it its name.
    /// What an earlier attempt has brought is compared and not sent again when `opening` says so.
    pub(crate) async fn carry_out(mut self, opening: Opening, cx: &StepContext<'_>) -> Result<()> {
        let (mut source, mut target) = tokio::try_join!(Session::open(self.source), Session::open(self.target))?;
        let stat = source.ask(&Request::Stat { file: self.from.clone() }, &mut |_, _| ()).await?;
        let Reply::Stat { length, .. } = stat else { return Err(unexpected(&stat)) };
        let create = Request::Create { file: self.to.clone(), length, mode: MODE, opening };
        let created = target.ask(&create, &mut |_, _| ()).await?;
        let Reply::Created { was_there } = created else { return Err(unexpected(&created)) };
        let (what, known) = match was_there {
            true => {
                let scan = Request::Scan { file: self.from.clone(), keep: Keep::Remember, access: Access::Exclusive };
                let (root, spans) = difference(&mut source, &scan, &mut target, &Request::ScanPartial).await?;
                (What::Ranges(spans), Some(root))
            }
            false => (What::All, None),
        };
        let send = Request::Send {
            file: self.from.clone(),
            what,
            compression: self.compression,
            keep: Keep::Remember,
            access: Access::Exclusive,
        };
        let sent = relay(&mut source, &send, &mut target, &mut self.pace, &self.title, length, cx).await?;
        let root = known.or(sent).ok_or_else(|| Error::internal("nobody knows the digest of the image"))?;
        let ready = target.ask(&Request::Finish { root }, &mut |_, _| ()).await?;
        let Reply::Ready = ready else { return Err(unexpected(&ready)) };
        match target.ask(&Request::Publish, &mut |_, _| ()).await? {
            Reply::Published => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}

/// A reply that does not belong to the question.
pub(crate) fn unexpected(reply: &Reply) -> Error {
    Error::new(ErrorKind::Corrupt, "the helper on the host answered something else than it was asked")
        .with_detail(format!("{reply:?}"))
}
