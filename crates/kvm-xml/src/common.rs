//! Elements that several kinds of documents share.

use crate::domain::IpFamily;
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{MacAddr, Mode, OnOff, Wwn, YesNo};
use kvm_xml_derive::Xml;
use std::net::{IpAddr, Ipv4Addr};
use uuid::Uuid;

/// An element that is only on or off; present without `state` it is on.
#[derive(Clone, Default, Xml)]
pub struct Toggle {
    pub state: Option<OnOff>,
    pub _extra: Extra,
}

/// An element that is only enabled or not.
#[derive(Clone, Default, Xml)]
pub struct Enabled {
    pub enabled: Option<YesNo>,
    pub _extra: Extra,
}

/// Who logs in to the storage server, and with which secret: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct Auth {
    #[xml(form = "word")]
    pub username: Option<String>,
    pub secret: Option<AuthSecret>,
    pub _extra: Extra,
}

/// How an image is encrypted: <https://libvirt.org/formatstorageencryption.html>.
#[derive(Clone, Default, Xml)]
pub struct Encryption {
    pub format: Option<EncryptionFormat>,
    pub engine: Option<EncryptionEngine>,
    pub secret: Vec<EncryptionSecret>,
    pub cipher: Option<Cipher>,
    pub ivgen: Option<Ivgen>,
    pub _extra: Extra,
}

/// The port of a virtual switch: <https://libvirt.org/formatdomain.html#network-interfaces>.
#[derive(Clone, Default, Xml)]
pub struct VirtualPort {
    /// May be absent with a network of libvirt, which then says it.
    pub r#type: Option<VirtualPortType>,
    pub parameters: Option<VirtualPortParameters>,
    pub _extra: Extra,
}

/// The largest packet, in bytes: <https://libvirt.org/formatdomain.html#mtu-configuration>.
#[derive(Clone, Default, Xml)]
pub struct Mtu {
    pub size: Option<u16>,
    pub _extra: Extra,
}

/// An element that is only a MAC address.
#[derive(Clone, Default, Xml)]
pub struct MacAddress {
    #[xml(form = "unicast")]
    pub address: Option<MacAddr>,
    pub _extra: Extra,
}

/// The state of a network interface of the host. Read only.
#[derive(Clone, Default, Xml)]
pub struct NetLink {
    /// In megabits per second.
    pub speed: Option<u32>,
    pub state: Option<NetLinkState>,
    pub _extra: Extra,
}

/// An IP route: <https://libvirt.org/formatnetwork.html#static-routes>.
#[derive(Clone, Default, Xml)]
#[xml(root = "route", key = "address+prefix+netmask")]
pub struct Route {
    pub family: Option<IpFamily>,
    pub address: Option<IpAddr>,
    pub netmask: Option<Ipv4Addr>,
    /// Or `netmask` for IPv4.
    #[xml(max = 128)]
    pub prefix: Option<u32>,
    pub gateway: Option<IpAddr>,
    pub metric: Option<u32>,
    pub _extra: Extra,
}

/// An element that is only a path.
#[derive(Clone, Default, Xml)]
pub struct PathElement {
    pub path: Option<String>,
    pub _extra: Extra,
}

/// The network filter that an interface or another filter goes through, with values for its variables:
/// <https://libvirt.org/formatnwfilter.html#references-to-other-filters>.
#[derive(Clone, Default, Xml)]
pub struct FilterRef {
    pub filter: Option<String>,
    pub parameter: Vec<FilterParameter>,
    pub _extra: Extra,
}

/// Limits for incoming and outgoing traffic: <https://libvirt.org/formatnetwork.html#quality-of-service>.
#[derive(Clone, Default, Xml)]
pub struct Bandwidth {
    /// Set by libvirt.
    #[xml("classID", min = 1)]
    pub class_id: Option<u32>,
    pub inbound: Option<BandwidthLimit>,
    pub outbound: Option<BandwidthLimit>,
    pub _extra: Extra,
}

