//! Network interfaces: what they are connected to, and their MAC addresses.

use super::draft::Draft;
use super::facts::Uplink;
use super::policy::{Mac, Network};
use super::told::{Reason, Refusal, RewriteError, Warning};
use crate::common::VirtualPortType;
use crate::diff::item_path;
use crate::domain::{Interface, InterfaceSource, InterfaceType};
use crate::value::MacAddr;
use std::collections::BTreeSet;

pub(super) fn uplinks(draft: &mut Draft<'_, '_>) -> Result<(), RewriteError> {
    if draft.policy.network == Network::Keep {
        return Ok(());
    }
    let missing = |field: String, uplink: Uplink<'_>| {
        RewriteError::new(
            Refusal::NetworkMissing,
            field,
            format!("the target has no {uplink}"),
            "create it there, or map it to one that the target has",
        )
    };
    let devices = draft.domain.devices.iter_mut();
    for (index, interface) in devices.flat_map(|devices| &mut devices.interface).enumerate() {
        let path = item_path("devices.interface", interface, index);
        if let Some((uplink, key)) = uplink(interface) {
            let name = (draft.facts.network)(uplink).ok_or_else(|| missing(format!("{path}.source.{key}"), uplink))?;
            if let Some(field) = interface.source.as_mut().and_then(|source| name_of(source, key)) {
                *field = name;
            }
        }
    }
    let devices = draft.domain.devices.iter_mut();
    for (index, graphics) in devices.flat_map(|devices| &mut devices.graphics).enumerate() {
        let path = item_path("devices.graphics", graphics, index);
        for (number, listen) in graphics.listen_el.iter_mut().enumerate() {
            if let Some(network) = &mut listen.network {
                let uplink = Uplink::Network(network);
                let name = (draft.facts.network)(uplink);
                *network = name.ok_or_else(|| missing(format!("{path}.listen_el[{number}].network"), uplink))?;
            }
        }
    }
    draft.record(Reason::Uplink);
    Ok(())
}

/// What an interface is connected to, and the field that names it.
fn uplink(interface: &Interface) -> Option<(Uplink<'_>, &'static str)> {
    let source = interface.source.as_ref()?;
    match interface.r#type? {
        InterfaceType::Network => Some((Uplink::Network(source.network.as_deref()?), "network")),
        InterfaceType::Bridge => Some((Uplink::Bridge(source.bridge.as_deref()?), "bridge")),
        InterfaceType::Direct | InterfaceType::User => Some((Uplink::Device(source.dev.as_deref()?), "dev")),
        _ => None,
    }
}

fn name_of<'a>(source: &'a mut InterfaceSource, key: &str) -> Option<&'a mut String> {
    match key {
        "network" => source.network.as_mut(),
        "bridge" => source.bridge.as_mut(),
        _ => source.dev.as_mut(),
    }
}

/// Comes after all other rules for interfaces, as the changes tell interfaces apart by their old address.
pub(super) fn macs(draft: &mut Draft<'_, '_>) -> Result<(), RewriteError> {
    if draft.policy.mac == Mac::Keep {
        if draft.policy.makes_another_machine() {
            warn_of_kept(draft);
        }
        return Ok(());
    }
    let mut used: BTreeSet<MacAddr> = draft.source.interfaces().iter().filter_map(Interface::mac_address).collect();
    let mut new = Vec::new();
    for (index, interface) in draft.domain.interfaces().iter().enumerate() {
        let Some(old) = interface.mac_address() else { continue };
        let mac = match draft.policy.mac {
            Mac::New => {
                let path = item_path("devices.interface", interface, index);
                Some(allocate(&mut draft.facts.mac, &mut used, &path)?)
            }
            Mac::Keep | Mac::Drop => None,
        };
        new.push((index, old, mac));
    }
    for (index, old, mac) in &new {
        if let Some(interface) = draft.domain.devices_mut().interface.get_mut(*index) {
            let path = item_path("devices.interface", interface, *index);
            draft.warnings.extend(follow(interface, *old, *mac, &path));
        }
    }
    draft.record(Reason::Identity);
    for (index, _, mac) in new {
        draft.set_mac(index, mac);
    }
    Ok(())
}

/// An address from the allocator that this document has not, before or after.
fn allocate(
    next: &mut dyn FnMut() -> Option<MacAddr>,
    used: &mut BTreeSet<MacAddr>,
    path: &str,
) -> Result<MacAddr, RewriteError> {
    /// An allocator that knows nothing of the others hits one of theirs now and then, but not always.
    const ATTEMPTS: usize = 64;
    let usable = |mac: &MacAddr| !mac.is_multicast() && mac.0 != [0; 6];
    let new = (0..ATTEMPTS).map_while(|_| next()).find(|mac| usable(mac) && used.insert(*mac));
    new.ok_or_else(|| {
        let problem = "there is no free MAC address for it";
        RewriteError::new(Refusal::Facts, format!("{path}.mac.address"), problem, "give an allocator that has one")
    })
}

/// What goes with the address: ports of virtual switches, of which a new one is made, and variables of filters.
fn follow(interface: &mut Interface, old: MacAddr, new: Option<MacAddr>, path: &str) -> Vec<Warning> {
    if let Some(port) = interface.virtualport.as_mut()
        && let Some(parameters) = port.parameters.as_mut()
        && matches!(port.r#type, Some(VirtualPortType::Openvswitch | VirtualPortType::V8021Qbg) | None)
    {
        (parameters.interfaceid, parameters.instanceid) = (None, None);
    }
    let mut warnings = Vec::new();
    let Some(filter) = &mut interface.filterref else { return warnings };
    let is_old = |value: &str| value.parse() == Ok(old);
    filter.parameter.retain(|parameter| new.is_some() || !parameter.value.as_deref().is_some_and(is_old));
    for parameter in &mut filter.parameter {
        if let (Some(value), Some(new)) = (parameter.value.as_mut().filter(|value| is_old(value)), new) {
            *value = new.to_string();
        }
        if let (Some("IP" | "IPV6"), Some(address)) = (parameter.name.as_deref(), &parameter.value) {
            warnings.push(Warning::FilteredAddress { path: format!("{path}.filterref"), address: address.clone() });
        }
    }
    warnings
}

fn warn_of_kept(draft: &mut Draft<'_, '_>) {
    for (index, interface) in draft.domain.interfaces().iter().enumerate() {
        if let (Some(mac), Some((uplink, _))) = (interface.mac_address(), uplink(interface))
            && (draft.facts.shares_network)(uplink)
        {
            let path = item_path("devices.interface", interface, index);
            draft.warnings.push(Warning::MacShared { path, mac, network: uplink.to_string() });
        }
    }
}
