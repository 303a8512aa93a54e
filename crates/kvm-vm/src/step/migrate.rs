//! A machine moves from one host to another.

use std::time::Duration;

use async_trait::async_trait;
use kvm_core::op::{Already, Peer, Probe, Step, StepContext};
use kvm_core::{
    DefinitionPlace, Error, ErrorKind, Host, Keep, Migration, MigrationMode, MigrationSpec, PoolName, PowerAction,
    Progress, Resource, Result, VmId, VmName, VmState, VmSummary, VolumeName,
};
use kvm_xml::value::Size;
use kvm_xml::volume::{StorageVolume, VolumeFormat, VolumeFormatType, VolumeTarget};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::machine::find;
use super::{to_json, unless_gone};
use crate::migrate::{AtTimeout, MigrationTimeout, facet};
use crate::power::power_off;

/// Between two looks at a migration.
const LOOK: Duration = Duration::from_millis(500);
/// How long two hosts have to agree on who has the machine, after the connection between them was lost.
const SETTLING: Duration = Duration::from_secs(120);

/// The two hosts of a move.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ends {
    pub(crate) source: Peer,
    pub(crate) destination: Peer,
}

impl Ends {
    pub(super) async fn open(&self, cx: &StepContext<'_>) -> Result<(Host, Host)> {
        Ok((cx.peer(&self.source).await?, cx.peer(&self.destination).await?))
    }
}

/// Two pools that have to prove that they are one, by a marker that is written here and seen there.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) pool: PoolName,
    pub(crate) peer_pool: PoolName,
    pub(crate) marker: VolumeName,
}

impl Mark {
    pub(crate) fn between(self, ends: Ends) -> ProveShared {
        ProveShared { ends, pool: self.pool, peer_pool: self.peer_pool, marker: self.marker }
    }
}

/// Proves that a pool of one host and one of another are the same storage. Leaves nothing behind.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ProveShared {
    #[serde(flatten)]
    ends: Ends,
    pool: PoolName,
    peer_pool: PoolName,
    marker: VolumeName,
}

impl ProveShared {
    pub(crate) const NAME: &'static str = "prove-shared";

    async fn remove(&self, here: &Host, there: &Host) -> Result<()> {
        unless_gone(here.storage.delete_volume(&self.pool, &self.marker).await)?;
        // It looked while the marker was there.
        there.storage.refresh_pool(&self.peer_pool).await
    }
}

#[async_trait]
impl Step for ProveShared {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("prove that pool {} is {} on {}", self.pool, self.peer_pool, self.ends.destination)
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
        let (here, there) = self.ends.open(cx).await?;
        let marker = StorageVolume {
            name: Some(self.marker.as_str().to_owned()),
            capacity: Some(Size::from_bytes(512)),
            allocation: Some(Size::from_bytes(0)),
            target: Some(VolumeTarget {
                format: Some(VolumeFormat { r#type: Some(VolumeFormatType::Raw), ..VolumeFormat::default() }),
                ..VolumeTarget::default()
            }),
            ..StorageVolume::default()
        };
        match here.storage.create_volume(&self.pool, &marker).await {
            // Of an attempt that was interrupted.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            other => drop(other?),
        }
        let seen = async {
            there.storage.refresh_pool(&self.peer_pool).await?;
            there.storage.find_volume(&self.peer_pool, &self.marker).await
        };
        let seen = seen.await;
        self.remove(&here, &there).await?;
        match seen {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == ErrorKind::NotFound => Err(Error::new(
                ErrorKind::InvalidState,
                format!(
                    "pool {} of this host is not the same storage as {} on {}",
                    self.pool, self.peer_pool, self.ends.destination
                ),
            )
            .on(Resource::Pool(self.pool.as_str().to_owned()))
            .with_detail("what is written here is not seen there; copy the disks instead (--copy-storage)")),
            Err(e) => Err(e),
        }
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        let (here, there) = self.ends.open(cx).await?;
        self.remove(&here, &there).await
    }
}

/// Where a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Where it was.
    Source,
    /// Where it is to go.
    Destination,
    /// Not decided yet.
    OnItsWay,
}

