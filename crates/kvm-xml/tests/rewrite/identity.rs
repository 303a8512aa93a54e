//! Name, uuid, generation, metadata, labels, and what is not in the document.

use super::*;
use kvm_xml::Metadata;
use kvm_xml::domain::SystemEntryName;
use kvm_xml::rewrite::policy;
use kvm_xml::rewrite::{Attached, Reason, Refusal};

const OLD_UUID: &str = "6f1c1a40-5b0e-4c3c-9d3b-0d6f7d1f4b7a";
const OLD_GENID: &str = "43dc0cf8-809b-4adb-9bea-a9abb5f3d90e";

#[test]
fn a_clone_and_a_template_have_another_name() {
    row(|domain| domain.name.clone().expect("a name"), ["copy", "web", "web", "web", "copy"]);
}

#[test]
fn a_copy_without_a_name_gets_one_that_is_free() {
    let mut facts = Facts { name_taken: Box::new(|name| name == "web-clone"), ..facts() };
    let copy = rewrite(&identity(), &Policy::CLONE, &mut facts).expect("has all it needs");
    assert_eq!(copy.domain.name.as_deref(), Some("web-clone1"));
    assert_eq!(copy.changes[0].to_string(), "name: web -> web-clone1 (the name of the copy)");
}

#[test]
fn a_taken_name_is_refused_unless_the_machine_is_replaced() {
    let taken = || Facts { name: Some("db".into()), name_taken: Box::new(|_| true), ..facts() };
    let error = refusal(&identity(), &Policy::CLONE, &mut taken());
    assert_eq!((error.kind, error.field.as_str()), (Refusal::NameTaken, "name"));
    let replace = Policy { name: policy::Name::Replace, ..Policy::CLONE };
    let copy = rewrite(&identity(), &replace, &mut taken()).expect("is replaced");
    assert_eq!(copy.domain.name.as_deref(), Some("db"));
    assert_eq!(refusal(&identity(), &replace, &mut facts()).kind, Refusal::Facts);
}

#[test]
fn the_name_of_the_original_is_refused_on_its_host() {
    let mut facts = Facts { name: Some("web".into()), place: Place::SameHost, ..facts() };
    for policy in [Policy::CLONE, Policy { name: policy::Name::Replace, ..Policy::CLONE }] {
        assert_eq!(refusal(&identity(), &policy, &mut facts).kind, Refusal::NameTaken);
    }
}

#[test]
fn names_that_are_paths_are_refused() {
    for name in ["", ".", "..", "a/b", "a\nb", "a\0"] {
        for policy in [Policy::CLONE, Policy::REPLICA] {
            let error = refusal(&identity(), &policy, &mut Facts { name: Some(name.into()), ..facts() });
            assert_eq!((error.kind, error.field.as_str()), (Refusal::Facts, "name"), "{name:?}");
            assert!(!error.to_string().contains('\n'));
        }
    }
}

#[test]
fn a_replica_may_have_a_name_of_its_own() {
    let mut facts = Facts { name: Some("web-dr".into()), ..facts() };
    let copy = rewrite(&identity(), &Policy::REPLICA, &mut facts).expect("has all it needs");
    assert_eq!(copy.domain.name.as_deref(), Some("web-dr"));
}

#[test]
fn a_clone_has_another_uuid_and_a_template_none() {
    let new = NEW_UUID.to_string();
    let read = |domain: &Domain| domain.uuid.map(|uuid| uuid.to_string()).unwrap_or_default();
    row(read, [new.as_str(), OLD_UUID, OLD_UUID, OLD_UUID, ""]);
}

