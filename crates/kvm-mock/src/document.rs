//! What the simulated host reads in a machine's document, and writes into it.

use kvm_core::{Bytes, MacAddr, NetworkName, VmId};
use kvm_xml::Domain;
use kvm_xml::domain::{
    Channel, CrashAction, DiskDevice, Interface, InterfaceMac, InterfaceTarget, Nvram, OsFirmware, TpmBackendType,
};

/// Documents as their XML, in state files.
pub(crate) mod text {
    use kvm_xml::Document;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<D: Document, S: Serializer>(document: &D, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&document.to_xml())
    }

    pub(crate) fn deserialize<'de, D: Document, F: Deserializer<'de>>(from: F) -> Result<D, F::Error> {
        D::from_xml(&String::deserialize(from)?).map_err(F::Error::custom)
    }
}

/// The same where there may be none.
pub(crate) mod optional_text {
    use kvm_xml::Document;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(crate) fn serialize<D: Document, S: Serializer>(document: &Option<D>, to: S) -> Result<S::Ok, S::Error> {
        document.as_ref().map(Document::to_xml).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Document, F: Deserializer<'de>>(from: F) -> Result<Option<D>, F::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| D::from_xml(&text)).transpose().map_err(F::Error::custom)
    }
}

/// A disk, as far as the host cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) target: String,
    /// The file or device behind it; `None` for an empty drive and for a source that is no file.
    pub(crate) path: Option<String>,
    /// Pool and volume, where the document names these.
    pub(crate) volume: Option<(String, String)>,
    pub(crate) format: Option<String>,
    pub(crate) read_only: bool,
}

/// A network device, as far as the host cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nic {
    pub(crate) mac: MacAddr,
    pub(crate) network: Option<NetworkName>,
    /// The host's end, while it is plugged in.
    pub(crate) device: Option<String>,
}

pub(crate) fn vcpus(document: &Domain) -> Option<u32> {
    let vcpu = document.vcpu.as_ref()?;
    vcpu.current.or(vcpu.value).map(u32::from)
}

pub(crate) fn max_vcpus(document: &Domain) -> u32 {
    document.vcpu.as_ref().and_then(|vcpu| vcpu.value).map_or(1, u32::from)
}

pub(crate) fn memory(document: &Domain) -> Option<Bytes> {
    let current = document.current_memory.as_ref().and_then(|memory| memory.bytes()).map(Bytes::new);
    current.or_else(|| max_memory(document))
}

pub(crate) fn max_memory(document: &Domain) -> Option<Bytes> {
    document.memory.as_ref().and_then(|memory| memory.bytes()).map(Bytes::new)
}