/// What both hosts say of a machine.
struct Look {
    here: Option<VmSummary>,
    there: Option<VmSummary>,
    /// Whether a migration from here is under way.
    is_moving: bool,
}

impl Look {
    async fn at(cx: &StepContext<'_>, source: &Host, destination: &Host, id: &VmId) -> Result<Self> {
        let here = find(&StepContext { host: source, ..*cx }, id).await?;
        let is_moving = match here.as_ref().is_some_and(|vm| vm.state.is_active()) {
            true => match facet(source)?.job(id).await {
                // It has just gone.
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidState) => true,
                job => job?.is_some(),
            },
            false => false,
        };
        let there = find(&StepContext { host: destination, ..*cx }, id).await?;
        Ok(Self { here, there, is_moving })
    }

    /// Where the machine is. A host that waits for one shows it, paused, before it has it.
    fn place(&self, mode: MigrationMode) -> Place {
        let state = |vm: &Option<VmSummary>| vm.as_ref().map(|vm| vm.state);
        let is_active = |state: Option<VmState>| state.is_some_and(VmState::is_active);
        match (state(&self.here), state(&self.there)) {
            (Some(_), None) if !self.is_moving => Place::Source,
            (None, Some(_)) => Place::Destination,
            // Defined there, and not yet forgotten here.
            (Some(_), Some(_)) if mode == MigrationMode::Offline => Place::Destination,
            (here, there) if !is_active(here) && is_active(there) => Place::Destination,
            // A definition there that came from elsewhere, or was left by an attempt that failed.
            (here, there) if is_active(here) && !is_active(there) && !self.is_moving => Place::Source,
            (Some(VmState::Paused), Some(VmState::Running)) if !self.is_moving => Place::Destination,
            _ => Place::OnItsWay,
        }
    }
}

/// Moves a machine, and returns when one of the two hosts has it for sure.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Migrate {
    #[serde(flatten)]
    pub(crate) ends: Ends,
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) spec: MigrationSpec,
    pub(crate) timeout: Option<MigrationTimeout>,
}

impl Migrate {
    pub(crate) const NAME: &'static str = "migrate";