/// VLAN tags: <https://libvirt.org/formatdomain.html#setting-vlan-tag-on-supported-network-types-only>.
#[derive(Clone, Default, Xml)]
pub struct Vlan {
    /// Yes with one tag; several are a trunk anyway.
    pub trunk: Option<YesNo>,
    pub tag: Vec<VlanTag>,
    pub _extra: Extra,
}

/// Whether a port is isolated from its neighbours: <https://libvirt.org/formatdomain.html#isolating-guests-network-traffic-from-each-other>.
#[derive(Clone, Default, Xml)]
pub struct PortIsolation {
    pub isolated: Option<YesNo>,
    pub _extra: Extra,
}

/// Which host driver serves an assigned device: <https://libvirt.org/formatdomain.html#host-device-assignment>.
#[derive(Clone, Default, Xml)]
pub struct HostdevDriver {
    /// As good as ignored: the hypervisor decides.
    pub name: Option<HostdevDriverName>,
    /// The host's driver to bind; libvirt finds the best one if absent. Since 10.0.0.
    #[xml(form = "word")]
    pub model: Option<String>,
    pub _extra: Extra,
}

/// When a lost connection is tried again; seconds: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct Reconnect {
    pub enabled: Option<YesNo>,
    /// Seconds until the next try.
    pub timeout: Option<u32>,
    /// NBD: seconds that requests wait for the connection to come back; default 0.
    pub delay: Option<u32>,
    pub _extra: Extra,
}

/// The iSCSI initiator: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct Initiator {
    pub iqn: Option<Named>,
    pub _extra: Extra,
}

/// A PCI device of the host: <https://libvirt.org/formatdomain.html#device-addresses>.
#[derive(Clone, Default, Xml)]
pub struct PciAddress {
    #[xml(hex = 4)]
    pub domain: Option<u32>,
    #[xml(hex = 2)]
    pub bus: Option<u8>,
    /// 0 to 31.
    #[xml(hex = 2, max = 31)]
    pub slot: Option<u8>,
    /// 0 to 7.
    #[xml(hex = 1, max = 7)]
    pub function: Option<u8>,
    pub multifunction: Option<OnOff>,
    pub _extra: Extra,
}

/// The secret, by uuid or usage: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>.
#[derive(Clone, Default, Xml)]
pub struct AuthSecret {
    pub r#type: Option<AuthSecretType>,
    pub uuid: Option<Uuid>,
    #[xml(form = "object")]
    pub usage: Option<String>,
    pub _extra: Extra,
}

/// The secret that opens an image, by uuid or usage: <https://libvirt.org/formatstorageencryption.html>.
#[derive(Clone, Default, Xml)]
pub struct EncryptionSecret {
    pub r#type: Option<EncryptionSecretType>,
    pub uuid: Option<Uuid>,
    pub usage: Option<String>,
    pub _extra: Extra,
}

/// The cipher of an encrypted image: <https://libvirt.org/formatstorageencryption.html>.
#[derive(Clone, Default, Xml)]
pub struct Cipher {
    pub name: Option<String>,
    /// Bits of the key.
    pub size: Option<u64>,
    pub mode: Option<String>,
    pub hash: Option<String>,
    pub _extra: Extra,
}

/// The initialisation vector generator of an encrypted image: <https://libvirt.org/formatstorageencryption.html>.
#[derive(Clone, Default, Xml)]
pub struct Ivgen {
    pub name: Option<String>,
    pub hash: Option<String>,
    pub _extra: Extra,
}

