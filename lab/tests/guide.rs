//! The guides are run as they are written, by somebody who has two empty hosts.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use kvm_lab::{Kvmctl, LabHost, on_two_hosts};

/// The whole day: seven boots of a guest without hardware acceleration are in it.
const DAY: Duration = Duration::from_secs(540);

/// A directory for backups, which is there before anybody makes some.
const BACKUPS: &str = "/var/lib/libvirt/backup";

/// What a reader would type: the lines of the guide's `sh` blocks.
fn script(guide: &str) -> String {
    let mut lines = guide.lines();
    let mut script = String::from("set -eux\n");
    while lines.by_ref().any(|line| line == "```sh") {
        lines.by_ref().take_while(|line| *line != "```").for_each(|line| script = format!("{script}{line}\n"));
    }
    script
}

/// `hosts.toml` as the guide has it, with the names, keys and trust of the lab.
fn hosts(named: [(&str, &LabHost); 2]) -> String {
    let entry = |(alias, host): (&str, &LabHost)| {
        let lab = host.lab().dir().display();
        let target = format!("qemu+ssh://root@{}/system", host.address());
        format!("[{alias}]\ntarget = '{target}'\nidentity = '{lab}/id_ed25519'\nknown_hosts = '{lab}/known_hosts'\n")
    };
    named.map(entry).concat()
}

/// Runs a guide as somebody would who has two empty hosts, and leaves nothing there.
fn follow(guide: &str) {
    on_two_hosts(DAY, async |one, two| {
        let before = [one.stock().await, two.stock().await];
        two.exec(&["mkdir", "-p", BACKUPS]).await.succeeded();
        let kvmctl = Kvmctl::new([""; 0]);
        kvmctl.give("config/kvm-manager/hosts.toml", hosts([("kvm1", one), ("kvm2", two)]));
        // The guide's names are known to kvmctl by the file above, and to others by this.
        kvmctl.give(".curlrc", format!("connect-to = kvm1:8080:{}:8080\n", one.address()));
        let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guides").join(guide);
        let script = kvmctl.give("day.sh", script(&fs::read_to_string(guide).unwrap()));
        let image = one.lab().dir().join("guest/boot.qcow2");
        symlink(image, kvmctl.home().join("boot.qcow2")).unwrap();
        let run = format!("cd {} && exec bash {}", kvmctl.home().display(), script.display());
        let day = kvmctl.beside(["bash", "-c", &run]).within(DAY).run().await;
        assert_eq!(day.code, Some(0), "{day}");
        one.assert_as(&before[0]).await;
        two.assert_as(&before[1]).await;
        two.exec(&["rm", "-r", BACKUPS]).await.succeeded();
    });
}

#[test]
fn a_day_with_kvmctl() {
    follow("a-day-with-kvmctl.md");
}

#[test]
fn a_copy_a_replica_and_the_day_it_is_needed() {
    follow("clone-and-sync.md");
}

#[test]
fn backup_and_restore() {
    follow("backup-and-restore.md");
}
