//! The state of emulated TPMs, copied to clones, moved between two real hosts and restored out of backups: swtpm takes it,
//! and nothing is left.

use std::time::Duration;

use kvm_lab::{Kvmctl, LabHost, eventually, on_two_hosts};
use rustix::process::Signal;
use serde_json::Value;

/// The longest test.
const LIMIT: Duration = Duration::from_secs(540);
/// How long the copy of a TPM's state may take to be there.
const COPIED: Duration = Duration::from_secs(120);
/// Not in the state that something is in.
const INVALID_STATE: i32 = 5;
/// What was stored is not what is there.
const CORRUPT: i32 = 10;
/// A directory of the second host for backups.
const DIR: &str = "/var/lib/libvirt/backup";
const STORE: &str = "two:/var/lib/libvirt/backup";
/// Where libvirt keeps states.
const STATES: &str = "/var/lib/libvirt/swtpm";

/// A machine with a TPM that has started once, so that there is a state, and a disk that takes a while.
async fn sealed(kvmctl: &Kvmctl, host: &LabHost) -> String {
    let vm = host.unique("sealed");
    let disk = format!("48M,name={vm}.raw,format=raw");
    kvmctl.ok(&["vm", "create", &vm, "--disk", &disk, "--memory", "64M", "--network", "none", "--tpm"]).await;
    let file = format!("of=/var/lib/libvirt/images/{vm}.raw");
    host.exec(&["dd", "if=/dev/urandom", &file, "bs=1M", "count=40", "conv=notrunc,fsync"]).await.succeeded();
    kvmctl.ok(&["vm", "start", &vm]).await;
    vm
}

async fn id(kvmctl: &Kvmctl, place: &str) -> String {
    let shown = kvmctl.json(&["vm", "show", place]).await;
    shown["id"].as_str().unwrap_or_else(|| panic!("no id in {shown}")).to_owned()
}

/// All that lies where states do, directories too.
async fn states(host: &LabHost) -> Vec<String> {
    let printed = host.exec(&["find", STATES, "-mindepth", "1"]).await.succeeded();
    let mut lines: Vec<_> = printed.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn file(id: &str) -> String {
    format!("{STATES}/{id}/tpm2/tpm2-00.permall")
}

/// The bytes of a state, as numbers.
async fn bytes(host: &LabHost, id: &str) -> Vec<String> {
    bytes_of(host, &file(id)).await
}

async fn bytes_of(host: &LabHost, path: &str) -> Vec<String> {
    let printed = host.exec(&["od", "-An", "-v", "-w1", "-tu1", path]).await.succeeded();
    printed.lines().map(str::to_owned).collect()
}

/// In how many bytes two states differ. A TPM counts its starts; one that was made anew has other keys.
fn differing(one: &[String], other: &[String]) -> usize {
    one.len().abs_diff(other.len()) + one.iter().zip(other).filter(|(a, b)| a != b).count()
}

async fn undo(kvmctl: &Kvmctl) -> usize {
    let open = kvmctl.json(&["op", "list", "--open"]).await;
    let open = open.as_array().cloned().unwrap_or_default();
    for operation in &open {
        kvmctl.ok(&["op", "undo", Value::as_str(&operation["operation"]).unwrap_or_default()]).await;
    }
    open.len()
}

#[test]
fn a_clone_has_the_tpm_of_its_original_and_starts_with_it() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = (one.stock().await, two.stock().await);
        let were = (states(one).await, states(two).await);
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = sealed(&kvmctl, one).await;
        let copy = format!("{vm}-copy");
        let clone = ["clone", &vm, "two", "--name", &copy, "--copy-tpm"];
        let refused = kvmctl.run(&clone).await;
        assert!(refused.code == Some(INVALID_STATE) && refused.stderr.contains("--copy-tpm"), "{refused}");
        kvmctl.ok(&["vm", "power-off", &vm]).await;
        let original = id(&kvmctl, &vm).await;
        let state = bytes(one, &original).await;

        // Killed when the state is there, and taken back: nothing is left.
        let slowly = [&clone[..], &["--bandwidth", "16M"]].concat();
        for moment in ["on the way", "copied"] {
            let running = kvmctl.start(&slowly);
            match moment {
                "copied" => {
                    let look = async || (states(two).await != were.1).then_some(());
                    eventually(COPIED, "the state on the other host", look).await;
                }
                _ => {
                    let find = ["find", "/var/lib/libvirt/images", "-name", &format!("{copy}*")];
                    let look = async || (!two.exec(&find).await.succeeded().is_empty()).then_some(());
                    eventually(COPIED, "some of the image on the other host", look).await;
                }
            }
            running.signal(Signal::KILL);
            let ended = running.ended().await;
            assert_ne!(ended.code, Some(0), "{moment}: the moment was badly chosen");
            assert_eq!(undo(&kvmctl).await, 1, "{moment}");
            assert_eq!(states(two).await, were.1, "{moment}");
            two.assert_as(&before.1).await;
        }

        let planned = kvmctl.ok(&[&clone[..], &["--dry-run"]].concat()).await;
        assert!(planned.contains("the same TPM identity") && !planned.contains("EMPTY TPM"), "{planned}");
        let cloned = kvmctl.json(&clone).await;
        let id_there = cloned["id"].as_str().unwrap_or_else(|| panic!("no id in {cloned}")).to_owned();
        assert_eq!(bytes(two, &id_there).await, state, "the same bytes");
        // swtpm, another user, takes them; else the machine does not start.
        let there = format!("two/{copy}");
        kvmctl.ok(&["vm", "start", &there]).await;
        let owner = two.exec(&["stat", "-c", "%U %a", &file(&id_there)]).await.succeeded();
        assert_eq!(owner.trim(), "tss 600");
        kvmctl.ok(&["vm", "power-off", &there]).await;
        let after = bytes(two, &id_there).await;
        assert!(differing(&after, &state) < state.len() / 4, "it still is the original's TPM");
        // One that was not asked to have it is another TPM.
        let fresh = format!("{vm}-fresh");
        let told = kvmctl.run(&["clone", &vm, "two", "--name", &fresh, "--start"]).await;
        assert!(told.stderr.contains("EMPTY TPM"), "{told}");
        let fresh = format!("two/{fresh}");
        let other = bytes(two, &id(&kvmctl, &fresh).await).await;
        assert!(differing(&other, &state) > state.len() / 2, "{} of {}", differing(&other, &state), state.len());

        for place in [&format!("one/{vm}"), &there, &fresh] {
            kvmctl.ok(&["vm", "delete", place, "--power-off", "--delete-volumes", "--yes"]).await;
        }
        assert_eq!((states(one).await, states(two).await), were);
        one.assert_as(&before.0).await;
        two.assert_as(&before.1).await;
    });
}

