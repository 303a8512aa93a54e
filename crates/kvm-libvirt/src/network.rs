//! Virtual networks.

use std::net::IpAddr;

use async_trait::async_trait;
use jiff::Timestamp;
use kvm_core::{
    Autostart, Error, Filters, Impact, Lease, MacAddr, NetworkInfo, NetworkName, NetworkUpdate, Networks, Resource,
    Result, check_network,
};
use kvm_xml::Document;
use virt::network::Network;
use virt::sys;

use crate::document::{self, looked_again, refused};
use crate::error::{LibvirtError, optional};
use crate::ffi::lease;
use crate::libvirt::Libvirt;
use crate::task::{Failure, Task};

mod update;

#[async_trait]
impl Networks for Libvirt {
    async fn list(&self) -> Result<Vec<NetworkInfo>> {
        self.ask("list the networks of", self.host(), list).await
    }

    async fn find(&self, network: &NetworkName) -> Result<NetworkInfo> {
        self.on_network("find", network, |task, network| {
            describe(task, network)?.ok_or_else(|| task.not_found().into())
        })
        .await
    }

    async fn definition(&self, network: &NetworkName) -> Result<kvm_xml::Network> {
        self.on_network("read the definition of", network, read_document).await
    }

    async fn define(&self, doc: &kvm_xml::Network) -> Result<()> {
        let name = check_network(doc)?;
        check_bridge(doc)?;
        let (uuid, xml) = (doc.uuid, doc.to_xml());
        self.ask("define", resource(&name), move |task| {
            let connection = task.connection();
            let check = || {
                let same_name = optional(connection.lookup_network_by_name(name.as_str()))?;
                let same_id = match uuid {
                    Some(uuid) => optional(connection.lookup_network_by_uuid(uuid))?,
                    None => None,
                };
                match same_name.or(same_id) {
                    Some(_) => Err(task.already_exists().into()),
                    None => Ok(()),
                }
            };
            check()?;
            connection.define_network_xml(&xml).map(drop).map_err(|e| looked_again(e, check, |e| refused(task, e)))
        })
        .await
    }

    async fn configuration(&self, network: &NetworkName) -> Result<kvm_xml::Network> {
        self.on_network("read the configuration of", network, update::stored).await
    }

    async fn redefine(&self, doc: &kvm_xml::Network) -> Result<()> {
        let name = check_network(doc)?;
        check_bridge(doc)?;
        let mut doc = doc.clone();
        self.on_network("redefine", &name, move |task, network| {
            update::stored(task, network)?;
            let uuid = network.uuid()?;
            if *doc.uuid.get_or_insert(uuid) != uuid {
                return Err(Error::invalid("uuid", format!("the network's uuid is {uuid}")).into());
            }
            let defined = task.connection().define_network_xml(&doc.to_xml());
            defined.map(drop).map_err(|e| refused(task, e.into()))
        })
        .await
    }

    async fn update(&self, network: &NetworkName, update: &NetworkUpdate, impact: Impact) -> Result<()> {
        update.entry().check()?;
        let update = update.clone();
        self.on_network("update", network, move |task, network| update::apply(task, network, &update, impact)).await
    }

    async fn undefine(&self, network: &NetworkName) -> Result<()> {
        self.on_network("undefine", network, |task, network| {
            check(task, network, Is::Inactive)?;
            network.undefine().map_err(|e| looked_again(e, || check(task, network, Is::Inactive), Failure::Libvirt))
        })
        .await
    }

    async fn start(&self, network: &NetworkName) -> Result<()> {
        self.on_network("start", network, |task, network| {
            check(task, network, Is::Inactive)?;
            network.create().map_err(|e| looked_again(e, || check(task, network, Is::Inactive), Failure::Libvirt))
        })
        .await
    }

    async fn stop(&self, network: &NetworkName) -> Result<()> {
        self.on_network("stop", network, |task, network| {
            check(task, network, Is::Active)?;
            network.destroy().map_err(|e| looked_again(e, || check(task, network, Is::Active), Failure::Libvirt))
        })
        .await
    }

    async fn set_autostart(&self, network: &NetworkName, autostart: Autostart) -> Result<()> {
        self.on_network("set the autostart of", network, move |_, network| {
            Ok(network.set_autostart(autostart == Autostart::On)?)
        })
        .await
    }

    async fn leases(&self, network: &NetworkName) -> Result<Vec<Lease>> {
        self.on_network("list the leases of", network, |_, network| {
            Ok(lease::of_network(network)?.into_iter().filter_map(translate).collect())
        })
        .await
    }

    fn filters(&self) -> Option<&dyn Filters> {
        Some(self)
    }
}

impl Libvirt {
    /// Looks a network up and does something with it.
    async fn on_network<T: Send + 'static>(
        &self,
        verb: &'static str,
        name: &NetworkName,
        work: impl FnOnce(&Task<'_>, &Network) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let name = name.clone();
        self.ask(verb, resource(&name), move |task| {
            let network = task.connection().lookup_network_by_name(name.as_str())?;
            work(task, &network)
        })
        .await
    }
}

