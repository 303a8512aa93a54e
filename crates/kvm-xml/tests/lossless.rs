//! An edit changes what was edited and nothing else.

use kvm_xml::domain::{Controller, ControllerType, Disk, DiskBus, DiskDevice, Interface, InterfaceType};
use kvm_xml::value::{MacAddr, Memory, Unit};
use kvm_xml::{Document, Domain, Fragment, Metadata, StoragePool};

fn domain(inner: &str) -> Domain {
    Domain::from_xml(&format!("<domain type='kvm'>\n{inner}\n</domain>")).expect("well-formed")
}

/// The lines that differ, with `-` and `+` before them.
fn changed(before: &str, after: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let gone = old.iter().filter(|line| !new.contains(line)).map(|line| format!("-{}", line.trim()));
    let come = new.iter().filter(|line| !old.contains(line)).map(|line| format!("+{}", line.trim()));
    gone.chain(come).collect()
}

#[test]
fn a_changed_number_leaves_every_other_line_alone() {
    let mut domain = domain("<name>a</name>\n<vcpu x='1'>02</vcpu>\n<odd><b/></odd>\n<!-- c -->\n<id>7</id>");
    let before = domain.to_xml();
    assert!(before.contains("<vcpu x='1'>02</vcpu>"), "{before}");
    domain.vcpu.get_or_insert_default().value = Some(4);
    assert_eq!(changed(&before, &domain.to_xml()), ["-<vcpu x='1'>02</vcpu>", "+<vcpu x='1'>4</vcpu>"]);
}

#[test]
fn a_spelling_is_kept_until_the_value_changes() {
    let address = "<address type='pci' domain='0' bus='0x0' slot='3' function='0x00'/>";
    let text = format!("<devices><disk><target dev='vda'/>{address}</disk></devices>");
    let mut domain = domain(&text);
    assert!(domain.to_xml().contains(address));
    let pci = domain.devices_mut().disk[0].address.as_mut().expect("has an address");
    assert_eq!((pci.domain, pci.bus, pci.slot, pci.function), (Some(0), Some(0), Some(3), Some(0)));
    pci.slot = Some(31);
    assert!(domain.to_xml().contains("domain='0' bus='0x0' slot='0x1f' function='0x00'"), "{}", domain.to_xml());
}

#[test]
fn numbers_of_an_address_are_hexadecimal_for_pci_only() {
    let text = "<devices><disk><address type='drive' controller='0' bus='1' target='0' unit='10'/></disk></devices>";
    let mut domain = domain(text);
    let address = domain.devices_mut().disk[0].address.as_mut().expect("has an address");
    assert!(address._extra.is_empty());
    address.bus = Some(12);
    assert!(domain.to_xml().contains("bus='12'"));
}

#[test]
fn a_decimal_number_before_the_attribute_that_makes_it_hexadecimal_is_kept() {
    let address = "<address bus='7' domain='0x0000' slot='0x03'/>";
    let domain = domain(&format!("<devices><disk>{address}</disk></devices>"));
    assert!(domain.to_xml().contains("domain='0x0000' bus='7' slot='0x03'"), "{}", domain.to_xml());
}

#[test]
fn a_value_that_was_taken_out_leaves_no_trace_of_its_spelling() {
    let mut domain = domain(
        "<uuid>6F1C1A40-5B0E-4C3C-9D3B-0D6F7D1F4B7A</uuid><devices><vsock><cid address='042'/></vsock></devices>",
    );
    let before = domain.clone();
    domain.uuid = None;
    domain.devices_mut().vsock.as_mut().and_then(|vsock| vsock.cid.as_mut()).expect("is there").address = None;
    assert_eq!(Domain::from_xml(&domain.to_xml()).expect("well-formed"), domain);
    let changes: Vec<_> = kvm_xml::diff(&before, &domain).iter().map(ToString::to_string).collect();
    assert_eq!(
        changes,
        ["uuid: removed 6f1c1a40-5b0e-4c3c-9d3b-0d6f7d1f4b7a", "devices.vsock.cid.address: removed 42"]
    );
}