    /// Waits until one of the hosts has the machine, and the other has not.
    async fn settled(&self, cx: &StepContext<'_>) -> Result<Place> {
        let mut left = SETTLING;
        loop {
            let look = async {
                let (source, destination) = self.ends.open(cx).await?;
                Look::at(cx, &source, &destination, &self.id).await
            };
            let look = look.await;
            let wait = match &look {
                Ok(look) => match look.place(self.spec.mode) {
                    Place::OnItsWay if look.is_moving => LOOK,
                    // One host has to notice that the other has given up.
                    Place::OnItsWay => LOOK.min(left),
                    place => return Ok(place),
                },
                Err(_) => LOOK.min(left),
            };
            match look {
                Ok(look) if look.is_moving => {}
                Err(e) if !matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Busy) => {
                    return Err(e);
                }
                Err(e) if wait.is_zero() => return Err(e),
                Ok(_) if wait.is_zero() => {
                    let message = format!(
                        "it cannot be seen whether VM {} is on {} or on {}",
                        self.name, self.ends.source, self.ends.destination
                    );
                    return Err(Error::new(ErrorKind::Busy, message)
                        .on(Resource::Vm(self.name.as_str().to_owned()))
                        .with_detail("both hosts have a part of it; look at both before you start it"));
                }
                _ => left -= wait,
            }
            cx.clock.sleep(wait).await;
        }
    }

    /// Goes along with a migration: tells how far it is, passes on a wish to stop, and sees to the time limit.
    async fn accompany(
        &self,
        cx: &StepContext<'_>,
        here: &Host,
        moving: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        tokio::pin!(moving);
        let source = facet(here)?;
        let began = cx.clock.now();
        let (mut overdue, mut heard, mut stopping) = (false, false, None);
        loop {
            tokio::select! {
                biased;
                done = &mut moving => return done.map_err(|e| stopping.take().map_or(e, |stop: Error| stop)),
                () = cx.clock.sleep(LOOK) => {}
                // Once: a wish that comes too early is passed on with a later look.
                () = cx.cancel.cancelled(), if !heard => heard = true,
            }
            // A host that does not answer now does not end the migration.
            if let Ok(Some(job)) = source.job(&self.id).await {
                for (what, part) in [("memory", job.memory), ("disks", job.disks)] {
                    if part.total.get() > 0 {
                        let done = part.total.saturating_sub(part.remaining);
                        cx.reporter.report(&Progress::Moved { title: what.to_owned(), done, total: part.total });
                    }
                }
            }
            let took = Duration::try_from(cx.clock.now().duration_since(began)).unwrap_or_default();
            let timeout = self.timeout.filter(|timeout| took >= timeout.after);
            if cx.cancel.is_cancelled() && stopping.is_none() {
                let stop = Error::new(ErrorKind::Cancelled, "the migration was cancelled");
                stopping = self.stop(source, stop).await;
            } else if let Some(timeout) = timeout
                && !overdue
                && stopping.is_none()
            {
                match timeout.then {
                    AtTimeout::Cancel => {
                        let message = format!("VM {} was not there within {:?}", self.name, timeout.after);
                        stopping = self.stop(source, Error::new(ErrorKind::Timeout, message)).await;
                    }
                    AtTimeout::Suspend => overdue = self.suspend(cx, here).await,
                    AtTimeout::PostCopy => overdue = source.start_post_copy(&self.id).await.is_ok(),
                }
            }
        }
    }

    /// Asks a migration to stop; `None` when it cannot be asked now, and the next look tries again.
    async fn stop(&self, source: &dyn Migration, why: Error) -> Option<Error> {
        match source.cancel(&self.id).await {
            Ok(()) => Some(why.on(Resource::Vm(self.name.as_str().to_owned()))),
            Err(e) => {
                tracing::debug!(error = %e, "the migration does not stop");
                None
            }
        }
    }

    async fn suspend(&self, cx: &StepContext<'_>, here: &Host) -> bool {
        let message = format!("VM {} stands still until it is on {}", self.name, self.ends.destination);
        match here.hypervisor.power(&self.id, PowerAction::Suspend).await {
            Ok(()) => {
                cx.reporter.report(&Progress::Warning { message });
                true
            }
            // It stands still already, or has just gone.
            Err(e) => e.kind() == ErrorKind::InvalidState,
        }
    }
}

#[async_trait]
impl Step for Migrate {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("move {} to {}", self.name, self.ends.destination)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        Ok(match self.settled(cx).await? {
            Place::Destination => Probe::Done,
            Place::Source | Place::OnItsWay => Probe::Pending,
        })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let (here, there) = self.ends.open(cx).await?;
        let moving = facet(&here)?.migrate(&self.id, facet(&there)?, &self.spec);
        let Err(error) = self.accompany(cx, &here, moving).await else { return Ok(()) };
        match self.settled(cx).await {
            Ok(Place::Destination) => {
                let message = format!("VM {} has arrived although the last answer was lost: {error}", self.name);
                cx.reporter.report(&Progress::Warning { message });
                Ok(())
            }
            Ok(_) => Err(error),
            Err(unclear) => Err(unclear.with_source(error)),
        }
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Err(Error::internal("a machine that moved is not moved back"))
    }
}

/// Sees to it that the source lets go of a machine that the destination has.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LeaveSource {
    #[serde(flatten)]
    pub(crate) ends: Ends,
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) place: DefinitionPlace,
}

