//! Network devices of a specification.

use std::fmt;
use std::str::FromStr;

use kvm_core::text::strict;
use kvm_core::{Error, MacAddr, NetworkName, Result};
use serde::{Deserialize, Serialize};

use super::{NicModel, pairs};
use crate::text::{refused, switch, text_serde};

/// A network device of a new machine.
///
/// In files one of `{network: name}`, `{bridge: name}` and `{user: true}`, with `model?` and `mac?`. On a command
/// line the same as `bridge=br0,model=virtio`, where `default` alone means `network=default`, and `user` alone user
/// networking.
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
}

/// What a network device is plugged into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NicLink {
    /// A virtual network of the host.
    Network(NetworkName),
    /// A bridge of the host's own.
    Bridge(BridgeName),
    /// The hypervisor's own user-mode network: out only, needs no rights.
    User,
}

impl NicSpec {
    /// A device on this network with all defaults.
    #[must_use]
    pub fn new(link: NicLink) -> Self {
        Self { link, model: None, mac: None }
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
    #[serde(with = "switch", skip_serializing_if = "std::ops::Not::not")]
    user: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<NicModel>,
    #[serde(deserialize_with = "strict::optional", skip_serializing_if = "Option::is_none")]
    mac: Option<MacAddr>,
}

impl TryFrom<File> for NicSpec {
    type Error = Error;

    fn try_from(file: File) -> Result<Self> {
        let link = match (file.network, file.bridge, file.user) {
            (Some(network), None, false) => NicLink::Network(network),
            (None, Some(bridge), false) => NicLink::Bridge(bridge),
            (None, None, true) => NicLink::User,
            _ => return Err(Error::invalid("nics", "a network device has one of network, bridge and user")),
        };
        Ok(Self { link, model: file.model, mac: file.mac })
    }
}

impl From<NicSpec> for File {
    fn from(nic: NicSpec) -> Self {
        let file = Self { model: nic.model, mac: nic.mac, ..Self::default() };
        match nic.link {
            NicLink::Network(network) => Self { network: Some(network), ..file },
            NicLink::Bridge(bridge) => Self { bridge: Some(bridge), ..file },
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
        ] {
            let nic: NicSpec = line.parse().unwrap();
            assert_eq!(serde_json::to_string(&nic).unwrap(), file);
            assert_eq!(serde_json::from_str::<NicSpec>(file).unwrap(), nic);
        }
        assert!("network=a,bridge=b".parse::<NicSpec>().is_err());
        assert!("model=virtio".parse::<NicSpec>().is_err());
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
