//! Moves: one host has the machine, whole, whatever cuts it short.

use async_trait::async_trait;
use kvm_clone::{MovePlan, MoveSpec, WhileMoving, plan_move};
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Direction, Hook, Moment, Plan, RunContext, Store as _, Verdict};
use kvm_core::{
    Autostart, ErrorKind, Host, PowerAction, Replication, Result, Silent, View, VmFilter, VmNotes, VmState,
};
use kvm_vm::{check_start, claim};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::support::{Pair, WRITTEN, said};

impl Pair {
    async fn move_plan(&self, vm: &str, spec: &MoveSpec) -> Result<MovePlan> {
        plan_move(&self.here, &self.there, &self.vm(vm).await, spec, &self.cx()).await
    }

    async fn has(&self, host: &Host, name: &str) -> bool {
        let all = host.hypervisor.list(&VmFilter::all()).await.unwrap();
        all.iter().any(|vm| vm.name.as_str() == name)
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_off_is_the_same_on_the_other_host_and_gone_from_its_own() {
    let pair = Pair::with_helpers().await.unwrap();
    let web = pair.vm("web").await;
    let before = pair.here.hypervisor.definition(&web.id, View::CONFIG).await.unwrap();
    let planned = pair.move_plan("web", &MoveSpec::default()).await.unwrap();
    assert_eq!(VmNotes::of(&planned.document).moving, None);
    let shown = planned.plan.to_string();
    let (title, lines) = shown.split_once('\n').unwrap();
    assert!(title.starts_with("move web from mock:") && title.ends_with(" to mock:///empty"), "{title}");
    for line in [
        "  guard    domain     web ",
        "  remove   domain     web ",
        "  enable   autostart  web ",
        "  remove   volume     local/data.raw ",
    ] {
        assert!(lines.contains(line), "{line:?} is not in\n{lines}");
    }
    pair.run(planned.plan).await.unwrap();
    assert!(!pair.has(&pair.here, "web").await);
    let there = pair.there("web").await;
    assert_eq!((there.id, there.state, there.autostart), (web.id, VmState::Off, Some(true)));
    let after = pair.there.hypervisor.definition(&web.id, View::CONFIG).await.unwrap();
    let mac = |document: &kvm_xml::Domain| document.devices.as_ref().unwrap().interface[0].mac.clone();
    assert_eq!((after.genid.clone(), mac(&after)), (before.genid.clone(), mac(&before)));
    assert_eq!(VmNotes::of(&after), VmNotes::of(&before));
    for path in ["/var/lib/images/web.qcow2", "/var/lib/images/data.raw"] {
        assert_eq!(pair.target.read_at(path, WRITTEN.0, WRITTEN.1.len()).unwrap(), WRITTEN.1, "{path}");
    }
    let left = pair.source.files().unwrap();
    assert!(!left.contains_key("/images/web.qcow2") && !left.contains_key("/images/data.raw"), "{left:?}");
    assert!(left.contains_key("/images/base.qcow2"));
    check_start(&pair.there, &there).await.unwrap();
    pair.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn an_overlay_becomes_whole_and_what_others_use_stays() {
    let pair = Pair::with_helpers().await.unwrap();
    let planned = pair.move_plan("top", &MoveSpec::default()).await.unwrap();
    let shown = planned.plan.to_string();
    assert!(shown.contains("  keep    volume  local/base.qcow2 "), "{shown}");
    pair.run(planned.plan).await.unwrap();
    let volume = pair.there.storage.volume_at(&"/var/lib/images/top.qcow2".parse().unwrap()).await.unwrap();
    assert_eq!(volume.backing, None);
    let left = pair.source.files().unwrap();
    assert!(left.contains_key("/images/base.qcow2") && !left.contains_key("/images/top.qcow2"), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_another_machine_uses_stays_at_the_source() {
    let pair = Pair::with_helpers().await.unwrap();
    let web = pair.vm("web").await;
    let mut twin = pair.here.hypervisor.definition(&web.id, View::CONFIG).await.unwrap();
    twin.name = Some("twin".into());
    twin.uuid = Some(uuid::Uuid::from_u128(9));
    let devices = twin.devices.as_mut().unwrap();
    devices.interface.clear();
    devices.disk.retain(|disk| disk.source.as_ref().unwrap().file.as_deref() == Some("/images/data.raw"));
    pair.here.hypervisor.define(&twin, kvm_core::Existing::Reject).await.unwrap();
    pair.run(pair.move_plan("web", &MoveSpec::default()).await.unwrap().plan).await.unwrap();
    let left = pair.source.files().unwrap();
    assert!(left.contains_key("/images/data.raw") && !left.contains_key("/images/web.qcow2"), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_move_is_refused_before_anything_is_done() {
    let pair = Pair::with_helpers().await.unwrap();
    let before = pair.pictures().await.unwrap();
    let refused = async |vm: &str, spec: MoveSpec| said(&pair.move_plan(vm, &spec).await.unwrap_err());
    let off = || MoveSpec { running: WhileMoving::PowerOff, ..MoveSpec::default() };
    for (vm, spec, begins, names) in [
        ("kept", MoveSpec::default(), "invalid_state [VM kept]: VM kept is running", "kvmctl vm migrate"),
        ("kept", off(), "invalid_state [VM kept]: VM kept has snapshots", "--leave-snapshots"),
        ("saved", off(), "invalid_state [VM saved]: VM saved is saved", "kvmctl vm migrate"),
        ("lan", off(), "not_found [field devices.interface[52:54:00:00:00:02].source.network]", "lan"),
    ] {
        let said = refused(vm, spec).await;
        assert!(said.starts_with(begins) && said.contains(names), "{vm}: {said}");
    }
    let here = plan_move(&pair.here, &pair.here, &pair.vm("web").await, &off(), &pair.cx()).await.unwrap_err();
    assert_eq!(here.kind(), ErrorKind::InvalidInput);
    assert_eq!(pair.pictures().await.unwrap(), before);

    let without = Pair::new().await.unwrap();
    assert_eq!(without.move_plan("web", &off()).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test(start_paused = true)]
async fn a_replica_does_not_move_and_a_source_of_replicas_says_what_becomes_of_them() {
    let pair = Pair::with_helpers().await.unwrap();
    pair.sync("web").await.unwrap();
    let replica = pair.there("web").await;
    let refused = plan_move(&pair.there, &pair.here, &replica, &MoveSpec::default(), &pair.cx()).await.unwrap_err();
    assert!(said(&refused).starts_with("invalid_state [VM web]: VM web is a replica of web"), "{}", said(&refused));
    // The host that it would go to has it already.
    let refused = pair.move_plan("web", &MoveSpec::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    let undefined = pair.there.hypervisor.undefine(&replica.id, kvm_core::Keep::NOTHING).await;
    undefined.unwrap();
    let planned = pair.move_plan("web", &MoveSpec::default()).await.unwrap();
    assert!(planned.plan.to_string().contains("takes no syncs from another host"), "{}", planned.plan);
    pair.run(planned.plan).await.unwrap();
    assert_eq!(pair.noted(&pair.there, "web").await, None::<Replication>);
}

#[tokio::test(start_paused = true)]
async fn one_that_runs_is_switched_off_and_runs_there() {
    let pair = Pair::with_helpers().await.unwrap();
    let id = pair.vm("web").await.id;
    pair.here.hypervisor.power(&id, PowerAction::Start).await.unwrap();
    for running in [WhileMoving::PowerOff, WhileMoving::Shutdown(Duration::from_secs(60))] {
        let planned = pair.move_plan("web", &MoveSpec { running, ..MoveSpec::default() }).await.unwrap();
        let word = if running == WhileMoving::PowerOff { "  power off  domain " } else { "  shut down  domain " };
        assert!(planned.plan.to_string().contains(word), "{}", planned.plan);
        if running != WhileMoving::PowerOff {
            pair.run(planned.plan).await.unwrap();
        }
    }
    assert_eq!(pair.there("web").await.state, VmState::Running);
    assert!(!pair.has(&pair.here, "web").await);
}

#[tokio::test(start_paused = true)]
async fn uefi_variables_go_along_and_away() {
    let pair = Pair::with_helpers().await.unwrap();
    let id = pair.vm("modest").await.id;
    pair.here.hypervisor.power(&id, PowerAction::Start).await.unwrap();
    pair.here.hypervisor.power(&id, PowerAction::PowerOff).await.unwrap();
    let name = |path: &String| path.ends_with("/modest_VARS.fd");
    assert!(pair.source.files().unwrap().keys().any(name));
    pair.run(pair.move_plan("modest", &MoveSpec::default()).await.unwrap().plan).await.unwrap();
    assert!(pair.target.files().unwrap().keys().any(name));
    assert!(!pair.source.files().unwrap().keys().any(name));
}

/// Ends the process right after the step of this name.
#[derive(Debug)]
struct DieAfter(&'static str);

#[async_trait]
impl Hook for DieAfter {
    async fn at(&self, moment: Moment, _: usize, name: &str) -> Verdict {
        if moment == Moment::After && name == self.0 { Verdict::Die } else { Verdict::Continue }
    }
}

impl Pair {
    /// Begins a move that dies there.
    async fn dies_after(&self, step: &'static str) {
        let plan = self.move_plan("web", &MoveSpec::default()).await.unwrap().plan;
        let cancel = CancellationToken::new();
        let executor = self.executor().with_hook(Arc::new(DieAfter(step)));
        executor.run(plan, RunContext { host: &self.there, reporter: &Silent, cancel: &cancel }).await.unwrap_err();
    }

    async fn finish(&self, direction: Direction) -> Result<()> {
        let id = self.store.unfinished().await?[0].header.id.clone();
        let cancel = CancellationToken::new();
        let cx = RunContext { host: &self.there, reporter: &Silent, cancel: &cancel };
        self.executor().finish(&id, direction, cx).await.map(drop)
    }
}

#[tokio::test(start_paused = true)]
async fn while_both_hosts_have_it_neither_starts_it() {
    let pair = Pair::with_helpers().await.unwrap();
    pair.dies_after("define-arriving").await;
    let (here, there) = (pair.vm("web").await, pair.there("web").await);
    for (host, vm, way) in [(&pair.here, &here, "on its way to"), (&pair.there, &there, "arriving from")] {
        let refused = check_start(host, vm).await.unwrap_err();
        assert!(said(&refused).contains(way) && said(&refused).contains("kvmctl op list"), "{}", said(&refused));
        assert_eq!(vm.autostart, Some(false));
    }
    // Another move of the same machine waits for this one.
    let again = said(&pair.move_plan("web", &MoveSpec::default()).await.unwrap_err());
    assert!(again.contains("in the middle of a move"), "{again}");
    pair.finish(Direction::Forward).await.unwrap();
    assert!(!pair.has(&pair.here, "web").await);
    check_start(&pair.there, &pair.there("web").await).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_written_at_the_source_meanwhile_is_not_lost() {
    let pair = Pair::with_helpers().await.unwrap();
    let before = pair.there.hypervisor.list(&VmFilter::all()).await.unwrap();
    pair.dies_after("define-arriving").await;
    pair.source.write_at("/images/data.raw", WRITTEN.0, b"WHAT").unwrap();
    let refused = pair.finish(Direction::Forward).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt, "{}", said(&refused));
    assert_eq!(pair.source.read_at("/images/data.raw", WRITTEN.0, 4).unwrap(), b"WHAT");
    assert_eq!(pair.there.hypervisor.list(&VmFilter::all()).await.unwrap(), before);
    let web = pair.vm("web").await;
    assert_eq!(web.autostart, Some(true));
    check_start(&pair.here, &web).await.unwrap();
    pair.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_somebody_takes_over_is_left_to_them() {
    let pair = Pair::with_helpers().await.unwrap();
    pair.dies_after("define-arriving").await;
    let there = pair.there("web").await;
    claim(&pair.there, &there).await.unwrap();
    check_start(&pair.there, &there).await.unwrap();
    for direction in [Direction::Forward, Direction::Back] {
        assert_eq!(pair.finish(direction).await.unwrap_err().kind(), ErrorKind::InvalidState);
        assert!(pair.has(&pair.here, "web").await && pair.has(&pair.there, "web").await);
        let path = "/var/lib/images/data.raw";
        assert_eq!(pair.target.read_at(path, WRITTEN.0, WRITTEN.1.len()).unwrap(), WRITTEN.1);
    }
    // A person decides for the one on the target: the rest happens by itself.
    let web = pair.vm("web").await;
    pair.here.hypervisor.undefine(&web.id, kvm_core::Keep::NOTHING).await.unwrap();
    pair.finish(Direction::Forward).await.unwrap();
    assert!(!pair.source.files().unwrap().contains_key("/images/data.raw"));
}

/// A move, whose every step is made to fail.
struct Going {
    vm: &'static str,
    is_running: bool,
    pair: Mutex<Option<Pair>>,
}

#[async_trait]
impl Scenario for Going {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let pair = Pair::with_helpers().await?;
        let id = pair.vm(self.vm).await.id;
        if self.vm == "modest" {
            pair.here.hypervisor.power(&id, PowerAction::Start).await?;
            pair.here.hypervisor.power(&id, PowerAction::PowerOff).await?;
            pair.here.hypervisor.set_autostart(&id, Autostart::On).await?;
        }
        if self.is_running {
            pair.here.hypervisor.power(&id, PowerAction::Start).await?;
        }
        let running = if self.is_running { WhileMoving::PowerOff } else { WhileMoving::Refuse };
        let plan = pair.move_plan(self.vm, &MoveSpec { running, ..MoveSpec::default() }).await?.plan;
        let host = pair.there.clone();
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
async fn a_move_survives_a_failure_at_every_step() {
    for (vm, is_running, steps) in [("web", false, 8), ("web", true, 10), ("top", false, 6), ("modest", false, 5)] {
        let scenario = Going { vm, is_running, pair: Mutex::new(None) };
        assert_eq!(check(&scenario).await.unwrap().steps, steps, "{vm} {is_running}");
    }
}
