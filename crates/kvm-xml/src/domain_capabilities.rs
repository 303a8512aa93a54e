//! What one machine type can have on a host.

use crate::common::{Max, Named};
use crate::domain::{CpuFeature, CpuModeName, CpuModelFallback, MaxPhysAddr};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{VendorId, YesNo};
use kvm_xml_derive::Xml;

/// What guests of one machine type can have on a host, since 1.2.7: <https://libvirt.org/formatdomaincaps.html>.
///
/// What is absent is unknown, not unsupported.
#[derive(Clone, Default, Xml)]
#[xml(root = "domainCapabilities")]
pub struct DomainCapabilities {
    /// Of the emulator.
    #[xml(el, form = "path")]
    pub path: Option<String>,
    /// The hypervisor: `kvm`.
    #[xml(el)]
    pub domain: Option<String>,
    /// The machine type, an alias resolved.
    #[xml(el)]
    pub machine: Option<String>,
    #[xml(el)]
    pub arch: Option<String>,
    /// The most virtual CPUs.
    pub vcpu: Option<Max>,
    pub iothreads: Option<Supported>,
    pub os: Option<OsCapabilities>,
    pub cpu: Option<CpuCapabilities>,
    #[xml("memoryBacking")]
    pub memory_backing: Option<EnumSupport>,
    pub devices: Option<DeviceCapabilities>,
    pub features: Option<FeatureCapabilities>,
    pub _extra: Extra,
}

/// Whether something is supported: <https://libvirt.org/formatdomaincaps.html#features>.
#[derive(Clone, Default, Xml)]
pub struct Supported {
    pub supported: Option<YesNo>,
    pub _extra: Extra,
}

/// Firmware that can be chosen: <https://libvirt.org/formatdomaincaps.html#bios-bootloader>.
#[derive(Clone, Default, Xml)]
pub struct OsCapabilities {
    pub supported: Option<YesNo>,
    /// `firmware`: what libvirt can choose a file for.
    pub r#enum: Vec<EnumValues>,
    pub loader: Option<LoaderCapabilities>,
    pub _extra: Extra,
}

/// CPU modes that can be chosen: <https://libvirt.org/formatdomaincaps.html#cpu-configuration>.
#[derive(Clone, Default, Xml)]
pub struct CpuCapabilities {
    pub mode: Vec<CpuMode>,
    pub _extra: Extra,
}

/// Whether something is supported, and with which values: <https://libvirt.org/formatdomaincaps.html#devices>.
#[derive(Clone, Default, Xml)]
pub struct EnumSupport {
    pub supported: Option<YesNo>,
    pub r#enum: Vec<EnumValues>,
    pub _extra: Extra,
}

/// Devices that can be chosen: <https://libvirt.org/formatdomaincaps.html#devices>.
#[derive(Clone, Default, Xml)]
pub struct DeviceCapabilities {
    pub disk: Option<EnumSupport>,
    pub graphics: Option<EnumSupport>,
    pub video: Option<EnumSupport>,
    pub hostdev: Option<EnumSupport>,
    pub rng: Option<EnumSupport>,
    pub filesystem: Option<EnumSupport>,
    pub tpm: Option<EnumSupport>,
    pub redirdev: Option<EnumSupport>,
    pub channel: Option<EnumSupport>,
    pub crypto: Option<EnumSupport>,
    pub interface: Option<EnumSupport>,
    pub panic: Option<EnumSupport>,
    pub _extra: Extra,
}

/// Features that can be chosen: <https://libvirt.org/formatdomaincaps.html#features>.
#[derive(Clone, Default, Xml)]
pub struct FeatureCapabilities {
    pub gic: Option<EnumSupport>,
    pub vmcoreinfo: Option<Supported>,
    pub genid: Option<Supported>,
    /// Whether a disk's `backingStore` is obeyed. Since 5.10.0.
    #[xml("backingStoreInput")]
    pub backing_store_input: Option<Supported>,
    /// Whether there are backups and checkpoints.
    pub backup: Option<Supported>,
    #[xml("async-teardown")]
    pub async_teardown: Option<Supported>,
    /// Protected Virtualization.
    #[xml("s390-pv")]
    pub s390_pv: Option<Supported>,
    pub ps2: Option<Supported>,
    pub sev: Option<SevCapabilities>,
    pub sgx: Option<SgxCapabilities>,
    pub hyperv: Option<EnumSupport>,
    #[xml("launchSecurity")]
    pub launch_security: Option<EnumSupport>,
    pub _extra: Extra,
}

/// The values that an attribute can have: <https://libvirt.org/formatdomaincaps.html#devices>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct EnumValues {
    /// The attribute, or its element and it: `modelType`.
    pub name: Option<String>,
    pub value: Vec<String>,
    pub _extra: Extra,
}