#[test]
fn a_machine_moves_with_its_tpm() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = (one.stock().await, two.stock().await);
        let were = (states(one).await, states(two).await);
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = sealed(&kvmctl, one).await;
        let id = id(&kvmctl, &vm).await;
        kvmctl.ok(&["vm", "power-off", &vm]).await;
        let state = bytes(one, &id).await;
        let go = ["move", &vm, "two", "--yes"];
        let planned = kvmctl.ok(&[&go[..], &["--dry-run"]].concat()).await;
        assert!(planned.contains(&file(&id)), "{planned}");

        // Killed when the state is on both, and taken back: it is where it was.
        let running = kvmctl.start(&[&go[..], &["--bandwidth", "16M"]].concat());
        let look = async || (states(two).await != were.1).then_some(());
        eventually(COPIED, "the state on the other host", look).await;
        running.signal(Signal::KILL);
        assert_ne!(running.ended().await.code, Some(0), "the moment was badly chosen");
        assert_eq!(undo(&kvmctl).await, 1);
        assert_eq!(bytes(one, &id).await, state);
        assert_eq!(states(two).await, were.1);
        two.assert_as(&before.1).await;

        kvmctl.ok(&go).await;
        assert_eq!(bytes(two, &id).await, state, "the same bytes");
        assert_eq!(states(one).await, were.0, "nothing is left");
        one.assert_as(&before.0).await;
        let there = format!("two/{vm}");
        kvmctl.ok(&["vm", "start", &there]).await;
        // It runs, and goes back that way too.
        kvmctl.ok(&["move", &there, "one", "--power-off", "--yes"]).await;
        let after = bytes(one, &id).await;
        assert!(differing(&after, &state) < state.len() / 4, "it still is the same TPM");
        assert_eq!(states(two).await, were.1, "nothing is left");
        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
        assert_eq!(states(one).await, were.0);
        one.assert_as(&before.0).await;
        two.assert_as(&before.1).await;
    });
}

