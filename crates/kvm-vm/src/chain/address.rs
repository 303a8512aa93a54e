//! Addresses of images on other machines, so that a volume and a disk that names the same place by itself are one image.

use kvm_image::graph::Name;
use kvm_xml::domain::{DiskProtocol, DiskSource, SourceHost};

/// Where iSCSI targets listen unless somebody says otherwise.
const ISCSI_PORT: &str = "3260";

/// What a volume is by itself, read from what libvirt calls it in a pool of this kind: `ip-HOST:PORT-iscsi-IQN-lun-N`, and
/// `POOL/IMAGE` for RBD.
pub(super) fn of_volume(kind: &str, address: &str) -> Option<Name> {
    match kind {
        "iscsi-direct" => {
            let (portal, rest) = address.strip_prefix("ip-")?.split_once("-iscsi-")?;
            let (target, unit) = rest.rsplit_once("-lun-")?;
            Some(iscsi(portal, target, unit))
        }
        "rbd" => Some(rbd(address)),
        _ => None,
    }
}

/// What a disk's source is by itself; `None` for one that names no place on the network.
pub(super) fn of_source(source: &DiskSource) -> Option<Name> {
    let (protocol, name) = (source.protocol?, source.name.as_deref()?);
    let hosts: Vec<_> = source.host.iter().filter_map(host).collect();
    match (protocol, hosts.as_slice()) {
        (DiskProtocol::Iscsi, [portal]) => {
            let (target, unit) = name.rsplit_once('/').unwrap_or((name, "0"));
            Some(iscsi(portal, target, unit))
        }
        (DiskProtocol::Rbd, _) => Some(rbd(name)),
        _ => Some(Name::Network { address: format!("{protocol}://{}/{name}", hosts.join(",")) }),
    }
}

fn iscsi(portal: &str, target: &str, unit: &str) -> Name {
    // The last colon of an address in brackets is inside of them.
    let has_port = portal.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    let port = if has_port { String::new() } else { format!(":{ISCSI_PORT}") };
    Name::Network { address: format!("iscsi://{portal}{port}/{target}/{unit}") }
}

/// A cluster has several monitors, and everybody may name others of them: images of one name count as one.
fn rbd(image: &str) -> Name {
    Name::Network { address: format!("rbd:{image}") }
}

fn host(host: &SourceHost) -> Option<String> {
    let name = host.name.as_ref().or(host.socket.as_ref())?;
    Some(host.port.map_or_else(|| name.clone(), |port| format!("{name}:{port}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_xml::Document as _;
    use kvm_xml::domain::Disk;

    fn source(xml: &str) -> String {
        let xml = format!("<domain><devices><disk type='network'>{xml}</disk></devices></domain>");
        let domain = kvm_xml::Domain::from_xml(&xml).unwrap();
        let disk: &Disk = &domain.devices.as_ref().unwrap().disk[0];
        of_source(disk.source.as_ref().unwrap()).unwrap().to_string()
    }

    #[test]
    fn a_volume_and_a_disk_at_the_same_place_are_one_image() {
        let volume = |kind, address| of_volume(kind, address).map(|name| name.to_string());
        let lun = volume("iscsi-direct", "ip-192.0.2.1:3260-iscsi-iqn.2026-11.lab:a-lun-b-lun-1");
        let disk = |host: &str| {
            source(&format!("<source protocol='iscsi' name='iqn.2026-11.lab:a-lun-b/1'><host {host}/></source>"))
        };
        assert_eq!(lun.as_deref(), Some("iscsi://192.0.2.1:3260/iqn.2026-11.lab:a-lun-b/1"));
        assert_eq!(lun, Some(disk("name='192.0.2.1' port='3260'")));
        assert_eq!(lun, Some(disk("name='192.0.2.1'")));
        assert_ne!(lun, Some(disk("name='192.0.2.1' port='3261'")));
        let image = volume("rbd", "pool/image");
        let disk =
            source("<source protocol='rbd' name='pool/image'><host name='a' port='1'/><host name='b'/></source>");
        assert_eq!(image, Some(disk));
    }

    #[test]
    fn an_address_of_another_form_is_no_name() {
        for (kind, address) in [("iscsi-direct", "unit:0:0:1"), ("iscsi-direct", "ip-a-iscsi-b"), ("gluster", "a/b")] {
            assert_eq!(of_volume(kind, address), None, "{kind} {address}");
        }
    }
}
