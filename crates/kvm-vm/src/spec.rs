//! What a machine is to be like, as a person writes it.

use std::collections::BTreeSet;

use kvm_core::text::strict;
use kvm_core::{
    Autostart, Bytes, Description, DiskPath, Error, Protection, Resource, Result, Tag, Title, VcpuCount, VmId, VmName,
};
use serde::{Deserialize, Deserializer, Serialize};

use crate::text::{memory, optional_memory, refused, switch, text_serde, vcpus, words};

mod choice;
mod device;
mod disk;
mod nic;
mod numa;
mod pairs;
mod pool;
mod topology;

pub use choice::{
    BootDevice, CacheMode, DiskBus, Firmware, Graphics, NicModel, OsHint, Start, VolumeEncryption, VolumeFormat,
};
pub use device::{
    Auto, ClipboardSpec, ControllerBus, ControllerSpec, DeviceSpec, DimmSpec, GuestNode, MdevDeviceSpec, PciSpec,
    RedirectSpec, RngSource, RngSpec, ShareSpec, ShareTag, SoundSpec, UsbChoice, UsbSpec, VsockCid, VsockSpec,
    WatchdogSpec,
};
pub use disk::{Discard, DiskOptions, DiskSerial, DiskSource, DiskSpec, ImageRef, IoMode, VolumeRef};
pub use nic::{BridgeName, NicLink, NicOptions, NicSpec, UserForward, UserForwards, VlanTags};
pub use numa::{MemorySlots, NumaCell, NumaMode, NumaNodes};
pub(crate) use numa::{all_in_one, check_cells, check_nodes};
pub use pool::{
    InitiatorName, InitiatorUser, PoolKind, PoolSpec, SecretRef, SourceAuth, SourceDevice, SourceDir, SourceHost,
    SourceName,
};
pub use topology::{CpuTopology, HugePages};

/// What a new machine is to be like.
///
/// Every key but `name` has a default, and an unknown key is an error that names it. In files, `memory` is text with
/// a unit or a number of MiB, the `size` of a disk text with a unit or a number of bytes.
///
/// ```
/// use kvm_vm::CreateSpec;
/// let spec = CreateSpec::read(&mut serde_json::Deserializer::from_str(r#"{
///     "name": "web01",
///     "vcpus": 4,
///     "memory": "8GiB",
///     "disks": [{"size": "20GiB"}, {"volume": "data/web01-data.qcow2"}],
///     "iso": "/srv/iso/debian-13.iso",
///     "nics": [{"network": "default"}],
///     "tags": ["owner=dba", "prod"],
///     "start": "yes"
/// }"#))?;
/// assert_eq!(spec.memory, kvm_core::Bytes::from_gib(8));
/// # Ok::<(), kvm_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateSpec {
    /// Its name; free on the host.
    #[serde(deserialize_with = "strict::deserialize")]
    pub name: VmName,
    /// Its uuid; a new one if left out.
    #[serde(default, deserialize_with = "strict::optional", skip_serializing_if = "Option::is_none")]
    pub uuid: Option<VmId>,
    /// What it is for, in a line.
    #[serde(default, deserialize_with = "strict::optional", skip_serializing_if = "Option::is_none")]
    pub title: Option<Title>,
    /// What it is for, in several lines.
    #[serde(default, deserialize_with = "strict::optional", skip_serializing_if = "Option::is_none")]
    pub description: Option<Description>,
    /// How it is grouped.
    #[serde(default)]
    pub tags: BTreeSet<Tag>,
    /// Whether it is protected against deletion.
    #[serde(default = "off", with = "switch")]
    pub protection: Protection,
    /// Whether the host starts it at boot.
    #[serde(default = "off", with = "switch")]
    pub autostart: Autostart,
    /// Whether it is started at once.
    #[serde(default = "no")]
    pub start: Start,

    /// Virtual CPUs; 2 if left out.
    #[serde(default, deserialize_with = "vcpus", skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<VcpuCount>,
    /// Memory; 2 GiB if left out.
    #[serde(default = "two_gib", with = "memory")]
    pub memory: Bytes,
    /// The most virtual CPUs that can be plugged in later; as many as there are if left out.
    #[serde(default, deserialize_with = "vcpus", skip_serializing_if = "Option::is_none")]
    pub max_vcpus: Option<VcpuCount>,
    /// The most memory that its balloon can give it later, or with `memory_slots` that modules can; what it has if left out.
    #[serde(default, with = "optional_memory", skip_serializing_if = "Option::is_none")]
    pub max_memory: Option<Bytes>,
    /// How many memory modules can be plugged in later; none if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_slots: Option<MemorySlots>,
    /// How its virtual CPUs are arranged; their product is the most that there can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<CpuTopology>,
    /// Whether its memory is in large pages of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hugepages: Option<HugePages>,
    /// Its NUMA cells, which have every virtual CPU once and all memory together; none if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub numa: Vec<NumaCell>,
    /// From which of the host's NUMA nodes its memory comes; from any if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numa_nodes: Option<NumaNodes>,
    /// How strictly it does; `strict` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numa_mode: Option<NumaMode>,
    /// The system it is for; Linux if left out.
    #[serde(default = "linux")]
    pub os: OsHint,
    /// The architecture of its CPUs; the host's own if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Arch>,
    /// The machine type; q35, virt or what the host prefers if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineType>,
    /// What its CPUs look like; the host's own with hardware virtualisation if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuMode>,
    /// What it boots with; BIOS on x86, UEFI elsewhere if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<Firmware>,
    /// Whether it has an emulated TPM 2.0.
    #[serde(default, with = "switch")]
    pub tpm: bool,

    /// Its disks.
    #[serde(default)]
    pub disks: Vec<DiskSpec>,
    /// What is in its CD-ROM drive; no drive if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iso: Option<ImageRef>,
    /// What it boots from, in order. If left out: its disks, then its ISO, and the network when it has neither.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boot: Vec<BootDevice>,
    /// Whether the firmware waits for a key that opens its boot menu.
    #[serde(default, with = "switch")]
    pub boot_menu: bool,
    /// A kernel that is loaded directly, without firmware or boot loader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelSpec>,

    /// Its network devices. If left out: one on the default network, or user networking where the host has no such
    /// network. An empty list means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nics: Option<Vec<NicSpec>>,
    /// Its screen; VNC if left out.
    #[serde(default = "vnc")]
    pub graphics: Graphics,
    /// Its other devices, beside those that every machine gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceSpec>,
    /// Whether new volumes may be larger than what their pools have left; they grow as they are written.
    #[serde(default, with = "switch")]
    pub allow_overcommit: bool,
}

