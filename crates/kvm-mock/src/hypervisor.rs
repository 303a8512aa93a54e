//! Machines: defined, listed, powered.

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use jiff::Timestamp;
use kvm_core::{
    Autostart, BlockJobs, Capabilities, Checkpoints, Console, Devices, Error, ErrorKind, EventStream, Existing, Guest,
    HostDevices, Hypervisor, Keep, Migration, NetworkName, PowerAction, Resource, Result, Secrets, Snapshots, View,
    VmChange, VmFilter, VmId, VmName, VmNotes, VmRef, VmState, VmStats, VmSummary, Which, check_definition,
};
use kvm_xml::{Document as _, Domain};

use crate::capability::{self, ARCH};
use crate::document;
use crate::event;
use crate::fault::Method;
use crate::file::SparseFile;
use crate::image;
use crate::machine::{GuestModel, Machine};
use crate::mock::Mock;
use crate::network::Network;
use crate::secret::check_encryption;
use crate::stats;
use crate::world::World;

/// What the firmware's variables and a TPM's state take.
const NVRAM_BYTES: u64 = 540_672;
const TPM_BYTES: u64 = 6_144;
/// Where the states of TPMs lie.
const TPM_STATES: &str = "/var/lib/libvirt/swtpm";

#[async_trait]
impl Hypervisor for Mock {
    async fn capabilities(&self) -> Result<Capabilities> {
        self.read(Method::Capabilities, "", |world, _| Ok(capability::capabilities(self.target(), &world.host))).await
    }

    async fn list(&self, filter: &VmFilter) -> Result<Vec<VmSummary>> {
        self.read(Method::List, "", |world, _| {
            let wanted = world.by_name().into_iter().filter(|(_, machine)| filter.wants(machine.state()));
            Ok(wanted.map(|(id, machine)| summary(id, machine)).collect())
        })
        .await
    }

    async fn find(&self, vm: &VmRef) -> Result<VmSummary> {
        self.read(Method::Find, vm, |world, _| {
            let found = match vm {
                VmRef::Id(id) => world.machines.get_key_value(id),
                VmRef::Name(name) => world
                    .named(name)
                    .or_else(|| VmId::adopt(name.as_str()).ok().and_then(|id| world.machines.get_key_value(&id))),
            };
            let (id, machine) =
                found.ok_or_else(|| Error::new(ErrorKind::NotFound, "no such VM").on(Resource::Vm(vm.to_string())))?;
            Ok(summary(id, machine))
        })
        .await
    }

    async fn definition(&self, id: &VmId, view: View) -> Result<Domain> {
        self.read(Method::Definition, id, |world, _| {
            let machine = world.machine(id)?;
            let mut document = match view.which {
                Which::Live => machine.current().clone(),
                Which::Config => machine.config.clone(),
            };
            if view.secrets == Secrets::Hide {
                document.redact();
            }
            Ok(document)
        })
        .await
    }

    async fn define(&self, doc: &Domain, existing: Existing) -> Result<VmId> {
        let name = doc.name.clone().unwrap_or_default();
        self.change(Method::Define, &name, |world, now| {
            check_definition(doc)?;
            let (id, change) = world.define(doc, existing)?;
            world.happened(&id, [change], now);
            Ok(id)
        })
        .await
    }

    async fn start_transient(&self, doc: &Domain) -> Result<VmId> {
        let name = doc.name.clone().unwrap_or_default();
        self.change(Method::StartTransient, &name, |world, now| {
            check_definition(doc)?;
            let (id, _) = world.define(doc, Existing::Reject)?;
            world.machine_mut(&id)?.persistent = false;
            match world.power(&id, PowerAction::StartPaused, false, now) {
                Ok(changes) => {
                    world.happened(&id, changes, now);
                    Ok(id)
                }
                Err(e) => {
                    world.machines.remove(&id);
                    Err(e)
                }
            }
        })
        .await
    }

    async fn undefine(&self, id: &VmId, keep: Keep) -> Result<()> {
        self.change(Method::Undefine, id, |world, now| {
            let machine = world.machine(id)?;
            if machine.live.is_some() {
                return Err(wrong_state("VM runs", id));
            }
            let mut gone = vec![save_path(machine)];
            if !keep.nvram {
                gone.extend(document::nvram_path(&machine.config).map(str::to_owned));
            }
            if !keep.tpm {
                gone.push(tpm_path(id));
                let own = format!("{TPM_STATES}/{id}");
                world.directories.retain(|directory| !Path::new(directory).starts_with(&own));
            }
            for path in gone {
                world.files.remove(&path);
            }
            world.happened(id, [VmChange::Undefined], now);
            world.machines.remove(id);
            Ok(())
        })
        .await
    }

    async fn power(&self, id: &VmId, action: PowerAction) -> Result<()> {
        let hold = self.pass_or_wait(action).await;
        self.change(Method::Power, format!("{action} {id}"), |world, now| {
            let changes = world.power(id, action, hold, now)?;
            world.happened(id, changes, now);
            Ok(())
        })
        .await
    }

