//! Booting: firmware, kernel, SMBIOS.

use super::DiskSource;
use crate::common::Arch;
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::YesNo;
use kvm_xml_derive::Xml;

/// SMBIOS or fw_cfg strings that the host hands to the guest: <https://libvirt.org/formatdomain.html#smbios-system-information>.
///
/// `Smbios` uses the blocks and needs `os.smbios.mode` `Sysinfo`; `Fwcfg` uses `entry` (since 6.5.0). Since 0.8.7.
#[derive(Clone, Default, Xml)]
#[xml(key = "type")]
pub struct Sysinfo {
    pub r#type: Option<SysinfoType>,
    pub bios: Option<SysinfoBios>,
    pub system: Option<SysinfoSystem>,
    /// Some hypervisors take one only.
    #[xml("baseBoard")]
    pub base_board: Vec<SysinfoBaseBoard>,
    /// Since 4.1.0.
    pub chassis: Option<SysinfoChassis>,
    /// Since 4.1.0.
    #[xml("oemStrings")]
    pub oem_strings: Option<OemStrings>,
    /// `Fwcfg` only. libvirt prefers `oem_strings`, as slots are few.
    pub entry: Vec<FwCfgEntry>,
    pub _extra: Extra,
}

/// How the guest boots: <https://libvirt.org/formatdomain.html#operating-system-booting>.
///
/// UEFI: `firmware` `Efi` and nothing else lets libvirt choose `loader` and `nvram`, and write them back. Direct kernel
/// boot: `kernel`, `initrd`, `cmdline`. A container: `init` and its kin.
#[derive(Clone, Default, Xml)]
pub struct Os {
    /// libvirt chooses an installed firmware of this kind. Since 5.2.0.
    pub firmware: Option<OsFirmware>,
    pub r#type: Option<OsType>,
    /// The arguments of `init`, one each.
    pub initarg: Vec<String>,
    /// The absolute path of a kernel on the host, booted without a boot loader.
    #[xml(el, form = "path")]
    pub kernel: Option<String>,
    /// The absolute path on the host; goes with `kernel`.
    #[xml(el, form = "path")]
    pub initrd: Option<String>,
    /// The root device for the kernel.
    #[xml(el, form = "path")]
    pub root: Option<String>,
    /// The kernel's command line; goes with `kernel`.
    #[xml(el)]
    pub cmdline: Option<String>,
    /// The absolute path of a first UEFI boot loader, for `kernel` with Secure Boot. Since 11.2.0.
    #[xml(el)]
    pub shim: Option<String>,
    /// The absolute path of a device tree on the host. Since 1.0.4.
    #[xml(el, form = "path")]
    pub dtb: Option<String>,
    /// Narrows the choice of `firmware`. Since 7.2.0.
    #[xml("firmware")]
    pub firmware_el: Option<Firmware>,
    pub loader: Option<Loader>,
    pub nvram: Option<Nvram>,
    /// Kinds of devices, in order. Not together with `boot` of a device, which says it exactly and is what libvirt
    /// advises.
    pub boot: Vec<BootDevice>,
    pub bootmenu: Option<BootMenu>,
    pub smbios: Option<Smbios>,
    /// SeaBIOS rather than UEFI.
    pub bios: Option<Bios>,
    pub acpi: Option<OsAcpi>,
    /// LXC: the absolute path of the first program.
    #[xml(el, form = "path")]
    pub init: Option<String>,
    pub initenv: Vec<InitEnv>,
    /// LXC: the working directory of `init`.
    #[xml(el, form = "path")]
    pub initdir: Option<String>,
    /// LXC: a name, or a number after `+`.
    #[xml(el, form = "word")]
    pub inituser: Option<String>,
    /// LXC: a name, or a number after `+`.
    #[xml(el, form = "word")]
    pub initgroup: Option<String>,
    pub _extra: Extra,
}

/// SMBIOS block 0: the BIOS: <https://libvirt.org/formatdomain.html#smbios-system-information>.
#[derive(Clone, Default, Xml)]
pub struct SysinfoBios {
    pub entry: Vec<BiosEntry>,
    pub _extra: Extra,
}

/// SMBIOS block 1: the machine: <https://libvirt.org/formatdomain.html#smbios-system-information>.
#[derive(Clone, Default, Xml)]
pub struct SysinfoSystem {
    pub entry: Vec<SystemEntry>,
    pub _extra: Extra,
}

/// SMBIOS block 2: the main board: <https://libvirt.org/formatdomain.html#smbios-system-information>.
#[derive(Clone, Default, Xml)]
pub struct SysinfoBaseBoard {
    pub entry: Vec<BaseBoardEntry>,
    pub _extra: Extra,
}

/// SMBIOS block 3: the case: <https://libvirt.org/formatdomain.html#smbios-system-information>.
#[derive(Clone, Default, Xml)]
pub struct SysinfoChassis {
    pub entry: Vec<ChassisEntry>,
    pub _extra: Extra,
}

