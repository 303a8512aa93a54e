//! What a network device can be told beside where it is plugged in.

use std::fmt;
use std::str::FromStr;

use kvm_core::{Bandwidth, Error, FilterName, Port, Result};

use super::NicLink;
use crate::network::{PortGroupName, PortProtocol, VlanId};
use crate::text::{refused, text_serde};

/// What a network device is told beside where it is plugged in.
///
/// In files and on a command line `portgroup=web`, `vlan=10` or `vlan=10+20`, `in=10MiB` and `out=10MiB` (each second),
/// `filter=clean-traffic`, and of user networking `forward=tcp:8080:80+udp:53`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NicOptions {
    /// Its class on a virtual network.
    pub portgroup: Option<PortGroupName>,
    /// Its VLANs, on bridges.
    pub vlans: VlanTags,
    /// The most that the guest receives.
    pub inbound: Option<Bandwidth>,
    /// The most that the guest sends.
    pub outbound: Option<Bandwidth>,
    /// The filter that it is behind.
    pub filter: Option<FilterName>,
    /// Ports of the host that lead to the guest, by passt.
    pub forwards: UserForwards,
}

impl NicOptions {
    /// Refuses what has no meaning where the device is plugged in.
    pub(super) fn check(&self, link: &NicLink) -> Result<()> {
        let is_network = matches!(link, NicLink::Network(_));
        let (is_user, is_card) = (*link == NicLink::User, matches!(link, NicLink::Interface(..)));
        let wrong = [
            ("portgroup", self.portgroup.is_some() && !is_network),
            ("vlan", !self.vlans.0.is_empty() && (is_user || is_card)),
            ("filter", self.filter.is_some() && (is_user || is_card)),
            ("in", self.inbound.is_some() && is_user),
            ("out", self.outbound.is_some() && is_user),
            ("forward", !self.forwards.0.is_empty() && !is_user),
        ];
        match wrong.into_iter().find(|(_, is_wrong)| *is_wrong) {
            Some((field, _)) => Err(Error::invalid(
                field,
                format!("{field} has no meaning for this kind of network device; leave it out"),
            )),
            None => Ok(()),
        }
    }
}

/// Tags of VLANs, written `10` or `10+20`: several are a trunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VlanTags(pub Vec<VlanId>);

impl FromStr for VlanTags {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.split('+').map(VlanId::parse).collect::<Result<_>>().map(Self)
    }
}

impl fmt::Display for VlanTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("+"))
    }
}

text_serde!(VlanTags);

/// Ports of the host that lead to a guest with user networking, written `tcp:8080:80+udp:53`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserForwards(pub Vec<UserForward>);

/// One of [`UserForwards`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserForward {
    /// What it speaks.
    pub protocol: PortProtocol,
    /// The host's port.
    pub port: Port,
    /// The guest's port.
    pub guest_port: Port,
}

impl FromStr for UserForward {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<_> = text.split(':').collect();
        let (protocol, port, guest) = match parts.as_slice() {
            [protocol, port] => (protocol, port, port),
            [protocol, port, guest] => (protocol, port, guest),
            _ => return Err(refused("forward", text, "is not one such as tcp:8080:80")),
        };
        Ok(Self { protocol: protocol.parse()?, port: Port::parse(port)?, guest_port: Port::parse(guest)? })
    }
}

impl FromStr for UserForwards {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.split('+').map(UserForward::from_str).collect::<Result<_>>().map(Self)
    }
}

impl fmt::Display for UserForwards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |forward: &UserForward| format!("{}:{}:{}", forward.protocol, forward.port, forward.guest_port);
        f.write_str(&self.0.iter().map(one).collect::<Vec<_>>().join("+"))
    }
}

text_serde!(UserForwards);

/// A rate that is a limit.
pub(in crate::spec) mod rate {
    use kvm_core::Bandwidth;
    use serde::{Deserializer, Serializer};

    use crate::text::{refused, scalar};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bandwidth>, D::Error> {
        scalar(deserializer, |text| match Bandwidth::parse(text)? {
            Bandwidth::UNLIMITED => Err(refused("bandwidth", text, "is no limit; leave it out")),
            rate => Ok(Some(rate)),
        })
    }

    pub(crate) fn serialize<S: Serializer>(rate: &Option<Bandwidth>, serializer: S) -> Result<S::Ok, S::Error> {
        match rate.and_then(Bandwidth::bytes_per_second) {
            Some(bytes) => serializer.collect_str(&format_args!("{bytes:#}/s")),
            None => serializer.serialize_none(),
        }
    }
}
