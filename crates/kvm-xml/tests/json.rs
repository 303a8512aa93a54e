//! The same names in JSON.

use kvm_xml::domain::Disk;
use kvm_xml::value::{CpuSet, MacAddr, OnOff};
use kvm_xml::{Document, Domain};
use serde_json::{Value, json};

fn domain(inner: &str) -> Value {
    let domain = Domain::from_xml(&format!("<domain type='kvm'>{inner}</domain>")).expect("well-formed");
    serde_json::to_value(domain).expect("serialises")
}

#[test]
fn keys_are_field_names_and_leaves_are_scalars() {
    let inner = "<name>a</name><memory unit='KiB'>1024</memory><features><acpi/></features>\
                 <devices><disk device='disk'><target dev='vda'/><readonly/>\
                 <address type='pci' domain='0x0000' bus='0x10' slot='0x1f' function='0x0'/></disk></devices>";
    let address = json!({"type": "pci", "domain": 0, "bus": 16, "slot": 31, "function": 0});
    let disk = json!({"device": "disk", "target": {"dev": "vda"}, "readonly": true, "address": address});
    let expected = json!({
        "type": "kvm", "name": "a", "memory": {"unit": "KiB", "value": 1024},
        "features": {"acpi": true}, "devices": {"disk": [disk]}
    });
    assert_eq!(domain(inner), expected);
}

#[test]
fn what_is_unknown_is_under_extra_and_other() {
    let found = domain("<vcpu>many</vcpu><future a='1'/><devices new='x'><disk bus='1' device='tape'/></devices>");
    assert_eq!(found["vcpu"], json!({"value": {"_other": "many"}}));
    assert_eq!(found["_extra"]["nodes"], json!(["<future a='1'/>"]));
    assert_eq!(found["devices"]["_extra"]["attributes"], json!({"new": "x"}));
    assert_eq!(found["devices"]["disk"][0]["device"], json!({"_other": "tape"}));
}

#[test]
fn numbers_may_be_written_as_people_write_them() {
    let disk: Disk = serde_json::from_value(json!({
        "type": "file", "readonly": false, "boot": {"order": "1"}, "driver": {"queues": 4, "copy_on_read": "on"},
        "source": {"file": "/a"}, "address": {"domain": 0, "slot": "0x1f"}, "serial": null
    }))
    .expect("valid");
    let driver = disk.driver.as_ref().expect("is there");
    assert_eq!((driver.queues, driver.copy_on_read), (Some(4), Some(OnOff::On)));
    assert_eq!(disk.address.as_ref().and_then(|address| address.slot), Some(31));
    assert!(!disk.readonly && disk.serial.is_none());
}

#[test]
fn mistakes_are_named() {
    let cases = [
        (json!({"nmae": "a"}), "Disk has no field 'nmae'; it has type, device,"),
        (json!({"type": "tape"}), "type: 'tape' is not one of file, block, dir,"),
        (json!({"boot": {"order": -1}}), "order: '-1' is not a number from 1 to"),
        (json!({"target": "vda"}), "target: 'vda' where an element must be"),
        (json!({"serial": ["a"]}), "serial is not a list"),
        (json!({"serial": {"a": "b"}}), "serial is one value, or a map with '_other'"),
        (json!({"_extra": {"nodes": ["<a>"]}}), "the document ends before </a>"),
        (json!({"_extra": {"attributes": {"a b": "c"}}}), "'a b' is no name for an unknown attribute"),
        (json!({"_extra": {"attributes": {"type": "c"}}}), "'type' is no name for an unknown attribute"),
        (json!({"_extra": {"written": {"serial": "<x/>"}}}), "'<x/>' is not a <serial>"),
        (json!({"_extra": {"more": 1}}), "_extra has no part 'more'"),
    ];
    for (value, message) in cases {
        let error = serde_json::from_value::<Disk>(value.clone()).expect_err("a mistake").to_string();
        assert!(error.contains(message), "{value}: {error}");
    }
}

#[test]
fn values_stand_alone_too() {
    let mac: MacAddr = serde_json::from_value(json!("52:54:00:AB:00:01")).expect("valid");
    assert_eq!(serde_json::to_value(mac).expect("serialises"), json!("52:54:00:ab:00:01"));
    let cpus: CpuSet = [0, 1, 2, 5].into_iter().collect();
    assert_eq!(serde_json::to_value(&cpus).expect("serialises"), json!("0-2,5"));
    assert!(serde_json::from_value::<OnOff>(json!("maybe")).is_err());
}

#[test]
fn an_odd_spelling_in_a_namespace_comes_back() {
    let text = "<domain xmlns:vmware='http://libvirt.org/schemas/domain/vmware/1.0'>\
                <vmware:datacenterpath a='1'><!-- c -->x</vmware:datacenterpath></domain>";
    let domain = Domain::from_xml(text).expect("well-formed");
    let json = serde_json::to_value(&domain).expect("serialises");
    assert_eq!(json["vmware_datacenterpath"], json!("x"));
    let back: Domain = serde_json::from_value(json).expect("of ours");
    assert_eq!(back.to_xml(), domain.to_xml());
    assert!(back.to_xml().contains(" a='1'><!-- c -->x</vmware:datacenterpath>"), "{}", back.to_xml());
}

#[test]
fn a_repetition_goes_with_the_first_in_json_too() {
    let domain = Domain::from_xml("<domain><name>a</name><name>b</name></domain>").expect("well-formed");
    let json = |domain: &Domain| serde_json::to_value(domain).expect("serialises");
    let mut back: Domain = serde_json::from_value(json(&domain)).expect("of ours");
    assert_eq!(back.to_xml(), domain.to_xml());
    back.name = None;
    assert_eq!(json(&back), json!({}));
}
