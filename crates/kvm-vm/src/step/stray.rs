//! Files of a snapshot whose hypervisor died on it: the machine may write to its overlays, and nobody has written that
//! down.

use std::collections::BTreeSet;
use std::time::Duration;

use kvm_core::op::StepContext;
use kvm_core::{DiskPath, Error, ErrorKind, OpenImages, Overlay, Progress, Resource, Result, VmId, VmName, VmRef};

use super::interrupted::{remove, volume};
use crate::chain::path_key;
use crate::snapshot::snapshots;
use crate::usage::users;

/// How often a machine is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// For how long a hypervisor may be at work on the machine, or out of reach.
const PATIENCE: Duration = Duration::from_secs(60);

/// What an attempt at a snapshot was to make.
pub(super) struct Stray<'a> {
    pub(super) id: &'a VmId,
    pub(super) name: &'a VmName,
    pub(super) overlays: &'a [Overlay],
    pub(super) memory: Option<&'a DiskPath>,
}

impl Stray<'_> {
    /// Whether a pool sees one of them.
    pub(super) async fn any_is_there(&self, cx: &StepContext<'_>) -> Result<bool> {
        for path in self.overlays.iter().map(|overlay| &overlay.path).chain(self.memory) {
            if volume(cx, path).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The images that the machine's process has open, once the hypervisor is done with what it was at; `None` when there
    /// is no process, or nobody who could ask it.
    pub(super) async fn opened(&self, cx: &StepContext<'_>) -> Result<Option<OpenImages>> {
        let mut waited = Duration::ZERO;
        loop {
            match self.ask(cx).await {
                Err(e) if is_passing(&e) && waited < PATIENCE => {}
                Err(e)
                    if matches!(e.kind(), ErrorKind::InvalidState | ErrorKind::NotFound | ErrorKind::Unsupported) =>
                {
                    return Ok(None);
                }
                asked => return asked,
            }
            self.pause(cx).await?;
            waited += LOOK;
        }
    }

    async fn ask(&self, cx: &StepContext<'_>) -> Result<Option<OpenImages>> {
        if !cx.host.hypervisor.find(&VmRef::Id(*self.id)).await?.state.is_active() {
            return Ok(None);
        }
        snapshots(cx.host)?.open_images(self.id).await.map(Some)
    }

    /// Takes the machine out of those that it has open, with all that the guest wrote to them. Gives them.
    pub(super) async fn leave(&self, cx: &StepContext<'_>, opened: Option<&OpenImages>) -> Result<BTreeSet<DiskPath>> {
        let is_open = |overlay: &&Overlay| opened.is_some_and(|opened| opened.all.contains(&overlay.path));
        let mut left = BTreeSet::new();
        for overlay in self.overlays.iter().filter(is_open) {
            let message = format!(
                "{} has {} open, which its definition does not name: what it wrote there goes into the image below",
                self.name, overlay.path
            );
            cx.reporter.report(&Progress::Warning { message });
            self.leave_one(cx, &overlay.path).await.map_err(|e| self.stuck(overlay, e))?;
            left.insert(overlay.path.clone());
        }
        Ok(left)
    }

    /// Has the process close an overlay that it is not in any more, or takes it out of one.
    pub(super) async fn leave_one(&self, cx: &StepContext<'_>, overlay: &DiskPath) -> Result<()> {
        let title = format!("merge {overlay} into the image below");
        let mut unseen = Duration::ZERO;
        loop {
            match snapshots(cx.host)?.leave_overlay(self.id, overlay).await {
                Ok(None) => return Ok(()),
                Ok(Some(job)) => {
                    unseen = Duration::ZERO;
                    let (done, total) = (job.done, job.total);
                    cx.reporter.report(&Progress::Moved { title: title.clone(), done, total });
                }
                Err(e) if !is_passing(&e) || unseen >= PATIENCE => return Err(e),
                Err(_) => unseen += LOOK,
            }
            self.pause(cx).await?;
        }
    }

    async fn pause(&self, cx: &StepContext<'_>) -> Result<()> {
        tokio::select! {
            biased;
            () = cx.cancel.cancelled() => {
                let message = format!("putting {} in order was cancelled", self.name);
                Err(Error::new(ErrorKind::Cancelled, message).on(self.vm()))
            }
            () = cx.clock.sleep(LOOK) => Ok(()),
        }
    }

    /// A machine that writes where its next start will not look must not be powered off before somebody has dealt with it.
    fn stuck(&self, Overlay { disk, path }: &Overlay, e: Error) -> Error {
        match e.kind() {
            ErrorKind::InvalidState => {
                let message = format!("{} has {path} open, which its definition does not name", self.name);
                let why = e.detail().map_or_else(String::new, |detail| format!(": {detail}"));
                Error::new(ErrorKind::InvalidState, message).on(self.vm()).with_detail(format!(
                    "{e}{why}\n\
                     let the VM run until this is in order: after a power-off all that it wrote there would be missing\n\
                     finish this operation again, or edit the definition so that {disk} is the qcow2 image {path}, and \
                     power-cycle the VM then"
                ))
            }
            _ => e,
        }
    }

    /// Removes the overlays that the machine has just left and that nobody else uses. Another one stays: the machine may have
    /// written to it before it was powered off; and so does the memory then, to be looked at together.
    pub(super) async fn remove(&self, cx: &StepContext<'_>, left: &BTreeSet<DiskPath>) -> Result<()> {
        let mut stays = false;
        for Overlay { path, .. } in self.overlays {
            if volume(cx, path).await?.is_none() {
                continue;
            }
            let why = match left.contains(path) {
                true => users(cx.host, &path_key(path), None).await?.describe(),
                false => Some(format!("nobody can see whether {} has written to it", self.name)),
            };
            match why {
                None => remove(cx, path).await?,
                Some(why) => {
                    stays = true;
                    cx.reporter.report(&Progress::Warning { message: format!("{path} stays: {why}") });
                }
            }
        }
        match self.memory {
            Some(memory) if !stays => remove(cx, memory).await,
            Some(memory) if volume(cx, memory).await?.is_some() => {
                let message = format!("{memory} stays beside what else stays");
                cx.reporter.report(&Progress::Warning { message });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn vm(&self) -> Resource {
        Resource::Vm(self.name.as_str().to_owned())
    }
}

/// Whether the same question may have another answer soon.
fn is_passing(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::Busy | ErrorKind::Timeout | ErrorKind::Unavailable)
}
