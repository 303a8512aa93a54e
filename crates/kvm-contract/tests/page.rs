//! The page that is checked in is the one that the cases make.
#![allow(missing_docs, reason = "tests")]

#[test]
fn the_page_is_current() {
    let page = include_str!("../../../docs/contracts.md");
    assert!(page == kvm_contract::markdown(), "docs/contracts.md is stale: run `cargo xtask docs`");
}
