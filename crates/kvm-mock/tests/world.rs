//! What the simulated host offers beyond the contract: time, faults, guests that act by themselves, state that is kept.
#![allow(missing_docs, reason = "tests")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use kvm_core::{
    AddressSource, Autostart, Bytes, Clock, ConsoleAccess, ErrorKind, Event, Existing, Feature, Host,
    HypervisorExt as _, Keep, MockWorld, NetworkName, NetworksExt as _, PowerAction, SnapshotName, SnapshotSpec, Tag,
    View, VmChange, VmFilter, VmId, VmName, VmNotes, VmRef, VmState,
};
use kvm_mock::{Fault, GuestAction, ManualClock, Method, Mock, TokioClock};
use kvm_xml::{Document as _, Domain};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const START: &str = "2030-01-01T00:00:00Z";

fn paused_clock() -> Arc<TokioClock> {
    Arc::new(TokioClock::starting_at(START.parse().unwrap()))
}

fn manual_clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(START.parse().unwrap()))
}

fn document(name: &str) -> Domain {
    Domain::from_xml(&format!(
        "<domain type='kvm'><name>{name}</name><uuid>8fbf2b8e-3b3c-4b1e-9a51-000000000001</uuid>\
         <memory unit='MiB'>256</memory><vcpu>2</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os>\
         <devices><serial type='pty'/>\
         <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel></devices></domain>"
    ))
    .unwrap()
}

async fn running(host: &Host) -> VmId {
    let id = host.hypervisor.define(&document("a"), Existing::Reject).await.unwrap();
    host.hypervisor.power(&id, PowerAction::Start).await.unwrap();
    id
}

async fn state(host: &Host, id: &VmId) -> VmState {
    host.hypervisor.find(&VmRef::Id(*id)).await.unwrap().state
}

