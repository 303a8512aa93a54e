//! Devices of machines that are there already: plugged in and out, changed in place.

use std::time::Duration;

use kvm_core::op::{LockKey, Plan, PlanLine, Step};
use kvm_core::{
    Capabilities, Device, DeviceRef, Devices, Error, ErrorKind, Host, Impact, Peripheral, Resource, Result, View,
    VmSummary, Which,
};
use kvm_xml::Domain;

use crate::step::DetachDevice;

mod cell;
mod disk;
mod media;
mod nic;
mod peripheral;
mod resource;
mod screen;

pub(crate) use disk::source;
pub use disk::{DiskAttach, DiskDetach, limit_disk, plan_disk_attach, plan_disk_detach, resize_disk};
pub use media::{MediaChange, eject, insert};
pub use nic::{NicAttach, NicDetach, plan_nic_attach, plan_nic_detach, set_link};
pub(crate) use peripheral::about;
pub use peripheral::{DeviceAttach, DeviceDetach, plan_device_attach, plan_device_detach};
pub use resource::{Resources, set_resources};
pub use screen::{ScreenPassword, ScreenPasswordChange, set_screen_password};

/// How long a guest has to give up a device unless told otherwise.
pub const DETACH_TIMEOUT: Duration = Duration::from_secs(60);

/// What was under way when a machine did not have the device that was meant, so that a surface can say where to look.
pub(crate) const FIND_DEVICE: &str = "find-device";

/// A device that could be plugged in.
#[derive(Debug)]
pub struct AttachPlan {
    /// What would happen; its `Display` is the dry run.
    pub plan: Plan,
    /// What tells the new device apart from the machine's others.
    pub device: DeviceRef,
    /// Its document.
    pub document: Device,
}

/// A device that could be taken out.
#[derive(Debug)]
pub struct DetachPlan {
    /// What would happen; its `Display` is the dry run.
    pub plan: Plan,
    /// What tells it apart from the machine's others.
    pub device: DeviceRef,
}

/// The host's family of devices. `Unsupported` when it has none.
pub(crate) fn facet(host: &Host) -> Result<&dyn Devices> {
    let missing = || Error::new(ErrorKind::Unsupported, "this host cannot change devices of its machines");
    host.hypervisor.devices().ok_or_else(missing)
}

/// A machine with the documents that a change is to reach.
pub(crate) struct Subject<'a> {
    vm: &'a VmSummary,
    impact: Impact,
    /// What runs; `None` when it is off.
    live: Option<Domain>,
    /// What the next start uses; `None` when it is transient.
    config: Option<Domain>,
}

impl<'a> Subject<'a> {
    /// Reads the machine's documents and chooses which of them change: those that there are, unless told otherwise.
    ///
    /// `InvalidState` when one that was asked for is not there.
    pub(crate) async fn read(host: &Host, vm: &'a VmSummary, asked: Option<Impact>) -> Result<Self> {
        let (is_live, is_stored) = (vm.state.is_active(), vm.persistent);
        let impact = asked.unwrap_or(match (is_live, is_stored) {
            (true, true) => Impact::Both,
            (true, false) => Impact::Live,
            (false, _) => Impact::Config,
        });
        let refuse = |why: &str, detail: &str| {
            let error = Error::new(ErrorKind::InvalidState, format!("VM {} {why}", vm.name));
            Err(error.on(Resource::Vm(vm.name.as_str().to_owned())).with_detail(detail))
        };
        if impact.reaches(Which::Live) && !is_live {
            return refuse(&format!("is {}", vm.state), "change its configuration, or start it first");
        }
        if impact.reaches(Which::Config) && !is_stored {
            return refuse("is transient and has no configuration", "change it live");
        }
        let read = async |view, exists: bool| match exists {
            true => host.hypervisor.definition(&vm.id, view).await.map(Some),
            false => Ok(None),
        };
        let (live, config) = (read(View::LIVE, is_live).await?, read(View::CONFIG, is_stored).await?);
        Ok(Self { vm, impact, live, config })
    }

    /// The document, when the change reaches it.
    fn reached(&self, which: Which) -> Option<&Domain> {
        let document = match which {
            Which::Live => self.live.as_ref(),
            Which::Config => self.config.as_ref(),
        };
        document.filter(|_| self.impact.reaches(which))
    }

    /// All that there are, reached or not: a name has to be free in each of them, so that the other can follow.
    fn documents(&self) -> impl Iterator<Item = &Domain> {
        self.live.iter().chain(&self.config)
    }

