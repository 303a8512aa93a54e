//! Names that others gave: those that nobody should choose are handled, those that nobody may speak are refused.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use kvm_core::inputs::{Row, Verdict, rows};
use kvm_core::text::{printable, printable_within};
use kvm_core::{Entropy as _, SeededEntropy};
use kvm_lab::{Kvmctl, on_a_host};
use serde_json::{Value, json};

/// Exit code of input that is refused.
const INVALID_INPUT: i32 = 2;

/// A machine without network and screen.
const SMALL: [&str; 6] = ["--memory", "64M", "--network", "none", "--graphics", "none"];

fn names(verdict: Verdict) -> impl Iterator<Item = Row> {
    rows("vm_name").into_iter().filter(move |row| row.verdict == verdict)
}

/// A machine as somebody else defined it.
fn document(name: &str, uuid: &str) -> String {
    let name = name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features><devices/></domain>"
    )
}

/// The machine with this uuid in a list.
fn with_id<'a>(list: &'a Value, uuid: &str) -> Option<&'a Value> {
    list.as_array().unwrap_or_else(|| panic!("no list: {list}")).iter().find(|vm| vm["id"] == uuid)
}

#[test]
fn a_machine_with_a_name_that_nobody_should_choose_is_listed_shown_started_and_deleted() {
    on_a_host(async |host| {
        let (before, kvmctl, entropy) = (host.stock().await, host.kvmctl(), SeededEntropy::new(4));
        let planted: Vec<(Row, String)> = names(Verdict::Adopt).map(|row| (row, entropy.uuid().to_string())).collect();
        for (row, uuid) in &planted {
            host.define_by_hand(&document(row.text().unwrap(), uuid)).await;
        }
        let mut findings = Findings::default();

        // All at once in one list, each with its exact name; and nothing of a name acts on a terminal.
        let list = kvmctl.json(&["vm", "list"]).await;
        let table = kvmctl.ok(&["vm", "list"]).await;
        findings.check(is_inert(&table), || format!("the table is not inert: {table:?}"));
        for (row, uuid) in &planted {
            let name = row.text().unwrap();
            let listed = with_id(&list, uuid).map(|vm| &vm["name"]);
            findings.check(listed == Some(&json!(name)), || format!("line {}: listed as {listed:?}", row.line));
            let shown = printable(name).to_string();
            findings.check(table.contains(shown.trim()), || format!("line {}: not in the table: {table}", row.line));
        }

        for (row, uuid) in &planted {
            let name = row.text().unwrap();
            let at = |verb: &'static str, more: &[&'static str]| [&["vm", verb], more, &["--", name]].concat();
            let mut expect = async |code: i32, command: Vec<&str>| {
                let ended = kvmctl.run(&command).await;
                findings.check(ended.code == Some(code), || format!("line {}: {ended}", row.line));
                ended.stdout
            };
            let shown = expect(0, [&["-o", "json"], &*at("show", &[])].concat()).await;
            let shown: Value = serde_json::from_str(&shown).unwrap_or_default();
            expect(0, at("start", &[])).await;
            let started = kvmctl.json(&["vm", "list", "--select", "state=running"]).await;
            // Nobody should choose it, and so nobody can.
            expect(INVALID_INPUT, at("create", &SMALL)).await;
            expect(0, at("delete", &["--yes", "--power-off"])).await;
            let rest = kvmctl.json(&["vm", "list"]).await;
            let is_right = (&shown["id"], &shown["name"]) == (&json!(uuid), &json!(name));
            findings.check(is_right, || format!("line {}: shown as {shown}", row.line));
            findings.check(with_id(&started, uuid).is_some(), || format!("line {}: does not run", row.line));
            findings.check(with_id(&rest, uuid).is_none(), || format!("line {}: is still there", row.line));
        }
        findings.none();
        host.assert_as(&before).await;
    });
}

