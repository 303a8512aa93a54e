//! Hosts over SSH: one login and one file of known hosts for libvirt, programs and files; trust; what comes back after a
//! fault.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use kvm_core::{ErrorKind, Event, EventStream, Hypervisor as _, Scope, Target, VmFilter};
use kvm_lab::{Kvmctl, LabHost, eventually, on_a_host, within};
use kvm_libvirt::{Config, Keepalive, Libvirt};
use kvm_ssh::{Timeouts, relay_libvirt};
use serde_json::Value;

const INVALID_INPUT: i32 = 2;
const NOT_FOUND: i32 = 3;
const DENIED: i32 = 6;

/// After a fault is mended, the host is used again within this time.
const BACK: Duration = Duration::from_secs(30);

fn known(host: &LabHost) -> Kvmctl {
    host.kvmctl_over_ssh(&host.lab().dir().join("known_hosts"))
}

#[test]
fn files_of_the_host_are_checked_through_the_same_login() {
    on_a_host(async |host| {
        let (kvmctl, vm) = (known(host), host.unique("paths"));
        let place = format!("/run/{vm}");
        std::fs::create_dir(host.file(&place)).unwrap();
        std::fs::write(host.file(format!("{place}/there.iso")), "").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", host.file(format!("{place}/link.iso"))).unwrap();
        kvmctl.give("config/kvm-manager/config.toml", format!("[policy]\nallowed_paths = ['{place}']\n"));
        let create = |iso: &str| {
            let iso = format!("{place}/{iso}");
            ["vm", "create", &vm, "--memory", "64M", "--network", "none", "--dry-run", "--iso", &iso]
                .map(ToOwned::to_owned)
        };
        kvmctl.ok(&create("there.iso")).await;
        let ended = kvmctl.run(&create("missing.iso")).await;
        assert_eq!(ended.code, Some(NOT_FOUND), "{ended}");
        let ended = kvmctl.run(&create("link.iso")).await;
        assert_eq!(ended.code, Some(INVALID_INPUT), "{ended}");
        // What is looked at is the host's, not this machine's.
        assert!(!std::path::Path::new(&place).exists());
    });
}

#[test]
fn the_doctor_examines_the_host_at_the_other_end() {
    on_a_host(async |host| {
        let ended = known(host).run(&["doctor", "-o", "json"]).await;
        let findings: Value = serde_json::from_str(&ended.stdout).unwrap();
        let of = |check: &str| {
            let found = findings.as_array().unwrap().iter().find(|finding| finding["check"] == check);
            found.unwrap_or_else(|| panic!("no {check} in {findings}"))["status"].clone()
        };
        assert_eq!(of("libvirt"), "ok");
        // The lab hides /dev/kvm of its hosts, which only somebody sees who looks there.
        assert!(of("kvm") == "warn" || of("kvm") == "fail", "{findings}");
        assert_ne!(of("cpu"), "skipped");
    });
}

#[test]
fn the_doctor_names_the_directory_that_keeps_a_vm_from_its_disk() {
    on_a_host(async |host| {
        let (kvmctl, vm) = (known(host), host.unique("stopped"));
        let place = format!("/run/{vm}");
        let set_mode =
            |mode| std::fs::set_permissions(host.file(&place), std::fs::Permissions::from_mode(mode)).unwrap();
        std::fs::create_dir(host.file(&place)).unwrap();
        kvmctl.ok(&["pool", "create", &vm, "--target", &format!("{place}/images")]).await;
        let disk = format!("8M,pool={vm}");
        kvmctl.ok(&["vm", "create", &vm, "--memory", "64M", "--network", "none", "--disk", &disk]).await;
        let disks = async || {
            let ended = kvmctl.run(&["doctor", &vm, "-o", "json"]).await;
            let findings: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
            let mut disks: Vec<_> = findings.into_iter().filter(|finding| finding["check"] == "disks").collect();
            assert_eq!(disks.len(), 1, "{disks:?}");
            disks.remove(0)
        };

        set_mode(0o700);
        let stopped = disks().await;
        assert_eq!(stopped["status"], "fail", "{stopped}");
        let said = |key: &str| stopped[key].as_str().unwrap_or_default();
        assert!(said("what").starts_with(&format!("{place} does not let libvirt-qemu through")), "{stopped}");
        assert!(said("why").starts_with("directory with mode 0700, owner root, group root\n"), "{stopped}");
        assert!(said("why").contains(&format!("disk vda of VM {vm}")), "{stopped}");
        assert!(said("fix").starts_with(&format!("sudo chmod a+x {place}\n")), "{stopped}");
        kvmctl.fails(&["vm", "start", &vm, "--paused"], DENIED, &place, &format!("sudo chmod a+x {place}")).await;

        set_mode(0o711);
        let passed = disks().await;
        assert_eq!(passed["status"], "ok", "{passed}");
        kvmctl.ok(&["vm", "start", &vm, "--paused"]).await;

        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
        kvmctl.ok(&["pool", "stop", &vm]).await;
        kvmctl.ok(&["pool", "delete", &vm, "--yes"]).await;
        std::fs::remove_dir_all(host.file(&place)).unwrap();
    });
}

