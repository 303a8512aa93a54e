//! Devices of a machine, plugged in and out while it runs, in its definition, or both.

use std::fmt;

use async_trait::async_trait;
use kvm_xml::Document as _;
use kvm_xml::Domain;
use kvm_xml::domain::{Disk, Graphics, GraphicsType, Interface};
use kvm_xml::value::{CpuSet, DiskName};
use serde::{Deserialize, Serialize};

use crate::{
    Bytes, CpuLimits, DiskLimits, Error, IoThread, IoThreadChange, MacAddr, MemoryPlacement, Result, VcpuCount, VmId,
    VmThread, Which,
};

mod peripheral;

pub use peripheral::{Peripheral, PeripheralKind, PeripheralName, PeripheralRef};

/// What of a machine can change without defining it anew.
///
/// Every method takes an [`Impact`]. Each document that it names has to be there, else nothing changes and the error is
/// `InvalidState`: a machine that is off has no live one, a transient machine has no configuration. With
/// [`Impact::Both`] either both documents change or none. `NotFound` when there is no such machine.
#[async_trait]
pub trait Devices: fmt::Debug + Send + Sync {
    /// Plugs a device in.
    ///
    /// It has to name what tells it apart ([`Device::key`]); `AlreadyExists` when a device in one of the documents has
    /// the same. `InvalidState` when a running machine cannot reach what is behind the device, a file or a network for
    /// instance. `InvalidInput` when the hypervisor refuses the document, `Unsupported` when it cannot plug such a device
    /// into a running machine.
    async fn attach(&self, vm: &VmId, device: &Device, impact: Impact) -> Result<()>;

    /// Takes a device out. Of a running machine this resolves when the request is accepted, not when the guest has obeyed:
    /// until then the device stays in the live document, and the guest may never give it up.
    ///
    /// `NotFound` when one of the documents has no such device; then nothing changes. `InvalidState` when the guest refuses
    /// at once.
    async fn detach(&self, vm: &VmId, device: &DeviceRef, impact: Impact) -> Result<()>;

    /// Changes a device in place: the medium of a drive, the link of a network device, the password of a screen. The device is found by what tells
    /// it apart, and is afterwards as the document says.
    ///
    /// `NotFound` when one of the documents has no such device, `Unsupported` for what cannot change while the machine
    /// runs, such as the image of a hard disk; `InvalidState` for the password of a screen that was started without one, else
    /// `InvalidState` and `InvalidInput` as in [`attach`](Self::attach).
    async fn update(&self, vm: &VmId, device: &Device, impact: Impact) -> Result<()>;

    /// Sets how many virtual CPUs are plugged in. `InvalidInput` above the most that the document has. A running guest may
    /// refuse to give one up.
    async fn set_vcpus(&self, vm: &VmId, count: VcpuCount, impact: Impact) -> Result<()>;

    /// Sets how much of its memory a machine has, through the balloon while it runs. `InvalidInput` above the most that
    /// the document has. A running guest takes its time.
    async fn set_memory(&self, vm: &VmId, memory: Bytes, impact: Impact) -> Result<()>;

    /// Makes a disk of a running machine larger, together with the image behind it.
    ///
    /// `InvalidState` when the machine is off, `NotFound` when it has no such disk, `InvalidInput` when the disk would
    /// not become larger: cutting off the end of a disk that is in use destroys what is there.
    async fn resize_disk(&self, vm: &VmId, disk: &DiskName, size: Bytes) -> Result<()>;

    /// Says on which of the host's CPUs a thread may run. `InvalidInput` for a thread that one of the documents does not
    /// have, and for CPUs that the host does not have ([`VmThread::check_pin`]).
    async fn pin(&self, vm: &VmId, thread: VmThread, cpus: &CpuSet, impact: Impact) -> Result<()>;

    /// Sets what a machine may use of the host's CPU time; what is left out stays. `Unsupported` when the host cannot
    /// limit its machines, `InvalidInput` for a number that this host does not take.
    async fn limit_cpu(&self, vm: &VmId, limits: &CpuLimits, impact: Impact) -> Result<()>;

    /// Says from which of the host's NUMA nodes memory comes. A running machine keeps what it has where it is, or has it moved,
    /// as the host likes.
    ///
    /// `InvalidInput` for nodes that the host does not have, `InvalidState` for what cannot change while the machine runs
    /// ([`MemoryPlacement::check`]), `Unsupported` when the host cannot place memory.
    async fn place_memory(&self, vm: &VmId, placement: &MemoryPlacement, impact: Impact) -> Result<()>;

    /// Sets how fast a disk may be used, in place of all limits that it had.
    ///
    /// `NotFound` when one of the documents has no such disk, `InvalidInput` for limits that contradict each other
    /// ([`DiskLimits::check`]), `Unsupported` when the host cannot limit disks.
    async fn limit_disk(&self, vm: &VmId, disk: &DiskName, limits: &DiskLimits, impact: Impact) -> Result<()>;