pub(crate) fn disks(document: &Domain) -> Vec<Disk> {
    let disks = document.devices.iter().flat_map(|devices| &devices.disk);
    disks
        .filter_map(|disk| {
            let source = disk.source.as_ref();
            Some(Disk {
                target: disk.target.as_ref()?.dev.as_ref()?.to_string(),
                path: source.and_then(|source| source.file.clone().or_else(|| source.dev.clone())),
                volume: source.and_then(|source| Some((source.pool.clone()?, source.volume.clone()?))),
                format: disk.driver.as_ref().and_then(|driver| driver.r#type).map(|format| format.to_string()),
                read_only: disk.readonly || matches!(disk.device, Some(DiskDevice::Cdrom)),
            })
        })
        .collect()
}

pub(crate) fn nics(document: &Domain) -> Vec<Nic> {
    document.devices.iter().flat_map(|devices| &devices.interface).filter_map(nic).collect()
}

fn nic(interface: &Interface) -> Option<Nic> {
    let network = interface.source.as_ref().and_then(|source| source.network.as_deref());
    Some(Nic {
        mac: MacAddr::from_octets(interface.mac.as_ref()?.address?.0).ok()?,
        network: network.and_then(|name| NetworkName::adopt(name).ok()),
        device: interface.target.as_ref().and_then(|target| target.dev.clone()),
    })
}

pub(crate) fn has_serial(document: &Domain) -> bool {
    document.devices.as_ref().is_some_and(|devices| !devices.serial.is_empty() || !devices.console.is_empty())
}

/// How many screens there are: one for each head of each graphics card.
pub(crate) fn screens(document: &Domain) -> u32 {
    let videos = document.devices.iter().flat_map(|devices| &devices.video);
    videos.map(|video| video.model.as_ref().and_then(|model| model.heads).unwrap_or(1)).sum()
}

pub(crate) fn has_agent_channel(document: &Domain) -> bool {
    let name = |channel: &Channel| channel.target.as_ref().and_then(|target| target.name.clone());
    document
        .devices
        .iter()
        .flat_map(|devices| &devices.channel)
        .any(|c| name(c).as_deref() == Some("org.qemu.guest_agent.0"))
}

/// Whether a machine that died stays for inspection.
pub(crate) fn keeps_crashed(document: &Domain) -> bool {
    document.on_crash == Some(CrashAction::Preserve)
}

/// Where the firmware keeps its variables.
pub(crate) fn nvram_path(document: &Domain) -> Option<&str> {
    document.os.as_ref()?.nvram.as_ref()?.value.as_deref()
}

/// Whether the firmware keeps its variables in a file that holds no internal snapshots.
pub(crate) fn has_raw_nvram(document: &Domain) -> bool {
    let nvram = document.os.as_ref().and_then(|os| os.nvram.as_ref());
    nvram.is_some_and(|nvram| nvram.format != Some(kvm_xml::domain::FirmwareFormat::Qcow2))
}

/// Whether there is an emulated TPM, whose state the host keeps.
pub(crate) fn has_emulated_tpm(document: &Domain) -> bool {
    let mut tpms = document.devices.iter().flat_map(|devices| &devices.tpm);
    tpms.any(|tpm| tpm.backend.as_ref().and_then(|backend| backend.r#type) == Some(TpmBackendType::Emulator))
}

/// Fills in what a host chooses when a document is defined without it: MAC addresses, a place for the firmware's
/// variables.
pub(crate) fn complete(document: &mut Domain, id: &VmId, name: &str) {
    let interfaces = document.devices.iter_mut().flat_map(|devices| &mut devices.interface);
    for (index, interface) in interfaces.enumerate() {
        let mac = interface.mac.get_or_insert_with(InterfaceMac::default);
        mac.address.get_or_insert_with(|| kvm_xml::value::MacAddr(new_mac(id, index).octets()));
    }
    if let Some(os) = document.os.as_mut().filter(|os| os.firmware == Some(OsFirmware::Efi)) {
        let nvram = os.nvram.get_or_insert_with(Nvram::default);
        if nvram.source.is_none() {
            nvram.value.get_or_insert_with(|| format!("/var/lib/libvirt/qemu/nvram/{name}_VARS.fd"));
        }
    }
}

/// The same for the same device, another for every other: nobody needs randomness here.
fn new_mac(id: &VmId, index: usize) -> MacAddr {
    let [.., a, b, c] = *id.as_bytes();
    MacAddr::kvm_oui([a, b, c.wrapping_add(index as u8)])
}

/// The document of a machine that starts: with the number of its process, and the host's end of its devices. `taps`
/// counts the network devices that the host has made so far.
pub(crate) fn started(config: &Domain, number: u32, taps: &mut u32) -> Domain {
    let mut live = config.clone();
    live.id = Some(number);
    if let Some(devices) = &mut live.devices {
        for interface in &mut devices.interface {
            let target = interface.target.get_or_insert_with(InterfaceTarget::default);
            target.dev.get_or_insert_with(|| {
                *taps += 1;
                format!("vnet{}", *taps - 1)
            });
        }
        for serial in devices.serial.iter_mut().chain(&mut devices.console) {
            serial.tty.get_or_insert_with(|| format!("/dev/pts/{number}"));
        }
        for graphics in &mut devices.graphics {
            if graphics.port.is_none_or(|port| port < 0) {
                graphics.port = i32::try_from(number).ok().map(|number| 5899 + number);
            }
        }
    }
    live
}