#[test]
fn a_host_is_trusted_by_its_fingerprint_and_by_no_other() {
    on_a_host(async |host| {
        let known_hosts = host.kvmctl().home().join("trust-known-hosts");
        let kvmctl = host.kvmctl_over_ssh(&known_hosts);
        let place = format!("root@{}", host.address());
        let own = host.exec(&["ssh-keygen", "-lf", "/etc/ssh/lab_host_key"]).await.succeeded();
        let fingerprint = own.split(' ').nth(1).unwrap();
        let other = format!("SHA256:{}", "A".repeat(43));

        kvmctl.fails(&["host", "trust", &place], DENIED, "confirmation", "--fingerprint").await;
        kvmctl.fails(&["host", "trust", &place, "--yes"], DENIED, "confirmation", fingerprint).await;
        kvmctl.fails(&["host", "trust", &place, "--fingerprint", &other], DENIED, &other, fingerprint).await;
        assert!(!known_hosts.exists(), "nothing is written before somebody said yes");
        let trusted = kvmctl.json(&["host", "trust", &place, "--fingerprint", fingerprint]).await;
        assert_eq!(
            (&trusted["added"], &trusted["algorithm"]),
            (&Value::Bool(true), &"ssh-ed25519".into()),
            "{trusted}"
        );
        kvmctl.ok(&["vm", "list"]).await;
        let again = kvmctl.json(&["host", "trust", &place]).await;
        assert_eq!((&again["added"], &again["fingerprint"]), (&Value::Bool(false), &fingerprint.into()), "{again}");
        assert_eq!(std::fs::read_to_string(&known_hosts).unwrap().lines().count(), 1);
    });
}

#[test]
fn the_users_ssh_configuration_says_where_an_alias_leads() {
    on_a_host(async |host| {
        let kvmctl = Kvmctl::new(["-c", "qemu+ssh://there/system"]);
        let lab = host.lab().dir().display();
        kvmctl.give(
            ".ssh/config",
            format!(
                "Host there\n HostName {}\n User root\n IdentityFile {lab}/id_ed25519\n UserKnownHostsFile {lab}/known_hosts\n",
                host.address()
            ),
        );
        kvmctl.ok(&["vm", "list"]).await;
    });
}

