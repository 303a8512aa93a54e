use kvm_wire::leaf_digest;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn manifest() -> Manifest {
    let stored = |file: &str| StoredFile { file: file.into(), size: Bytes::from_gib(1), digest: leaf_digest(b"x") };
    Manifest {
        point: "2026-11-22T07-35-00Z".parse().unwrap(),
        vm: "web".parse().unwrap(),
        uuid: uuid::Uuid::from_u128(1).into(),
        host: "qemu:///system".into(),
        consistency: Consistency::Application,
        based_on: Some("2026-11-21T07-35-00Z".parse().unwrap()),
        tool: "kvmctl 1".into(),
        document: stored(DOCUMENT),
        nvram: Some(stored(VARIABLES)),
        tpm: Some(StoredFile { size: Bytes::from_kib(6), ..stored(TPM) }),
        disks: vec![StoredDisk {
            target: "vda".into(),
            format: StoredFormat::Qcow2,
            virtual_size: Bytes::from_gib(20),
            allocated: Bytes::from_mib(10),
            stored: stored("vda.qcow2"),
        }],
    }
}

#[test]
fn a_manifest_reads_as_it_is_written() {
    let whole = manifest();
    assert_eq!(Manifest::parse(&whole.to_json().unwrap()).unwrap(), whole);
    let bare = Manifest { based_on: None, nvram: None, tpm: None, disks: Vec::new(), ..whole };
    assert_eq!(Manifest::parse(&bare.to_json().unwrap()).unwrap(), bare);
}

/// As they were written before the state of a TPM was part of a point: not a byte of them is another one.
#[test]
fn a_manifest_without_the_state_of_a_tpm_is_what_it_always_was() {
    let old = Manifest { nvram: None, tpm: None, based_on: None, disks: Vec::new(), ..manifest() };
    let written = old.to_json().unwrap();
    let keys: Vec<_> = written.lines().filter_map(|line| line.strip_prefix("  \"")?.split_once('"')).collect();
    let keys: Vec<_> = keys.into_iter().map(|(key, _)| key).collect();
    let always = ["format", "version", "digest", "point", "vm", "uuid", "host", "consistency", "tool", "document"];
    assert_eq!(keys, [&always[..], &["disks", "seal"]].concat());
    assert_eq!(Manifest::parse(&written).unwrap().files().count(), 1);
}

/// The manifest with one value replaced, or added.
fn with(pointer: &str, value: Value) -> String {
    let mut all: Value = serde_json::from_str(&manifest().to_json().unwrap()).unwrap();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    all.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(key.into(), value);
    all.to_string()
}