/// Firmware images that can be chosen: <https://libvirt.org/formatdomaincaps.html#bios-bootloader>.
#[derive(Clone, Default, Xml)]
pub struct LoaderCapabilities {
    pub supported: Option<YesNo>,
    /// Paths of images that exist.
    pub value: Vec<String>,
    /// Values of `type`, `readonly` and `secure`.
    pub r#enum: Vec<EnumValues>,
    pub _extra: Extra,
}

/// A CPU mode and its models: <https://libvirt.org/formatdomaincaps.html#cpu-configuration>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct CpuMode {
    pub name: Option<CpuModeName>,
    pub supported: Option<YesNo>,
    pub r#enum: Vec<EnumValues>,
    /// All that can be named (`custom`), or the one that a guest would get (`host-model`).
    pub model: Vec<CpuModeModel>,
    #[xml(el)]
    pub vendor: Option<String>,
    pub maxphysaddr: Option<MaxPhysAddr>,
    /// What a `host-model` guest has beside or without its model.
    pub feature: Vec<CpuFeature>,
    /// What keeps models from being usable.
    pub blockers: Vec<CpuBlockers>,
    pub _extra: Extra,
}

/// AMD memory encryption: <https://libvirt.org/formatdomaincaps.html#sev-capabilities>.
#[derive(Clone, Default, Xml)]
pub struct SevCapabilities {
    pub supported: Option<YesNo>,
    /// The address bit that marks an encrypted page.
    #[xml(el)]
    pub cbitpos: Option<u32>,
    /// How many address bits are lost.
    #[xml("reducedPhysBits", el)]
    pub reduced_phys_bits: Option<u32>,
    /// How many SEV guests there can be.
    #[xml("maxGuests", el)]
    pub max_guests: Option<u32>,
    /// How many SEV-ES guests there can be.
    #[xml("maxESGuests", el)]
    pub max_es_guests: Option<u32>,
    #[xml("cpu0Id", el)]
    pub cpu0_id: Option<String>,
    pub _extra: Extra,
}

/// Intel enclaves: <https://libvirt.org/formatdomaincaps.html#features>.
#[derive(Clone, Default, Xml)]
pub struct SgxCapabilities {
    pub supported: Option<YesNo>,
    /// Launch control can be set.
    #[xml(el)]
    pub flc: Option<YesNo>,
    #[xml(el)]
    pub sgx1: Option<YesNo>,
    #[xml(el)]
    pub sgx2: Option<YesNo>,
    /// Of all sections together.
    pub section_size: Option<SgxSectionSize>,
    pub sections: Option<SgxSections>,
    pub _extra: Extra,
}

/// A CPU model: <https://libvirt.org/formatdomaincaps.html#cpu-configuration>.
#[derive(Clone, Default, Xml)]
pub struct CpuModeModel {
    /// `forbid` if a guest sees exactly this CPU.
    pub fallback: Option<CpuModelFallback>,
    pub vendor_id: Option<VendorId>,
    /// Whether the host can run it with all its features.
    pub usable: Option<Usable>,
    /// Whether the hypervisor advises against it. Since 7.1.0.
    pub deprecated: Option<YesNo>,
    pub vendor: Option<String>,
    /// What the name stands for, if it is an alias.
    pub canonical: Option<String>,
    #[xml(text)]
    pub value: Option<String>,
    pub _extra: Extra,
}

/// Features that keep a model from being usable: <https://libvirt.org/formatdomaincaps.html#cpu-configuration>.
#[derive(Clone, Default, Xml)]
pub struct CpuBlockers {
    pub model: Option<String>,
    pub feature: Vec<Named>,
    pub _extra: Extra,
}

/// The memory for enclaves: <https://libvirt.org/formatdomaincaps.html#features>.
#[derive(Clone, Default, Xml)]
pub struct SgxSectionSize {
    pub unit: Option<SgxUnit>,
    /// In KiB.
    #[xml(text)]
    pub value: Option<u64>,
    pub _extra: Extra,
}

/// The memory for enclaves by node: <https://libvirt.org/formatdomaincaps.html#features>.
#[derive(Clone, Default, Xml)]
pub struct SgxSections {
    pub section: Vec<SgxSection>,
    pub _extra: Extra,
}

/// The memory for enclaves of one node: <https://libvirt.org/formatdomaincaps.html#features>.
#[derive(Clone, Default, Xml)]
pub struct SgxSection {
    /// Of the host.
    pub node: Option<u32>,
    /// In KiB.
    pub size: Option<u64>,
    pub unit: Option<SgxUnit>,
    pub _extra: Extra,
}

closed! {
    /// What `usable` of [`CpuModeModel`] can be.
    pub enum Usable {
        Yes = "yes", No = "no", Unknown = "unknown",
    }
    /// What `unit` of [`SgxSectionSize`] and [`SgxSection`] can be.
    pub enum SgxUnit {
        KiB = "KiB",
    }
}
