//! What is particular about devices of the host, and the documents for their networks.

use kvm_xml::node_device::{Capability, CapabilityType, DeviceType, MdevAttr, NestedCapabilityType, NodeParent};
use kvm_xml::value::NumberOrName;
use kvm_xml::{Document, HostInterface, NodeDevice};

fn capability(inner: &str) -> Capability {
    let text = format!("<device><capability {inner}</capability></device>");
    let mut device = NodeDevice::from_xml_strict(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    device.capability.remove(0)
}

#[test]
fn a_class_is_hexadecimal_for_pci_and_decimal_for_usb() {
    let pci = capability("type='pci'><class>0x030000</class><domain>0</domain>");
    assert_eq!(pci.class, Some(0x03_0000));
    let mut usb = capability("type='usb'><number>1</number><class>10</class>");
    assert_eq!(usb.class, Some(10));
    usb.class = Some(255);
    let text = NodeDevice { capability: vec![pci, usb], ..NodeDevice::default() }.to_xml();
    assert!(text.contains("<class>0x030000</class>"), "{text}");
    assert!(text.contains("<class>255</class>"), "{text}");
}

#[test]
fn a_bus_is_a_number_or_the_kind_of_a_disks_bus() {
    let pci = capability("type='pci'><bus>129</bus>");
    assert_eq!(pci.bus.and_then(|bus| bus.number()), Some(129));
    let storage = capability("type='storage'><bus>ata</bus>");
    assert_eq!(storage.bus, Some(NumberOrName::Name("ata".into())));
    // Not a number that would be written so.
    let zeros = capability("type='storage'><bus>007</bus>");
    assert_eq!(zeros.bus.and_then(|bus| bus.number()), None);
}

#[test]
fn ids_are_hexadecimal_with_and_without_prefix() {
    let device = capability("type='usb_device'><product id='0x1563'>x</product><vendor id='8086'/>");
    assert_eq!(device.product.and_then(|product| product.id), Some(0x1563));
    assert_eq!(device.vendor.and_then(|vendor| vendor.id), Some(0x8086));
}

#[test]
fn nested_capabilities_are_told_apart_by_type() {
    let host = capability("type='scsi_host'><capability type='vport_ops'><vports>2</vports></capability>");
    assert_eq!(host.capability[0].r#type, Some(NestedCapabilityType::VportOps));
    assert_eq!(host.capability[0].vports, Some(2));
}

#[test]
fn a_mediated_device_is_made_from_a_parent_and_a_type() {
    let attr = MdevAttr { name: Some("assign_domain".into()), value: Some("0x1f".into()), ..MdevAttr::default() };
    let device = NodeDevice {
        parent: Some(NodeParent { value: Some("pci_0000_00_02_0".into()), ..NodeParent::default() }),
        capability: vec![Capability {
            r#type: Some(CapabilityType::Mdev),
            type_el: Some(DeviceType { id: Some("i915-GVTg_V5_4".into()), ..DeviceType::default() }),
            attr: vec![attr],
            ..Capability::default()
        }],
        ..NodeDevice::default()
    };
    let expected = "<device>\n  <parent>pci_0000_00_02_0</parent>\n  <capability type='mdev'>\n    \
                    <type id='i915-GVTg_V5_4'/>\n    <attr name='assign_domain' value='0x1f'/>\n  </capability>\n</device>\n";
    assert_eq!(device.to_xml(), expected);
}

#[test]
fn values_outside_of_the_schema_are_refused_in_strict_reading() {
    let cases = [
        ("type='floppy'>", "'floppy' is not one of system, pci,"),
        ("type='css'><cssid>0xff</cssid>", "'0xff' is not a number from 0 to 254"),
        ("type='net'><feature name='7'/>", "'7' is not letters"),
        ("type='pci'><pci-express><link speed='fast'/></pci-express>", "'fast' is not a number such as 8 or 2.5"),
        (
            "type='storage'><capability type='removable'><media_available>2</media_available></capability>",
            "from 0 to 1",
        ),
    ];
    for (inner, message) in cases {
        let text = format!("<device><capability {inner}</capability></device>");
        let error = NodeDevice::from_xml_strict(&text).expect_err(inner);
        assert!(error.message().contains(message), "{inner}: {error}");
        let kept = NodeDevice::from_xml(&text).expect("well-formed");
        assert_eq!(NodeDevice::from_xml(&kept.to_xml()).expect("well-formed"), kept, "{inner}");
    }
}

#[test]
fn a_forward_delay_is_a_number_of_seconds_and_not_below_zero() {
    for (delay, valid) in [("0", true), ("1.5", true), ("2E1", true), ("INF", true), ("-1", false), ("soon", false)] {
        let text = format!("<interface type='bridge' name='br0'><bridge delay='{delay}'/></interface>");
        assert_eq!(HostInterface::from_xml_strict(&text).is_ok(), valid, "{delay}");
    }
}
