//! The backend on libvirt's test driver, each test with a node file of its own.

use std::path::PathBuf;
use std::sync::Arc;

use kvm_core::{
    AddressSource, Autostart, Bytes, ConnectOptions, Console, ConsoleAccess, Description, Error, ErrorKind, Event,
    EventStream, Existing, Guest, Hypervisor, Keep, NetworkName, Networks, PoolName, PowerAction, Protection, Remove,
    ScreenshotFormat, SnapshotName, SnapshotSpec, Snapshots, Storage, Tag, Target, Title, View, VmChange, VmFilter,
    VmId, VmName, VmNotes, VmRef, VmState, VolumeName,
};
use kvm_libvirt::{Config, Libvirt};
use kvm_xml::{Document, Domain, Network, StoragePool, StorageVolume};
use tempfile::TempDir;

const WEB: &str = "8fbf2b8e-3b3c-4b1e-9a51-000000000001";
const DB: &str = "8fbf2b8e-3b3c-4b1e-9a51-000000000002";

/// A backend with a running `web` and a running `db`, a network and an empty pool.
struct Node {
    libvirt: Arc<Libvirt>,
    _dir: TempDir,
}

impl Node {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.xml");
        let domain = |name: &str, id: &str, mac: u8| {
            format!(
                "<domain type='test'><name>{name}</name><uuid>{id}</uuid><memory unit='MiB'>64</memory>\
                 <currentMemory unit='MiB'>32</currentMemory><vcpu>2</vcpu><os><type>hvm</type></os>\
                 <metadata><other:x xmlns:other='urn:other'>kept</other:x>\
                 <k:notes xmlns:k='urn:kvm-manager:metadata:1'><k:origin of='first'/></k:notes></metadata>\
                 <devices><interface type='network'><mac address='52:54:00:00:00:0{mac}'/><source network='lan'/>\
                 </interface></devices></domain>"
            )
        };
        let node = format!(
            "<node>{}{}\
             <network><name>lan</name><bridge name='virbr7'/><forward/>\
             <ip address='192.168.7.1' netmask='255.255.255.0'><dhcp><range start='192.168.7.128' end='192.168.7.253'/>\
             </dhcp></ip></network>\
             <pool type='dir'><name>disks</name><target><path>/disks</path></target></pool></node>",
            domain("web", WEB, 1),
            domain("db", DB, 2),
        );
        std::fs::write(&path, node).unwrap();
        Self { libvirt: connect(path).await.unwrap(), _dir: dir }
    }

    fn vms(&self) -> &dyn Hypervisor {
        &*self.libvirt
    }

    fn storage(&self) -> &dyn Storage {
        &*self.libvirt
    }

    fn networks(&self) -> &dyn Networks {
        &*self.libvirt
    }

    fn snapshots(&self) -> &dyn Snapshots {
        self.vms().snapshots().unwrap()
    }

    fn guest(&self) -> &dyn Guest {
        self.vms().guest().unwrap()
    }

    fn console(&self) -> &dyn Console {
        self.vms().console().unwrap()
    }

    async fn state(&self, id: &str) -> VmState {
        self.vms().find(&VmRef::Id(self::id(id))).await.unwrap().state
    }

    async fn power(&self, id: &str, action: PowerAction) -> Result<(), ErrorKind> {
        self.vms().power(&self::id(id), action).await.map_err(|e| e.kind())
    }
}

async fn connect(path: PathBuf) -> Result<Arc<Libvirt>, Error> {
    let target = Target::parse(&format!("test://{}", path.display())).unwrap();
    Libvirt::connect(&target, &ConnectOptions::default(), Config::default()).await
}

fn id(text: &str) -> VmId {
    VmId::parse(text).unwrap()
}

fn name(text: &str) -> VmName {
    VmName::parse(text).unwrap()
}

