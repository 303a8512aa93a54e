//! The program as a process: killed, interrupted, followed, and read by somebody who stops reading.

use std::io::{BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

#[path = "support/program.rs"]
mod program;

/// A host on which each call takes so long that a test can act between two.
const SLOW: &str = "
latency: 200ms
pools:
  - {name: default, path: /var/lib/libvirt/images, capacity: 1TiB}
";

struct Sandbox {
    dir: tempfile::TempDir,
}

impl Sandbox {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("slow.yaml"), SLOW).unwrap();
        Self { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A command on the slow host.
    fn kvmctl(&self, args: &[&str]) -> Command {
        let mut command = program::kvmctl(self.path());
        command
            .args(["-c", &format!("mock://{}/slow.yaml", self.path().display())])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs it and gives standard output and standard error.
    fn run(&self, args: &[&str]) -> (ExitStatus, String, String) {
        let output = self.kvmctl(args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status, text(output.stdout), text(output.stderr))
    }

    /// Starts the creation of a VM with four disks and waits until the first volume is made. Seconds are left until
    /// the VM is.
    fn begin_to_create(&self) -> (Child, BufReader<std::process::ChildStderr>) {
        let disks = ["--disk=1G", "--disk=1G", "--disk=1G", "--disk=1G"];
        let args = [&["-v", "vm", "create", "web", "--network=none", "--start"], &disks[..]].concat();
        let mut child = self.kvmctl(&args).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let line = line_with(&mut stderr, "done");
        assert!(line.contains("create volume default/web.qcow2"), "{line}");
        (child, stderr)
    }

    fn volumes(&self) -> String {
        self.run(&["vol", "list", "default", "--columns", "name", "--no-header"]).1
    }

    fn vms(&self) -> String {
        self.run(&["vm", "list", "--columns", "name", "--no-header"]).1
    }
}

fn line_with(lines: &mut impl std::io::BufRead, word: &str) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the program ended before it said {word}");
        if line.contains(word) {
            return line;
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), signal).unwrap();
}

#[test]
fn a_killed_creation_is_mentioned_and_undone() {
    let sandbox = Sandbox::new();
    let (mut child, _stderr) = sandbox.begin_to_create();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(sandbox.volumes().contains("web.qcow2\n"));

    let (_, _, stderr) = sandbox.run(&["vm", "list"]);
    let note = stderr.lines().next().unwrap();
    assert!(note.starts_with("note: operation ") && note.contains("was interrupted"), "{stderr}");
    let id = note.split(' ').nth(2).unwrap();

    // The same again would meet the volume and, worse, lose its own when the first one is undone.
    let (status, _, stderr) = sandbox.run(&["vm", "create", "web", "--disk=1G", "--network=none"]);
    assert_eq!(status.code(), Some(5), "{stderr}");
    assert!(stderr.contains(&format!("kvmctl op undo {id}")), "{stderr}");

    let (status, _, stderr) = sandbox.run(&["op", "undo", id]);
    assert!(status.success(), "{stderr}");
    assert_eq!((sandbox.volumes(), sandbox.vms()), (String::new(), String::new()));
    assert_eq!(sandbox.run(&["vm", "list"]).2, "");
}

#[test]
fn a_killed_creation_is_resumed() {
    let sandbox = Sandbox::new();
    let (mut child, _stderr) = sandbox.begin_to_create();
    child.kill().unwrap();
    child.wait().unwrap();
    let (_, list, _) = sandbox.run(&["op", "list", "--columns", "operation,status", "--no-header"]);
    let id = list.strip_suffix("  interrupted\n").unwrap();
    let (status, _, stderr) = sandbox.run(&["op", "resume", id]);
    assert!(status.success(), "{stderr}");
    assert_eq!((sandbox.volumes().lines().count(), sandbox.vms().as_str()), (4, "web\n"));
}

