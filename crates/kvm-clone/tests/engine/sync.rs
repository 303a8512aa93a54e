//! Replicas: made, brought up to date, and whole at any moment.

use async_trait::async_trait;
use kvm_clone::{SyncPlan, SyncSpec, WhileRunning, plan_sync};
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Plan};
use kvm_core::{
    Consistency, ErrorKind, Existing, Host, PowerAction, Replica, ReplicaState, Replication, Result, View, VmNotes,
    VmState, VmSummary,
};
use kvm_xml::Document as _;
use tokio::sync::Mutex;

use crate::support::{Pair, WRITTEN, picture, said};

pub(crate) const MORE: (u64, &[u8]) = (2 << 20, b"what it wrote since");

pub(crate) fn spec() -> SyncSpec {
    SyncSpec::at("2030-06-01T12:00:00Z".parse().unwrap())
}

impl Pair {
    pub(crate) async fn sync_plan(&self, vm: &str, spec: &SyncSpec) -> Result<SyncPlan> {
        plan_sync(&self.here, &self.there, &self.vm(vm).await, spec, &self.cx()).await
    }

    pub(crate) async fn sync(&self, vm: &str) -> Result<()> {
        let plan = self.sync_plan(vm, &spec()).await?;
        self.run(plan.plan).await
    }

    pub(crate) async fn there(&self, vm: &str) -> VmSummary {
        kvm_vm::resolve(&self.there, vm).await.unwrap()
    }

