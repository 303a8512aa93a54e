//! Trials: what came up is proved, what did not is not, and the copy is what it was.

use std::time::Duration;

use async_trait::async_trait;
use kvm_clone::{ProvePlan, ProveSpec, plan_prove, proof_of};
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Plan, RunContext};
use kvm_core::{
    Clock as _, ErrorKind, Existing, Host, PowerAction, ProofKind, Receipt, ReplicaState, Replication, Result, Silent,
    View, VmFilter, VmId, VmNotes, VmRef, VmState,
};
use kvm_mock::{GuestAction, Method};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::support::{Pair, said};

fn spec() -> ProveSpec {
    ProveSpec::at("2030-06-03T00:00:00Z".parse().unwrap())
}

/// What nobody ever says.
fn in_vain() -> ProveSpec {
    ProveSpec { until: Some("never said".to_owned()), timeout: Duration::from_secs(20), ..spec() }
}

impl Pair {
    /// Plans a trial of a machine of the first host.
    async fn trial(&self, vm: &str, spec: &ProveSpec) -> Result<ProvePlan> {
        plan_prove(&self.here, &self.vm(vm).await, spec, &self.cx()).await
    }

    /// Tries it, and says what came out.
    async fn prove(&self, vm: &str, spec: &ProveSpec) -> Result<Receipt> {
        let trial = self.trial(vm, spec).await?;
        self.run_at(trial.plan, &self.here).await?;
        let receipt = proof_of(&self.here, &self.vm(vm).await.id).await?.unwrap();
        assert_eq!(VmId::from(receipt.trial), trial.trial);
        Ok(receipt)
    }

