//! Documents that somebody edits.

use kvm_core::{ErrorKind, Resource, Result};
use kvm_vm::{Edit, EditOptions, NotesChange, Policy, Trust, change_notes, edit_text, prepare_edit};

use crate::support::{Bench, said};

async fn edited(bench: &Bench, name: &str, change: impl Fn(&str) -> String, trust: Trust) -> Result<Edit> {
    let id = bench.vm(name).await.id;
    let before = edit_text(&bench.host, &id).await.unwrap();
    let after = change(&before);
    prepare_edit(&bench.host, &id, &before, &after, &EditOptions { trust }, &Policy::default()).await
}

fn more_memory(text: &str) -> String {
    let edited = text.replace("<memory unit='KiB'>4194304", "<memory unit='KiB'>6291456");
    assert_ne!(edited, text, "{text}");
    edited
}

#[tokio::test(start_paused = true)]
async fn an_edit_says_what_changes_and_stores_it() {
    let bench = Bench::new();
    let edit = edited(&bench, "db", more_memory, Trust::Checked).await.unwrap();
    assert_eq!(edit.changes().len(), 1);
    assert_eq!(edit.to_string(), "memory.value: 4194304 -> 6291456");
    assert!(!edit.is_live());
    edit.apply(&bench.host).await.unwrap();
    let id = bench.vm("db").await.id;
    assert!(edit_text(&bench.host, &id).await.unwrap().contains("6291456"));
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_changes_nothing_writes_nothing() {
    let bench = Bench::new();
    let edit = edited(&bench, "build-01", |text| text.replace("\n", "\n\n"), Trust::Checked).await.unwrap();
    assert!(edit.changes().is_empty(), "{edit}");
    assert!(edit.is_live());
    bench.mock.forget_calls();
    edit.apply(&bench.host).await.unwrap();
    assert!(bench.mock.calls().iter().all(|c| c.method != kvm_mock::Method::Define));
}

#[tokio::test(start_paused = true)]
async fn name_and_uuid_are_not_edited() {
    let bench = Bench::new();
    let e = edited(&bench, "db", |text| text.replace("<name>db<", "<name>db2<"), Trust::Full).await.unwrap_err();
    assert_eq!(e.resource(), Some(&Resource::Field("name".into())));
    assert!(e.detail().unwrap().contains("rename"));
    let id = bench.vm("db").await.id.to_string();
    let other = "8fbf2b8e-3b3c-4b1e-9a51-000000000001";
    let e = edited(&bench, "db", |text| text.replace(&id, other), Trust::Full).await.unwrap_err();
    assert_eq!(e.resource(), Some(&Resource::Field("uuid".into())));
}

#[tokio::test(start_paused = true)]
async fn what_is_added_is_checked_and_what_was_there_may_stay() {
    let bench = Bench::new();
    let add = |text: &str| text.replace("</domain>", "<seclabel type='none'/></domain>");
    let e = edited(&bench, "db", add, Trust::Checked).await.unwrap_err();
    assert!(said(&e).starts_with("invalid_input [field domain/seclabel]"), "{}", said(&e));
    edited(&bench, "db", add, Trust::Full).await.unwrap().apply(&bench.host).await.unwrap();
    // Now it is there, and another change is not held up by it.
    edited(&bench, "db", more_memory, Trust::Checked).await.unwrap().apply(&bench.host).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_contradiction_is_not_added_and_holds_up_nothing_else() {
    let bench = Bench::new();
    let add = |text: &str| {
        text.replace("<devices>", "<devices><controller type='scsi' index='7'/><controller type='scsi' index='7'/>")
    };
    let e = edited(&bench, "db", add, Trust::Checked).await.unwrap_err();
    assert!(said(&e).contains("devices.controller") && said(&e).contains(" is wrong: "), "{}", said(&e));
    edited(&bench, "db", add, Trust::Full).await.unwrap().apply(&bench.host).await.unwrap();
    edited(&bench, "db", more_memory, Trust::Checked).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn numbers_that_harm_are_refused_from_anybody() {
    let bench = Bench::new();
    let vcpus = |text: &str| text.replace(">2</vcpu>", ">4294967295</vcpu>");
    for trust in [Trust::Checked, Trust::Full] {
        let e = edited(&bench, "db", vcpus, trust).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput);
    }
}

#[tokio::test(start_paused = true)]
async fn a_mistake_is_told_with_its_line() {
    let bench = Bench::new();
    let e = edited(&bench, "db", |text| text.replace("</domain>", ""), Trust::Checked).await.unwrap_err();
    assert!(e.message().starts_with("line "), "{}", said(&e));
    let e = edited(&bench, "db", |text| text.replace("<vcpu", "<vcpus2/><vcpu"), Trust::Checked).await.unwrap_err();
    assert!(e.message().contains("vcpus2"), "{}", said(&e));
}

#[tokio::test(start_paused = true)]
async fn an_edit_does_not_overwrite_somebody_elses() {
    let bench = Bench::new();
    let edit = edited(&bench, "db", more_memory, Trust::Checked).await.unwrap();
    let title = NotesChange { title: Some(Some("theirs".parse().unwrap())), ..NotesChange::default() };
    let id = bench.vm("db").await.id;
    change_notes(&bench.host, &id, &title).await.unwrap();
    assert_eq!(edit.apply(&bench.host).await.unwrap_err().kind(), ErrorKind::InvalidState);
    assert!(edit_text(&bench.host, &id).await.unwrap().contains("theirs"));
}
