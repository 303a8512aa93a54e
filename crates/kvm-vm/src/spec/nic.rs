//! Network devices of a specification.

use std::fmt;
use std::str::FromStr;

use kvm_core::text::strict;
use kvm_core::{Bandwidth, Error, FilterName, MacAddr, NetworkName, Result};
use serde::{Deserialize, Serialize};

use super::{NicModel, pairs};
use crate::network::{MacvtapMode, PortGroupName};
use crate::text::{refused, switch, text_serde};

mod option;

pub(super) use option::rate;

pub use option::{NicOptions, UserForward, UserForwards, VlanTags};

/// A network device of a new machine.
///
/// In files one of `{network: name}`, `{bridge: name}`, `{ovs: name}`, `{interface: name}` and `{user: true}`, with `model?`,
/// `mac?` and the [options](NicOptions). On a command line the same as `bridge=br0,model=virtio`, where `default` alone
/// means `network=default`, and `user` alone user networking.
///
/// ```
/// use kvm_vm::{NicLink, NicSpec};
/// let nic: NicSpec = "user".parse()?;
/// assert_eq!(nic.link, NicLink::User);
/// assert!("bridge=lo".parse::<NicSpec>().is_err());
/// # Ok::<(), kvm_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "File", into = "File")]
pub struct NicSpec {
    /// What it is plugged into.
    pub link: NicLink,
    /// What the guest sees; what suits the system if left out.
    pub model: Option<NicModel>,
    /// Its address; a new one if left out.
    pub mac: Option<MacAddr>,
    /// What else is said of it.
    pub options: NicOptions,
}

/// What a network device is plugged into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NicLink {
    /// A virtual network of the host.
    Network(NetworkName),
    /// A bridge of the host's own.
    Bridge(BridgeName),
    /// A bridge of Open vSwitch.
    Ovs(BridgeName),
    /// A network card of the host, by macvtap.
    Interface(BridgeName, MacvtapMode),
    /// The hypervisor's own user-mode network: out only, needs no rights.
    User,
}

impl NicSpec {
    /// A device on this network with all defaults.
    #[must_use]
    pub fn new(link: NicLink) -> Self {
        Self { link, model: None, mac: None, options: NicOptions::default() }
    }
}

/// The form in files.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<NetworkName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bridge: Option<BridgeName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ovs: Option<BridgeName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<BridgeName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<MacvtapMode>,
    #[serde(with = "switch", skip_serializing_if = "std::ops::Not::not")]
    user: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<NicModel>,
    #[serde(deserialize_with = "strict::optional", skip_serializing_if = "Option::is_none")]
    mac: Option<MacAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    portgroup: Option<PortGroupName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<VlanTags>,
    #[serde(rename = "in", with = "option::rate", skip_serializing_if = "Option::is_none")]
    inbound: Option<Bandwidth>,
    #[serde(rename = "out", with = "option::rate", skip_serializing_if = "Option::is_none")]
    outbound: Option<Bandwidth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<FilterName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forward: Option<UserForwards>,
}

impl TryFrom<File> for NicSpec {
    type Error = Error;

    fn try_from(file: File) -> Result<Self> {
        let mode = file.mode;
        let links = [
            file.network.map(NicLink::Network),
            file.bridge.map(NicLink::Bridge),
            file.ovs.map(NicLink::Ovs),
            file.interface.map(|name| NicLink::Interface(name, mode.unwrap_or(MacvtapMode::Bridge))),
            file.user.then_some(NicLink::User),
        ];
        let mut links = links.into_iter().flatten();
        let (Some(link), None) = (links.next(), links.next()) else {
            let message = "a network device has one of network, bridge, ovs, interface and user";
            return Err(Error::invalid("nics", message));
        };
        if mode.is_some() && !matches!(link, NicLink::Interface(..)) {
            return Err(Error::invalid("nics", "mode is for a device on an interface of the host; leave it out"));
        }
        let options = NicOptions {
            portgroup: file.portgroup,
            vlans: file.vlan.unwrap_or_default(),
            inbound: file.inbound,
            outbound: file.outbound,
            filter: file.filter,
            forwards: file.forward.unwrap_or_default(),
        };
        options.check(&link)?;
        Ok(Self { link, model: file.model, mac: file.mac, options })
    }
}

