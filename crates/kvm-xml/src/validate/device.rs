//! Devices beside disks, and what all devices have: aliases, boot orders, MAC addresses.

use super::ProblemKind::{Conflict, Duplicate, OutOfRange, Undefined};
use super::Problems;
use super::look::{self, Device, Owners, child, devices, number, other, word};
use crate::canonical;
use crate::domain::{Domain, InterfaceType, TpmModel};

pub(super) fn check(domain: &Domain, problems: &mut Problems) {
    let devices = devices(domain);
    boot(domain, &devices, problems);
    aliases(&devices, problems);
    interfaces(domain, problems);
    controllers(domain, &devices, problems);
    twice(&devices, problems);
    let tpms = domain.devices.iter().flat_map(|devices| &devices.tpm);
    if tpms.filter(|tpm| tpm.model != Some(TpmModel::SpaprTpmProxy)).count() > 1 {
        problems.error("devices.tpm[1]", Duplicate, "a machine has one TPM; take the others out");
    }
    if let Some(cid) = domain.devices.as_ref().and_then(|devices| devices.vsock.as_ref()?.cid.as_ref()?.address)
        && cid < 3
    {
        problems.error("devices.vsock.cid.address", OutOfRange, "0 to 2 are the host's; use 3 or more, or auto");
    }
}

fn boot(domain: &Domain, devices: &[Device<'_>], problems: &mut Problems) {
    let mut owners = Owners::new();
    let mut any = false;
    for device in devices {
        if let Some(order) = child(device.element, "boot").and_then(|boot| number(boot, "order")) {
            any = true;
            if let Some(owner) = owners.take(order, &device.path) {
                let next = domain.next_boot_order();
                let message = format!("{} has this turn; {next} is free", other(&owner, &device.path, device.kind));
                problems.error(format!("{}.boot.order", device.path), Duplicate, message);
            }
        }
    }
    let kinds = domain.os.as_ref().map_or(&[][..], |os| &os.boot);
    if any && !kinds.is_empty() {
        problems.error("os.boot", Conflict, "devices have their own turns; keep either these or those");
    }
}

fn aliases(devices: &[Device<'_>], problems: &mut Problems) {
    let (mut owners, mut indexes) = (Owners::new(), Owners::new());
    for Device { path, kind, element } in devices {
        // Those without this prefix are libvirt's own, which it makes anew.
        let alias = child(*element, "alias").and_then(|alias| word(alias, "name"));
        if let Some(alias) = alias.filter(|alias| alias.starts_with("ua-"))
            && let Some(owner) = owners.take(alias, path)
        {
            let message = format!("{} has this alias; choose another", other(&owner, path, kind));
            problems.error(format!("{path}.alias.name"), Duplicate, message);
        }
        if let Some(index) = child(*element, "acpi").and_then(|acpi| number(acpi, "index"))
            && let Some(owner) = indexes.take(index, path)
        {
            let message = format!("{} has this index; choose another", other(&owner, path, kind));
            problems.error(format!("{path}.acpi.index"), Duplicate, message);
        }
    }
}

fn interfaces(domain: &Domain, problems: &mut Problems) {
    let mut owners = Owners::new();
    for (position, interface) in domain.interfaces().iter().enumerate() {
        let path = look::path("interface", interface, position);
        if let Some(mac) = interface.mac_address() {
            if mac.is_multicast() {
                let message = "it is the address of a group; make the first byte even, or leave the address out";
                problems.error(format!("{path}.mac.address"), Conflict, message);
            } else if let Some(owner) = owners.take(mac, &path) {
                let message =
                    format!("{} has this address; leave it out to get a new one", other(&owner, &path, "one"));
                problems.warning(format!("{path}.mac.address"), Duplicate, message);
            }
        }
        let source = interface.source.as_ref();
        let (missing, needed) = match interface.r#type {
            Some(InterfaceType::Network) => (source.and_then(|source| source.network.as_ref()).is_none(), "network"),
            Some(InterfaceType::Bridge) => (source.and_then(|source| source.bridge.as_ref()).is_none(), "bridge"),
            Some(InterfaceType::Direct) => (source.and_then(|source| source.dev.as_ref()).is_none(), "dev"),
            _ => (false, ""),
        };
        if missing {
            problems.missing(format!("{path}.source.{needed}"), "it has to be said what it is connected to");
        }
    }
}

fn controllers(domain: &Domain, devices: &[Device<'_>], problems: &mut Problems) {
    let mut owners = Owners::new();
    let mut usb_is_off = false;
    for Device { path, element, .. } in devices.iter().filter(|device| device.kind == "controller") {
        let Some(r#type) = word(*element, "type") else { continue };
        usb_is_off |= r#type == "usb" && word(*element, "model").as_deref() == Some("none");
        // Companions of a USB controller share its number.
        let is_companion = child(*element, "master").is_some();
        // libvirt numbers those that have no number.
        let Some(index) = number(*element, "index").filter(|_| !is_companion) else { continue };
        if owners.take((r#type.clone(), index), path).is_some() {
            let free = r#type.parse().map(|r#type| domain.free_controller_index(r#type));
            let free = free.map_or_else(|_| "choose another".to_owned(), |free| format!("{free} is free"));
            problems.error(format!("{path}.index"), Duplicate, format!("another has this number; {free}"));
        }
    }
    for Device { path, kind, element } in devices.iter().filter(|_| usb_is_off) {
        let on_usb = word(*element, "bus").or_else(|| child(*element, "target").and_then(|target| word(target, "bus")));
        let is_usb = on_usb.as_deref() == Some("usb")
            || *kind == "hub"
            || *kind == "hostdev" && word(*element, "type").as_deref() == Some("usb");
        if is_usb {
            problems.error(path, Undefined, "the USB controller's model none means no USB; take one of them out");
        }
    }
}

/// Devices of which there can be only one of a kind.
fn twice(devices: &[Device<'_>], problems: &mut Problems) {
    let mut owners = Owners::new();
    for Device { path, kind, element } in devices {
        let target = |name| child(*element, "target").and_then(|target| word(target, name));
        let (value, at, message) = match *kind {
            "graphics" => (word(*element, "type"), "type", "there can be one of each type; take one out"),
            "filesystem" => (target("dir"), "target.dir", "the guest mounts by it, so choose another"),
            "channel" => (target("name"), "target.name", "the guest opens it by this name, so choose another"),
            "serial" | "parallel" => (target("port"), "target.port", "each has a port of its own; leave it out"),
            "hostdev" => (
                child(*element, "source").map(|source| canonical::form(source, "source")),
                "source",
                "a device can be given once; take one out",
            ),
            _ => continue,
        };
        if let Some(owner) = value.and_then(|value| owners.take((*kind, value), path)) {
            let message = format!("{} has the same; {message}", other(&owner, path, kind));
            problems.error(format!("{path}.{at}"), Duplicate, message);
        }
    }
}
