//! Network filters: what a guest's interface may send and receive.

mod binding;
mod ip;
mod link;
mod value;

pub use binding::*;
pub use ip::*;
pub use link::*;
pub use value::*;

use crate::common::FilterRef;
use crate::extra::Extra;
use crate::leaf::closed;
use kvm_xml_derive::Xml;
use uuid::Uuid;

/// A network filter: <https://libvirt.org/formatnwfilter.html>; since libvirt 0.8.1.
///
/// The order of its rules and references is that of the document, also among each other.
#[derive(Clone, Default, Xml)]
#[xml(root = "filter")]
pub struct NetworkFilter {
    pub name: Option<String>,
    pub chain: Option<FilterChain>,
    /// Of the chain, from -1000 to 1000; a lower one comes first. Since libvirt 0.9.8.
    #[xml(min = -1000, max = 1000)]
    pub priority: Option<i32>,
    #[xml(el)]
    pub uuid: Option<Uuid>,
    pub filterref: Vec<FilterRef>,
    pub rule: Vec<FilterRule>,
    pub _extra: Extra,
}

/// What happens to some of the traffic: <https://libvirt.org/formatnwfilter.html#filter-rules>.
///
/// A rule names one protocol, or none and so means all traffic. Where the protocol's element is there more than once,
/// all of them must match.
#[derive(Clone, Default, Xml)]
pub struct FilterRule {
    pub action: Option<RuleAction>,
    pub direction: Option<RuleDirection>,
    /// From -1000 to 1000, 500 unless given; a lower one comes first.
    #[xml(min = -1000, max = 1000)]
    pub priority: Option<i32>,
    /// Whether connections are tracked: they are, unless this is false.
    pub statematch: Option<Boolean>,
    pub arp: Vec<ArpMatch>,
    pub rarp: Vec<ArpMatch>,
    pub mac: Vec<MacMatch>,
    pub vlan: Vec<VlanMatch>,
    pub stp: Vec<StpMatch>,
    pub ip: Vec<IpMatch>,
    pub ipv6: Vec<Ipv6Match>,
    pub tcp: Vec<TcpMatch>,
    pub udp: Vec<PortMatch>,
    pub udplite: Vec<ProtocolMatch>,
    pub esp: Vec<ProtocolMatch>,
    pub ah: Vec<ProtocolMatch>,
    pub sctp: Vec<PortMatch>,
    pub icmp: Vec<IcmpMatch>,
    pub all: Vec<ProtocolMatch>,
    pub igmp: Vec<ProtocolMatch>,
    #[xml("tcp-ipv6")]
    pub tcp_ipv6: Vec<TcpMatch>,
    #[xml("udp-ipv6")]
    pub udp_ipv6: Vec<PortMatch>,
    #[xml("udplite-ipv6")]
    pub udplite_ipv6: Vec<ProtocolMatch>,
    #[xml("esp-ipv6")]
    pub esp_ipv6: Vec<ProtocolMatch>,
    #[xml("ah-ipv6")]
    pub ah_ipv6: Vec<ProtocolMatch>,
    #[xml("sctp-ipv6")]
    pub sctp_ipv6: Vec<PortMatch>,
    pub icmpv6: Vec<IcmpMatch>,
    #[xml("all-ipv6")]
    pub all_ipv6: Vec<ProtocolMatch>,
    pub _extra: Extra,
}

closed! {
    /// What `action` of [`FilterRule`] can be.
    pub enum RuleAction {
        /// The packet is discarded, and nobody is told.
        Drop = "drop",
        /// The packet passes.
        Accept = "accept",
        /// The packet is discarded, and its sender is told by ICMP. Since libvirt 0.9.0.
        Reject = "reject",
        /// The next rule decides. Since libvirt 0.9.7.
        Continue = "continue",
        /// The filter that referred to this one decides. Since libvirt 0.9.7.
        Return = "return",
    }
    /// What `direction` of [`FilterRule`] can be, seen from the guest.
    pub enum RuleDirection {
        In = "in", Out = "out", Inout = "inout",
    }
}
