//! Replicas on their own: promoted, paused, turned round.

use std::sync::Arc;

use async_trait::async_trait;
use kvm_clone::{
    PromoteSpec, SourceSeen, SyncSpec, pause_replica, plan_promote, plan_sync, replicas, resume_replica, see_source,
};
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Direction, Hook, Moment, Plan, RunContext, Store as _, Verdict};
use kvm_core::{ErrorKind, Existing, Host, PowerAction, ReplicaState, Replication, Result, Silent, View, VmState};
use kvm_vm::Start;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::support::{Pair, said};
use crate::sync::{MORE, spec};

fn promotion(start: Start) -> PromoteSpec {
    let source = SourceSeen::Unreachable("no route to it".to_owned());
    PromoteSpec { at: "2030-06-02T00:00:00Z".parse().unwrap(), start, source }
}

async fn promote(pair: &Pair, vm: &str) -> Result<()> {
    let vm = pair.there(vm).await;
    let plan = plan_promote(&pair.there, &vm, &promotion(Start::Yes), &pair.cx()).await?.plan;
    pair.run(plan).await
}

/// Gives the source a generation id, as a guest that watches for it has one.
async fn with_genid(pair: &Pair) -> Result<()> {
    let id = pair.vm("web").await.id;
    let mut document = pair.here.hypervisor.definition(&id, View::CONFIG).await?;
    let genid: uuid::Uuid = "0a4e7c52-9f1d-4d0e-8c35-51b0c9d1a1c4".parse().unwrap();
    document.genid = Some(genid.into());
    pair.here.hypervisor.define(&document, Existing::Replace).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn a_promoted_replica_runs_has_a_new_generation_and_takes_no_syncs() {
    let pair = Pair::new().await.unwrap();
    with_genid(&pair).await.unwrap();
    pair.sync("web").await.unwrap();
    let id = pair.vm("web").await.id;
    let genid = async |host: &Host| host.hypervisor.definition(&id, View::CONFIG).await.unwrap().genid.unwrap().value;
    assert_eq!(genid(&pair.there).await, genid(&pair.here).await);
    promote(&pair, "web").await.unwrap();
    assert_eq!(pair.there("web").await.state, VmState::Running);
    let noted = pair.replica("web").await;
    assert_eq!((noted.state, noted.promoted), (ReplicaState::Promoted, Some(promotion(Start::Yes).at)));
    assert_ne!(genid(&pair.there).await, genid(&pair.here).await);
    let refused = said(&pair.sync_plan("web", &spec()).await.unwrap_err());
    assert!(refused.contains("was promoted") && refused.contains("kvmctl replica invert"), "{refused}");
    let again = promote(&pair, "web").await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::InvalidState);
}