/// What a virtual switch wants to know about a port: <https://libvirt.org/formatdomain.html#network-interfaces>.
#[derive(Clone, Default, Xml)]
pub struct VirtualPortParameters {
    /// 802.1Qbg; not 0.
    #[xml(hexable)]
    pub managerid: Option<u8>,
    /// 802.1Qbg.
    #[xml(hexable, max = 0xff_ffff)]
    pub typeid: Option<u32>,
    /// 802.1Qbg.
    #[xml(hexable)]
    pub typeidversion: Option<u8>,
    /// 802.1Qbg; generated if absent.
    pub instanceid: Option<Uuid>,
    /// 802.1Qbh and Open vSwitch: the port profile.
    pub profileid: Option<String>,
    /// Open vSwitch, where it is generated if absent, and Midonet.
    pub interfaceid: Option<Uuid>,
    pub _extra: Extra,
}

/// A variable of a network filter: <https://libvirt.org/formatdomain.html#traffic-filtering-with-nwfilter>.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct FilterParameter {
    pub name: Option<String>,
    pub value: Option<String>,
    pub _extra: Extra,
}

/// Limits for one direction: kibibytes per second, `burst` in kibibytes: <https://libvirt.org/formatnetwork.html#quality-of-service>.
#[derive(Clone, Default, Xml)]
pub struct BandwidthLimit {
    /// KiB per second in the long run.
    #[xml(min = 1, max = 18014398509481984)]
    pub average: Option<u64>,
    /// KiB per second during a burst.
    #[xml(min = 1, max = 18014398509481984)]
    pub peak: Option<u64>,
    /// KiB that may be sent at `peak`.
    #[xml(min = 1)]
    pub burst: Option<u32>,
    /// KiB per second that are guaranteed; `inbound` of a network of libvirt only.
    #[xml(min = 1, max = 18014398509481984)]
    pub floor: Option<u64>,
    pub _extra: Extra,
}

/// One VLAN tag: <https://libvirt.org/formatdomain.html#setting-vlan-tag-on-supported-network-types-only>.
#[derive(Clone, Default, Xml)]
#[xml(key = "id")]
pub struct VlanTag {
    #[xml(max = 4095)]
    pub id: Option<u32>,
    /// Open vSwitch: this is the native VLAN. Since 1.1.0.
    #[xml("nativeMode")]
    pub native_mode: Option<VlanTagNativeMode>,
    pub _extra: Extra,
}

/// A SCSI host adapter: <https://libvirt.org/formatstorage.html#source-elements>.
#[derive(Clone, Default, Xml)]
pub struct ScsiAdapter {
    /// Needed for `fc_host`.
    pub r#type: Option<ScsiAdapterType>,
    /// `scsi_host1`, which may be another adapter after the next start; `parentaddr` is not.
    pub name: Option<String>,
    /// The adapter that a virtual one is made on; chosen by libvirt if there is none.
    pub parent: Option<String>,
    /// Whether the virtual adapter goes when the pool does. Since 1.2.11.
    pub managed: Option<YesNo>,
    /// With `parent_wwpn` in place of `parent`. Since 3.0.0.
    pub parent_wwnn: Option<Wwn>,
    pub parent_wwpn: Option<Wwn>,
    /// In place of `parent`. Since 3.0.0.
    pub parent_fabric_wwn: Option<Wwn>,
    /// Of the virtual adapter, as is `wwpn`.
    pub wwnn: Option<Wwn>,
    pub wwpn: Option<Wwn>,
    /// In place of `name`. Since 1.2.7.
    pub parentaddr: Option<ParentAddress>,
    pub _extra: Extra,
}

/// An element that is only a name.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct Named {
    pub name: Option<String>,
    pub _extra: Extra,
}

/// The snapshot or checkpoint before.
#[derive(Clone, Default, Xml)]
pub struct Parent {
    #[xml(el)]
    pub name: Option<String>,
    pub _extra: Extra,
}

/// An element that is only a maximum.
#[derive(Clone, Default, Xml)]
pub struct Max {
    pub max: Option<u32>,
    pub _extra: Extra,
}