#[test]
fn a_user_whom_the_socket_refuses_is_told_so_and_has_a_session_of_his_own() {
    on_a_host(async |host| {
        let user = "kvm-lab-user";
        // Of the host alone, and gone with it: its /etc and /run are its own.
        let home = format!("/run/{user}");
        let made = host.exec(&["useradd", "--create-home", "--home-dir", &home, "--password", "*", user]).await;
        assert!(matches!(made.code, Some(0 | 9)), "{made}");
        host.exec(&["install", "-d", "-o", user, "-m", "700", &format!("{home}/.ssh")]).await.succeeded();
        let keys = format!("{home}/.ssh/authorized_keys");
        host.exec(&["install", "-o", user, "-m", "600", "/root/.ssh/authorized_keys", &keys]).await.succeeded();
        let identity = host.lab().dir().join("id_ed25519");
        let known_hosts = host.lab().dir().join("known_hosts");
        let at = |scope: &str| {
            let target = format!("qemu+ssh://{user}@{}/{scope}", host.address());
            let (identity, known_hosts) = (identity.to_string_lossy(), known_hosts.to_string_lossy());
            Kvmctl::new(["-c", &*target, "--identity", &*identity, "--known-hosts", &*known_hosts])
        };
        at("system").fails(&["vm", "list"], DENIED, "cannot reach", "group libvirt").await;

        let (session, vm) = (at("session"), host.unique("session"));
        assert_eq!(session.json(&["vm", "list"]).await, Value::Array(vec![]));
        session.ok(&["vm", "create", &vm, "--memory", "64M", "--network", "none", "--graphics", "none"]).await;
        assert_eq!(session.json(&["vm", "list"]).await[0]["name"], vm.as_str());
        session.ok(&["vm", "delete", &vm, "--yes"]).await;
    });
}

/// The host over SSH with limits that suit a test.
async fn open(host: &LabHost) -> (Arc<Libvirt>, tempfile::TempDir) {
    let mut login = host.login();
    login.timeouts = Timeouts { stall: Duration::from_secs(6), ..Timeouts::default() };
    let dir = tempfile::tempdir().unwrap();
    let relay = relay_libvirt(host.over_ssh(login), Scope::System, None, dir.path()).await.unwrap();
    let target = Target::parse(&format!("qemu+ssh://root@{}/system", host.address())).unwrap();
    let config = Config { keepalive: Keepalive { interval: Duration::from_secs(2), count: 3 }, ..Config::default() };
    (Libvirt::connect_through(&target, relay, config).await.unwrap(), dir)
}

async fn next(events: &mut EventStream, what: &str, wanted: &Event) {
    let search = async { while events.next().await.expect("no end of events") != *wanted {} };
    within(BACK, what, search).await;
}

#[test]
fn a_libvirtd_that_died_and_a_link_that_was_cut_are_followed_by_new_connections() {
    on_a_host(async |host| {
        let (libvirt, _dir) = open(host).await;
        let mut events = libvirt.events().await.unwrap();
        let expected = libvirt.list(&VmFilter::all()).await.unwrap();
        for (fault, mended) in [
            (["kill", "libvirtd"], ["start", "libvirtd"]),
            (["cut", ""], ["heal", ""]),
            (["kill", "sshd"], ["start", "sshd"]),
        ] {
            let words =
                |words: [&'static str; 2]| words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>();
            host.fault(&words(fault)).await;
            // Whoever is connected stays so when the server only takes no others.
            if fault != ["kill", "sshd"] {
                next(&mut events, "the loss", &Event::Disconnected).await;
            }
            host.fault(&words(mended)).await;
            if fault != ["kill", "sshd"] {
                next(&mut events, "the return", &Event::Resynced).await;
            }
            let list = async || (libvirt.list(&VmFilter::all()).await.ok().as_ref() == Some(&expected)).then_some(());
            eventually(BACK, "the list that was there before", list).await;
        }
    });
}

#[test]
fn a_host_whose_libvirt_does_not_listen_is_told_from_one_that_is_not_there() {
    on_a_host(async |host| {
        host.fault(&["kill", "libvirtd"]).await;
        let dir = tempfile::tempdir().unwrap();
        let transport = host.over_ssh(host.login());
        let e = relay_libvirt(transport, Scope::System, None, dir.path()).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unavailable);
        assert!(e.message().contains("/run/libvirt/"), "{e}");
        host.fault(&["start", "libvirtd"]).await;

        host.fault(&["kill", "sshd"]).await;
        let mut login = host.login();
        login.retries = 0;
        let e = relay_libvirt(host.over_ssh(login), Scope::System, None, dir.path()).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unavailable);
        assert!(e.message().contains(host.address()), "{e}");
        host.fault(&["start", "sshd"]).await;
    });
}