/// SMBIOS block 11: free strings: <https://libvirt.org/formatdomain.html#smbios-system-information>.
#[derive(Clone, Default, Xml)]
pub struct OemStrings {
    /// Best begun with the name of the application that reads it.
    pub entry: Vec<String>,
    pub _extra: Extra,
}

/// A fw_cfg blob, inline or from a file: <https://libvirt.org/formatdomain.html#smbios-system-information>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct FwCfgEntry {
    /// Begins with `opt/`, then a domain name turned round: `opt/com.example/name`.
    pub name: Option<String>,
    /// Its content, from a file on the host; instead of `value`.
    pub file: Option<String>,
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// The kind of guest with its architecture and machine type: <https://libvirt.org/formatdomain.html#guest-firmware>.
#[derive(Clone, Default, Xml)]
pub struct OsType {
    /// The host's if absent.
    pub arch: Option<Arch>,
    /// A machine type of the host's capabilities. Aliases (`q35`, `pc`) are written back as the versioned name, which
    /// keeps the guest's hardware the same after an upgrade.
    #[xml(form = "word")]
    pub machine: Option<String>,
    /// `Hvm` for QEMU and KVM, `Exe` for containers, `Xen` (`Linux` in old documents) for paravirtual Xen.
    #[xml(text)]
    pub value: Option<OsTypeName>,
    pub _extra: Extra,
}

/// Which features an automatically chosen firmware must have: <https://libvirt.org/formatdomain.html#guest-firmware>.
#[derive(Clone, Default, Xml)]
pub struct Firmware {
    pub feature: Vec<FirmwareFeature>,
    pub _extra: Extra,
}

/// The firmware image; the text is its absolute path: <https://libvirt.org/formatdomain.html#guest-firmware>.
#[derive(Clone, Default, Xml)]
pub struct Loader {
    /// There is no `nvram`; settings are gone after shutdown. Since 8.6.0.
    pub stateless: Option<YesNo>,
    /// Yes for UEFI, whose variables are in `nvram`. Since 1.2.8.
    pub readonly: Option<YesNo>,
    /// The firmware can do Secure Boot; this does not switch it on. Since 2.1.0.
    pub secure: Option<YesNo>,
    /// `Pflash` for UEFI, `Rom` for a BIOS. Since 1.2.8.
    pub r#type: Option<LoaderType>,
    /// Since 9.2.0.
    pub format: Option<FirmwareFormat>,
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// Where the firmware keeps its variables; the text is the path of the file: <https://libvirt.org/formatdomain.html#guest-firmware>.
///
/// libvirt makes the file from `template` at the first start. It stays when a transient domain ends, and must be copied
/// or dropped when a domain is cloned. Since 1.2.8.
#[derive(Clone, Default, Xml)]
pub struct Nvram {
    /// The absolute path of empty variables that fit the loader; libvirt knows it for installed firmware.
    #[xml(form = "path")]
    pub template: Option<String>,
    /// Since 10.10.0.
    #[xml("templateFormat")]
    pub template_format: Option<FirmwareFormat>,
    /// `Qcow2` is needed for internal snapshots. Since 9.2.0.
    pub format: Option<FirmwareFormat>,
    /// The kind of `source`: `File`, `Block` or `Network`. Since 8.5.0.
    pub r#type: Option<DiskType>,
    #[xml(text)]
    pub value: Option<String>,
    /// Instead of the text. A network image is not filled from the template. Since 8.5.0.
    pub source: Option<DiskSource>,
    pub _extra: Extra,
}

/// A kind of device to boot from; the order of the elements counts: <https://libvirt.org/formatdomain.html#guest-firmware>.
#[derive(Clone, Default, Xml)]
pub struct BootDevice {
    pub dev: Option<BootDev>,
    pub _extra: Extra,
}

/// Whether the guest's boot menu is shown, and for how long: <https://libvirt.org/formatdomain.html#guest-firmware>.
#[derive(Clone, Default, Xml)]
pub struct BootMenu {
    /// The hypervisor's default if absent. Since 0.8.3.
    pub enable: Option<YesNo>,
    /// Milliseconds; only with `enable`. Since 1.2.8.
    pub timeout: Option<u16>,
    pub _extra: Extra,
}

/// Where the guest's SMBIOS strings come from, since 0.8.7: <https://libvirt.org/formatdomain.html#guest-firmware>.
#[derive(Clone, Default, Xml)]
pub struct Smbios {
    /// `Emulate`: made up by the hypervisor. `Host`: the host's, except for the uuid. `Sysinfo`: those of `sysinfo`.
    pub mode: Option<SmbiosMode>,
    pub _extra: Extra,
}

/// Serial output and reboot delay of the BIOS: <https://libvirt.org/formatdomain.html#guest-firmware>.
#[derive(Clone, Default, Xml)]
pub struct Bios {
    /// Shows the BIOS on the first serial port. Since 0.9.4.
    pub useserial: Option<YesNo>,
    /// Milliseconds until the next try after a failed boot, at most 65535; -1 means never. Since 0.10.2.
    #[xml("rebootTimeout", min = -1)]
    pub reboot_timeout: Option<i32>,
    pub _extra: Extra,
}

/// ACPI tables added to the guest's own: <https://libvirt.org/formatdomain.html#common-os-element-configuration>.
#[derive(Clone, Default, Xml)]
pub struct OsAcpi {
    /// Each type once, except `Raw`.
    pub table: Vec<AcpiTable>,
    pub _extra: Extra,
}

/// An environment variable of a container's init: <https://libvirt.org/formatdomain.html#container-boot>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct InitEnv {
    pub name: Option<String>,
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// A string of SMBIOS block 0: <https://libvirt.org/formatdomain.html#smbios-system-information>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct BiosEntry {
    pub name: Option<BiosEntryName>,
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// A string of SMBIOS block 1: <https://libvirt.org/formatdomain.html#smbios-system-information>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct SystemEntry {
    pub name: Option<SystemEntryName>,
    /// A uuid must be that of the domain.
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// A string of SMBIOS block 2: <https://libvirt.org/formatdomain.html#smbios-system-information>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct BaseBoardEntry {
    pub name: Option<BaseBoardEntryName>,
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// A string of SMBIOS block 3: <https://libvirt.org/formatdomain.html#smbios-system-information>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct ChassisEntry {
    pub name: Option<ChassisEntryName>,
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// One feature an automatically chosen firmware must have or must not have: <https://libvirt.org/formatdomain.html#guest-firmware>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct FirmwareFeature {
    pub enabled: Option<YesNo>,
    /// `SecureBoot`: the firmware can do it. `EnrolledKeys`: its variables already hold the usual keys, so that
    /// unsigned systems do not boot.
    pub name: Option<FirmwareFeatureName>,
    pub _extra: Extra,
}

