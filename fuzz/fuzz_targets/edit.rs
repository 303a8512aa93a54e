//! Documents made of the names and values of the tables are read, changed, and written.
#![no_main]

use arbitrary::Unstructured;
use kvm_xml::diff;
use kvm_xml_fuzz::{Subject, document, edit, for_kind, reads, stable};
use libfuzzer_sys::fuzz_target;

fn run<T: Subject>(u: &mut Unstructured<'_>) {
    // The changes come first, so that a longer document does not turn them into others.
    let Ok(length) = u.int_in_range(0..=255_usize) else { return };
    let length = length.min(u.len());
    let Ok(changes) = u.bytes(length).map(<[u8]>::to_vec) else { return };
    let Some(mut model) = document::<T>(u).ok().and_then(|text| reads::<T>(&text)) else { return };
    let before = model.clone();
    // Choices that have run out are zeros: an edit never fails half-way.
    let _done = edit(&mut Unstructured::new(&changes), &mut model);
    stable(&model);
    assert_eq!(diff(&before, &model).is_empty(), before == model);
}

fuzz_target!(|input: &[u8]| {
    let mut u = Unstructured::new(input);
    let Ok(kind) = u.arbitrary::<u8>() else { return };
    for_kind!(kind, run(&mut u));
});