    /// The first host without what is noted of trials, which goes.
    async fn but_for_receipts(&self) -> String {
        for vm in self.here.hypervisor.list(&VmFilter::all()).await.unwrap() {
            let notes = VmNotes::of(&self.here.hypervisor.definition(&vm.id, View::CONFIG).await.unwrap());
            if notes.proof.is_some() {
                let notes = VmNotes { proof: None, ..notes };
                self.here.hypervisor.set_notes(&vm.id, &notes).await.unwrap();
            }
        }
        self.pictures().await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_says_what_is_tried_and_for_how_long() {
    let pair = Pair::new().await.unwrap();
    let trial = pair.trial("web", &spec()).await.unwrap();
    let name = trial.document.name.clone().unwrap();
    assert!(name.starts_with("web-proof-") && name.len() == "web-proof-".len() + 8, "{name}");
    let shown = trial.plan.to_string();
    for line in [
        &format!("local/{name}-vda.qcow2"),
        "on /images/web.qcow2; thrown away afterwards",
        &format!("local/{name}-vdb.qcow2"),
        "on /images/data.raw; thrown away afterwards",
        "transient, no link on its network devices, until its agent answers, at most 300 s",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_whose_agent_answers_is_proved_and_is_what_it_was() {
    let pair = Pair::with_helpers().await.unwrap();
    let before = pair.but_for_receipts().await;
    let receipt = pair.prove("web", &spec()).await.unwrap();
    assert!(receipt.is_proved() && receipt.by == ProofKind::Agent, "{receipt:?}");
    assert_eq!((receipt.vm.as_str(), receipt.id), ("web", pair.vm("web").await.id));
    // From the start to the agent, as the simulated guest takes it.
    assert!((3..6).contains(&receipt.after_seconds), "{receipt:?}");
    let disks: Vec<_> = receipt.images.iter().map(|image| (&*image.disk, image.root.is_some())).collect();
    assert_eq!(disks, [("vda", true), ("vdb", true)]);
    assert!(receipt.versions.machine.is_some() && receipt.versions.kvm_manager.is_some(), "{receipt:?}");
    assert_eq!(pair.but_for_receipts().await, before);
    // The next one takes its place.
    pair.prove("web", &spec()).await.unwrap();
    let second = pair.prove("web", &ProveSpec { until: Some("is up".to_owned()), ..spec() }).await.unwrap();
    assert!(second.is_proved() && second.by == ProofKind::Console && second.trial != receipt.trial, "{second:?}");
    assert_eq!(pair.but_for_receipts().await, before);
}

#[tokio::test(start_paused = true)]
async fn each_overlay_lies_on_its_image_in_the_format_that_is_on_record() {
    let pair = Pair::new().await.unwrap();
    let trial = pair.trial("web", &spec()).await.unwrap();
    let cancel = CancellationToken::new();
    let cx = RunContext { host: &pair.here, reporter: &Silent, cancel: &cancel };
    let executor = pair.executor();
    let run = executor.run(trial.plan, cx);
    let look = async {
        loop {
            pair.clock.sleep(Duration::from_millis(100)).await;
            let Ok(vm) = pair.here.hypervisor.find(&VmRef::Id(trial.trial)).await else { continue };
            if vm.state == VmState::Running {
                return;
            }
        }
    };
    let watched = async {
        look.await;
        let running = pair.here.hypervisor.definition(&trial.trial, View::LIVE).await.unwrap();
        let devices = running.devices.unwrap();
        for (disk, below) in devices.disk.iter().zip([("/images/web.qcow2"), ("/images/data.raw")]) {
            let file = disk.source.as_ref().unwrap().file.clone().unwrap();
            let volume = pair.here.storage.volume_at(&file.parse().unwrap()).await.unwrap();
            assert_eq!(volume.backing.unwrap().as_str(), below);
        }
        assert!(!pair.here.hypervisor.find(&VmRef::Id(trial.trial)).await.unwrap().persistent);
        cancel.cancel();
    };
    let (ran, ()) = tokio::join!(run, watched);
    // Whoever stops waiting stops the trial.
    assert_eq!(ran.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(proof_of(&pair.here, &pair.vm("web").await.id).await.unwrap(), None);
    pair.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_never_says_it_is_not_proved_and_stays() {
    let pair = Pair::new().await.unwrap();
    let before = pair.but_for_receipts().await;
    let receipt = pair.prove("web", &in_vain()).await.unwrap();
    assert!(!receipt.is_proved(), "{receipt:?}");
    assert_eq!(receipt.why.as_deref(), Some("the guest did not say \"never said\" within 20 s"));
    assert!(receipt.seen.as_ref().unwrap().contains("is up"), "{receipt:?}");
    assert_eq!(receipt.after_seconds, 20);
    // Nobody can tell without a helper.
    assert!(receipt.images.iter().all(|image| image.root.is_none()), "{receipt:?}");
    assert_eq!(pair.but_for_receipts().await, before);
}

#[tokio::test(start_paused = true)]
async fn one_that_crashes_or_cannot_be_started_is_not_waited_for() {
    let pair = Pair::new().await.unwrap();
    let trial = pair.trial("web", &in_vain()).await.unwrap();
    let crash = async {
        while pair.source.act(&trial.trial, GuestAction::Crash).is_err() {
            pair.clock.sleep(Duration::from_millis(200)).await;
        }
    };
    let (ran, ()) = tokio::join!(pair.run_at(trial.plan, &pair.here), crash);
    ran.unwrap();
    let web = pair.vm("web").await;
    let receipt = proof_of(&pair.here, &web.id).await.unwrap().unwrap();
    assert_eq!((receipt.why.as_deref(), receipt.after_seconds < 3), (Some("the guest stopped"), true), "{receipt:?}");

    pair.source.fail_next(Method::StartTransient, ErrorKind::InvalidState);
    let receipt = pair.prove("web", &spec()).await.unwrap();
    assert!(receipt.why.unwrap().starts_with("the host did not start it: "));
    // A host that is out of reach has shown nothing.
    pair.source.fail_next(Method::StartTransient, ErrorKind::Unavailable);
    assert_eq!(pair.prove("web", &spec()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    pair.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_tried_is_refused_with_the_field_and_the_fix() {
    let pair = Pair::new().await.unwrap();
    let refused = async |vm: &str, spec: ProveSpec| said(&pair.trial(vm, &spec).await.unwrap_err());
    let running = refused("kept", spec()).await;
    assert!(running.starts_with("invalid_state [VM kept]: VM kept is running: only one that is off"), "{running}");
    // Its document has no line for an agent.
    let mute = refused("modest", spec()).await;
    assert!(mute.starts_with("invalid_input") && mute.contains("until") && mute.contains("--until TEXT"), "{mute}");
    for until in ["", "two\nlines", &"x".repeat(201)] {
        let wrong = refused("web", ProveSpec { until: Some(until.to_owned()), ..spec() }).await;
        assert!(wrong.starts_with("invalid_input"), "{wrong}");
    }
    let short = refused("web", ProveSpec { timeout: Duration::ZERO, ..spec() }).await;
    assert!(short.contains("timeout"), "{short}");
}

#[tokio::test(start_paused = true)]
async fn a_replica_takes_no_sync_while_it_is_tried_and_goes_on_afterwards() {
    let pair = Pair::new().await.unwrap();
    pair.sync("web").await.unwrap();
    let web = pair.there("web").await;
    let before = pair.replica("web").await;
    let trial = plan_prove(&pair.there, &web, &spec(), &pair.cx()).await.unwrap();
    let sync = async {
        while pair.replica("web").await.state != ReplicaState::Proving {
            pair.clock.sleep(Duration::from_millis(100)).await;
        }
        said(&pair.sync_plan("web", &crate::sync::spec()).await.unwrap_err())
    };
    let (ran, refused) = tokio::join!(pair.run(trial.plan), sync);
    ran.unwrap();
    assert!(refused.starts_with("busy [VM web]") && refused.contains("is tried at the moment"), "{refused}");
    assert_eq!(pair.replica("web").await, before);
    assert!(proof_of(&pair.there, &web.id).await.unwrap().unwrap().is_proved());
    // What the next sync brings was not tried; a clone was not either.
    pair.sync("web").await.unwrap();
    assert_eq!(proof_of(&pair.there, &web.id).await.unwrap(), None);
    pair.prove("web", &spec()).await.unwrap();
    let clone = pair.plan_here("web", &kvm_clone::CloneSpec::default()).await.unwrap();
    assert_eq!(VmNotes::of(&clone.document).proof, None);
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_for_a_sync_is_not_tried() {
    let pair = Pair::new().await.unwrap();
    pair.sync("web").await.unwrap();
    let web = pair.there("web").await;
    let receiving = kvm_core::Replica { state: ReplicaState::Receiving, ..pair.replica("web").await };
    let notes = VmNotes { replication: Some(Replication::Replica(receiving)), ..VmNotes::default() };
    pair.there.hypervisor.set_notes(&web.id, &notes).await.unwrap();
    let refused = plan_prove(&pair.there, &web, &spec(), &pair.cx()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Busy);
}

#[tokio::test(start_paused = true)]
async fn one_that_was_started_meanwhile_is_left_alone() {
    let pair = Pair::new().await.unwrap();
    let trial = pair.trial("web", &spec()).await.unwrap();
    let web = pair.vm("web").await;
    pair.here.hypervisor.power(&web.id, PowerAction::Start).await.unwrap();
    let refused = pair.run_at(trial.plan, &pair.here).await.unwrap_err();
    assert!(said(&refused).contains("is running by now"), "{}", said(&refused));
    assert_eq!(pair.vm("web").await.state, VmState::Running);
    pair.assert_nothing_open().await;
}

/// A trial of a replica with UEFI variables whose every step is made to fail.
#[derive(Default)]
struct Trying(Mutex<Option<Pair>>);

#[async_trait]
impl Scenario for Trying {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let pair = Pair::new().await?;
        pair.sync("web").await?;
        let web = pair.there("web").await.id;
        let mut document = pair.there.hypervisor.definition(&web, View::CONFIG).await?;
        let path = "/var/lib/images/web_VARS.fd";
        let nvram = kvm_xml::domain::Nvram { value: Some(path.to_owned()), ..Default::default() };
        document.os.get_or_insert_default().nvram = Some(nvram);
        pair.there.hypervisor.define(&document, Existing::Replace).await?;
        pair.there.transport.write_file(path.as_ref(), b"variables", 0o600).await?;
        let plan = plan_prove(&pair.there, &pair.there("web").await, &spec(), &pair.cx()).await?.plan;
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
async fn a_trial_survives_a_failure_at_every_step() {
    // The note, two overlays, the variables, the trial, and tidying up.
    assert_eq!(check(&Trying::default()).await.unwrap().steps, 6);
}
