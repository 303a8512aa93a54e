//! Two devices in one place.

use super::ProblemKind::{Conflict, Duplicate, Undefined};
use super::Problems;
use super::look::{self, Device, Owners, child, devices, number, other, word};
use crate::domain::Domain;
use std::collections::{BTreeMap, HashSet};

pub(super) fn check(domain: &Domain, problems: &mut Problems) {
    let mut owners = Owners::new();
    let mut slots: BTreeMap<(u64, u64, u64), Slot> = BTreeMap::new();
    let devices = devices(domain);
    let buses: HashSet<u64> = devices.iter().filter_map(usb_bus).collect();
    for (index, device) in devices.iter().enumerate() {
        let Device { path, kind, element } = device;
        let Some(address) = child(*element, "address") else { continue };
        let at = format!("{path}.address");
        let part = |key| number(address, key).unwrap_or_default();
        let place = match word(address, "type").as_deref() {
            Some("pci") if ["domain", "bus", "slot"].iter().any(|key| number(address, key).is_some()) => {
                let slot = slots.entry((part("domain"), part("bus"), part("slot"))).or_default();
                slot.note(part("function"), index, word(address, "multifunction").as_deref() == Some("off"));
                format!("PCI {:04x}:{:02x}:{:02x}.{:x}", part("domain"), part("bus"), part("slot"), part("function"))
            }
            Some("usb") => {
                let bus = part("bus");
                if !buses.is_empty() && !buses.contains(&bus) {
                    let message = format!("there is no USB controller {bus}; add it, or choose another bus");
                    problems.error(format!("{at}.bus"), Undefined, message);
                }
                let Some(port) = word(address, "port") else { continue };
                format!("USB bus {bus} port {port}")
            }
            // Port 0 means that libvirt chooses.
            Some("virtio-serial") if serial_port(address) > 0 => {
                format!("virtio-serial controller {} port {}", part("controller"), serial_port(address))
            }
            Some("ccid") => format!("ccid controller {} slot {}", part("controller"), part("slot")),
            Some("ccw") => format!("ccw {:x}.{:x}.{:04x}", part("cssid"), part("ssid"), part("devno")),
            Some("dimm") if number(address, "slot").is_some() => format!("memory slot {}", part("slot")),
            _ => continue,
        };
        if let Some(owner) = owners.take(place.clone(), path) {
            let message =
                format!("{} is at {place}; leave the address out to get a free one", other(&owner, path, kind));
            problems.error(at, Duplicate, message);
        }
    }
    drives(domain, problems);
    functions(&slots, &devices, problems);
}

/// Disks on buses that count drives. Those without an address get one by their name.
fn drives(domain: &Domain, problems: &mut Problems) {
    let mut owners = Owners::new();
    for (position, disk) in domain.disks().iter().enumerate() {
        let path = look::path("disk", disk, position);
        let (Some(bus), Some(drive)) = (disk.bus(), disk.drive()) else { continue };
        // Two of one name are told of elsewhere.
        if let Some(owner) = owners.take((bus.as_str(), drive), &path).filter(|owner| *owner != path) {
            let (controller, on_bus, target, unit) = drive;
            let place = format!("{bus} controller {controller}, bus {on_bus}, target {target}, unit {unit}");
            let (at, mend) = match disk.address {
                Some(_) => (format!("{path}.address"), "leave the address out".to_owned()),
                None => (format!("{path}.target.dev"), format!("call it {}", domain.free_target(bus))),
            };
            problems.error(at, Duplicate, format!("{owner} is at {place}; {mend}"));
        }
    }
}

/// The functions of a PCI slot.
#[derive(Default)]
struct Slot {
    /// Which devices have function 0 and the others.
    first: Option<usize>,
    others: Option<usize>,
    /// Whether function 0 says that it is alone.
    is_single: bool,
}

impl Slot {
    fn note(&mut self, function: u64, device: usize, says_single: bool) {
        if function == 0 {
            self.first = Some(device);
            self.is_single = says_single;
        } else {
            self.others = self.others.or(Some(device));
        }
    }
}

fn functions(slots: &BTreeMap<(u64, u64, u64), Slot>, devices: &[Device<'_>], problems: &mut Problems) {
    for slot in slots.values() {
        let Some(other) = slot.others.and_then(|other| devices.get(other)) else { continue };
        // Function 0 may be one that the machine type brings and the document does not name.
        if let Some(first) = slot.first.and_then(|first| devices.get(first)).filter(|_| slot.is_single) {
            let message = format!("{} has another function of the slot; set it to on", other.path);
            problems.error(format!("{}.address.multifunction", first.path), Conflict, message);
        }
    }
}

/// The port of a virtio-serial address, which is written like one of USB.
fn serial_port(address: &dyn crate::element::Element) -> u64 {
    word(address, "port").and_then(|port| port.parse().ok()).unwrap_or_default()
}

/// The bus that a USB controller makes.
fn usb_bus(device: &Device<'_>) -> Option<u64> {
    let is_usb = device.kind == "controller" && word(device.element, "type").as_deref() == Some("usb");
    is_usb.then(|| number(device.element, "index").unwrap_or_default())
}
