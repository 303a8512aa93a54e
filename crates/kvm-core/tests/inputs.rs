//! Every input of the file, through the type that reads it: all verdicts hold.

use std::fmt::Debug;

use kvm_core::inputs::{Row, Verdict, kinds, rows};
use kvm_core::{
    Bandwidth, Description, DiskPath, DiskRoot, Error, ErrorKind, HostName, MacAddr, MemoryUnit, NetworkName, PoolName,
    Port, Resource, Result, SnapshotName, SshUser, Tag, Target, VcpuCount, VmId, VmName, VolumeName, parse_memory_with,
    parse_size, text,
};

/// The longest message that is fit for a log line, however long the input.
const MESSAGE_MAX: usize = 512;

fn assert_refused<T: Debug>(row: &Row, field: &str, result: Result<T>) {
    let e: Error = match result {
        Err(e) => e,
        Ok(value) => panic!("line {}: {} has to be refused ({}), got {value:?}", row.line, shown(row), row.why),
    };
    assert_eq!(e.kind(), ErrorKind::InvalidInput, "line {}", row.line);
    assert_eq!(e.resource(), Some(&Resource::Field(field.to_owned())), "line {}", row.line);
    assert!(e.message().len() <= MESSAGE_MAX, "line {}: {} bytes of message", row.line, e.message().len());
    assert_eq!(text::printable(e.message()).to_string(), e.message(), "line {}: the message is not safe", row.line);
}

fn shown(row: &Row) -> String {
    text::printable_within(&String::from_utf8_lossy(&row.value), 60).to_string()
}

/// Checks one kind of input. `parse` is the strict door; `adopt` that for what exists, where there is one;
/// both give the exact text back.
fn check(kind: &str, field: &str, parse: impl Fn(&str) -> Result<String>, adopt: Option<fn(&str) -> Result<String>>) {
    for row in rows(kind) {
        let with = |door: &dyn Fn(&str) -> Result<String>| text::utf8(field, &row.value).and_then(door);
        let parsed = with(&parse);
        match (row.verdict, adopt) {
            (Verdict::Accept, adopt) => {
                let exact = parsed.unwrap_or_else(|e| panic!("line {}: {} ({}): {e}", row.line, shown(&row), row.why));
                assert_eq!(parse(&exact).ok().as_ref(), Some(&exact), "line {}: not stable", row.line);
                if let Some(adopt) = adopt {
                    assert_eq!(with(&adopt).ok().as_deref(), row.text(), "line {}: adopt", row.line);
                }
            }
            (Verdict::Reject, adopt) => {
                assert_refused(&row, field, parsed);
                if let Some(adopt) = adopt {
                    assert_refused(&row, field, with(&adopt));
                }
            }
            (Verdict::Adopt, Some(adopt)) => {
                assert_refused(&row, field, parsed);
                assert_eq!(with(&adopt).ok().as_deref(), row.text(), "line {}: {}", row.line, shown(&row));
            }
            (Verdict::Adopt, None) => panic!("line {}: nothing of kind {kind} can be adopted", row.line),
        }
    }
}

macro_rules! name_tests {
    ($($test:ident: $kind:literal, $type:ty;)*) => {$(
        #[test]
        fn $test() {
            check(
                $kind,
                $kind,
                |text| <$type>::parse(text).map(String::from),
                Some(|text| <$type>::adopt(text).map(String::from)),
            );
            for row in rows($kind).iter().filter(|row| row.verdict == Verdict::Accept) {
                assert_eq!(<$type>::parse(row.text().unwrap()).unwrap().as_str().as_bytes(), row.value);
            }
        }
    )*};
}

name_tests! {
    every_vm_name_has_its_verdict: "vm_name", VmName;
    every_pool_name_has_its_verdict: "pool_name", PoolName;
    every_volume_name_has_its_verdict: "volume_name", VolumeName;
    every_network_name_has_its_verdict: "network_name", NetworkName;
    every_snapshot_name_has_its_verdict: "snapshot_name", SnapshotName;
}

#[test]
fn every_description_has_its_verdict() {
    check("description", "description", |t| Description::parse(t).map(|d| d.as_str().to_owned()), None);
}

