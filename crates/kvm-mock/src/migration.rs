//! Machines that move between two simulated hosts.
//!
//! As with libvirt, the virtual CPUs stop here before they run there, and what is here is let go of only when the other
//! host has said that it runs. An answer that is lost in between leaves the machine on both: frozen here, running there.

use std::any::Any;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use kvm_core::{
    Bytes, CpuFit, DefinitionPlace, Error, ErrorKind, Migration, MigrationJob, MigrationMode, MigrationSpec, Resource,
    Result, Route, Transfer, VmChange, VmId, VmState,
};
use kvm_xml::Domain;
use kvm_xml::domain::CpuModeName;

use crate::clock::elapsed;
use crate::document;
use crate::fault::Method;
use crate::file::SparseFile;
use crate::hypervisor::{state_files, tpm_path};
use crate::image;
use crate::machine::Machine;
use crate::mock::{Access, Mock, locked};
use crate::world::World;

/// What moves in a second when nobody limits it.
const RATE: Bytes = Bytes::from_gib(16);
/// In so many pieces.
const PIECES: u32 = 20;

/// Migrations from this host that are under way. They end with the process that waits for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    /// Nothing arrives while this is set.
    pub(crate) held: bool,
    journeys: BTreeMap<VmId, Journey>,
    /// What came to this host, and how long it took.
    arrived: BTreeMap<VmId, MigrationJob>,
    /// CPU models that this host does not have.
    pub(crate) lacking: HashSet<String>,
}

/// A machine on its way.
#[derive(Clone, Copy, Debug)]
struct Journey {
    began: Timestamp,
    job: MigrationJob,
    may_post_copy: bool,
    post_copy: bool,
    cancelled: bool,
}

/// What one host hands to the other.
#[derive(Debug)]
struct Parcel {
    machine: Machine,
    /// What it did when it set out. One that is suspended on its way, to bring that to an end, goes on afterwards.
    state: VmState,
    place: DefinitionPlace,
    mode: MigrationMode,
    /// Paths of disks that are copied, and of those that are shared.
    copied: Vec<String>,
    shared: Vec<String>,
    memory: Bytes,
    disks: Bytes,
}

/// Forgets the journey, also when nobody waits for it any more.
struct OnItsWay<'a>(&'a Mock, VmId);

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.0.0.traffic.send_modify(|traffic| {
            traffic.journeys.remove(&self.1);
        });
    }
}

#[async_trait]
impl Migration for Mock {
    async fn migrate(&self, vm: &VmId, to: &dyn Migration, spec: &MigrationSpec) -> Result<()> {
        let there = to.as_any().downcast_ref::<Self>().cloned();
        let there = there.ok_or_else(|| Error::new(ErrorKind::Unsupported, "the other host is not a simulated one"))?;
        match &spec.route {
            Route::Source(target) | Route::Tunnel(target) if target.to_string() != there.target() => {
                return Err(Error::new(ErrorKind::Unavailable, "the source cannot reach the destination there")
                    .on(Resource::Host(target.to_string())));
            }
            Route::Tunnel(_) if !spec.copy.is_empty() => {
                return Err(Error::new(ErrorKind::Unsupported, "disks do not go through a tunnel"));
            }
            _ => {}
        }
        let mut parcel = self.read(Method::Migrate, vm, |world, _| world.parcel(vm, spec)).await?;
        there.read(Method::PrepareMigration, vm, |world, _| world.can_receive(vm, &parcel)).await?;
        let mut took = None;
        if spec.mode == MigrationMode::Live {
            let travelled = self.travel(vm, spec, &parcel).await;
            if travelled.is_err() {
                self.stay(vm, &parcel)?;
            }
            took = Some(travelled?);
            let files = self.0.with(Access::Change, |world, now| world.freeze(vm, &mut parcel, now))?;
            let arrived =
                there.change(Method::FinishMigration, vm, |world, now| world.receive(vm, &parcel, files, now));
            self.arrived(vm, &parcel, &there, arrived.await)?;
        } else {
            let arrived = |world: &mut World, now| world.receive(vm, &parcel, Vec::new(), now);
            there.change(Method::FinishMigration, vm, arrived).await?;
        }
        if let Some(took) = took {
            there.0.traffic.send_modify(|traffic| {
                traffic.arrived.insert(*vm, took);
            });
        }
        self.change(Method::ConfirmMigration, vm, |world, now| world.depart(vm, spec.definition, now)).await
    }