    /// Adds an I/O thread, or takes one away. `AlreadyExists`, `NotFound`, `InvalidState` for one that serves a device
    /// ([`IoThreadChange::check`]).
    async fn change_iothread(&self, vm: &VmId, thread: IoThread, change: IoThreadChange, impact: Impact) -> Result<()>;
}

/// Which of a machine's documents a change reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Impact {
    /// The running machine; the next start knows nothing of it.
    Live,
    /// The configuration; a running machine knows nothing of it until its next start.
    Config,
    /// Both.
    Both,
}

impl Impact {
    /// The documents that it reaches.
    #[must_use]
    pub fn documents(self) -> &'static [Which] {
        match self {
            Self::Live => &[Which::Live],
            Self::Config => &[Which::Config],
            Self::Both => &[Which::Live, Which::Config],
        }
    }

    /// Whether it reaches this document.
    #[must_use]
    pub fn reaches(self, which: Which) -> bool {
        self.documents().contains(&which)
    }

    /// The word in plans and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Config => "config",
            Self::Both => "both",
        }
    }
}

impl fmt::Display for Impact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A device that can be plugged in and out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Device {
    /// A disk or a drive.
    Disk(Box<Disk>),
    /// A network device.
    Interface(Box<Interface>),
    /// A screen, which is neither plugged into a running machine nor out of it.
    Graphics(Box<Graphics>),
    /// Any other.
    Peripheral(Peripheral),
}

impl Device {
    /// What tells it apart from others of its machine. `InvalidInput` when the document does not say.
    pub fn key(&self) -> Result<DeviceRef> {
        match self {
            Self::Disk(disk) => disk_name(disk)
                .map(DeviceRef::Disk)
                .ok_or_else(|| Error::invalid("target", "the disk's document names no target such as vda")),
            Self::Interface(interface) => match mac(interface) {
                Some(mac) => MacAddr::from_octets(mac).map(DeviceRef::Nic),
                None => Err(Error::invalid("mac", "the network device's document has no MAC address")),
            },
            Self::Graphics(graphics) => graphics
                .r#type
                .map(DeviceRef::Graphics)
                .ok_or_else(|| Error::invalid("type", "the screen's document has no type such as vnc")),
            Self::Peripheral(device) => Ok(DeviceRef::Peripheral(device.key())),
        }
    }

    /// Puts the device into a machine's document, in the place of the one that has the same [`key`](Self::key), or behind
    /// all others.
    pub fn put_into(&self, document: &mut Domain) -> Result<()> {
        self.key()?;
        let devices = document.devices.get_or_insert_default();
        match self {
            Self::Disk(disk) => put(&mut devices.disk, disk, |other| disk_name(other) == disk_name(disk)),
            Self::Interface(interface) => put(&mut devices.interface, interface, |other| mac(other) == mac(interface)),
            Self::Graphics(graphics) => put(&mut devices.graphics, graphics, |other| other.r#type == graphics.r#type),
            Self::Peripheral(device) => device.put_into(devices),
        }
        Ok(())
    }

    /// The document as the hypervisor reads it.
    #[must_use]
    pub fn to_xml(&self) -> String {
        match self {
            Self::Disk(disk) => disk.to_xml(),
            Self::Interface(interface) => interface.to_xml(),
            Self::Graphics(graphics) => graphics.to_xml(),
            Self::Peripheral(device) => device.to_xml(),
        }
    }
}

/// Points at a device of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
#[non_exhaustive]
pub enum DeviceRef {
    /// The disk or drive with this target.
    Disk(DiskName),
    /// The network device with this address.
    Nic(MacAddr),
    /// The first screen of this kind.
    Graphics(GraphicsType),
    /// Any other device.
    Peripheral(PeripheralRef),
}

impl DeviceRef {
    /// The device in a machine's document.
    #[must_use]
    pub fn find(&self, document: &Domain) -> Option<Device> {
        let devices = document.devices.as_ref()?;
        match self {
            Self::Disk(name) => devices
                .disk
                .iter()
                .find(|disk| disk_name(disk).as_ref() == Some(name))
                .map(|disk| Device::Disk(Box::new(disk.clone()))),
            Self::Nic(wanted) => devices
                .interface
                .iter()
                .find(|interface| mac(interface) == Some(wanted.octets()))
                .map(|interface| Device::Interface(Box::new(interface.clone()))),
            Self::Graphics(kind) => devices
                .graphics
                .iter()
                .find(|graphics| graphics.r#type == Some(*kind))
                .map(|graphics| Device::Graphics(Box::new(graphics.clone()))),
            Self::Peripheral(wanted) => wanted.candidates(devices).into_iter().next().map(Device::Peripheral),
        }
    }

    /// Takes the device out of a machine's document. Whether it was there.
    pub fn take_out(&self, document: &mut Domain) -> bool {
        let Some(devices) = &mut document.devices else { return false };
        let before = (devices.disk.len(), devices.interface.len(), devices.graphics.len());
        match self {
            Self::Disk(name) => devices.disk.retain(|disk| disk_name(disk).as_ref() != Some(name)),
            Self::Nic(wanted) => devices.interface.retain(|interface| mac(interface) != Some(wanted.octets())),
            Self::Graphics(kind) => devices.graphics.retain(|graphics| graphics.r#type != Some(*kind)),
            Self::Peripheral(wanted) => return wanted.take_out(devices),
        }
        before != (devices.disk.len(), devices.interface.len(), devices.graphics.len())
    }
}

impl fmt::Display for DeviceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(name) => write!(f, "disk {name}"),
            Self::Nic(mac) => write!(f, "network device {mac}"),
            Self::Graphics(kind) => write!(f, "{} screen", kind.as_str()),
            Self::Peripheral(device) => device.fmt(f),
        }
    }
}