fn domain(name: &str, id: &str) -> Domain {
    Domain::from_xml(&format!(
        "<domain type='test'><name>{name}</name><uuid>{id}</uuid><memory unit='MiB'>16</memory><vcpu>1</vcpu>\
         <os><type>hvm</type></os></domain>"
    ))
    .unwrap()
}

fn kind<T: std::fmt::Debug>(result: kvm_core::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

async fn next(events: &mut EventStream) -> Option<Event> {
    let next = std::future::poll_fn(|context| events.as_mut().poll_next(context));
    tokio::time::timeout(std::time::Duration::from_secs(20), next).await.expect("no event came")
}

#[tokio::test]
async fn machines_are_listed_by_name_and_found_by_name_and_uuid() {
    let node = Node::new().await;
    let all = node.vms().list(&VmFilter::all()).await.unwrap();
    let names: Vec<_> = all.iter().map(|vm| vm.name.as_str()).collect();
    assert_eq!(names, ["db", "web"]);
    let web = &all[1];
    assert_eq!((web.id, web.state, web.persistent, web.has_saved_state), (id(WEB), VmState::Running, true, false));
    assert_eq!((web.vcpus, web.memory), (Some(2), Some(Bytes::from_mib(32))));
    assert_eq!(web.max_memory, Some(Bytes::from_mib(64)));
    assert_eq!(&node.vms().find(&VmRef::Id(id(WEB))).await.unwrap(), web);
    assert_eq!(&node.vms().find(&VmRef::Name(name("web"))).await.unwrap(), web);
    let uuid_as_name = VmRef::Name(VmName::adopt(WEB).unwrap());
    assert_eq!(&node.vms().find(&uuid_as_name).await.unwrap(), web);
}

#[tokio::test]
async fn what_is_not_there_is_not_found_by_its_own_name() {
    let node = Node::new().await;
    let missing = id("8fbf2b8e-3b3c-4b1e-9a51-00000000ffff");
    let e = node.vms().find(&VmRef::Name(name("nope"))).await.unwrap_err();
    assert_eq!((e.kind(), e.message()), (ErrorKind::NotFound, "no VM nope"));
    assert_eq!(kind(node.vms().power(&missing, PowerAction::Start).await), ErrorKind::NotFound);
    assert_eq!(kind(node.vms().definition(&missing, View::LIVE).await), ErrorKind::NotFound);
    assert_eq!(kind(node.vms().undefine(&missing, Keep::NOTHING).await), ErrorKind::NotFound);
    assert_eq!(kind(node.snapshots().list(&missing).await), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_machine_goes_through_its_states() {
    let node = Node::new().await;
    for (action, state) in [
        (PowerAction::Suspend, VmState::Paused),
        (PowerAction::Resume, VmState::Running),
        (PowerAction::Reset, VmState::Running),
        (PowerAction::Save, VmState::Saved),
        (PowerAction::Start, VmState::Running),
        (PowerAction::Shutdown, VmState::Off),
        (PowerAction::StartPaused, VmState::Paused),
        (PowerAction::Save, VmState::Saved),
        (PowerAction::DiscardSaved, VmState::Off),
        (PowerAction::Start, VmState::Running),
        (PowerAction::PowerOff, VmState::Off),
    ] {
        node.power(WEB, action).await.unwrap();
        assert_eq!(node.state(WEB).await, state, "after {action}");
    }
}

#[tokio::test]
async fn what_the_state_does_not_allow_is_invalid_state_and_changes_nothing() {
    let node = Node::new().await;
    for action in [PowerAction::Start, PowerAction::StartPaused, PowerAction::Resume, PowerAction::DiscardSaved] {
        assert_eq!(node.power(WEB, action).await, Err(ErrorKind::InvalidState), "{action}");
    }
    node.power(WEB, PowerAction::PowerOff).await.unwrap();
    for action in [PowerAction::PowerOff, PowerAction::Shutdown, PowerAction::Suspend, PowerAction::Save] {
        assert_eq!(node.power(WEB, action).await, Err(ErrorKind::InvalidState), "{action}");
    }
    assert_eq!(node.state(WEB).await, VmState::Off);
}

#[tokio::test]
async fn a_filter_chooses_by_state_in_lists_and_measurements() {
    let node = Node::new().await;
    node.power(DB, PowerAction::Save).await.unwrap();
    let saved = VmFilter { states: vec![VmState::Saved] };
    let list = node.vms().list(&saved).await.unwrap();
    assert_eq!((list.len(), list[0].name.as_str(), list[0].has_saved_state), (1, "db", true));
    let stats = node.vms().stats(&saved).await.unwrap();
    assert_eq!((stats.len(), stats[0].state), (1, VmState::Saved));
    let active = node.vms().stats(&VmFilter::active()).await.unwrap();
    assert_eq!((active.len(), active[0].name.as_str(), active[0].vcpus), (1, "web", Some(2)));
}

#[tokio::test]
async fn a_definition_never_takes_the_place_of_another_unasked() {
    let node = Node::new().await;
    let new = "8fbf2b8e-3b3c-4b1e-9a51-000000000003";
    assert_eq!(node.vms().define(&domain("new", new), Existing::Reject).await.unwrap(), id(new));
    for (doc, existing, wanted) in [
        (domain("new", new), Existing::Reject, ErrorKind::AlreadyExists),
        (domain("other", new), Existing::Reject, ErrorKind::AlreadyExists),
        (domain("new", "8fbf2b8e-3b3c-4b1e-9a51-000000000004"), Existing::Reject, ErrorKind::AlreadyExists),
        (domain("x", "8fbf2b8e-3b3c-4b1e-9a51-000000000004"), Existing::Replace, ErrorKind::NotFound),
        (domain("web", new), Existing::Replace, ErrorKind::AlreadyExists),
        (domain("renamed", new), Existing::Replace, ErrorKind::InvalidInput),
    ] {
        assert_eq!(kind(node.vms().define(&doc, existing).await), wanted, "{:?} {existing:?}", doc.name);
    }
    let mut bigger = domain("new", new);
    bigger.vcpu.get_or_insert_default().value = Some(3);
    node.vms().define(&bigger, Existing::Replace).await.unwrap();
    let stored = node.vms().definition(&id(new), View::CONFIG).await.unwrap();
    assert_eq!(stored.vcpu.and_then(|vcpu| vcpu.value), Some(3));
}

#[tokio::test]
async fn a_document_that_libvirt_refuses_is_invalid_input() {
    let node = Node::new().await;
    let mut doc = domain("odd", "8fbf2b8e-3b3c-4b1e-9a51-000000000005");
    doc.os.get_or_insert_default().r#type = None;
    assert_eq!(kind(node.vms().define(&doc, Existing::Reject).await), ErrorKind::InvalidInput);
    assert_eq!(kind(node.vms().define(&domain("..", WEB), Existing::Replace).await), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn undefine_takes_records_along_but_never_a_running_machine() {
    let node = Node::new().await;
    assert_eq!(kind(node.vms().undefine(&id(WEB), Keep::NOTHING).await), ErrorKind::InvalidState);
    node.snapshots().create(&id(WEB), &SnapshotSpec::internal(SnapshotName::parse("s1").unwrap())).await.unwrap();
    node.power(WEB, PowerAction::Save).await.unwrap();
    node.vms().undefine(&id(WEB), Keep::STATE).await.unwrap();
    assert_eq!(kind(node.vms().find(&VmRef::Id(id(WEB))).await), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_rename_needs_a_machine_that_is_off_and_a_free_name() {
    let node = Node::new().await;
    let rename = async |to: &str| node.vms().rename(&id(WEB), &name(to)).await;
    assert_eq!(kind(rename("front").await), ErrorKind::InvalidState);
    node.power(WEB, PowerAction::PowerOff).await.unwrap();
    assert_eq!(kind(rename("db").await), ErrorKind::AlreadyExists);
    node.snapshots().create(&id(WEB), &SnapshotSpec::internal(SnapshotName::parse("s1").unwrap())).await.unwrap();
    assert_eq!(kind(rename("front").await), ErrorKind::InvalidState);
    node.snapshots().delete(&id(WEB), &SnapshotName::parse("s1").unwrap(), Remove::Everything).await.unwrap();
    rename("front").await.unwrap();
    assert_eq!(node.vms().find(&VmRef::Name(name("front"))).await.unwrap().id, id(WEB));
}

#[tokio::test]
async fn notes_are_read_back_and_leave_other_metadata_alone() {
    let node = Node::new().await;
    let notes = VmNotes {
        title: Some(Title::parse("Front <end>").unwrap()),
        description: Some(Description::parse("two\nlines & more").unwrap()),
        tags: ["web", "owner=dba"].into_iter().map(|tag| Tag::parse(tag).unwrap()).collect(),
        protection: Protection::On,
        replication: None,
        moving: None,
        proof: None,
    };
    node.vms().set_notes(&id(WEB), &notes).await.unwrap();
    for view in [View::LIVE, View::CONFIG] {
        let doc = node.vms().definition(&id(WEB), view).await.unwrap();
        assert_eq!(VmNotes::of(&doc), notes);
        let metadata = doc.metadata.unwrap();
        assert!(metadata.get("urn:other").is_some());
        let ours = metadata.get(kvm_core::METADATA_NAMESPACE).unwrap();
        assert!(ours.as_str().contains("first"), "{ours}");
    }
    node.vms().set_notes(&id(WEB), &VmNotes::default()).await.unwrap();
    let doc = node.vms().definition(&id(WEB), View::CONFIG).await.unwrap();
    assert_eq!((VmNotes::of(&doc), doc.title), (VmNotes::default(), None));
    assert!(doc.metadata.unwrap().get("urn:other").is_some());
}

#[tokio::test]
async fn autostart_is_set_once_or_twice() {
    let node = Node::new().await;
    for (autostart, wanted) in [(Autostart::On, true), (Autostart::On, true), (Autostart::Off, false)] {
        node.vms().set_autostart(&id(WEB), autostart).await.unwrap();
        let listed = node.vms().list(&VmFilter::all()).await.unwrap();
        let web = listed.iter().find(|vm| vm.id == id(WEB)).unwrap();
        assert_eq!(web.autostart, Some(wanted));
    }
}

#[tokio::test]
async fn events_come_in_order_to_everybody_and_end_with_the_backend() {
    let node = Node::new().await;
    let mut first = node.vms().events().await.unwrap();
    let mut second = node.vms().events().await.unwrap();
    node.power(WEB, PowerAction::Suspend).await.unwrap();
    node.power(WEB, PowerAction::Resume).await.unwrap();
    node.power(WEB, PowerAction::PowerOff).await.unwrap();
    for events in [&mut first, &mut second] {
        for wanted in [VmChange::Suspended, VmChange::Resumed, VmChange::PoweredOff] {
            let Some(Event::Vm(event)) = next(events).await else { panic!("the stream ended") };
            assert_eq!((event.vm, event.name.as_str(), event.what), (id(WEB), "web", wanted));
        }
    }
    drop(node);
    assert_eq!(next(&mut first).await, None);
}

#[tokio::test]
async fn a_rename_and_new_notes_are_events() {
    let node = Node::new().await;
    node.power(WEB, PowerAction::PowerOff).await.unwrap();
    let mut events = node.vms().events().await.unwrap();
    node.vms().rename(&id(WEB), &name("front")).await.unwrap();
    node.vms().undefine(&id(WEB), Keep::NOTHING).await.unwrap();
    let mut seen = Vec::new();
    while seen.last() != Some(&VmChange::Undefined) {
        let Some(Event::Vm(event)) = next(&mut events).await else { panic!("the stream ended") };
        assert_eq!(event.name.as_str(), "front");
        seen.push(event.what);
    }
    assert_eq!(seen, [VmChange::Renamed, VmChange::Undefined]);
}

#[tokio::test]
async fn a_pool_is_created_once_and_a_failure_leaves_nothing() {
    let node = Node::new().await;
    let pool = |name: &str, path: &str| {
        let xml = format!("<pool type='dir'><name>{name}</name><target><path>{path}</path></target></pool>");
        StoragePool::from_xml(&xml).unwrap()
    };
    let fast = PoolName::parse("fast").unwrap();
    node.storage().create_pool(&pool("fast", "/fast"), Autostart::On).await.unwrap();
    let info = node.storage().find_pool(&fast).await.unwrap();
    assert_eq!((info.kind.as_str(), info.active, info.autostart, info.persistent), ("dir", true, true, true));
    assert_eq!(info.target.unwrap().as_str(), "/fast");
    assert!(info.capacity.is_some());
    let again = node.storage().create_pool(&pool("fast", "/faster"), Autostart::Off).await;
    assert_eq!(kind(again), ErrorKind::AlreadyExists);
    let e = node.storage().create_pool(&pool("other", "/fast/"), Autostart::Off).await.unwrap_err();
    assert_eq!((e.kind(), e.message()), (ErrorKind::AlreadyExists, "pool fast has the target /fast/ already"));
    let nameless = StoragePool::from_xml("<pool type='dir'/>").unwrap();
    assert_eq!(kind(node.storage().create_pool(&nameless, Autostart::Off).await), ErrorKind::InvalidInput);
    let names: Vec<_> = node.storage().pools().await.unwrap().into_iter().map(|p| String::from(p.name)).collect();
    assert_eq!(names, ["disks", "fast"]);
}

#[tokio::test]
async fn a_pool_starts_and_stops_once() {
    let node = Node::new().await;
    let disks = PoolName::parse("disks").unwrap();
    let storage = node.storage();
    assert_eq!(kind(storage.start_pool(&disks).await), ErrorKind::InvalidState);
    assert_eq!(kind(storage.undefine_pool(&disks).await), ErrorKind::InvalidState);
    storage.stop_pool(&disks).await.unwrap();
    for result in [storage.stop_pool(&disks).await, storage.refresh_pool(&disks).await] {
        assert_eq!(kind(result), ErrorKind::InvalidState);
    }
    let e = storage.volumes(&disks).await.unwrap_err();
    assert_eq!((e.kind(), e.message()), (ErrorKind::InvalidState, "pool disks is not active"));
    let info = storage.find_pool(&disks).await.unwrap();
    assert_eq!((info.active, info.capacity), (false, None));
    storage.undefine_pool(&disks).await.unwrap();
    assert_eq!(kind(storage.find_pool(&disks).await), ErrorKind::NotFound);
    assert_eq!(kind(storage.volumes(&disks).await), ErrorKind::NotFound);
}

#[tokio::test]
async fn volumes_are_made_found_and_deleted() {
    let node = Node::new().await;
    let storage = node.storage();
    let (disks, a) = (PoolName::parse("disks").unwrap(), VolumeName::parse("a.qcow2").unwrap());
    let volume = |name: &str, gib: u64, allocated: u64| {
        StorageVolume::from_xml(&format!(
            "<volume><name>{name}</name><capacity unit='GiB'>{gib}</capacity>\
             <allocation unit='GiB'>{allocated}</allocation><target><format type='qcow2'/></target></volume>"
        ))
        .unwrap()
    };
    let made = storage.create_volume(&disks, &volume("a.qcow2", 2, 0)).await.unwrap();
    assert_eq!((made.host_path().unwrap().as_str(), made.capacity), ("/disks/a.qcow2", Bytes::from_gib(2)));
    assert_eq!(storage.find_volume(&disks, &a).await.unwrap(), made);
    assert_eq!(storage.volume_at(made.host_path().unwrap()).await.unwrap(), made);
    assert_eq!(storage.volumes(&disks).await.unwrap(), std::slice::from_ref(&made));
    for (doc, wanted) in [
        (volume("a.qcow2", 1, 0), ErrorKind::AlreadyExists),
        (volume("huge", 500, 500), ErrorKind::NoSpace),
        (volume("x.partial", 1, 0), ErrorKind::InvalidInput),
    ] {
        assert_eq!(kind(storage.create_volume(&disks, &doc).await), wanted, "{:?}", doc.name);
    }
    storage.delete_volume(&disks, &a).await.unwrap();
    let e = storage.delete_volume(&disks, &a).await.unwrap_err();
    assert_eq!((e.kind(), e.message()), (ErrorKind::NotFound, "no volume disks/a.qcow2"));
    assert_eq!(kind(storage.volume_at(made.host_path().unwrap()).await), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_network_is_defined_started_and_forgotten() {
    let node = Node::new().await;
    let networks = node.networks();
    let doc = |name: &str| Network::from_xml(&format!("<network><name>{name}</name><bridge name='virbr8'/></network>"));
    let inner = NetworkName::parse("inner").unwrap();
    networks.define(&doc("inner").unwrap()).await.unwrap();
    let info = networks.find(&inner).await.unwrap();
    assert_eq!((info.active, info.persistent, info.forward.as_str()), (false, true, "isolated"));
    assert_eq!(kind(networks.define(&doc("inner").unwrap()).await), ErrorKind::AlreadyExists);
    assert_eq!(kind(networks.stop(&inner).await), ErrorKind::InvalidState);
    networks.start(&inner).await.unwrap();
    assert_eq!(kind(networks.start(&inner).await), ErrorKind::InvalidState);
    assert_eq!(kind(networks.undefine(&inner).await), ErrorKind::InvalidState);
    networks.set_autostart(&inner, Autostart::On).await.unwrap();
    let names: Vec<_> = networks.list().await.unwrap().into_iter().map(|n| (n.name.to_string(), n.autostart)).collect();
    assert_eq!(names, [("inner".to_owned(), true), ("lan".to_owned(), false)]);
    networks.stop(&inner).await.unwrap();
    networks.undefine(&inner).await.unwrap();
    assert_eq!(kind(networks.find(&inner).await), ErrorKind::NotFound);
    let lan = NetworkName::parse("lan").unwrap();
    assert_eq!(networks.definition(&lan).await.unwrap().bridge.unwrap().name.as_deref(), Some("virbr7"));
    assert_eq!(kind(networks.leases(&lan).await), ErrorKind::Unsupported);
    let odd = Network::from_xml("<network><name>odd</name><bridge name='br/0'/></network>").unwrap();
    assert_eq!(kind(networks.define(&odd).await), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_machine_is_asked_for_addresses_only_while_it_runs_and_by_sources_that_exist() {
    let node = Node::new().await;
    let found = node.guest().addresses(&id(WEB), AddressSource::Lease).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].source, found[0].prefix), (AddressSource::Lease, Some(24)));
    assert!(found[0].address.to_string().starts_with("192.168.7."));
    for source in [AddressSource::Agent, AddressSource::Arp] {
        assert_eq!(kind(node.guest().addresses(&id(WEB), source).await), ErrorKind::Unsupported, "{source:?}");
    }
    assert_eq!(kind(node.guest().ping_agent(&id(WEB)).await), ErrorKind::Unsupported);
    node.power(WEB, PowerAction::PowerOff).await.unwrap();
    for source in AddressSource::ALL {
        assert_eq!(kind(node.guest().addresses(&id(WEB), source).await), ErrorKind::InvalidState, "{source:?}");
    }
}

#[tokio::test]
async fn a_picture_is_taken_of_what_runs() {
    let node = Node::new().await;
    let picture = node.console().screenshot(&id(WEB), 0).await.unwrap();
    assert_eq!(picture.format, ScreenshotFormat::Png);
    assert!(picture.data.starts_with(b"\x89PNG"));
    let console = node.console().open_serial(&id(WEB), ConsoleAccess::Exclusive).await;
    assert_eq!(console.err().unwrap().kind(), ErrorKind::Unsupported);
    node.power(WEB, PowerAction::PowerOff).await.unwrap();
    assert_eq!(kind(node.console().screenshot(&id(WEB), 0).await), ErrorKind::InvalidState);
}

#[tokio::test]
async fn snapshots_form_a_tree() {
    let node = Node::new().await;
    let (snapshots, web) = (node.snapshots(), id(WEB));
    let [first, second] = ["first", "second"].map(|name| SnapshotName::parse(name).unwrap());
    let words = Description::parse("before <the> update").unwrap();
    let described = SnapshotSpec { description: Some(words.clone()), ..SnapshotSpec::internal(first.clone()) };
    snapshots.create(&web, &described).await.unwrap();
    snapshots.create(&web, &SnapshotSpec::internal(second.clone())).await.unwrap();
    let e = snapshots.create(&web, &described).await.unwrap_err();
    assert_eq!((e.kind(), e.message()), (ErrorKind::AlreadyExists, "snapshot web/first exists already"));
    let all = snapshots.list(&web).await.unwrap();
    assert_eq!(all.iter().map(|s| &s.name).collect::<Vec<_>>(), [&first, &second]);
    assert_eq!((all[0].description.as_deref(), all[0].current), (Some(words.as_str()), false));
    assert_eq!((&all[1].parent, all[1].current, &all[1].description), (&Some(first.clone()), true, &None));
    snapshots.delete(&web, &first, Remove::Everything).await.unwrap();
    assert_eq!(kind(snapshots.delete(&web, &first, Remove::Everything).await), ErrorKind::NotFound);
    assert_eq!(snapshots.list(&web).await.unwrap()[0].parent, None);
    assert!(node.vms().checkpoints().unwrap().list(&web).await.unwrap().is_empty());
}

#[tokio::test]
async fn capabilities_name_the_target_where_a_host_has_no_uuid() {
    let node = Node::new().await;
    let capabilities = node.vms().capabilities().await.unwrap();
    assert_eq!(capabilities.driver, "Test");
    assert_eq!(capabilities.host_key().as_str(), node.libvirt.target());
    assert!(capabilities.guests.iter().any(|guest| guest.virt_type == "test"));
    assert!(capabilities.cpus.is_some_and(|cpus| cpus > 0) && capabilities.memory.is_some());
}

#[tokio::test]
async fn secrets_are_left_out_unless_asked_for() {
    let node = Node::new().await;
    let mut doc = domain("safe", "8fbf2b8e-3b3c-4b1e-9a51-000000000006");
    let graphics = "<graphics type='vnc' port='-1' autoport='yes' passwd='hush'/>";
    let graphics = kvm_xml::domain::Graphics::from_xml(graphics).unwrap();
    doc.devices.get_or_insert_default().graphics.push(graphics);
    let safe = node.vms().define(&doc, Existing::Reject).await.unwrap();
    for (view, shown) in [(View::CONFIG, None), (View::CONFIG.with_secrets(), Some("hush"))] {
        let doc = node.vms().definition(&safe, view).await.unwrap();
        assert_eq!(doc.devices.unwrap().graphics[0].passwd.as_deref(), shown);
    }
}

#[tokio::test]
async fn many_calls_at_a_time_all_get_their_answers() {
    let node = Node::new().await;
    let calls: Vec<_> = (0..64)
        .map(|_| {
            let libvirt = Arc::clone(&node.libvirt);
            tokio::spawn(async move { Hypervisor::list(&*libvirt, &VmFilter::all()).await.unwrap().len() })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 2);
    }
}
