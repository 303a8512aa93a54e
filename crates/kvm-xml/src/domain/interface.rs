//! Network interfaces.

use super::{Address, Alias, BackendDomain, DeviceAcpi, DeviceBoot, DeviceId, Rom};
use crate::common::{Bandwidth, FilterRef, Max, Mtu, PathElement, PortIsolation, Reconnect, Route, VirtualPort, Vlan};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{MacAddr, OnOff, PortId, YesNo};
use kvm_xml_derive::Xml;
use std::net::{IpAddr, Ipv4Addr};
use uuid::Uuid;

/// A network interface: <https://libvirt.org/formatdomain.html#network-interfaces>.
///
/// What makes a plain card: `type`, `source` and `model`. The MAC address is generated if absent.
#[derive(Clone, Default, Xml)]
#[xml(root = "interface", key = "mac.address")]
pub struct Interface {
    /// `Network` (a network of libvirt) and `Bridge` (a bridge of the host) are the usual ones; `User` needs no rights.
    pub r#type: Option<InterfaceType>,
    /// `Hostdev` only: libvirt takes the device from its host driver at start and gives it back.
    pub managed: Option<YesNo>,
    /// The host follows the guest's changes of MAC address and filters; macvtap with virtio. Default no. Since 1.2.10.
    #[xml("trustGuestRxFilters")]
    pub trust_guest_rx_filters: Option<YesNo>,
    pub mac: Option<InterfaceMac>,
    /// Up unless it says otherwise. Since 0.9.5.
    pub link: Option<LinkState>,
    pub source: Option<InterfaceSource>,
    /// Open vSwitch, 802.1Qbg or 802.1Qbh.
    pub virtualport: Option<VirtualPort>,
    /// The largest packet. Since 3.1.0.
    pub mtu: Option<Mtu>,
    /// Fewer interrupts on reception. `Network` and `Bridge` only. Since 3.3.0.
    pub coalesce: Option<Coalesce>,
    /// The name on the host; `vnetN` is chosen at start and dropped when the guest stops.
    pub target: Option<InterfaceTarget>,
    /// LXC: the interface's name inside. Since 1.2.7.
    pub guest: Option<InterfaceGuest>,
    /// Addresses set in the guest (LXC), or given by DHCP with `User` (since 3.8.0); ignored elsewhere.
    pub ip: Vec<InterfaceIp>,
    /// Routes set in a container. Since 1.2.12.
    pub route: Vec<Route>,
    /// passt: ports of the host that lead to the guest. Since 9.0.0.
    #[xml("portForward")]
    pub port_forward: Vec<PortForward>,
    /// Run when the device is made; `Ethernet`, and Xen. Since 0.2.1.
    pub script: Option<PathElement>,
    /// Run when the device goes; `Ethernet`. Since 6.4.0.
    pub downscript: Option<PathElement>,
    /// The driver domain that has the bridge. Xen only. Since 1.2.13.
    pub backenddomain: Option<BackendDomain>,
    pub model: Option<InterfaceModel>,
    /// Limits in KiB per second. Seen from the guest: `inbound` is what it receives.
    pub bandwidth: Option<Bandwidth>,
    /// A firewall of libvirt (nwfilter), such as `clean-traffic` against forged addresses. Since 0.8.0.
    pub filterref: Option<FilterRef>,
    /// Network boot. Not together with `os.boot`. Since 0.8.8.
    pub boot: Option<DeviceBoot>,
    pub backend: Option<InterfaceBackend>,
    pub driver: Option<InterfaceDriver>,
    pub alias: Option<Alias>,
    /// Gives the card a stable name in the guest (`enoN`). Since 7.3.0.
    pub acpi: Option<DeviceAcpi>,
    pub address: Option<Address>,
    pub tune: Option<InterfaceTune>,
    pub rom: Option<Rom>,
    /// Open vSwitch and SR-IOV (since 0.10.0), Linux bridges since 11.0.0.
    pub vlan: Option<Vlan>,
    /// Guests that are isolated do not see each other. Linux bridges only. Since 6.1.0.
    pub port: Option<PortIsolation>,
    /// Joins an assigned device and a virtio card, so that the guest can be migrated. Since 6.1.0.
    pub teaming: Option<Teaming>,
    pub _extra: Extra,
}

