//! Restorations: the machine as it was stored, or nothing at all.

use std::time::Duration;

use async_trait::async_trait;
use kvm_clone::{Compress, Parallel, RestorePlan, RestoreSpec, Restored, TpmState, plan_restore};
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Plan};
use kvm_core::{Bandwidth, Clock as _, ErrorKind, Host, PowerAction, Result, View, VmState};
use kvm_vm::Start;
use tokio::sync::Mutex;

use super::backup::{FIRST, point, store};
use crate::support::{Pair, WRITTEN, picture, said};

pub(crate) fn spec(identity: Restored) -> RestoreSpec {
    RestoreSpec {
        identity,
        pool: None,
        uplinks: Vec::new(),
        tpm: TpmState::Fresh,
        limit: Bandwidth::UNLIMITED,
        compression: Compress::Auto,
        parallel: Parallel::default(),
        start: Start::No,
        replace: None,
    }
}

pub(crate) fn anew(name: &str) -> RestoreSpec {
    spec(Restored::New(name.parse().unwrap()))
}

impl Pair {
    pub(crate) async fn plan_restore(&self, at: &Host, from: &str, spec: &RestoreSpec) -> Result<RestorePlan> {
        plan_restore(&self.there, &store(), &point(from), at, spec, &self.cx()).await
    }