    pub(crate) async fn replica(&self, vm: &str) -> Replica {
        match self.noted(&self.there, vm).await {
            Some(Replication::Replica(replica)) => replica,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn noted(&self, host: &Host, vm: &str) -> Option<Replication> {
        let id = kvm_vm::resolve(host, vm).await.unwrap().id;
        VmNotes::of(&host.hypervisor.definition(&id, View::CONFIG).await.unwrap()).replication
    }

    pub(crate) async fn pictures(&self) -> Result<String> {
        let (source, target) = (picture(&self.here, &self.source).await?, picture(&self.there, &self.target).await?);
        let mut all = source + &target;
        for host in [&self.here, &self.there] {
            for vm in host.hypervisor.list(&kvm_core::VmFilter::all()).await? {
                all += &host.hypervisor.definition(&vm.id, View::CONFIG).await?.to_xml();
            }
        }
        Ok(all)
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_sync_makes_the_same_machine_cold_and_says_so_on_both_hosts() {
    let pair = Pair::new().await.unwrap();
    let sync = pair.sync_plan("web", &spec()).await.unwrap();
    assert!(sync.is_first);
    let shown = sync.plan.to_string();
    let (title, lines) = shown.split_once('\n').unwrap();
    assert!(title.starts_with("sync web from mock:") && title.ends_with(" to mock:///empty"), "{title}");
    assert_eq!(
        lines,
        "  use      libvirt                     to carry the images in whole, which is slower: a simulated host runs no helper\n  \
         copy     volume   local/web.qcow2    qcow2, 20 GiB, 10 MiB on disk\n  \
         create   volume   default/web.qcow2\n  \
         copy     volume   local/data.raw     raw, 1 GiB, 4 MiB on disk\n  \
         create   volume   default/data.raw\n  \
         note     domain   web                the copy does not start with its host\n  \
         define   domain   web                2 vCPUs, 1 GiB\n  \
         connect  network  default",
    );
    pair.run(sync.plan).await.unwrap();
    let (source, replica) = (pair.vm("web").await, pair.there("web").await);
    assert_eq!((replica.id, replica.state, replica.autostart), (source.id, VmState::Off, Some(false)));
    assert_eq!(pair.target.read_at("/var/lib/images/web.qcow2", WRITTEN.0, WRITTEN.1.len()).unwrap(), WRITTEN.1);
    let noted = pair.replica("web").await;
    assert_eq!((noted.state, noted.vm.as_str(), noted.consistency), (ReplicaState::Current, "web", Consistency::Off));
    assert_eq!(noted.synced, spec().at);
    assert_eq!(noted.images.iter().map(|image| image.disk.as_str()).collect::<Vec<_>>(), ["vda", "vdb"]);
    let Some(Replication::Source { replicas }) = pair.noted(&pair.here, "web").await else { panic!("no source") };
    assert_eq!(replicas.iter().map(|there| there.target.as_str()).collect::<Vec<_>>(), ["mock:///empty"]);
    pair.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn a_later_sync_carries_data_and_definition_and_leaves_no_image_over() {
    let pair = Pair::new().await.unwrap();
    pair.sync("web").await.unwrap();
    pair.source.write_at("/images/data.raw", MORE.0, MORE.1).unwrap();
    let id = pair.vm("web").await.id;
    let mut document = pair.here.hypervisor.definition(&id, View::CONFIG).await.unwrap();
    document.vcpu.as_mut().unwrap().value = Some(5);
    pair.here.hypervisor.define(&document, Existing::Replace).await.unwrap();
    let first = pair.replica("web").await;
    let sync = pair.sync_plan("web", &spec()).await.unwrap();
    assert!(!sync.is_first);
    assert!(sync.plan.to_string().contains("  remove  volume   default/data.raw "), "{}", sync.plan);
    pair.run(sync.plan).await.unwrap();
    let second = pair.replica("web").await;
    assert_ne!(second.sync, first.sync);
    let path = second.image("vdb").unwrap().path.as_str();
    assert_eq!(pair.target.read_at(path, MORE.0, MORE.1.len()).unwrap(), MORE.1);
    let left: Vec<_> = pair.target.files().unwrap().into_keys().filter(|path| path.contains("data")).collect();
    assert_eq!(left, [path]);
    let replica = pair.there.hypervisor.definition(&id, View::CONFIG).await.unwrap();
    assert_eq!(replica.vcpu.unwrap().value, Some(5));
    // A third time it goes back to the names of the first.
    pair.sync("web").await.unwrap();
    assert_eq!(pair.replica("web").await.images[1].path, first.images[1].path);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_new_at_the_source_comes_along_and_one_that_is_gone_stays_as_a_file() {
    let pair = Pair::new().await.unwrap();
    let id = pair.vm("web").await.id;
    let whole = pair.here.hypervisor.definition(&id, View::CONFIG).await.unwrap();
    let mut less = whole.clone();
    let data = less.devices.as_mut().unwrap().disk.pop().unwrap();
    assert_eq!(data.source.unwrap().file.as_deref(), Some("/images/data.raw"));
    pair.here.hypervisor.define(&less, Existing::Replace).await.unwrap();
    pair.sync("web").await.unwrap();
    assert_eq!(pair.replica("web").await.images.len(), 1);
    pair.here.hypervisor.define(&whole, Existing::Replace).await.unwrap();
    pair.sync("web").await.unwrap();
    assert_eq!(pair.replica("web").await.images.len(), 2);
    pair.here.hypervisor.define(&less, Existing::Replace).await.unwrap();
    let sync = pair.sync_plan("web", &spec()).await.unwrap();
    assert!(sync.plan.to_string().contains("vdb is no disk of it any more"), "{}", sync.plan);
    pair.run(sync.plan).await.unwrap();
    assert!(pair.target.files().unwrap().contains_key("/var/lib/images/data.raw"));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_runs_is_held_for_the_sync_and_an_overlay_becomes_whole() {
    let pair = Pair::new().await.unwrap();
    let id = pair.vm("top").await.id;
    pair.here.hypervisor.power(&id, PowerAction::Start).await.unwrap();
    for _ in 0..2 {
        pair.sync("top").await.unwrap();
        let noted = pair.replica("top").await;
        assert_ne!(noted.consistency, Consistency::Off);
        let volume = pair.there.storage.volume_at(&noted.images[0].path).await.unwrap();
        assert_eq!(volume.backing, None);
        assert_eq!(pair.vm("top").await.state, VmState::Running);
        assert_eq!(pair.here.hypervisor.snapshots().unwrap().list(&id).await.unwrap(), []);
    }
    let refused = SyncSpec { running: WhileRunning::Refuse, ..spec() };
    assert_eq!(pair.sync_plan("top", &refused).await.unwrap_err().kind(), ErrorKind::InvalidState);
}

#[tokio::test(start_paused = true)]
async fn what_would_touch_another_machine_or_a_replica_in_use_is_refused() {
    let pair = Pair::new().await.unwrap();
    pair.sync("web").await.unwrap();
    let refused = async |spec: SyncSpec| said(&pair.sync_plan("web", &spec).await.unwrap_err());
    let same = plan_sync(&pair.here, &pair.here, &pair.vm("web").await, &spec(), &pair.cx()).await.unwrap_err();
    assert!(said(&same).starts_with("invalid_input [field host]"), "{}", said(&same));
    let renamed = SyncSpec { target_name: Some("other".parse().unwrap()), ..spec() };
    assert!(refused(renamed).await.starts_with("invalid_input [field target_name]"));
    // In the other direction.
    let back = plan_sync(&pair.there, &pair.here, &pair.there("web").await, &spec(), &pair.cx()).await.unwrap_err();
    assert!(said(&back).starts_with("invalid_state [VM web]: VM web is itself a replica"), "{}", said(&back));

    let id = pair.there("web").await.id;
    pair.there.hypervisor.power(&id, PowerAction::Start).await.unwrap();
    let before = pair.pictures().await.unwrap();
    assert!(refused(spec()).await.starts_with("invalid_state [VM web]: the replica web on mock:///empty is running"));
    assert_eq!(pair.pictures().await.unwrap(), before);
    pair.there.hypervisor.power(&id, PowerAction::PowerOff).await.unwrap();
    // A machine of the same uuid that nobody made a replica.
    let notes = VmNotes::default();
    pair.there.hypervisor.set_notes(&id, &notes).await.unwrap();
    assert!(refused(spec()).await.starts_with("already_exists [VM web]"));
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_started_in_the_middle_of_a_sync_is_left_alone() {
    let pair = Pair::new().await.unwrap();
    pair.sync("web").await.unwrap();
    let plan = pair.sync_plan("web", &spec()).await.unwrap().plan;
    pair.there.hypervisor.power(&pair.there("web").await.id, PowerAction::Start).await.unwrap();
    let before = pair.pictures().await.unwrap();
    assert_eq!(pair.run(plan).await.unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!(pair.pictures().await.unwrap(), before);
    pair.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn of_two_syncs_at_once_one_waits_and_one_that_lost_its_turn_touches_nothing() {
    let pair = Pair::new().await.unwrap();
    pair.sync("web").await.unwrap();
    let (first, second) =
        (pair.sync_plan("web", &spec()).await.unwrap().plan, pair.sync_plan("web", &spec()).await.unwrap().plan);
    // The process of the first dies while it sends.
    pair.source.inject(kvm_mock::Fault::next(kvm_mock::Method::DownloadVolume, ErrorKind::Unavailable));
    pair.run(first).await.unwrap_err();
    let mut receiving = pair.replica("web").await;
    assert_eq!(receiving.state, ReplicaState::Current, "it was taken back");
    receiving.state = ReplicaState::Receiving;
    let id = pair.there("web").await.id;
    let notes = VmNotes { replication: Some(Replication::Replica(receiving)), ..VmNotes::default() };
    pair.there.hypervisor.set_notes(&id, &notes).await.unwrap();
    assert_eq!(pair.sync_plan("web", &spec()).await.unwrap_err().kind(), ErrorKind::Busy);
    let before = pair.pictures().await.unwrap();
    assert_eq!(pair.run(second).await.unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!(pair.pictures().await.unwrap(), before);
    kvm_clone::resume_replica(&pair.there, &pair.there("web").await).await.unwrap();
    pair.sync("web").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn another_machine_of_its_name_is_in_the_way() {
    let pair = Pair::new().await.unwrap();
    let other = "<domain type='kvm'><name>web</name><uuid>0c0d5b1e-1111-4000-8000-0000000000aa</uuid><memory>1024</memory><os><type arch='x86_64'>hvm</type></os></domain>";
    let other = kvm_xml::Domain::from_xml(other).unwrap();
    pair.there.hypervisor.define(&other, Existing::Reject).await.unwrap();
    assert_eq!(pair.sync_plan("web", &spec()).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let renamed = SyncSpec { target_name: Some("web-replica".parse().unwrap()), ..spec() };
    pair.run(pair.sync_plan("web", &renamed).await.unwrap().plan).await.unwrap();
    assert_eq!(pair.there("web-replica").await.id, pair.vm("web").await.id);
    // The name stays without being said again.
    pair.sync("web").await.unwrap();
    assert_eq!(pair.replica("web-replica").await.vm.as_str(), "web");
}

/// A sync whose every step is made to fail.
struct Syncing {
    vm: &'static str,
    is_running: bool,
    is_first: bool,
    pair: Mutex<Option<Pair>>,
}

impl Syncing {
    fn of(vm: &'static str, is_running: bool, is_first: bool) -> Self {
        Self { vm, is_running, is_first, pair: Mutex::new(None) }
    }
}

#[async_trait]
impl Scenario for Syncing {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let pair = Pair::new().await?;
        if self.is_running {
            pair.here.hypervisor.power(&pair.vm(self.vm).await.id, PowerAction::Start).await?;
        }
        if !self.is_first {
            pair.sync(self.vm).await?;
            pair.source.write_at("/images/web.qcow2", MORE.0, MORE.1)?;
        }
        let plan = pair.sync_plan(self.vm, &spec()).await?.plan;
        let host = pair.there.clone();
        *self.pair.lock().await = Some(pair);
        Ok((host, plan))
    }

    async fn inventory(&self, _: &Host) -> Result<String> {
        self.pair.lock().await.as_ref().unwrap().pictures().await
    }

    fn catalogue(&self) -> Catalogue {
        self.pair.try_lock().unwrap().as_ref().unwrap().catalogue()
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_sync_survives_a_failure_at_every_step() {
    assert_eq!(check(&Syncing::of("web", false, true)).await.unwrap().steps, 6);
}

#[tokio::test(start_paused = true)]
async fn a_first_sync_of_a_machine_that_runs_survives_a_failure_at_every_step() {
    assert_eq!(check(&Syncing::of("web", true, true)).await.unwrap().steps, 8);
}

#[tokio::test(start_paused = true)]
async fn a_later_sync_survives_a_failure_at_every_step() {
    assert_eq!(check(&Syncing::of("web", false, false)).await.unwrap().steps, 8);
}

#[tokio::test(start_paused = true)]
async fn a_later_sync_of_a_machine_that_runs_survives_a_failure_at_every_step() {
    assert_eq!(check(&Syncing::of("web", true, false)).await.unwrap().steps, 10);
}
