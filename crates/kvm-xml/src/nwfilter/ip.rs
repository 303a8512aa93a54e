//! Rules about packets: IP and what is carried by it.
//!
//! Fields that end in `start` and `end`, or in `from` and `to`, are the first and the last value of a range.

use super::{ConnectionState, FilterIp, FilterMask, IpProtocol, IpsetFlags, IpsetName, OrVariable, TcpFlags};
use crate::extra::Extra;
use crate::value::{MacAddr, YesNo};
use kvm_xml_derive::Xml;

/// IPv4 packets, as a bridge sees them: <https://libvirt.org/formatnwfilter.html#ipv4>. Ports need `protocol`.
#[derive(Clone, Default, Xml)]
pub struct IpMatch {
    pub r#match: Option<YesNo>,
    pub srcmacaddr: Option<OrVariable<MacAddr>>,
    pub srcmacmask: Option<OrVariable<MacAddr>>,
    pub dstmacaddr: Option<OrVariable<MacAddr>>,
    pub dstmacmask: Option<OrVariable<MacAddr>>,
    pub srcipaddr: Option<OrVariable<FilterIp>>,
    pub srcipmask: Option<OrVariable<FilterMask>>,
    pub dstipaddr: Option<OrVariable<FilterIp>>,
    pub dstipmask: Option<OrVariable<FilterMask>>,
    #[xml(hexable)]
    pub protocol: Option<OrVariable<IpProtocol>>,
    #[xml(hexable)]
    pub srcportstart: Option<OrVariable<u16>>,
    #[xml(hexable)]
    pub srcportend: Option<OrVariable<u16>>,
    #[xml(hexable)]
    pub dstportstart: Option<OrVariable<u16>>,
    #[xml(hexable)]
    pub dstportend: Option<OrVariable<u16>>,
    #[xml(hexable, max = 63)]
    pub dscp: Option<OrVariable<u8>>,
    pub comment: Option<String>,
    pub _extra: Extra,
}

/// IPv6 packets, as a bridge sees them: <https://libvirt.org/formatnwfilter.html#ipv6>. Ports need `protocol`.
///
/// `type` and `code` are those of ICMPv6; since libvirt 1.2.12.
#[derive(Clone, Default, Xml)]
pub struct Ipv6Match {
    pub r#match: Option<YesNo>,
    pub srcmacaddr: Option<OrVariable<MacAddr>>,
    pub srcmacmask: Option<OrVariable<MacAddr>>,
    pub dstmacaddr: Option<OrVariable<MacAddr>>,
    pub dstmacmask: Option<OrVariable<MacAddr>>,
    pub srcipaddr: Option<OrVariable<FilterIp>>,
    pub srcipmask: Option<OrVariable<FilterMask>>,
    pub dstipaddr: Option<OrVariable<FilterIp>>,
    pub dstipmask: Option<OrVariable<FilterMask>>,
    #[xml(hexable)]
    pub protocol: Option<OrVariable<IpProtocol>>,
    #[xml(hexable)]
    pub srcportstart: Option<OrVariable<u16>>,
    #[xml(hexable)]
    pub srcportend: Option<OrVariable<u16>>,
    #[xml(hexable)]
    pub dstportstart: Option<OrVariable<u16>>,
    #[xml(hexable)]
    pub dstportend: Option<OrVariable<u16>>,
    #[xml(hexable)]
    pub r#type: Option<OrVariable<u8>>,
    #[xml(hexable)]
    pub typeend: Option<OrVariable<u8>>,
    #[xml(hexable)]
    pub code: Option<OrVariable<u8>>,
    #[xml(hexable)]
    pub codeend: Option<OrVariable<u8>>,
    pub comment: Option<String>,
    pub _extra: Extra,
}

/// TCP over IPv4 or IPv6: <https://libvirt.org/formatnwfilter.html#tcp-udp-sctp>.
///
/// Also in the structs below: `connlimit_above` is how many connections are too many, `ipset` is a set of addresses
/// that is kept outside of libvirt (since 0.9.13), and `ipsetflags` says what is looked up in it.
#[derive(Clone, Default, Xml)]
pub struct TcpMatch {
    pub r#match: Option<YesNo>,
    pub srcmacaddr: Option<OrVariable<MacAddr>>,
    pub srcipaddr: Option<OrVariable<FilterIp>>,
    pub srcipmask: Option<OrVariable<FilterMask>>,
    pub dstipaddr: Option<OrVariable<FilterIp>>,
    pub dstipmask: Option<OrVariable<FilterMask>>,
    pub srcipfrom: Option<OrVariable<FilterIp>>,
    pub srcipto: Option<OrVariable<FilterIp>>,
    pub dstipfrom: Option<OrVariable<FilterIp>>,
    pub dstipto: Option<OrVariable<FilterIp>>,
    #[xml(hexable, max = 63)]
    pub dscp: Option<OrVariable<u8>>,
    #[xml("connlimit-above", hexable)]
    pub connlimit_above: Option<OrVariable<u16>>,
    pub state: Option<ConnectionState>,
    pub ipset: Option<OrVariable<IpsetName>>,
    pub ipsetflags: Option<IpsetFlags>,
    #[xml(hexable)]
    pub srcportstart: Option<OrVariable<u16>>,
    #[xml(hexable)]
    pub srcportend: Option<OrVariable<u16>>,
    #[xml(hexable)]
    pub dstportstart: Option<OrVariable<u16>>,
    #[xml(hexable)]
    pub dstportend: Option<OrVariable<u16>>,
    pub flags: Option<TcpFlags>,
    pub comment: Option<String>,
    pub _extra: Extra,
}