#[test]
fn ctrl_c_takes_back_what_was_done() {
    let sandbox = Sandbox::new();
    let (mut child, mut stderr) = sandbox.begin_to_create();
    signal(&child, Signal::INT);
    let said = line_with(&mut stderr, "cancelling");
    assert!(said.contains("Ctrl-C again stops at once"), "{said}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("undone") && rest.contains("error: "), "{rest}");
    assert_eq!((sandbox.volumes(), sandbox.vms()), (String::new(), String::new()));
    assert_eq!(sandbox.run(&["op", "list", "--open"]).1, "no operations\n");
}

#[test]
fn a_second_ctrl_c_stops_at_once_and_says_how_to_clean_up() {
    let sandbox = Sandbox::new();
    let (mut child, mut stderr) = sandbox.begin_to_create();
    signal(&child, Signal::INT);
    line_with(&mut stderr, "cancelling");
    signal(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("kvmctl op undo ") && rest.contains("kvmctl op resume "), "{rest}");
    let (_, list, _) = sandbox.run(&["op", "list", "--open", "--columns", "status", "--no-header"]);
    assert_eq!(list, "interrupted\n");
}

#[test]
fn another_process_cancels_a_running_operation() {
    let sandbox = Sandbox::new();
    let mut child =
        sandbox.kvmctl(&["-v", "vm", "create", "web", "--disk", "1G", "--network", "none"]).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let line = line_with(&mut stderr, "operation ");
    let id = line.split([' ', ':']).nth(1).unwrap();
    let (status, _, said) = sandbox.run(&["op", "cancel", id]);
    // It may have been quicker; then it is whole, and that is said.
    if status.success() && child.wait().unwrap().code() == Some(130) {
        assert_eq!((sandbox.volumes(), sandbox.vms()), (String::new(), String::new()));
    } else {
        assert!(status.success() || said.contains("succeeded already"), "{said}");
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert_eq!(sandbox.vms(), "web\n");
    }
}

#[test]
fn events_of_another_process_are_followed() {
    let sandbox = Sandbox::new();
    let mut follower =
        sandbox.kvmctl(&["-v", "events", "-o", "json", "--count", "3", "--timeout", "60s"]).spawn().unwrap();
    let mut stderr = BufReader::new(follower.stderr.take().unwrap());
    line_with(&mut stderr, "following");
    let (status, _, said) = sandbox.run(&["vm", "create", "web", "--network", "none", "--start", "-q"]);
    assert!(status.success(), "{said}");
    let output = follower.wait_with_output().unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    let events: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let what: Vec<_> = events.iter().map(|event| (event["name"].as_str(), event["what"].as_str())).collect();
    assert_eq!(what[0], (Some("web"), Some("defined")));
    assert!(what[1..].contains(&(Some("web"), Some("started"))), "{what:?}");
}

#[test]
fn ctrl_c_ends_what_only_waits() {
    let sandbox = Sandbox::new();
    let mut follower = sandbox.kvmctl(&["-v", "events"]).spawn().unwrap();
    let mut stderr = BufReader::new(follower.stderr.take().unwrap());
    line_with(&mut stderr, "following");
    signal(&follower, Signal::INT);
    assert_eq!(follower.wait().unwrap().code(), Some(130));
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let sandbox = Sandbox::new();
    let mut child = sandbox.kvmctl(&["vm", "list"]).spawn().unwrap();
    // Closed before anything is written: the host is slow.
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn the_log_has_a_line_for_each_step_with_who_what_and_result() {
    let sandbox = Sandbox::new();
    let file = sandbox.path().join("audit.log");
    let log = ["--log-format", "json", "--log-file", file.to_str().unwrap()];
    let (status, _, said) = sandbox.run(&[&log[..], &["vm", "create", "web", "--network", "none"]].concat());
    assert!(status.success(), "{said}");
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let audit: Vec<_> = lines.iter().filter(|line| line["target"] == "kvm::audit").collect();
    let results: Vec<_> = audit.iter().map(|line| line["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["intent", "done", "succeeded"], "{text}");
    for line in audit {
        assert_eq!(line["what"], "vm.create", "{line}");
        assert!(line["who"].is_string() && line["object"].is_string() && line["host"].is_string(), "{line}");
    }
}

#[test]
fn completion_knows_the_names_of_what_is_there() {
    let sandbox = Sandbox::new();
    for (words, names) in [
        (["vm", "show", "web"], &["web-01", "web-02", "web-03"][..]),
        (["pool", "autostart", ""], &["archive", "default", "iso"]),
        (["net", "delete", "d"], &["default", "dmz"]),
    ] {
        let output = sandbox
            .kvmctl(&["--", "kvmctl", "-c", "mock:///demo"])
            .args(words)
            .env("KVMCTL_COMPLETE", "bash")
            .env("_CLAP_COMPLETE_INDEX", "5")
            .env("_CLAP_IFS", "\n")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let found: Vec<_> = text.lines().filter(|line| !line.starts_with('-')).collect();
        assert_eq!(found, names, "{words:?}");
    }
}

#[test]
fn kvm_clone_completes_its_own_commands_and_the_hosts_that_have_a_name() {
    let sandbox = Sandbox::new();
    assert!(sandbox.run(&["host", "add", "lab1", "mock:///demo"]).0.success());
    for (words, candidates) in [(["clone", "l"], &["lab1"][..]), (["config", "s"], &["show", "set"])] {
        let output = program::kvm_clone(sandbox.path())
            .args(["--", "kvm-clone"])
            .args(words)
            .env("KVM_CLONE_COMPLETE", "bash")
            .env("_CLAP_COMPLETE_INDEX", "2")
            .env("_CLAP_IFS", "\n")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let found: Vec<_> = text.lines().filter(|line| !line.starts_with('-')).collect();
        assert_eq!(found, candidates, "{words:?}");
    }
}

#[test]
fn a_clone_that_is_not_done_in_time_leaves_nothing() {
    let sandbox = Sandbox::new();
    let text = std::fs::read_to_string(sandbox.path().join("slow.yaml")).unwrap();
    let vm = "machines: [{name: web, state: 'off', memory: 256MiB}]\n";
    std::fs::write(sandbox.path().join("slow.yaml"), text + vm).unwrap();
    let host = format!("mock://{}/slow.yaml", sandbox.path().display());
    let clone = |limit: &str| {
        let words = ["clone", &host, &host, "web", "--timeout", limit, "-o", "json", "-q"];
        program::kvm_clone(sandbox.path()).args(words).stdin(Stdio::null()).output().unwrap()
    };
    // A single one of its questions takes 200 ms, and it has more than five.
    let output = clone("1");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(8), "{said}");
    let error: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(
        (error["error"]["kind"].as_str(), error["error"]["operation"].as_str()),
        (Some("timeout"), Some("timeout"))
    );
    assert_eq!(sandbox.vms(), "web\n");
    assert_eq!(sandbox.run(&["op", "list", "--open"]).1, "no operations\n");
    let output = clone("10m");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(sandbox.vms(), "web\nweb-clone\n");
}

#[test]
fn kvm_clone_logs_where_it_is_told_to() {
    let sandbox = Sandbox::new();
    let run = |words: &[&str]| {
        let output = program::kvm_clone(sandbox.path()).args(words).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{words:?}: {said}");
        said
    };
    let clone = ["clone", "mock:///demo", "mock:///demo", "web-03", "-n"];
    assert_eq!(run(&[&clone[..], &["silent", "-q"]].concat()), "");
    let said = run(&[&clone[..], &["loud", "-q", "--log-level", "INFO"]].concat());
    assert!(said.contains("kvm::audit") && said.contains("clone.vm"), "{said}");
    let file = sandbox.path().join("clone.log");
    run(&["config", "set", "logging.file", file.to_str().unwrap()]);
    run(&["config", "set", "logging.format", "json"]);
    assert_eq!(run(&[&clone[..], &["filed", "-q"]].concat()), "");
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["target"] == "kvm::audit" && line["result"] == "succeeded"), "{text}");
}

#[test]
fn kvm_clone_tells_of_copies_alone_in_every_form() {
    let sandbox = Sandbox::new();
    let run = |words: &[&str]| {
        let output = program::kvm_clone(sandbox.path()).args(words).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run(&["status", "--all"]), "no operations\n");
    let delete = ["-c", "mock:///demo", "vm", "delete", "router-test", "--yes"];
    assert!(program::kvmctl(sandbox.path()).args(delete).output().unwrap().status.success());
    run(&["clone", "mock:///demo", "mock:///demo", "web-03", "-n", "twin", "-q"]);
    let listed: serde_json::Value = serde_json::from_str(&run(&["status", "-o", "json"])).unwrap();
    let kinds: Vec<_> =
        listed.as_array().unwrap().iter().map(|operation| operation["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["clone.vm"]);
    let id = listed[0]["operation"].as_str().unwrap();
    let yaml = run(&["status", "-o", "yaml"]);
    assert!(yaml.starts_with("- operation: ") && yaml.contains("\n  kind: clone.vm\n"), "{yaml}");
    assert!(run(&["status"]).contains("clone web-03 to twin on mock:///demo"));
    let shown: serde_json::Value = serde_json::from_str(&run(&["status", id, "-o", "json"])).unwrap();
    assert_eq!((&shown["operation"], &shown["status"]), (&id.into(), &"succeeded".into()));
    let followed = run(&["status", id, "--follow", "-o", "json"]);
    let last: serde_json::Value = serde_json::from_str(followed.lines().last().unwrap()).unwrap();
    assert_eq!(last["status"], "succeeded");
    assert_eq!(run(&["status", "--active"]), "no operations\n");
}

#[test]
fn man_pages_are_written_for_every_command_of_both_programs() {
    let sandbox = Sandbox::new();
    let dir = sandbox.path().join("man");
    let (status, _, said) = sandbox.run(&["man", dir.to_str().unwrap()]);
    assert!(status.success(), "{said}");
    for page in ["kvmctl.1", "kvmctl-vm.1", "kvmctl-vm-create.1", "kvmctl-op-undo.1", "kvm-clone.1", "kvm-clone-sync.1"]
    {
        let text = std::fs::read_to_string(dir.join(page)).unwrap();
        assert!(text.contains(".TH"), "{page}");
    }
}