#[test]
fn uuid_and_serial_number_in_the_smbios_follow_the_uuid() {
    let new = NEW_UUID.to_string();
    for name in [SystemEntryName::Uuid, SystemEntryName::Serial] {
        let read = |domain: &Domain| {
            let system = domain.sysinfo[0].system.as_ref().expect("is kept");
            assert_eq!(system.entry[0].value.as_deref(), Some("ACME"));
            let entry = system.entry.iter().find(|entry| entry.name == Some(name));
            entry.and_then(|entry| entry.value.clone()).unwrap_or_default()
        };
        row(read, [new.as_str(), OLD_UUID, OLD_UUID, OLD_UUID, ""]);
    }
}

#[test]
fn names_that_are_all_taken_are_refused() {
    let mut facts = Facts { name_taken: Box::new(|_| true), ..facts() };
    assert_eq!(refusal(&identity(), &Policy::CLONE, &mut facts).kind, Refusal::NameTaken);
}

#[test]
fn a_serial_number_that_is_no_uuid_stays() {
    let sysinfo = "<sysinfo type='smbios'><system><entry name='serial'>42</entry></system></sysinfo>";
    let domain = Domain::from_xml(&format!("<domain><name>a</name>{sysinfo}</domain>")).expect("valid");
    assert_eq!(copy(&domain, &Policy::CLONE).domain.sysinfo, domain.sysinfo);
}

#[test]
fn a_uuid_that_is_no_new_one_is_refused() {
    let old = identity().uuid;
    for uuid in [None, Some(Uuid::nil()), old] {
        let error = refusal(&identity(), &Policy::CLONE, &mut Facts { uuid, ..facts() });
        assert_eq!((error.kind, error.field.as_str()), (Refusal::Facts, "uuid"));
    }
}

#[test]
fn the_generation_changes_at_a_clone_a_restore_and_later_at_the_promotion_of_a_replica() {
    let new = NEW_GENID.to_string();
    let read = |domain: &Domain| {
        domain.genid.as_ref().and_then(|genid| genid.value).map(|genid| genid.to_string()).unwrap_or_default()
    };
    row(read, [new.as_str(), OLD_GENID, new.as_str(), OLD_GENID, new.as_str()]);
    warned(facts_for, |warning| *warning == Warning::GenidAtPromotion, [0, 1, 0, 0, 0]);
}

#[test]
fn a_machine_without_generation_gets_none() {
    let copy = rewrite(&machine(""), &Policy::CLONE, &mut Facts { genid: None, ..facts() }).expect("needs none");
    assert_eq!(copy.domain.genid, None);
}

#[test]
fn lineage_is_taken_out_and_notes_and_other_metadata_stay() {
    let ours = |domain: &Domain| {
        let metadata = domain.metadata.as_ref().expect("is kept");
        assert!(metadata.get("http://app1.example.org/app1/").is_some());
        let ours = metadata.get(Metadata::NAMESPACE).expect("has notes");
        assert_eq!(ours.attribute("tags").as_deref(), Some("ci"));
        ours.as_str().contains("lineage")
    };
    row(ours, [false, false, true, true, false]);
}

#[test]
fn new_lineage_takes_the_place_of_the_old() {
    let mut facts = Facts { lineage: Some("<kvmm:lineage role=\"target\"/>".into()), ..facts() };
    let copy = rewrite(&identity(), &Policy::REPLICA, &mut facts).expect("is well-formed");
    let ours = copy.domain.metadata.as_ref().and_then(|metadata| metadata.get(Metadata::NAMESPACE)).expect("is there");
    assert_eq!(
        ours.as_str(),
        "<kvmm:notes xmlns:kvmm=\"urn:kvm-manager:metadata:1\" tags=\"ci\"><kvmm:lineage role=\"target\"/></kvmm:notes>"
    );
    let copy = rewrite(&machine(""), &Policy::REPLICA, &mut facts).expect("is well-formed");
    assert!(copy.domain.to_xml().contains("<kvmm:lineage role=\"target\"/>"));
}