    /// The device as it can be plugged in or changed in each document that is reached. `NotFound` when one that is
    /// reached does not have it.
    fn find(&self, key: &DeviceRef) -> Result<Found> {
        let found = |which| {
            let Some(document) = self.reached(which) else { return Ok(None) };
            key.find(document).map(|device| Some(portable(device))).ok_or_else(|| self.missing(key, which))
        };
        Ok(Found { live: found(Which::Live)?, config: found(Which::Config)? })
    }

    /// The device as the first document that is reached has it.
    pub(crate) fn present(&self, key: &DeviceRef) -> Result<Device> {
        let which = if self.impact.reaches(Which::Live) { Which::Live } else { Which::Config };
        self.reached(which).and_then(|document| key.find(document)).ok_or_else(|| self.missing(key, which))
    }

    fn missing(&self, key: &DeviceRef, which: Which) -> Error {
        let other = match which {
            Which::Live => self.config.as_ref().map(|document| (document, "its configuration")),
            Which::Config => self.live.as_ref().map(|document| (document, "what runs")),
        };
        let error = Error::new(ErrorKind::NotFound, format!("VM {} has no {key}", self.vm.name))
            .on(Resource::Vm(self.vm.name.as_str().to_owned()))
            .during(FIND_DEVICE);
        match other.filter(|(document, _)| key.find(document).is_some()) {
            Some((_, place)) => error.with_detail(format!("only {place} has it; change that alone")),
            None => error,
        }
    }

    /// The plan of a change to this machine.
    pub(crate) fn plan(
        &self,
        kind: &'static str,
        title: String,
        host: &Capabilities,
        (lines, steps): (Vec<PlanLine>, Vec<Box<dyn Step>>),
        reversible: usize,
    ) -> Plan {
        let target = host.target.clone();
        let locks = vec![LockKey { host: host.host_key(), vm: self.vm.id }];
        Plan { kind, title: format!("{title} on {target}"), target, locks, lines, steps, reversible }
    }

    /// What a plan says of a device that changes, and when that takes effect if not at once and for good.
    fn line(&self, action: &str, kind: &str, name: &str, note: &str) -> PlanLine {
        let when = match (self.impact, self.vm.state.is_active(), self.vm.persistent) {
            (Impact::Live, _, true) => Some("until it stops"),
            (Impact::Config, true, _) => Some("from its next start"),
            _ => None,
        };
        let note: Vec<_> = [Some(note).filter(|note| !note.is_empty()), when].into_iter().flatten().collect();
        let line = PlanLine::new(action, kind, name);
        if note.is_empty() { line } else { line.note(note.join(", ")) }
    }

    /// The step that takes a device out of the documents that are reached.
    fn detach(&self, key: &DeviceRef, found: &Found, timeout: Duration) -> DetachDevice {
        let document = |device: &Option<Device>| device.as_ref().map(Device::to_xml);
        DetachDevice {
            id: self.vm.id,
            name: self.vm.name.clone(),
            device: key.clone(),
            live: document(&found.live),
            config: document(&found.config),
            timeout,
        }
    }
}

/// A device in the documents that a change reaches.
struct Found {
    live: Option<Device>,
    config: Option<Device>,
}

impl Found {
    /// The one that a change begins with: what is stored, where it says less of the present run.
    fn into_base(self) -> Result<Device> {
        self.config.or(self.live).ok_or_else(|| Error::internal("a change reaches at least one document"))
    }
}

/// The device without what the hypervisor chose for this run: it can be plugged in again, or go into another document.
fn portable(device: Device) -> Device {
    match device {
        Device::Disk(mut disk) => {
            disk.alias = None;
            disk.backing_store = None;
            disk.mirror = None;
            if let Some(source) = &mut disk.source {
                source.index = None;
            }
            Device::Disk(disk)
        }
        Device::Interface(mut interface) => {
            interface.alias = None;
            interface.target = None;
            if let Some(source) = &mut interface.source {
                source.portid = None;
                if source.network.is_some() {
                    source.bridge = None;
                }
            }
            Device::Interface(interface)
        }
        Device::Peripheral(Peripheral::Channel(mut channel)) => {
            if let Some(target) = &mut channel.target {
                target.state = None;
            }
            Device::Peripheral(Peripheral::Channel(channel))
        }
        other => other,
    }
}