#[test]
fn every_label_has_its_verdict() {
    check("label", "tag", |t| Tag::parse(t).map(|t| t.as_str().to_owned()), None);
}

#[test]
fn every_target_has_its_verdict() {
    check("libvirt_uri", "target", |t| Target::parse(t).map(|t| t.to_string()), None);
}

#[test]
fn every_host_has_its_verdict() {
    check("host", "host", |t| HostName::parse(t).map(|h| h.as_str().to_owned()), None);
}

#[test]
fn every_ssh_user_has_its_verdict() {
    check("ssh_user", "ssh_user", |t| SshUser::parse(t).map(|u| u.as_str().to_owned()), None);
}

#[test]
fn every_port_has_its_verdict() {
    check("port", "port", |t| Port::parse(t).map(|p| p.to_string()), None);
}

#[test]
fn every_mac_has_its_verdict() {
    check("mac", "mac", |t| MacAddr::parse(t).map(|m| m.to_string()), None);
}

#[test]
fn every_uuid_has_its_verdict() {
    check("uuid", "uuid", |t| VmId::parse(t).map(|id| id.to_string()), None);
}

#[test]
fn every_vcpu_count_has_its_verdict() {
    check("vcpu", "vcpus", |t| VcpuCount::parse(t).map(|n| n.to_string()), None);
}

#[test]
fn every_memory_has_its_verdict() {
    // A plain number is written back, since that is what a document holds.
    check("memory", "memory", |t| parse_memory_with(t, MemoryUnit::Kib).map(|b| b.kib().to_string()), None);
}

#[test]
fn every_size_has_its_verdict() {
    check("size", "size", |t| parse_size(t).map(|b| format!("{b:#}")), None);
}

#[test]
fn every_bandwidth_has_its_verdict() {
    check("bandwidth", "bandwidth", |t| Bandwidth::parse(t).map(|b| format!("{b:#}")), None);
}

/// A tree like the one the paths speak of, below a temporary directory: they are checked against the syntax, then the
/// roots, and what is left against the tree, where one of the paths goes through a link.
#[cfg(target_os = "linux")]
#[test]
fn every_disk_path_has_its_verdict() {
    const ROOTS: [&str; 4] = ["/var/lib/libvirt/images", "/srv/vm images", "/srv/数据", "/mnt/a,b"];
    let tree = tempfile::tempdir().unwrap();
    let tree = tree.path().canonicalize().unwrap();
    let tree = tree.to_str().unwrap();
    let roots = ROOTS.map(|root| DiskRoot::parse(root).unwrap());
    for root in ROOTS {
        std::fs::create_dir_all(format!("{tree}{root}")).unwrap();
    }
    std::os::unix::fs::symlink("/etc", format!("{tree}/var/lib/libvirt/images/link-to-etc")).unwrap();

    let admit = |text: &str| {
        let path = DiskPath::parse(text)?;
        path.within(&roots)?;
        let planted = DiskPath::parse(&format!("{tree}{path}"))?;
        let root = ROOTS.iter().find(|root| text.starts_with(**root)).unwrap();
        planted.check_beneath(&DiskRoot::parse(&format!("{tree}{root}"))?)?;
        Ok(path.as_str().to_owned())
    };
    check("disk_path", "disk_path", admit, None);
}

#[test]
fn no_kind_of_input_is_left_out() {
    let tested = [
        "vm_name",
        "pool_name",
        "volume_name",
        "network_name",
        // Bridges are named on the command line alone: crates/kvm-cli/tests/inputs.rs.
        "bridge_name",
        "snapshot_name",
        "description",
        "label",
        "libvirt_uri",
        "host",
        "ssh_user",
        "port",
        "mac",
        "uuid",
        "vcpu",
        "memory",
        "size",
        "bandwidth",
        "disk_path",
    ];
    // These name cases of the SSH transport and of packages, which build them in their own tests.
    let elsewhere = ["remote_frame", "archive_member"];
    assert_eq!(kinds(), [&tested[..], &elsewhere].concat());
}