impl LeaveSource {
    pub(crate) const NAME: &'static str = "leave-source";
}

#[async_trait]
impl Step for LeaveSource {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        match self.place {
            DefinitionPlace::Destination => format!("have only {} keep {}", self.ends.destination, self.name),
            DefinitionPlace::Source => format!("have only {} run {}", self.ends.destination, self.name),
        }
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let source = cx.peer(&self.ends.source).await?;
        let is_left = match find(&StepContext { host: &source, ..*cx }, &self.id).await? {
            None => true,
            Some(vm) => self.place == DefinitionPlace::Source && !vm.state.is_active(),
        };
        Ok(if is_left { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let (source, destination) = self.ends.open(cx).await?;
        let Look { here, there, .. } = Look::at(cx, &source, &destination, &self.id).await?;
        let refuse = |why: &str| {
            Err(Error::new(ErrorKind::InvalidState, format!("VM {} stays on {}: {why}", self.name, self.ends.source))
                .on(Resource::Vm(self.name.as_str().to_owned())))
        };
        let Some(here) = here else { return Ok(()) };
        match there {
            // What is here is then all that there is.
            None => return refuse(&format!("{} has it not", self.ends.destination)),
            Some(_) if here.state == VmState::Running => return refuse("it runs here"),
            Some(there) if here.state.is_active() && !there.state.is_active() => {
                return refuse(&format!("it does not run on {}", self.ends.destination));
            }
            Some(_) => {}
        }
        if here.state.is_active() {
            power_off(&source, &self.id, cx.clock).await?;
        }
        if self.place == DefinitionPlace::Destination && here.persistent {
            // Firmware and TPM state may lie where the other host uses them now.
            unless_gone(source.hypervisor.undefine(&self.id, Keep::STATE).await)?;
        }
        Ok(())
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Err(Error::internal("a machine that moved is not brought back"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(state: VmState) -> Option<VmSummary> {
        Some(VmSummary {
            id: VmId::from_entropy([1; 16]),
            name: VmName::parse("a").unwrap(),
            state,
            vcpus: None,
            memory: None,
            max_memory: None,
            persistent: true,
            autostart: None,
            has_saved_state: false,
        })
    }

    #[test]
    fn a_machine_is_where_its_virtual_cpus_run() {
        use VmState::{Off, Paused, Running};
        let live = |here, there, is_moving| Look { here, there, is_moving }.place(MigrationMode::Live);
        for (here, there, is_moving, place) in [
            (vm(Running), None, false, Place::Source),
            (vm(Running), None, true, Place::OnItsWay),
            (vm(Running), vm(Paused), true, Place::OnItsWay),
            // The other host has not noticed yet that nothing comes.
            (vm(Running), vm(Paused), false, Place::OnItsWay),
            (vm(Paused), vm(Paused), false, Place::OnItsWay),
            // Never decided by us: somebody has to look.
            (vm(Running), vm(Running), false, Place::OnItsWay),
            (None, None, false, Place::OnItsWay),
            // The last answer was lost.
            (vm(Paused), vm(Running), false, Place::Destination),
            (vm(Off), vm(Running), false, Place::Destination),
            (None, vm(Running), false, Place::Destination),
            (vm(Running), vm(Off), false, Place::Source),
            // The guest shut down before, or right after.
            (vm(Off), None, false, Place::Source),
            (None, vm(Off), false, Place::Destination),
        ] {
            let said = format!("{here:?} {there:?} {is_moving}");
            assert_eq!(live(here, there, is_moving), place, "{said}");
        }
    }

    #[test]
    fn a_definition_that_has_arrived_is_forgotten_here() {
        let look = Look { here: vm(VmState::Off), there: vm(VmState::Off), is_moving: false };
        assert_eq!(look.place(MigrationMode::Offline), Place::Destination);
    }
}
