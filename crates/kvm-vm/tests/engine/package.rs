//! Machines that leave as one file and come back, and packages that nobody should take in.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use async_trait::async_trait;
use kvm_archive::{BundleImage, Package, unwatched, write_bundle};
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Plan};
use kvm_core::{
    Bytes, ErrorKind, Existing, Holes, Host, Piece, PoolName, Result, Secrets, Silent, View, VmSummary, VolumeName,
};
use kvm_image::{Disk, Format};
use kvm_mock::Mock;
use kvm_vm::{
    CreatePlan, Identity, NetworkMap, NicLink, PackageExport, PackageForm, PackageImport, VolumeFormat, plan_create,
    plan_package_export, plan_package_import,
};
use kvm_xml::{Document as _, StorageVolume};
use tokio_util::sync::CancellationToken;

use crate::support::{Bench, catalogue, picture, said, spec};

/// A machine with a disk in each format.
const SHOP: &str = r#"{
    "name": "shop", "memory": "512MiB", "vcpus": 3, "firmware": "uefi", "description": "orders & stock",
    "disks": [{"size": "3MiB", "format": "raw"}, {"size": "5MiB"}],
    "nics": [{"network": "default", "mac": "52:54:00:0a:0b:0c"}]
}"#;

fn disk(seed: u8, mebibytes: usize) -> Vec<u8> {
    let mut bytes = vec![0; mebibytes << 20];
    bytes[200_000..900_000].iter_mut().zip(0_u32..).for_each(|(byte, i)| *byte = seed ^ (i / 13) as u8);
    bytes
}

async fn upload(host: &Host, volume: &str, bytes: &[u8]) {
    let (pool, volume): (PoolName, VolumeName) = ("default".parse().unwrap(), volume.parse().unwrap());
    let content = host.storage.content().unwrap();
    let length = Bytes::new(bytes.len() as u64);
    let mut writer = content.upload(&pool, &volume, length, Holes::Fill).await.unwrap();
    for piece in bytes.chunks(1 << 20) {
        writer.write(Piece::Data(piece.to_vec())).await.unwrap();
    }
    writer.finish().await.unwrap();
}

/// What a guest would see of a volume.
async fn seen(host: &Host, volume: &str, format: Format) -> Vec<u8> {
    let (pool, volume): (PoolName, VolumeName) = ("default".parse().unwrap(), volume.parse().unwrap());
    let mut reader = host.storage.content().unwrap().download(&pool, &volume, Holes::Keep).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await.unwrap() {
        match piece {
            Piece::Data(data) => bytes.extend(data),
            Piece::Hole(length) => bytes.resize(bytes.len() + length.get() as usize, 0),
        }
    }
    let mut disk = Disk::open(&bytes, format).unwrap();
    let mut all = vec![0; disk.size().get() as usize];
    disk.read(0, &mut all).unwrap();
    all
}

/// The machine, off, with something on its raw disk and nothing on the other one.
async fn shop(bench: &Bench) -> VmSummary {
    let document = plan_create(&bench.host, &spec(SHOP), &bench.cx()).await.unwrap().document;
    for (volume, format, size) in [("shop.img", "raw", 3), ("shop-1.qcow2", "qcow2", 5)] {
        let volume = format!(
            "<volume><name>{volume}</name><capacity unit='MiB'>{size}</capacity><allocation>0</allocation>\
             <target><format type='{format}'/></target></volume>"
        );
        let volume = StorageVolume::from_xml(&volume).unwrap();
        bench.host.storage.create_volume(&"default".parse().unwrap(), &volume).await.unwrap();
    }
    bench.host.hypervisor.define(&document, Existing::Reject).await.unwrap();
    upload(&bench.host, "shop.img", &disk(5, 3)).await;
    bench.vm("shop").await
}

fn wanted(file: &Path, form: PackageForm) -> PackageExport {
    PackageExport { file: file.to_owned(), form, secrets: Secrets::Hide }
}

fn files(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> =
        entries.map(|entry| format!("{} {}", entry.file_name().display(), entry.metadata().unwrap().len())).collect();
    files.sort();
    files
}