#[test]
fn an_element_without_notes_goes_with_its_lineage() {
    let metadata = "<metadata><k:x xmlns:k='urn:kvm-manager:metadata:1'><k:from/></k:x></metadata>";
    let domain = Domain::from_xml(&format!("<domain><name>a</name>{metadata}</domain>")).expect("valid");
    assert!(!copy(&domain, &Policy::CLONE).domain.to_xml().contains("urn:kvm-manager"));
}

#[test]
fn lineage_that_is_no_xml_is_refused() {
    for lineage in ["<a>", "</kvmm:notes><b/>", "<x:a/></kvmm:notes><kvmm:notes>"] {
        let error = refusal(&identity(), &Policy::REPLICA, &mut Facts { lineage: Some(lineage.into()), ..facts() });
        assert_eq!((error.kind, error.field.as_str()), (Refusal::Facts, "metadata"), "{lineage}");
    }
}

#[test]
fn static_labels_are_taken_out_and_dynamic_ones_stay() {
    let read = |domain: &Domain| {
        let models: Vec<_> = domain.seclabel.iter().filter_map(|label| label.model.clone()).collect();
        models.join(" ")
    };
    row(read, ["dac", "dac", "selinux dac", "dac", "dac"]);
    let of_the_disk = |domain: &Domain| domain.disks()[0].source.as_ref().expect("a source").seclabel.len();
    row(of_the_disk, [0_usize, 0, 1, 0, 0]);
}

#[test]
fn what_only_a_running_machine_has_is_taken_out() {
    row(|domain| domain.id, [None; 5]);
    row(|domain| domain.disks()[0].source.as_ref().and_then(|source| source.index), [None; 5]);
    row(|domain| domain.channels()[0].target.as_ref().and_then(|target| target.state), [None; 5]);
    row(|domain| domain.consoles()[0].tty.clone(), [const { None::<String> }; 5]);
    row(|domain| domain.serials()[0].source[0].path.clone(), [const { None::<String> }; 5]);
    row(|domain| domain.seclabel.last().and_then(|label| label.label.clone()), [const { None::<String> }; 5]);
    row(|domain| domain.disks()[0].alias.is_some() || domain.interfaces()[0].alias.is_some(), [false; 5]);
}

#[test]
fn aliases_of_people_and_addresses_in_the_guest_stay() {
    let alias = |domain: &Domain| domain.disks()[1].alias.as_ref().and_then(|alias| alias.name.clone());
    row(move |domain| alias(domain).unwrap_or_default(), ["ua-data"; 5]);
    row(|domain| domain.disks()[0].address.as_ref().and_then(|address| address.bus), [Some(4_u16); 5]);
}

#[test]
fn what_is_not_in_the_document_is_told_when_it_stays_behind() {
    let attached =
        Attached { snapshots: 2, checkpoints: 1, internal_snapshots: 3, schedules: 4, starts_with_host: true };
    let facts = move |policy: &Policy| Facts { attached, ..facts_for(policy) };
    let snapshots = Warning::SnapshotsLeft { snapshots: 2, checkpoints: 1, internal: 3 };
    warned(facts, |warning| *warning == snapshots, [1, 1, 0, 1, 1]);
    warned(facts, |warning| *warning == Warning::AutostartOff, [1, 1, 0, 0, 1]);
    warned(facts, |warning| *warning == Warning::SchedulesLeft { count: 4 }, [1, 1, 0, 0, 1]);
}

#[test]
fn each_change_has_its_reason_on_one_line() {
    let copy = copy(&identity(), &Policy::CLONE);
    let reason = |path: &str| copy.changes.iter().find(|edit| edit.change.path == path).map(|edit| edit.reason);
    assert_eq!(reason("uuid"), Some(Reason::Identity));
    assert_eq!(reason("id"), Some(Reason::Live));
    assert_eq!(reason("devices.graphics[vnc].passwd"), Some(Reason::Secret));
    assert!(copy.changes.iter().all(|edit| !edit.to_string().contains("hunter2")));
    assert!(copy.changes.iter().all(|edit| !edit.to_string().contains('\n')));
}