impl From<NicSpec> for File {
    fn from(nic: NicSpec) -> Self {
        let options = nic.options;
        let file = Self {
            model: nic.model,
            mac: nic.mac,
            portgroup: options.portgroup,
            vlan: Some(options.vlans).filter(|tags| !tags.0.is_empty()),
            inbound: options.inbound,
            outbound: options.outbound,
            filter: options.filter,
            forward: Some(options.forwards).filter(|forwards| !forwards.0.is_empty()),
            ..Self::default()
        };
        match nic.link {
            NicLink::Network(network) => Self { network: Some(network), ..file },
            NicLink::Bridge(bridge) => Self { bridge: Some(bridge), ..file },
            NicLink::Ovs(bridge) => Self { ovs: Some(bridge), ..file },
            NicLink::Interface(name, mode) => Self { interface: Some(name), mode: Some(mode), ..file },
            NicLink::User => Self { user: true, ..file },
        }
    }
}

impl FromStr for NicSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.strip_prefix("user") {
            Some("") => Ok(Self::new(NicLink::User)),
            Some(rest) if rest.starts_with(',') => pairs::read("nic", &format!("user=yes{rest}"), "network"),
            _ => pairs::read("nic", text, "network"),
        }
    }
}

/// The name of a bridge of the host, as its kernel takes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BridgeName(Box<str>);

impl BridgeName {
    /// Takes a name of at most 15 letters, digits, `.`, `_` and `-`, other than those that mean something else to the
    /// kernel.
    pub fn parse(text: &str) -> Result<Self> {
        crate::text::check_word("bridge", text, 15)?;
        match text {
            "all" | "default" | "lo" => Err(refused("bridge", text, "means something else to the kernel")),
            _ => Ok(Self(text.into())),
        }
    }

    /// The exact name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BridgeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for BridgeName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

text_serde!(BridgeName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_form_and_the_file_form_say_the_same() {
        for (line, file) in [
            ("default", r#"{"network":"default"}"#),
            ("user", r#"{"user":true}"#),
            ("user,model=e1000", r#"{"user":true,"model":"e1000"}"#),
            ("bridge=br0,mac=52:54:0:0:0:1", r#"{"bridge":"br0","mac":"52:54:00:00:00:01"}"#),
            (
                "dmz,portgroup=web,filter=clean-traffic",
                r#"{"network":"dmz","portgroup":"web","filter":"clean-traffic"}"#,
            ),
            ("ovs=ovs0,vlan=10+20", r#"{"ovs":"ovs0","vlan":"10+20"}"#),
            ("interface=eth0,mode=vepa", r#"{"interface":"eth0","mode":"vepa"}"#),
            ("user,forward=tcp:8080:80+udp:53", r#"{"user":true,"forward":"tcp:8080:80+udp:53:53"}"#),
            ("default,in=10MiB,out=1GiB/s", r#"{"network":"default","in":"10MiB/s","out":"1GiB/s"}"#),
        ] {
            let nic: NicSpec = line.parse().unwrap();
            assert_eq!(serde_json::to_string(&nic).unwrap(), file);
            assert_eq!(serde_json::from_str::<NicSpec>(file).unwrap(), nic);
        }
        assert!("network=a,bridge=b".parse::<NicSpec>().is_err());
        for text in [
            "model=virtio",
            "default,mode=vepa",
            "bridge=br0,portgroup=a",
            "default,forward=tcp:80:80",
            "user,vlan=10",
            "user,filter=clean-traffic",
            "ovs=ovs0,vlan=4095",
            "ovs=ovs0,vlan=10+",
            "user,forward=tcp:0:80",
            "user,forward=icmp:80:80",
            "user,forward=tcp:80:80:80",
            "default,filter=../x",
            "default,in=0",
        ] {
            assert!(text.parse::<NicSpec>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_bridge_is_named_as_the_kernel_takes_it() {
        for name in ["br0", "br-0123456789ab", "br-lan.100"] {
            assert!(BridgeName::parse(name).is_ok(), "{name}");
        }
        for name in ["", "br-0123456789abc", "br/0", "..", "br 0", "$(id)", "-x", "virbr%d", "all", "default", "lo"] {
            assert!(BridgeName::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_network_that_begins_with_user_is_a_network() {
        let nic: NicSpec = "users".parse().unwrap();
        assert_eq!(nic.link, NicLink::Network(NetworkName::parse("users").unwrap()));
    }
}
