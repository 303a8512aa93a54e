//! The state of an emulated TPM.

use async_trait::async_trait;
use kvm_core::op::{Already, Attempt, Probe, Step, StepContext};
use kvm_core::{Bytes, DiskPath, Error, ErrorKind, Host, Resource, Result, VmId, VmName, VmRef};
use kvm_wire::Request;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Ends, to_json, unless_gone};
use crate::survey::has;
use crate::transfer::{Session, file};

/// No TPM has more state.
pub(crate) const MOST: Bytes = Bytes::from_mib(1);

/// Copies the state of a TPM into directories that are made for it. libvirt gives it to whom it wants when the machine
/// starts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CopyTpm {
    #[serde(flatten)]
    pub(crate) ends: Ends,
    /// The original.
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) from: DiskPath,
    #[serde(flatten)]
    pub(crate) place: TpmPlace,
}

/// Where the state of a TPM comes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TpmPlace {
    pub(crate) to: DiskPath,
    /// Those that the target has not, the outermost first.
    pub(crate) directories: Vec<Directory>,
}

/// A directory that has to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Directory {
    pub(crate) path: DiskPath,
    pub(crate) mode: u32,
    /// Whether libvirt makes it as well, with the first TPM of the host.
    pub(crate) is_for_all: bool,
}

impl CopyTpm {
    pub(crate) const NAME: &'static str = "copy-tpm";

    /// What it holds while nobody uses it.
    async fn read(&self, source: &Host) -> Result<Vec<u8>> {
        let state = source.transport.read_file(self.from.as_path(), MOST).await?;
        let vm = source.hypervisor.find(&VmRef::Id(self.id)).await?;
        if vm.state.is_active() || vm.has_saved_state {
            return Err(Error::new(ErrorKind::InvalidState, format!("VM {} is {} by now", vm.name, vm.state))
                .on(Resource::Vm(vm.name.as_str().to_owned()))
                .with_detail("the state of its TPM is in use: shut it down, and begin again"));
        }
        Ok(state)
    }
}

impl TpmPlace {
    /// Makes the directories and the file. `Corrupt` when it is not what was written.
    pub(crate) async fn fill(&self, target: &Host, state: &[u8]) -> Result<()> {
        let mut session = Session::open(&*target.transport).await?;
        for Directory { path, mode, is_for_all } in &self.directories {
            match session.have(Request::MakeDirectory { file: file(path), mode: *mode }).await {
                Err(e) if e.kind() == ErrorKind::AlreadyExists && *is_for_all => {}
                made => made?,
            }
        }
        session.write(&file(&self.to), state).await?;
        match target.transport.read_file(self.to.as_path(), MOST).await? == state {
            true => Ok(()),
            false => Err(self.differs("what was written")),
        }
    }

    /// Removes what was made of it, as far as it is there.
    pub(crate) async fn clear(&self, target: &Host) -> Result<()> {
        self.clear_unfinished(target).await?;
        unless_gone(target.transport.remove_file(self.to.as_path()).await)?;
        let mut session = Session::open(&*target.transport).await?;
        for directory in self.directories.iter().rev() {
            match session.have(Request::Remove { file: file(&directory.path) }).await {
                // Somebody else has put something there by now.
                Err(e) if e.kind() == ErrorKind::InvalidState => break,
                removed => removed?,
            }
        }
        session.give_back(&*target.transport).await;
        Ok(())
    }

    /// Removes what has not got its name.
    pub(crate) async fn clear_unfinished(&self, target: &Host) -> Result<()> {
        unless_gone(target.transport.remove_file(format!("{}.partial", self.to).as_ref()).await)
    }

    fn differs(&self, from: &str) -> Error {
        Error::new(ErrorKind::Corrupt, format!("{from} and {} differ after the copy", self.to))
            .on(Resource::File(self.to.as_str().to_owned()))
    }
}

#[async_trait]
impl Step for CopyTpm {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("copy the state of the TPM of {} from {} to {}", self.name, self.ends.source, self.place.to)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let is_there = has(&cx.peer(&self.ends.target).await?, self.place.to.as_str()).await?;
        Ok(if is_there { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let (source, target) = self.ends.open(cx).await?;
        if cx.attempt == Attempt::Again {
            // A directory of the attempt before may not have its permissions yet.
            self.place.clear(&target).await?;
        }
        let sent = self.read(&source).await?;
        self.place.fill(&target, &sent).await?;
        // Whoever started the machine meanwhile has changed it.
        match self.read(&source).await? == sent {
            true => Ok(()),
            false => Err(self.place.differs(self.from.as_str())),
        }
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        self.place.clear(&cx.peer(&self.ends.target).await?).await
    }
}