    async fn rename(&self, id: &VmId, name: &VmName) -> Result<()> {
        self.change(Method::Rename, id, |world, now| {
            let machine = world.machine(id)?;
            if machine.state() != VmState::Off {
                return Err(wrong_state("VM is not off", id));
            }
            if !machine.snapshots.is_empty() {
                return Err(wrong_state("VM has snapshots, which know its name", id));
            }
            if world.named(name).is_some() {
                return Err(taken(name));
            }
            let machine = world.machine_mut(id)?;
            machine.name = name.clone();
            machine.config.name = Some(name.as_str().to_owned());
            world.happened(id, [VmChange::Renamed], now);
            Ok(())
        })
        .await
    }

    async fn set_autostart(&self, id: &VmId, autostart: Autostart) -> Result<()> {
        self.change(Method::SetAutostart, id, |world, _| {
            let machine = world.machine_mut(id)?;
            if !machine.persistent {
                return Err(wrong_state("VM is gone when it stops, so it cannot start by itself", id));
            }
            machine.autostart = autostart == Autostart::On;
            Ok(())
        })
        .await
    }

    async fn set_notes(&self, id: &VmId, notes: &VmNotes) -> Result<()> {
        self.change(Method::SetNotes, id, |world, now| {
            let machine = world.machine_mut(id)?;
            notes.apply_to(&mut machine.config)?;
            if let Some(live) = &mut machine.live {
                notes.apply_to(&mut live.document)?;
            }
            world.happened(id, [VmChange::NotesChanged], now);
            Ok(())
        })
        .await
    }

    async fn stats(&self, filter: &VmFilter) -> Result<Vec<VmStats>> {
        self.read(Method::Stats, "", |world, now| {
            let wanted = world.by_name().into_iter().filter(|(_, machine)| filter.wants(machine.state()));
            Ok(wanted.map(|(id, machine)| stats::measure(world, id, machine, now)).collect())
        })
        .await
    }

    async fn events(&self) -> Result<EventStream> {
        self.read(Method::Events, "", |world, _| Ok(event::subscribe(&self.0, world.events.end()))).await
    }

    fn devices(&self) -> Option<&dyn Devices> {
        Some(self)
    }

    fn guest(&self) -> Option<&dyn Guest> {
        Some(self)
    }

    fn console(&self) -> Option<&dyn Console> {
        Some(self)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn checkpoints(&self) -> Option<&dyn Checkpoints> {
        Some(self)
    }

    fn block_jobs(&self) -> Option<&dyn BlockJobs> {
        Some(self)
    }

    fn migration(&self) -> Option<&dyn Migration> {
        Some(self)
    }

    fn host_devices(&self) -> Option<&dyn HostDevices> {
        Some(self)
    }
}

impl World {
    /// Stores a document that is known to be harmless.
    pub(crate) fn define(&mut self, doc: &Domain, existing: Existing) -> Result<(VmId, VmChange)> {
        let name = VmName::adopt(doc.name.as_deref().unwrap_or_default())?;
        let id = VmId::from(doc.uuid.ok_or_else(|| Error::invalid("uuid", "the document has no uuid"))?);
        can_run(doc)?;
        let mut document = doc.clone();
        document.id = None;
        document::complete(&mut document, &id, name.as_str());
        let holder = self.named(&name).map(|(id, _)| *id);
        match existing {
            Existing::Reject => {
                if holder.is_some() || self.machines.contains_key(&id) {
                    return Err(taken(&name));
                }
                self.machines.insert(id, Machine::new(name, document, GuestModel::default()));
                Ok((id, VmChange::Defined))
            }
            Existing::Replace => {
                if holder.is_some_and(|holder| holder != id) {
                    return Err(taken(&name));
                }
                let machine = self.machine_mut(&id)?;
                if machine.name != name {
                    return Err(Error::invalid("name", "a definition cannot be replaced by one of another name"));
                }
                machine.config = document;
                Ok((id, VmChange::Redefined))
            }
        }
    }

    pub(crate) fn power(
        &mut self,
        id: &VmId,
        action: PowerAction,
        hold: bool,
        now: Timestamp,
    ) -> Result<Vec<VmChange>> {
        let starts = matches!(action, PowerAction::Start | PowerAction::StartPaused);
        let machine = self.machine(id)?;
        let was = machine.state();
        if starts && !was.is_active() {
            self.can_start(machine)?;
        }
        let World { machines, networks, files, counters, .. } = self;
        let Some(machine) = machines.get_mut(id) else { return Err(Error::internal("the VM is gone")) };
        let on = |e: Error| e.on(Resource::Vm(id.to_string()));
        let changes = machine.power(action, |config| counters.start(config), hold, now).map_err(on)?;
        if starts {
            plug(networks, id, machine, now);
            if let Some(path) = document::nvram_path(machine.current()) {
                files.entry(path.to_owned()).or_insert_with(|| SparseFile::hole(NVRAM_BYTES));
            }
            if document::has_emulated_tpm(machine.current()) {
                files.entry(tpm_path(id)).or_insert_with(|| SparseFile::hole(TPM_BYTES));
            }
        }
        match (was, machine.state()) {
            (_, VmState::Saved) => {
                let memory = document::memory(&machine.config).unwrap_or_default().get();
                files.insert(save_path(machine), SparseFile::hole(memory).reserving(memory / 8));
            }
            (VmState::Saved, _) => {
                files.remove(&save_path(machine));
            }
            _ => {}
        }
        Ok(changes)
    }