async fn named(host: &Host, name: &str) -> kvm_core::VmSummary {
    host.hypervisor.find_by_name(&VmName::parse(name).unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_guest_obeys_when_the_clock_says_so() {
    let clock = manual_clock();
    let host = Mock::empty(clock.clone()).unwrap().host();
    let id = running(&host).await;
    host.hypervisor.power(&id, PowerAction::Shutdown).await.unwrap();
    clock.advance(Duration::from_millis(1999));
    assert_eq!(state(&host, &id).await, VmState::Running);
    clock.advance(Duration::from_millis(1));
    assert_eq!(state(&host, &id).await, VmState::Off);
}

#[tokio::test]
async fn a_paused_guest_does_not_age() {
    let clock = manual_clock();
    let host = Mock::empty(clock.clone()).unwrap().host();
    let id = running(&host).await;
    host.hypervisor.power(&id, PowerAction::Shutdown).await.unwrap();
    host.hypervisor.power(&id, PowerAction::Suspend).await.unwrap();
    clock.advance(Duration::from_secs(3600));
    assert_eq!(state(&host, &id).await, VmState::Paused);
    host.hypervisor.power(&id, PowerAction::Resume).await.unwrap();
    clock.advance(Duration::from_secs(2));
    assert_eq!(state(&host, &id).await, VmState::Off);
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_does_not_listen_runs_into_the_timeout() {
    let clock = paused_clock();
    let mock = Mock::empty(clock.clone()).unwrap();
    let host = mock.host();
    let id = running(&host).await;
    mock.set_obedience(&id, None).unwrap();
    let answer = host.hypervisor.shutdown_and_wait(&id, Duration::from_secs(60), &*clock).await;
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(state(&host, &id).await, VmState::Running);
}

#[tokio::test]
async fn a_held_shutdown_begins_and_ends_with_release() {
    let mock = Mock::empty(manual_clock()).unwrap();
    let host = mock.host();
    let id = running(&host).await;
    let mut events = host.hypervisor.events().await.unwrap();
    mock.hold(PowerAction::Shutdown);
    host.hypervisor.power(&id, PowerAction::Shutdown).await.unwrap();
    assert_eq!(state(&host, &id).await, VmState::ShuttingDown);
    let again = host.hypervisor.power(&id, PowerAction::Shutdown).await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::InvalidState);
    mock.release().unwrap();
    assert_eq!(state(&host, &id).await, VmState::Off);
    let heard: Vec<_> = (&mut events).take(2).map(what).collect().await;
    assert_eq!(heard, [VmChange::ShutDown, VmChange::Stopped]);
}

fn what(event: Event) -> VmChange {
    match event {
        Event::Vm(event) => event.what,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_held_call_does_not_return_until_release() {
    let mock = Mock::empty(manual_clock()).unwrap();
    let host = mock.host();
    let id = running(&host).await;
    mock.hold(PowerAction::PowerOff);
    let hypervisor = host.hypervisor.clone();
    let call = tokio::spawn(async move { hypervisor.power(&id, PowerAction::PowerOff).await });
    tokio::task::yield_now().await;
    assert!(!call.is_finished());
    assert_eq!(state(&host, &id).await, VmState::Running);
    mock.release().unwrap();
    call.await.unwrap().unwrap();
    assert_eq!(state(&host, &id).await, VmState::Off);
}

#[tokio::test]
async fn a_call_that_is_to_fail_does_nothing_or_loses_its_answer() {
    let mock = Mock::empty(manual_clock()).unwrap();
    let host = mock.host();
    let define = async || host.hypervisor.define(&document("a"), Existing::Reject).await;
    mock.fail_next(Method::Define, ErrorKind::NoSpace);
    assert_eq!(define().await.unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(host.hypervisor.list(&VmFilter::all()).await.unwrap(), []);

    mock.inject(Fault::nth(1, ErrorKind::Timeout).after_effect());
    assert_eq!(define().await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(host.hypervisor.list(&VmFilter::all()).await.unwrap().len(), 1);

    let made: Vec<_> = mock.calls().into_iter().map(|call| (call.method, call.subject)).collect();
    let call = |method, subject: &str| (method, subject.to_owned());
    let (define, list) = (call(Method::Define, "a"), call(Method::List, ""));
    assert_eq!(made, [define.clone(), list.clone(), define, list]);
}

#[tokio::test(start_paused = true)]
async fn every_call_takes_as_long_as_it_is_told() {
    let clock = paused_clock();
    let mock = Mock::demo(clock.clone()).unwrap();
    let before = clock.now();
    mock.set_latency(Duration::from_millis(250));
    mock.host().hypervisor.list(&VmFilter::all()).await.unwrap();
    mock.host().storage.pools().await.unwrap();
    assert_eq!(clock.now().duration_since(before).as_millis(), 500);
}

#[tokio::test(start_paused = true)]
async fn events_wake_a_subscriber_without_a_call() {
    let mock = Mock::empty(paused_clock()).unwrap();
    let host = mock.host();
    let id = running(&host).await;
    let mut events = host.hypervisor.events().await.unwrap();
    host.hypervisor.power(&id, PowerAction::Reboot).await.unwrap();
    // It reboots before its agent was up, which then comes up once.
    let heard: Vec<_> = (&mut events).take(2).map(what).collect().await;
    assert_eq!(heard, [VmChange::Rebooted, VmChange::AgentConnected]);
}

#[tokio::test]
async fn a_stream_ends_with_its_host_and_not_before() {
    let mock = Mock::empty(manual_clock()).unwrap();
    let host = mock.host();
    let mut events = host.hypervisor.events().await.unwrap();
    let id = running(&host).await;
    drop((host, mock));
    let rest: Vec<_> = events.by_ref().collect().await;
    assert!(rest.len() <= 3, "{id} {rest:?}");
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_subscriber_that_is_too_slow_is_told_how_much_it_missed() {
    let mock = Mock::empty(manual_clock()).unwrap();
    let host = mock.host();
    let mut events = host.hypervisor.events().await.unwrap();
    for _ in 0..1000 {
        let id = host.hypervisor.define(&document("a"), Existing::Reject).await.unwrap();
        host.hypervisor.undefine(&id, Keep::NOTHING).await.unwrap();
    }
    assert_eq!(events.next().await, Some(Event::Lagged { missed: 2000 - 512 }));
    assert_eq!(events.next().await.map(what), Some(VmChange::Defined));
}

#[tokio::test]
async fn a_lost_connection_hides_what_happens_until_it_is_back() {
    let mock = Mock::empty(manual_clock()).unwrap();
    let host = mock.host();
    let id = running(&host).await;
    let mut events = host.hypervisor.events().await.unwrap();
    mock.disconnect().unwrap();
    assert_eq!(host.hypervisor.find(&VmRef::Id(id)).await.unwrap_err().kind(), ErrorKind::Unavailable);
    mock.act(&id, GuestAction::ShutDown).unwrap();
    mock.reconnect().unwrap();
    assert_eq!(state(&host, &id).await, VmState::Off);
    assert_eq!(events.next().await, Some(Event::Disconnected));
    assert_eq!(events.next().await, Some(Event::Resynced));
}

#[tokio::test]
async fn a_guest_that_acts_by_itself_is_heard() {
    let mock = Mock::empty(manual_clock()).unwrap();
    let host = mock.host();
    let mut document = document("a");
    document.on_crash = Some(kvm_xml::domain::CrashAction::Preserve);
    let id = host.hypervisor.define(&document, Existing::Reject).await.unwrap();
    let start = async || host.hypervisor.power(&id, PowerAction::Start).await.unwrap();
    let stop = async || host.hypervisor.power(&id, PowerAction::PowerOff).await.unwrap();
    for (action, heard, becomes) in [
        (GuestAction::Crash, VmChange::Crashed, VmState::Crashed),
        (GuestAction::IoError, VmChange::SuspendedOnIoError, VmState::Paused),
        (GuestAction::SuspendToMemory, VmChange::PmSuspended, VmState::PmSuspended),
        (GuestAction::Reboot, VmChange::Rebooted, VmState::Running),
    ] {
        start().await;
        let mut events = host.hypervisor.events().await.unwrap();
        mock.act(&id, action).unwrap();
        assert_eq!(events.next().await.map(what), Some(heard));
        assert_eq!(state(&host, &id).await, becomes);
        stop().await;
    }
    assert_eq!(mock.act(&id, GuestAction::Crash).unwrap_err().kind(), ErrorKind::InvalidState);
}

#[tokio::test(start_paused = true)]
async fn a_serial_line_carries_the_boot_and_a_shell() {
    let clock = paused_clock();
    let host = Mock::empty(clock.clone()).unwrap().host();
    let id = host.hypervisor.define(&document("a"), Existing::Reject).await.unwrap();
    host.hypervisor.power(&id, PowerAction::StartPaused).await.unwrap();
    let console = host.hypervisor.console().unwrap();
    let mut line = console.open_serial(&id, ConsoleAccess::Exclusive).await.unwrap();
    host.hypervisor.power(&id, PowerAction::Resume).await.unwrap();
    let boot = read_until(&mut line, "~# ").await;
    assert!(boot.contains("Linux version") && boot.contains("a is up"), "{boot}");

    line.write_all(b"echo hello world\r").await.unwrap();
    assert_eq!(read_until(&mut line, "~# ").await, "echo hello world\r\nhello world\r\nroot@a:~# ");

    // Bytes from before are not repeated to the next one.
    drop(line);
    let mut line = console.open_serial(&id, ConsoleAccess::Exclusive).await.unwrap();
    line.write_all(b"\x08poweroxx\x7f\x7fff\n").await.unwrap();
    let rest = read_until(&mut line, "\r\nPowering off.\r\n").await;
    assert!(rest.starts_with("poweroxx"), "{rest}");
    assert_eq!(line.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(state(&host, &id).await, VmState::Off);
}

async fn read_until(line: &mut Box<dyn kvm_core::ByteStream>, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let mut bytes = [0; 256];
        let count = line.read(&mut bytes).await.unwrap();
        assert!(count > 0, "it ended after {:?}", String::from_utf8_lossy(&text));
        text.extend(&bytes[..count]);
    }
    String::from_utf8(text).unwrap()
}

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

#[tokio::test]
async fn a_kept_world_is_the_same_for_the_next_process_and_for_one_beside() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Mock::open(&MockWorld::Demo, Some(dir.path()), manual_clock()).unwrap();
    let (first, beside) = (open().host(), open().host());
    let web = named(&first, "web-03").await;
    let mut events = beside.hypervisor.events().await.unwrap();
    first.hypervisor.power(&web.id, PowerAction::Start).await.unwrap();
    assert_eq!(state(&beside, &web.id).await, VmState::Running);
    assert_eq!(events.next().await.map(what), Some(VmChange::Resumed));
    assert_eq!(events.next().await.map(what), Some(VmChange::Started));
    beside.hypervisor.power(&web.id, PowerAction::PowerOff).await.unwrap();
    assert_eq!(state(&first, &web.id).await, VmState::Off);
    drop((first, beside));
    assert_eq!(state(&open().host(), &web.id).await, VmState::Off);
    assert_eq!(state(&open().host(), &named(&open().host(), "win11").await.id).await, VmState::Saved);
}

#[tokio::test]
async fn two_handles_of_a_kept_world_lose_none_of_each_others_changes() {
    let dir = tempfile::tempdir().unwrap();
    let threads: Vec<_> = (0..4u8)
        .map(|worker| {
            let dir = dir.path().to_owned();
            std::thread::spawn(move || {
                let mock = Mock::open(&MockWorld::Empty, Some(&dir), manual_clock()).unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    for n in 0..20u8 {
                        let mut document = document(&format!("vm-{worker}-{n}"));
                        document.uuid = Some(uuid::Uuid::from_u128((u128::from(worker) << 64) | (u128::from(n) + 1)));
                        mock.host().hypervisor.define(&document, Existing::Reject).await.unwrap();
                    }
                });
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let host = Mock::open(&MockWorld::Empty, Some(dir.path()), manual_clock()).unwrap().host();
    assert_eq!(host.hypervisor.list(&VmFilter::all()).await.unwrap().len(), 80);
}

#[test]
fn a_damaged_state_file_is_corrupt_and_one_of_another_version_is_unsupported() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Mock::open(&MockWorld::Empty, Some(dir.path()), manual_clock());
    open().unwrap();
    let file = dir.path().join("mock/empty.json");
    let text = std::fs::read_to_string(&file).unwrap();
    for (damaged, kind) in [
        (text[..text.len() - 1].to_owned(), ErrorKind::Corrupt),
        (String::new(), ErrorKind::Corrupt),
        (text.replacen("\"format\":1", "\"format\":2", 1), ErrorKind::Unsupported),
    ] {
        std::fs::write(&file, damaged).unwrap();
        assert_eq!(open().unwrap_err().kind(), kind);
    }
    std::fs::remove_file(&file).unwrap();
    open().unwrap();
}

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
    let page = include_str!("../../../docs/scenarios.md");
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

#[tokio::test]
async fn a_network_that_does_not_start_stays_undefined() {
    let mock = Mock::empty(manual_clock()).unwrap();
    let networks = mock.host().networks;
    let document = kvm_xml::Network::from_xml("<network><name>lab</name></network>").unwrap();
    for method in [Method::StartNetwork, Method::SetNetworkAutostart] {
        mock.inject(Fault::next(method, ErrorKind::Busy));
        assert_eq!(networks.create(&document, Autostart::On).await.unwrap_err().kind(), ErrorKind::Busy);
        assert_eq!(networks.list().await.unwrap(), []);
    }
    networks.create(&document, Autostart::On).await.unwrap();
    let network = networks.find(&NetworkName::parse("lab").unwrap()).await.unwrap();
    assert!(network.active && network.autostart && network.persistent, "{network:?}");
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
