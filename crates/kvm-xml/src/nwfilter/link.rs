//! Rules about frames: MAC, VLAN, STP, ARP.

use super::{ArpOpcode, Boolean, EtherType, FilterIp, FilterMask, OrVariable};
use crate::extra::Extra;
use crate::value::{MacAddr, YesNo};
use kvm_xml_derive::Xml;

/// Frames by address and type: <https://libvirt.org/formatnwfilter.html#mac-ethernet>.
///
/// As in the structs for all other protocols, `match` is no to mean what does *not* have these values; masks are not
/// negated.
#[derive(Clone, Default, Xml)]
pub struct MacMatch {
    pub r#match: Option<YesNo>,
    pub srcmacaddr: Option<OrVariable<MacAddr>>,
    pub srcmacmask: Option<OrVariable<MacAddr>>,
    pub dstmacaddr: Option<OrVariable<MacAddr>>,
    pub dstmacmask: Option<OrVariable<MacAddr>>,
    #[xml(hexable, min = 0x600)]
    pub protocolid: Option<OrVariable<EtherType>>,
    pub comment: Option<String>,
    pub _extra: Extra,
}

/// Frames of a VLAN: <https://libvirt.org/formatnwfilter.html#vlan-802-1q-since-0-9-8>.
#[derive(Clone, Default, Xml)]
pub struct VlanMatch {
    pub r#match: Option<YesNo>,
    pub srcmacaddr: Option<OrVariable<MacAddr>>,
    pub srcmacmask: Option<OrVariable<MacAddr>>,
    pub dstmacaddr: Option<OrVariable<MacAddr>>,
    pub dstmacmask: Option<OrVariable<MacAddr>>,
    #[xml(hexable, max = 4095)]
    pub vlanid: Option<OrVariable<u16>>,
    #[xml("encap-protocol", hexable, min = 0x600)]
    pub encap_protocol: Option<OrVariable<EtherType>>,
    pub comment: Option<String>,
    pub _extra: Extra,
}

/// Frames of the spanning tree protocol:
/// <https://libvirt.org/formatnwfilter.html#stp-spanning-tree-protocol-since-0-9-8>.
///
/// A field and the one with `_hi` are the first and the last number of a range.
#[derive(Clone, Default, Xml)]
pub struct StpMatch {
    pub r#match: Option<YesNo>,
    pub srcmacaddr: Option<OrVariable<MacAddr>>,
    pub srcmacmask: Option<OrVariable<MacAddr>>,
    #[xml(hexable)]
    pub r#type: Option<OrVariable<u8>>,
    #[xml(hexable)]
    pub flags: Option<OrVariable<u8>>,
    #[xml("root-priority", hexable)]
    pub root_priority: Option<OrVariable<u16>>,
    #[xml("root-priority-hi", hexable)]
    pub root_priority_hi: Option<OrVariable<u16>>,
    #[xml("root-address")]
    pub root_address: Option<OrVariable<MacAddr>>,
    #[xml("root-address-mask")]
    pub root_address_mask: Option<OrVariable<MacAddr>>,
    #[xml("root-cost", hexable)]
    pub root_cost: Option<OrVariable<u32>>,
    #[xml("root-cost-hi", hexable)]
    pub root_cost_hi: Option<OrVariable<u32>>,
    #[xml("sender-priority", hexable)]
    pub sender_priority: Option<OrVariable<u16>>,
    #[xml("sender-priority-hi", hexable)]
    pub sender_priority_hi: Option<OrVariable<u16>>,
    #[xml("sender-address")]
    pub sender_address: Option<OrVariable<MacAddr>>,
    #[xml("sender-address-mask")]
    pub sender_address_mask: Option<OrVariable<MacAddr>>,
    #[xml(hexable)]
    pub port: Option<OrVariable<u16>>,
    #[xml("port-hi", hexable)]
    pub port_hi: Option<OrVariable<u16>>,
    #[xml(hexable)]
    pub age: Option<OrVariable<u16>>,
    #[xml("age-hi", hexable)]
    pub age_hi: Option<OrVariable<u16>>,
    #[xml("max-age", hexable)]
    pub max_age: Option<OrVariable<u16>>,
    #[xml("max-age-hi", hexable)]
    pub max_age_hi: Option<OrVariable<u16>>,
    #[xml("hello-time", hexable)]
    pub hello_time: Option<OrVariable<u16>>,
    #[xml("hello-time-hi", hexable)]
    pub hello_time_hi: Option<OrVariable<u16>>,
    #[xml("forward-delay", hexable)]
    pub forward_delay: Option<OrVariable<u16>>,
    #[xml("forward-delay-hi", hexable)]
    pub forward_delay_hi: Option<OrVariable<u16>>,
    pub comment: Option<String>,
    pub _extra: Extra,
}

/// Frames of ARP and RARP: <https://libvirt.org/formatnwfilter.html#arp-rarp>.
#[derive(Clone, Default, Xml)]
pub struct ArpMatch {
    pub r#match: Option<YesNo>,
    pub srcmacaddr: Option<OrVariable<MacAddr>>,
    pub srcmacmask: Option<OrVariable<MacAddr>>,
    pub dstmacaddr: Option<OrVariable<MacAddr>>,
    pub dstmacmask: Option<OrVariable<MacAddr>>,
    #[xml(hexable)]
    pub hwtype: Option<OrVariable<u16>>,
    #[xml(hexable)]
    pub protocoltype: Option<OrVariable<u16>>,
    pub opcode: Option<OrVariable<ArpOpcode>>,
    pub arpsrcmacaddr: Option<OrVariable<MacAddr>>,
    pub arpdstmacaddr: Option<OrVariable<MacAddr>>,
    pub arpsrcipaddr: Option<OrVariable<FilterIp>>,
    pub arpsrcipmask: Option<OrVariable<FilterMask>>,
    pub arpdstipaddr: Option<OrVariable<FilterIp>>,
    pub arpdstipmask: Option<OrVariable<FilterMask>>,
    pub gratuitous: Option<Boolean>,
    pub comment: Option<String>,
    pub _extra: Extra,
}