/// A kernel that is loaded directly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelSpec {
    /// The kernel image: a volume of an active pool, or below an allowed path.
    #[serde(deserialize_with = "strict::deserialize")]
    pub kernel: DiskPath,
    /// Its first file system.
    #[serde(default, deserialize_with = "strict::optional", skip_serializing_if = "Option::is_none")]
    pub initrd: Option<DiskPath>,
    /// Its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<KernelCmdline>,
}

words! {
    /// An architecture, as QEMU names it: `x86_64`, `aarch64`…
    Arch: "arch", 32;
    /// A machine type, as QEMU names it: `q35`, `pc-q35-10.0`, `virt`…
    MachineType: "machine", 64;
    /// A CPU model, as libvirt names it: `Skylake-Server`, `EPYC-v4`…
    CpuModel: "cpu", 64;
}

/// What a machine's CPUs look like to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CpuMode {
    /// Exactly like the host's: fastest, moves only between equal hosts.
    HostPassthrough,
    /// The nearest model to the host's that has a name.
    HostModel,
    /// Everything that the hypervisor can emulate or pass through.
    Maximum,
    /// A named model.
    Model(CpuModel),
}

impl CpuMode {
    /// Reads `host-passthrough`, `host-model`, `maximum` or the name of a model.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "host-passthrough" => Self::HostPassthrough,
            "host-model" => Self::HostModel,
            "maximum" => Self::Maximum,
            model => Self::Model(CpuModel::parse(model)?),
        })
    }
}

impl std::fmt::Display for CpuMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::HostPassthrough => "host-passthrough",
            Self::HostModel => "host-model",
            Self::Maximum => "maximum",
            Self::Model(model) => model.as_str(),
        })
    }
}

impl std::str::FromStr for CpuMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

text_serde!(CpuMode);

/// The arguments of a kernel: one line of at most 2048 bytes, as much as kernels read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelCmdline(Box<str>);

impl KernelCmdline {
    /// Takes a line of printable text.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > 2048 {
            Err(refused("cmdline", text, "is longer than 2048 bytes"))
        } else if text.chars().any(char::is_control) {
            Err(refused("cmdline", text, "has a control character or a line break"))
        } else {
            Ok(Self(text.into()))
        }
    }

    /// The exact line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for KernelCmdline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for KernelCmdline {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

text_serde!(KernelCmdline);

impl CreateSpec {
    /// A machine of this name with the defaults: no disk, one network device, off.
    #[must_use]
    pub fn new(name: VmName) -> Self {
        Self {
            name,
            uuid: None,
            title: None,
            description: None,
            tags: BTreeSet::new(),
            protection: off(),
            autostart: off(),
            start: no(),
            vcpus: None,
            memory: two_gib(),
            max_vcpus: None,
            max_memory: None,
            memory_slots: None,
            topology: None,
            hugepages: None,
            numa: Vec::new(),
            numa_nodes: None,
            numa_mode: None,
            os: linux(),
            arch: None,
            machine: None,
            cpu: None,
            firmware: None,
            tpm: false,
            disks: Vec::new(),
            iso: None,
            boot: Vec::new(),
            boot_menu: false,
            kernel: None,
            nics: None,
            graphics: vnc(),
            devices: Vec::new(),
            allow_overcommit: false,
        }
    }

    /// Reads a specification from a file of any format. `InvalidInput` names the key that is wrong
    /// (`disks[0].size`).
    pub fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self> {
        read_named(deserializer)
    }
}

/// Deserialises, and names in the error the key that was wrong.
pub(crate) fn read_named<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T> {
    serde_path_to_error::deserialize(deserializer).map_err(|e| {
        let path = e.path().to_string();
        let message = e.inner().to_string();
        let error = Error::new(kvm_core::ErrorKind::InvalidInput, message);
        if path == "." { error } else { error.on(Resource::Field(path)) }
    })
}

fn off<T: crate::text::Switch>() -> T {
    T::OFF
}

fn no() -> Start {
    Start::No
}

fn two_gib() -> Bytes {
    Bytes::from_gib(2)
}

fn linux() -> OsHint {
    OsHint::Linux
}

fn vnc() -> Graphics {
    Graphics::Vnc
}