    async fn job(&self, vm: &VmId) -> Result<Option<MigrationJob>> {
        self.read(Method::MigrationJob, vm, |world, now| {
            world.machine(vm)?;
            Ok(self.0.traffic.borrow().journeys.get(vm).map(|journey| journey.now(now)))
        })
        .await
    }

    async fn outcome(&self, vm: &VmId) -> Result<Option<MigrationJob>> {
        self.read(Method::MigrationOutcome, vm, |world, _| {
            world.machine(vm)?;
            Ok(self.0.traffic.borrow().arrived.get(vm).copied())
        })
        .await
    }

    async fn cancel(&self, vm: &VmId) -> Result<()> {
        self.steer(Method::CancelMigration, vm, |journey| {
            let may = !journey.post_copy;
            journey.cancelled |= may;
            may
        })
        .await
    }

    async fn start_post_copy(&self, vm: &VmId) -> Result<()> {
        self.steer(Method::StartPostCopy, vm, |journey| {
            journey.post_copy |= journey.may_post_copy;
            journey.may_post_copy
        })
        .await
    }

    async fn compare_cpu(&self, document: &Domain) -> Result<CpuFit> {
        self.read(Method::CompareCpu, "", |_, _| {
            let Some(cpu) = &document.cpu else { return Ok(CpuFit::Fits) };
            if !matches!(cpu.mode, None | Some(CpuModeName::Custom)) {
                return Ok(CpuFit::Unknown);
            }
            let model = cpu.model.as_ref().and_then(|model| model.value.as_deref());
            let lacks = model.is_some_and(|model| self.0.traffic.borrow().lacking.contains(model));
            Ok(if lacks { CpuFit::Lacks } else { CpuFit::Fits })
        })
        .await
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Mock {
    /// Changes a journey. `InvalidState` when there is none, or when `change` says that it is too late.
    async fn steer(&self, method: Method, vm: &VmId, change: impl FnOnce(&mut Journey) -> bool + Send) -> Result<()> {
        self.read(method, vm, |world, _| {
            world.machine(vm)?;
            let mut heard = false;
            self.0.traffic.send_modify(|traffic| heard = traffic.journeys.get_mut(vm).is_some_and(change));
            if heard { Ok(()) } else { Err(wrong("VM is not at such a stage of a migration", vm)) }
        })
        .await
    }

    /// Lets memory and disks move. Ends early when it is cancelled, or when one of the two ends is gone.
    async fn travel(&self, vm: &VmId, spec: &MigrationSpec, parcel: &Parcel) -> Result<MigrationJob> {
        let whole = |total: Bytes| Transfer { total, done: Bytes::ZERO, remaining: total };
        let began = self.0.clock().now();
        let job = MigrationJob { memory: whole(parcel.memory), disks: whole(parcel.disks), ..MigrationJob::default() };
        let journey = Journey { began, job, may_post_copy: spec.post_copy, post_copy: false, cancelled: false };
        let mut is_new = true;
        self.0.traffic.send_modify(|traffic| is_new = traffic.journeys.insert(*vm, journey).is_none());
        let _on_its_way = OnItsWay(self, *vm);
        if !is_new {
            return Err(wrong("VM is being migrated already", vm));
        }
        let bytes = parcel.memory.get() + parcel.disks.get();
        let rate = spec.bandwidth.bytes_per_second().unwrap_or(RATE).get();
        let piece = Duration::from_secs_f64(bytes as f64 / rate as f64 / f64::from(PIECES));
        for sent in 1..=PIECES {
            self.0.clock().sleep(piece).await;
            if sent == PIECES {
                let free = |traffic: &Traffic| {
                    !traffic.held || traffic.journeys.get(vm).is_none_or(|journey| journey.cancelled)
                };
                // The sender lives in `self`.
                let _ = self.0.traffic.subscribe().wait_for(|traffic| free(traffic)).await;
            }
            self.check_journey(vm, spec)?;
            self.0.traffic.send_modify(|traffic| {
                if let Some(journey) = traffic.journeys.get_mut(vm) {
                    journey.job.memory.sent(sent);
                    journey.job.disks.sent(sent);
                    journey.job.passes = Some(1);
                }
            });
        }
        let took = self.0.traffic.borrow().journeys.get(vm).map(|journey| journey.now(self.0.clock().now()));
        Ok(took.unwrap_or(job))
    }

    fn check_journey(&self, vm: &VmId, spec: &MigrationSpec) -> Result<()> {
        if self.0.traffic.borrow().journeys.get(vm).is_some_and(|journey| journey.cancelled) {
            return Err(Error::new(ErrorKind::Cancelled, "the migration was cancelled").on(on(vm)));
        }
        self.0.with(Access::Read, |world, _| {
            if !world.events.is_connected() && spec.route == Route::Client {
                return Err(Error::new(ErrorKind::Unavailable, "the connection to the source is lost"));
            }
            match world.machines.get(vm).is_some_and(|machine| machine.live.is_some()) {
                true => Ok(()),
                false => Err(wrong("VM stopped on its way", vm)),
            }
        })
    }

    /// Looks whether the machine runs there; otherwise it goes on here.
    fn arrived(&self, vm: &VmId, parcel: &Parcel, there: &Self, answer: Result<()>) -> Result<()> {
        let Err(error) = answer else { return Ok(()) };
        let runs_there = there.0.with(Access::Read, |world, _| Ok(world.machines.contains_key(vm)))?;
        if !runs_there {
            self.stay(vm, parcel)?;
        }
        Err(error)
    }

    /// Lets a machine go on here.
    fn stay(&self, vm: &VmId, parcel: &Parcel) -> Result<()> {
        self.0.with(Access::Change, |world, now| {
            let Some(machine) = world.machines.get_mut(vm) else { return Ok(()) };
            let changes = machine.thaw(parcel.state, now);
            world.happened(vm, changes, now);
            Ok(())
        })
    }
}

impl Journey {
    fn now(&self, now: Timestamp) -> MigrationJob {
        MigrationJob { elapsed: Some(elapsed(self.began, now)), ..self.job }
    }
}

/// So many pieces have been sent.
trait Sent {
    fn sent(&mut self, pieces: u32);
}

impl Sent for Transfer {
    fn sent(&mut self, pieces: u32) {
        self.done = Bytes::new(self.total.get() / u64::from(PIECES) * u64::from(pieces));
        if pieces == PIECES {
            self.done = self.total;
        }
        self.remaining = self.total.saturating_sub(self.done);
    }
}

impl World {
    /// What is to be sent. Everything that could keep the machine here is looked at first.
    fn parcel(&self, vm: &VmId, spec: &MigrationSpec) -> Result<Parcel> {
        let machine = self.machine(vm)?;
        match (spec.mode, &machine.live, &machine.saved) {
            (MigrationMode::Live, None, _) => return Err(wrong("VM is not running", vm)),
            (MigrationMode::Offline, Some(_), _) => return Err(wrong("VM is running", vm)),
            (MigrationMode::Offline, None, Some(_)) => return Err(wrong("VM has a saved state, which stays", vm)),
            (MigrationMode::Offline, ..) if !spec.copy.is_empty() => {
                return Err(Error::new(ErrorKind::Unsupported, "disks are copied from running machines only"));
            }
            _ => {}
        }
        if !machine.snapshots.is_empty() || !machine.checkpoints.is_empty() {
            return Err(wrong("VM has snapshots or checkpoints, which do not move", vm));
        }
        let (mut copied, mut shared, mut disks) = (Vec::new(), Vec::new(), 0);
        for disk in document::disks(machine.current()) {
            let Some(path) = disk.path else { continue };
            if spec.copy.iter().any(|name| name.as_str() == disk.target) {
                disks += self.files.get(&path).map_or(0, SparseFile::allocated);
                copied.push(path);
            } else {
                shared.push(path);
            }
        }
        if copied.len() != spec.copy.len() {
            return Err(wrong("VM has not all the disks that are to be copied", vm));
        }
        Ok(Parcel {
            machine: machine.clone(),
            state: machine.state(),
            place: spec.definition,
            mode: spec.mode,
            copied,
            shared,
            memory: document::memory(machine.current()).unwrap_or_default(),
            disks: Bytes::new(disks),
        })
    }

    /// Whether everything that the machine needs is here.
    fn can_receive(&self, vm: &VmId, parcel: &Parcel) -> Result<()> {
        let name = &parcel.machine.name;
        if self.machines.contains_key(vm) || self.named(name).is_some() {
            return Err(Error::new(ErrorKind::AlreadyExists, "the VM's name or uuid is taken there").on(on(vm)));
        }
        if parcel.mode == MigrationMode::Offline {
            return Ok(());
        }
        for nic in document::nics(parcel.machine.current()) {
            let Some(name) = nic.network else { continue };
            if !self.networks.get(&name).is_some_and(|network| network.active) {
                return Err(wrong("a network of the VM is not active there", vm).with_detail(name.as_str()));
            }
        }
        for path in parcel.copied.iter().chain(&parcel.shared) {
            if !self.files.contains_key(path) {
                return Err(wrong("an image of the VM is not there", vm).with_detail(path));
            }
        }
        Ok(())
    }

    /// Stops the virtual CPUs, puts the process into the parcel, and gives the files that move with it.
    fn freeze(&mut self, vm: &VmId, parcel: &mut Parcel, now: Timestamp) -> Result<Vec<(String, SparseFile)>> {
        let changes = self.machine_mut(vm)?.halt(now);
        let machine = self.machine(vm)?;
        parcel.machine.live.clone_from(&machine.live);
        let mut paths = parcel.copied.clone();
        paths.extend(state_files(vm, machine.current()));
        let files = paths.into_iter().filter_map(|path| Some((path.clone(), self.files.get(&path)?.clone()))).collect();
        self.happened(vm, changes, now);
        Ok(files)
    }

    /// Takes a machine in.
    fn receive(&mut self, vm: &VmId, parcel: &Parcel, files: Vec<(String, SparseFile)>, now: Timestamp) -> Result<()> {
        self.can_receive(vm, parcel)?;
        for (path, mut file) in files {
            // The image stays what it was made as; the blocks are those of the other host.
            if let Some(present) = self.files.get(&path).filter(|present| image::probe(present).format == "qcow2") {
                file.write(0, &image::header(present));
            }
            self.files.insert(path, file);
        }
        let is_stored = parcel.place == DefinitionPlace::Destination;
        let mut changes = Vec::new();
        let mut machine = Machine { persistent: is_stored, autostart: false, ..parcel.machine.clone() };
        if parcel.mode == MigrationMode::Live {
            changes.extend(machine.thaw(parcel.state, now));
            changes.insert(0, VmChange::Started);
        }
        if is_stored {
            changes.push(VmChange::Defined);
        }
        self.plug_all(vm, &machine, now);
        self.machines.insert(*vm, machine);
        self.happened(vm, changes, now);
        Ok(())
    }

    /// Lets go of a machine that runs elsewhere now.
    fn depart(&mut self, vm: &VmId, place: DefinitionPlace, now: Timestamp) -> Result<()> {
        let was_live = self.machine_mut(vm)?.live.take().is_some();
        let moved = was_live.then_some(VmChange::Migrated);
        if place == DefinitionPlace::Source {
            self.happened(vm, moved, now);
            return Ok(());
        }
        // As libvirt does: the firmware's variables may lie where the other host uses them now.
        self.files.remove(&tpm_path(vm));
        let forgotten = self.machine(vm)?.persistent.then_some(VmChange::Undefined);
        self.happened(vm, moved.into_iter().chain(forgotten), now);
        self.machines.remove(vm);
        Ok(())
    }
}

/// A directory that several simulated hosts see.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    /// With a slash at its end.
    prefix: String,
    files: Arc<Mutex<Files>>,
}

type Files = BTreeMap<String, SparseFile>;

impl Share {
    /// The directory, with what a host has in it.
    pub(crate) fn new(directory: &str, world: &World) -> Self {
        let share = Self { prefix: format!("{}/", directory.trim_end_matches('/')), files: Arc::default() };
        share.leave(&mut locked(&share.files), world);
        share
    }

    /// Shows a host what the others left. They wait until it has left.
    pub(crate) fn enter(&self, world: &mut World) -> MutexGuard<'_, Files> {
        let files = locked(&self.files);
        world.files.retain(|path, _| !path.starts_with(&self.prefix));
        world.files.extend(files.clone());
        files
    }

    /// Keeps what a host leaves for the others.
    pub(crate) fn leave(&self, files: &mut Files, world: &World) {
        let ours = world.files.iter().filter(|(path, _)| path.starts_with(&self.prefix));
        *files = ours.map(|(path, file)| (path.clone(), file.clone())).collect();
    }
}

fn on(vm: &VmId) -> Resource {
    Resource::Vm(vm.to_string())
}

fn wrong(why: &str, vm: &VmId) -> Error {
    Error::new(ErrorKind::InvalidState, why).on(on(vm))
}
