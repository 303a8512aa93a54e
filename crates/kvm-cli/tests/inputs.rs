//! Every hostile input through every door of the command line: flags, specification files, XML files.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Stdio;

use clap::Parser as _;
use kvm_cli::{Address, Args, Settings, copy};
use kvm_core::inputs::{Row, Verdict, rows};
use kvm_core::{ConnectOptions, DnsName};

#[path = "support/program.rs"]
mod program;

/// Reads a command line that ends in `flag` with the input behind it.
fn parse(words: &[&str], flag: &str, row: &Row) -> Result<Args, clap::Error> {
    let mut last = OsString::from(flag);
    last.push(OsStr::from_bytes(&row.value));
    let words = std::iter::once(OsString::from("kvmctl")).chain(words.iter().map(OsString::from));
    Args::try_parse_from(words.chain([last]))
}

/// The same for a command line of `kvm-clone`.
fn parse_copy(words: &[&str], flag: &str, row: &Row) -> Result<copy::Args, clap::Error> {
    let mut last = OsString::from(flag);
    last.push(OsStr::from_bytes(&row.value));
    let words = std::iter::once(OsString::from("kvm-clone")).chain(words.iter().map(OsString::from));
    copy::Args::try_parse_from(words.chain([last]))
}

#[test]
fn the_command_line_of_kvm_clone_keeps_to_the_verdicts() {
    for (kind, words, flag) in [
        ("vm_name", &["clone", "a", "b", "web"][..], "--new-name="),
        ("vm_name", &["sync", "a", "b", "web"], "--target-name="),
        ("port", &["clone", "a", "b", "web"], "--ssh-port="),
        ("port", &["list", "a"], "--ssh-port="),
        ("bandwidth", &["sync", "a", "b", "web"], "--bandwidth-limit="),
    ] {
        let all = rows(kind);
        assert!(!all.is_empty(), "{kind}");
        for row in all {
            let parsed = parse_copy(words, flag, &row);
            assert_eq!(parsed.is_ok(), row.verdict == Verdict::Accept, "{words:?} line {} ({})", row.line, row.why);
        }
    }
    for row in rows("vm_name") {
        for words in [["clone", "a", "b", "--"], ["sync", "a", "b", "--"]] {
            let parsed = parse_copy(&words, "", &row);
            assert_eq!(parsed.is_ok(), row.verdict != Verdict::Reject, "{words:?} line {} ({})", row.line, row.why);
        }
    }
}

#[test]
fn no_hostile_host_is_logged_in_at() {
    let home = tempfile::tempdir().unwrap();
    for row in rows("libvirt_uri").into_iter().filter(|row| row.verdict == Verdict::Reject && !row.value.contains(&0)) {
        let place = OsStr::from_bytes(&row.value);
        for words in [["clone", "--timeout=5", "--"], ["sync", "--timeout=5", "--"]] {
            let mut command = program::kvm_clone(home.path());
            command.args(words).args([place, OsStr::new("mock:///empty"), OsStr::new("web")]);
            let output = command.stdin(Stdio::null()).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            // Refused for what it says, not because nobody answers.
            assert_eq!(output.status.code(), Some(2), "line {} ({}): {said}", row.line, row.why);
        }
    }
}

#[track_caller]
fn check(kind: &str, words: &[&str], flag: &str) {
    for row in rows(kind) {
        let parsed = parse(words, flag, &row);
        let expected = row.verdict == Verdict::Accept;
        assert_eq!(
            parsed.is_ok(),
            expected,
            "line {} ({}): {:?}",
            row.line,
            row.why,
            parsed.err().map(|e| e.to_string())
        );
    }
}

#[test]
fn flags_that_name_something_new_refuse_what_is_not_accepted() {
    check("vm_name", &["vm", "create", "--"], "");
    check("vm_name", &["vm", "rename", "web", "--"], "");
    check("vm_name", &["vm", "import", "web.xml"], "--name=");
    check("snapshot_name", &["snap", "create", "web", "--"], "");
    check("snapshot_name", &["checkpoint", "create", "web", "--"], "");
}

#[test]
fn flags_that_name_a_snapshot_take_whatever_may_exist() {
    for noun in ["snap", "checkpoint"] {
        for verb in if noun == "snap" { &["show", "revert", "delete"][..] } else { &["delete"] } {
            for row in rows("snapshot_name") {
                let parsed = parse(&[noun, verb, "web", "--"], "", &row);
                assert_eq!(
                    parsed.is_ok(),
                    row.verdict != Verdict::Reject,
                    "{noun} {verb}, line {} ({})",
                    row.line,
                    row.why
                );
            }
        }
    }
}

