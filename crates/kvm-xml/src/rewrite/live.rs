//! What only a running machine has.

use super::draft::{Draft, prune, walk};
use super::policy::Live;
use super::told::Reason;
use crate::domain::{CharType, Devices, Domain, InterfaceType, ListenType, SeclabelType};
use crate::element::{Element, Item};
use crate::leaf::{Format, Scalar};
use crate::value::YesNo;

/// Takes out what comes and goes with a running machine, so that the document of one that runs will do. Addresses
/// in the guest stay.
pub(super) fn live(draft: &mut Draft<'_, '_>) {
    if draft.policy.live == Live::Keep {
        return;
    }
    draft.domain.id = None;
    labels(&mut draft.domain);
    if let Some(devices) = &mut draft.domain.devices {
        walk(devices, &mut by_shape);
        interfaces(devices);
        consoles(devices);
        graphics(devices);
        for disk in &mut devices.disk {
            disk.mirror = None;
        }
        for channel in devices.channel.iter_mut().filter_map(|channel| channel.target.as_mut()) {
            channel.state = None;
        }
        for target in devices.memory.iter_mut().filter_map(|memory| memory.target.as_mut()) {
            target.current = None;
        }
        if let Some(cid) = devices.vsock.as_mut().and_then(|vsock| vsock.cid.as_mut())
            && cid.auto == Some(YesNo::Yes)
        {
            cid.address = None;
        }
    }
    draft.record(Reason::Live);
}

/// Labels that libvirt has chosen for the process.
fn labels(domain: &mut Domain) {
    for label in domain.seclabel.iter_mut().filter(|label| label.r#type == Some(SeclabelType::Dynamic)) {
        (label.label, label.imagelabel) = (None, None);
    }
}

/// Aliases, which all devices have, and the numbers of images, wherever they are. An alias that begins with `ua-` was
/// given by a person, and other elements refer to it.
fn by_shape(element: &mut dyn Element) {
    let shape = element.shape();
    let clear = |element: &mut dyn Element, key| {
        if let Some(index) = shape.position(key) {
            element.slot_mut(index).clear();
        }
    };
    match shape.name {
        "DiskSource" | "BackingStore" => clear(element, "index"),
        _ => {
            let alias = shape.position("alias").and_then(|index| element.slot(index).item(0));
            if let Some(Item::Element(alias)) = alias
                && alias.extra().is_empty()
                && !text(alias, "name").starts_with("ua-")
            {
                clear(element, "alias");
            }
        }
    }
}

fn text(element: &dyn Element, key: &str) -> String {
    let mut text = String::new();
    let slot = element.shape().position(key).map(|index| element.slot(index));
    if let Some(Item::Leaf(leaf)) = slot.and_then(|slot| slot.item(0)) {
        match leaf.scalar() {
            Scalar::Str(value) => text.push_str(value),
            other => other.render(Format::PLAIN, &mut text),
        }
    }
    text
}

fn interfaces(devices: &mut Devices) {
    for interface in &mut devices.interface {
        if let Some(target) = &mut interface.target {
            target.dev = None;
            target.managed = None;
        }
        prune(&mut interface.target);
        if let Some(mac) = &mut interface.mac {
            mac.current_address = None;
        }
        if let Some(guest) = &mut interface.guest {
            guest.actual = None;
        }
        if let Some(source) = interface.source.as_mut().filter(|_| interface.r#type == Some(InterfaceType::Network)) {
            (source.portid, source.bridge) = (None, None);
        }
    }
}

/// Pseudo terminals.
fn consoles(devices: &mut Devices) {
    let Devices { serial, parallel, console, channel, .. } = devices;
    for port in serial.iter_mut().chain(parallel).chain(console) {
        port.tty = None;
        if port.r#type == Some(CharType::Pty) {
            port.source.iter_mut().for_each(|source| source.path = None);
        }
    }
    for channel in channel.iter_mut().filter(|channel| channel.r#type == Some(CharType::Pty)) {
        channel.source.iter_mut().for_each(|source| source.path = None);
    }
}

/// Ports that libvirt has chosen, and addresses that it has looked up.
fn graphics(devices: &mut Devices) {
    for graphics in &mut devices.graphics {
        if graphics.autoport == Some(YesNo::Yes) {
            graphics.port = graphics.port.map(|_| -1);
            graphics.tls_port = graphics.tls_port.map(|_| -1);
        }
        for network in graphics.listen_el.iter_mut().filter(|listen| listen.r#type == Some(ListenType::Network)) {
            network.address = None;
            graphics.listen = None;
        }
    }
}
