//! Which of its devices a host needs for itself, as far as that can be seen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kvm_core::{Bytes, Host, HostDeviceName};

use super::{HostAddress, HostDevice, HostDeviceKind};
use crate::network::links;

/// The largest table of the kernel's that is read.
const TABLE: Bytes = Bytes::from_mib(1);

/// Why a host needs devices of its own.
#[derive(Debug, Default)]
pub(super) struct Needs(BTreeMap<HostDeviceName, String>);

impl Needs {
    /// What the host needs a device for; `None` when nothing is known of it.
    pub(super) fn reason(&self, device: &HostDevice) -> Option<&str> {
        self.0.get(&device.name).map(String::as_str)
    }

    /// A device is needed, and all that it hangs on.
    fn add(&mut self, devices: &[HostDevice], device: &HostDevice, reason: &str) {
        let mut next = Some(device);
        // A tree has no circles, but who knows what a host tells.
        for _ in 0..devices.len() {
            let Some(device) = next else { return };
            self.0.entry(device.name.clone()).or_insert_with(|| reason.to_owned());
            let parent = device.parent.as_deref();
            next = devices.iter().find(|other| Some(other.name.as_str()) == parent);
        }
    }
}

/// Looks at what is mounted and where the default route leaves. Where the host's operating system does not tell, the only
/// device with disks and the only one with network interfaces are needed.
pub(super) async fn needs(host: &Host, devices: &[HostDevice]) -> Needs {
    let mut needs = Needs::default();
    let mounts = read(host, "/proc/mounts").await.map(|text| mounts(&text));
    let mut knows_root = false;
    for (source, place) in mounts.iter().flatten() {
        let disks = devices
            .iter()
            .filter(|device| matches!(&device.address, Some(HostAddress::Block(disk)) if is_on(source, disk)));
        for disk in disks {
            knows_root |= place == "/";
            needs.add(devices, disk, &format!("{source} is mounted at {place}"));
        }
    }
    if !knows_root {
        only(&mut needs, devices, HostDeviceKind::Storage, "it has the only disks that the host tells of");
    }
    let routes = read(host, "/proc/net/route").await.map(|text| default_routes(&text));
    let leaves_by = with_ports(host, routes.unwrap_or_default()).await;
    let interface =
        |device: &&HostDevice| matches!(&device.address, Some(HostAddress::Net(name)) if leaves_by.contains(name));
    let cards: Vec<_> = devices.iter().filter(interface).collect();
    for card in &cards {
        needs.add(devices, card, "the host's default route leaves by it");
    }
    if cards.is_empty() {
        only(&mut needs, devices, HostDeviceKind::Net, "it has the only network interfaces that the host tells of");
    }
    needs
}

/// The only PCI device with something of this kind below it.
fn only(needs: &mut Needs, devices: &[HostDevice], kind: HostDeviceKind, reason: &str) {
    let mut above = Needs::default();
    for device in devices.iter().filter(|device| device.kind == kind) {
        above.add(devices, device, reason);
    }
    let is_function = |device: &&HostDevice| {
        let is_bridge = device.class.is_some_and(super::DeviceClass::is_bridge);
        matches!(device.kind, HostDeviceKind::Pci | HostDeviceKind::Usb) && !is_bridge && above.reason(device).is_some()
    };
    let functions: Vec<_> = devices.iter().filter(is_function).collect();
    if let [one] = functions[..] {
        needs.add(devices, one, reason);
    }
}

async fn read(host: &Host, path: &str) -> Option<String> {
    let text = host.transport.read_file(Path::new(path), TABLE).await.ok()?;
    String::from_utf8(text).ok()
}

/// Block devices and where they are mounted.
fn mounts(text: &str) -> Vec<(String, String)> {
    let words = text.lines().map(|line| line.split_whitespace());
    let pair = |mut words: std::str::SplitWhitespace<'_>| Some((words.next()?.to_owned(), words.next()?.to_owned()));
    words.filter_map(pair).filter(|(source, _)| source.starts_with("/dev/")).collect()
}

/// Whether a block device is this disk or a partition of it: `/dev/sda1`, `/dev/nvme0n1p2`.
fn is_on(source: &str, disk: &str) -> bool {
    let Some(rest) = source.strip_prefix(disk) else { return false };
    let number = if disk.ends_with(|c: char| c.is_ascii_digit()) { rest.strip_prefix('p') } else { Some(rest) };
    rest.is_empty() || number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// Interfaces with a default route, from the kernel's table for IPv4.
fn default_routes(text: &str) -> BTreeSet<String> {
    let columns = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let is_default = |columns: &Vec<&str>| columns.get(1) == Some(&"00000000");
    columns.filter(is_default).filter_map(|columns| Some((*columns.first()?).to_owned())).collect()
}

/// The interfaces and the ports of those that are bridges or bonds.
async fn with_ports(host: &Host, mut names: BTreeSet<String>) -> BTreeSet<String> {
    if names.is_empty() {
        return names;
    }
    for _ in 0..2 {
        let links = links(host).await.unwrap_or_default();
        let ports = links.into_iter().filter(|link| link.master.as_ref().is_some_and(|master| names.contains(master)));
        let ports: Vec<_> = ports.map(|link| link.name).collect();
        names.extend(ports);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_on_its_disk_alone() {
        assert!(
            is_on("/dev/sda1", "/dev/sda") && is_on("/dev/sda", "/dev/sda") && is_on("/dev/nvme0n1p2", "/dev/nvme0n1")
        );
        assert!(
            !is_on("/dev/sdaa1", "/dev/sda")
                && !is_on("/dev/nvme0n12", "/dev/nvme0n1")
                && !is_on("/dev/sdb", "/dev/sda")
        );
    }

    #[test]
    fn the_kernels_tables_are_read() {
        let text = "/dev/sda2 / ext4 rw 0 0\nproc /proc proc rw 0 0\n";
        assert_eq!(mounts(text), [("/dev/sda2".to_owned(), "/".to_owned())]);
        let text = "Iface\tDestination\tGateway\nbr0\t00000000\t0100000A\nbr0\t0000000A\t00000000\n";
        assert_eq!(default_routes(text), BTreeSet::from(["br0".to_owned()]));
    }
}
