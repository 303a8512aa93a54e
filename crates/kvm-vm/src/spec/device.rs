//! Devices of a specification that are neither disks, nor network devices, nor screens.

use std::str::FromStr;

use kvm_core::{
    Bytes, Error, HostDeviceRef, MdevId, PciAddress, PeripheralKind, PeripheralName, PeripheralRef, Resource, Result,
    ShareDir, UsbAddress, UsbId,
};
use kvm_xml::domain::{ControllerModel, ControllerType, SoundModel, WatchdogAction, WatchdogModel};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{pairs, read_named};
use crate::host_device::GroupScope;
use crate::text::{auto, choices, memory, refused, switch, text_serde, words};

const FIELD: &str = "device";

/// A device that is neither a disk, nor a network device, nor a screen.
///
/// In files an object whose first key says what it is: `{share: /srv/data, tag: data}`, `{watchdog: i6300esb, action:
/// poweroff}`, `{rng: auto}`. On a command line the same as `share=/srv/data,tag=data`, where `rng` alone means `rng=auto`
/// and a further word alone means yes.
///
/// ```
/// use kvm_vm::DeviceSpec;
/// let share: DeviceSpec = "share=/srv/data,tag=data,readonly".parse()?;
/// assert!(matches!(share, DeviceSpec::Share(_)));
/// assert!("share=/etc,tag=data".parse::<DeviceSpec>().is_err());
/// # Ok::<(), kvm_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>", untagged)]
#[non_exhaustive]
pub enum DeviceSpec {
    /// The clipboard, shared between guest and viewer: over SPICE or VNC, as the machine's screen is.
    Clipboard(ClipboardSpec),
    /// A controller.
    Controller(ControllerSpec),
    /// A memory module.
    Dimm(DimmSpec),
    /// A mediated device of the host.
    Mdev(MdevDeviceSpec),
    /// A device of the host on the PCI bus.
    Pci(PciSpec),
    /// A port to which a SPICE viewer can send a USB device.
    Redirect(RedirectSpec),
    /// A random number generator.
    Rng(RngSpec),
    /// A directory of the host, by virtiofs.
    Share(ShareSpec),
    /// A sound card.
    Sound(SoundSpec),
    /// A USB device of the host.
    Usb(UsbSpec),
    /// A socket between host and guest.
    Vsock(VsockSpec),
    /// A watchdog.
    Watchdog(WatchdogSpec),
}

/// The keys that say what a device is.
const KINDS: [&str; 12] =
    ["clipboard", "controller", "dimm", "mdev", "pci", "redirect", "rng", "share", "sound", "usb", "vsock", "watchdog"];

/// The clipboard between guest and viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipboardSpec {
    /// There is nothing to choose.
    pub clipboard: Auto,
}

/// A controller: the bus that devices are plugged into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControllerSpec {
    /// Its bus.
    pub controller: ControllerBus,
    /// Its model, such as `virtio-scsi` or `qemu-xhci`; the best of its bus if left out.
    #[serde(default, with = "auto", skip_serializing_if = "Option::is_none")]
    pub model: Option<ControllerModel>,
}

/// A memory module: more memory for a machine that has places for modules, also while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DimmSpec {
    /// How much; whole MiB.
    #[serde(with = "memory")]
    pub dimm: Bytes,
    /// The NUMA cell of the guest that gets it; the first if left out.
    #[serde(default, with = "auto", skip_serializing_if = "Option::is_none")]
    pub node: Option<GuestNode>,
}

/// A mediated device of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MdevDeviceSpec {
    /// Its uuid.
    pub mdev: MdevId,
}

/// A device of the host on the PCI bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PciSpec {
    /// Where it is on the host.
    pub pci: PciAddress,
    /// Whether all others of its IOMMU group come with it, such as the audio function of a graphics card.
    #[serde(default, with = "switch", skip_serializing_if = "is_off")]
    pub group: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_off(group: &bool) -> bool {
    !group
}

/// A USB device of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsbSpec {
    /// Which.
    pub usb: UsbChoice,
}

/// A USB device of the host, by what it is or by where it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum UsbChoice {
    /// `046d:c52b`
    Id(UsbId),
    /// `1-4`
    Address(UsbAddress),
}

impl UsbChoice {
    /// Reads `VENDOR:PRODUCT` or `BUS-DEVICE`.
    pub fn parse(text: &str) -> Result<Self> {
        match text.contains('-') {
            true => UsbAddress::parse(text).map(Self::Address),
            false => UsbId::parse(text).map(Self::Id),
        }
    }
}

impl TryFrom<String> for UsbChoice {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<UsbChoice> for String {
    fn from(usb: UsbChoice) -> Self {
        match usb {
            UsbChoice::Id(id) => id.to_string(),
            UsbChoice::Address(address) => address.to_string(),
        }
    }
}

impl From<UsbChoice> for HostDeviceRef {
    fn from(usb: UsbChoice) -> Self {
        match usb {
            UsbChoice::Id(id) => Self::UsbId(id),
            UsbChoice::Address(address) => Self::UsbAddress(address),
        }
    }
}

impl DeviceSpec {
    /// What tells a device of the host apart from a machine's others; `None` for any other device.
    #[must_use]
    pub fn host_key(&self) -> Option<PeripheralRef> {
        let (device, _) = self.of_host()?;
        let name = PeripheralName::parse(&device.to_string()).ok()?;
        Some(PeripheralRef::named(PeripheralKind::Hostdev, name))
    }

