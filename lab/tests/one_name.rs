//! Several programs clone a machine to the same name on another host at the same moment: one gets it.
//!
//! `KVM_PROOF=long` runs more rounds; `scripts/prove-safety.sh`.

#![expect(clippy::print_stdout, reason = "what was found is for people, and for the script that adds it up")]

use std::time::Duration;

use kvm_lab::{Kvmctl, on_two_hosts};

/// Something of that name is there.
const ALREADY_EXISTS: i32 = 4;
/// Somebody else is at work on it.
const BUSY: i32 = 75;

#[expect(clippy::disallowed_methods, reason = "whoever runs the tests says so in no other way")]
fn is_long() -> bool {
    std::env::var("KVM_PROOF").is_ok_and(|form| form == "long")
}

#[test]
fn of_several_programs_that_clone_to_one_name_exactly_one_wins() {
    let rounds = if is_long() { 20 } else { 2 };
    on_two_hosts(Duration::from_secs(if is_long() { 3600 } else { 420 }), async |one, two| {
        let user = Kvmctl::at_both(one, two);
        let vm = one.unique("wanted");
        let machine = ["--memory", "64M", "--network", "none", "--disk", "16M"];
        user.ok(&[&["vm", "create", &vm][..], &machine].concat()).await;
        let write = format!("/var/lib/libvirt/images/{vm}.qcow2");
        one.exec(&["qemu-io", "-f", "qcow2", "-c", "write -P 0x33 0 8M", &write]).await.succeeded();
        let (source, target) = (one.stock().await, two.stock().await);
        let (mut held, mut lost) = (0, Vec::new());
        for round in 0..rounds {
            let twin = format!("{vm}-twin");
            // Two with one's journals and locks, and others that know nothing of them.
            let others = [Kvmctl::at_both(one, two), Kvmctl::at_both(one, two)];
            let clone = ["clone", &vm, "two", "--name", &twin];
            let running: Vec<_> = [&user, &user, &others[0], &others[1]].map(|who| who.start(&clone)).into();
            let mut won = 0;
            for running in running {
                let ended = running.ended().await;
                match ended.code {
                    Some(0) => won += 1,
                    Some(code @ (ALREADY_EXISTS | BUSY)) => lost.push(code),
                    _ => panic!("round {round}: {ended}"),
                }
            }
            for who in [&user, &others[0], &others[1]] {
                let open = who.json(&["op", "list", "--open"]).await;
                assert_eq!(open.as_array().map(Vec::len), Some(0), "round {round}: {open}");
            }
            held += usize::from(won == 1);
            if won > 0 {
                let there = format!("/var/lib/libvirt/images/{twin}.qcow2");
                let found = two.exec(&["qemu-io", "-f", "qcow2", "-c", "read -P 0x33 0 8M", &there]).await.succeeded();
                assert!(found.contains("read 8388608/8388608") && !found.contains("failed"), "{found}");
                user.ok(&["vm", "delete", &format!("two/{twin}"), "--delete-volumes", "--yes"]).await;
            }
            two.assert_as(&target).await;
            one.assert_as(&source).await;
        }
        println!("PROOF R11 real hosts {held}/{rounds} exactly one of 4 programs won, nothing of the others was left");
        assert_eq!(held, rounds, "{lost:?}");
        user.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;
    });
}