    /// Plugs all network devices of a machine in.
    pub(crate) fn plug_all(&mut self, id: &VmId, machine: &Machine, now: Timestamp) {
        plug(&mut self.networks, id, machine, now);
    }

    /// Whether everything that a machine needs is there.
    fn can_start(&self, machine: &Machine) -> Result<()> {
        let document = machine.saved.as_ref().map_or(&machine.config, |saved| &saved.document);
        let refuse = |why: String| Err(Error::new(ErrorKind::InvalidState, "VM cannot start").with_detail(why));
        for nic in document::nics(document) {
            let Some(name) = nic.network else { continue };
            if !self.networks.get(&name).is_some_and(|network| network.active) {
                return refuse(format!("network {name} is not active"));
            }
        }
        if let Some(why) = self.missing_image(document) {
            return refuse(why);
        }
        for source in document.devices.iter().flat_map(|devices| &devices.disk).filter_map(|disk| disk.source.as_ref())
        {
            let file = source.file.as_ref().and_then(|path| self.files.get(path));
            if file.is_some_and(image::is_encrypted) && check_encryption(self, source.encryption.as_ref()).is_err() {
                return refuse("an image is encrypted, and there is no passphrase for it".into());
            }
        }
        Ok(())
    }
}

fn plug(networks: &mut BTreeMap<NetworkName, Network>, id: &VmId, machine: &Machine, now: Timestamp) {
    for nic in document::nics(machine.current()) {
        let network = nic.network.as_ref().and_then(|name| networks.get_mut(name));
        let wanted = machine.guest.addresses.get(&nic.mac).copied();
        if let Some(network) = network {
            network.plug(id, machine.name.as_str(), nic.mac, wanted, now);
        }
    }
}

/// Where a host keeps what belongs to a machine beside its disks.
pub(crate) fn state_files(id: &VmId, document: &Domain) -> Vec<String> {
    document::nvram_path(document).map(str::to_owned).into_iter().chain([tpm_path(id)]).collect()
}

pub(crate) fn summary(id: &VmId, machine: &Machine) -> VmSummary {
    let document = machine.current();
    VmSummary {
        id: *id,
        name: machine.name.clone(),
        state: machine.state(),
        vcpus: document::vcpus(document),
        memory: document::memory(document),
        max_memory: document::max_memory(document),
        persistent: machine.persistent,
        autostart: Some(machine.autostart),
        has_saved_state: machine.saved.is_some(),
    }
}

/// Refuses a document that this host cannot run, as QEMU's driver does when it is defined.
fn can_run(doc: &Domain) -> Result<()> {
    let virt_type = doc.r#type.map(|t| t.as_str());
    if !virt_type.is_some_and(capability::has_virt_type) {
        return Err(Error::invalid("type", "this host runs kvm and qemu only"));
    }
    let os_type = doc.os.as_ref().and_then(|os| os.r#type.as_ref());
    if os_type.and_then(|t| t.value).map(|value| value.as_str()) != Some("hvm") {
        return Err(Error::invalid("os.type", "this host runs hvm guests only"));
    }
    if os_type.and_then(|t| t.arch).is_some_and(|arch| arch.as_str() != ARCH) {
        return Err(Error::invalid("os.type.arch", "this host runs x86_64 guests only"));
    }
    let machine = os_type.and_then(|t| t.machine.as_deref());
    let most = capability::max_vcpus(machine)
        .ok_or_else(|| Error::invalid("os.type.machine", "this host has no such machine type"))?;
    if !(1..=most).contains(&document::max_vcpus(doc)) {
        return Err(Error::invalid("vcpu", format!("this machine type takes 1 to {most} virtual CPUs")));
    }
    if document::max_memory(doc).unwrap_or_default().get() == 0 {
        return Err(Error::invalid("memory", "a machine needs memory"));
    }
    Ok(())
}

fn save_path(machine: &Machine) -> String {
    format!("/var/lib/libvirt/qemu/save/{}.save", machine.name.as_str())
}

pub(crate) fn tpm_path(id: &VmId) -> String {
    format!("{TPM_STATES}/{id}/tpm2/tpm2-00.permall")
}

fn wrong_state(why: &str, id: &VmId) -> Error {
    Error::new(ErrorKind::InvalidState, why).on(Resource::Vm(id.to_string()))
}

fn taken(name: &VmName) -> Error {
    Error::new(ErrorKind::AlreadyExists, "the VM's name or uuid is taken").on(Resource::Vm(name.as_str().to_owned()))
}
