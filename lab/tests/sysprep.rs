//! Clones that are others inside as well, on real hosts: under their own name and machine-id, while the original stays what it is.

use std::time::Duration;

use kvm_lab::{Kvmctl, LabHost, eventually, on_two_hosts};
use rustix::process::Signal;
use serde_json::Value;

/// The longest test.
const LIMIT: Duration = Duration::from_secs(540);
/// The start that prepares has begun by then.
const BEGUN: Duration = Duration::from_secs(60);
/// The state does not allow it.
const INVALID_STATE: i32 = 5;
/// Nobody has agreed to it.
const DENIED: i32 = 6;
/// No agent answers.
const UNAVAILABLE: i32 = 8;
/// Somebody pressed Ctrl-C.
const CANCELLED: i32 = 130;

/// Who a guest is: machine-id, host name and public keys.
const WHO: &str = "cat /etc/machine-id; hostname; cat /etc/ssh/ssh_host_*_key.pub; cat /sys/class/net/e*/address";

/// What tells on a guest that has lived for a while: each kind of file that a new identity deletes or empties.
const TRACES: &str = "echo lease >/var/lib/dhcp/dhclient.eth0.leases; echo SUBSYSTEM >/etc/udev/rules.d/70-persistent-net.rules; \
    echo told >/var/log/messages; echo older >/var/log/messages.1; echo secret >/root/.ash_history; sync";
/// The files that are left of them, with their lengths.
const LEFT: &str = "find /var/lib/dhcp /etc/udev/rules.d /var/log /root -type f | sort | xargs -r stat -c '%n %s'";

/// A guest that boots by itself, with a second disk.
async fn guest(kvmctl: &Kvmctl, host: &LabHost, firmware: &[&str]) -> String {
    let vm = host.unique("original");
    let disk = format!("volume={}", host.place_boot_disk(&vm).await);
    let data = format!("64M,name={vm}-data.raw,format=raw");
    let machine = ["--memory", "256M", "--vcpus", "1", "--network", "default", "--start"];
    kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk, "--disk", &data], &machine[..], firmware].concat()).await;
    vm
}

/// What became of each part, in their order.
fn outcomes(done: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    done["inside"].as_array().unwrap().iter().map(|part| (text(&part["part"]), text(&part["outcome"]))).collect()
}

/// The guest of a machine says whose it is: its host name and machine-id are the machine's.
async fn assert_is_itself(host: &LabHost, vm: &str, id: &str) -> Vec<String> {
    let who: Vec<_> = host.sh_in_guest(vm, WHO).await.lines().map(ToOwned::to_owned).collect();
    assert_eq!((&*who[0], &*who[1]), (&*id.replace('-', ""), vm), "{who:?}");
    who
}

/// What the host has: a start writes to images, and leaves no other file and no machine.
async fn there_is(host: &LabHost) -> String {
    let files = ["find", "/var/lib/libvirt/images", "/var/lib/libvirt/qemu/nvram", "-type", "f"];
    host.exec(&files).await.succeeded() + &host.virsh(&["list", "--all"]).await
}

/// Waits until the start that prepares runs.
async fn begins(host: &LabHost) {
    let running = async || host.virsh(&["list", "--name"]).await.contains("-sysprep-").then_some(());
    eventually(BEGUN, "the guest is started", running).await;
}

#[test]
fn a_clone_of_a_guest_that_runs_says_its_own_name_and_machine_id() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = (one.stock().await, two.stock().await);
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = guest(&kvmctl, one, &[]).await;
        one.sh_in_guest(&vm, "pat write /dev/vdb 0 4 seed; echo key > /data/note; sync").await;
        one.sh_in_guest(&vm, TRACES).await;
        let traces = one.sh_in_guest(&vm, LEFT).await;
        assert_eq!(traces.lines().count(), 5, "{traces}");
        let original: Vec<_> = one.sh_in_guest(&vm, WHO).await.lines().map(ToOwned::to_owned).collect();
        let sum = one.sh_in_guest(&vm, "pat sum /dev/vdb 0 4").await;

        let twin = format!("{vm}-twin");
        let there = format!("two/{twin}");
        let clone = ["clone", &vm, "two", "--name", &twin, "--sysprep", "--start"];
        let planned = kvmctl.ok(&[&clone[..], &["--dry-run"]].concat()).await;
        assert!(planned.contains("inside, by its agent") && planned.contains("ssh-keys"), "{planned}");
        let done = kvmctl.json(&clone).await;
        let became = outcomes(&done);
        assert_eq!(became.len(), 7, "{done}");
        assert!(became.iter().all(|(_, outcome)| outcome == "changed"), "{done}");
        let until = format!("GUEST-UP name={twin} ");
        kvmctl.ok(&["vm", "console", &there, "--until", &until, "--timeout", "3m"]).await;
        let clone = assert_is_itself(two, &twin, done["id"].as_str().unwrap()).await;
        assert!(clone.iter().all(|word| !original.contains(word)), "{original:?} {clone:?}");
        assert_eq!(clone.len(), original.len(), "{original:?} {clone:?}");
        assert_eq!(two.sh_in_guest(&twin, LEFT).await, "/var/log/messages 0");
        // What is no identity is there; the original runs on, and is who it was.
        assert_eq!(two.sh_in_guest(&twin, "cat /data/note; pat sum /dev/vdb 0 4").await, format!("key\n{sum}"));
        let now: Vec<_> = one.sh_in_guest(&vm, WHO).await.lines().map(ToOwned::to_owned).collect();
        assert_eq!(now, original);
        assert_eq!(one.sh_in_guest(&vm, LEFT).await, traces);

        for place in [format!("one/{vm}"), there] {
            kvmctl.ok(&["vm", "delete", &place, "--power-off", "--delete-volumes", "--yes"]).await;
        }
        one.assert_as(&before.0).await;
        two.assert_as(&before.1).await;
    });
}