/// What an interface is connected to; which fields count is decided by the interface's `type`: <https://libvirt.org/formatdomain.html#network-interfaces>.
#[derive(Clone, Default, Xml)]
pub struct InterfaceSource {
    /// `Direct`: the host's interface. `Vdpa`: the character device. `User` with passt: the interface whose routes the
    /// guest gets.
    #[xml(form = "device")]
    pub dev: Option<String>,
    /// `Bridge`: the host's bridge. Set by libvirt on a running `Network` interface.
    pub bridge: Option<String>,
    /// `Libvirt` fills the bridge's forwarding table and switches learning off.
    #[xml("macTableManager")]
    pub mac_table_manager: Option<MacTableManager>,
    /// `Network`: the name of the network, which must be active when the guest starts.
    pub network: Option<String>,
    /// Settings of the network for this kind of guest. Since 0.9.4.
    #[xml(form = "device")]
    pub portgroup: Option<String>,
    /// Set by libvirt while the guest runs. Since 5.1.0.
    pub portid: Option<PortId>,
    pub r#type: Option<UnixSocket>,
    /// `Direct`: `Vepa` (default), `Bridge`, `Private`, `Passthrough`. vhost-user: `Server` or `Client`.
    pub mode: Option<InterfaceSourceMode>,
    /// vhost-user: the socket.
    #[xml(form = "path")]
    pub path: Option<String>,
    #[xml(form = "device")]
    pub name: Option<String>,
    /// `Mcast`: the group. `Server`, `Client`, `Udp`: the address.
    pub address: Option<Ipv4Addr>,
    #[xml(min = -1, max = 65535)]
    pub port: Option<i32>,
    pub missing: Option<YesNo>,
    /// `Vds`, as VMware reports it.
    pub switchid: Option<Uuid>,
    /// `Vds`, as VMware reports it.
    pub portgroupid: Option<String>,
    /// `Vds`, as VMware reports it.
    pub connectionid: Option<i64>,
    /// `Ethernet`: addresses set on the host's side. Since 2.1.0.
    pub ip: Vec<InterfaceIp>,
    /// `Ethernet`: routes on the host's side. Since 2.1.0.
    pub route: Vec<Route>,
    /// vhost-user in mode `Client`. Since 4.1.0.
    pub reconnect: Option<Reconnect>,
    /// `Udp`: where packets come from. Since 1.2.20.
    pub local: Option<InterfaceLocal>,
    pub vendor: Option<DeviceId>,
    pub product: Option<DeviceId>,
    /// `Hostdev`: the device on the host.
    #[xml("address")]
    pub address_el: Option<InterfaceSourceAddress>,
    pub _extra: Extra,
}

/// Whether the cable is plugged in: <https://libvirt.org/formatdomain.html#network-interfaces>.
#[derive(Clone, Default, Xml)]
pub struct LinkState {
    pub state: Option<Link>,
    pub _extra: Extra,
}

/// How received packets are gathered: <https://libvirt.org/formatdomain.html#network-interfaces>.
#[derive(Clone, Default, Xml)]
pub struct Coalesce {
    pub rx: Option<CoalesceRx>,
    pub _extra: Extra,
}

/// The interface's device on the host: <https://libvirt.org/formatdomain.html#network-interfaces>.
#[derive(Clone, Default, Xml)]
pub struct InterfaceTarget {
    /// Names that begin with `vnet`, `vif`, `macvtap` or `macvlan` are libvirt's own and may be replaced.
    #[xml(form = "device")]
    pub dev: Option<String>,
    /// No: an existing tap device is used as it is. `Ethernet`, since 5.7.0.
    pub managed: Option<YesNo>,
    pub _extra: Extra,
}

