//! What goes wrong most often is told in one line, with a hint that works; and what works, works on every way to a host.

use kvm_lab::{Kvmctl, LabHost, on_a_host};
use serde_json::Value;

/// Exit codes, as `kvmctl help exit-codes` lists them.
const INVALID_INPUT: i32 = 2;
const NOT_FOUND: i32 = 3;
const ALREADY_EXISTS: i32 = 4;
const DENIED: i32 = 6;
const UNAVAILABLE: i32 = 8;
const NO_SPACE: i32 = 9;

/// A machine that is not started, without disk and network.
const SMALL: [&str; 6] = ["--memory", "64M", "--network", "none", "--graphics", "none"];

fn over_tls(host: &LabHost) -> Kvmctl {
    let pki = host.lab().dir().join("pki");
    Kvmctl::new(["-c", &format!("qemu+tls://{}/system", host.address()), "--pki", &pki.to_string_lossy()])
}

/// All machines, without the name that the host is called by.
async fn list(kvmctl: &Kvmctl) -> Vec<Value> {
    let mut vms = kvmctl.json(&["vm", "list"]).await.as_array().unwrap().clone();
    vms.iter_mut().for_each(|vm| drop(vm.as_object_mut().unwrap().remove("host")));
    vms
}

#[test]
fn a_list_is_the_same_over_socket_ssh_and_tls() {
    on_a_host(async |host| {
        let vm = host.unique("listed");
        host.kvmctl().ok(&[&["vm", "create", &vm], &SMALL[..]].concat()).await;
        let here = list(&host.kvmctl()).await;
        assert!(here.iter().any(|listed| listed["name"] == vm.as_str()), "{here:?}");
        let known_hosts = host.lab().dir().join("known_hosts");
        // Often, since a process that ends while its connection closes ends well only most of the time.
        for _ in 0..10 {
            assert_eq!(list(&host.kvmctl_over_ssh(&known_hosts)).await, here);
            assert_eq!(list(&over_tls(host)).await, here);
        }
    });
}

#[test]
fn a_host_key_that_is_unknown_or_another_is_refused_with_what_to_do() {
    on_a_host(async |host| {
        let kvmctl = host.kvmctl();
        // A real key of the right kind, which is not this host's.
        let key = std::fs::read_to_string(host.lab().dir().join("id_ed25519.pub")).unwrap();
        let unknown = kvmctl.give("unknown", "");
        let hint = format!("kvmctl host trust root@{}", host.address());
        let what = format!("cannot reach qemu+ssh://root@{}/system: the host key is not known", host.address());
        let ended = host.kvmctl_over_ssh(&unknown).fails(&["vm", "list"], DENIED, &what, &hint).await;
        let own = host.exec(&["ssh-keygen", "-lf", "/etc/ssh/lab_host_key"]).await.succeeded();
        let fingerprint = own.split(' ').nth(1).unwrap();
        assert!(ended.stderr.contains(fingerprint), "{fingerprint} is not in {ended}");
        let another = kvmctl.give("another", format!("{} {key}", host.address()));
        let hint = format!("ssh-keygen -R {}", host.address());
        host.kvmctl_over_ssh(&another).fails(&["vm", "list"], DENIED, "not the one that is known", &hint).await;
    });
}

#[test]
fn a_user_without_permission_on_the_socket_is_told_how_to_get_it() {
    on_a_host(async |host| {
        let nobody = host.kvmctl().as_nobody();
        nobody.fails(&["vm", "list"], DENIED, "no permission", "group libvirt").await;
    });
}

#[test]
fn a_libvirtd_that_does_not_run_is_told_over_socket_ssh_and_tls() {
    on_a_host(async |host| {
        host.fault(&["kill", "libvirtd"]).await;
        host.kvmctl().fails(&["vm", "list"], UNAVAILABLE, "cannot connect to qemu:///system", "libvirtd").await;
        let known_hosts = host.lab().dir().join("known_hosts");
        host.kvmctl_over_ssh(&known_hosts).fails(&["vm", "list"], UNAVAILABLE, host.address(), "root@").await;
        over_tls(host).fails(&["vm", "list"], UNAVAILABLE, host.address(), "libvirtd").await;
    });
}

#[test]
fn an_unknown_name_suggests_the_one_that_was_meant_and_a_taken_one_is_refused() {
    on_a_host(async |host| {
        let (kvmctl, vm) = (host.kvmctl(), host.unique("known"));
        let create = [&["vm", "create", &vm, "--disk", "8M"], &SMALL[..]].concat();
        kvmctl.ok(&create).await;
        let before = host.stock().await;
        let typo = vm.replacen("known", "knwon", 1);
        let suggestion = format!("did you mean {vm}?");
        for verb in [&["show"][..], &["start"], &["delete", "--yes"]] {
            kvmctl.fails(&[&["vm"], verb, &[&*typo]].concat(), NOT_FOUND, &typo, &suggestion).await;
        }
        kvmctl.fails(&create, ALREADY_EXISTS, &vm, "another name").await;
        // The name is free, but the volume's is not.
        let other = host.unique("other");
        let disk = format!("size=8M,name={vm}.qcow2");
        let create = [&["vm", "create", &other, "--disk", &disk], &SMALL[..]].concat();
        let taken = kvmctl.run(&create).await;
        assert_eq!(taken.code, Some(ALREADY_EXISTS), "{taken}");
        assert!(taken.stderr.contains("to use it, say volume="), "{taken}");
        host.assert_as(&before).await;
    });
}

#[test]
fn a_full_pool_is_told_before_and_during_the_work_and_nothing_is_left() {
    on_a_host(async |host| {
        let (kvmctl, vm, pool) = (host.kvmctl(), host.unique("big"), host.unique("small"));
        let place = format!("/var/lib/libvirt/{pool}");
        host.fault(&["smalldisk", "16", &place]).await;
        kvmctl.ok(&["pool", "create", &pool, "--target", &place]).await;
        let before = host.stock().await;
        let create = |disk: String, more: &'static [&'static str]| {
            let mut arguments: Vec<String> = ["vm", "create", &vm, "--disk", &disk].map(str::to_owned).into();
            arguments.extend(SMALL.iter().chain(more).map(|word| (*word).to_owned()));
            arguments
        };
        // The plan already says so.
        kvmctl.fails(&create(format!("1G,pool={pool}"), &[]), NO_SPACE, &pool, "--allow-overcommit").await;
        // It is full although it was not to be expected.
        host.fault(&["fill", &place]).await;
        let overcommitted = create(format!("1G,pool={pool}"), &["--allow-overcommit"]);
        kvmctl.fails(&overcommitted, NO_SPACE, &pool, "another pool").await;
        host.fault(&["unfill", &place]).await;
        host.virsh(&["pool-refresh", &pool]).await;
        host.assert_as(&before).await;
        // And the hint works.
        kvmctl.ok(&overcommitted).await;
        kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;
        host.virsh(&["pool-refresh", &pool]).await;
        host.assert_as(&before).await;
    });
}

#[test]
fn what_is_no_target_never_reaches_libvirt() {
    on_a_host(async |host| {
        let canary = host.kvmctl().home().join("canary");
        let target = format!("qemu+ssh://root@{}/system?command=/bin/touch%20{}", host.address(), canary.display());
        let ended = Kvmctl::new(["-c", &target]).run(&["vm", "list"]).await;
        assert_eq!(ended.code, Some(INVALID_INPUT), "{ended}");
        assert!(!canary.exists());
    });
}