/// A file on the host with an ACPI table: <https://libvirt.org/formatdomain.html#common-os-element-configuration>.
#[derive(Clone, Default, Xml)]
pub struct AcpiTable {
    /// `Slic` since 1.3.5; `Raw`, `Rawset` (Xen) and `Msdm` since 11.2.0.
    pub r#type: Option<AcpiTableType>,
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

closed! {
    /// What `type` of [`Sysinfo`] can be.
    pub enum SysinfoType {
        Smbios = "smbios", Fwcfg = "fwcfg",
    }
    /// What `firmware` of [`Os`] can be.
    pub enum OsFirmware {
        Bios = "bios", Efi = "efi",
    }
    /// What the text of [`OsType`] can be.
    pub enum OsTypeName {
        Xen = "xen", Linux = "linux", Xenpvh = "xenpvh", Hvm = "hvm", Exe = "exe",
    }
    /// What `type` of [`Loader`] can be.
    pub enum LoaderType {
        Rom = "rom", Pflash = "pflash",
    }
    /// What `format` of [`Loader`] and [`Nvram`]; `templateFormat` of [`Nvram`] can be.
    pub enum FirmwareFormat {
        Raw = "raw", Qcow2 = "qcow2",
    }
    /// What `type` of [`Nvram`], [`Disk`](crate::domain::Disk), [`Mirror`](crate::domain::Mirror), [`BackingStore`](crate::domain::BackingStore) and [`DataStore`](crate::domain::DataStore) can be.
    pub enum DiskType {
        File = "file", Block = "block", Dir = "dir", Network = "network", Volume = "volume", Nvme = "nvme",
        Vhostuser = "vhostuser", Vhostvdpa = "vhostvdpa",
    }
    /// What `dev` of [`BootDevice`] can be.
    pub enum BootDev {
        Hd = "hd", Fd = "fd", Cdrom = "cdrom", Network = "network",
    }
    /// What `mode` of [`Smbios`] can be.
    pub enum SmbiosMode {
        Emulate = "emulate", Host = "host", Sysinfo = "sysinfo",
    }
    /// What `name` of [`BiosEntry`] can be.
    pub enum BiosEntryName {
        Vendor = "vendor", Version = "version", Date = "date", Release = "release",
    }
    /// What `name` of [`SystemEntry`] can be.
    pub enum SystemEntryName {
        Manufacturer = "manufacturer", Product = "product", Version = "version", Serial = "serial", Uuid = "uuid",
        Sku = "sku", Family = "family",
    }
    /// What `name` of [`BaseBoardEntry`] can be.
    pub enum BaseBoardEntryName {
        Manufacturer = "manufacturer", Product = "product", Version = "version", Serial = "serial", Asset = "asset",
        Location = "location",
    }
    /// What `name` of [`ChassisEntry`] can be.
    pub enum ChassisEntryName {
        Manufacturer = "manufacturer", Version = "version", Serial = "serial", Asset = "asset", Sku = "sku",
    }
    /// What `name` of [`FirmwareFeature`] can be.
    pub enum FirmwareFeatureName {
        EnrolledKeys = "enrolled-keys", SecureBoot = "secure-boot",
    }
    /// What `type` of [`AcpiTable`] can be.
    pub enum AcpiTableType {
        Raw = "raw", Rawset = "rawset", Slic = "slic", Msdm = "msdm",
    }
}