#[test]
fn a_machine_that_runs_is_backed_up_with_its_tpm_and_comes_back_with_it() {
    on_two_hosts(LIMIT, async |one, two| {
        two.exec(&["mkdir", "-p", DIR]).await.succeeded();
        let before = (one.stock().await, two.stock().await);
        let were = (states(one).await, states(two).await);
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = sealed(&kvmctl, one).await;
        let original = id(&kvmctl, &vm).await;
        let planned = kvmctl.ok(&["backup", "create", &vm, STORE, "--dry-run"]).await;
        assert!(planned.contains(&file(&original)) && planned.contains("hold    moment"), "{planned}");
        let made = kvmctl.json(&["backup", "create", &vm, STORE, "--sha256"]).await;
        let backup = made["backup"].as_str().unwrap_or_else(|| panic!("no backup in {made}")).to_owned();
        assert_eq!(kvmctl.json(&["vm", "show", &vm]).await["state"], "running");
        let verified = kvmctl.json(&["backup", "verify", STORE, &backup]).await;
        let files: Vec<_> = verified["files"].as_array().into_iter().flatten().map(|it| it["file"].clone()).collect();
        assert_eq!(
            (&verified["verdict"], files),
            (&"matches".into(), vec!["domain.xml".into(), "tpm.permall".into(), "vda.raw".into()])
        );
        let stored = format!("{DIR}/{backup}/tpm.permall");
        assert_eq!(two.exec(&["stat", "-c", "%U %a", &stored]).await.succeeded().trim(), "root 600");
        let state = bytes_of(two, &stored).await;
        assert!(differing(&bytes(one, &original).await, &state) < state.len() / 4, "it is this machine's TPM");

        // Its host has nothing of it any more.
        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
        assert_eq!(states(one).await, were.0);
        one.assert_as(&before.0).await;

        // Killed when the state is there, and taken back: nothing is left.
        let itself = ["restore", STORE, &vm, "--in-place", "--host", "two"];
        let running = kvmctl.start(&[&itself[..], &["--bandwidth", "16M"]].concat());
        let look = async || (states(two).await != were.1).then_some(());
        eventually(COPIED, "the state on the other host", look).await;
        running.signal(Signal::KILL);
        assert_ne!(running.ended().await.code, Some(0), "the moment was badly chosen");
        assert_eq!(undo(&kvmctl).await, 1);
        assert_eq!(states(two).await, were.1);
        two.assert_as(&before.1).await;

        // As itself on the other host.
        let planned = kvmctl.ok(&[&itself[..], &["--dry-run"]].concat()).await;
        assert!(planned.contains(&file(&original)) && !planned.contains("EMPTY TPM"), "{planned}");
        let done = kvmctl.json(&itself).await;
        assert_eq!((&done["id"], &done["warnings"]), (&original.clone().into(), &Value::Array(Vec::new())), "{done}");
        assert_eq!(bytes(two, &original).await, state, "the same bytes");
        let there = format!("two/{vm}");
        kvmctl.ok(&["vm", "start", &there]).await;
        let owner = two.exec(&["stat", "-c", "%U %a", &file(&original)]).await.succeeded();
        assert_eq!(owner.trim(), "tss 600");
        kvmctl.ok(&["vm", "power-off", &there]).await;
        let now = bytes(two, &original).await;
        assert!(differing(&now, &state) < state.len() / 4, "it still is the same TPM");
        // Set back where it is it keeps what it has.
        let planned = kvmctl.ok(&[&itself[..], &["--dry-run"]].concat()).await;
        assert!(planned.contains("what the machine has stays"), "{planned}");
        // Where that was lost it has the one of the backup again.
        two.exec(&["rm", &file(&original)]).await.succeeded();
        let done = kvmctl.json(&[&itself[..], &["--yes"]].concat()).await;
        assert_eq!(bytes(two, &original).await, state, "the same bytes");
        kvmctl.ok(&["vm", "start", &there]).await;
        kvmctl.ok(&["vm", "power-off", &there]).await;
        assert!(differing(&bytes(two, &original).await, &state) < state.len() / 4, "swtpm has taken it");
        for kept in done["kept"].as_array().into_iter().flatten() {
            let name = kept.as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
            kvmctl.ok(&["-c", "two", "vol", "delete", &format!("default/{name}"), "--yes"]).await;
        }

        // Another one has the state where that is asked for, and a TPM of its own where it is not.
        let (copy, fresh) = (format!("{vm}-copy"), format!("{vm}-fresh"));
        let restore = ["restore", STORE, &vm, "--host", "two", "--name"];
        let copied = kvmctl.json(&[&restore[..], &[&copy, "--copy-tpm"]].concat()).await;
        let copied = copied["id"].as_str().unwrap_or_else(|| panic!("no id in {copied}")).to_owned();
        assert_eq!(bytes(two, &copied).await, state, "the same bytes");
        let copy = format!("two/{copy}");
        kvmctl.ok(&["vm", "start", &copy]).await;
        let told = kvmctl.run(&[&restore[..], &[&fresh, "--start"]].concat()).await;
        assert!(told.stderr.contains("EMPTY TPM"), "{told}");
        let fresh = format!("two/{fresh}");
        let other = bytes(two, &id(&kvmctl, &fresh).await).await;
        assert!(differing(&other, &state) > state.len() / 2, "{} of {}", differing(&other, &state), state.len());
        for place in [&there, &copy, &fresh] {
            kvmctl.ok(&["vm", "delete", place, "--power-off", "--delete-volumes", "--yes"]).await;
        }
        assert_eq!(states(two).await, were.1);

        // A byte that flips in the store is found by both.
        let flip = "printf '\\377' | dd of=\"$0\" bs=1 seek=100 conv=notrunc 2>/dev/null";
        two.exec(&["sh", "-c", flip, &stored]).await.succeeded();
        for refused in [kvmctl.run(&["backup", "verify", STORE, &vm]).await, kvmctl.run(&itself).await] {
            assert!(refused.code == Some(CORRUPT), "{refused}");
        }
        assert_eq!((states(one).await, states(two).await), were);
        kvmctl.ok(&["backup", "delete", STORE, &backup, "--yes"]).await;
        assert_eq!(two.exec(&["find", DIR, "-mindepth", "1"]).await.succeeded(), "");
        one.assert_as(&before.0).await;
        two.assert_as(&before.1).await;
        two.exec(&["rm", "-r", DIR]).await.succeeded();
    });
}
