//! The page that is checked in is the one that the cases make.
#![allow(missing_docs, reason = "tests")]

#[test]
fn the_page_is_current() {
    let page = include_str!("../../../docs/contracts.md");
    let stale = "docs/contracts.md is stale: cargo run -p kvm-contract --example contracts > docs/contracts.md";
    assert!(page == kvm_contract::markdown(), "{stale}");
}