/// The PCI address of a SCSI host adapter, since 1.2.7: <https://libvirt.org/formatstorage.html#source-elements>.
#[derive(Clone, Default, Xml)]
pub struct ParentAddress {
    /// From `/sys/class/scsi_host/host*/unique_id`.
    #[xml(min = 1)]
    pub unique_id: Option<u32>,
    pub address: Option<PciAddress>,
    pub _extra: Extra,
}

/// Mode, owner, group and label of a file: <https://libvirt.org/formatstorage.html#storage-volume-target-elements>.
#[derive(Clone, Default, Xml)]
pub struct Permissions {
    /// For pools 0711 unless said otherwise, for volumes 0600.
    #[xml(el)]
    pub mode: Option<Mode>,
    /// A number; -1, or none, for that of libvirt's daemon.
    #[xml(el, min = -1, max = 0xffff_ffff)]
    pub owner: Option<i64>,
    /// A number; -1, or none, for that of libvirt's daemon.
    #[xml(el, min = -1, max = 0xffff_ffff)]
    pub group: Option<i64>,
    /// Of SELinux or the like.
    #[xml(el)]
    pub label: Option<String>,
    pub _extra: Extra,
}

closed! {
    /// What `format` of [`Encryption`] can be.
    pub enum EncryptionFormat {
        Default = "default", Qcow = "qcow", Luks = "luks", Luks2 = "luks2", LuksAny = "luks-any",
    }
    /// What `engine` of [`Encryption`] can be.
    pub enum EncryptionEngine {
        Qemu = "qemu", Librbd = "librbd",
    }
    /// What `type` of [`VirtualPort`] can be.
    pub enum VirtualPortType {
        V8021Qbg = "802.1Qbg", V8021Qbh = "802.1Qbh", Openvswitch = "openvswitch", Midonet = "midonet",
    }
    /// What `state` of [`NetLink`] can be: the operational states of RFC 2863.
    pub enum NetLinkState {
        Unknown = "unknown", Notpresent = "notpresent", Down = "down", Lowerlayerdown = "lowerlayerdown",
        Testing = "testing", Dormant = "dormant", Up = "up",
    }
    /// What `name` of [`HostdevDriver`] can be.
    pub enum HostdevDriverName {
        Kvm = "kvm", Vfio = "vfio", Xen = "xen",
    }
    /// What `type` of [`AuthSecret`] can be.
    pub enum AuthSecretType {
        Ceph = "ceph", Iscsi = "iscsi",
    }
    /// What `type` of [`EncryptionSecret`] can be.
    pub enum EncryptionSecretType {
        Passphrase = "passphrase",
    }
    /// What `nativeMode` of [`VlanTag`] can be.
    pub enum VlanTagNativeMode {
        Tagged = "tagged", Untagged = "untagged",
    }
    /// What `type` of [`ScsiAdapter`] can be.
    pub enum ScsiAdapterType {
        ScsiHost = "scsi_host", FcHost = "fc_host",
    }
    /// An architecture, as libvirt spells it.
    pub enum Arch {
        Aarch64 = "aarch64", Alpha = "alpha", Armv6l = "armv6l", Armv7l = "armv7l", Cris = "cris", I686 = "i686",
        Ia64 = "ia64", Lm32 = "lm32", Loongarch64 = "loongarch64", M68k = "m68k", Microblaze = "microblaze",
        Microblazeel = "microblazeel", Mips = "mips", Mipsel = "mipsel", Mips64 = "mips64", Mips64el = "mips64el",
        Openrisc = "openrisc", Parisc = "parisc", Parisc64 = "parisc64", Ppc = "ppc", Ppc64 = "ppc64",
        Ppc64le = "ppc64le", Ppcemb = "ppcemb", Riscv32 = "riscv32", Riscv64 = "riscv64", S390 = "s390",
        S390x = "s390x", Sh4 = "sh4", Sh4eb = "sh4eb", Sparc = "sparc", Sparc64 = "sparc64", Unicore32 = "unicore32",
        X86_64 = "x86_64", Xtensa = "xtensa", Xtensaeb = "xtensaeb",
    }
}