    pub(crate) async fn world(&self) -> String {
        picture(&self.here, &self.source).await.unwrap() + &picture(&self.there, &self.target).await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_comes_back_under_another_name_on_the_host_of_the_store() {
    let pair = Pair::with_helpers().await.unwrap();
    pair.back_up("web").await;
    let restore =
        pair.plan_restore(&pair.there, "web", &RestoreSpec { start: Start::Yes, ..anew("again") }).await.unwrap();
    let shown = restore.plan.to_string();
    assert!(shown.contains("  restore  disk     vda "), "{shown}");
    assert!(shown.contains("  create   volume   default/again.qcow2"), "{shown}");
    pair.run_at(restore.plan, &pair.there).await.unwrap();
    let vm = kvm_vm::resolve(&pair.there, "again").await.unwrap();
    assert_eq!((vm.state, vm.id), (VmState::Running, restore.id));
    assert_ne!(vm.id, pair.vm("web").await.id);
    for path in ["/var/lib/images/again.qcow2", "/var/lib/images/again-data.raw"] {
        assert_eq!(pair.target.read_at(path, WRITTEN.0, WRITTEN.1.len()).unwrap(), WRITTEN.1, "{path}");
    }
    let again = pair.plan_restore(&pair.there, "web", &anew("again")).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    pair.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_is_set_back_and_its_present_images_stay() {
    let pair = Pair::with_helpers().await.unwrap();
    pair.back_up("web").await;
    pair.source.write_at("/images/data.raw", WRITTEN.0, b"overwritten").unwrap();
    let (web, images) = (pair.vm("web").await, pair.source.files().unwrap());
    let restore = pair.plan_restore(&pair.here, "web", &spec(Restored::InPlace)).await.unwrap();
    assert_eq!(restore.kept, ["/images/web.qcow2", "/images/data.raw"]);
    pair.run_at(restore.plan, &pair.here).await.unwrap();
    let now = pair.vm("web").await;
    assert_eq!((now.id, now.state, now.autostart), (web.id, VmState::Off, web.autostart));
    let document = pair.here.hypervisor.definition(&now.id, View::CONFIG).await.unwrap();
    let mac = document.devices.as_ref().unwrap().interface[0].mac.as_ref().unwrap().address.unwrap();
    assert_eq!(mac.to_string(), "52:54:00:00:00:01");
    let disks: Vec<_> = document
        .devices
        .unwrap()
        .disk
        .into_iter()
        .filter_map(|disk| disk.source.and_then(|source| source.file))
        .collect();
    assert_eq!(disks, ["/images/web-1.qcow2", "/images/data-1.raw"]);
    assert_eq!(pair.source.read_at("/images/data-1.raw", WRITTEN.0, WRITTEN.1.len()).unwrap(), WRITTEN.1);
    let after = pair.source.files().unwrap();
    assert!(images.iter().all(|(path, file)| after.get(path) == Some(file)), "what was there is as it was");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_gone_comes_back_as_itself() {
    let pair = Pair::with_helpers().await.unwrap();
    pair.back_up("web").await;
    let web = pair.vm("web").await;
    pair.here.hypervisor.undefine(&web.id, Default::default()).await.unwrap();
    let restore = pair.plan_restore(&pair.there, "web", &spec(Restored::InPlace)).await.unwrap();
    pair.run_at(restore.plan, &pair.there).await.unwrap();
    let back = kvm_vm::resolve(&pair.there, "web").await.unwrap();
    assert_eq!((back.id, back.state), (web.id, VmState::Off));
    assert!(restore.kept.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_not_off_or_has_snapshots_is_not_set_back() {
    let pair = Pair::with_helpers().await.unwrap();
    pair.back_up("web").await;
    pair.start("web").await.unwrap();
    let refused = pair.plan_restore(&pair.here, "web", &spec(Restored::InPlace)).await.unwrap_err();
    assert!(said(&refused).starts_with("invalid_state [VM web]: VM web is running"), "{}", said(&refused));
    let kept = pair.vm("kept").await.id;
    pair.here.hypervisor.power(&kept, PowerAction::PowerOff).await.unwrap();
    pair.back_up("kept").await;
    let refused = pair.plan_restore(&pair.here, "kept", &spec(Restored::InPlace)).await.unwrap_err();
    assert!(said(&refused).contains("1 snapshots"), "{}", said(&refused));
}

#[tokio::test(start_paused = true)]
async fn what_is_damaged_in_the_store_is_not_restored() {
    for file in ["vda.qcow2", "vdb.raw", "domain.xml"] {
        let pair = Pair::with_helpers().await.unwrap();
        pair.back_up("web").await;
        let path = format!("/srv/web/{FIRST}/{file}");
        let at = if file == "domain.xml" { 20 } else { WRITTEN.0 };
        pair.target.write_at(&path, at, b"\x07").unwrap();
        let before = pair.world().await;
        for (host, spec) in [(&pair.there, anew("again")), (&pair.here, spec(Restored::InPlace))] {
            let error = match pair.plan_restore(host, "web", &spec).await {
                Ok(restore) => pair.run_at(restore.plan, host).await.unwrap_err(),
                Err(e) => e,
            };
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{file}: {}", said(&error));
            assert!(said(&error).contains(file), "{}", said(&error));
            assert_eq!(pair.world().await, before, "{file}");
            pair.assert_nothing_open().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn any_point_is_restored_not_only_the_newest() {
    let pair = Pair::with_helpers().await.unwrap();
    pair.back_up("web").await;
    pair.source.write_at("/images/data.raw", WRITTEN.0, b"WHAT").unwrap();
    pair.clock.sleep(Duration::from_secs(60)).await;
    pair.back_up("web").await;
    for (from, name, begins) in [(format!("web/{FIRST}"), "old", b"what"), ("web".to_owned(), "new", b"WHAT")] {
        let restore = pair.plan_restore(&pair.there, &from, &anew(name)).await.unwrap();
        pair.run_at(restore.plan, &pair.there).await.unwrap();
        let path = format!("/var/lib/images/{name}-data.raw");
        assert_eq!(pair.target.read_at(&path, WRITTEN.0, 4).unwrap(), begins);
    }
}

/// A restoration, whose every step is made to fail.
struct Restoring {
    is_in_place: bool,
    pair: Mutex<Option<Pair>>,
}

#[async_trait]
impl Scenario for Restoring {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let pair = Pair::with_helpers().await?;
        pair.back_up("web").await;
        let (host, spec) = match self.is_in_place {
            true => (pair.here.clone(), spec(Restored::InPlace)),
            false => (pair.there.clone(), anew("again")),
        };
        let plan = pair.plan_restore(&host, "web", &spec).await?.plan;
        *self.pair.lock().await = Some(pair);
        Ok((host, plan))
    }

    async fn inventory(&self, _: &Host) -> Result<String> {
        let pair = self.pair.lock().await;
        Ok(pair.as_ref().unwrap().world().await)
    }

    fn catalogue(&self) -> Catalogue {
        self.pair.try_lock().unwrap().as_ref().unwrap().catalogue()
    }
}

#[tokio::test(start_paused = true)]
async fn a_restoration_survives_a_failure_at_every_step() {
    for is_in_place in [false, true] {
        let scenario = Restoring { is_in_place, pair: Mutex::new(None) };
        assert_eq!(check(&scenario).await.unwrap().steps, 3, "{is_in_place}");
    }
}
