//! Booting: firmware, kernel, SMBIOS.

use super::DiskSource;
use crate::common::Arch;
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::YesNo;
use kvm_xml_derive::Xml;

/// SMBIOS or fw_cfg strings that the host hands to the guest: <https://libvirt.org/formatdomain.html#smbios-system-information>.
#[derive(Clone, Default, Xml)]
pub struct Sysinfo {
    pub r#type: Option<SysinfoType>,
    pub bios: Option<SysinfoBios>,
    pub system: Option<SysinfoSystem>,
    #[xml("baseBoard")]
    pub base_board: Vec<SysinfoBaseBoard>,
    pub chassis: Option<SysinfoChassis>,
    #[xml("oemStrings")]
    pub oem_strings: Option<OemStrings>,
    pub entry: Vec<FwCfgEntry>,
    pub _extra: Extra,
}

/// How the guest boots: <https://libvirt.org/formatdomain.html#operating-system-booting>.
#[derive(Clone, Default, Xml)]
pub struct Os {
    pub firmware: Option<OsFirmware>,
    pub r#type: Option<OsType>,
    pub initarg: Vec<String>,
    #[xml(el)]
    pub kernel: Option<String>,
    #[xml(el)]
    pub initrd: Option<String>,
    #[xml(el)]
    pub root: Option<String>,
    #[xml(el)]
    pub cmdline: Option<String>,
    #[xml(el)]
    pub shim: Option<String>,
    #[xml(el)]
    pub dtb: Option<String>,
    #[xml("firmware")]
    pub firmware_el: Option<Firmware>,
    pub loader: Option<Loader>,
    pub nvram: Option<Nvram>,
    pub boot: Vec<BootDevice>,
    pub bootmenu: Option<BootMenu>,
    pub smbios: Option<Smbios>,
    pub bios: Option<Bios>,
    pub acpi: Option<OsAcpi>,
    #[xml(el)]
    pub init: Option<String>,
    pub initenv: Vec<InitEnv>,
    #[xml(el)]
    pub initdir: Option<String>,
    #[xml(el)]
    pub inituser: Option<String>,
    #[xml(el)]
    pub initgroup: Option<String>,
    pub _extra: Extra,
}

/// SMBIOS block 0.
#[derive(Clone, Default, Xml)]
pub struct SysinfoBios {
    pub entry: Vec<BiosEntry>,
    pub _extra: Extra,
}

/// SMBIOS block 1.
#[derive(Clone, Default, Xml)]
pub struct SysinfoSystem {
    pub entry: Vec<SystemEntry>,
    pub _extra: Extra,
}

/// SMBIOS block 2.
#[derive(Clone, Default, Xml)]
pub struct SysinfoBaseBoard {
    pub entry: Vec<BaseBoardEntry>,
    pub _extra: Extra,
}

/// SMBIOS block 3.
#[derive(Clone, Default, Xml)]
pub struct SysinfoChassis {
    pub entry: Vec<ChassisEntry>,
    pub _extra: Extra,
}

/// SMBIOS block 11: free strings.
#[derive(Clone, Default, Xml)]
pub struct OemStrings {
    pub entry: Vec<String>,
    pub _extra: Extra,
}

/// A fw_cfg blob, inline or from a file.
#[derive(Clone, Default, Xml)]
pub struct FwCfgEntry {
    pub name: Option<String>,
    pub file: Option<String>,
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// The kind of guest with its architecture and machine type.
#[derive(Clone, Default, Xml)]
pub struct OsType {
    pub arch: Option<Arch>,
    pub machine: Option<String>,
    #[xml(text)]
    pub value: Option<OsTypeName>,
    pub _extra: Extra,
}

/// Which features an automatically chosen firmware must have.
#[derive(Clone, Default, Xml)]
pub struct Firmware {
    pub feature: Vec<FirmwareFeature>,
    pub _extra: Extra,
}

/// The firmware image.
#[derive(Clone, Default, Xml)]
pub struct Loader {
    pub stateless: Option<YesNo>,
    pub readonly: Option<YesNo>,
    pub secure: Option<YesNo>,
    pub r#type: Option<LoaderType>,
    pub format: Option<FirmwareFormat>,
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// Where the firmware keeps its variables; the text is the path of the file.
#[derive(Clone, Default, Xml)]
pub struct Nvram {
    pub template: Option<String>,
    #[xml("templateFormat")]
    pub template_format: Option<FirmwareFormat>,
    pub format: Option<FirmwareFormat>,
    pub r#type: Option<DiskType>,
    #[xml(text)]
    pub value: Option<String>,
    pub source: Option<DiskSource>,
    pub _extra: Extra,
}

/// A kind of device to boot from; the order of the elements counts.
#[derive(Clone, Default, Xml)]
pub struct BootDevice {
    pub dev: Option<BootDev>,
    pub _extra: Extra,
}

/// Whether the guest's boot menu is shown, and for how long (milliseconds).
#[derive(Clone, Default, Xml)]
pub struct BootMenu {
    pub enable: Option<YesNo>,
    pub timeout: Option<u16>,
    pub _extra: Extra,
}

/// Where the guest's SMBIOS strings come from.
#[derive(Clone, Default, Xml)]
pub struct Smbios {
    pub mode: Option<SmbiosMode>,
    pub _extra: Extra,
}

/// Serial output and reboot delay (milliseconds) of the BIOS.
#[derive(Clone, Default, Xml)]
pub struct Bios {
    pub useserial: Option<YesNo>,
    #[xml("rebootTimeout", min = -1)]
    pub reboot_timeout: Option<i32>,
    pub _extra: Extra,
}

/// ACPI tables added to the guest's own.
#[derive(Clone, Default, Xml)]
pub struct OsAcpi {
    pub table: Vec<AcpiTable>,
    pub _extra: Extra,
}

/// An environment variable of a container's init.
#[derive(Clone, Default, Xml)]
pub struct InitEnv {
    pub name: Option<String>,
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// A string of SMBIOS block 0.
#[derive(Clone, Default, Xml)]
pub struct BiosEntry {
    pub name: Option<BiosEntryName>,
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// A string of SMBIOS block 1.
#[derive(Clone, Default, Xml)]
pub struct SystemEntry {
    pub name: Option<SystemEntryName>,
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// A string of SMBIOS block 2.
#[derive(Clone, Default, Xml)]
pub struct BaseBoardEntry {
    pub name: Option<BaseBoardEntryName>,
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// A string of SMBIOS block 3.
#[derive(Clone, Default, Xml)]
pub struct ChassisEntry {
    pub name: Option<ChassisEntryName>,
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// One feature an automatically chosen firmware must have or must not have.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct FirmwareFeature {
    pub enabled: Option<YesNo>,
    pub name: Option<FirmwareFeatureName>,
    pub _extra: Extra,
}

/// A file with an ACPI table.
#[derive(Clone, Default, Xml)]
pub struct AcpiTable {
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
