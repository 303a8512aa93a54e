//! The file of UEFI variables that a machine leaves at the host that it moves away from.
//!
//! It may go only when it is not the file that the other host uses. The proof has two halves: while the source has the
//! file the destination has none of that path, and after the move it has one. So the move has made it.

use async_trait::async_trait;
use kvm_core::op::{Already, Probe, Step, StepContext};
use kvm_core::{Bytes, DiskPath, Error, ErrorKind, Host, Progress, Resource, Result, VmId, VmName, VmRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::migrate::Ends;
use super::{to_json, unless_gone};

/// Proves that the destination has no file of that path yet.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ProveApart {
    #[serde(flatten)]
    pub(crate) ends: Ends,
    pub(crate) path: DiskPath,
}

impl ProveApart {
    pub(crate) const NAME: &'static str = "prove-apart";
}

#[async_trait]
impl Step for ProveApart {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("see that {} is not on {}", self.path, self.ends.destination)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    /// A proof is as good as new only when it is made.
    async fn probe(&self, _: &StepContext<'_>) -> Result<Probe> {
        Ok(Probe::Pending)
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        if !has(&cx.peer(&self.ends.destination).await?, &self.path).await? {
            return Ok(());
        }
        let message = format!("{} is on {}, too, and was not when this was planned", self.path, self.ends.destination);
        Err(Error::new(ErrorKind::InvalidState, message)
            .on(Resource::File(self.path.as_str().to_owned()))
            .with_detail("plan the move again: the file then stays at the source"))
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Ok(())
    }
}

/// Removes the file at the source.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RemoveVariables {
    #[serde(flatten)]
    pub(crate) ends: Ends,
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) path: DiskPath,
}

impl RemoveVariables {
    pub(crate) const NAME: &'static str = "remove-variables";

    async fn remove(&self, source: &Host, destination: &Host) -> Result<()> {
        let refuse = |why: String| Err(Error::new(ErrorKind::InvalidState, why));
        if !has(destination, &self.path).await? {
            return refuse(format!("{} uses another file", self.ends.destination));
        }
        // This may be done long after the move: the machine may be back, or a new one may bear its name.
        for vm in [VmRef::Id(self.id), VmRef::Name(self.name.clone())] {
            match source.hypervisor.find(&vm).await {
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e),
                Ok(user) => return refuse(format!("VM {} is there and may use it", user.name)),
            }
        }
        unless_gone(source.transport.remove_file(self.path.as_path()).await)
    }
}

#[async_trait]
impl Step for RemoveVariables {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("remove {} from {}", self.path, self.ends.source)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let is_there = has(&cx.peer(&self.ends.source).await?, &self.path).await?;
        Ok(if is_there { Probe::Pending } else { Probe::Done })
    }

    /// What cannot be proved or removed stays, and no move is open for ever because of it.
    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let (source, destination) = self.ends.open(cx).await?;
        match self.remove(&source, &destination).await {
            Err(e) if matches!(e.kind(), ErrorKind::InvalidState | ErrorKind::Denied | ErrorKind::Unsupported) => {
                let message = format!("{} stays on {}: {}", self.path, self.ends.source, e.message());
                cx.reporter.report(&Progress::Warning { message });
                Ok(())
            }
            other => other,
        }
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Err(Error::internal("the variables of a machine that moved are not brought back"))
    }
}

async fn has(host: &Host, path: &DiskPath) -> Result<bool> {
    match host.transport.read_part(path.as_path(), 0, Bytes::ZERO).await {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}
