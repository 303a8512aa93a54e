//! The moment from which a machine is on another host alone.

use async_trait::async_trait;
use kvm_core::op::{Already, Probe, Step, StepContext};
use kvm_core::{Bytes, DiskPath, Error, ErrorKind, Host, Keep, Resource, Result, VmId, VmName, VmRef, Way};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{find, is_marked, refused};
use crate::step::{Ends, TPM_MOST, to_json, unless_gone};
use crate::survey::has;
use crate::transfer::root;

/// No firmware has more variables.
const VARIABLES_MOST: Bytes = Bytes::from_mib(64);

/// An image, here and there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pair {
    pub(crate) here: DiskPath,
    pub(crate) there: DiskPath,
}

/// Has the source forget a machine that the target has, once more compared: the point of no return of a move.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LeaveHost {
    #[serde(flatten)]
    pub(crate) ends: Ends,
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    #[serde(rename = "move")]
    pub(crate) moving: Uuid,
    /// The images that have to be the same on both.
    pub(crate) pairs: Vec<Pair>,
    /// The files of UEFI variables, here and there; of a machine that never ran there are none yet.
    pub(crate) variables: Option<(String, String)>,
    /// The state of an emulated TPM, in the same way.
    #[serde(default)]
    pub(crate) tpm: Option<(DiskPath, DiskPath)>,
}

impl LeaveHost {
    pub(crate) const NAME: &'static str = "leave-host";

    /// Saved digests make this cheap where nobody wrote to an image.
    async fn compare(&self, source: &Host, target: &Host) -> Result<()> {
        let differs = |path: &str| {
            Error::new(ErrorKind::Corrupt, format!("{path} is not what was moved: somebody wrote to it meanwhile"))
                .on(Resource::File(path.to_owned()))
                .with_detail("the machine stays where it is; see who did, and move it again")
        };
        for Pair { here, there } in &self.pairs {
            if root(&*source.transport, here).await? != root(&*target.transport, there).await? {
                return Err(differs(here.as_str()));
            }
        }
        if let Some((here, there)) = &self.variables
            && has(source, here).await?
        {
            let read = async |host: &Host, path: &str| host.transport.read_file(path.as_ref(), VARIABLES_MOST).await;
            if read(source, here).await? != read(target, there).await? {
                return Err(differs(here));
            }
        }
        if let Some((here, there)) = &self.tpm
            && has(source, here.as_str()).await?
        {
            let read = async |host: &Host, path: &DiskPath| host.transport.read_file(path.as_path(), TPM_MOST).await;
            if read(source, here).await? != read(target, there).await? {
                return Err(differs(here.as_str()));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Step for LeaveHost {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("compare the images once more, and have {} forget {}", self.ends.source, self.name)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let source = cx.peer(&self.ends.source).await?;
        Ok(if find(&source, &self.id).await?.is_some() { Probe::Pending } else { Probe::Done })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let (source, target) = self.ends.open(cx).await?;
        let Some(here) = find(&source, &self.id).await? else { return Ok(()) };
        let there = target.hypervisor.find(&VmRef::Id(self.id)).await?;
        for (host, vm, way, end) in
            [(&source, &here, Way::Leaving, &self.ends.source), (&target, &there, Way::Arriving, &self.ends.target)]
        {
            if vm.state.is_active() || vm.has_saved_state {
                return Err(refused(&self.name, format!("VM {} is {} on {end} by now", vm.name, vm.state)));
            }
            if !is_marked(host, &self.id, way, self.moving).await? {
                let message = format!("somebody has taken VM {} on {end} out of the move", vm.name);
                return Err(refused(&self.name, message));
            }
        }
        self.compare(&source, &target).await?;
        // With it go its UEFI variables and the state of its TPM, which the target has as well.
        unless_gone(source.hypervisor.undefine(&self.id, Keep::NOTHING).await)
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Err(Error::internal("a machine that has moved is not brought back"))
    }
}