#[tokio::test(start_paused = true)]
async fn only_a_replica_is_promoted_paused_or_resumed() {
    let pair = Pair::new().await.unwrap();
    let web = pair.vm("web").await;
    let kinds = [
        plan_promote(&pair.here, &web, &promotion(Start::No), &pair.cx()).await.unwrap_err().kind(),
        pause_replica(&pair.here, &web).await.unwrap_err().kind(),
        resume_replica(&pair.here, &web).await.unwrap_err().kind(),
    ];
    assert_eq!(kinds, [ErrorKind::InvalidState; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_paused_takes_no_syncs_until_it_goes_on() {
    let pair = Pair::new().await.unwrap();
    pair.sync("web").await.unwrap();
    let web = pair.there("web").await;
    assert_eq!(pause_replica(&pair.there, &web).await.unwrap().state, ReplicaState::Paused);
    let refused = said(&pair.sync_plan("web", &spec()).await.unwrap_err());
    assert!(refused.starts_with("invalid_state [VM web]: the replica web on mock:///empty is paused"), "{refused}");
    assert_eq!(resume_replica(&pair.there, &web).await.unwrap().state, ReplicaState::Current);
    pair.sync("web").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn all_machines_are_listed_and_only_replicas_lag() {
    let pair = Pair::new().await.unwrap();
    pair.sync("web").await.unwrap();
    let now = "2030-06-01T12:01:30Z".parse().unwrap();
    let there = replicas(&pair.there).await.unwrap();
    let lags: Vec<_> = there.iter().map(|info| (info.vm.name.as_str(), info.lag(now))).collect();
    assert_eq!(lags, [("web", Some(std::time::Duration::from_secs(90)))]);
    let here = replicas(&pair.here).await.unwrap();
    assert!(here.len() > 4 && here.iter().all(|info| info.lag(now).is_none()));
    let sources: Vec<_> = here.iter().filter(|info| info.replication.is_some()).map(|i| i.vm.name.as_str()).collect();
    assert_eq!(sources, ["web"]);
    assert_eq!(see_source(&pair.here, &there[0].vm).await, SourceSeen::There(VmState::Off));
}

#[tokio::test(start_paused = true)]
async fn a_promoted_replica_and_its_old_source_are_turned_round() {
    let pair = Pair::new().await.unwrap();
    pair.sync("web").await.unwrap();
    promote(&pair, "web").await.unwrap();
    let plan =
        async |spec: SyncSpec| plan_sync(&pair.there, &pair.here, &pair.there("web").await, &spec, &pair.cx()).await;
    // Not by mistake.
    let refused = said(&plan(spec()).await.unwrap_err());
    assert!(refused.contains("is the source of this one") && refused.contains("invert"), "{refused}");
    let path = pair.replica("web").await.images[1].path.clone();
    pair.target.write_at(path.as_str(), MORE.0, MORE.1).unwrap();
    let inverted = plan(SyncSpec { invert: true, ..spec() }).await.unwrap();
    pair.run_at(inverted.plan, &pair.here).await.unwrap();
    let Some(Replication::Replica(replica)) = pair.noted(&pair.here, "web").await else { panic!("no replica") };
    assert_eq!(replica.state, ReplicaState::Current);
    let path = replica.image("vdb").unwrap().path.as_str();
    assert_eq!(pair.source.read_at(path, MORE.0, MORE.1.len()).unwrap(), MORE.1);
    assert!(matches!(pair.noted(&pair.there, "web").await, Some(Replication::Source { .. })));
    assert_eq!(pair.there("web").await.state, VmState::Running);
    // From then on it is a replica like any other.
    pair.run_at(plan(spec()).await.unwrap().plan, &pair.here).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_source_that_runs_is_not_made_a_replica() {
    let pair = Pair::new().await.unwrap();
    pair.sync("web").await.unwrap();
    promote(&pair, "web").await.unwrap();
    pair.here.hypervisor.power(&pair.vm("web").await.id, PowerAction::Start).await.unwrap();
    let spec = SyncSpec { invert: true, ..spec() };
    let refused = plan_sync(&pair.there, &pair.here, &pair.there("web").await, &spec, &pair.cx()).await.unwrap_err();
    assert!(said(&refused).starts_with("invalid_state [VM web]: the replica web on"), "{}", said(&refused));
}

/// The process dies when a step of this name has happened.
#[derive(Debug)]
struct Dies(&'static str);

#[async_trait]
impl Hook for Dies {
    async fn at(&self, moment: Moment, _: usize, name: &str) -> Verdict {
        if moment == Moment::After && name == self.0 { Verdict::Die } else { Verdict::Continue }
    }
}

#[tokio::test(start_paused = true)]
async fn a_sync_that_was_killed_and_whose_source_is_gone_does_not_keep_a_replica_from_being_promoted() {
    let pair = Pair::new().await.unwrap();
    let web = pair.vm("web").await;
    pair.here.hypervisor.power(&web.id, PowerAction::Start).await.unwrap();
    pair.sync("web").await.unwrap();
    let cancel = CancellationToken::new();
    let cx = || RunContext { host: &pair.there, reporter: &Silent, cancel: &cancel };
    let plan = pair.sync_plan("web", &spec()).await.unwrap().plan;
    pair.executor().with_hook(Arc::new(Dies("copy-image"))).run(plan, cx()).await.unwrap_err();
    let killed = pair.store.unfinished().await.unwrap()[0].header.id.clone();
    assert_eq!(pair.replica("web").await.state, ReplicaState::Receiving);

    let promotion = async || {
        let vm = pair.there("web").await;
        plan_promote(&pair.there, &vm, &promotion(Start::Yes), &pair.cx()).await.unwrap().plan
    };
    pair.executor_alone().run_cut_off(promotion().await, cx()).await.unwrap();
    assert_eq!(pair.there("web").await.state, VmState::Running);

    // When the source is back the rest of the sync goes there, and the promoted machine stays as it is.
    let before = pair.there.hypervisor.definition(&web.id, View::CONFIG).await.unwrap();
    pair.executor().finish(&killed, Direction::Back, cx()).await.unwrap();
    assert_eq!(pair.there.hypervisor.definition(&web.id, View::CONFIG).await.unwrap(), before);
    assert_eq!(pair.there("web").await.state, VmState::Running);
    assert_eq!(pair.replica("web").await.state, ReplicaState::Promoted);
    assert_eq!(pair.here.hypervisor.snapshots().unwrap().list(&web.id).await.unwrap(), []);
    pair.assert_nothing_open().await;
}

/// A promotion whose every step is made to fail.
#[derive(Default)]
struct Promoting(Mutex<Option<Pair>>);

#[async_trait]
impl Scenario for Promoting {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let pair = Pair::new().await?;
        with_genid(&pair).await?;
        pair.sync("web").await?;
        let vm = pair.there("web").await;
        let plan = plan_promote(&pair.there, &vm, &promotion(Start::Yes), &pair.cx()).await?.plan;
        let host = pair.there.clone();
        *self.0.lock().await = Some(pair);
        Ok((host, plan))
    }

    async fn inventory(&self, _: &Host) -> Result<String> {
        self.0.lock().await.as_ref().unwrap().pictures().await
    }

    fn catalogue(&self) -> Catalogue {
        self.0.try_lock().unwrap().as_ref().unwrap().catalogue()
    }
}

#[tokio::test(start_paused = true)]
async fn a_promotion_survives_a_failure_at_every_step() {
    assert_eq!(check(&Promoting::default()).await.unwrap().steps, 2);
}
