//! A host that has too little room for a copy: that is seen before anything is written.

use std::time::Duration;

use kvm_lab::{Kvmctl, on_two_hosts};

/// The longest test.
const LIMIT: Duration = Duration::from_secs(240);
/// There is not enough room.
const NO_SPACE: i32 = 9;

#[test]
fn a_copy_that_has_no_room_is_refused_and_nothing_is_written() {
    on_two_hosts(LIMIT, async |one, two| {
        let kvmctl = Kvmctl::at_both(one, two);
        let (vm, pool) = (one.unique("large"), two.unique("small"));
        let data = format!("48M,name={vm}.raw,format=raw");
        kvmctl.ok(&["vm", "create", &vm, "--disk", &data, "--memory", "64M", "--network", "none"]).await;
        let image = format!("/var/lib/libvirt/images/{vm}.raw");
        let of = format!("of={image}");
        one.exec(&["dd", "if=/dev/urandom", &of, "bs=1M", "count=40", "conv=notrunc,fsync"]).await.succeeded();
        let roomy = "/var/lib/libvirt/roomy";
        two.exec(&["mkdir", "-p", roomy]).await.succeeded();
        kvmctl.ok(&["backup", "create", &vm, &format!("two:{roomy}")]).await;

        let place = format!("/var/lib/libvirt/{pool}");
        two.fault(&["smalldisk", "32", &place]).await;
        kvmctl.ok(&["-c", "two", "pool", "create", &pool, "--target", &place]).await;
        // What was ever written there would have taken room, or changed the directory.
        let state = async || {
            let look = format!("find {place} -printf '%p %s %T@\\n' | sort; stat -f -c '%f %d' {place}");
            two.exec(&["sh", "-c", &look]).await.succeeded()
        };
        let operations = async || kvmctl.json(&["op", "list"]).await;
        let (before, begun) = (state().await, operations().await);
        let stock = (one.stock().await, two.stock().await);
        let (store, full) = (format!("two:{roomy}"), format!("two:{place}"));
        let commands: [&[&str]; 5] = [
            &["clone", &vm, "two", "--pool", &pool],
            &["sync", &vm, "two", "--pool", &pool],
            &["move", &vm, "two", "--pool", &pool, "--yes"],
            &["restore", &store, &vm, "--name", "other", "--host", "two", "--pool", &pool],
            &["backup", "create", &vm, &full],
        ];
        for command in commands {
            kvmctl.fails(command, NO_SPACE, "not enough space", "make room").await;
            // The plan has refused it: there never was an operation.
            assert_eq!(operations().await, begun, "{command:?}");
            assert_eq!(state().await, before, "{command:?}");
        }
        one.assert_as(&stock.0).await;
        two.assert_as(&stock.1).await;
        // With the room it works: what was refused was only for want of it.
        kvmctl.ok(&["clone", &vm, "two", "--name", "other"]).await;
        kvmctl.ok(&["vm", "delete", "two/other", "--delete-volumes", "--yes"]).await;
        kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;
        two.exec(&["rm", "-r", roomy]).await.succeeded();
    });
}