/// The interface's name inside a container: <https://libvirt.org/formatdomain.html#network-interfaces>.
#[derive(Clone, Default, Xml)]
pub struct InterfaceGuest {
    /// LXC. Since 1.2.7.
    #[xml(form = "device")]
    pub dev: Option<String>,
    #[xml(form = "device")]
    pub actual: Option<String>,
    pub _extra: Extra,
}

/// The MAC address of an interface: <https://libvirt.org/formatdomain.html#network-interfaces>.
#[derive(Clone, Default, Xml)]
pub struct InterfaceMac {
    /// Generated if absent, with `52:54:00` in front under QEMU. Multicast addresses are refused.
    #[xml(form = "unicast")]
    pub address: Option<MacAddr>,
    /// `Static` keeps an address of the range that VMware reserves. Since 6.6.0.
    pub r#type: Option<MacType>,
    /// VMware: whether the address is checked against its ranges.
    pub check: Option<YesNo>,
    /// Set by libvirt when the guest changed it. Since 11.2.0.
    #[xml("currentAddress", form = "unicast")]
    pub current_address: Option<MacAddr>,
    pub _extra: Extra,
}

/// An IP address of an interface: <https://libvirt.org/formatdomain.html#network-interfaces>.
#[derive(Clone, Default, Xml)]
#[xml(key = "address")]
pub struct InterfaceIp {
    pub address: Option<IpAddr>,
    pub family: Option<IpFamily>,
    /// Bits of the netmask. Absent: 64 for IPv6, by class for IPv4.
    #[xml(max = 128)]
    pub prefix: Option<u32>,
    /// The other end of a point-to-point link. Since 2.1.0.
    pub peer: Option<IpAddr>,
    pub _extra: Extra,
}

/// Host ports that passt forwards to the guest: <https://libvirt.org/formatdomain.html#network-interfaces>.
#[derive(Clone, Default, Xml)]
pub struct PortForward {
    pub proto: Option<IpProtocol>,
    /// Of the host; absent means all.
    pub address: Option<IpAddr>,
    /// Only what comes in over this interface of the host.
    #[xml(form = "device")]
    pub dev: Option<String>,
    /// Absent means all ports.
    pub range: Vec<PortRange>,
    pub _extra: Extra,
}

/// The network card that the guest sees: <https://libvirt.org/formatdomain.html#network-interfaces>.
#[derive(Clone, Default, Xml)]
pub struct InterfaceModel {
    /// `virtio` is the fast one and needs a driver in the guest; `e1000e`, `e1000` and `rtl8139` do without; `igb`
    /// since 9.3.0. The hypervisor decides what there is.
    #[xml(form = "word")]
    pub r#type: Option<String>,
    pub _extra: Extra,
}

/// Who moves the packets on the host: <https://libvirt.org/formatdomain.html#network-interfaces>.
#[derive(Clone, Default, Xml)]
pub struct InterfaceBackend {
    /// `User` and vhost-user: who connects the guest. Since 9.0.0.
    pub r#type: Option<InterfaceBackendType>,
    /// The device to make taps with; default `/dev/net/tun`. Since 1.2.9.
    #[xml(form = "path")]
    pub tap: Option<String>,
    /// The device of the kernel's virtio backend; default `/dev/vhost-net`. Since 1.2.9.
    #[xml(form = "path")]
    pub vhost: Option<String>,
    /// passt: the absolute path of its log.
    #[xml("logFile", form = "path")]
    pub log_file: Option<String>,
    pub _extra: Extra,
}

