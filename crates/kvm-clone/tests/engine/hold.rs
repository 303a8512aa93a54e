//! A machine that runs is copied by one at a time, and stays as it is meanwhile.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use kvm_clone::CloneSpec;
use kvm_core::op::{Direction, Executor, Hook, MemoryStore, Moment, Plan, RunContext, Store as _, Verdict};
use kvm_core::{Description, ErrorKind, Host, PowerAction, Silent};
use kvm_vm::{COPYING, DeleteOptions, KeepMemory, SnapshotCreate, plan_delete, plan_hold, plan_snapshot};
use tokio_util::sync::CancellationToken;

use crate::support::{Pair, picture, said};

/// The process dies when the machine is held.
#[derive(Debug)]
struct DiesHolding;

#[async_trait]
impl Hook for DiesHolding {
    async fn at(&self, moment: Moment, _: usize, name: &str) -> Verdict {
        if moment == Moment::After && name == "at-peer" { Verdict::Die } else { Verdict::Continue }
    }
}

/// Right before the machine is held, when nobody holds it yet, another program does.
#[derive(Debug)]
struct IsOvertaken {
    by: Executor,
    with: Mutex<Option<Plan>>,
    host: Host,
}

#[async_trait]
impl Hook for IsOvertaken {
    async fn at(&self, moment: Moment, _: usize, name: &str) -> Verdict {
        let other = match (moment, name) {
            (Moment::Before, "at-peer") => self.with.lock().unwrap().take(),
            _ => None,
        };
        if let Some(plan) = other {
            let cancel = CancellationToken::new();
            let cx = RunContext { host: &self.host, reporter: &Silent, cancel: &cancel };
            self.by.run(plan, cx).await.unwrap_err();
        }
        Verdict::Continue
    }
}

fn named(name: &str) -> CloneSpec {
    CloneSpec { name: Some(name.parse().unwrap()), ..CloneSpec::default() }
}

