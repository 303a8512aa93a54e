//! Virtual networks, with the leases of their DHCP servers.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use kvm_core::{
    Autostart, Error, ErrorKind, Filters, Impact, Lease, MacAddr, NetworkInfo, NetworkName, NetworkUpdate, Networks,
    Resource, Result, VmId, Which, check_network,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::{elapsed, later};
use crate::document;
use crate::fault::Method;
use crate::mock::Mock;
use crate::world::World;

/// How long an address is given for; guests ask again at half of it.
const LEASE_TIME: Duration = Duration::from_secs(3600);

/// A virtual network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Network {
    #[serde(with = "document::text")]
    pub(crate) document: kvm_xml::Network,
    /// What an active network is, where that is not its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "document::optional_text")]
    live: Option<kvm_xml::Network>,
    pub(crate) active: bool,
    pub(crate) autostart: bool,
    /// Who has, or had, which address.
    given: BTreeMap<MacAddr, Given>,
}

/// An address that was given out.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Given {
    vm: VmId,
    hostname: String,
    address: Ipv4Addr,
    since: Timestamp,
    /// When the machine stopped, and asks no more.
    until: Option<Timestamp>,
}

impl Given {
    /// When the lease ends: a machine that runs renewed it at the last half of the lease's time.
    fn expires(&self, now: Timestamp) -> Timestamp {
        let asked = elapsed(self.since, self.until.unwrap_or(now));
        let half = LEASE_TIME / 2;
        let renewals = u32::try_from(asked.as_secs() / half.as_secs()).unwrap_or(u32::MAX);
        later(self.since, half.saturating_mul(renewals).saturating_add(LEASE_TIME))
    }
}

impl Network {
    pub(crate) fn new(document: kvm_xml::Network) -> Self {
        Self { document, live: None, active: false, autostart: false, given: BTreeMap::new() }
    }

    /// What it is now.
    fn running(&self) -> &kvm_xml::Network {
        self.live.as_ref().unwrap_or(&self.document)
    }

    fn stop(&mut self) {
        (self.active, self.live) = (false, None);
    }

    /// Stores another configuration; what runs stays as it is.
    fn configure(&mut self, document: kvm_xml::Network) {
        let before = std::mem::replace(&mut self.document, document);
        if self.active {
            self.live.get_or_insert(before);
        }
    }

