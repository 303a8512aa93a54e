//! Scenarios: worlds that somebody wrote down.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use kvm_core::{ErrorKind, MockWorld, PowerAction, VmChange, VmFilter, VmId, VmRef, VmState};
use kvm_mock::Mock;
use kvm_xml::Document as _;

use crate::{manual_clock, named, paused_clock, what};

fn scenario(text: &str) -> (tempfile::TempDir, kvm_core::Result<Mock>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("scenario.yaml");
    std::fs::write(&path, text).unwrap();
    let mock = Mock::open(&MockWorld::File(path), None, manual_clock());
    (dir, mock)
}

#[tokio::test(start_paused = true)]
async fn the_example_scenario_begins_as_it_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/scenarios/full-pool.yaml");
    let mock = Mock::open(&MockWorld::File(path.canonicalize().unwrap()), None, paused_clock()).unwrap();
    let host = mock.host();
    let mail = named(&host, "mail").await;
    assert_eq!((mail.state, mail.autostart), (VmState::Running, Some(true)));
    let pool = kvm_core::PoolName::parse("default").unwrap();
    let volume = kvm_xml::StorageVolume::from_xml("<volume><name>new</name><capacity unit='GiB'>1</capacity></volume>");
    let full = host.storage.create_volume(&pool, &volume.unwrap()).await.unwrap_err();
    assert_eq!(full.kind(), ErrorKind::NoSpace);
    let console = host.hypervisor.console().unwrap();
    assert_eq!(console.screenshot(&mail.id, 0).await.unwrap_err().kind(), ErrorKind::Unavailable);
    console.screenshot(&mail.id, 0).await.unwrap();
    let uname = host.transport.run(&["/usr/bin/uname", "-r"], Duration::from_secs(1)).await.unwrap();
    assert_eq!(uname.stdout, b"6.12.0\n");
    assert_eq!(named(&host, "by-hand").await.id, VmId::parse("8fbf2b8e-3b3c-4b1e-9a51-0000000000aa").unwrap());
}

#[tokio::test]
async fn a_scenario_with_a_clock_tells_the_same_story_each_time() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/scenarios/full-pool.yaml");
    let path = path.canonicalize().unwrap();
    let mut stories = Vec::new();
    for _ in 0..2 {
        let mock = Mock::open(&MockWorld::File(path.clone()), None, Arc::new(kvm_core::SystemClock)).unwrap();
        mock.set_latency(Duration::ZERO);
        stories.push(mock.host().hypervisor.stats(&VmFilter::all()).await.unwrap());
    }
    assert_eq!(stories[0], stories[1]);
}

#[tokio::test]
async fn the_documented_scenario_is_one() {
    let page = include_str!("../../../../docs/scenarios.md");
    let (_, rest) = page.split_once("```yaml\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    let (_dir, mock) = scenario(text);
    let mock = mock.unwrap();
    mock.set_latency(Duration::ZERO);
    let host = mock.host();
    let all = host.hypervisor.list(&VmFilter::all()).await.unwrap();
    assert_eq!(all.len(), 2);
    let web = named(&host, "web").await;
    assert_eq!(web.state, VmState::Running);
    // The third call does its work, but its answer is lost; the one after it is well.
    assert_eq!(host.storage.pools().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(host.storage.pools().await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_transient_machine_is_gone_when_it_stops() {
    let text = "machines: [{name: passing, state: running, transient: true}]";
    let (_dir, mock) = scenario(text);
    let host = mock.unwrap().host();
    let vm = named(&host, "passing").await;
    assert!(!vm.persistent);
    let mut events = host.hypervisor.events().await.unwrap();
    host.hypervisor.power(&vm.id, PowerAction::PowerOff).await.unwrap();
    assert_eq!(host.hypervisor.find(&VmRef::Id(vm.id)).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(events.next().await.map(what), Some(VmChange::ShutDown));
    assert_eq!(events.next().await.map(what), Some(VmChange::PoweredOff));
}

#[test]
fn a_scenario_that_makes_no_sense_is_refused() {
    for text in [
        "machinez: []",
        "machines: [{name: a, vcpu: 2}]",
        "machines: [{state: running}]",
        "machines: [{name: .., state: 'off'}]",
        "machines: [{name: a}, {name: a}]",
        "machines: [{name: a, nics: [{network: n, bridge: b}]}]",
        "machines: [{name: a, state: unknown}]",
        "faults: [{kind: busy}]",
        "pools: [{name: p, path: /p, capacity: lots}]",
        "host: [",
    ] {
        let kind = scenario(text).1.map(drop).unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::InvalidInput | ErrorKind::AlreadyExists), "{text}: {kind}");
    }
    let missing = Mock::open(&MockWorld::File("/nonexistent/x.yaml".into()), None, manual_clock());
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    let device = Mock::open(&MockWorld::File("/dev/null".into()), None, manual_clock());
    assert_eq!(device.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test(start_paused = true)]
async fn units_of_a_target_have_no_path_and_can_only_be_overwritten() {
    let text = "pools: [{name: san, iscsi: {host: 192.0.2.10, target: 'iqn.2030-01.example:store'}, \
                volumes: [{name: 'unit:0:0:1', capacity: 8MiB}]}]";
    let (_dir, mock) = scenario(text);
    let host = mock.unwrap().host();
    let (pool, unit) = ("san".parse().unwrap(), kvm_core::VolumeName::adopt("unit:0:0:1").unwrap());
    let found = host.storage.find_volume(&pool, &unit).await.unwrap();
    assert_eq!(found.address.as_deref(), Some("ip-192.0.2.10:3260-iscsi-iqn.2030-01.example:store-lun-1"));
    assert_eq!((found.path, found.format, found.capacity), (None, None, kvm_core::Bytes::from_mib(8)));
    let about = host.storage.find_pool(&pool).await.unwrap();
    assert_eq!(
        (about.kind.as_str(), about.target, about.available),
        ("iscsi-direct", None, Some(kvm_core::Bytes::ZERO))
    );
    let content = host.storage.content().unwrap();
    content.wipe(&pool, &unit, kvm_core::WipePattern::Zero).await.unwrap();
    let size = kvm_core::Bytes::from_mib(9);
    let refused = [
        content.resize(&pool, &unit, size, kvm_core::Resize::Grow).await.unwrap_err(),
        content.download(&pool, &unit, kvm_core::Holes::Keep).await.unwrap_err(),
        host.storage.delete_volume(&pool, &unit).await.unwrap_err(),
    ];
    assert_eq!(refused.map(|e| e.kind()), [ErrorKind::Unsupported; 3]);
    let text = "pools: [{name: san, path: /a, iscsi: {host: a, target: b}, capacity: 1GiB}]";
    assert_eq!(scenario(text).1.unwrap_err().kind(), ErrorKind::InvalidInput);
}