#[test]
fn what_a_stranger_writes_is_refused_and_the_field_named() {
    let digest = leaf_digest(b"x").to_string();
    let second = json!([
        {"target": "vda", "format": "raw", "file": "vda.raw", "size_bytes": 1, "virtual_size_bytes": 1,
            "allocated_bytes": 0, "digest": digest},
        {"target": "vda", "format": "qcow2", "file": "vda.qcow2", "size_bytes": 1, "virtual_size_bytes": 1,
            "allocated_bytes": 0, "digest": digest},
    ]);
    let cases = [
        ("/disks/0/file", json!("../../etc/shadow"), "disks[0].file"),
        ("/disks/0/file", json!("/etc/shadow"), "disks[0].file"),
        ("/disks/0/file", json!("vdb.qcow2"), "disks[0].file"),
        ("/disks/0/target", json!("../vda"), "disks[0].target"),
        ("/disks/0/target", json!(""), "disks[0].target"),
        ("/disks/0/format", json!("vmdk"), "disks[0].format"),
        ("/disks/0/size_bytes", json!(u64::MAX), "disks[0].size_bytes"),
        ("/disks/0/size_bytes", json!(-1), "disks[0].size_bytes"),
        ("/disks/0/size_bytes", json!(1.5), "disks[0].size_bytes"),
        ("/disks/0/virtual_size_bytes", json!("20G"), "disks[0].virtual_size_bytes"),
        ("/disks/0/digest", json!("00"), "disks[0].digest"),
        ("/disks/0/backing", json!("/etc/shadow"), "disks[0].backing"),
        ("/disks", second, "disks[1].target"),
        ("/disks", json!({}), "disks"),
        ("/disks", json!([7]), "disks[0]"),
        ("/disks", Value::Array(vec![json!({}); 257]), "disks"),
        ("/document/file", json!("/etc/libvirt/qemu/web.xml"), "document.file"),
        ("/nvram", json!(null), "nvram"),
        ("/nvram/file", json!("..\u{0}"), "nvram.file"),
        ("/tpm", json!(null), "tpm"),
        ("/tpm", json!([]), "tpm"),
        ("/tpm/file", json!("tpm2-00.permall"), "tpm.file"),
        ("/tpm/file", json!("../tpm.permall"), "tpm.file"),
        ("/tpm/file", json!("/var/lib/libvirt/swtpm/tpm.permall"), "tpm.file"),
        ("/tpm/size_bytes", json!((1 << 20) + 1), "tpm.size_bytes"),
        ("/tpm/size_bytes", json!(-1), "tpm.size_bytes"),
        ("/tpm/digest", json!("../../etc"), "tpm.digest"),
        ("/tpm/mode", json!(0o4755), "tpm.mode"),
        ("/point", json!("../.."), "point"),
        ("/based_on", json!("yesterday"), "based_on"),
        ("/vm", json!("a/b"), "vm"),
        ("/uuid", json!("web"), "uuid"),
        ("/host", json!("x".repeat(2000)), "host"),
        ("/consistency", json!("hot"), "consistency"),
        ("/tool", json!(7), "tool"),
        ("/seal", json!("00"), "seal"),
        ("/extra", json!(1), "extra"),
    ];
    for (pointer, value, field) in cases {
        let e = Manifest::parse(&with(pointer, value.clone())).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput, "{pointer} {value}");
        assert_eq!(e.resource(), Some(&Resource::Field(field.into())), "{pointer} {value}");
    }
    for (pointer, value, field) in [
        ("/version", json!(2), "version"),
        ("/format", json!("restic"), "format"),
        ("/digest", json!("sha256"), "digest"),
    ] {
        let e = Manifest::parse(&with(pointer, value)).unwrap_err();
        assert_eq!((e.kind(), e.resource()), (ErrorKind::Unsupported, Some(&Resource::Field(field.into()))));
    }
    for text in ["", "[]", "null", "{", "{}"] {
        assert_eq!(Manifest::parse(text).unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
    }
}

#[test]
fn every_field_is_needed() {
    let all: Value = serde_json::from_str(&manifest().to_json().unwrap()).unwrap();
    let keys: Vec<_> = all.as_object().unwrap().keys().cloned().collect();
    for key in keys.iter().filter(|key| !matches!(key.as_str(), "based_on" | "nvram" | "tpm")) {
        let mut less = all.clone();
        less.as_object_mut().unwrap().remove(key);
        let e = Manifest::parse(&less.to_string()).unwrap_err();
        assert_eq!(e.resource(), Some(&Resource::Field(key.clone())));
    }
}

#[test]
fn one_that_reads_well_and_was_edited_is_refused() {
    for (pointer, value) in
        [("/tool", json!("kvmctl 2")), ("/disks/0/allocated_bytes", json!(7)), ("/tpm/size_bytes", json!(7))]
    {
        let e = Manifest::parse(&with(pointer, value)).unwrap_err();
        assert_eq!((e.kind(), e.resource()), (ErrorKind::Corrupt, Some(&Resource::Field("seal".into()))));
    }
    // As is one that says the same in other words.
    let all: Value = serde_json::from_str(&manifest().to_json().unwrap()).unwrap();
    assert_eq!(Manifest::parse(&all.to_string()).unwrap_err().kind(), ErrorKind::Corrupt);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_and_no_name_leads_out(text in ".{0,200}", target in ".{0,20}", file in ".{0,20}") {
        let _ = Manifest::parse(&text);
        let names = [("/disks/0/target", &target), ("/disks/0/file", &file), ("/document/file", &file), ("/tpm/file", &file)];
        for (pointer, value) in names {
            if let Ok(read) = Manifest::parse(&with(pointer, json!(value))) {
                prop_assert!(read.files().all(|stored| !stored.file.contains('/') && !stored.file.starts_with('.')));
            }
        }
    }

    #[test]
    fn a_manifest_that_is_cut_or_changed_is_refused(at in 0usize..1200, byte: u8) {
        let mut bytes = manifest().to_json().unwrap().into_bytes();
        // Without the last line's end it is whole.
        let at = at % (bytes.len() - 1);
        let is_same = std::mem::replace(&mut bytes[at], byte) == byte;
        if let Ok(text) = String::from_utf8(bytes.clone()) {
            prop_assert_eq!(Manifest::parse(&text).is_ok(), is_same);
        }
        bytes.truncate(at);
        prop_assert!(Manifest::parse(&String::from_utf8_lossy(&bytes)).is_err());
    }
}
