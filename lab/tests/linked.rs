//! A linked clone on a real host: both machines write, and neither harms what lies below both.

use std::time::Duration;

use kvm_lab::on_a_host_within;

/// The test has four boots.
const LIMIT: Duration = Duration::from_secs(540);
/// Not in the state that something is in.
const INVALID_STATE: i32 = 5;

const SUM: &str = "echo 3 > /proc/sys/vm/drop_caches; pat sum /dev/vdb 0 16";
const OWN: &str = "echo 3 > /proc/sys/vm/drop_caches; pat sum /dev/vdb 40 1";

#[test]
fn an_original_that_runs_and_its_linked_clone_write_side_by_side_and_the_clone_outlives_it() {
    on_a_host_within(LIMIT, async |host| {
        let before = host.stock().await;
        let kvmctl = host.kvmctl();
        let vm = host.unique("base");
        let disk = format!("volume={}", host.place_boot_disk(&vm).await);
        let data = format!("64M,name={vm}-data.raw,format=raw");
        let machine = ["--memory", "256M", "--vcpus", "1", "--network", "default", "--start"];
        kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk, "--disk", &data], &machine[..]].concat()).await;
        host.sh_in_guest(&vm, "pat write /dev/vdb 0 16 seed && sync").await;
        let sum = host.sh_in_guest(&vm, SUM).await;
        // It writes all the time, behind what is compared.
        let script = "touch /run/writing; (i=0; while [ -e /run/writing ]; do pat write /dev/vdb $((44 + i % 4)) 1 w$i; \
                      i=$((i + 1)); done) > /dev/null 2>&1 &";
        host.sh_in_guest(&vm, script).await;

        let twin = format!("{vm}-twin");
        let planned = kvmctl.ok(&["clone", &vm, "--name", &twin, "--linked", "--dry-run"]).await;
        assert!(planned.contains("goes on here") && planned.contains("upon /var/lib/libvirt/images/"), "{planned}");
        kvmctl.ok(&["clone", &vm, "--name", &twin, "--linked", "--start"]).await;
        assert_eq!(kvmctl.json(&["snap", "list", &vm]).await.as_array().map(Vec::len), Some(0));
        assert_eq!(host.sh_in_guest(&twin, SUM).await, sum);
        // Each has its own from here on.
        host.sh_in_guest(&vm, "rm /run/writing; pat write /dev/vdb 40 1 original && sync").await;
        let original = host.sh_in_guest(&vm, OWN).await;
        host.sh_in_guest(&twin, "pat write /dev/vdb 40 1 twin && sync").await;
        let own = host.sh_in_guest(&twin, OWN).await;
        assert_ne!(own, original);
        assert_eq!((host.sh_in_guest(&vm, OWN).await, host.sh_in_guest(&vm, SUM).await), (original, sum.clone()));

        let [boot, data] = [format!("default/{vm}.qcow2"), format!("default/{vm}-data.raw")];
        for refused in [
            &["disk", "commit", &vm, "vdb", "--yes"][..],
            &["disk", "commit", &twin, "vdb", "--yes"],
            &["vol", "delete", &data, "--yes"],
            &["vol", "delete", &boot, "--yes"],
        ] {
            let ended = kvmctl.run(refused).await;
            assert_eq!(ended.code, Some(INVALID_STATE), "{refused:?}: {ended}");
        }
        // The original goes, with all that is its own; the clone has lost nothing, also after a boot.
        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--delete-volumes", "--yes"]).await;
        kvmctl.ok(&["vm", "power-off", &twin]).await;
        kvmctl.ok(&["vm", "start", &twin]).await;
        assert_eq!((host.sh_in_guest(&twin, SUM).await, host.sh_in_guest(&twin, OWN).await), (sum.clone(), own));
        // Now it is the last that lies upon them: it may go down into them.
        kvmctl.ok(&["disk", "commit", &twin, "vdb", "--yes"]).await;
        assert_eq!(host.sh_in_guest(&twin, SUM).await, sum);

        kvmctl.ok(&["vm", "delete", &twin, "--power-off", "--delete-volumes", "--yes"]).await;
        kvmctl.ok(&["vol", "delete", &boot, "--yes"]).await;
        host.assert_as(&before).await;
    });
}