    /// The device of the host that is meant, and whether its IOMMU group comes with it; `None` for any other device.
    pub(crate) fn of_host(&self) -> Option<(HostDeviceRef, GroupScope)> {
        match self {
            Self::Mdev(spec) => Some((HostDeviceRef::Mdev(spec.mdev), GroupScope::Function)),
            Self::Pci(spec) => {
                let scope = if spec.group { GroupScope::Group } else { GroupScope::Function };
                Some((HostDeviceRef::Pci(spec.pci), scope))
            }
            Self::Usb(spec) => Some((spec.usb.into(), GroupScope::Function)),
            _ => None,
        }
    }
}

/// A port for a USB device that a SPICE viewer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedirectSpec {
    /// There is nothing to choose.
    pub redirect: Auto,
}

/// A random number generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RngSpec {
    /// Where its numbers come from; the host's `/dev/urandom` if left open.
    #[serde(with = "auto")]
    pub rng: Option<RngSource>,
}

/// A directory of the host in the guest, by virtiofs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareSpec {
    /// Which; one of the policy's allowed paths or below one.
    pub share: ShareDir,
    /// What the guest mounts it by.
    pub tag: ShareTag,
    /// Whether the guest can only read it.
    #[serde(default, with = "switch")]
    pub readonly: bool,
}

/// A sound card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoundSpec {
    /// Its model; what suits the machine type if left open.
    #[serde(with = "auto")]
    pub sound: Option<SoundModel>,
}

/// A socket between host and guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VsockSpec {
    /// The guest's address; a free one at each start if left open.
    #[serde(with = "auto")]
    pub vsock: Option<VsockCid>,
}

/// A watchdog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchdogSpec {
    /// Its model; what suits the architecture if left open.
    #[serde(with = "auto")]
    pub watchdog: Option<WatchdogModel>,
    /// What happens to a guest that hangs; as the machine's other watchdogs do, else a reset, if left out.
    #[serde(default, with = "auto", skip_serializing_if = "Option::is_none")]
    pub action: Option<WatchdogAction>,
}

choices! {
    /// What has nothing to choose.
    Auto: "device" {
        /// As it suits.
        Auto = "auto",
    }

    /// Where random numbers come from.
    RngSource: "rng" {
        /// The host's `/dev/urandom`.
        Urandom = "urandom",
        /// The hypervisor's own.
        Builtin = "builtin",
    }

    /// The bus of a controller that can be added.
    ControllerBus: "controller" {
        /// SCSI disks.
        Scsi = "scsi",
        /// USB.
        Usb = "usb",
        /// Channels and consoles.
        VirtioSerial = "virtio-serial",
        /// SATA disks.
        Sata = "sata",
    }
}

impl ControllerBus {
    /// The bus as documents name it.
    pub(crate) fn kind(self) -> ControllerType {
        match self {
            Self::Scsi => ControllerType::Scsi,
            Self::Usb => ControllerType::Usb,
            Self::VirtioSerial => ControllerType::VirtioSerial,
            Self::Sata => ControllerType::Sata,
        }
    }
}

words! {
    /// What a guest mounts a shared directory by; virtiofs has room for 36 bytes.
    ShareTag: "tag", 36;
}

/// The address of a guest among those that talk to the host by vsock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VsockCid(u32);

impl VsockCid {
    /// Reads a number from 3: the lower ones are the host's and the hypervisor's, the highest means any.
    pub fn parse(text: &str) -> Result<Self> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse::<u32>().ok().filter(|number| digits && (3..u32::MAX).contains(number));
        number.map(Self).ok_or_else(|| refused("vsock", text, "is neither auto nor a number from 3 to 4294967294"))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl std::fmt::Display for VsockCid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for VsockCid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

text_serde!(VsockCid);

/// The number of a NUMA cell of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestNode(u8);

impl GuestNode {
    /// Reads a number from 0 to 255.
    pub fn parse(text: &str) -> Result<Self> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        number.map(Self).ok_or_else(|| refused("node", text, "is not the number of a NUMA cell, which begin at 0"))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.into()
    }
}

impl std::fmt::Display for GuestNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for GuestNode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

text_serde!(GuestNode);

impl TryFrom<Map<String, Value>> for DeviceSpec {
    type Error = Error;

    fn try_from(map: Map<String, Value>) -> Result<Self> {
        let mut kinds = KINDS.into_iter().filter(|kind| map.contains_key(*kind));
        let (Some(kind), None) = (kinds.next(), kinds.next()) else {
            return Err(Error::invalid(FIELD, format!("a device is one of {}", KINDS.join(", "))));
        };
        let map = Value::Object(map);
        match kind {
            "clipboard" => read(map).map(Self::Clipboard),
            "controller" => read(map).map(Self::Controller),
            "dimm" => read(map).map(Self::Dimm),
            "mdev" => read(map).map(Self::Mdev),
            "pci" => read(map).map(Self::Pci),
            "redirect" => read(map).map(Self::Redirect),
            "rng" => read(map).map(Self::Rng),
            "share" => read(map).map(Self::Share),
            "sound" => read(map).map(Self::Sound),
            "usb" => read(map).map(Self::Usb),
            "vsock" => read(map).map(Self::Vsock),
            _ => read(map).map(Self::Watchdog),
        }
    }
}

