//! Disks, drives, the firmware's variables and the TPM.

use super::*;
use kvm_xml::domain::{DiskFormat, DiskType};
use kvm_xml::rewrite::policy::{self, Chain};
use kvm_xml::rewrite::{Content, How, Location, Refusal};

fn sources(domain: &Domain) -> Vec<String> {
    let source = |disk: &kvm_xml::domain::Disk| {
        let source = disk.source.clone().unwrap_or_default();
        [source.file, source.dev, source.volume, source.name].into_iter().flatten().collect::<String>()
    };
    domain.disks().iter().map(source).collect()
}

fn file(path: &str) -> Location {
    Location::File(path.into())
}

#[test]
fn own_disks_of_another_machine_are_named_after_it_and_shared_ones_stay() {
    let old = ["/vm/web.qcow2", "/dev/vg0/web-data", "logs.img", "pool/shared", "/vm/tools.img"];
    let new = ["/vm/copy.qcow2", "/dev/vg0/copy-data", "copy-logs.img", "pool/shared", "/vm/tools.img"];
    row(|domain| sources(domain)[..5].to_vec(), [new, old, old, old, new].map(|row| row.map(str::to_owned).to_vec()));
}

#[test]
fn what_has_to_be_copied_is_told() {
    let copies = |policy| {
        let copies = copy(&identity(), &policy).copies;
        copies.into_iter().map(|copy| (copy.path, copy.how, copy.to.to_string())).collect::<Vec<_>>()
    };
    assert_eq!(copies(Policy::RESTORE), []);
    let clone = copies(Policy::CLONE);
    let expected = [
        ("devices.disk[vda].source", How::Flattened, "/vm/copy.qcow2"),
        ("devices.disk[vdb].source", How::Flattened, "/dev/vg0/copy-data"),
        ("devices.disk[vdc].source", How::Flattened, "default/copy-logs.img"),
        ("os.nvram", How::AsIs, "/var/lib/libvirt/qemu/nvram/copy_VARS.fd"),
    ];
    assert_eq!(clone, expected.map(|(path, how, to)| (path.to_owned(), how, to.to_owned())));
    let moved: Vec<_> = copies(Policy::MOVE).into_iter().map(|(path, ..)| path).collect();
    let expected = [
        "devices.disk[vda].backing_store.source",
        "devices.disk[vda].source",
        "devices.disk[vdb].source",
        "devices.disk[vdc].source",
        "os.nvram",
        "devices.tpm[0].backend.source",
    ];
    assert_eq!(moved, expected);
}

#[test]
fn the_chain_is_flattened_unless_the_machine_stays_or_moves() {
    row(|domain| domain.disks()[0].backing_store.is_some(), [false, false, true, true, false]);
}

