//! Documents made of the names and values of the tables are read or refused.
#![no_main]

use arbitrary::Unstructured;
use kvm_xml_fuzz::{Subject, document, for_kind, reads};
use libfuzzer_sys::fuzz_target;

fn run<T: Subject>(u: &mut Unstructured<'_>) {
    if let Ok(text) = document::<T>(u) {
        reads::<T>(&text);
    }
}

fuzz_target!(|input: &[u8]| {
    let mut u = Unstructured::new(input);
    let Ok(kind) = u.arbitrary::<u8>() else { return };
    for_kind!(kind, run(&mut u));
});
