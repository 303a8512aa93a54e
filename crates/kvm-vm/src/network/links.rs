//! Network cards, bridges and addresses of a host, as its operating system tells them.

use std::net::IpAddr;
use std::time::Duration;

use kvm_core::{Host, Subnet};
use serde::Deserialize;

/// How long a look may take.
const LOOK: Duration = Duration::from_secs(10);

/// An interface of a host.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Link {
    /// Its name.
    #[serde(rename = "ifname")]
    pub(crate) name: String,
    /// Its hardware address, where it has one.
    #[serde(default, rename = "address")]
    pub(crate) mac: Option<String>,
    /// The bridge that it is plugged into.
    #[serde(default)]
    pub(crate) master: Option<String>,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Clone, Debug, Deserialize)]
struct Address {
    local: Option<IpAddr>,
    prefixlen: Option<u8>,
}

impl Link {
    /// Whether it has this address.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.addr_info.iter().any(|info| info.local == Some(address))
    }

    /// The networks that it has an address in, without those that every host has.
    pub(crate) fn subnets(&self) -> impl Iterator<Item = Subnet> {
        let is_usual = |address: IpAddr| {
            address.is_loopback() || matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
        };
        let addresses = self.addr_info.iter().filter_map(|address| Some((address.local?, address.prefixlen?)));
        addresses
            .filter(move |(address, _)| !is_usual(*address))
            .filter_map(|(address, prefix)| Subnet::new(address, prefix))
    }
}

/// The interfaces of a host; `None` when its operating system cannot be asked.
pub(crate) async fn links(host: &Host) -> Option<Vec<Link>> {
    match host.transport.run(&["ip", "-json", "address", "show"], LOOK).await {
        Ok(output) if output.success() => serde_json::from_slice(&output.stdout).ok(),
        Ok(_) => None,
        Err(e) => {
            tracing::debug!(error = %e, "the host's interfaces cannot be seen");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_as_the_program_prints_them() {
        let text = r#"[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK"],"address":"00:00:00:00:00:00",
             "addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},
            {"ifname":"eth0","master":"br0","address":"52:54:00:00:00:01","addr_info":[
             {"family":"inet","local":"10.77.0.11","prefixlen":24},{"family":"inet6","local":"fe80::1","prefixlen":64}]},
            {"ifname":"tun0","addr_info":[{}]}]"#;
        let links: Vec<Link> = serde_json::from_str(text).unwrap();
        let subnets: Vec<_> = links.iter().flat_map(Link::subnets).map(|subnet| subnet.to_string()).collect();
        assert_eq!(subnets, ["10.77.0.11/24"]);
        assert_eq!((links[1].master.as_deref(), links[2].mac.as_deref()), (Some("br0"), None));
    }
}