#[test]
fn flags_that_name_a_vm_take_whatever_may_exist() {
    for row in rows("vm_name") {
        let parsed = parse(&["vm", "show", "--"], "", &row);
        match row.verdict {
            Verdict::Accept | Verdict::Adopt => assert!(parsed.is_ok(), "line {}: {:?}", row.line, parsed.err()),
            // One slash stands between a host and its VM.
            Verdict::Reject if row.value.contains(&b'/') => {}
            Verdict::Reject => assert!(parsed.is_err(), "line {}", row.line),
        }
    }
}

#[test]
fn flags_that_describe_a_vm_keep_to_the_verdicts() {
    let create = ["vm", "create", "web"];
    check("description", &create, "--description=");
    check("memory", &create, "--memory=");
    check("vcpu", &create, "--vcpus=");
    check("size", &create, "--disk=");
    check("uuid", &create, "--uuid=");
    check("mac", &create, "--network=user,mac=");
    check("label", &create, "--tag=");
    check("label", &["vm", "tag", "web"], "--add=");
    check("description", &["vm", "describe", "web"], "--description=");
    check("size", &["vol", "create", "default/a", "--"], "");
    check("pool_name", &["pool", "create", "--target=/srv/x", "--"], "");
}

/// Whether a name of `kind` that stands behind a pool's is taken where something new is named, and where it is there.
#[track_caller]
fn check_volume(new: &[&str], existing: &[&str]) {
    for row in rows("volume_name") {
        let name = |words: &[&str]| {
            let mut last = OsString::from("default/");
            last.push(OsStr::from_bytes(&row.value));
            let words = std::iter::once(OsString::from("kvmctl")).chain(words.iter().map(OsString::from));
            Args::try_parse_from(words.chain([last])).is_ok()
        };
        if !new.is_empty() {
            assert_eq!(name(new), row.verdict == Verdict::Accept, "line {} ({})", row.line, row.why);
        }
        if !existing.is_empty() {
            assert_eq!(name(existing), row.verdict != Verdict::Reject, "line {} ({})", row.line, row.why);
        }
    }
}

#[test]
fn volumes_keep_to_the_verdicts() {
    check_volume(&["vol", "create", "--backing=default/a", "--"], &["vol", "show", "--"]);
    check_volume(&["vol", "clone", "default/a", "--"], &["vol", "wipe", "--"]);
    check_volume(&["vol", "convert", "--format=raw", "default/a", "--"], &["vol", "delete", "--"]);
}

#[test]
fn an_image_below_keeps_to_the_verdicts() {
    let home = tempfile::tempdir().unwrap();
    // What does not begin with a slash is read as a volume.
    for row in rows("disk_path").into_iter().filter(|row| row.value.starts_with(b"/") && !row.value.contains(&0)) {
        let mut below = OsString::from("--backing=");
        below.push(OsStr::from_bytes(&row.value));
        if row.verdict == Verdict::Accept {
            assert!(
                parse(&["vol", "create", "default/a", "1G"], "--backing=", &row).is_ok(),
                "line {} ({})",
                row.line,
                row.why
            );
        } else {
            let args = ["vol", "create", "default/a", "1G"].map(OsStr::new);
            let code = exit_code_on("mock:///demo", home.path(), &[&args[..], &[&below]].concat());
            assert_ne!(code, 0, "line {} ({})", row.line, row.why);
        }
    }
}

#[test]
fn the_directory_of_a_pool_is_a_plain_path_outside_of_the_system() {
    for row in rows("disk_path").into_iter().filter(|row| !row.value.contains(&0) && row.verdict != Verdict::Accept) {
        let text = String::from_utf8_lossy(&row.value);
        // Of the others only the allow-list of images has something to say.
        let is_odd = text.contains("/..") || text.contains("//") || text.chars().any(char::is_control);
        if is_odd || !text.starts_with('/') || text.starts_with("/etc/") || text.starts_with("/proc/") {
            let pool = parse(&["pool", "create", "a"], "--target=", &row);
            assert!(pool.is_err(), "line {} ({})", row.line, row.why);
        }
    }
}

#[test]
fn networks_are_named_as_they_exist() {
    for row in rows("network_name") {
        let parsed = parse(&["vm", "create", "web"], "--network=network=", &row);
        assert_eq!(parsed.is_ok(), row.verdict != Verdict::Reject, "line {} ({})", row.line, row.why);
    }
}

#[test]
fn flags_that_describe_a_network_keep_to_the_verdicts() {
    check("network_name", &["net", "create", "--cidr=10.20.0.0/24", "--"], "");
    check("bridge_name", &["net", "create", "a", "--mode=bridge"], "--bridge=");
    check("bridge_name", &["net", "create", "a", "--mode=macvtap"], "--uplink=");
    check("mac", &["net", "lease", "add", "a", "--ip=10.20.0.5"], "--mac=");
    check("mac", &["net", "lease", "remove", "a"], "--mac=");
    check("mac", &["net", "forward", "add", "a", "80", "web"], "--mac=");
    check("port", &["net", "forward", "add", "--", "a", "80", "web"], "");
    check("port", &["net", "forward", "remove", "--", "a"], "");
}

