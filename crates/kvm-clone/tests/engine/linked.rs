//! Linked clones: what lies below both machines is written to by neither.

use async_trait::async_trait;
use kvm_clone::{ClonePlan, CloneSpec, plan_linked_clone};
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Plan};
use kvm_core::{ErrorKind, Host, PowerAction, Result};
use kvm_vm::{DeleteOptions, DiskCommit, Volumes, plan_delete, plan_disk_commit, plan_volume_delete};
use tokio::sync::Mutex;

use crate::support::{Pair, WRITTEN, said};

impl Pair {
    async fn linked(&self, vm: &str, name: &str) -> Result<ClonePlan> {
        let spec = CloneSpec { name: Some(name.parse()?), ..CloneSpec::default() };
        plan_linked_clone(&self.here, &self.vm(vm).await, &spec, &self.cx()).await
    }

    async fn images(&self, vm: &str) -> Vec<String> {
        let id = self.vm(vm).await.id;
        let document = self.here.hypervisor.definition(&id, kvm_core::View::CONFIG).await.unwrap();
        let disks = document.devices.unwrap().disk;
        disks.into_iter().filter_map(|disk| disk.source?.file).collect()
    }

    async fn below(&self, image: &str) -> Option<String> {
        let volume = self.here.storage.volume_at(&image.parse().unwrap()).await.unwrap();
        volume.backing.map(|path| path.to_string())
    }
}

#[tokio::test(start_paused = true)]
async fn original_and_clone_go_on_upon_the_same_images() {
    for is_running in [false, true] {
        let pair = Pair::with_helpers().await.unwrap();
        let web = pair.vm("web").await;
        if is_running {
            pair.here.hypervisor.power(&web.id, PowerAction::Start).await.unwrap();
        }
        let clone = pair.linked("web", "twin").await.unwrap();
        pair.run_at(clone.plan, &pair.here).await.unwrap();
        let (original, twin) = (pair.images("web").await, pair.images("twin").await);
        assert_eq!(twin, ["/images/twin.qcow2", "/images/twin-data.qcow2"]);
        for (index, base) in ["/images/web.qcow2", "/images/data.raw"].into_iter().enumerate() {
            assert_ne!(original[index], base);
            for image in [&original[index], &twin[index]] {
                assert_eq!(pair.below(image).await.as_deref(), Some(base), "{image}");
            }
            assert_eq!(pair.source.read_at(base, WRITTEN.0, WRITTEN.1.len()).unwrap(), WRITTEN.1);
        }
        assert_eq!(pair.here.hypervisor.snapshots().unwrap().list(&web.id).await.unwrap(), []);
        assert_eq!(pair.vm("web").await.state.is_active(), is_running);
        pair.here.hypervisor.power(&pair.vm("twin").await.id, PowerAction::Start).await.unwrap();
        pair.assert_nothing_open().await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_done_to_one_harms_the_other() {
    let pair = Pair::with_helpers().await.unwrap();
    for name in ["twin", "third"] {
        pair.run_at(pair.linked("web", name).await.unwrap().plan, &pair.here).await.unwrap();
    }
    let base = "local/web.qcow2".parse().unwrap();
    let refused = plan_volume_delete(&pair.here, &base).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidState, "{}", said(&refused));
    // Merging the overlay of either into what lies below both would change the other.
    for vm in ["web", "twin"] {
        let id = pair.vm(vm).await;
        pair.here.hypervisor.power(&id.id, PowerAction::Start).await.unwrap();
        let commit = DiskCommit::new("vda".parse().unwrap());
        let refused = plan_disk_commit(&pair.here, &pair.vm(vm).await, &commit).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidState, "{vm}: {}", said(&refused));
        pair.here.hypervisor.power(&id.id, PowerAction::PowerOff).await.unwrap();
    }
    let options = DeleteOptions { volumes: Volumes::Delete, ..DeleteOptions::default() };
    for vm in ["web", "third"] {
        let plan = plan_delete(&pair.here, &pair.vm(vm).await, &options).await.unwrap();
        assert!(plan.to_string().contains("keep    volume  local/web.qcow2 "), "{plan}");
        pair.run_at(plan, &pair.here).await.unwrap();
    }
    let twin = pair.images("twin").await;
    assert_eq!(pair.below(&twin[0]).await.as_deref(), Some("/images/web.qcow2"));
    assert_eq!(pair.source.read_at("/images/data.raw", WRITTEN.0, WRITTEN.1.len()).unwrap(), WRITTEN.1);
}

#[tokio::test(start_paused = true)]
async fn what_has_snapshots_or_no_disk_gets_no_linked_clone() {
    let pair = Pair::with_helpers().await.unwrap();
    let before = pair.pictures().await.unwrap();
    let kept = said(&pair.linked("kept", "twin").await.unwrap_err());
    assert!(kept.starts_with("invalid_state [VM kept]: VM kept has snapshots"), "{kept}");
    let saved = said(&pair.linked("saved", "twin").await.unwrap_err());
    assert!(saved.starts_with("invalid_state [VM saved]"), "{saved}");
    assert_eq!(pair.linked("lan", "twin").await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(pair.linked("web", "top").await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(pair.pictures().await.unwrap(), before);
}

/// A linked clone, whose every step is made to fail.
struct Linking {
    is_running: bool,
    pair: Mutex<Option<Pair>>,
}

#[async_trait]
impl Scenario for Linking {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let pair = Pair::with_helpers().await?;
        if self.is_running {
            pair.here.hypervisor.power(&pair.vm("web").await.id, PowerAction::Start).await?;
        }
        let plan = pair.linked("web", "twin").await?.plan;
        let host = pair.here.clone();
        *self.pair.lock().await = Some(pair);
        Ok((host, plan))
    }

    async fn inventory(&self, _: &Host) -> Result<String> {
        let pair = self.pair.lock().await;
        pair.as_ref().unwrap().pictures().await
    }

    fn catalogue(&self) -> Catalogue {
        self.pair.try_lock().unwrap().as_ref().unwrap().catalogue()
    }
}

#[tokio::test(start_paused = true)]
async fn a_linked_clone_survives_a_failure_at_every_step() {
    for is_running in [false, true] {
        let scenario = Linking { is_running, pair: Mutex::new(None) };
        assert_eq!(check(&scenario).await.unwrap().steps, 5, "{is_running}");
    }
}