#[test]
fn a_linked_clone_lies_on_the_disk_of_the_original() {
    let copy = copy(&identity(), &Policy { chain: Chain::Overlay, ..Policy::CLONE });
    let disk = &copy.domain.disks()[2];
    let base = disk.backing_store.as_ref().expect("lies on the original");
    let below = base.source.as_ref().expect("has a source");
    assert_eq!((base.r#type, below.volume.as_deref()), (Some(DiskType::Volume), Some("logs.img")));
    assert_eq!(base.format.as_ref().and_then(|format| format.r#type), Some(DiskFormat::Raw));
    assert_eq!(disk.driver.as_ref().and_then(|driver| driver.r#type), Some(DiskFormat::Qcow2));
    let chain = copy.domain.disks()[0].backing_store.as_ref().expect("lies on the original");
    assert_eq!(chain.source.as_ref().and_then(|source| source.file.as_deref()), Some("/vm/web.qcow2"));
    assert!(chain.backing_store.is_some(), "what was below is still there");
    assert!(copy.copies.iter().filter(|copy| copy.content == Content::Disk).all(|copy| copy.how == How::Overlay));
}

#[test]
fn an_encrypted_disk_is_not_linked() {
    let domain = machine(
        "<disk type='file'><source file='/web.img'><encryption format='luks'/></source><target dev='vda'/></disk>",
    );
    let error = refusal(&domain, &Policy { chain: Chain::Overlay, ..Policy::CLONE }, &mut facts());
    assert_eq!(error.kind, Refusal::Unsupported);
}

#[test]
fn a_kept_chain_is_copied_image_by_image_or_shared() {
    let policy = Policy { chain: Chain::Keep, ..Policy::CLONE };
    let below = |facts: &mut Facts<'_>| {
        let copy = rewrite(&identity(), &policy, facts).expect("has all it needs");
        let image = copy.domain.disks()[0].backing_store.clone().expect("is kept");
        let copied = copy.copies.iter().filter(|copy| copy.content == Content::Backing).count();
        (image.source.and_then(|source| source.file).expect("a file"), copied)
    };
    let name = Some("copy".to_owned());
    assert_eq!(below(&mut Facts { name: name.clone(), ..facts() }), ("/vm/copy-base.qcow2".into(), 1));
    let share =
        |request: &kvm_xml::rewrite::Request<'_>| (request.content == Content::Backing).then(|| request.from.clone());
    let mut here = Facts { name, place: Place::SameHost, locate: Box::new(share), ..facts() };
    assert_eq!(below(&mut here), ("/vm/base.qcow2".into(), 0));
}

#[test]
fn a_data_file_is_never_written_by_two_machines() {
    let domain = machine(
        "<disk type='file'><driver type='qcow2'/><source file='/web.qcow2'>
           <dataStore type='file'><format type='raw'/><source file='/web.data'/></dataStore>
         </source><target dev='vda'/></disk>",
    );
    let kept = copy(&domain, &Policy { chain: Chain::Keep, ..Policy::CLONE });
    assert!(kept.domain.to_xml().contains("<source file='/copy.data'/>"), "{}", kept.domain.to_xml());
    assert!(kept.copies.iter().any(|copy| copy.content == Content::DataStore));
    assert!(!copy(&domain, &Policy::CLONE).domain.to_xml().contains("dataStore"));
}

#[test]
fn a_linked_clone_needs_the_original_where_it_runs() {
    let domain = machine("<disk type='file'><source file='/web.img'/><target dev='vda'/></disk>");
    let mut facts = Facts { reaches: Box::new(|_| false), ..facts() };
    assert_eq!(
        refusal(&domain, &Policy { chain: Chain::Overlay, ..Policy::CLONE }, &mut facts).kind,
        Refusal::Unreachable
    );
}

#[test]
fn a_disk_goes_where_the_facts_say_whatever_lies_there() {
    let locate = |request: &kvm_xml::rewrite::Request<'_>| {
        (request.path == "devices.disk[vdb].source").then(|| file("/images/data.raw"))
    };
    let mut facts = Facts { name: Some("copy".into()), locate: Box::new(locate), ..facts() };
    let copy = rewrite(&identity(), &Policy::CLONE, &mut facts).expect("has all it needs");
    let disk = &copy.domain.disks()[1];
    assert_eq!((disk.r#type, disk.source_path()), (Some(DiskType::File), Some("/images/data.raw")));
    assert_eq!(disk.source.as_ref().and_then(|source| source.dev.clone()), None);
}

#[test]
fn places_that_are_none_are_refused() {
    let relative = || file("web.img");
    let twice = || file("/images/one.img");
    let line = || file("/images/a\nb");
    for location in [relative, twice, line] {
        let error =
            refusal(&identity(), &Policy::CLONE, &mut Facts { locate: Box::new(move |_| Some(location())), ..facts() });
        assert!(matches!(error.kind, Refusal::Facts | Refusal::LocationTaken), "{error}");
        assert!(error.field.starts_with("devices.disk["), "{error}");
    }
}

#[test]
fn a_copy_never_lies_where_the_original_is() {
    for policy in [Policy::REPLICA, Policy::MOVE] {
        let error = refusal(&identity(), &policy, &mut Facts { place: Place::SameHost, ..facts() });
        assert_eq!(error.kind, Refusal::LocationTaken);
    }
}

#[test]
fn a_taken_place_gets_a_number() {
    let taken = |location: &Location| *location == file("/vm/copy.qcow2") || *location == file("/vm/copy-1.qcow2");
    let mut facts = Facts { name: Some("copy".into()), location_taken: Box::new(taken), ..facts() };
    let copy = rewrite(&identity(), &Policy::CLONE, &mut facts).expect("has all it needs");
    assert_eq!(sources(&copy.domain)[0], "/vm/copy-2.qcow2");
}

#[test]
fn a_block_device_that_is_not_named_after_the_machine_has_to_be_given() {
    let domain = machine("<disk type='block'><source dev='/dev/sdb'/><target dev='vda'/></disk>");
    let error = refusal(&domain, &Policy::CLONE, &mut facts());
    assert_eq!((error.kind, error.field.as_str()), (Refusal::Facts, "devices.disk[vda].source"));
}

#[test]
fn disks_on_servers_are_refused_unless_the_target_reaches_them() {
    let disk = |more: &str| {
        machine(&format!("<disk type='network'><source protocol='nbd' name='x'/><target dev='vda'/>{more}</disk>"))
    };
    let reaches = |reaches: bool| Facts { reaches: Box::new(move |_| reaches), ..facts() };
    for policy in [Policy::CLONE, Policy::REPLICA, Policy::MOVE, Policy::TEMPLATE] {
        for more in ["", "<shareable/>", "<readonly/>"] {
            let error = refusal(&disk(more), &policy, &mut reaches(false));
            assert_eq!((error.kind, error.field.as_str()), (Refusal::Unreachable, "devices.disk[vda].source"));
        }
        assert!(rewrite(&disk("<shareable/>"), &policy, &mut reaches(true)).is_ok());
    }
    assert!(rewrite(&disk(""), &Policy::RESTORE, &mut reaches(false)).is_ok());
    assert!(rewrite(&disk(""), &Policy::MOVE, &mut reaches(true)).is_ok());
    assert_eq!(refusal(&disk(""), &Policy::CLONE, &mut reaches(true)).kind, Refusal::TwoWriters);
}

#[test]
fn a_disk_of_an_unknown_kind_is_refused() {
    let text = "<domain><name>a</name><devices><disk type='quantum'><source file='/a'/><target dev='vda'/></disk></devices></domain>";
    let domain = Domain::from_xml(text).expect("well-formed");
    let error = refusal(&domain, &Policy::CLONE, &mut facts());
    assert_eq!((error.kind, error.field.as_str()), (Refusal::Unknown, "devices.disk[vda].type"));
    assert!(rewrite(&domain, &Policy::RESTORE, &mut facts()).is_ok());
}

#[test]
fn serial_numbers_of_own_disks_are_new_in_a_clone_and_gone_in_a_template() {
    let serial = |domain: &Domain| domain.disks()[0].serial.clone().unwrap_or_default();
    row(serial, ["0a4e7c529f1d4d0e-vda", "WD-1", "WD-1", "WD-1", ""]);
    let name = |domain: &Domain| domain.disks()[0].wwn.map(|wwn| wwn.0 >> 60);
    row(name, [Some(3_u64), Some(5), Some(5), Some(5), None]);
    row(|domain| domain.disks()[4].serial.clone().unwrap_or_default(), ["TOOLS"; 5]);
    row(|domain| domain.disks()[1].serial.clone().unwrap_or_default(), [""; 5]);
    warned(facts_for, |warning| matches!(warning, Warning::DiskSerial { .. }), [1, 0, 0, 0, 1]);
}

#[test]
fn media_stay_where_the_target_has_them() {
    let read = |domain: &Domain| sources(domain)[5..].to_vec();
    let (both, one, none) = (["/iso/installer.iso", "/iso/here-only.iso", ""], ["/iso/installer.iso", "", ""], [""; 3]);
    row(read, [one, one, both, one, none].map(|row| row.map(str::to_owned).to_vec()));
    warned(facts_for, |warning| matches!(warning, Warning::Ejected { .. }), [1, 1, 0, 1, 2]);
}

#[test]
fn a_drive_without_its_server_is_an_empty_drive() {
    let domain =
        machine("<disk type='network' device='cdrom'><source protocol='https' name='x'/><target dev='sda'/></disk>");
    let copy =
        rewrite(&domain, &Policy::MOVE, &mut Facts { reaches: Box::new(|_| false), ..facts() }).expect("is ejected");
    assert_eq!((copy.domain.disks()[0].r#type, copy.domain.disks()[0].source.is_some()), (Some(DiskType::File), false));
}

#[test]
fn the_firmwares_variables_are_named_after_another_machine() {
    let read = |domain: &Domain| {
        let nvram = domain.os.as_ref().and_then(|os| os.nvram.as_ref()).expect("is kept");
        assert_eq!(nvram.template.as_deref(), Some("/usr/share/OVMF/OVMF_VARS_4M.fd"));
        assert!(nvram.format.is_some());
        nvram.value.clone().expect("a path")
    };
    let (old, new) = ("/var/lib/libvirt/qemu/nvram/web_VARS.fd", "/var/lib/libvirt/qemu/nvram/copy_VARS.fd");
    row(read, [new, old, old, old, new]);
}

#[test]
fn variables_in_a_volume_are_copied_like_a_disk() {
    let text =
        "<domain><name>web</name><os><nvram type='volume'><source pool='p' volume='v.fd'/></nvram></os></domain>";
    let copy = copy(&Domain::from_xml(text).expect("valid"), &Policy::CLONE);
    let to = Location::Volume { pool: "p".into(), volume: "copy_VARS.fd".into() };
    assert_eq!(copy.copies.iter().map(|copy| &copy.to).collect::<Vec<_>>(), [&to]);
    assert!(copy.domain.to_xml().contains("<source pool='p' volume='copy_VARS.fd'/>"), "{}", copy.domain.to_xml());
}

#[test]
fn a_tpm_is_fresh_with_a_loud_warning_except_where_the_machine_stays_one() {
    let state = |domain: &Domain| {
        let tpm = &domain.devices.as_ref().expect("is kept").tpm[0];
        tpm.backend.as_ref().and_then(|backend| backend.source.as_ref()?.path.clone()).unwrap_or_default()
    };
    row(state, ["", "", "/vm/tpm/web", "/vm/tpm/web", ""]);
    warned(facts_for, |warning| matches!(warning, Warning::FreshTpm { .. }), [1, 1, 0, 0, 1]);
}

#[test]
fn a_copied_tpm_needs_its_secret_on_the_target() {
    let policy = Policy { tpm: policy::Tpm::Copy, ..Policy::CLONE };
    let copied = copy(&identity(), &policy);
    assert!(copied.copies.iter().any(|copy| copy.content == Content::Tpm && copy.to == file("/vm/tpm/copy")));
    let same = |warning: &Warning| matches!(warning, Warning::SameTpm { path } if path == "devices.tpm[0]");
    assert!(copied.warnings.iter().any(same) && !copied.warnings.iter().any(|w| matches!(w, Warning::FreshTpm { .. })));
    assert!(!copy(&identity(), &Policy::MOVE).warnings.iter().any(same), "it stays one machine");
    let error = refusal(&identity(), &policy, &mut Facts { secret_exists: Box::new(|_| false), ..facts() });
    assert_eq!((error.kind, error.field.as_str()), (Refusal::SecretMissing, "devices.tpm[0].backend.encryption"));
}

#[test]
fn an_nvdimm_is_copied_with_the_disks() {
    let domain = machine(
        "<memory model='nvdimm'><source><path>/vm/web-pmem</path></source><target><size>1</size></target></memory>",
    );
    let copy = copy(&domain, &Policy::CLONE);
    assert_eq!((copy.copies[0].content, copy.copies[0].to.to_string()), (Content::Nvdimm, "/vm/copy-pmem".to_owned()));
}