fn put<T: Clone>(list: &mut Vec<T>, item: &T, is_same: impl Fn(&T) -> bool) {
    match list.iter_mut().find(|other| is_same(other)) {
        Some(place) => *place = item.clone(),
        None => list.push(item.clone()),
    }
}

/// A [`DeviceRef`] in journals and state files.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Form {
    Disk(String),
    Nic(MacAddr),
    Graphics(String),
    Peripheral(PeripheralRef),
}

impl From<DeviceRef> for Form {
    fn from(device: DeviceRef) -> Self {
        match device {
            DeviceRef::Disk(name) => Self::Disk(name.as_str().to_owned()),
            DeviceRef::Nic(mac) => Self::Nic(mac),
            DeviceRef::Graphics(kind) => Self::Graphics(kind.as_str().to_owned()),
            DeviceRef::Peripheral(device) => Self::Peripheral(device),
        }
    }
}

impl TryFrom<Form> for DeviceRef {
    type Error = kvm_xml::XmlError;

    fn try_from(form: Form) -> Result<Self, Self::Error> {
        Ok(match form {
            Form::Disk(name) => Self::Disk(name.parse()?),
            Form::Nic(mac) => Self::Nic(mac),
            Form::Graphics(kind) => Self::Graphics(kind.parse()?),
            Form::Peripheral(device) => Self::Peripheral(device),
        })
    }
}

fn disk_name(disk: &Disk) -> Option<DiskName> {
    disk.target.as_ref()?.dev.clone()
}

fn mac(interface: &Interface) -> Option<[u8; 6]> {
    interface.mac.as_ref()?.address.map(|address| address.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> Domain {
        let xml = "<domain><devices><disk><target dev='vda'/></disk><disk><target dev='vdb'/></disk>\
                   <interface><mac address='52:54:00:00:00:01'/></interface></devices></domain>";
        Domain::from_xml(xml).unwrap()
    }

    #[test]
    fn a_device_is_found_by_what_tells_it_apart() {
        let document = domain();
        for key in [DeviceRef::Disk("vdb".parse().unwrap()), DeviceRef::Nic("52:54:0:0:0:1".parse().unwrap())] {
            assert_eq!(key.find(&document).unwrap().key().unwrap(), key);
        }
        assert!(DeviceRef::Disk("vdc".parse().unwrap()).find(&document).is_none());
    }

    #[test]
    fn only_the_device_that_is_meant_is_taken_out() {
        let mut document = domain();
        let key = DeviceRef::Disk("vdb".parse().unwrap());
        assert!(key.take_out(&mut document));
        assert!(!key.take_out(&mut document));
        let devices = document.devices.unwrap();
        assert_eq!((devices.disk.len(), devices.interface.len()), (1, 1));
    }

    #[test]
    fn a_pointer_survives_a_journal() {
        let keys = [
            DeviceRef::Disk("vdb".parse().unwrap()),
            DeviceRef::Nic("52:54:0:0:0:1".parse().unwrap()),
            DeviceRef::Graphics(GraphicsType::Spice),
            DeviceRef::Peripheral("share:a:b".parse().unwrap()),
            DeviceRef::Peripheral("vsock".parse().unwrap()),
        ];
        for key in keys {
            let text = serde_json::to_string(&key).unwrap();
            assert_eq!(serde_json::from_str::<DeviceRef>(&text).unwrap(), key, "{text}");
        }
        assert!(serde_json::from_str::<DeviceRef>(r#"{"disk":"../x"}"#).is_err());
    }

    #[test]
    fn a_device_without_a_name_has_no_key() {
        assert!(Device::Disk(Box::default()).key().is_err());
        assert!(Device::Interface(Box::default()).key().is_err());
        assert!(Device::Graphics(Box::default()).key().is_err());
    }
}
