//! The documents under `testdata/xml`, one per family of elements, go through the model unchanged.

use kvm_xml::element::{Element, Item};
use kvm_xml::pool::PoolSources;
use kvm_xml::{
    Capabilities, Document, Domain, DomainBackup, DomainCapabilities, DomainCheckpoint, DomainSnapshot, HostInterface,
    Network, NetworkFilter, NetworkFilterBinding, NetworkPort, NodeDevice, Secret, StoragePool,
    StoragePoolCapabilities, StorageVolume,
};
use serde_core::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/xml")
}

fn text(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The names of the files whose outermost element is `root`, without the one that is odd on purpose.
fn names(root: &str) -> Vec<String> {
    let files = std::fs::read_dir(folder()).expect("a folder").map(|entry| entry.expect("a file").file_name());
    let names = files.map(|name| name.into_string().expect("a plain name")).filter(|name| name != "domain-foreign.xml");
    names.filter(|name| text(name).starts_with(&format!("<{root} "))).collect()
}

/// Whether every part of the document has its place in the model.
fn is_known(element: &dyn Element) -> bool {
    let fields = 0..element.shape().fields.len();
    let mut items = fields.flat_map(|index| element.slot(index).items());
    let extra = element.extra();
    extra.attributes().iter().all(|(name, _)| name.starts_with("xmlns"))
        && (element.shape().open || extra.nodes().is_empty())
        && items.all(|item| match item {
            Item::Element(child) => is_known(child),
            Item::Flag | Item::Leaf(_) => true,
        })
}

fn check<T: Document + Clone + PartialEq + Debug + Serialize + DeserializeOwned>(name: &str) {
    let text = text(name);
    let model = T::from_xml(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(model.to_xml(), text, "{name}");
    let json = serde_json::to_string(&model).expect("serialises");
    let back: T = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(back, model, "{name} through JSON");
    assert_eq!(back.to_xml(), text, "{name} through JSON and back to XML");
}

fn check_strict<T: Document + Clone + PartialEq + Debug + Serialize + DeserializeOwned>(name: &str) {
    check::<T>(name);
    let model = T::from_xml_strict(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(is_known(&model), "{name}");
}

#[test]
fn domains_come_out_as_they_went_in() {
    let names = names("domain");
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        check_strict::<Domain>(&name);
    }
}

#[test]
fn pools_come_out_as_they_went_in() {
    let names = names("pool");
    assert!(names.len() > 3, "{names:?}");
    for name in names {
        check_strict::<StoragePool>(&name);
    }
}

#[test]
fn a_domain_with_unknown_parts_comes_out_as_it_went_in() {
    check::<Domain>("domain-foreign.xml");
}

#[test]
fn other_documents_come_out_as_they_went_in() {
    check_strict::<Capabilities>("capabilities.xml");
    check_strict::<DomainCapabilities>("domain-capabilities.xml");
    check_strict::<HostInterface>("host-interface.xml");
    check_strict::<Network>("network.xml");
    check_strict::<NetworkPort>("network-port.xml");
    check_strict::<PoolSources>("pool-sources.xml");
    check_strict::<StorageVolume>("volume.xml");
    check_strict::<StoragePoolCapabilities>("pool-capabilities.xml");
    check_strict::<DomainSnapshot>("domain-snapshot.xml");
    check_strict::<DomainCheckpoint>("domain-checkpoint.xml");
    check_strict::<DomainBackup>("domain-backup-push.xml");
    check_strict::<DomainBackup>("domain-backup-pull.xml");
    check_strict::<Secret>("secret.xml");
    check_strict::<NetworkFilter>("nwfilter.xml");
    check_strict::<NetworkFilterBinding>("nwfilter-binding.xml");
}

#[test]
fn node_devices_come_out_as_they_went_in() {
    for name in ["mdev", "net", "pci", "scsi"] {
        check_strict::<NodeDevice>(&format!("node-device-{name}.xml"));
    }
}

#[test]
fn strict_reading_names_the_unknown_attribute_its_place_and_what_would_be_valid() {
    let error = Domain::from_xml_strict(&text("domain-foreign.xml")).expect_err("future='yes' is unknown");
    assert_eq!(error.path(), "domain.devices.disk");
    assert_eq!((error.line(), error.column()), (11, 5));
    assert!(error.message().starts_with("unknown attribute 'future'; it may have type, device,"), "{error}");
}

#[test]
fn the_domains_of_a_snapshot_are_read_whole() {
    let mut snapshot = DomainSnapshot::from_xml_strict(&text("domain-snapshot.xml")).expect("valid");
    let domain = snapshot.domain.as_deref().expect("there is one");
    assert_eq!(domain.qemu_commandline.as_ref().map(|commandline| commandline.arg.len()), Some(1));
    let next = snapshot.inactive_domain.as_deref().and_then(|domain| domain.vcpu.as_ref()?.value);
    assert_eq!(next, Some(4));
    assert!(snapshot.to_xml().contains("open sesame"));
    snapshot.redact();
    assert!(!snapshot.to_xml().contains("open sesame"));
}

#[test]
fn a_snapshot_may_know_no_more_of_its_domain_than_the_uuid() {
    let text = "<domainsnapshot><domain><uuid>b1f0a3de-5f1c-4c0b-9d55-6f2b7c6c3a10</uuid></domain></domainsnapshot>";
    let snapshot = DomainSnapshot::from_xml_strict(text).expect("valid");
    assert!(snapshot.domain.is_some_and(|domain| domain.uuid.is_some()));
}

#[test]
fn a_cookie_may_have_anything_also_in_strict_reading() {
    let cookie = "<cpu><vendor>Intel</vendor></cpu><unheard-of><of x='1'/></unheard-of>";
    let document = format!("<domainsnapshot><cookie>{cookie}</cookie></domainsnapshot>");
    let snapshot = DomainSnapshot::from_xml_strict(&document).expect("valid");
    let cookie = snapshot.cookie.expect("there is one");
    assert_eq!(cookie.cpu.and_then(|cpu| cpu.vendor).as_deref(), Some("Intel"));
    assert_eq!(cookie._extra.nodes().len(), 1);
}

#[test]
fn differences_between_backups_name_the_disk() {
    let one = DomainBackup::from_xml(&text("domain-backup-push.xml")).expect("valid");
    let mut two = one.clone();
    let disks = two.disks.as_mut().expect("there are some");
    disks.disk[1].target.get_or_insert_default().dev = Some("/dev/vg1/backup".into());
    let changes: Vec<String> = kvm_xml::diff(&one, &two).iter().map(ToString::to_string).collect();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(changes[0].starts_with("disks.disk[vdb].target.dev: "), "{changes:?}");
}