/// UDP and SCTP over IPv4 or IPv6: <https://libvirt.org/formatnwfilter.html#tcp-udp-sctp>.
#[derive(Clone, Default, Xml)]
pub struct PortMatch {
    pub r#match: Option<YesNo>,
    pub srcmacaddr: Option<OrVariable<MacAddr>>,
    pub srcipaddr: Option<OrVariable<FilterIp>>,
    pub srcipmask: Option<OrVariable<FilterMask>>,
    pub dstipaddr: Option<OrVariable<FilterIp>>,
    pub dstipmask: Option<OrVariable<FilterMask>>,
    pub srcipfrom: Option<OrVariable<FilterIp>>,
    pub srcipto: Option<OrVariable<FilterIp>>,
    pub dstipfrom: Option<OrVariable<FilterIp>>,
    pub dstipto: Option<OrVariable<FilterIp>>,
    #[xml(hexable, max = 63)]
    pub dscp: Option<OrVariable<u8>>,
    #[xml("connlimit-above", hexable)]
    pub connlimit_above: Option<OrVariable<u16>>,
    pub state: Option<ConnectionState>,
    pub ipset: Option<OrVariable<IpsetName>>,
    pub ipsetflags: Option<IpsetFlags>,
    #[xml(hexable)]
    pub srcportstart: Option<OrVariable<u16>>,
    #[xml(hexable)]
    pub srcportend: Option<OrVariable<u16>>,
    #[xml(hexable)]
    pub dstportstart: Option<OrVariable<u16>>,
    #[xml(hexable)]
    pub dstportend: Option<OrVariable<u16>>,
    pub comment: Option<String>,
    pub _extra: Extra,
}

/// ICMP and ICMPv6: <https://libvirt.org/formatnwfilter.html#icmp>.
#[derive(Clone, Default, Xml)]
pub struct IcmpMatch {
    pub r#match: Option<YesNo>,
    pub srcmacaddr: Option<OrVariable<MacAddr>>,
    pub srcipaddr: Option<OrVariable<FilterIp>>,
    pub srcipmask: Option<OrVariable<FilterMask>>,
    pub dstipaddr: Option<OrVariable<FilterIp>>,
    pub dstipmask: Option<OrVariable<FilterMask>>,
    pub srcipfrom: Option<OrVariable<FilterIp>>,
    pub srcipto: Option<OrVariable<FilterIp>>,
    pub dstipfrom: Option<OrVariable<FilterIp>>,
    pub dstipto: Option<OrVariable<FilterIp>>,
    #[xml(hexable, max = 63)]
    pub dscp: Option<OrVariable<u8>>,
    #[xml("connlimit-above", hexable)]
    pub connlimit_above: Option<OrVariable<u16>>,
    pub state: Option<ConnectionState>,
    pub ipset: Option<OrVariable<IpsetName>>,
    pub ipsetflags: Option<IpsetFlags>,
    #[xml(hexable)]
    pub r#type: Option<OrVariable<u8>>,
    #[xml(hexable)]
    pub code: Option<OrVariable<u8>>,
    pub comment: Option<String>,
    pub _extra: Extra,
}

/// Protocols without ports over IPv4 or IPv6, and all of them together:
/// <https://libvirt.org/formatnwfilter.html#igmp-esp-ah-udplite-all>.
#[derive(Clone, Default, Xml)]
pub struct ProtocolMatch {
    pub r#match: Option<YesNo>,
    pub srcmacaddr: Option<OrVariable<MacAddr>>,
    pub srcipaddr: Option<OrVariable<FilterIp>>,
    pub srcipmask: Option<OrVariable<FilterMask>>,
    pub dstipaddr: Option<OrVariable<FilterIp>>,
    pub dstipmask: Option<OrVariable<FilterMask>>,
    pub srcipfrom: Option<OrVariable<FilterIp>>,
    pub srcipto: Option<OrVariable<FilterIp>>,
    pub dstipfrom: Option<OrVariable<FilterIp>>,
    pub dstipto: Option<OrVariable<FilterIp>>,
    #[xml(hexable, max = 63)]
    pub dscp: Option<OrVariable<u8>>,
    #[xml("connlimit-above", hexable)]
    pub connlimit_above: Option<OrVariable<u16>>,
    pub state: Option<ConnectionState>,
    pub ipset: Option<OrVariable<IpsetName>>,
    pub ipsetflags: Option<IpsetFlags>,
    pub comment: Option<String>,
    pub _extra: Extra,
}