#[test]
fn a_machine_with_uefi_is_prepared_whatever_cuts_it_short() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = one.stock().await;
        // Files of the host are reached over SSH.
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = guest(&kvmctl, one, &["--firmware", "uefi"]).await;
        let id = kvmctl.json(&["vm", "show", &vm]).await["id"].as_str().unwrap().to_owned();
        let sysprep = ["vm", "sysprep", &vm, "--yes"];
        let original = one.sh_in_guest(&vm, WHO).await;
        assert_eq!(kvmctl.run(&sysprep).await.code, Some(INVALID_STATE));
        kvmctl.ok(&["vm", "shutdown", &vm, "--timeout", "60s"]).await;
        let off = there_is(one).await;

        // Nobody agreed, and nobody answers.
        assert_eq!(kvmctl.run(&["vm", "sysprep", &vm]).await.code, Some(DENIED));
        let early = kvmctl.run(&[&sysprep[..], &["--timeout", "1s"]].concat()).await;
        assert_eq!(early.code, Some(UNAVAILABLE), "{early}");
        assert!(
            early.stderr.contains("no agent answered within 1 s") && early.stderr.contains("nothing inside"),
            "{early}"
        );
        assert_eq!(there_is(one).await, off);

        for signal in [Signal::INT, Signal::KILL] {
            let running = kvmctl.start(&sysprep);
            begins(one).await;
            let xml = one.virsh(&["list", "--name"]).await;
            let xml = one.virsh(&["dumpxml", xml.trim()]).await;
            assert!(xml.contains("<link state='down'/>") && xml.contains("_VARS.fd"), "{xml}");
            running.signal(signal);
            let ended = running.ended().await;
            assert!(!ended.stderr.contains("panicked"), "{ended}");
            let gone = async || (!one.virsh(&["list", "--name"]).await.contains("-sysprep-")).then_some(());
            eventually(BEGUN, "the start is over", gone).await;
            let open = kvmctl.json(&["op", "list", "--open"]).await;
            match signal {
                Signal::INT => assert_eq!((ended.code, open), (Some(CANCELLED), Value::Array(vec![])), "{ended}"),
                // It goes on from there.
                _ => drop(kvmctl.ok(&["op", "resume", open[0]["operation"].as_str().unwrap()]).await),
            }
            assert_eq!(there_is(one).await, off, "{signal:?}");
        }
        kvmctl.ok(&["vm", "start", &vm]).await;
        let resumed = assert_is_itself(one, &vm, &id).await;
        assert!(!original.contains(&resumed[2]), "{original} {resumed:?}");
        kvmctl.ok(&["vm", "shutdown", &vm, "--timeout", "60s"]).await;

        // Once more: keys are made anew, and what is kept is.
        let again = ["--hostname", "other.lab", "--keep", "ssh-keys", "--keep", "machine-id"];
        let done = kvmctl.json(&[&sysprep[..], &again].concat()).await;
        let became = outcomes(&done);
        assert_eq!((&*became[0].1, &*became[1].1, &*became[2].1), ("kept", "changed", "kept"), "{done}");
        kvmctl.ok(&["vm", "start", &vm]).await;
        let who: Vec<_> = one.sh_in_guest(&vm, WHO).await.lines().map(ToOwned::to_owned).collect();
        assert_eq!((&who[0], &*who[1], &who[2..]), (&resumed[0], "other.lab", &resumed[2..]));

        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
        one.assert_as(&before).await;
    });
}
