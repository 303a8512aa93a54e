//! Volumes on a real host: what goes up comes down, holes stay holes, and copies hold what their originals hold.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kvm_core::{Bytes, ErrorKind, Holes, Piece, Storage};
use kvm_lab::{Kvmctl, LabHost, eventually, on_a_host, on_a_host_within};
use kvm_libvirt::Config;
use serde_json::Value;

const IMAGES: &str = "/var/lib/libvirt/images";
const MIB: u64 = 1 << 20;

/// Bytes that no two places have alike.
fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A file of 64 MiB of which 3 MiB are stored.
fn sparse(dir: &Path) -> PathBuf {
    let path = dir.join("disk.raw");
    let file = File::create(&path).unwrap();
    file.write_all_at(&pattern(1, MIB as usize), 0).unwrap();
    file.write_all_at(&pattern(2, 2 * MIB as usize), 32 * MIB + 4096).unwrap();
    file.set_len(64 * MIB).unwrap();
    file.sync_all().unwrap();
    path
}

fn stored(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

fn equal(a: &Path, b: &Path) -> bool {
    fs::read(a).unwrap() == fs::read(b).unwrap()
}

fn words(text: &str) -> Vec<&str> {
    text.split(' ').collect()
}

async fn shown(host: &LabHost, volume: &str) -> Value {
    host.kvmctl().json(&["vol", "show", volume]).await
}

/// A guest writes to an encrypted disk, what lies on the host is not what it wrote, and nobody finds the passphrase.
#[test]
fn an_encrypted_volume_is_opened_by_its_secret_alone() {
    on_a_host_within(Duration::from_secs(420), async |host| {
        let before = host.stock().await;
        let (kvmctl, vm) = (host.kvmctl(), host.unique("vault"));
        let dir = tempfile::tempdir().unwrap();
        let (word, file) = ("correct-horse-battery-staple", dir.path().join("word"));
        fs::write(&file, format!("{word}\n")).unwrap();
        let (name, boot) = (format!("{vm}-safe.qcow2"), host.place_boot_disk(&vm).await);
        let volume = format!("default/{name}");
        let create = ["vol", "create", &volume, "64M", "--encrypt", "--passphrase-file", file.to_str().unwrap()];
        let said = kvmctl.ok(&create).await;
        assert!(!said.contains(word), "{said}");
        let image = format!("{IMAGES}/{name}");
        let info = host.exec(&["qemu-img", "info", "--output=json", &image]).await.succeeded();
        let info: Value = serde_json::from_str(&info).unwrap();
        assert_eq!((&info["encrypted"], &info["format"]), (&Value::from(true), &Value::from("qcow2")));
        let about = shown(host, &volume).await;
        assert_eq!(about["encryption"], "luks");
        let secret = about["secret"].as_str().unwrap().to_owned();
        assert!(host.virsh(&["secret-dumpxml", &secret]).await.contains("private='yes'"));
        assert_eq!(kvmctl.run(&["vol", "clone", &volume, "default/other.qcow2"]).await.code, Some(7));

        let (boot, safe) = (format!("volume={boot}"), format!("volume={volume}"));
        let machine = ["--memory", "256M", "--vcpus", "1", "--network", "user", "--start"];
        kvmctl.ok(&[&["vm", "create", &vm, "--disk", &boot], &machine[..]].concat()).await;
        let sh = async |script: &str| {
            let answer = async || host.exec_in_guest(&vm, &["sh", "-c", script]).await;
            eventually(Duration::from_secs(180), "an answer of the guest's agent", answer).await.0
        };
        sh("true").await;
        // Plugged in while it runs, and there after a new start.
        kvmctl.ok(&["disk", "attach", &vm, &safe]).await;
        let mark = "the guest wrote this and nobody else reads it";
        let write = format!(
            "for i in 1 2 3 4 5 6 7 8 9; do [ -b /dev/vdb ] && break; sleep 1; done; echo '{mark}' | dd of=/dev/vdb conv=fsync 2>&1"
        );
        sh(&write).await;
        let stored = host.exec(&["grep", "-c", mark, &image]).await;
        assert_eq!(stored.code, Some(1), "it lies there in the clear: {stored}");
        kvmctl.ok(&["vm", "power-off", &vm]).await;
        kvmctl.ok(&["vm", "start", &vm]).await;
        assert!(sh("head -c 60 /dev/vdb").await.contains(mark));

        for place in ["/proc", "/var/log/libvirt", "/etc/libvirt/qemu"] {
            let search =
                if place == "/proc" { "grep -la -- WORD /proc/[0-9]*/cmdline" } else { "grep -rla -- WORD PLACE" };
            let search = search.replace("WORD", &word.replace('-', "[-]")).replace("PLACE", place);
            let found = host.exec(&["sh", "-c", &search]).await;
            assert_eq!(found.stdout.trim(), "", "the passphrase is in {place}");
        }
        let mut journals = vec![kvmctl.state()];
        while let Some(path) = journals.pop() {
            match fs::read_dir(&path) {
                Ok(entries) => journals.extend(entries.map(|entry| entry.unwrap().path())),
                Err(_) => {
                    let text = fs::read(&path).unwrap();
                    let found = text.windows(word.len()).any(|part| part == word.as_bytes());
                    assert!(!found, "the passphrase is in {}", path.display());
                }
            }
        }
        kvmctl.ok(&["vm", "power-off", &vm]).await;
        kvmctl.ok(&["vm", "delete", &vm, "--delete-volumes", "--yes"]).await;
        assert!(!host.virsh(&["secret-list"]).await.contains(&secret), "the secret goes with its volume");
        host.assert_as(&before).await;
    });
}

#[test]
fn a_secret_goes_with_what_needs_it_and_no_earlier() {
    on_a_host(async |host| {
        let before = host.stock().await;
        let (kvmctl, name) = (host.kvmctl(), host.unique("secret"));
        let place = format!("{IMAGES}/{name}.pool");
        let secret_of = async |volume: &str| shown(host, volume).await["secret"].as_str().unwrap().to_owned();
        let is_kept = async |secret: &str| host.virsh(&["secret-list"]).await.contains(secret);

        // With all the data of a pool.
        kvmctl.ok(&["pool", "create", &name, "--target", &place]).await;
        let volume = format!("{name}/safe.qcow2");
        kvmctl.ok(&["vol", "create", &volume, "16M", "--encrypt"]).await;
        let secret = secret_of(&volume).await;
        let listed = kvmctl.json(&["secret", "list"]).await;
        let listed = listed.as_array().unwrap().iter().find(|other| other["id"] == secret.as_str()).unwrap();
        assert_eq!((&listed["volume"], &listed["private"]), (&volume.as_str().into(), &true.into()), "{listed}");
        let refused = kvmctl.run(&["secret", "delete", &secret, "--yes"]).await;
        assert!(refused.code == Some(5) && refused.stderr.contains(&volume), "{refused}");
        kvmctl.ok(&["pool", "delete", &name, "--destroy-data", "--yes"]).await;
        assert!(!is_kept(&secret).await);

        // With a file that takes the volume's place.
        let volume = format!("default/{name}.qcow2");
        kvmctl.ok(&["vol", "create", &volume, "16M", "--encrypt"]).await;
        let secret = secret_of(&volume).await;
        let dir = tempfile::tempdir().unwrap();
        let file = sparse(dir.path());
        kvmctl.ok(&["vol", "upload", &volume, file.to_str().unwrap(), "--overwrite", "--yes"]).await;
        assert!(!is_kept(&secret).await);
        kvmctl.ok(&["vol", "delete", &volume, "--yes"]).await;

        // By hand, when somebody else has deleted the volume.
        kvmctl.ok(&["vol", "create", &volume, "16M", "--encrypt"]).await;
        let secret = secret_of(&volume).await;
        host.virsh(&["vol-delete", &format!("{name}.qcow2"), "default"]).await;
        kvmctl.ok(&["secret", "delete", &secret, "--yes"]).await;
        assert!(!is_kept(&secret).await);
        host.assert_as(&before).await;
    });
}

#[test]
fn what_is_uploaded_is_downloaded_and_holes_stay_holes() {
    on_a_host(async |host| {
        let before = host.stock().await;
        let (kvmctl, name) = (host.kvmctl(), host.unique("stream"));
        let dir = tempfile::tempdir().unwrap();
        let (file, back) = (sparse(dir.path()), dir.path().join("back.raw"));
        let (from, to) = (file.to_str().unwrap(), back.to_str().unwrap());
        let volume = format!("default/{name}.raw");

        kvmctl.ok(&["vol", "upload", &volume, from, "--verify"]).await;
        let there = host.file(format!("{IMAGES}/{name}.raw"));
        assert!(equal(&file, &there), "the host holds something else");
        assert!(stored(&there) <= 4 * MIB, "{} are stored of 3 MiB", stored(&there));
        let about = shown(host, &volume).await;
        assert_eq!((about["capacity_bytes"].as_u64(), &about["format"]), (Some(64 * MIB), &Value::from("raw")));
        kvmctl.ok(&["vol", "download", &volume, to, "--verify"]).await;
        assert!(equal(&file, &back), "something else came back");
        assert!(stored(&back) <= 4 * MIB, "{} are stored of 3 MiB", stored(&back));

        // Nothing gives way unless it is told to.
        kvmctl.fails(&["vol", "upload", &volume, from], 4, "already", "--overwrite").await;
        kvmctl.fails(&["vol", "download", &volume, to], 4, "already", "--overwrite").await;
        kvmctl.ok(&["vol", "upload", &volume, from, "--overwrite", "--no-sparse", "--yes"]).await;
        assert!(equal(&file, &there) && stored(&there) >= 64 * MIB, "zeros are sent");
        kvmctl.ok(&["vol", "download", &volume, to, "--overwrite", "--no-sparse"]).await;
        assert!(equal(&file, &back));
        let partial = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(partial, 2, "only the two files are there");

        // An image keeps its format, and the host boots from it.
        let boot = host.lab().dir().join("guest/boot.qcow2");
        let image = format!("default/{name}.qcow2");
        kvmctl.ok(&["vol", "upload", &image, boot.to_str().unwrap(), "--verify"]).await;
        let about = shown(host, &image).await;
        assert_eq!(about["format"], "qcow2", "{about}");
        let info = host.virsh(&["vol-info", &format!("{name}.qcow2"), "default"]).await;
        assert!(info.contains("file"), "{info}");
        let again = dir.path().join("again.qcow2");
        kvmctl.ok(&["vol", "download", &image, again.to_str().unwrap()]).await;
        assert!(equal(&boot, &again));

        for volume in [&volume, &image] {
            kvmctl.ok(&["vol", "delete", volume, "--yes"]).await;
        }
        host.assert_as(&before).await;
    });
}

#[test]
fn an_upload_that_was_killed_is_finished_or_taken_back() {
    on_a_host(async |host| {
        let before = host.stock().await;
        let (kvmctl, name) = (host.kvmctl(), host.unique("killed"));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("large.raw");
        let content = pattern(3, 128 * MIB as usize);
        fs::write(&file, &content).unwrap();
        let (volume, from) = (format!("default/{name}.raw"), file.to_str().unwrap());
        let there = host.file(format!("{IMAGES}/{name}.raw"));
        let mut interrupted = 0;
        for (round, word) in (0_u64..6).zip(["undo", "resume"].into_iter().cycle()) {
            let delay = Duration::from_millis(60 + 70 * round);
            kvmctl.killed_after(delay, &["vol", "upload", &volume, from]).await;
            host.mend().await;
            let open = kvmctl.json(&["op", "list"]).await;
            for operation in open.as_array().unwrap().iter().filter(|op| op["status"] == "interrupted") {
                interrupted += 1;
                kvmctl.ok(&["op", word, operation["operation"].as_str().unwrap()]).await;
                assert_eq!(there.exists(), word == "resume", "after {word}");
            }
            if there.exists() {
                assert!(fs::read(&there).unwrap() == content, "it is whole");
                kvmctl.ok(&["vol", "delete", &volume, "--yes"]).await;
            }
        }
        assert!(interrupted > 0, "none was killed in the middle");
        host.assert_as(&before).await;
    });
}

#[test]
fn sizes_change_copies_are_equal_and_wiped_is_wiped() {
    on_a_host(async |host| {
        let before = host.stock().await;
        let (kvmctl, name) = (host.kvmctl(), host.unique("volume"));
        let dir = tempfile::tempdir().unwrap();
        let file = sparse(dir.path());
        let volume = format!("default/{name}.raw");
        let there = host.file(format!("{IMAGES}/{name}.raw"));
        kvmctl.ok(&["vol", "upload", &volume, file.to_str().unwrap()]).await;

        // Larger, and smaller only with the word.
        kvmctl.ok(&["vol", "resize", &volume, "80M"]).await;
        assert_eq!(fs::metadata(&there).unwrap().len(), 80 * MIB);
        assert!(stored(&there) <= 4 * MIB);
        assert_eq!(kvmctl.run(&["vol", "resize", &volume, "64M"]).await.code, Some(2));
        kvmctl.ok(&["vol", "resize", &volume, "64M", "--shrink", "--yes"]).await;
        assert!(equal(&file, &there));

        // A copy beside it, one in another pool, and one that went through another format.
        let pool = host.unique("pool");
        kvmctl.ok(&["pool", "create", &pool, "--target", &format!("/var/lib/libvirt/{pool}")]).await;
        for (from, to, rest) in [
            (volume.clone(), format!("default/{name}-2.raw"), "clone"),
            (volume.clone(), format!("{pool}/{name}.raw"), "clone --reflink never"),
            (volume.clone(), format!("{pool}/{name}.qcow2"), "convert --format qcow2"),
            (format!("{pool}/{name}.qcow2"), format!("{pool}/{name}-back.raw"), "convert --format raw"),
        ] {
            let rest = words(rest);
            kvmctl.ok(&[&["vol", rest[0], &from, &to], &rest[1..]].concat()).await;
            let about = shown(host, &to).await;
            assert_eq!(about["capacity_bytes"], 64 * MIB, "{about}");
            if about["format"] == "raw" {
                let copy = host.file(about["path"].as_str().unwrap());
                assert!(equal(&file, &copy), "{to}");
                assert!(stored(&copy) <= 6 * MIB, "{} are stored in {to}", stored(&copy));
            } else {
                assert_eq!(about["format"], "qcow2");
            }
        }
        let absent = kvmctl.run(&["vol", "clone", &volume, &format!("{pool}/shared.raw"), "--reflink", "always"]).await;
        let listed = kvmctl.json(&["vol", "list", &pool]).await;
        let made = listed.as_array().unwrap().iter().any(|volume| volume["name"] == "shared.raw");
        assert_eq!((absent.code == Some(0), absent.code == Some(7)), (made, !made), "shared or not made: {absent}");

        // The disk of a machine that is off grows; a running one has its own way.
        let (vm, disk) = (host.unique("off"), format!("{pool}/{name}.qcow2"));
        kvmctl
            .ok(&["vm", "create", &vm, "--disk", &format!("volume={disk}"), "--memory", "256M", "--network", "none"])
            .await;
        kvmctl.ok(&["disk", "resize", &vm, "vda", "72M"]).await;
        assert_eq!(shown(host, &disk).await["capacity_bytes"], 72 * MIB);
        kvmctl.ok(&["vm", "start", &vm]).await;
        kvmctl.fails(&["vol", "resize", &disk, "96M"], 5, "while VM", "stop the VM").await;
        kvmctl.fails(&["vol", "wipe", &disk, "--yes"], 5, "while VM", "stop the VM").await;
        kvmctl.fails(&["vol", "clone", &disk, "default/never.qcow2"], 5, "while VM", "stop the VM").await;
        kvmctl.ok(&["vm", "delete", &vm, "--power-off", "--yes"]).await;

        // Larger at once; what is taken is not cut off, but wiped.
        kvmctl.ok(&["vol", "resize", &volume, "96M", "--allocate"]).await;
        assert!(stored(&there) >= 32 * MIB, "{}", stored(&there));
        assert_eq!(kvmctl.run(&["vol", "resize", &volume, "32M", "--shrink", "--yes"]).await.code, Some(5));
        kvmctl.ok(&["vol", "wipe", &volume, "--yes"]).await;
        let wiped = fs::read(&there).unwrap();
        assert_eq!(wiped.iter().position(|byte| *byte != 0), None);
        // libvirt overwrites as much as is stored, the file system's own blocks included.
        assert!((96 * MIB..=97 * MIB).contains(&(wiped.len() as u64)), "{}", wiped.len());
        assert_eq!(kvmctl.run(&["vol", "wipe", &volume, "--pattern", "trim", "--yes"]).await.code, Some(7));

        for volume in kvmctl.json(&["vol", "list", &pool]).await.as_array().unwrap() {
            kvmctl.ok(&["vol", "delete", &format!("{pool}/{}", volume["name"].as_str().unwrap()), "--yes"]).await;
        }
        for volume in [&volume, &format!("default/{name}-2.raw")] {
            kvmctl.ok(&["vol", "delete", volume, "--yes"]).await;
        }
        kvmctl.ok(&["pool", "stop", &pool]).await;
        kvmctl.ok(&["pool", "delete", &pool, "--yes"]).await;
        host.assert_as(&before).await;
    });
}

#[test]
fn a_stream_that_stands_still_is_given_up() {
    on_a_host(async |host| {
        let (kvmctl, name) = (host.kvmctl(), host.unique("stall"));
        let place = format!("default/{name}.raw");
        kvmctl.ok(&["vol", "create", &place, "64M", "--format", "raw"]).await;
        let libvirt = host.libvirt(Config { stall_deadline: Duration::from_secs(3), ..Config::default() }).await;
        let (pool, volume) = ("default".parse().unwrap(), format!("{name}.raw").parse().unwrap());
        let content = Storage::content(&*libvirt).unwrap();
        let length = Bytes::from_mib(64);
        let mut writer = content.upload(&pool, &volume, length, Holes::Fill).await.unwrap();
        let piece = || Piece::Data(pattern(4, MIB as usize));
        writer.write(piece()).await.unwrap();
        host.fault(&["stop", "libvirtd"]).await;
        let mut ended = None;
        while ended.is_none() {
            ended = writer.write(piece()).await.err();
        }
        assert_eq!(ended.map(|e| e.kind()), Some(ErrorKind::Timeout));
        drop(writer);
        host.fault(&["cont", "libvirtd"]).await;
        // The next call opens another connection, and the host lets go of the volume.
        content.definition(&pool, &volume).await.unwrap();
        let deleted = async || (kvmctl.run(&["vol", "delete", &place, "--yes"]).await.code == Some(0)).then_some(());
        eventually(Duration::from_secs(60), "the volume is let go", deleted).await;
    });
}

/// Each kind of pool with the words that it needs.
const POOLS: [&str; 9] = [
    "dir --target /srv/a",
    "fs --target /srv/a --source-device /dev/sdb1 --source-format ext4",
    "netfs --target /srv/a --source-host nas --source-dir /export/vm --source-format nfs",
    "logical --source-name vg0 --source-device /dev/sdb --source-device /dev/sdc",
    "disk --source-device /dev/sdb --source-format gpt",
    "iscsi --source-host san:3260 --source-device iqn.2024-01.org.example:a --auth-user me --auth-secret chap",
    "iscsi-direct --source-host san --source-device iqn.2024-01.org.example:a --initiator iqn.2024-01.org.example:me",
    "rbd --source-host a --source-host b:6789 --source-name vms --auth-user me --auth-secret ceph",
    "zfs --source-name tank/vms",
];

/// What libvirt's schema says of a document.
async fn validate(dir: &Path, name: &str, document: &str, schema: &str) {
    let file = dir.join(name.replace(['/', ' '], "-"));
    fs::write(&file, document).unwrap();
    let argv = ["virt-xml-validate", file.to_str().unwrap(), schema];
    let ended = kvm_lab::Program::new(argv).run().await;
    assert_eq!(ended.code, Some(0), "{name}: {ended}\n{document}");
}

#[test]
fn documents_keep_to_the_schema_and_libvirt_takes_them() {
    on_a_host(async |host| {
        let dir = tempfile::tempdir().unwrap();
        // Its state ends with each command, and it has all kinds of pools.
        let driver = Kvmctl::new(["-c", "test:///default"]);
        for pool in POOLS {
            let (kind, rest) = pool.split_once(' ').unwrap();
            let asked = [&["pool", "create", "made", "--type", kind], &words(rest)[..]].concat();
            let document = driver.ok(&[&asked[..], &["--print-xml"]].concat()).await;
            validate(dir.path(), kind, &document, "storagepool").await;
            driver.ok(&asked).await;
        }
        for options in [
            "--format raw --preallocation full",
            "--format qcow2 --cluster-size 128K --compat 1.1 --lazy-refcounts --extended-l2",
            "--format qcow2 --compat 0.10 --preallocation metadata",
        ] {
            let asked = [&["vol", "create", "default-pool/made", "1G"], &words(options)[..]].concat();
            let document = driver.ok(&[&asked[..], &["--print-xml"]].concat()).await;
            validate(dir.path(), options, &document, "storagevol").await;
        }
        let volume_groups = driver.json(&["pool", "discover", "logical"]).await;
        assert!(volume_groups.as_array().is_some_and(|found| !found.is_empty()), "{volume_groups}");

        // And on a real host, what its QEMU makes of them.
        let (kvmctl, name) = (host.kvmctl(), host.unique("made"));
        let before = host.stock().await;
        for (number, (options, key, value)) in [
            ("--cluster-size 128K --lazy-refcounts", "features", Value::from(vec!["lazy_refcounts"])),
            ("--compat 0.10", "compat", Value::from("0.10")),
            ("--cluster-size 2M", "cluster_size_bytes", Value::from(2 * MIB)),
            ("--preallocation metadata", "format", Value::from("qcow2")),
        ]
        .into_iter()
        .enumerate()
        {
            let volume = format!("default/{name}-{number}.qcow2");
            kvmctl.ok(&[&["vol", "create", &volume, "64M"], &words(options)[..]].concat()).await;
            assert_eq!(shown(host, &volume).await[key], value, "{options}");
        }
        let full = format!("default/{name}-full.raw");
        kvmctl.ok(&["vol", "create", &full, "16M", "--format", "raw", "--preallocation", "full"]).await;
        assert!(shown(host, &full).await["allocation_bytes"].as_u64() >= Some(16 * MIB));

        // A chain of three, seen from its top, and found where nobody refers to it.
        let (base, middle, top) = (
            format!("default/{name}-0.qcow2"),
            format!("default/{name}-middle.qcow2"),
            format!("default/{name}-top.qcow2"),
        );
        kvmctl.ok(&["vol", "create", &middle, "--backing", &base]).await;
        kvmctl.ok(&["vol", "create", &top, "128M", "--backing", &middle]).await;
        let about = shown(host, &top).await;
        assert_eq!(
            (&about["chain"][0]["volume"], &about["chain"][1]["volume"]),
            (&middle.into(), &base.clone().into())
        );
        let orphans = kvmctl.json(&["vol", "list", "--orphans"]).await;
        let is_orphan = |name: &str| orphans.as_array().unwrap().iter().any(|orphan| orphan["name"] == name);
        assert!(is_orphan(&format!("{name}-top.qcow2")) && !is_orphan(&format!("{name}-0.qcow2")), "{orphans}");
        assert_eq!(kvmctl.run(&["vol", "wipe", &base, "--yes"]).await.code, Some(5), "others lie upon it");

        // In the order of their names; what lies upon another one comes later, and goes first.
        assert_eq!(kvmctl.run(&["vol", "delete", &base, "--yes"]).await.code, Some(5), "others lie upon it");
        for volume in kvmctl.json(&["vol", "list", "default"]).await.as_array().unwrap().iter().rev() {
            let volume = volume["name"].as_str().unwrap();
            if volume.starts_with(&name) {
                kvmctl.ok(&["vol", "delete", &format!("default/{volume}"), "--yes"]).await;
            }
        }
        host.assert_as(&before).await;
    });
}

#[test]
fn a_pool_goes_with_its_data_when_nobody_needs_it() {
    on_a_host(async |host| {
        let (kvmctl, pool) = (host.kvmctl(), host.unique("doomed"));
        let target = format!("/var/lib/libvirt/{pool}");
        kvmctl.ok(&["pool", "create", &pool, "--target", &target]).await;
        let (below, above) = (format!("{pool}/below.qcow2"), format!("{pool}/above.qcow2"));
        kvmctl.ok(&["vol", "create", &below, "8M"]).await;
        kvmctl.ok(&["vol", "create", &above, "--backing", &below]).await;
        let vm = host.unique("user");
        let disk = format!("volume={above}");
        kvmctl.ok(&["vm", "create", &vm, "--disk", &disk, "--memory", "256M", "--network", "none"]).await;
        assert_eq!(kvmctl.run(&["pool", "delete", &pool, "--destroy-data", "--yes"]).await.code, Some(5), "in use");
        kvmctl.ok(&["vm", "delete", &vm, "--yes"]).await;
        kvmctl.ok(&["pool", "delete", &pool, "--destroy-data", "--yes"]).await;
        assert!(!host.file(&target).exists(), "its directory is gone");
        assert_eq!(kvmctl.run(&["pool", "show", &pool]).await.code, Some(3));
    });
}

/// A block device of the host with nothing on it, and the file behind it.
async fn loop_device(host: &LabHost, file: &str) -> String {
    host.exec(&["truncate", "-s", "64M", file]).await.succeeded();
    host.exec(&["losetup", "-f", "--show", file]).await.succeeded().trim().to_owned()
}

#[test]
fn a_file_system_on_a_device_is_a_pool() {
    on_a_host(async |host| {
        let before = host.stock().await;
        let (kvmctl, pool) = (host.kvmctl(), host.unique("fs"));
        let (file, target) = (format!("/var/lib/libvirt/{pool}.img"), format!("/var/lib/libvirt/{pool}"));
        let device = loop_device(host, &file).await;
        let source = ["--type", "fs", "--source-device", &device, "--source-format", "ext4", "--target", &target];
        // Without the word nothing is formatted, and nothing is left of the attempt.
        let failed = kvmctl.run(&[&["pool", "create", &pool], &source[..], &["--yes"]].concat()).await;
        assert_ne!(failed.code, Some(0), "{}", failed.stdout);
        assert!(!host.virsh(&["pool-list", "--all", "--name"]).await.contains(&pool));

        kvmctl.ok(&[&["pool", "create", &pool], &source[..], &["--format", "--yes"]].concat()).await;
        let mounted = host.exec(&["findmnt", "-n", "-o", "SOURCE,FSTYPE", &target]).await.succeeded();
        assert_eq!(mounted.split_whitespace().collect::<Vec<_>>(), [device.as_str(), "ext4"]);
        let dir = tempfile::tempdir().unwrap();
        let (from, back) = (dir.path().join("from.raw"), dir.path().join("back.raw"));
        fs::write(&from, pattern(7, 3 * MIB as usize)).unwrap();
        let volume = format!("{pool}/data.raw");
        kvmctl.ok(&["vol", "upload", &volume, from.to_str().unwrap(), "--verify"]).await;

        // It is there again when the device is mounted again, and formatting it once more needs a word of its own.
        kvmctl.ok(&["pool", "stop", &pool, "--yes"]).await;
        assert_ne!(host.exec(&["findmnt", &target]).await.code, Some(0), "it is still mounted");
        kvmctl.ok(&["pool", "delete", &pool, "--yes"]).await;
        let refused = kvmctl.run(&[&["pool", "create", &pool], &source[..], &["--format", "--yes"]].concat()).await;
        assert_ne!(refused.code, Some(0), "{}", refused.stdout);
        kvmctl.ok(&[&["pool", "create", &pool], &source[..], &["--yes"]].concat()).await;
        kvmctl.ok(&["vol", "download", &volume, back.to_str().unwrap()]).await;
        assert!(equal(&from, &back), "something else came back");

        kvmctl.ok(&["pool", "stop", &pool, "--yes"]).await;
        kvmctl.ok(&["pool", "delete", &pool, "--yes"]).await;
        host.exec(&["losetup", "-d", &device]).await.succeeded();
        host.exec(&["rm", &file]).await.succeeded();
        host.exec(&["rmdir", &target]).await.succeeded();
        host.assert_as(&before).await;
    });
}