/// How the hypervisor handles an interface: <https://libvirt.org/formatdomain.html#network-interfaces>.
#[derive(Clone, Default, Xml)]
pub struct InterfaceDriver {
    /// virtio: `Vhost` (in the kernel, default where there is one) or `Qemu`. `Hostdev`: `Vfio`. Since 0.8.8.
    pub name: Option<InterfaceDriverName>,
    #[xml(form = "word")]
    pub model: Option<String>,
    /// Packet queues of a virtio or vhost-user card, at most one for each virtual CPU makes sense. Since 1.0.6.
    #[xml(min = 1)]
    pub queues: Option<u32>,
    /// A power of two, 256 to 1024 in QEMU. Since 2.3.0.
    #[xml(min = 1)]
    pub rx_queue_size: Option<u32>,
    /// A power of two, 256 to 1024 in QEMU; vhost-user and few others. Since 3.7.0.
    #[xml(min = 1)]
    pub tx_queue_size: Option<u32>,
    /// How a full send buffer is emptied: by a thread or by a timer. Leave it to the hypervisor unless measured. Since
    /// 0.8.8.
    pub txmode: Option<InterfaceDriverTxmode>,
    /// A thread of its own takes packets, so that the guest runs on. Leave it to the hypervisor unless measured. Since
    /// 0.9.3.
    pub ioeventfd: Option<OnOff>,
    /// Fewer interrupts. Leave it to the hypervisor unless measured. Since 0.9.5.
    pub event_idx: Option<OnOff>,
    /// See [`VirtioDriver`](super::VirtioDriver).
    pub iommu: Option<OnOff>,
    pub ats: Option<OnOff>,
    pub packed: Option<OnOff>,
    pub page_per_vq: Option<OnOff>,
    /// Receive side scaling inside QEMU. Since 8.3.0.
    pub rss: Option<OnOff>,
    /// Hands the hash to the guest; goes with `rss`. Since 8.3.0.
    pub rss_hash_report: Option<OnOff>,
    /// What the host may leave to its card; on by default. Since 1.2.9.
    pub host: Option<OffloadsHost>,
    /// What the guest may leave to the host; on by default. Since 1.2.9.
    pub guest: Option<OffloadsGuest>,
    pub _extra: Extra,
}

/// The send buffer of an interface, in bytes: <https://libvirt.org/formatdomain.html#network-interfaces>.
#[derive(Clone, Default, Xml)]
pub struct InterfaceTune {
    #[xml(el)]
    pub sndbuf: Option<u32>,
    pub _extra: Extra,
}

/// Pairs a virtio interface with an assigned device, so that the guest can be migrated: <https://libvirt.org/formatdomain.html#network-interfaces>.
///
/// Both need the same MAC address. Since 6.1.0; on a host device since 7.1.0.
#[derive(Clone, Default, Xml)]
pub struct Teaming {
    /// `Persistent` on the virtio interface, `Transient` on the assigned device.
    pub r#type: Option<TeamingType>,
    /// On the `Transient` one: the user alias (`ua-...`) of the other.
    #[xml(form = "word")]
    pub persistent: Option<String>,
    pub _extra: Extra,
}

/// The local end of a UDP tunnel: <https://libvirt.org/formatdomain.html#network-interfaces>.
#[derive(Clone, Default, Xml)]
pub struct InterfaceLocal {
    pub address: Option<Ipv4Addr>,
    #[xml(min = -1, max = 65535)]
    pub port: Option<i32>,
    pub _extra: Extra,
}

/// The host device behind an interface: <https://libvirt.org/formatdomain.html#network-interfaces>.
#[derive(Clone, Default, Xml)]
pub struct InterfaceSourceAddress {
    pub r#type: Option<InterfaceSourceAddressType>,
    #[xml(hex = 4)]
    pub domain: Option<u32>,
    #[xml(hex = 2, with = "domain")]
    pub bus: Option<u16>,
    #[xml(hexable)]
    pub device: Option<u16>,
    #[xml(hex = 2, max = 31)]
    pub slot: Option<u8>,
    #[xml(hex = 1, max = 7)]
    pub function: Option<u8>,
    pub multifunction: Option<OnOff>,
    pub _extra: Extra,
}

/// How received packets are gathered: <https://libvirt.org/formatdomain.html#network-interfaces>.
#[derive(Clone, Default, Xml)]
pub struct CoalesceRx {
    /// Packets until an interrupt comes.
    pub frames: Option<Max>,
    pub _extra: Extra,
}

