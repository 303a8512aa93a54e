//! Encrypted volumes, and the secrets that open them.

use std::sync::Mutex;

use async_trait::async_trait;
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Plan};
use kvm_core::{
    Autostart, Build, Bytes, ErrorKind, Existing, Holes, Host, Passphrase, PowerAction, Quiesce, Resize, Result,
    SecretInfo, View,
};
use kvm_mock::{Fault, Method, Mock};
use kvm_vm::{
    DeleteOptions, DiskAttach, DiskDetach, DiskMove, ImageCheck, KeepMemory, PoolData, Sharing, SnapshotCreate, Upload,
    Verify, VolumeCopy, VolumeSpec, Volumes, create_volume, plan_create, plan_delete, plan_disk_attach,
    plan_disk_detach, plan_disk_move, plan_encrypted_volume, plan_pool_create, plan_pool_delete, plan_secret_delete,
    plan_snapshot, plan_upload, plan_volume_copy, plan_volume_delete, resize_volume, volume_details, volume_document,
};

use crate::support::{Bench, catalogue, picture, said, spec};

const WORD: &str = "correct horse battery staple";

fn safe() -> VolumeSpec {
    VolumeSpec::new("default/safe.qcow2".parse().unwrap(), Bytes::from_gib(10))
}

async fn create(bench: &Bench) -> Result<Plan> {
    let word = Passphrase::parse(WORD).unwrap();
    plan_encrypted_volume(&bench.host, &safe(), Some(word), &bench.cx()).await
}

async fn secrets(host: &Host) -> Vec<SecretInfo> {
    host.storage.secrets().unwrap().list().await.unwrap()
}

/// The host with an encrypted volume.
async fn bench() -> Bench {
    let bench = Bench::new();
    bench.run(create(&bench).await.unwrap()).await.unwrap();
    bench
}

async fn attach(bench: &Bench, vm: &str, disk: &str) -> Result<()> {
    let wanted = DiskAttach { disk: disk.parse()?, target: None, impact: None, allow_overcommit: false };
    let plan = plan_disk_attach(&bench.host, &bench.vm(vm).await, &wanted, &bench.cx()).await?;
    bench.run(plan.plan).await
}

#[tokio::test(start_paused = true)]
async fn an_encrypted_volume_comes_with_its_secret_and_nobody_sees_the_passphrase() {
    let bench = Bench::new();
    let plan = create(&bench).await.unwrap();
    let steps: Vec<_> = plan.steps.iter().map(|step| step.to_json().unwrap().to_string()).collect();
    let shown = format!("{plan} {plan:?} {}", steps.join(" "));
    assert!(!shown.contains("horse"), "{shown}");
    bench.run(plan).await.unwrap();
    bench.assert_nothing_open().await;
    let all = secrets(&bench.host).await;
    let [secret] = all.as_slice() else { panic!("{all:?}") };
    assert!(secret.private && !secret.ephemeral);
    assert_eq!((secret.kind.as_deref(), secret.usage.as_deref()), (Some("volume"), Some("/images/safe.qcow2")));
    let details = volume_details(&bench.host, &safe().volume).await.unwrap();
    assert_eq!((details.encryption.as_deref(), details.secret), (Some("luks"), Some(secret.id)));
    assert!(!bench.picture().await.contains("horse"));
    // Another one for the same path would open nothing.
    let e = create(&bench).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::AlreadyExists);
}