#[test]
fn a_name_that_people_may_choose_is_taken_exactly_and_means_nothing_else() {
    on_a_host(async |host| {
        let (before, kvmctl, entropy) = (host.stock().await, host.kvmctl(), SeededEntropy::new(5));
        let plain = host.unique("plain");
        // Made with a name that leaves no room for the agent's channel, which would keep it from taking some of the names.
        let long = "名".repeat(20);
        kvmctl.ok(&[&["vm", "create", &long], &SMALL[..]].concat()).await;
        kvmctl.ok(&["vm", "rename", "--", &long, &plain]).await;
        let mut findings = Findings::default();
        for row in names(Verdict::Accept) {
            let (name, uuid) = (row.text().unwrap(), entropy.uuid().to_string());
            let new = ["--uuid", &uuid, "--disk", "1M", "--start-paused", "--", name];
            // With a disk that is named after it, and as a new name for what there is.
            for command in [
                &[&["vm", "create"], &SMALL[..], &new].concat()[..],
                &["vm", "delete", "--yes", "--delete-volumes", "--power-off", "--", name],
                &["vm", "rename", "--", &plain, name],
                &["vm", "rename", "--", name, &plain],
            ] {
                let ended = kvmctl.run(command).await;
                findings.check(ended.code == Some(0), || format!("line {}: {ended}", row.line));
                if command.contains(&"create") && ended.code == Some(0) {
                    let known_as = host.virsh(&["domname", &uuid]).await;
                    findings
                        .check(known_as.trim_end_matches('\n') == name, || format!("line {}: {known_as}", row.line));
                }
            }
        }
        findings.none();
        kvmctl.ok(&["vm", "delete", &plain, "--yes"]).await;
        host.assert_as(&before).await;
    });
}

#[test]
fn a_name_that_nobody_may_speak_is_refused_at_every_entry_and_nothing_is_written() {
    on_a_host(async |host| {
        let (kvmctl, vm) = (host.kvmctl(), host.unique("victim"));
        kvmctl.ok(&[&["vm", "create", &vm], &SMALL[..]].concat()).await;
        let before = host.stock().await;
        let operations = kvmctl.json(&["op", "list"]).await;
        let mut findings = Findings::default();
        for row in names(Verdict::Reject) {
            for (entry, command) in entries(&kvmctl, &vm, &row) {
                let ended = kvmctl.run(&command).await;
                let is_short = ended.stderr.len() < 2000;
                let is_error = ended.code == Some(INVALID_INPUT) && ended.stderr.starts_with("error: ");
                let finding = || format!("line {}, {entry}: {}", row.line, printable_within(&ended.to_string(), 1000));
                findings.check(is_error && is_short && is_inert(&ended.stderr), finding);
            }
        }
        findings.none();
        assert_eq!(kvmctl.json(&["op", "list"]).await, operations);
        host.assert_as(&before).await;
    });
}

/// Whether nothing in a text acts on a terminal but its line breaks.
fn is_inert(text: &str) -> bool {
    text.lines().all(|line| printable(line).to_string() == line)
}

/// What is wrong, of many things that are looked at.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn check(&mut self, is_right: bool, finding: impl FnOnce() -> String) {
        if !is_right {
            self.0.push(finding());
        }
    }

    #[track_caller]
    fn none(self) {
        assert!(self.0.is_empty(), "{} findings:\n{}", self.0.len(), self.0.join("\n"));
    }
}

/// Every way in which a new name can come in, as commands.
fn entries(kvmctl: &Kvmctl, vm: &str, row: &Row) -> Vec<(&'static str, Vec<OsString>)> {
    let command = |words: &[&OsStr]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let [vm_, create, rename, end, from_xml, file] =
        ["vm", "create", "rename", "--", "--from-xml", "--file"].map(OsStr::new);
    let mut entries = Vec::new();
    let name = OsStr::from_bytes(&row.value);
    // The system itself refuses an argument with a NUL or of a megabyte.
    if !row.value.contains(&0) && row.value.len() < 1 << 17 {
        entries.push(("the argument of create", command(&[vm_, create, end, name])));
        entries.push(("the argument of rename", command(&[vm_, rename, end, vm.as_ref(), name])));
    }
    // JSON is written by hand: what is no text has no form there.
    let spec = match row.text() {
        Some(text) => json!({ "name": text }).to_string().into_bytes(),
        None => [br#"{"name": ""#, &row.value[..], br#""}"#].concat(),
    };
    let spec = kvmctl.give("spec.yaml", spec);
    entries.push(("a specification", command(&[vm_, create, file, spec.as_ref()])));
    let (head, tail) = (document("", "5c0ffee5-0000-4000-8000-00000000000a"), "</name>");
    let at = head.find(tail).unwrap_or_else(|| panic!("no name in {head}"));
    let escaped = row.value.iter().flat_map(|byte| match byte {
        b'&' => b"&amp;".to_vec(),
        b'<' => b"&lt;".to_vec(),
        byte => vec![*byte],
    });
    let xml: Vec<u8> = head.bytes().take(at).chain(escaped).chain(head.bytes().skip(at)).collect();
    let xml = kvmctl.give("document.xml", xml);
    entries.push(("a document", command(&[vm_, create, from_xml, xml.as_ref()])));
    entries
}
