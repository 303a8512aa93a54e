//! Arbitrary text is read or refused. The first byte says as which kind of document.
#![no_main]

use kvm_xml_fuzz::{Subject, for_kind, reads};
use libfuzzer_sys::fuzz_target;

fn run<T: Subject>(text: &str) {
    reads::<T>(text);
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, text)) = input.split_first() else { return };
    if let Ok(text) = std::str::from_utf8(text) {
        for_kind!(*kind, run(text));
    }
});