    /// Gives a machine's device an address, the same as last time if it is still free. Nothing happens without a
    /// DHCP server, or when it has no address left.
    pub(crate) fn plug(&mut self, vm: &VmId, hostname: &str, mac: MacAddr, wanted: Option<IpAddr>, now: Timestamp) {
        let Some((start, end)) = self.range() else { return };
        let reserved = self.reserved(mac);
        let before = self.given.remove(&mac).map(|given| given.address);
        let taken: Vec<_> = self.given.values().filter(|g| g.expires(now) > now).map(|g| g.address).collect();
        let free = |address: &Ipv4Addr| !taken.contains(address);
        let wanted = wanted.and_then(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        let address = [reserved, wanted, before].into_iter().flatten().find(free);
        let Some(address) = address.or_else(|| (start..=end).map(Ipv4Addr::from_bits).find(free)) else { return };
        self.given.insert(mac, Given { vm: *vm, hostname: hostname.to_owned(), address, since: now, until: None });
    }

    /// The machine has stopped: what it was given expires.
    pub(crate) fn unplugged(&mut self, vm: &VmId, now: Timestamp) {
        for given in self.given.values_mut().filter(|given| given.vm == *vm) {
            given.until.get_or_insert(now);
        }
    }

    /// The address that a device has now, and the length of the network's prefix.
    pub(crate) fn lease(&self, mac: MacAddr, now: Timestamp) -> Option<(IpAddr, u8)> {
        let given = self.given.get(&mac).filter(|given| given.expires(now) > now)?;
        Some((IpAddr::V4(given.address), self.prefix()))
    }

    fn info(&self, name: &NetworkName) -> NetworkInfo {
        let forward = self.running().forward.as_ref();
        NetworkInfo {
            name: name.clone(),
            active: self.active,
            autostart: self.autostart,
            persistent: true,
            // Without a mode it is nat, as libvirt's documentation of the element says.
            forward: forward
                .map_or("isolated", |f| f.mode.map_or("nat", kvm_xml::network::ForwardMode::as_str))
                .to_owned(),
            bridge: self.running().bridge.as_ref().and_then(|bridge| bridge.name.clone()),
        }
    }

    fn prefix(&self) -> u8 {
        let ip = self.running().ip.iter().find(|ip| ip.dhcp.is_some());
        let netmask = ip.and_then(|ip| ip.netmask).map(|mask| mask.to_bits().leading_ones());
        ip.and_then(|ip| ip.prefix).or(netmask).and_then(|prefix| u8::try_from(prefix).ok()).unwrap_or(24)
    }

    fn range(&self) -> Option<(u32, u32)> {
        let dhcp = self.running().ip.iter().find_map(|ip| ip.dhcp.as_ref())?;
        dhcp.range.iter().find_map(|range| match (range.start, range.end) {
            (Some(IpAddr::V4(start)), Some(IpAddr::V4(end))) => Some((start.to_bits(), end.to_bits())),
            _ => None,
        })
    }

    fn reserved(&self, mac: MacAddr) -> Option<Ipv4Addr> {
        let mut hosts = self.running().ip.iter().filter_map(|ip| ip.dhcp.as_ref()).flat_map(|dhcp| &dhcp.host);
        match hosts.find(|host| host.mac.is_some_and(|m| m.0 == mac.octets()))?.ip? {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }
}

#[async_trait]
impl Networks for Mock {
    async fn list(&self) -> Result<Vec<NetworkInfo>> {
        self.read(Method::ListNetworks, "", |world, _| {
            Ok(world.networks.iter().map(|(name, network)| network.info(name)).collect())
        })
        .await
    }

    async fn find(&self, network: &NetworkName) -> Result<NetworkInfo> {
        self.read(Method::FindNetwork, network, |world, _| Ok(known(world, network)?.info(network))).await
    }

    async fn definition(&self, network: &NetworkName) -> Result<kvm_xml::Network> {
        self.read(Method::NetworkDefinition, network, |world, _| Ok(known(world, network)?.running().clone())).await
    }

    async fn configuration(&self, network: &NetworkName) -> Result<kvm_xml::Network> {
        self.read(Method::NetworkConfiguration, network, |world, _| Ok(known(world, network)?.document.clone())).await
    }

    async fn define(&self, doc: &kvm_xml::Network) -> Result<()> {
        let name = doc.name.clone().unwrap_or_default();
        self.change(Method::DefineNetwork, &name, |world, _| world.define_network(doc).map(|_| ())).await
    }

    async fn redefine(&self, doc: &kvm_xml::Network) -> Result<()> {
        let name = check_network(doc)?;
        self.change(Method::RedefineNetwork, &name, |world, _| {
            let found = known_mut(world, &name)?;
            let mut document = doc.clone();
            if document.uuid.is_none() {
                document.uuid = found.document.uuid;
            }
            if document.uuid != found.document.uuid {
                return Err(Error::invalid("uuid", "the network has another uuid"));
            }
            check_addresses(&document)?;
            found.configure(document);
            Ok(())
        })
        .await
    }

    async fn update(&self, network: &NetworkName, update: &NetworkUpdate, impact: Impact) -> Result<()> {
        self.change(Method::UpdateNetwork, network, |world, _| {
            let found = known_mut(world, network)?;
            update.entry().check()?;
            if impact.reaches(Which::Live) && !found.active {
                return Err(wrong_state("network is not active", network));
            }
            let change = |which, document: &kvm_xml::Network| -> Result<_> {
                impact.reaches(which).then(|| updated(document, update, network)).transpose()
            };
            let (live, config) = (change(Which::Live, found.running())?, change(Which::Config, &found.document)?);
            if let Some(config) = config {
                found.configure(config);
            }
            if live.is_some() {
                found.live = live;
            }
            Ok(())
        })
        .await
    }

    async fn undefine(&self, network: &NetworkName) -> Result<()> {
        self.change(Method::UndefineNetwork, network, |world, _| {
            idle(known(world, network)?, network)?;
            world.networks.remove(network);
            Ok(())
        })
        .await
    }

    async fn start(&self, network: &NetworkName) -> Result<()> {
        self.change(Method::StartNetwork, network, |world, _| {
            let found = known_mut(world, network)?;
            idle(found, network)?;
            found.active = true;
            Ok(())
        })
        .await
    }

    async fn stop(&self, network: &NetworkName) -> Result<()> {
        self.change(Method::StopNetwork, network, |world, _| {
            let found = known_mut(world, network)?;
            if !found.active {
                return Err(wrong_state("network is not active", network));
            }
            found.stop();
            Ok(())
        })
        .await
    }

    async fn set_autostart(&self, network: &NetworkName, autostart: Autostart) -> Result<()> {
        self.change(Method::SetNetworkAutostart, network, |world, _| {
            known_mut(world, network)?.autostart = autostart == Autostart::On;
            Ok(())
        })
        .await
    }

    async fn leases(&self, network: &NetworkName) -> Result<Vec<Lease>> {
        self.read(Method::Leases, network, |world, now| {
            let found = known(world, network)?;
            let current = found.given.iter().filter(|(_, given)| {
                // A machine asks for an address when its system is up.
                let asked = given.until.is_some() || world.machines.get(&given.vm).is_some_and(|m| m.has_booted(now));
                asked && given.expires(now) > now
            });
            Ok(current
                .map(|(mac, given)| Lease {
                    mac: *mac,
                    address: IpAddr::V4(given.address),
                    prefix: found.prefix(),
                    hostname: Some(given.hostname.clone()),
                    expires: Some(given.expires(now)),
                })
                .collect())
        })
        .await
    }

    fn filters(&self) -> Option<&dyn Filters> {
        Some(self)
    }
}

impl World {
    /// Stores a network that is new, not active.
    pub(crate) fn define_network(&mut self, doc: &kvm_xml::Network) -> Result<NetworkName> {
        let name = check_network(doc)?;
        let same_uuid = |network: &Network| doc.uuid.is_some() && network.document.uuid == doc.uuid;
        if self.networks.contains_key(&name) || self.networks.values().any(same_uuid) {
            return Err(Error::new(ErrorKind::AlreadyExists, "the network's name or uuid is taken")
                .on(Resource::Network(name.as_str().to_owned())));
        }
        check_addresses(doc)?;
        let mut document = doc.clone();
        document.uuid.get_or_insert_with(|| Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_str().as_bytes()));
        let bridged =
            document.forward.as_ref().is_none_or(|forward| forward.interface.is_empty() && forward.dev.is_none());
        if bridged {
            let used: Vec<_> =
                self.networks.values().filter_map(|n| n.document.bridge.as_ref()?.name.clone()).collect();
            let free = (0..).map(|n| format!("virbr{n}")).find(|name| !used.contains(name));
            let bridge = document.bridge.get_or_insert_default();
            bridge.name = bridge.name.take().or(free);
        }
        self.networks.insert(name.clone(), Network::new(document));
        Ok(name)
    }
}

/// The document with the entry, or without it.
fn updated(document: &kvm_xml::Network, update: &NetworkUpdate, name: &NetworkName) -> Result<kvm_xml::Network> {
    let mut document = document.clone();
    let error = |kind, message| Err(Error::new(kind, message).on(Resource::Network(name.as_str().to_owned())));
    match update {
        NetworkUpdate::Add(entry) if entry.clashes_in(&document) => {
            return error(ErrorKind::AlreadyExists, format!("the network has {entry} already"));
        }
        NetworkUpdate::Remove(entry) if !entry.is_in(&document) => {
            return error(ErrorKind::NotFound, format!("the network has not {entry}"));
        }
        NetworkUpdate::Add(entry) => entry.put_into(&mut document)?,
        NetworkUpdate::Remove(entry) => entry.take_out(&mut document),
    }
    Ok(document)
}

fn check_addresses(doc: &kvm_xml::Network) -> Result<()> {
    let routes = doc.forward.as_ref().is_some_and(|forward| {
        use kvm_xml::network::ForwardMode as M;
        matches!(forward.mode, None | Some(M::Nat | M::Route))
    });
    match routes && doc.ip.iter().all(|ip| ip.address.is_none()) {
        true => Err(Error::invalid("ip", "a network that forwards needs an address")),
        false => Ok(()),
    }
}

fn known<'a>(world: &'a World, name: &NetworkName) -> Result<&'a Network> {
    world.networks.get(name).ok_or_else(|| no_such_network(name))
}

fn known_mut<'a>(world: &'a mut World, name: &NetworkName) -> Result<&'a mut Network> {
    world.networks.get_mut(name).ok_or_else(|| no_such_network(name))
}

fn no_such_network(name: &NetworkName) -> Error {
    Error::new(ErrorKind::NotFound, "no such network").on(Resource::Network(name.as_str().to_owned()))
}

fn idle(network: &Network, name: &NetworkName) -> Result<()> {
    if network.active { Err(wrong_state("network is active", name)) } else { Ok(()) }
}

fn wrong_state(why: &str, name: &NetworkName) -> Error {
    Error::new(ErrorKind::InvalidState, why).on(Resource::Network(name.as_str().to_owned()))
}
