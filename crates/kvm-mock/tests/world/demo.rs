//! The world of the demonstration: its machines, figures, files and addresses.

use std::path::Path;
use std::time::Duration;

use kvm_core::{
    AddressSource, Bytes, ErrorKind, Existing, Feature, Keep, NetworkName, PowerAction, SnapshotName, SnapshotSpec,
    Tag, View, VmFilter, VmNotes, VmState,
};
use kvm_mock::Mock;

use crate::{manual_clock, named};

#[tokio::test]
async fn the_demo_has_machines_of_every_kind() {
    let clock = manual_clock();
    let host = Mock::demo(clock.clone()).unwrap().host();
    let all = host.hypervisor.list(&VmFilter::all()).await.unwrap();
    assert!(all.len() >= 12);
    for wanted in [VmState::Running, VmState::Paused, VmState::Saved, VmState::Off, VmState::Crashed] {
        assert!(all.iter().any(|vm| vm.state == wanted), "{wanted}");
    }
    let build = named(&host, "build-01").await;
    assert_eq!((build.vcpus, build.memory), (Some(4), Some(Bytes::from_gib(8))));
    let guest = host.hypervisor.guest().unwrap();
    for source in AddressSource::ALL {
        let addresses = guest.addresses(&build.id, source).await.unwrap();
        let told: Vec<_> = addresses.iter().map(|a| a.address.to_string()).collect();
        assert_eq!(told, ["192.168.122.41"], "{source:?}");
    }
    let db = named(&host, "db.prod").await;
    assert_eq!(guest.addresses(&db.id, AddressSource::Lease).await.unwrap(), []);
    let addresses = guest.addresses(&db.id, AddressSource::Agent).await.unwrap();
    assert_eq!(addresses[0].address.to_string(), "10.0.3.11");
    let notes = VmNotes::of(&host.hypervisor.definition(&db.id, View::CONFIG).await.unwrap());
    assert!(notes.tags.contains(&Tag::parse("owner=dba").unwrap()));
    assert_eq!(host.hypervisor.checkpoints().unwrap().list(&db.id).await.unwrap().len(), 2);
    let leases = host.networks.leases(&NetworkName::parse("default").unwrap()).await.unwrap();
    assert!(leases.iter().any(|lease| lease.hostname.as_deref() == Some("web-02")));
    assert!(host.hypervisor.capabilities().await.unwrap().features.contains(&Feature::Tpm));
}

#[tokio::test]
async fn figures_of_the_demo_follow_its_loads() {
    let clock = manual_clock();
    let host = Mock::demo(clock.clone()).unwrap().host();
    let measure = async || {
        let all = host.hypervisor.stats(&VmFilter::active()).await.unwrap();
        let build = all.into_iter().find(|vm| vm.name == "build-01").unwrap();
        (build.cpu_time.unwrap(), build.disks["vda"].read_bytes.unwrap())
    };
    let (cpu, read) = measure().await;
    clock.advance(Duration::from_secs(3600));
    let (later_cpu, later_read) = measure().await;
    let load = (later_cpu - cpu).as_secs_f64() / 3600.0 / 4.0;
    assert!((0.58..0.64).contains(&load), "{load}");
    assert!(later_read > read);
    assert_eq!(measure().await, (later_cpu, later_read));
}

#[tokio::test]
async fn what_a_machine_leaves_behind_goes_with_it_or_is_kept() {
    let mock = Mock::demo(manual_clock()).unwrap();
    let host = mock.host();
    let win = named(&host, "win11").await;
    let kept_for = |mock: &Mock| -> Vec<String> {
        let mine =
            |path: &String| path.contains("/qemu/") && path.contains("win11") || path.contains(&win.id.to_string());
        mock.files().unwrap().into_keys().filter(mine).collect()
    };
    assert_eq!(kept_for(&mock).len(), 3, "saved state, variables and TPM state: {:?}", kept_for(&mock));
    let document = host.hypervisor.definition(&win.id, View::CONFIG.with_secrets()).await.unwrap();
    host.hypervisor.undefine(&win.id, Keep::STATE).await.unwrap();
    assert_eq!(kept_for(&mock).len(), 2);
    host.hypervisor.define(&document, Existing::Reject).await.unwrap();
    host.hypervisor.undefine(&win.id, Keep::NOTHING).await.unwrap();
    assert_eq!(kept_for(&mock), Vec::<String>::new());
    assert!(mock.files().unwrap().contains_key("/var/lib/libvirt/images/win11.qcow2"));
}