#[tokio::test(start_paused = true)]
async fn a_machine_gets_the_secret_with_the_volume_and_starts() {
    let bench = bench().await;
    let id = secrets(&bench.host).await[0].id;
    attach(&bench, "db", "volume=default/safe.qcow2").await.unwrap();
    let vm = bench.vm("db").await;
    let document = bench.host.hypervisor.definition(&vm.id, View::CONFIG).await.unwrap();
    let disks = document.devices.unwrap().disk;
    let encryption = disks.last().unwrap().source.as_ref().unwrap().encryption.clone().unwrap();
    assert_eq!(encryption.secret[0].uuid, Some(id.into()));
    bench.host.hypervisor.power(&vm.id, PowerAction::Start).await.unwrap();
    // Taken out for good, the passphrase goes as well.
    bench.host.hypervisor.power(&vm.id, PowerAction::PowerOff).await.unwrap();
    let target = disks.last().unwrap().target.as_ref().unwrap().dev.clone().unwrap();
    let wanted = DiskDetach { volume: Volumes::Delete, ..DiskDetach::new(target) };
    let plan = plan_disk_detach(&bench.host, &bench.vm("db").await, &wanted).await.unwrap();
    assert!(plan.to_string().contains("passphrase of default/safe.qcow2"), "{plan}");
    bench.run(plan).await.unwrap();
    assert_eq!(secrets(&bench.host).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_new_machine_and_a_new_disk_have_passphrases_of_their_own() {
    let bench = Bench::new();
    let wanted = spec(
        r#"{"name": "vault", "disks": [{"size": "10GiB", "encrypt": "luks"}, {"size": "1GiB", "encrypt": "luks"}]}"#,
    );
    let plan = plan_create(&bench.host, &wanted, &bench.cx()).await.unwrap();
    bench.run(plan.plan).await.unwrap();
    attach(&bench, "vault", "1G,encrypt").await.unwrap();
    let ids: std::collections::BTreeSet<_> = secrets(&bench.host).await.into_iter().map(|secret| secret.id).collect();
    assert_eq!(ids.len(), 3);
    let vm = bench.vm("vault").await;
    bench.host.hypervisor.power(&vm.id, PowerAction::Start).await.unwrap();
    bench.host.hypervisor.power(&vm.id, PowerAction::PowerOff).await.unwrap();
    let options = DeleteOptions { volumes: Volumes::Delete, ..DeleteOptions::default() };
    bench.run(plan_delete(&bench.host, &bench.vm("vault").await, &options).await.unwrap()).await.unwrap();
    assert_eq!(secrets(&bench.host).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_volume_without_a_secret_is_not_plugged_in() {
    let bench = bench().await;
    let store = bench.host.storage.secrets().unwrap();
    store.undefine(&secrets(&bench.host).await[0].id).await.unwrap();
    let e = attach(&bench, "db", "volume=default/safe.qcow2").await.unwrap_err();
    assert!(said(&e).contains("give its key as a secret"), "{}", said(&e));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_in_the_clear_and_nothing_needs_a_passphrase_that_is_not_there() {
    let bench = bench().await;
    attach(&bench, "db", "volume=default/safe.qcow2").await.unwrap();
    let volume = safe().volume;
    let copy = VolumeCopy {
        from: volume.clone(),
        to: "default/copy.qcow2".parse().unwrap(),
        format: None,
        size: None,
        sharing: Sharing::Auto,
    };
    let before = bench.picture().await;
    let mut refused = vec![plan_volume_copy(&bench.host, &copy).await.unwrap_err()];
    refused.push(resize_volume(&bench.host, &volume, Bytes::from_gib(20), Resize::Grow).await.unwrap_err());
    let above = VolumeSpec {
        backing: Some("default/safe.qcow2".parse().unwrap()),
        ..VolumeSpec::new("default/above.qcow2".parse().unwrap(), Bytes::from_gib(10))
    };
    refused.push(create_volume(&bench.host, &above, &bench.policy).await.unwrap_err());
    let vm = bench.vm("db").await;
    let wanted = DiskMove::new("vdc".parse().unwrap(), "iso".parse().unwrap());
    refused.push(plan_disk_move(&bench.host, &vm, &wanted, &bench.cx()).await.unwrap_err());
    let external = SnapshotCreate {
        kind: Some(kvm_core::SnapshotKind::External),
        name: "one".parse().unwrap(),
        description: None,
        memory: KeepMemory::IfRunning,
        quiesce: Quiesce::No,
    };
    refused.push(plan_snapshot(&bench.host, &vm, &external).await.unwrap_err());
    for e in &refused {
        assert_eq!(e.kind(), ErrorKind::Unsupported, "{}", said(e));
        assert!(said(e).contains("encrypted"), "{}", said(e));
    }
    let in_use = plan_volume_delete(&bench.host, &volume).await.unwrap_err();
    assert_eq!(in_use.kind(), ErrorKind::InvalidState, "{}", said(&in_use));
    assert_eq!(bench.picture().await, before);
}

#[tokio::test(start_paused = true)]
async fn a_secret_stays_while_a_document_names_it() {
    let bench = bench().await;
    let plan = plan_volume_delete(&bench.host, &safe().volume).await.unwrap();
    let id = secrets(&bench.host).await[0].id;
    // Somebody has another image that the same passphrase opens.
    let vm = bench.vm("db").await;
    let mut document = bench.host.hypervisor.definition(&vm.id, View::CONFIG).await.unwrap();
    let xml = format!(
        "<source file='/images/db.qcow2'><encryption format='luks'><secret type='passphrase' uuid='{id}'/></encryption></source>"
    );
    let disk = format!("<disk type='file'>{xml}<target dev='vda'/></disk>");
    let disk: kvm_xml::domain::Disk = kvm_xml::Document::from_xml(&disk).unwrap();
    document.devices.as_mut().unwrap().disk[0].source = disk.source;
    bench.host.hypervisor.define(&document, Existing::Replace).await.unwrap();
    bench.run(plan).await.unwrap();
    assert_eq!(secrets(&bench.host).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn only_what_fits_an_encrypted_image_is_taken() {
    let bench = Bench::new();
    for wrong in [
        VolumeSpec { format: Some(kvm_vm::VolumeFormat::Raw), ..safe() },
        VolumeSpec { preallocation: kvm_vm::Preallocation::Metadata, ..safe() },
        VolumeSpec { backing: Some("default/base.qcow2".parse().unwrap()), ..safe() },
    ] {
        let e = plan_encrypted_volume(&bench.host, &wrong, None, &bench.cx()).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput, "{}", said(&e));
    }
    let shown = volume_document(&VolumeSpec { encrypted: kvm_vm::Encrypted::Yes, ..safe() }).unwrap();
    assert!(shown.contains("<encryption format='luks'/>"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn a_passphrase_that_did_not_arrive_leaves_nothing() {
    let bench = Bench::new();
    let before = bench.picture().await;
    for method in [Method::DefineSecret, Method::SetSecretValue, Method::CreateVolume] {
        for fault in [Fault::next(method, ErrorKind::Busy), Fault::next(method, ErrorKind::Denied)] {
            let plan = create(&bench).await.unwrap();
            bench.mock.inject(fault);
            let e = bench.run(plan).await.unwrap_err();
            assert!(!said(&e).contains("horse") && !format!("{e:?}").contains("horse"), "{e:?}");
            assert_eq!(bench.picture().await, before, "{method}");
            bench.assert_nothing_open().await;
        }
    }
}

struct Deleting(Mutex<Option<Mock>>);

#[async_trait]
impl Scenario for Deleting {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let bench = bench().await;
        let plan = plan_volume_delete(&bench.host, &safe().volume).await?;
        *self.0.lock().unwrap() = Some(bench.mock.clone());
        Ok((bench.host, plan))
    }

    async fn inventory(&self, host: &Host) -> Result<String> {
        let mock = self.0.lock().unwrap().clone().unwrap();
        picture(host, &mock).await
    }

    fn catalogue(&self) -> Catalogue {
        catalogue()
    }
}

#[tokio::test(start_paused = true)]
async fn a_volume_and_its_secret_go_together_whatever_fails_at_whatever_step() {
    let coverage = check(&Deleting(Mutex::new(None))).await.unwrap();
    assert_eq!(coverage.steps, 2);
}

#[tokio::test(start_paused = true)]
async fn the_passphrases_of_a_pool_go_with_its_volumes() {
    let bench = Bench::new();
    let spec = kvm_vm::PoolSpec::new("vault".parse().unwrap(), kvm_vm::PoolKind::Dir);
    let spec = kvm_vm::PoolSpec { target: Some("/vault".parse().unwrap()), ..spec };
    let made = plan_pool_create(&bench.host, &spec, Some(Build::Place), Autostart::Off).await.unwrap();
    bench.run(made).await.unwrap();
    let before = secrets(&bench.host).await;
    let volume = VolumeSpec::new("vault/safe.qcow2".parse().unwrap(), Bytes::from_gib(1));
    bench.run(plan_encrypted_volume(&bench.host, &volume, None, &bench.cx()).await.unwrap()).await.unwrap();
    assert_eq!(secrets(&bench.host).await.len(), before.len() + 1);
    let plan = plan_pool_delete(&bench.host, &"vault".parse().unwrap(), PoolData::Destroy).await.unwrap();
    assert!(plan.to_string().contains("passphrase of vault/safe.qcow2"), "{plan}");
    bench.run(plan).await.unwrap();
    assert_eq!(secrets(&bench.host).await, before);
    bench.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn what_takes_the_place_of_an_encrypted_volume_takes_its_passphrase_away_unless_it_may_need_it() {
    let dir = tempfile::tempdir().unwrap();
    let (plain, locked) = (dir.path().join("plain"), dir.path().join("locked"));
    std::fs::write(&plain, [7; 4096]).unwrap();
    let mut header = vec![0; 4096];
    header[..8].copy_from_slice(b"LUKS\xba\xbe\0\x02");
    std::fs::write(&locked, header).unwrap();
    for (file, left) in [(plain, 0), (locked, 1)] {
        let bench = bench().await;
        let wanted = Upload {
            volume: safe().volume,
            file,
            existing: Existing::Replace,
            holes: Holes::Keep,
            verify: Verify::Count,
            check: ImageCheck::None,
        };
        bench.run(plan_upload(&bench.host, &wanted).await.unwrap()).await.unwrap();
        assert_eq!(secrets(&bench.host).await.len(), left, "{}", wanted.file.display());
        bench.assert_nothing_open().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_nothing_needs_is_deleted_and_any_other_is_not() {
    let bench = bench().await;
    let id = secrets(&bench.host).await[0].id;
    let refused = async || said(&plan_secret_delete(&bench.host, &id).await.unwrap_err());
    let listed = async || kvm_vm::secrets(&bench.host).await.unwrap().remove(0);
    assert_eq!(listed().await.volume.as_deref(), Some("default/safe.qcow2"));
    assert!(refused().await.contains("there is a volume default/safe.qcow2"), "{}", refused().await);

    attach(&bench, "db", "volume=default/safe.qcow2").await.unwrap();
    assert_eq!(listed().await.vms, ["db"]);
    // The image is gone behind the host's back: whoever names the secret still needs it.
    bench.host.storage.delete_volume(&safe().volume.pool, &safe().volume.volume).await.unwrap();
    assert_eq!(listed().await.volume, None);
    assert!(refused().await.contains("VM db names it"), "{}", refused().await);
    let vm = bench.vm("db").await;
    bench
        .run(plan_disk_detach(&bench.host, &vm, &DiskDetach::new("vdc".parse().unwrap())).await.unwrap())
        .await
        .unwrap();

    // What is in a pool that is not active, nobody knows.
    bench.host.storage.stop_pool(&"default".parse().unwrap()).await.unwrap();
    assert!(refused().await.contains("pool default is not active"), "{}", refused().await);
    bench.host.storage.start_pool(&"default".parse().unwrap()).await.unwrap();
    bench.run(plan_secret_delete(&bench.host, &id).await.unwrap()).await.unwrap();
    assert_eq!(secrets(&bench.host).await, []);
    assert_eq!(plan_secret_delete(&bench.host, &id).await.unwrap_err().kind(), ErrorKind::NotFound);
    bench.assert_nothing_open().await;
}