/// A range of forwarded ports: <https://libvirt.org/formatdomain.html#network-interfaces>.
#[derive(Clone, Default, Xml)]
pub struct PortRange {
    /// On the host.
    #[xml(min = -1, max = 65535)]
    pub start: Option<i32>,
    /// The last one; absent means only `start`.
    #[xml(min = -1, max = 65535)]
    pub end: Option<i32>,
    /// What `start` becomes in the guest; the others follow. Absent means the same.
    #[xml(min = -1, max = 65535)]
    pub to: Option<i32>,
    /// These ports are not forwarded.
    pub exclude: Option<YesNo>,
    pub _extra: Extra,
}

/// Offloads on the host's side: <https://libvirt.org/formatdomain.html#network-interfaces>.
#[derive(Clone, Default, Xml)]
pub struct OffloadsHost {
    pub csum: Option<OnOff>,
    pub gso: Option<OnOff>,
    pub tso4: Option<OnOff>,
    pub tso6: Option<OnOff>,
    pub ecn: Option<OnOff>,
    pub ufo: Option<OnOff>,
    /// Mergeable receive buffers; default on. Since 1.2.13.
    pub mrg_rxbuf: Option<OnOff>,
    pub _extra: Extra,
}

/// Offloads on the guest's side: <https://libvirt.org/formatdomain.html#network-interfaces>.
#[derive(Clone, Default, Xml)]
pub struct OffloadsGuest {
    pub csum: Option<OnOff>,
    pub tso4: Option<OnOff>,
    pub tso6: Option<OnOff>,
    pub ecn: Option<OnOff>,
    pub ufo: Option<OnOff>,
    pub _extra: Extra,
}

closed! {
    /// What `type` of [`Interface`] can be.
    pub enum InterfaceType {
        Bridge = "bridge", Ethernet = "ethernet", Vhostuser = "vhostuser", Network = "network", Direct = "direct",
        User = "user", Internal = "internal", Mcast = "mcast", Client = "client", Udp = "udp", Server = "server",
        Hostdev = "hostdev", Vdpa = "vdpa", Null = "null", Vds = "vds",
    }
    /// What `macTableManager` of [`InterfaceSource`] and [`Bridge`](crate::network::Bridge) can be.
    pub enum MacTableManager {
        Kernel = "kernel", Libvirt = "libvirt",
    }
    /// What `type` of [`InterfaceSource`] and [`ReservationsSource`](crate::domain::ReservationsSource) can be.
    pub enum UnixSocket {
        Unix = "unix",
    }
    /// What `mode` of [`InterfaceSource`] can be.
    pub enum InterfaceSourceMode {
        Vepa = "vepa", Bridge = "bridge", Private = "private", Passthrough = "passthrough", Server = "server",
        Client = "client",
    }
    /// What `state` of [`LinkState`] can be.
    pub enum Link {
        Up = "up", Down = "down",
    }
    /// What `type` of [`InterfaceMac`] can be.
    pub enum MacType {
        Generated = "generated", Static = "static",
    }
    /// What `family` of [`InterfaceIp`], [`Route`](crate::common::Route) and [`NetworkIp`](crate::network::NetworkIp) can be.
    pub enum IpFamily {
        Ipv4 = "ipv4", Ipv6 = "ipv6",
    }
    /// What `proto` of [`PortForward`]; `protocol` of [`DnsSrv`](crate::network::DnsSrv) can be.
    pub enum IpProtocol {
        Tcp = "tcp", Udp = "udp",
    }
    /// What `type` of [`InterfaceBackend`] can be.
    pub enum InterfaceBackendType {
        Default = "default", Passt = "passt",
    }
    /// What `name` of [`InterfaceDriver`] can be.
    pub enum InterfaceDriverName {
        Kvm = "kvm", Vfio = "vfio", Xen = "xen", Qemu = "qemu", Vhost = "vhost",
    }
    /// What `txmode` of [`InterfaceDriver`] can be.
    pub enum InterfaceDriverTxmode {
        Iothread = "iothread", Timer = "timer",
    }
    /// What `type` of [`Teaming`] can be.
    pub enum TeamingType {
        Persistent = "persistent", Transient = "transient",
    }
    /// What `type` of [`InterfaceSourceAddress`] can be.
    pub enum InterfaceSourceAddressType {
        Pci = "pci", Usb = "usb",
    }
}
