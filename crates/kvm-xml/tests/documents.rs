//! The documents under `testdata/xml`, one per family of elements, go through the model unchanged.

use kvm_xml::{Capabilities, Document, Domain, DomainCapabilities, Network, StoragePool, StorageVolume};
use serde_core::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;
use std::path::Path;

fn text(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/xml");
    std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
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
    T::from_xml_strict(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
}

#[test]
fn domains_come_out_as_they_went_in() {
    for name in ["boot", "consoles", "disks", "network", "tuning"] {
        check_strict::<Domain>(&format!("domain-{name}.xml"));
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
    check_strict::<Network>("network.xml");
    check_strict::<StoragePool>("pool-dir.xml");
    check_strict::<StoragePool>("pool-rbd.xml");
    check_strict::<StorageVolume>("volume.xml");
}

#[test]
fn strict_reading_names_the_unknown_attribute_its_place_and_what_would_be_valid() {
    let error = Domain::from_xml_strict(&text("domain-foreign.xml")).expect_err("future='yes' is unknown");
    assert_eq!(error.path(), "domain.devices.disk");
    assert_eq!((error.line(), error.column()), (11, 5));
    assert!(error.message().starts_with("unknown attribute 'future'; it may have type, device,"), "{error}");
}