async fn export(bench: &Bench, file: &Path, form: PackageForm) {
    let vm = shop(bench).await;
    let plan = plan_package_export(&bench.host, &vm, &wanted(file, form)).await.unwrap();
    bench.run(plan).await.unwrap();
    bench.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn an_appliance_comes_back_as_another_machine() {
    let (bench, dir) = (Bench::new(), tempfile::tempdir().unwrap());
    let file = dir.path().join("shop.ova");
    export(&bench, &file, PackageForm::Ova).await;
    assert_eq!(files(dir.path()).len(), 1, "nothing beside it");
    let import = PackageImport {
        name: Some("shop-2".parse().unwrap()),
        networks: vec!["default=idle".parse().unwrap()],
        ..PackageImport::new(file.clone(), dir.path().to_owned())
    };
    let plan = planned(&bench, &import).await.unwrap();
    let text = plan.plan.to_string();
    for line in ["all its digests hold", "default/shop-2.qcow2", "3 MiB, qcow2", "idle"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    bench.run(plan.plan).await.unwrap();
    bench.assert_nothing_open().await;
    let vm = bench.vm("shop-2").await;
    assert_eq!((vm.vcpus, vm.max_memory), (Some(3), Some(Bytes::from_mib(512))));
    let document = bench.host.hypervisor.definition(&vm.id, View::CONFIG).await.unwrap().to_xml();
    for part in ["firmware='efi'", "orders &amp; stock", "bus='virtio'", "network='idle'"] {
        assert!(document.contains(part), "{part}: {document}");
    }
    assert!(seen(&bench.host, "shop-2.qcow2", Format::Qcow2).await == disk(5, 3));
    assert!(seen(&bench.host, "shop-2-1.qcow2", Format::Qcow2).await == vec![0; 5 << 20]);
    assert_eq!(files(dir.path()).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_bundle_comes_back_as_it_was_or_as_a_copy() {
    let (bench, dir) = (Bench::new(), tempfile::tempdir().unwrap());
    let file = dir.path().join("shop.tar.zst");
    export(&bench, &file, PackageForm::Bundle).await;
    let same = PackageImport::new(file.clone(), dir.path().to_owned());
    let e = planned(&bench, &same).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::AlreadyExists, "{e}");
    let copy = PackageImport {
        name: Some("copy".parse().unwrap()),
        format: Some(VolumeFormat::Raw),
        identity: Identity::Fresh,
        networks: vec!["user".parse().unwrap()],
        ..same
    };
    let plan = planned(&bench, &copy).await.unwrap();
    bench.run(plan.plan).await.unwrap();
    let vm = bench.vm("copy").await;
    let document = bench.host.hypervisor.definition(&vm.id, View::CONFIG).await.unwrap().to_xml();
    for part in ["/images/copy.img", "/images/copy-1.img", "type='user'", "orders &amp; stock"] {
        assert!(document.contains(part), "{part}: {document}");
    }
    assert!(!document.contains("52:54:00:0a:0b:0c") && !document.contains("/images/shop"), "{document}");
    assert!(seen(&bench.host, "copy.img", Format::Raw).await == disk(5, 3));

    // On a host that does not know it, it is the same machine.
    let elsewhere = Bench::new();
    let same = PackageImport::new(file, dir.path().to_owned());
    let plan = planned(&elsewhere, &same).await.unwrap();
    elsewhere.run(plan.plan).await.unwrap();
    let there = elsewhere.vm("shop").await;
    assert_eq!(there.id, bench.vm("shop").await.id);
    let document = elsewhere.host.hypervisor.definition(&there.id, View::CONFIG).await.unwrap().to_xml();
    assert!(document.contains("52:54:00:0a:0b:0c"), "{document}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_exported_is_refused_before_anything_is_written() {
    let (bench, dir) = (Bench::new(), tempfile::tempdir().unwrap());
    let file = dir.path().join("x.ova");
    let ova = wanted(&file, PackageForm::Ova);
    let running = bench.vm("build-01").await;
    let e = plan_package_export(&bench.host, &running, &ova).await.unwrap_err();
    assert!(said(&e).starts_with("invalid_state [VM build-01]: VM build-01 is running"), "{}", said(&e));
    let vm = shop(&bench).await;
    let nowhere = wanted(&dir.path().join("none/x.ova"), PackageForm::Ova);
    let plan = plan_package_export(&bench.host, &vm, &nowhere).await.unwrap();
    assert_eq!(bench.run(plan).await.unwrap_err().kind(), ErrorKind::NotFound);
    File::create(&file).unwrap();
    let e = plan_package_export(&bench.host, &vm, &ova).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::AlreadyExists, "{e}");
    assert_eq!(files(dir.path()), ["x.ova 0"]);
}

/// A bundle with this document and one disk.
fn bundle(dir: &Path, definition: &str, bytes: &[u8]) -> PathBuf {
    let file = dir.join("hostile.tar.zst");
    let disk = Disk::open(&bytes, Format::Raw).unwrap();
    let mut images = [BundleImage { target: "vda".into(), disk }];
    write_bundle(File::create(&file).unwrap(), definition, &mut images, &mut unwatched).unwrap();
    Package::open(&file, dir, &mut unwatched).unwrap();
    file
}

#[tokio::test(start_paused = true)]
async fn the_document_of_a_bundle_may_only_have_what_a_stranger_may() {
    let (bench, dir) = (Bench::new(), tempfile::tempdir().unwrap());
    let document = |devices: &str| {
        let create = "<domain type='kvm'><name>x</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>\
             <os><type arch='x86_64' machine='q35'>hvm</type></os><devices>\
             <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/etc/shadow'/>\
             <target dev='vda' bus='virtio'/></disk>";
        format!("{create}{devices}</devices></domain>")
    };
    let before = bench.picture().await;
    let bytes = disk(1, 1);
    for (devices, part) in [
        ("<hostdev mode='subsystem' type='pci'/>", "domain/devices/hostdev"),
        ("<serial type='file'><source path='/etc/cron.d/x'/></serial>", "domain/devices/serial"),
        ("<filesystem><source dir='/'/><target dir='root'/></filesystem>", "domain/devices/filesystem"),
        ("<interface type='ethernet'><script path='/tmp/x'/></interface>", "domain/devices/interface"),
    ] {
        let file = bundle(dir.path(), &document(devices), &bytes);
        let import = PackageImport::new(file, dir.path().to_owned());
        let e = planned(&bench, &import).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput, "{part}: {e}");
        assert!(said(&e).contains(part), "{part}: {}", said(&e));
    }
    // A disk more than the bundle has would be one of the host's.
    let more = "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/etc/shadow'/>\
         <target dev='vdb' bus='virtio'/></disk>";
    let import = PackageImport::new(bundle(dir.path(), &document(more), &bytes), dir.path().to_owned());
    let e = planned(&bench, &import).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}");
    // What it says of places on another host means nothing.
    let import = PackageImport::new(bundle(dir.path(), &document(""), &bytes), dir.path().to_owned());
    let plan = planned(&bench, &import).await.unwrap();
    let xml = plan.document.to_xml();
    assert!(xml.contains("/images/x.qcow2") && !xml.contains("shadow"), "{xml}");
    assert_eq!(bench.picture().await, before);
}

/// Plans without telling anybody.
async fn planned(bench: &Bench, import: &PackageImport) -> Result<CreatePlan> {
    plan_package_import(&bench.host, import, &bench.cx(), &Silent, &CancellationToken::new()).await
}

/// A server moves its futures between threads.
#[tokio::test(start_paused = true)]
async fn planning_a_package_can_move_between_threads() {
    fn check<T: Send>(_: T) {}
    let bench = Bench::new();
    let (vm, import) = (bench.vm("db").await, PackageImport::new("/x".into(), "/".into()));
    check(planned(&bench, &import));
    check(plan_package_export(&bench.host, &vm, &wanted(Path::new("/x"), PackageForm::Ova)));
}

#[test]
fn networks_are_named_one_by_one_or_all_at_once() {
    let map = |text: &str| text.parse::<NetworkMap>().map(|map| (map.from, map.to));
    let network = |name: &str| NicLink::Network(name.parse().unwrap());
    assert_eq!(map("default").unwrap(), (None, network("default")));
    assert_eq!(map("VM Network=lan").unwrap(), (Some("VM Network".into()), network("lan")));
    assert_eq!(map("a=user").unwrap(), (Some("a".into()), NicLink::User));
    assert!(matches!(map("a=bridge=br0").unwrap(), (Some(_), NicLink::Bridge(_))));
    assert!(matches!(map("bridge=br0").unwrap(), (None, NicLink::Bridge(_))));
    for bad in ["", "a=", "a=default,model=e1000", "a=../x", "a=bridge=lo"] {
        assert_eq!(map(bad).unwrap_err().kind(), ErrorKind::InvalidInput, "{bad}");
    }
}

/// A plan, its world, and where packages are.
struct Template {
    mock: Mutex<Option<Mock>>,
    dir: tempfile::TempDir,
    form: PackageForm,
    /// What is imported; without it an export is tried.
    package: Option<PathBuf>,
}

impl Template {
    fn export(form: PackageForm) -> Self {
        Self { mock: Mutex::new(None), dir: tempfile::tempdir().unwrap(), form, package: None }
    }

    async fn import(form: PackageForm) -> Self {
        let template = Self::export(form);
        let package = template.dir.path().join("made");
        export(&Bench::new(), &package, form).await;
        Self { package: Some(package), ..template }
    }
}

#[async_trait]
impl Scenario for Template {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let (bench, file) = (Bench::new(), self.dir.path().join("package"));
        *self.mock.lock().unwrap() = Some(bench.mock.clone());
        if let Some(package) = &self.package {
            let import = PackageImport::new(package.clone(), self.dir.path().to_owned());
            let plan = planned(&bench, &import).await?.plan;
            return Ok((bench.host, plan));
        }
        if file.exists() {
            std::fs::remove_file(&file).unwrap();
        }
        let vm = shop(&bench).await;
        let plan = plan_package_export(&bench.host, &vm, &wanted(&file, self.form)).await?;
        Ok((bench.host, plan))
    }

    async fn inventory(&self, host: &Host) -> Result<String> {
        let mock = self.mock.lock().unwrap().clone().unwrap();
        Ok(format!("{}\n{}", picture(host, &mock).await?, files(self.dir.path()).join("\n")))
    }

    fn catalogue(&self) -> Catalogue {
        catalogue()
    }
}

#[tokio::test(start_paused = true)]
async fn an_export_ends_before_or_after_whatever_fails_at_whatever_step() {
    let coverage = check(&Template::export(PackageForm::Ova)).await.unwrap();
    assert_eq!(coverage.steps, 2);
}

#[tokio::test(start_paused = true)]
async fn an_import_ends_before_or_after_whatever_fails_at_whatever_step() {
    for form in [PackageForm::Ova, PackageForm::Bundle] {
        let coverage = check(&Template::import(form).await).await.unwrap();
        assert_eq!(coverage.steps, 5, "two volumes, each made and filled, and the machine");
    }
}