/// Reads the keys of one kind. Models and actions have no reader of their own that would name their key.
fn read<T: DeserializeOwned>(keys: Value) -> Result<T> {
    read_named(keys).map_err(|e| match e.resource() {
        Some(Resource::Field(key)) if !e.message().to_lowercase().contains(key.as_str()) => {
            Error::invalid(key.as_str(), format!("{key} {}", e.message()))
        }
        _ => e,
    })
}

impl FromStr for DeviceSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        pairs::read_with(FIELD, text, |i, word| {
            Some((word.to_owned(), if i == 0 { "auto".to_owned() } else { "yes".to_owned() }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_form_and_the_file_form_say_the_same() {
        for (line, file) in [
            ("rng", r#"{"rng":"auto"}"#),
            ("rng=builtin", r#"{"rng":"builtin"}"#),
            ("vsock", r#"{"vsock":"auto"}"#),
            ("vsock=5", r#"{"vsock":"5"}"#),
            ("watchdog=itco,action=poweroff", r#"{"watchdog":"itco","action":"poweroff"}"#),
            ("sound=ich9", r#"{"sound":"ich9"}"#),
            ("redirect", r#"{"redirect":"auto"}"#),
            ("pci=01:00.0", r#"{"pci":"0000:01:00.0"}"#),
            ("pci=0000:01:00.0,group", r#"{"pci":"0000:01:00.0","group":true}"#),
            ("usb=046d:c52b", r#"{"usb":"046d:c52b"}"#),
            ("usb=001-004", r#"{"usb":"1-4"}"#),
            ("mdev=83b8f4f2-509f-382f-3c1e-e6bfe0fa1001", r#"{"mdev":"83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"}"#),
            ("clipboard", r#"{"clipboard":"auto"}"#),
            ("dimm=512M", r#"{"dimm":"512MiB"}"#),
            ("dimm=1G,node=1", r#"{"dimm":"1GiB","node":"1"}"#),
            ("controller=scsi,model=virtio-scsi", r#"{"controller":"scsi","model":"virtio-scsi"}"#),
            ("share=/srv/a,,b,tag=data,readonly", r#"{"share":"/srv/a,b","tag":"data","readonly":true}"#),
        ] {
            let device: DeviceSpec = line.parse().unwrap();
            assert_eq!(serde_json::to_string(&device).unwrap(), file);
            assert_eq!(serde_json::from_str::<DeviceSpec>(file).unwrap(), device);
        }
        let number: DeviceSpec = serde_json::from_str(r#"{"vsock": 5}"#).unwrap();
        assert_eq!(number, "vsock=5".parse().unwrap());
    }

    #[test]
    fn what_is_no_device_is_refused_and_says_what_there_is() {
        for (text, says) in [
            ("", "one of clipboard"),
            ("floppy", "one of clipboard"),
            ("rng,vsock", "one of clipboard"),
            ("rng=/etc/shadow", "urandom, builtin"),
            ("vsock=2", "from 3"),
            ("vsock=-1", "from 3"),
            ("vsock=4294967295", "from 3"),
            ("watchdog=itco,action=explode", "action"),
            ("watchdog,model=itco", "model"),
            ("sound=$(id)", "sound"),
            ("controller", "scsi, usb"),
            ("controller=pci", "scsi, usb"),
            ("dimm", "auto"),
            ("dimm=-1", "-1"),
            ("dimm=1G,node=-1", "NUMA cell"),
            ("dimm=1G,node=256", "NUMA cell"),
            ("pci", "0000:01:00.0"),
            ("pci=../../etc", "0000:01:00.0"),
            ("pci=01:00.0,group=perhaps", "perhaps"),
            ("usb=1-4-5", "BUS-DEVICE"),
            ("usb=$(id)", "VENDOR:PRODUCT"),
            ("mdev=0", "8-4-4-4-12"),
            ("share", "share"),
            ("share=/srv/data", "tag"),
            ("share=/,tag=a", "root directory"),
            ("share=/etc,tag=a", "of the system"),
            ("share=/srv/../etc,tag=a", "'..'"),
            ("share=/srv,tag=a/b", "tag"),
            ("share=/srv,tag=-o", "tag"),
            ("share=/srv,tag=0123456789012345678901234567890123456", "36"),
            ("share=/srv,tag=a,readonly=perhaps", "perhaps"),
            ("rng=builtin,rng=urandom", "twice"),
        ] {
            let e = text.parse::<DeviceSpec>().unwrap_err();
            assert_eq!(e.kind(), kvm_core::ErrorKind::InvalidInput, "{text}");
            assert!(e.message().contains(says), "{text}: {e}");
        }
    }
}
