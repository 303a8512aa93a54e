//! Every example runs on the simulated host and says what it should.

#![expect(clippy::disallowed_methods, reason = "runs the examples as a user would")]

use std::process::Command;

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn list_shows_the_machines_of_the_demo_host() {
    let output = run(env!("CARGO_BIN_EXE_list"), &[]);
    assert!(output.lines().any(|line| line.starts_with("db.prod") && line.contains("running")), "{output}");
}

#[test]
fn create_plans_creates_waits_and_deletes() {
    let output = run(env!("CARGO_BIN_EXE_create"), &["mock:///demo", "example"]);
    assert!(output.contains("example is running") && output.ends_with("example is gone\n"), "{output}");
}

#[test]
fn follow_ends_after_as_many_events_as_asked_for() {
    let output = run(env!("CARGO_BIN_EXE_follow"), &["mock:///demo", "2"]);
    assert_eq!(output.lines().count(), 2, "{output}");
    assert!(output.contains("suspended") && output.contains("resumed"), "{output}");
}

#[test]
fn add_disk_says_what_it_adds_and_stores_it() {
    let output = run(env!("CARGO_BIN_EXE_add_disk"), &[]);
    assert!(output.starts_with("devices.disk[vd") && output.contains("]: added type=file"), "{output}");
    // libvirt itself takes the document.
    let output = run(env!("CARGO_BIN_EXE_add_disk"), &["test:///default", "test", "/more.qcow2"]);
    let (added, stored) = output.split_once('\n').unwrap();
    assert!(added.starts_with("devices.disk[vdb]: added") && added.contains("source.file=/more.qcow2"), "{output}");
    assert!(stored.starts_with("stored: 2 disks"), "{output}");
}

#[test]
fn clone_says_what_it_does_and_what_came_of_it() {
    let output = run(env!("CARGO_BIN_EXE_clone"), &[]);
    assert!(output.contains("define ") && output.contains("-clone is a copy of "), "{output}");
}

#[test]
fn examples_are_short() {
    for text in [
        include_str!("../src/lib.rs"),
        include_str!("../src/bin/list.rs"),
        include_str!("../src/bin/create.rs"),
        include_str!("../src/bin/clone.rs"),
        include_str!("../src/bin/follow.rs"),
        include_str!("../src/bin/add_disk.rs"),
        include_str!("embedder.rs"),
    ] {
        assert!(text.lines().count() < 60);
    }
}
