//! The documents under `testdata/xml` show every field that a domain can have.

use kvm_xml::element::{Element, Item, Kind};
use kvm_xml::{Document, Domain, StoragePool};
use std::collections::BTreeSet;
use std::path::Path;

/// `Struct.field` of every field that `element` or what it may contain can have.
fn possible(element: &mut dyn Element, known: &mut BTreeSet<String>) {
    let shape = element.shape();
    for (index, field) in shape.fields.iter().enumerate() {
        let new = known.insert(format!("{}.{}", shape.name, field.key));
        if new
            && field.kind == Kind::Element
            && let Some(child) = element.slot_mut(index).open()
        {
            possible(child, known);
        }
    }
}

/// `Struct.field` of every field that `element` and what it contains have.
fn seen(element: &dyn Element, found: &mut BTreeSet<String>) {
    let shape = element.shape();
    for (index, field) in shape.fields.iter().enumerate() {
        for item in element.slot(index).items() {
            found.insert(format!("{}.{}", shape.name, field.key));
            if let Item::Element(child) = item {
                seen(child, found);
            }
        }
    }
}

#[test]
fn every_field_of_a_domain_is_in_some_document() {
    let mut missing = BTreeSet::new();
    possible(&mut Domain::default(), &mut missing);
    assert!(missing.len() > 1000, "{} fields", missing.len());
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/xml")).expect("a folder")
    {
        let path = entry.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("a text");
        if let Ok(domain) = Domain::from_xml_strict(&text) {
            seen(&domain, &mut found);
        } else if let Ok(pool) = StoragePool::from_xml_strict(&text) {
            // A host device shares its adapter with pools, and uses the name alone.
            seen(&pool, &mut found);
        }
    }
    missing.retain(|field| !found.contains(field));
    assert!(missing.is_empty(), "{} fields are in no document: {missing:#?}", missing.len());
}