#[test]
fn a_value_of_white_space_alone_is_no_layout() {
    for blank in [" ", "\t", "\r\n "] {
        let mut domain = domain("<name>old</name>");
        domain.description = Some(blank.to_owned());
        assert_eq!(Domain::from_xml(&domain.to_xml()).expect("well-formed"), domain);
        assert_eq!(Domain::from_xml(&domain.canonical()).expect("well-formed"), domain);
    }
}

#[test]
fn an_unknown_value_is_kept_until_the_field_is_set() {
    let mut domain = domain("<devices><disk device='tape'><target dev='vda' bus='quantum'/></disk></devices>");
    let before = domain.to_xml();
    let disk = &mut domain.devices_mut().disk[0];
    assert_eq!(disk.device, None);
    disk.device = Some(DiskDevice::Lun);
    assert_eq!(changed(&before, &domain.to_xml()), ["-<disk device='tape'>", "+<disk device='lun'>"]);
    let target = domain.devices_mut().disk[0].target.as_mut().expect("has a target");
    target.bus = Some(DiskBus::Virtio);
    assert!(domain.to_xml().contains("<target dev='vda' bus='virtio'/>"));
}

#[test]
fn attributes_of_a_leaf_outlive_a_change_of_its_value() {
    let mut domain = domain("<name color='red'>old</name>");
    domain.name = Some("new & better".into());
    assert!(domain.to_xml().contains("<name color='red'>new &amp; better</name>"), "{}", domain.to_xml());
    domain.name = None;
    assert!(!domain.to_xml().contains("<name"), "{}", domain.to_xml());
}

