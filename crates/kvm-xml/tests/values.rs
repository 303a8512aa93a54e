//! Every value that a field can take is read and written alike, and the next one past its end is refused.

use kvm_xml::element::{Element, Item, Kind, Slot};
use kvm_xml::leaf::{Expected, Format};
use kvm_xml::pool::PoolSources;
use kvm_xml::{
    Capabilities, Domain, DomainBackup, DomainCapabilities, DomainCheckpoint, DomainSnapshot, HostInterface, Network,
    NetworkFilter, NetworkFilterBinding, NetworkPort, NodeDevice, Secret, StoragePool, StoragePoolCapabilities,
    StorageVolume,
};
use std::collections::BTreeSet;

/// Calls `check` with each field that is a leaf, of `element` and of all elements below it, each type once.
fn leaves(
    element: &mut dyn Element,
    seen: &mut BTreeSet<&'static str>,
    check: &mut dyn FnMut(&str, &mut dyn Slot, Format),
) {
    let shape = element.shape();
    if !seen.insert(shape.name) {
        return;
    }
    for (index, field) in shape.fields.iter().enumerate() {
        let slot = element.slot_mut(index);
        match field.kind {
            Kind::Flag => {}
            Kind::Leaf => check(&format!("{}.{}", shape.name, field.key), slot, field.format),
            Kind::Element => leaves(slot.open().expect("an empty slot"), seen, check),
        }
    }
}

fn every_leaf(check: &mut dyn FnMut(&str, &mut dyn Slot, Format)) {
    let mut seen = BTreeSet::new();
    let documents: [&mut dyn Element; 17] = [
        &mut Domain::default(),
        &mut DomainBackup::default(),
        &mut DomainCheckpoint::default(),
        &mut DomainSnapshot::default(),
        &mut Network::default(),
        &mut NetworkPort::default(),
        &mut NetworkFilter::default(),
        &mut NetworkFilterBinding::default(),
        &mut StoragePool::default(),
        &mut PoolSources::default(),
        &mut StorageVolume::default(),
        &mut Secret::default(),
        &mut HostInterface::default(),
        &mut NodeDevice::default(),
        &mut Capabilities::default(),
        &mut DomainCapabilities::default(),
        &mut StoragePoolCapabilities::default(),
    ];
    for document in documents {
        leaves(document, &mut seen, check);
    }
}

/// What the slot writes after it has read `text`; `None` when it refuses.
fn through(slot: &mut dyn Slot, text: &str, format: Format) -> Option<String> {
    slot.clear();
    slot.read(text, format).ok()?;
    let Some(Item::Leaf(leaf)) = slot.item(0) else { return None };
    let mut written = String::new();
    leaf.scalar().render(format, &mut written);
    Some(written)
}

/// Text that only a free text takes.
const NOTHING: &str = "\u{1F600}";

#[test]
fn each_word_of_each_closed_set_is_read_and_written() {
    let mut sets = 0;
    every_leaf(&mut |name, slot, format| {
        slot.clear();
        let Err(Expected::OneOf(words)) = slot.read(NOTHING, format) else { return };
        assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len(), "{name} has a word twice");
        for word in words {
            assert_eq!(through(slot, word, format).as_deref(), Some(*word), "{name}");
            assert_eq!(through(slot, &format!("{word}?"), format), None, "{name}");
        }
        sets += 1;
    });
    assert!(sets > 300, "only {sets} fields have a closed set");
}

#[test]
fn each_number_takes_both_ends_of_its_range_and_nothing_beyond() {
    let mut numbers = 0;
    every_leaf(&mut |name, slot, format| {
        slot.clear();
        let Err(Expected::Range(least, greatest)) = slot.read(NOTHING, format) else { return };
        let (least, greatest) = (i128::from(least), i128::from(greatest));
        assert!(least < greatest, "{name}");
        let decimal = format.decimal();
        for number in [least, greatest] {
            let text = number.to_string();
            assert_eq!(through(slot, &text, decimal), Some(text), "{name}");
        }
        for number in [least - 1, greatest + 1] {
            assert_eq!(through(slot, &number.to_string(), decimal), None, "{name}");
        }
        numbers += 1;
    });
    assert!(numbers > 300, "only {numbers} fields are numbers");
}

#[test]
fn a_number_with_a_base_reads_back_what_it_writes() {
    every_leaf(&mut |name, slot, format| {
        slot.clear();
        if !matches!(slot.read(NOTHING, format), Err(Expected::Range(..))) {
            return;
        }
        let number = format.min.max(1).unsigned_abs().min(format.max).to_string();
        let Some(written) = through(slot, &number, format.decimal()).and_then(|_| {
            let Some(Item::Leaf(leaf)) = slot.item(0) else { return None };
            let mut written = String::new();
            leaf.scalar().render(format, &mut written);
            Some(written)
        }) else {
            panic!("{name} refuses {number}");
        };
        assert_eq!(through(slot, &written, format).as_deref(), Some(&*written), "{name}");
    });
}
