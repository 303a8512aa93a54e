//! What strangers put into packages.

use kvm_archive::{MEMBERS_MAX, MemberName};
use kvm_core::ErrorKind;
use kvm_core::inputs::{Row, Verdict, rows};
use tar::EntryType;

use crate::build::{Archive, Desk, header, one_disk, ovf};

fn appliance() -> Archive {
    Archive::default().file("web.ovf", one_disk().as_bytes()).file("d.vmdk", b"disk")
}

fn index(disks: &str, definition: usize) -> String {
    format!(r#"{{"format": "kvm-manager-bundle", "version": 1, "definition_bytes": {definition}, "disks": [{disks}]}}"#)
}

fn disk(name: &str, length: u64) -> String {
    format!(r#"{{"target": "{name}", "file": "disks/{name}.qcow2", "length_bytes": {length}, "capacity_bytes": 512}}"#)
}

/// A bundle whose index names `wanted` disks and that holds `held`.
fn bundle(wanted: usize, held: usize) -> Vec<u8> {
    let names: Vec<_> = (0..wanted.max(held)).map(|i| format!("vd{}", char::from(b'a' + i as u8))).collect();
    let described: Vec<_> = names[..wanted].iter().map(|name| disk(name, 4)).collect();
    let archive =
        Archive::default().file("bundle.json", index(&described.join(","), 1).as_bytes()).file("machine.xml", b"x");
    let archive = names[..held].iter().fold(archive, |a, name| a.file(&format!("disks/{name}.qcow2"), b"disk"));
    archive.file("SHA256SUMS", b"").compressed()
}

/// The archive of a row of the inputs, whose value describes it in words where it is no name.
fn case(row: &Row) -> Vec<u8> {
    let value = row.text().unwrap();
    let with = |name: &str| appliance().file(name, b"").bytes();
    match (value, row.why) {
        (_, "symlink then write") | ("disks/link -> /etc (symlink) then disks/link/passwd", _) => {
            appliance().special("disks/link", EntryType::Symlink, "/etc").file("disks/link/passwd", b"x").bytes()
        }
        ("hardlink to /etc/shadow", _) => appliance().special("shadow", EntryType::Link, "/etc/shadow").bytes(),
        ("char device 1:1", _) => appliance().special("mem", EntryType::Char, "").bytes(),
        ("setuid file", _) => {
            let mut header = header(b"tool", 0);
            header.set_mode(0o4755);
            appliance().raw(header, b"").bytes()
        }
        ("two members with one name", _) => appliance().file("d.vmdk", b"other").bytes(),
        ("PAX size differs from header size", _) => {
            let mut extension = header(b"x", 11);
            extension.set_entry_type(EntryType::XHeader);
            appliance().raw(extension, b"11 size=99\n").file("y", b"four").bytes()
        }
        ("index lists 3 snapshots, archive holds 4", _) => bundle(3, 4),
        ("index lists 4 snapshots, archive holds 3", _) => bundle(4, 3),
        ("1 TiB of zeros in 1 MiB zstd", _) => {
            let index = index(&disk("vda", 1 << 40), 1);
            let zeros = header(b"disks/vda.qcow2", 1 << 40);
            let archive = Archive::default().file("bundle.json", index.as_bytes()).file("machine.xml", b"x");
            archive.raw(zeros, &vec![0; 8 << 20]).compressed()
        }
        ("200 000 empty members", _) => {
            let members = (0..200_000).map(|i| format!("m{i}"));
            members.fold(appliance(), |archive, name| archive.file(&name, b"")).bytes()
        }
        ("name with trailing dot/space", _) => with("disk."),
        (value, _) => match value.strip_prefix("name with backslashes ") {
            Some(name) => with(name),
            None => with(value),
        },
    }
}

#[test]
fn every_input_has_its_verdict() {
    for row in rows("archive_member") {
        let opened = Desk::new().open_bytes(&case(&row));
        let shown = String::from_utf8_lossy(&row.value);
        match (row.verdict, opened) {
            (Verdict::Accept, opened) => drop(opened.unwrap_or_else(|e| panic!("{shown}: {e}"))),
            (Verdict::Reject | Verdict::Adopt, Ok(_)) => panic!("{shown} ({}) has to be refused", row.why),
            (_, Err(e)) => {
                let kinds = [ErrorKind::InvalidInput, ErrorKind::Corrupt, ErrorKind::NoSpace];
                assert!(kinds.contains(&e.kind()), "{shown}: {} {e}", e.kind());
            }
        }
    }
}

#[test]
fn names_that_mean_something_else_are_refused() {
    for name in
        ["", "/", "a//b", "./a", "a/..", "a\\b", "c:x", "-rf", " a", "a ", "a.", "a\u{202e}b", "a/b/c/d/e", "a\nb"]
    {
        let error = MemberName::parse(name).unwrap_err();
        assert_eq!(error.resource(), Some(&kvm_core::Resource::Field("archive_member".into())), "{name:?}");
    }
    for name in ["disks/vda.qcow2", "Ünïcode name (1).vmdk", ".mf-less", "a..b"] {
        assert_eq!(MemberName::parse(name).unwrap().as_str(), name);
    }
}

#[test]
fn members_that_differ_only_in_case_are_one() {
    let error = Desk::new().open_bytes(&appliance().file("D.VMDK", b"other").bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}

#[test]
fn a_long_name_is_read_and_an_endless_one_is_not() {
    let long = |length: usize| {
        let mut header = header(b"././@LongLink", length as u64);
        header.set_entry_type(EntryType::GNULongName);
        appliance().raw(header, &vec![b'x'; length]).file("short", b"").bytes()
    };
    Desk::new().open_bytes(&long(200)).unwrap();
    assert_eq!(Desk::new().open_bytes(&long(1 << 20)).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_cut_archive_is_corrupt_at_every_length() {
    let whole = appliance().bytes();
    for length in (512..whole.len() - 1024).step_by(256) {
        let error = Desk::new().open_bytes(&whole[..length]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{length}: {error}");
    }
}

#[test]
fn a_cut_bundle_is_corrupt_at_every_length() {
    let whole = bundle(2, 2);
    for length in (8..whole.len()).step_by(3) {
        let error = Desk::new().open_bytes(&whole[..length]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{length}: {error}");
    }
}

#[test]
fn digests_have_to_hold_and_to_be_complete() {
    let digest = |bytes: &[u8]| {
        let mut hasher = kvm_archive::Hasher::new(kvm_archive::Algorithm::Sha1);
        hasher.update(bytes);
        hasher.finish()
    };
    let (document, disk) = (one_disk(), digest(b"disk"));
    let good = format!("SHA1(web.ovf)= {}\nSHA1(d.vmdk)= {disk}\n", digest(document.as_bytes()));
    let open =
        |manifest: &str, archive: Archive| Desk::new().open_bytes(&archive.file("web.mf", manifest.as_bytes()).bytes());
    assert!(open(&good, appliance()).unwrap().is_verified());
    assert!(!Desk::new().open_bytes(&appliance().bytes()).unwrap().is_verified());
    let other = good.replace(&disk.to_string(), &digest(b"another").to_string());
    let without = good.lines().next().unwrap();
    for (manifest, archive) in [
        (other.as_str(), appliance()),
        (without, appliance()),
        (&format!("{good}SHA1(gone)= {disk}\n"), appliance()),
        (&good, appliance().file("more", b"x")),
    ] {
        assert_eq!(open(manifest, archive).unwrap_err().kind(), ErrorKind::Corrupt, "{manifest}");
    }
}

#[test]
fn two_documents_or_none_are_refused() {
    let two = appliance().file("other.ovf", one_disk().as_bytes()).bytes();
    assert_eq!(Desk::new().open_bytes(&two).unwrap_err().kind(), ErrorKind::InvalidInput);
    let none = Archive::default().file("d.vmdk", b"disk").bytes();
    assert_eq!(Desk::new().open_bytes(&none).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn files_beside_a_document_are_reached_through_no_link() {
    let desk = Desk::new();
    let document = desk.put("web.ovf", one_disk().as_bytes());
    assert_eq!(desk.open(&document).unwrap_err().kind(), ErrorKind::NotFound);
    std::os::unix::fs::symlink("/etc/hostname", desk.dir.path().join("d.vmdk")).unwrap();
    assert!(desk.open(&document).is_err(), "a link");
    std::fs::remove_file(desk.dir.path().join("d.vmdk")).unwrap();
    std::fs::create_dir(desk.dir.path().join("d.vmdk")).unwrap();
    assert!(desk.open(&document).is_err(), "a directory");
    std::fs::remove_dir(desk.dir.path().join("d.vmdk")).unwrap();
    desk.put("d.vmdk", b"disk");
    desk.open(&document).unwrap();
    let outside = ovf(
        "<File ovf:id='f' ovf:href='../d.vmdk'/>",
        "<Disk ovf:diskId='d' ovf:fileRef='f' ovf:capacity='1' ovf:format='vmdk'/>",
        "<Item><rasd:HostResource>ovf:/disk/d</rasd:HostResource><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceType>17</rasd:ResourceType></Item>",
    );
    let outside = desk.put("outside.ovf", outside.as_bytes());
    assert_eq!(desk.open(&outside).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn what_is_no_package_is_refused() {
    for bytes in [&b""[..], b"hello", b"\x7fELF", &[0; 2048], b"\x28\xb5\x2f\xfd", b"<html/>"] {
        assert!(Desk::new().open_bytes(bytes).is_err());
    }
    let desk = Desk::new();
    assert_eq!(desk.open(desk.dir.path()).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(desk.open(&desk.dir.path().join("none")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn an_archive_has_a_bounded_number_of_members() {
    let members = |count| (0..count).map(|i| format!("m{i}")).fold(appliance(), |a, name| a.file(&name, b"")).bytes();
    Desk::new().open_bytes(&members(MEMBERS_MAX - 2)).unwrap();
    assert_eq!(Desk::new().open_bytes(&members(MEMBERS_MAX - 1)).unwrap_err().kind(), ErrorKind::InvalidInput);
}