#[tokio::test(start_paused = true)]
async fn while_a_machine_is_copied_nobody_else_copies_changes_or_deletes_it() {
    let pair = Pair::new().await.unwrap();
    let web = pair.vm("web").await;
    pair.here.hypervisor.power(&web.id, PowerAction::Start).await.unwrap();
    let web = pair.vm("web").await;
    let before = picture(&pair.here, &pair.source).await.unwrap();
    let cancel = CancellationToken::new();
    let cx = || RunContext { host: &pair.there, reporter: &Silent, cancel: &cancel };
    let (one, two) = (pair.plan("web", &named("one")).await.unwrap(), pair.plan("web", &named("two")).await.unwrap());
    pair.executor().with_hook(Arc::new(DiesHolding)).run(one.plan, cx()).await.unwrap_err();

    // Another program, which planned before the machine was held, and one that plans now.
    let store = MemoryStore::default();
    let other = Executor::new(Arc::new(store.clone()), pair.catalogue(), "other");
    let held = picture(&pair.here, &pair.source).await.unwrap();
    let refused = other.run(two.plan, cx()).await.unwrap_err();
    assert!(said(&refused).starts_with("busy [VM web]: VM web is being copied since "), "{}", said(&refused));
    assert_eq!(store.unfinished().await.unwrap(), []);
    let refused = pair.plan("web", &named("two")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Busy);
    let delete = plan_delete(&pair.here, &web, &DeleteOptions::default()).await;
    assert_eq!(delete.unwrap_err().kind(), ErrorKind::Busy);
    let wanted = SnapshotCreate {
        name: "between".parse().unwrap(),
        description: None,
        kind: None,
        memory: KeepMemory::No,
        quiesce: kvm_core::Quiesce::No,
    };
    assert_eq!(plan_snapshot(&pair.here, &web, &wanted).await.unwrap_err().kind(), ErrorKind::Busy);
    // One whose question whether somebody copies it was answered right before.
    let description = Description::parse("held").unwrap();
    let hold = plan_hold(&pair.here, &web, kvm_core::Quiesce::No, description, "token").await;
    assert_eq!(said(&hold.unwrap_err()), said(&refused));
    assert_eq!(picture(&pair.here, &pair.source).await.unwrap(), held);

    // Whoever holds it gives it up, and the next one is copied.
    let killed = pair.store.unfinished().await.unwrap()[0].header.id.clone();
    pair.executor().finish(&killed, Direction::Back, cx()).await.unwrap();
    assert_eq!(picture(&pair.here, &pair.source).await.unwrap(), before);
    let again = pair.plan("web", &named("two")).await.unwrap();
    pair.run(again.plan).await.unwrap();
    assert_eq!(picture(&pair.here, &pair.source).await.unwrap(), before);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_comes_back_late_leaves_the_next_ones_hold_alone() {
    let pair = Pair::new().await.unwrap();
    let web = pair.vm("web").await;
    pair.here.hypervisor.power(&web.id, PowerAction::Start).await.unwrap();
    let cancel = CancellationToken::new();
    let cx = || RunContext { host: &pair.there, reporter: &Silent, cancel: &cancel };
    let one = pair.plan("web", &named("one")).await.unwrap();
    pair.executor().with_hook(Arc::new(DiesHolding)).run(one.plan, cx()).await.unwrap_err();
    let killed = pair.store.unfinished().await.unwrap()[0].header.id.clone();
    // Somebody gives its hold up by hand, and begins another copy, whose process dies as well.
    let snapshots = pair.here.hypervisor.snapshots().unwrap();
    snapshots.delete(&web.id, &COPYING.parse().unwrap(), kvm_core::Remove::Everything).await.unwrap();
    let store = MemoryStore::default();
    let other = Executor::new(Arc::new(store.clone()), pair.catalogue(), "other").with_hook(Arc::new(DiesHolding));
    let two = pair.plan("web", &named("two")).await.unwrap();
    other.run(two.plan, cx()).await.unwrap_err();
    let held = snapshots.list(&web.id).await.unwrap();
    let ended = pair.executor().finish(&killed, Direction::Back, cx()).await;
    assert_eq!(snapshots.list(&web.id).await.unwrap(), held, "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_overtaken_at_the_last_moment_is_told_that_it_is_busy() {
    let pair = Pair::new().await.unwrap();
    let web = pair.vm("web").await;
    pair.here.hypervisor.power(&web.id, PowerAction::Start).await.unwrap();
    let (one, two) = (pair.plan("web", &named("one")).await.unwrap(), pair.plan("web", &named("two")).await.unwrap());
    let store = Arc::new(MemoryStore::default());
    let by = Executor::new(store.clone(), pair.catalogue(), "other").with_hook(Arc::new(DiesHolding));
    let hook = IsOvertaken { by, with: Mutex::new(Some(two.plan)), host: pair.there.clone() };
    let cancel = CancellationToken::new();
    let cx = RunContext { host: &pair.there, reporter: &Silent, cancel: &cancel };
    let refused = pair.executor().with_hook(Arc::new(hook)).run(one.plan, cx).await.unwrap_err();
    assert!(said(&refused).starts_with("busy [VM web]: VM web is being copied since "), "{}", said(&refused));
    pair.assert_nothing_open().await;
    // The other one's hold is as it was: it goes on from there.
    let killed = store.unfinished().await.unwrap()[0].header.id.clone();
    let cx = RunContext { host: &pair.there, reporter: &Silent, cancel: &cancel };
    Executor::new(store, pair.catalogue(), "other").finish(&killed, Direction::Forward, cx).await.unwrap();
    assert!(pair.there.hypervisor.find(&kvm_core::VmRef::Name("two".parse().unwrap())).await.is_ok());
    assert_eq!(pair.here.hypervisor.snapshots().unwrap().list(&web.id).await.unwrap(), []);
}