#[test]
fn the_name_inside_a_guest_is_a_host_name_and_no_address() {
    for row in rows("host") {
        let is_name = row.text().is_some_and(|text| DnsName::parse(text).is_ok());
        assert!(!is_name || row.verdict == Verdict::Accept, "line {} ({})", row.line, row.why);
        for words in [
            &["vm", "sysprep", "web"][..],
            &["clone", "web", "--sysprep"],
            &["restore", "/srv/a", "web", "--sysprep", "--name=a"],
        ] {
            assert_eq!(parse(words, "--hostname=", &row).is_ok(), is_name, "{words:?} line {} ({})", row.line, row.why);
        }
    }
    for row in rows("vm_name").into_iter().filter(|row| row.verdict == Verdict::Reject && !row.value.contains(&b'/')) {
        assert!(parse(&["vm", "sysprep", "--"], "", &row).is_err(), "line {} ({})", row.line, row.why);
    }
}

#[test]
fn flags_that_name_a_network_take_whatever_may_exist() {
    let verbs: [&[&str]; 4] = [
        &["net", "forward", "list", "--"],
        &["net", "lease", "list", "--"],
        &["net", "dns", "list", "--"],
        &["net", "show", "--"],
    ];
    for (row, words) in rows("network_name").iter().flat_map(|row| verbs.map(|words| (row, words))) {
        let is_taken = parse(words, "", row).is_ok();
        assert_eq!(is_taken, row.verdict != Verdict::Reject, "{words:?} line {} ({})", row.line, row.why);
    }
}

#[test]
fn targets_keep_to_the_verdicts() {
    for row in rows("libvirt_uri") {
        let target = row.text().map(|text| Address::parse(text, &ConnectOptions::default(), &Settings::default()));
        let accepted = target.is_some_and(|target| target.is_ok());
        assert_eq!(accepted, row.verdict == Verdict::Accept, "line {} ({})", row.line, row.why);
    }
}

/// Runs the program on an empty simulated host and gives its exit code.
fn exit_code(home: &Path, args: &[&OsStr]) -> i32 {
    exit_code_on("mock:///empty", home, args)
}

fn exit_code_on(target: &str, home: &Path, args: &[&OsStr]) -> i32 {
    let mut command = program::kvmctl(home);
    command.args(["-c", target]).args(args);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    status.code().unwrap()
}

/// Asks for a dry run with a file in which the name stands, for every name.
fn check_file(verb: [&str; 3], text: impl Fn(&str) -> String) {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("vm");
    for row in rows("vm_name") {
        match row.text() {
            Some(name) => std::fs::write(&file, text(name)).unwrap(),
            None => std::fs::write(&file, &row.value).unwrap(),
        }
        let mut args: Vec<&OsStr> = verb.iter().filter(|word| !word.is_empty()).map(OsStr::new).collect();
        args.extend([file.as_os_str(), OsStr::new("--dry-run")]);
        let expected = if row.verdict == Verdict::Accept { 0 } else { 2 };
        assert_eq!(exit_code(home.path(), &args), expected, "line {} ({})", row.line, row.why);
    }
}

#[test]
fn specification_files_keep_to_the_verdicts() {
    check_file(["vm", "create", "--file"], |name| serde_json::json!({"name": name, "nics": []}).to_string());
}

#[test]
fn xml_files_keep_to_the_verdicts() {
    check_file(["vm", "import", ""], |name| {
        let name = name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        format!(
            "<domain type='kvm'><name>{name}</name><memory unit='MiB'>512</memory><vcpu>1</vcpu>\
             <os><type arch='x86_64'>hvm</type></os></domain>"
        )
    });
}

#[test]
fn no_disk_path_outside_the_allowed_places_is_planned() {
    let home = tempfile::tempdir().unwrap();
    for row in rows("disk_path") {
        let mut disk = OsString::from("--kernel=");
        disk.push(OsStr::from_bytes(&row.value));
        if row.value.contains(&0) {
            continue; // No argument of a program can hold it.
        }
        let args = ["vm", "create", "x", "--network=none", "--dry-run"].map(OsStr::new);
        let code = exit_code(home.path(), &[&args[..], &[&disk]].concat());
        match row.verdict {
            // Taken as a path; whether there is such a file is another question.
            Verdict::Accept => {
                assert!(parse(&["vm", "create", "x"], "--kernel=", &row).is_ok(), "line {} ({})", row.line, row.why);
            }
            _ => assert_ne!(code, 0, "line {} ({})", row.line, row.why),
        }
    }
}
