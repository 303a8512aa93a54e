//! The form of a scenario file.

use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::Timestamp;
use kvm_core::{
    Bytes, Description, DiskPath, Error, ErrorKind, HostName, MacAddr, NetworkName, Output, PciAddress, PoolName,
    Protection, Result, SnapshotName, Tag, Title, UsbAddress, UsbId, VmId, VmName, VmState, VolumeName, parse_duration,
    parse_size,
};
use kvm_xml::network::ForwardMode;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::fault::{Fault, Method};
use crate::transport::Script;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ScenarioFile {
    pub(super) host: HostEntry,
    pub(super) clock: Option<ClockEntry>,
    #[serde(deserialize_with = "duration")]
    pub(super) latency: Duration,
    pub(super) pools: Vec<PoolEntry>,
    pub(super) networks: Vec<NetworkEntry>,
    pub(super) devices: Vec<DeviceEntry>,
    pub(super) machines: Vec<MachineEntry>,
    pub(super) programs: Vec<ProgramEntry>,
    pub(super) faults: Vec<FaultEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HostEntry {
    pub(super) name: String,
    pub(super) cpus: u32,
    #[serde(deserialize_with = "size")]
    pub(super) memory: Bytes,
    pub(super) numa_nodes: u8,
    pub(super) helper: bool,
}

impl Default for HostEntry {
    fn default() -> Self {
        Self { name: "simulated".into(), cpus: 32, memory: Bytes::from_gib(128), numa_nodes: 1, helper: false }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClockEntry {
    pub(super) start: Timestamp,
    #[serde(default, deserialize_with = "duration")]
    pub(super) step: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PoolEntry {
    pub(super) name: PoolName,
    #[serde(default)]
    pub(super) path: Option<DiskPath>,
    #[serde(default)]
    pub(super) iscsi: Option<TargetEntry>,
    #[serde(default, deserialize_with = "size")]
    pub(super) capacity: Bytes,
    #[serde(default = "yes")]
    pub(super) active: bool,
    #[serde(default = "yes")]
    pub(super) autostart: bool,
    #[serde(default)]
    pub(super) volumes: Vec<VolumeEntry>,
}

/// A target of iSCSI that the host's hypervisor reaches by itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TargetEntry {
    pub(super) host: HostName,
    pub(super) target: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VolumeEntry {
    pub(super) name: VolumeName,
    #[serde(default)]
    pub(super) format: VolumeFormat,
    #[serde(deserialize_with = "size")]
    pub(super) capacity: Bytes,
    #[serde(default, deserialize_with = "size")]
    pub(super) used: Bytes,
    #[serde(default)]
    pub(super) backing: Option<DiskPath>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum VolumeFormat {
    #[default]
    Qcow2,
    Raw,
    Iso,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkEntry {
    pub(super) name: NetworkName,
    #[serde(default, deserialize_with = "forward")]
    pub(super) forward: Option<ForwardMode>,
    #[serde(default)]
    pub(super) bridge: Option<String>,
    #[serde(default)]
    pub(super) address: Option<Ipv4Addr>,
    #[serde(default = "class_c")]
    pub(super) prefix: u8,
    #[serde(default)]
    pub(super) dhcp: Option<[Ipv4Addr; 2]>,
    #[serde(default = "yes")]
    pub(super) active: bool,
    #[serde(default = "yes")]
    pub(super) autostart: bool,
}

/// A device of the host: a function on the PCI bus, a device on a USB bus, or anything by its document.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DeviceEntry {
    pub(super) pci: Option<PciAddress>,
    pub(super) usb: Option<UsbAddress>,
    pub(super) xml: Option<String>,
    /// Numbers of vendor and product.
    pub(super) id: Option<UsbId>,
    pub(super) vendor: Option<String>,
    pub(super) product: Option<String>,
    #[serde(deserialize_with = "class")]
    pub(super) class: Option<u64>,
    pub(super) driver: Option<String>,
    pub(super) group: Option<u32>,
    pub(super) numa: Option<i32>,
    pub(super) max_vfs: Option<u32>,
    pub(super) vf_of: Option<PciAddress>,
    pub(super) mdev_types: Vec<MdevEntry>,
    pub(super) net: Option<String>,
    pub(super) disk: Option<String>,
}

/// What can be made out of a device.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MdevEntry {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) left: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct MachineEntry {
    pub(super) name: Option<VmName>,
    pub(super) uuid: Option<VmId>,
    pub(super) xml: Option<String>,
    pub(super) state: VmState,
    #[serde(deserialize_with = "duration")]
    pub(super) up: Duration,
    pub(super) vcpus: u16,
    #[serde(deserialize_with = "size")]
    pub(super) memory: Bytes,
    pub(super) machine: Option<String>,
    pub(super) firmware: Firmware,
    pub(super) tpm: bool,
    pub(super) title: Option<Title>,
    pub(super) description: Option<Description>,
    pub(super) tags: Vec<Tag>,
    pub(super) protection: Protection,
    pub(super) autostart: bool,
    pub(super) transient: bool,
    pub(super) disks: Vec<DiskEntry>,
    pub(super) nics: Vec<NicEntry>,
    pub(super) agent: bool,
    pub(super) load: f64,
    #[serde(deserialize_with = "duration")]
    pub(super) boots: Duration,
    #[serde(deserialize_with = "obedience")]
    pub(super) obeys: Option<Duration>,
    pub(super) snapshots: Vec<SnapshotName>,
    pub(super) checkpoints: Vec<SnapshotName>,
}

impl Default for MachineEntry {
    fn default() -> Self {
        Self {
            name: None,
            uuid: None,
            xml: None,
            state: VmState::Off,
            up: Duration::from_secs(3600),
            vcpus: 1,
            memory: Bytes::from_gib(1),
            machine: None,
            firmware: Firmware::Bios,
            tpm: false,
            title: None,
            description: None,
            tags: Vec::new(),
            protection: Protection::Off,
            autostart: false,
            transient: false,
            disks: Vec::new(),
            nics: Vec::new(),
            agent: true,
            load: 0.05,
            boots: Duration::from_secs(3),
            obeys: Some(Duration::from_secs(2)),
            snapshots: Vec::new(),
            checkpoints: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Firmware {
    Bios,
    Uefi,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DiskEntry {
    pub(super) path: DiskPath,
    #[serde(default)]
    pub(super) device: DiskKind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum DiskKind {
    #[default]
    Disk,
    Cdrom,
}

/// A network device, on a network or on a bridge.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NicEntry {
    #[serde(default)]
    pub(super) network: Option<NetworkName>,
    #[serde(default)]
    pub(super) bridge: Option<String>,
    #[serde(default)]
    pub(super) mac: Option<MacAddr>,
    #[serde(default)]
    pub(super) address: Option<Ipv4Addr>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProgramEntry {
    argv: Vec<String>,
    #[serde(default)]
    stdout: String,
    #[serde(default)]
    stderr: String,
    #[serde(default)]
    status: i32,
    #[serde(default, deserialize_with = "duration")]
    takes: Duration,
}

impl ProgramEntry {
    pub(super) fn script(&self) -> Script {
        Script {
            argv: self.argv.clone(),
            output: Output {
                status: Some(self.status),
                stdout: self.stdout.clone().into_bytes(),
                stderr: self.stderr.clone().into_bytes(),
            },
            takes: self.takes,
        }
    }
}

/// A call that fails: the next of a method, or the one with this number.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultEntry {
    #[serde(default)]
    method: Option<Method>,
    #[serde(default)]
    call: Option<u64>,
    kind: ErrorKind,
    #[serde(default)]
    answer: Answer,
}

impl FaultEntry {
    pub(super) fn fault(&self) -> Result<Fault> {
        let fault = match (self.method, self.call) {
            (Some(method), None) => Fault::next(method, self.kind),
            (None, Some(call)) => Fault::nth(call, self.kind),
            _ => return Err(Error::invalid("faults", "a fault names either a method or the number of a call")),
        };
        Ok(match self.answer {
            Answer::Refused => fault,
            Answer::Lost => fault.after_effect(),
        })
    }
}

/// What the caller of a call that fails does not get.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    /// It is refused, and nothing happens.
    #[default]
    Refused,
    /// It happens, but its answer is lost.
    Lost,
}

fn yes() -> bool {
    true
}

fn class_c() -> u8 {
    24
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(from)?).map_err(D::Error::custom)
}

fn size<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
    parse_size(&String::deserialize(from)?).map_err(D::Error::custom)
}

fn obedience<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    match String::deserialize(from)?.as_str() {
        "never" => Ok(None),
        text => parse_duration(text).map(Some).map_err(D::Error::custom),
    }
}

fn class<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(from)?;
    u64::from_str_radix(&text, 16).map(Some).map_err(D::Error::custom)
}

fn forward<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ForwardMode>, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map(Some).map_err(D::Error::custom)
}