#[test]
fn interleaved_children_keep_their_places_and_new_ones_follow_their_kind() {
    let inner = "<disk><target dev='vda'/></disk><interface type='user'/><x/><disk><target dev='vdb'/></disk><y/>";
    let mut domain = domain(&format!("<devices>{inner}</devices>"));
    let devices = domain.devices_mut();
    devices.disk.push(Disk { readonly: true, ..Disk::default() });
    devices.controller.push(Controller { r#type: Some(ControllerType::Usb), ..Controller::default() });
    devices.interface.clear();
    let flat: String = domain.to_xml().lines().map(str::trim).collect();
    let expected = "<devices><disk><target dev='vda'/></disk><x/><disk><target dev='vdb'/></disk><disk><readonly/></disk>\
                    <y/><controller type='usb'/></devices>";
    assert!(flat.contains(expected), "{flat}");
}

#[test]
fn an_element_that_is_there_twice_is_kept_once_as_unknown() {
    let domain = domain("<name>a</name>\n<name>b</name>");
    assert_eq!(domain.name.as_deref(), Some("a"));
    let text = domain.to_xml();
    assert!(text.contains("<name>a</name>\n  <name>b</name>"), "{text}");
}

#[test]
fn an_element_in_a_leaf_makes_the_leaf_unknown_and_is_kept() {
    let text = domain("<name>a<b>c</b></name>").to_xml();
    assert!(text.contains("<name>a<b>c</b></name>"), "{text}");
}

#[test]
fn texts_comments_and_cdata_survive() {
    let inner = "<name>a<!-- of old -->b</name><description><![CDATA[1 < 2]]></description><devices>loose &amp; text<!-- c --></devices>";
    let domain = domain(inner);
    assert_eq!(domain.name.as_deref(), Some("ab"));
    assert_eq!(domain.description.as_deref(), Some("1 < 2"));
    let text = domain.to_xml();
    for part in ["<name>a<!-- of old -->b</name>", "1 &lt; 2", "loose &amp; text", "<!-- c -->"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn line_ends_and_tabs_survive_in_attributes_and_texts() {
    let mut domain = domain("<devices><disk><source file='/a&#10;b&#9;c&apos;&quot;'/></disk></devices>");
    domain.description = Some("two\nlines\tand\r\n".into());
    let again = Domain::from_xml(&domain.to_xml()).expect("well-formed");
    assert_eq!(again, domain);
    assert_eq!(again.disks()[0].source_path(), Some("/a\nb\tc'\""));
}

#[test]
fn another_prefix_for_a_known_namespace_is_understood_and_kept() {
    let text = "<domain xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><q:commandline><q:arg value='-x'/></q:commandline></domain>";
    let domain = Domain::from_xml(text).expect("well-formed");
    let arguments = &domain.qemu_commandline.as_ref().expect("is there").arg;
    assert_eq!(arguments[0].value.as_deref(), Some("-x"));
    assert!(domain.to_xml().contains("<q:arg value='-x'/>"));
}

#[test]
fn a_namespace_may_be_declared_by_the_element_that_is_in_it() {
    let text = "<domain><q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><q:arg value='-x'/></q:commandline>\
                <vmware:datacenterpath xmlns:vmware='http://libvirt.org/schemas/domain/vmware/1.0'>a</vmware:datacenterpath></domain>";
    let domain = Domain::from_xml_strict(text).expect("valid");
    let arguments = &domain.qemu_commandline.as_ref().expect("is there").arg;
    assert_eq!(arguments[0].value.as_deref(), Some("-x"));
    assert_eq!(domain.vmware_datacenterpath.as_deref(), Some("a"));
    let written = domain.to_xml();
    assert_eq!(Domain::from_xml_strict(&written).expect("valid").to_xml(), written);
}

#[test]
fn a_prefix_that_an_element_gives_another_meaning_has_that_meaning() {
    let text = "<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:commandline xmlns:qemu='urn:other'/></domain>";
    let domain = Domain::from_xml(text).expect("well-formed");
    assert!(domain.qemu_commandline.is_none());
    assert!(domain.to_xml().contains("<qemu:commandline xmlns:qemu='urn:other'/>"));
}

#[test]
fn a_known_namespace_is_declared_when_it_is_first_used() {
    let mut domain = Domain::default();
    domain
        .qemu_commandline
        .get_or_insert_default()
        .arg
        .push(kvm_xml::domain::QemuArg { value: Some("-x".into()), ..Default::default() });
    let text = domain.to_xml();
    assert!(text.starts_with("<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"), "{text}");
    assert_eq!(Domain::from_xml_strict(&text).expect("valid"), domain);
}

#[test]
fn names_in_a_foreign_default_namespace_are_not_mistaken_for_libvirts() {
    let domain = domain("<name xmlns='urn:other'>not the name</name>");
    assert_eq!(domain.name, None);
    assert!(domain.to_xml().contains("<name xmlns='urn:other'>not the name</name>"));
}

#[test]
fn metadata_is_read_replaced_and_removed_by_namespace() {
    let mut metadata =
        domain("<metadata><a:x xmlns:a='urn:a'>1</a:x><b:y xmlns:b='urn:b'/></metadata>").metadata.expect("is there");
    assert_eq!(metadata.get("urn:a").map(Fragment::as_str), Some("<a:x xmlns:a='urn:a'>1</a:x>"));
    let ours = "<kvmm:vm xmlns:kvmm='urn:kvm-manager:metadata:1'><kvmm:tag>web</kvmm:tag></kvmm:vm>";
    metadata.set(Metadata::NAMESPACE, ours).expect("one element in its namespace");
    metadata.remove("urn:b");
    let domain = Domain { metadata: Some(metadata), ..Domain::default() };
    let flat: String = domain.to_xml().lines().map(str::trim).collect();
    assert!(flat.contains(&format!("<metadata><a:x xmlns:a='urn:a'>1</a:x>{ours}</metadata>")), "{flat}");
}

#[test]
fn metadata_whose_prefix_is_declared_outside_is_found_and_can_move() {
    let text = "<domain xmlns:a='urn:a'><metadata><a:x b='1'><a:y/></a:x></metadata></domain>";
    let metadata = Domain::from_xml(text).expect("well-formed").metadata.expect("is there");
    let found = metadata.get("urn:a").map(Fragment::as_str);
    assert_eq!(found, Some("<a:x xmlns:a=\"urn:a\" b='1'><a:y/></a:x>"));
    let moved = Domain { metadata: Some(metadata), ..Domain::default() }.to_xml();
    assert!(Domain::from_xml(&moved).is_ok(), "{moved}");
}

#[test]
fn metadata_of_another_namespace_or_broken_xml_is_refused() {
    let mut metadata = Metadata::default();
    for xml in ["<x/>", "<k:x xmlns:k='urn:other'/>", "<k:x xmlns:k='urn:a'>", "<k:x xmlns:k='urn:a'/><y/>", "text", ""]
    {
        assert!(metadata.set("urn:a", xml).is_err(), "{xml}");
    }
}

#[test]
fn secrets_are_taken_out_and_the_rest_stays() {
    let text =
        "<devices><graphics type='vnc' passwd='hunter2' port='1'/><graphics type='spice' password='x'/></devices>";
    let domain = domain(text);
    let shown = domain.redacted().to_xml();
    assert!(!shown.contains("hunter2") && !shown.contains("password"), "{shown}");
    assert!(shown.contains("<graphics type='vnc' port='1'/>"), "{shown}");
    assert!(!format!("{domain:?}").contains("hunter2"));
    assert!(domain.to_xml().contains("passwd='hunter2'"));
}

#[test]
fn sizes_know_their_units() {
    assert_eq!(Memory::new(2, Unit::GiB).bytes(), Some(2 << 30));
    assert_eq!(Memory { value: Some(3), ..Memory::default() }.bytes(), Some(3 << 10));
    assert_eq!(Memory::new(u64::MAX, Unit::KiB).bytes(), None);
    let pool = StoragePool::from_xml("<pool><capacity>7</capacity><available unit='mib'>1</available></pool>")
        .expect("well-formed");
    assert_eq!(pool.capacity.expect("is there").bytes(), Some(7));
    assert_eq!(pool.available.expect("is there").bytes(), Some(1 << 20));
}

#[test]
fn a_device_is_a_document_of_its_own() {
    let nic = Interface {
        r#type: Some(InterfaceType::Network),
        mac: Some(kvm_xml::domain::InterfaceMac {
            address: Some(MacAddr([0x52, 0x54, 0, 0xAB, 0xCD, 0xEF])),
            ..Default::default()
        }),
        ..Interface::default()
    };
    let text = "<interface type='network'>\n  <mac address='52:54:00:ab:cd:ef'/>\n</interface>\n";
    assert_eq!(nic.to_xml(), text);
    assert_eq!(Interface::from_xml_strict(text).expect("valid"), nic);
}

#[test]
fn documents_and_errors_cross_threads() {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<Domain>();
    crosses::<kvm_xml::XmlError>();
}

#[test]
fn a_value_that_is_taken_out_leaves_no_trace_of_its_spelling() {
    let text = "<domain id='07'><vcpu current='01'>2</vcpu><iothreads> 04 </iothreads></domain>";
    let mut domain = Domain::from_xml(text).expect("well-formed");
    domain.id = None;
    domain.iothreads = None;
    domain.vcpu.get_or_insert_default().current = None;
    let plain = Domain::from_xml("<domain><vcpu>2</vcpu></domain>").expect("well-formed");
    assert_eq!(domain, plain);
    assert_eq!(domain.to_xml(), plain.to_xml());
    assert_eq!(kvm_xml::diff(&domain, &plain), []);
    assert_eq!(format!("{domain:?}"), format!("{plain:?}"));
    let json = |domain: &Domain| serde_json::to_value(domain).map(|value| value["iothreads"].clone()).expect("a value");
    assert_eq!(json(&domain), json(&plain));
}

#[test]
fn what_is_there_twice_goes_with_the_first() {
    let text =
        "<name>a</name>\n<name>b</name>\n<features><acpi/><acpi/></features>\n<os><type>hvm</type></os>\n<os x='1'/>";
    let mut domain = domain(text);
    let before = domain.to_xml();
    domain.name = Some("c".into());
    assert_eq!(changed(&before, &domain.to_xml()), ["-<name>a</name>", "+<name>c</name>"]);
    domain.name = None;
    domain.features.get_or_insert_default().acpi = false;
    domain.os = None;
    let after = domain.to_xml();
    // The second would be read as the first.
    assert!(!after.contains("name") && !after.contains("acpi") && !after.contains("<os"), "{after}");
    assert_eq!(Domain::from_xml(&after).expect("well-formed"), domain);
}

#[test]
fn the_first_of_two_counts_also_when_its_value_is_unknown() {
    let domain = domain("<on_crash>explode</on_crash>\n<on_crash>restart</on_crash>");
    assert_eq!(domain.on_crash, None);
    let text = domain.to_xml();
    assert!(text.contains("explode") && text.contains("restart"), "{text}");
}