/// What a network has to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Is {
    Active,
    Inactive,
}

fn check(task: &Task<'_>, network: &Network, wanted: Is) -> Result<(), Failure> {
    match (network.is_active()?, wanted) {
        (true, Is::Inactive) => Err(task.invalid_state("is active").into()),
        (false, Is::Active) => Err(task.invalid_state("is not active").into()),
        _ => Ok(()),
    }
}

fn resource(name: &NetworkName) -> Resource {
    Resource::Network(name.as_str().into())
}

fn list(task: &Task<'_>) -> Result<Vec<NetworkInfo>, Failure> {
    let mut all = Vec::new();
    for network in task.connection().list_all_networks(0)? {
        // It may have gone in the meantime.
        match describe(task, &network) {
            Ok(info) => all.extend(info),
            Err(Failure::Libvirt(e)) if e.is(sys::VIR_ERR_NO_NETWORK) => {}
            Err(e) => return Err(e),
        }
    }
    all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// `None` for a network that nobody may name.
fn describe(task: &Task<'_>, network: &Network) -> Result<Option<NetworkInfo>, Failure> {
    let name = match NetworkName::adopt(&network.name()?) {
        Ok(name) => name,
        Err(e) => {
            tracing::warn!(error = %e, "left out a network with an impossible name");
            return Ok(None);
        }
    };
    let doc = read_document(task, network)?;
    Ok(Some(NetworkInfo {
        name,
        active: network.is_active()?,
        autostart: network.autostart()?,
        persistent: network.is_persistent()?,
        forward: forward(&doc),
        bridge: doc.bridge.and_then(|bridge| bridge.name),
    }))
}

fn read_document(task: &Task<'_>, network: &Network) -> Result<kvm_xml::Network, Failure> {
    document::read(task, &network.xml_desc(0).map_err(LibvirtError::from)?)
}

fn forward(doc: &kvm_xml::Network) -> String {
    match &doc.forward {
        None => "isolated".into(),
        // libvirt's default.
        Some(forward) => forward.mode.map_or_else(|| "nat".into(), |mode| mode.to_string()),
    }
}

fn check_bridge(doc: &kvm_xml::Network) -> Result<()> {
    let name = doc.bridge.as_ref().and_then(|bridge| bridge.name.as_deref());
    name.map_or(Ok(()), |name| check_interface("bridge.name", name))
}

/// Names of interfaces that Linux takes. libvirt takes any, and uses them in paths.
fn check_interface(field: &str, name: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':');
    if (1..=15).contains(&name.len()) && !matches!(name, "." | "..") && name.chars().all(is_plain) {
        return Ok(());
    }
    let shown = kvm_core::text::printable_within(name, 48);
    Err(Error::invalid(field, format!("\"{shown}\" is not the name of a network interface")))
}

/// A lease without an address, or of something that is no network device, is none to anybody.
fn translate(lease: lease::Lease) -> Option<Lease> {
    Some(Lease {
        mac: MacAddr::parse(lease.mac.as_deref()?).ok()?,
        address: lease.address.as_deref()?.parse::<IpAddr>().ok()?,
        prefix: u8::try_from(lease.prefix).ok()?,
        hostname: lease.hostname.filter(|name| !name.is_empty()),
        expires: match lease.expiry {
            0 => None,
            seconds => Some(Timestamp::from_second(seconds).ok()?),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_without_forward_is_isolated_and_one_without_mode_is_nat() {
        for (xml, wanted) in [
            ("<network><name>a</name></network>", "isolated"),
            ("<network><name>a</name><forward/></network>", "nat"),
            ("<network><name>a</name><forward mode='route'/></network>", "route"),
        ] {
            assert_eq!(forward(&kvm_xml::Network::from_xml(xml).unwrap()), wanted, "{xml}");
        }
    }

    #[test]
    fn names_of_bridges_are_those_that_linux_takes() {
        for name in ["virbr0", "br.10", "a"] {
            assert!(check_interface("bridge.name", name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "br/0", "br 0", "br:0", "sixteen-letters-", "br\n"] {
            assert!(check_interface("bridge.name", name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_lease_that_never_ends_has_no_end() {
        let lease = |expiry| lease::Lease {
            mac: Some("52:54:00:00:00:01".into()),
            address: Some("192.168.1.2".into()),
            prefix: 24,
            hostname: Some(String::new()),
            expiry,
        };
        let endless = translate(lease(0)).unwrap();
        assert_eq!((endless.expires, endless.hostname), (None, None));
        assert_eq!(translate(lease(1)).unwrap().expires, Timestamp::from_second(1).ok());
        assert_eq!(translate(lease::Lease { address: None, ..lease(0) }), None);
    }
}
