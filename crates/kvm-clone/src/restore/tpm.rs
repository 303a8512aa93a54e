//! The state of an emulated TPM that comes back with its machine.

use async_trait::async_trait;
use kvm_core::op::{Already, Attempt, Peer, PlanLine, Probe, Step, StepContext};
use kvm_core::{DiskPath, Error, ErrorKind, Host, Resource, Result, VmId, VmRef};
use kvm_wire::Digest;
use kvm_xml::Domain;
use kvm_xml::rewrite::{Policy, policy};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Work;
use super::identity::Identity;
use crate::backup::{Manifest, Point, TPM, inside};
use crate::spec::TpmState;
use crate::step::{TPM_MOST, TpmPlace, to_json};
use crate::survey::{Survey, has};
use crate::tpm::{Own, check_emulator, emulated, place};
use crate::transfer::{Session, digest_of};

/// What becomes of the state in the point.
pub(super) enum Tpm {
    /// None is put anywhere: there is none, or the machine is to have a TPM of its own.
    Leave,
    /// The machine is there, and what it has stays.
    Keep(DiskPath),
    /// It is put where the machine has it.
    Put(Own),
}

impl Tpm {
    /// `NotFound` when the state is asked for and the point has none.
    pub(super) async fn choose(
        survey: &Survey<'_>,
        (point, manifest): (&Point, &Manifest),
        identity: &Identity,
        wanted: TpmState,
    ) -> Result<Self> {
        let Some(backend) = emulated(&survey.document) else { return Ok(Self::Leave) };
        match (identity, &manifest.tpm) {
            (Identity::Other(..), _) if wanted == TpmState::Fresh => Ok(Self::Leave),
            (Identity::Other(..), None) => {
                Err(Error::new(ErrorKind::NotFound, format!("backup {point} has no TPM state"))
                    .on(Resource::Field("devices.tpm".into()))
                    .with_detail("choose another point, or have it start with an empty TPM: without --copy-tpm"))
            }
            (Identity::Other(..) | Identity::Gone, Some(_)) => Ok(Self::Put(Own::IsNew)),
            (Identity::Gone | Identity::There(_), None) => Ok(Self::Leave),
            (Identity::There(vm), Some(_)) => match place(&survey.there.target, &vm.id, backend) {
                Ok(place) => {
                    let state = place.file()?;
                    Ok(match has(survey.target, state.as_str()).await? {
                        true => Self::Keep(state),
                        false => Self::Put(Own::MayBeThere),
                    })
                }
                // Whatever it has, wherever it is.
                Err(_) => Ok(Self::Leave),
            },
        }
    }

    /// As what the document is rewritten.
    pub(super) fn policy(&self, policy: Policy) -> Policy {
        match self {
            Self::Put(_) => Policy { tpm: policy::Tpm::Copy, ..policy },
            Self::Leave | Self::Keep(_) => policy,
        }
    }
}

impl Work<'_> {
    /// Puts the state where the machine of this document has it, before anything large is sent.
    pub(super) async fn tpm(&mut self, tpm: &Tpm, document: &Domain) -> Result<()> {
        let own = match tpm {
            Tpm::Leave => return Ok(()),
            Tpm::Keep(state) => {
                let note = "what the machine has stays, not what the backup has";
                self.lines.push(PlanLine::new("keep", "tpm", state.as_str()).note(note));
                return Ok(());
            }
            Tpm::Put(own) => *own,
        };
        let (Some(stored), Some(id), Some(backend)) = (&self.manifest.tpm, document.uuid, emulated(document)) else {
            return Err(Error::internal("nobody knows whose TPM it is"));
        };
        let (id, there) = (VmId::from(id), &self.survey.there);
        check_emulator(there)?;
        let place = place(&there.target, &id, backend)
            .map_err(|e| e.with_detail("restore it under another name, with an empty TPM: --name NAME"))?;
        let to = place.file()?;
        let directories = place.missing(self.survey.target, &there.target, own).await?;
        self.lines.push(PlanLine::new("restore", "tpm", to.as_str()));
        self.steps.push(Box::new(RestoreTpm {
            store: Peer::of(&self.survey.here),
            target: Peer::of(there),
            point: self.point.clone(),
            digest: stored.digest,
            id,
            place: TpmPlace { to, directories },
        }));
        Ok(())
    }
}

/// Brings the state of an emulated TPM out of a point to where the machine has it, if it is what was stored.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RestoreTpm {
    pub(crate) store: Peer,
    pub(crate) target: Peer,
    pub(crate) point: Point,
    pub(crate) digest: Digest,
    /// Whose it becomes.
    pub(crate) id: VmId,
    #[serde(flatten)]
    pub(crate) place: TpmPlace,
}

impl RestoreTpm {
    pub(crate) const NAME: &'static str = "restore-tpm";

    /// What was stored.
    async fn read(&self, store: &Host) -> Result<Vec<u8>> {
        let file = inside(&self.point.whole(), TPM);
        let mut session = Session::open(&*store.transport).await?;
        let state = session.read(&file, TPM_MOST).await?;
        session.give_back(&*store.transport).await;
        match digest_of(&state) {
            found if found != self.digest => {
                Err(Error::new(ErrorKind::Corrupt, "the file is not what it was when it was stored")
                    .on(Resource::File(format!("{}/{}", file.root, file.name)))
                    .with_detail(format!("expected {}, found {found}", self.digest)))
            }
            _ => Ok(state),
        }
    }

    /// Removes what was brought. What somebody else has put there by now, or a machine that was started, is theirs.
    async fn take_back(&self, target: &Host) -> Result<()> {
        match self.is_ours(target).await? {
            true => self.place.clear(target).await,
            false => self.place.clear_unfinished(target).await,
        }
    }

    async fn is_ours(&self, target: &Host) -> Result<bool> {
        match target.hypervisor.find(&VmRef::Id(self.id)).await {
            Ok(vm) if vm.state.is_active() => return Ok(false),
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            Ok(_) | Err(_) => {}
        }
        match target.transport.read_file(self.place.to.as_path(), TPM_MOST).await {
            Ok(state) => Ok(digest_of(&state) == self.digest),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(true),
            Err(e) => Err(e),
        }
    }
}

#[async_trait]
impl Step for RestoreTpm {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("restore {TPM} of {} to {}", self.point, self.place.to)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let target = cx.peer(&self.target).await?;
        Ok(if has(&target, self.place.to.as_str()).await? { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let (store, target) = (cx.peer(&self.store).await?, cx.peer(&self.target).await?);
        if cx.attempt == Attempt::Again {
            // A directory of the attempt before may not have its permissions yet.
            self.take_back(&target).await?;
        }
        let state = self.read(&store).await?;
        self.place.fill(&target, &state).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        self.take_back(&cx.peer(&self.target).await?).await
    }
}
