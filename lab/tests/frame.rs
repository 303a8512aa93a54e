//! The frame of the other tests keeps its own promises.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kvm_lab::on_a_host;

#[test]
fn what_a_failed_test_made_is_gone_and_what_it_broke_is_mended() {
    let mut left = Vec::new();
    let failed = catch_unwind(AssertUnwindSafe(|| {
        on_a_host(async |host| {
            let (vm, pool) = (host.unique("left"), host.unique("left"));
            let place = format!("/var/lib/libvirt/{pool}");
            host.fault(&["smalldisk", "16", &place]).await;
            host.kvmctl().ok(&["pool", "create", &pool, "--target", &place]).await;
            let create =
                ["vm", "create", &vm, "--disk", "8M", "--memory", "64M", "--network", "none", "--start-paused"];
            host.kvmctl().ok(&create).await;
            left = vec![
                host.file(format!("/etc/libvirt/qemu/{vm}.xml")),
                host.file(format!("/etc/libvirt/storage/{pool}.xml")),
                host.file(format!("/var/lib/libvirt/images/{vm}.qcow2")),
                host.file(format!("/run/libvirt/qemu/{vm}.pid")),
            ];
            assert!(left.iter().all(|path| path.exists()), "{left:?}");
            host.fault(&["kill", "libvirtd"]).await;
            panic!("a failure on purpose");
        });
    }));
    assert_eq!(failed.unwrap_err().downcast_ref(), Some(&"a failure on purpose"));
    assert_eq!(left.len(), 4);
    assert!(left.iter().all(|path| !path.exists()), "{left:?}");
    // Whichever host it is, it answers.
    on_a_host(async |host| drop(host.stock().await));
}