#[tokio::test]
async fn what_is_missing_stops_a_start() {
    let mock = Mock::demo(manual_clock()).unwrap();
    let host = mock.host();
    // Its second device is on a network that is not active.
    let router = named(&host, "router-test").await;
    let refused = host.hypervisor.power(&router.id, PowerAction::Start).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidState);
    host.networks.start(&NetworkName::parse("dmz").unwrap()).await.unwrap();
    host.hypervisor.power(&router.id, PowerAction::Start).await.unwrap();

    let web = named(&host, "web-03").await;
    let disk = &host.hypervisor.stats(&VmFilter::all()).await.unwrap();
    let path = disk.iter().find(|vm| vm.id == web.id).unwrap().disks["vda"].path.clone().unwrap();
    let volume = host.storage.volume_at(&kvm_core::DiskPath::parse(&path).unwrap()).await.unwrap();
    host.storage.delete_volume(&volume.pool, &volume.name).await.unwrap();
    let refused = host.hypervisor.power(&web.id, PowerAction::Start).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidState);
}

#[tokio::test]
async fn a_file_that_appears_in_a_pool_is_found_by_a_refresh() {
    let mock = Mock::demo(manual_clock()).unwrap();
    let host = mock.host();
    let pool = kvm_core::PoolName::parse("default").unwrap();
    let volume = kvm_core::VolumeName::parse("dropped.img").unwrap();
    let path = Path::new("/var/lib/libvirt/images/dropped.img");
    host.transport.write_file(path, &[7; 4096], 0o644).await.unwrap();
    assert_eq!(host.storage.find_volume(&pool, &volume).await.unwrap_err().kind(), ErrorKind::NotFound);
    host.storage.refresh_pool(&pool).await.unwrap();
    let found = host.storage.find_volume(&pool, &volume).await.unwrap();
    assert_eq!((found.format.as_deref(), found.capacity.get()), (Some("raw"), 4096));
    mock.write_at(found.host_path().unwrap().as_str(), 10, b"guest").unwrap();
    assert_eq!(mock.read_at(found.host_path().unwrap().as_str(), 9, 7).unwrap(), b"\x07guest\x07");
}

#[tokio::test]
async fn an_address_is_given_again_to_the_same_device() {
    let clock = manual_clock();
    let host = Mock::demo(clock.clone()).unwrap().host();
    let network = NetworkName::parse("default").unwrap();
    let web = named(&host, "web-01").await;
    let lease = async |name: &str| {
        let leases = host.networks.leases(&network).await.unwrap();
        leases.into_iter().find(|lease| lease.hostname.as_deref() == Some(name))
    };
    let before = lease("web-01").await.unwrap();
    host.hypervisor.power(&web.id, PowerAction::PowerOff).await.unwrap();
    assert_eq!(lease("web-01").await.map(|l| l.address), Some(before.address), "it has not expired yet");
    clock.advance(Duration::from_secs(3700));
    assert_eq!(lease("web-01").await, None);
    host.hypervisor.power(&web.id, PowerAction::Start).await.unwrap();
    assert_eq!(lease("web-01").await, None, "it has not booted yet");
    clock.advance(Duration::from_secs(3));
    assert_eq!(lease("web-01").await.map(|l| l.address), Some(before.address));
}

#[tokio::test]
async fn an_internal_snapshot_needs_a_disk_that_can_hold_it() {
    let host = Mock::demo(manual_clock()).unwrap().host();
    let snapshots = host.hypervisor.snapshots().unwrap();
    let name = SnapshotName::parse("now").unwrap();
    let uefi = named(&host, "win11").await;
    assert_eq!(
        snapshots.create(&uefi.id, &SnapshotSpec::internal(name.clone())).await.unwrap_err().kind(),
        ErrorKind::Unsupported
    );
    let web = named(&host, "web-01").await;
    snapshots.create(&web.id, &SnapshotSpec::internal(name)).await.unwrap();
    let all = snapshots.list(&web.id).await.unwrap();
    assert_eq!(all.last().map(|s| (s.current, s.parent.is_some())), Some((true, true)));
}
