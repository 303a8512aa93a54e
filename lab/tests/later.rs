//! Later syncs of a machine of which something else has changed than what its guest wrote: its UEFI variables alone, or the
//! size of its disks.

use std::time::Duration;

use kvm_lab::{Kvmctl, LabHost, on_two_hosts};
use serde_json::Value;

/// The longest test.
const LIMIT: Duration = Duration::from_secs(540);
const IMAGES: &str = "/var/lib/libvirt/images";
const NVRAM: &str = "/var/lib/libvirt/qemu/nvram";
const MIB: u64 = 1 << 20;

/// What the disks of a machine have for the guest, byte for byte, and how large they are.
async fn contents(host: &LabHost, vm: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (image, format) in [(format!("{vm}.qcow2"), "qcow2"), (format!("{vm}-data.raw"), "raw")] {
        let path = format!("{IMAGES}/{image}");
        let file = host.exec(&["sha256sum", &path]).await.succeeded();
        let info = host.exec(&["qemu-img", "info", "-U", "-f", format, "--output=json", &path]).await.succeeded();
        let info: Value = serde_json::from_str(&info).unwrap();
        all.push(format!("{} {}", file.split(' ').next().unwrap(), info["virtual-size"]));
    }
    all
}

async fn variables(host: &LabHost, vm: &str) -> String {
    let sum = host.exec(&["sha256sum", &format!("{NVRAM}/{vm}_VARS.fd")]).await.succeeded();
    sum.split(' ').next().unwrap().to_owned()
}

/// How large the libvirt of a host says that an image is.
async fn capacity(kvmctl: &Kvmctl, place: &str, image: &str) -> u64 {
    let shown = kvmctl.json(&["-c", place, "vol", "show", &format!("default/{image}")]).await;
    shown["capacity_bytes"].as_u64().unwrap_or_else(|| panic!("no capacity in {shown}"))
}

fn bytes(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn variables_alone_and_disks_that_were_made_larger_come_with_a_later_sync() {
    on_two_hosts(LIMIT, async |one, two| {
        let before = (one.stock().await, two.stock().await);
        let kvmctl = Kvmctl::at_both(one, two);
        let vm = one.unique("later");
        let disk = format!("volume={}", one.place_boot_disk(&vm).await);
        let data = format!("64M,name={vm}-data.raw,format=raw");
        let machine = ["--memory", "256M", "--vcpus", "1", "--network", "default", "--firmware", "uefi", "--start"];
        kvmctl.ok(&[&["vm", "create", &vm, "--disk", &disk, "--disk", &data], &machine[..]].concat()).await;
        // It has variables from its first moment on.
        kvmctl.ok(&["vm", "power-off", &vm]).await;
        let (there, sync) = (format!("two/{vm}"), ["sync", &vm, "two"]);
        kvmctl.ok(&sync).await;
        assert_eq!(variables(two, &vm).await, variables(one, &vm).await);

        // One of its variables changes, and is set back.
        let file = format!("{NVRAM}/{vm}_VARS.fd");
        let on_source = async |script: String| one.exec(&["sh", "-c", &script]).await.succeeded();
        let spoil = format!("cp -p {file} /root/{vm}.vars; printf other | dd of={file} bs=1 seek=70000 conv=notrunc");
        let set_back = format!("cat /root/{vm}.vars > {file}; rm /root/{vm}.vars");
        for change in [spoil, set_back] {
            let (was, images) = (variables(one, &vm).await, contents(two, &vm).await);
            on_source(change).await;
            let now = variables(one, &vm).await;
            assert_ne!(now, was);
            let planned = kvmctl.ok(&[&sync[..], &["--dry-run"]].concat()).await;
            assert!(planned.contains("_VARS.fd"), "{planned}");
            assert_eq!(variables(two, &vm).await, was, "a dry run changes nothing");
            let synced = kvmctl.json(&sync).await;
            assert_eq!(bytes(&synced, "changed_bytes"), 0, "{synced}");
            assert_eq!((variables(two, &vm).await, contents(two, &vm).await), (now, images));
        }

        // Both disks grow while it is off; at the new ends something is written, on both sides of the old ones.
        let (boot, raw) = (format!("{vm}.qcow2"), format!("{vm}-data.raw"));
        let size = capacity(&kvmctl, "one", &boot).await + 100 * MIB;
        kvmctl.ok(&["disk", "resize", &vm, "vda", &size.to_string()]).await;
        kvmctl.ok(&["disk", "resize", &vm, "vdb", "80M"]).await;
        let write = format!("write -P 7 {} 1M", size - 2 * MIB);
        one.exec(&["qemu-io", "-f", "qcow2", "-c", &write, &format!("{IMAGES}/{boot}")]).await.succeeded();
        let data = format!("of={IMAGES}/{raw}");
        one.exec(&["dd", "if=/dev/urandom", &data, "bs=1M", "count=4", "seek=62", "conv=notrunc"]).await.succeeded();
        let synced = kvmctl.json(&sync).await;
        assert!(bytes(&synced, "changed_bytes") < 16 * MIB, "{synced}");
        assert_eq!(contents(two, &vm).await, contents(one, &vm).await);
        let sizes = (capacity(&kvmctl, "two", &boot).await, capacity(&kvmctl, "two", &raw).await);
        assert_eq!(sizes, (size, 80 * MIB));

        // And while its guest runs, which sees that and uses it. The replica boots.
        kvmctl.ok(&["vm", "start", &vm]).await;
        one.sh_in_guest(&vm, "pat write /dev/vdb 2 1 early && sync").await;
        kvmctl.ok(&["disk", "resize", &vm, "vdb", "96M"]).await;
        kvmctl.ok(&["disk", "resize", &vm, "vda", &(size + 100 * MIB).to_string()]).await;
        one.sh_in_guest(&vm, "pat write /dev/vdb 95 1 end && sync").await;
        let synced = kvmctl.json(&["sync", &vm, "two", "--prove", "--timeout", "90s"]).await;
        assert_eq!(synced["proof"]["result"], "proved", "{synced}");
        kvmctl.ok(&["vm", "power-off", &vm]).await;
        assert_eq!(contents(two, &vm).await[1], contents(one, &vm).await[1]);
        let sizes = (capacity(&kvmctl, "two", &boot).await, capacity(&kvmctl, "two", &raw).await);
        assert_eq!(sizes, (size + 100 * MIB, 96 * MIB));
        two.exec(&["qemu-img", "check", "-f", "qcow2", &format!("{IMAGES}/{boot}")]).await.succeeded();

        for place in [format!("one/{vm}"), there] {
            kvmctl.ok(&["vm", "delete", &place, "--delete-volumes", "--yes"]).await;
        }
        one.assert_as(&before.0).await;
        two.assert_as(&before.1).await;
    });
}
