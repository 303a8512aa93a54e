//! `kvm-clone` between two real hosts over SSH: its copies, its logins, its forms, and its limit of time.

use std::time::Duration;

use kvm_lab::{Ended, Kvmctl, LabHost, on_two_hosts};
use serde_json::Value;

/// The longest test.
const LIMIT: Duration = Duration::from_secs(300);
/// Not in the state that something is in.
const INVALID_STATE: i32 = 5;
/// A login was refused.
const DENIED: i32 = 6;
/// A host does not answer, or something takes too long.
const UNAVAILABLE: i32 = 8;

async fn run(kvmctl: &Kvmctl, arguments: &[&str]) -> Ended {
    kvmctl.kvm_clone(arguments).run().await
}

async fn json(kvmctl: &Kvmctl, arguments: &[&str]) -> Value {
    let text = run(kvmctl, &[arguments, &["-o", "json", "-q"]].concat()).await.succeeded();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text}"))
}

async fn yaml(kvmctl: &Kvmctl, arguments: &[&str]) -> Value {
    let text = run(kvmctl, &[arguments, &["-o", "yaml", "-q"]].concat()).await.succeeded();
    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text}"))
}

/// A machine that is off, with a disk of which 60 MiB are full of what does not shrink.
async fn machine(kvmctl: &Kvmctl, host: &LabHost) -> String {
    let vm = host.unique("copied");
    let data = format!("64M,name={vm}-data.raw,format=raw");
    let machine = ["--memory", "64M", "--vcpus", "1", "--network", "default"];
    kvmctl.ok(&[&["vm", "create", &vm, "--disk", &data], &machine[..]].concat()).await;
    write(host, &vm, 0, 60).await;
    vm
}

/// Fills so many MiB of its disk with something new.
async fn write(host: &LabHost, vm: &str, at: u32, count: u32) {
    let file = format!("of=/var/lib/libvirt/images/{vm}-data.raw");
    let (seek, count) = (format!("seek={at}"), format!("count={count}"));
    host.exec(&["dd", "if=/dev/urandom", &file, "bs=1M", &count, &seek, "conv=notrunc,fsync"]).await.succeeded();
}

async fn sum(host: &LabHost, vm: &str) -> String {
    let path = format!("/var/lib/libvirt/images/{vm}-data.raw");
    let printed = host.exec(&["sha256sum", &path]).await.succeeded();
    printed.split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn kvm_clone_clones_and_syncs_over_ssh_and_says_so_in_every_form() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = (one.stock().await, two.stock().await);
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = machine(&kvmctl, one).await;
        let original = sum(one, &vm).await;
        let (named, logged) = (format!("{vm}-named"), format!("{vm}-logged"));

        // By the names of hosts.toml.
        let done = json(&kvmctl, &["clone", "one", "two", &vm, "--new-name", &named, "--verify"]).await;
        assert_eq!((&done["name"], &done["host"]), (&named.as_str().into(), &"two".into()), "{done}");
        assert_eq!(sum(two, &named).await, original);

        // By a login, of which hosts.toml knows nothing.
        let (key, known) = (one.lab().dir().join("id_ed25519"), one.lab().dir().join("known_hosts"));
        let (key, known) = (key.to_str().unwrap(), known.to_str().unwrap());
        let logins = [one, two].map(|host| format!("root@{}", host.address()));
        run(&kvmctl, &["config", "set", "ssh.known_hosts", known]).await.succeeded();
        let clone = ["clone", &logins[0], &logins[1], &vm, "-n", &logged];
        let denied = run(&kvmctl, &clone).await;
        assert_eq!(denied.code, Some(DENIED), "{denied}");
        let nobody = run(&kvmctl, &[&clone[..], &["-k", key, "--ssh-port", "9"]].concat()).await;
        assert_eq!(nobody.code, Some(UNAVAILABLE), "{nobody}");
        let done = yaml(&kvmctl, &[&clone[..], &["-k", key, "--ssh-port", "22", "--compress"]].concat()).await;
        assert_eq!((&done["name"], &done["status"]), (&logged.as_str().into(), &"succeeded".into()), "{done}");
        assert_eq!(sum(two, &logged).await, original);

        // A replica, made once and brought up to date.
        let sync = ["sync", "one", "two", &vm];
        let refused = run(&kvmctl, &[&sync[..], &["--delta-only"]].concat()).await;
        assert_eq!(refused.code, Some(INVALID_STATE), "{refused}");
        let first = json(&kvmctl, &sync).await;
        assert_eq!((&first["first"], &first["images"][0]["whole"]), (&true.into(), &true.into()), "{first}");
        write(one, &vm, 8, 1).await;
        let second = json(&kvmctl, &[&sync[..], &["--delta-only", "--bandwidth-limit", "50M"]].concat()).await;
        assert_eq!((&second["first"], &second["changed_bytes"]), (&false.into(), &(1 << 20).into()), "{second}");
        assert_eq!(sum(two, &vm).await, sum(one, &vm).await);
        let listed = yaml(&kvmctl, &["list", "one", "two"]).await;
        let row = |value: &Value| (value["host"].clone(), value["name"].clone(), value["role"].clone());
        let rows: Vec<_> = listed.as_array().unwrap().iter().map(row).collect();
        for (host, name, role) in [
            ("one", &vm, Value::from("source")),
            ("two", &vm, "replica".into()),
            ("two", &named, Value::Null),
            ("two", &logged, Value::Null),
        ] {
            assert!(rows.contains(&(host.into(), name.as_str().into(), role)), "{listed}");
        }

        // What was done, and what is not done in time.
        let kinds = async || {
            let listed = json(&kvmctl, &["status", "--all"]).await;
            listed.as_array().unwrap().iter().map(|o| (o["kind"].clone(), o["status"].clone())).collect::<Vec<_>>()
        };
        let ended = ["clone.sync", "clone.sync", "clone.vm", "clone.vm"].map(|kind| (kind.into(), "succeeded".into()));
        assert_eq!(kinds().await, ended);
        let stock = two.stock().await;
        let late = format!("{vm}-late");
        let slow = ["clone", "one", "two", &vm, "-n", &late, "-b", "1M", "--timeout", "30"];
        let slow = kvmctl.kvm_clone(&slow).start();
        while json(&kvmctl, &["status", "--active"]).await.as_array().is_some_and(Vec::is_empty) {}
        let followed = run(&kvmctl, &["status", "--follow"]).await;
        let slow = slow.ended().await;
        assert_eq!((slow.code, followed.code), (Some(UNAVAILABLE), Some(130)), "{slow}\n{followed}");
        assert!(slow.stderr.contains("not done within 30 s: all was taken back"), "{slow}");
        assert!(followed.stdout.contains("cancelled"), "{followed}");
        two.assert_as(&stock).await;

        for place in [format!("one/{vm}"), format!("two/{vm}"), format!("two/{named}"), format!("two/{logged}")] {
            kvmctl.ok(&["vm", "delete", &place, "--delete-volumes", "--yes"]).await;
        }
        one.assert_as(&before.0).await;
        two.assert_as(&before.1).await;
    });
}
