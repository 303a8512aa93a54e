//! The state of an emulated TPM: it goes along where that is asked for, whole, or not at all.

use std::sync::Arc;

use async_trait::async_trait;
use kvm_clone::{CloneSpec, MoveSpec, TpmState, WhileMoving, plan_move};
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Hook, Moment, Plan, RunContext, Verdict};
use kvm_core::{Existing, Host, PowerAction, Result, Silent, VmId, VmSummary};
use kvm_mock::Mock;
use kvm_xml::{Document as _, Domain, Secret};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::support::{Pair, said};

pub(crate) const ID: &str = "0c0d5b1e-1111-4000-8000-000000000007";
pub(crate) const SECRET: &str = "0c0d5b1e-2222-4000-8000-000000000007";
pub(crate) const STATE: &str = "/var/lib/libvirt/swtpm/0c0d5b1e-1111-4000-8000-000000000007/tpm2/tpm2-00.permall";
pub(crate) const SEALED: &[u8] = b"what the guest sealed";

fn copying() -> CloneSpec {
    CloneSpec { tpm: TpmState::Copy, ..CloneSpec::default() }
}

pub(crate) fn state_of(id: &VmId) -> String {
    STATE.replace(ID, &id.to_string())
}

impl Pair {
    /// A machine with a TPM of which this is in the document.
    pub(crate) async fn define_sealed(&self, inside: &str) -> VmSummary {
        let text = format!(
            "<domain type='kvm'><name>sealed</name><uuid>{ID}</uuid><memory unit='GiB'>1</memory><vcpu>1</vcpu>\
             <os><type arch='x86_64' machine='q35'>hvm</type></os><devices><tpm model='tpm-crb'>\
             <backend type='emulator' version='2.0'>{inside}</backend></tpm></devices></domain>"
        );
        let document = Domain::from_xml(&text).unwrap();
        let is_known = kvm_vm::resolve(&self.here, "sealed").await.is_ok();
        let existing = if is_known { Existing::Replace } else { Existing::Reject };
        self.here.hypervisor.define(&document, existing).await.unwrap();
        self.vm("sealed").await
    }

    /// One that has sealed something, and is off.
    pub(crate) async fn sealed() -> Self {
        let pair = Self::with_helpers().await.unwrap();
        let id = pair.define_sealed("").await.id;
        for action in [PowerAction::Start, PowerAction::PowerOff] {
            pair.here.hypervisor.power(&id, action).await.unwrap();
        }
        pair.source.write_at(STATE, 0, SEALED).unwrap();
        pair
    }

    async fn clone_refused(&self) -> String {
        said(&self.plan("sealed", &copying()).await.unwrap_err())
    }

    async fn move_sealed(&self, running: WhileMoving) -> Result<kvm_clone::MovePlan> {
        let spec = MoveSpec { running, ..MoveSpec::default() };
        plan_move(&self.here, &self.there, &self.vm("sealed").await, &spec, &self.cx()).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_clone_gets_the_state_of_the_tpm_where_that_is_asked_for() {
    let pair = Pair::sealed().await;
    let clone = pair.plan("sealed", &copying()).await.unwrap();
    let (shown, to) = (clone.plan.to_string(), state_of(&clone.id));
    assert!(shown.contains(&format!("  copy    tpm     {STATE}  to {to}\n")), "{shown}");
    assert!(shown.contains("the same TPM identity") && !shown.contains("EMPTY"), "{shown}");
    let id = clone.id;
    pair.run(clone.plan).await.unwrap();
    let all = |mock: &kvm_mock::Mock, path: &str| mock.read_at(path, 0, 1 << 16).unwrap();
    assert_eq!(all(&pair.target, &to), all(&pair.source, STATE));
    assert!(all(&pair.target, &to).starts_with(SEALED));
    pair.there.hypervisor.undefine(&id, kvm_core::Keep::NOTHING).await.unwrap();
    assert_eq!(pair.target.directories().unwrap(), ["/var/lib/libvirt/swtpm"]);
    // Another one beside the original.
    let beside = pair.plan_here("sealed", &copying()).await.unwrap();
    let to = state_of(&beside.id);
    pair.run_at(beside.plan, &pair.here).await.unwrap();
    assert_eq!(pair.source.read_at(&to, 0, SEALED.len()).unwrap(), SEALED);
    pair.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_word_and_before_the_first_start_the_clone_s_tpm_is_empty_and_that_is_said() {
    let pair = Pair::sealed().await;
    let shown = pair.plan("sealed", &CloneSpec::default()).await.unwrap().plan.to_string();
    assert!(shown.contains("STARTS WITH AN EMPTY TPM") && !shown.contains(" tpm "), "{shown}");

    let pair = Pair::with_helpers().await.unwrap();
    pair.define_sealed("").await;
    let clone = pair.plan("sealed", &copying()).await.unwrap();
    let shown = clone.plan.to_string();
    assert!(shown.contains("its TPM has no state yet") && !shown.contains("identity"), "{shown}");
    assert_eq!(clone.warnings.len(), 0, "{:?}", clone.warnings);
    pair.run(clone.plan).await.unwrap();
    assert!(!pair.target.files().unwrap().keys().any(|path| path.contains("swtpm")));
    // One without a TPM is cloned as ever.
    pair.plan("web", &copying()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn state_that_is_in_use_is_not_copied() {
    let pair = Pair::sealed().await;
    let id = pair.vm("sealed").await.id;
    let (plan, move_plan) = (
        pair.plan("sealed", &copying()).await.unwrap().plan,
        pair.move_sealed(WhileMoving::Refuse).await.unwrap().plan,
    );
    pair.here.hypervisor.power(&id, PowerAction::Start).await.unwrap();
    let refused = pair.clone_refused().await;
    assert!(refused.starts_with("invalid_state [VM sealed]: VM sealed is running, and the state"), "{refused}");
    assert!(refused.ends_with("without --copy-tpm"), "{refused}");
    // Nor where it is started between plan and copy.
    let before = pair.pictures().await.unwrap();
    for plan in [plan, move_plan] {
        let refused = said(&pair.run(plan).await.unwrap_err());
        assert!(refused.starts_with("invalid_state [VM sealed]: VM sealed is running"), "{refused}");
        assert_eq!(pair.pictures().await.unwrap(), before);
    }
    pair.here.hypervisor.power(&id, PowerAction::Save).await.unwrap();
    let refused = pair.clone_refused().await;
    assert!(refused.starts_with("invalid_state [VM sealed]: VM sealed is saved, and the state"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn state_that_is_encrypted_goes_where_its_secret_is() {
    let pair = Pair::sealed().await;
    pair.define_sealed(&format!("<encryption secret='{SECRET}'/>")).await;
    let refused = pair.clone_refused().await;
    assert!(refused.starts_with("not_found [field devices.tpm[0].backend.encryption]"), "{refused}");
    assert!(refused.contains(SECRET), "{refused}");
    let e = pair.move_sealed(WhileMoving::Refuse).await.unwrap_err();
    assert!(said(&e).contains(SECRET), "{}", said(&e));
    let secret = format!(
        "<secret ephemeral='no' private='yes'><uuid>{SECRET}</uuid><usage type='vtpm'><name>sealed</name></usage></secret>"
    );
    let secrets = pair.there.storage.secrets().unwrap();
    secrets.define(&Secret::from_xml(&secret).unwrap()).await.unwrap();
    pair.plan("sealed", &copying()).await.unwrap();
    pair.move_sealed(WhileMoving::Refuse).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_copied_is_refused_before_anything_is_done() {
    let pair = Pair::sealed().await;
    let before = pair.pictures().await.unwrap();
    pair.target.run_helper(false).unwrap();
    let refused = pair.clone_refused().await;
    assert!(
        refused.starts_with("unsupported [field devices.tpm]") && refused.contains("without a helper"),
        "{refused}"
    );
    pair.target.run_helper(true).unwrap();
    assert_eq!(pair.pictures().await.unwrap(), before);

    // Somebody's state lies where that of a machine which moves would.
    pair.here.hypervisor.power(&pair.vm("sealed").await.id, PowerAction::Start).await.unwrap();
    pair.run(pair.move_sealed(WhileMoving::PowerOff).await.unwrap().plan).await.unwrap();
    let there = pair.there("sealed").await;
    pair.there.hypervisor.power(&there.id, PowerAction::PowerOff).await.unwrap();
    pair.there.hypervisor.undefine(&there.id, kvm_core::Keep::STATE).await.unwrap();
    pair.define_sealed("").await;
    for action in [PowerAction::Start, PowerAction::PowerOff] {
        pair.here.hypervisor.power(&there.id, action).await.unwrap();
    }
    let refused = said(&pair.move_sealed(WhileMoving::Refuse).await.unwrap_err());
    assert!(refused.starts_with("already_exists [file /var/lib/libvirt/swtpm/"), "{refused}");

    // A file that the document names is whoever's made it; a directory is libvirt's.
    pair.here.transport.write_file("/images/tpm2-00.permall".as_ref(), SEALED, 0o600).await.unwrap();
    pair.define_sealed("<source type='file' path='/images/tpm2-00.permall'/>").await;
    let refused = pair.clone_refused().await;
    assert!(refused.starts_with("unsupported [field devices.tpm]") && refused.contains("/images/tpm2"), "{refused}");
    pair.define_sealed("<source type='dir' path='/images'/>").await;
    let clone = pair.plan("sealed", &copying()).await.unwrap();
    let place = clone.document.devices.as_ref().unwrap().tpm[0].backend.as_ref().unwrap().source.as_ref().unwrap();
    let to = format!("{}/tpm2-00.permall", place.path.as_ref().unwrap());
    let shown = clone.plan.to_string();
    assert!(shown.contains(&format!(" /images/tpm2-00.permall  to {to}\n")) && !to.starts_with("/images/"), "{shown}");
    pair.run(clone.plan).await.unwrap();
    assert_eq!(pair.target.read_at(&to, 0, SEALED.len()).unwrap(), SEALED);
}

#[tokio::test(start_paused = true)]
async fn a_move_takes_the_state_along_and_leaves_none() {
    for is_running in [false, true] {
        let pair = Pair::sealed().await;
        if is_running {
            pair.here.hypervisor.power(&pair.vm("sealed").await.id, PowerAction::Start).await.unwrap();
        }
        let plan = pair.move_sealed(WhileMoving::PowerOff).await.unwrap().plan;
        let shown = plan.to_string();
        assert!(shown.contains(&format!(" {STATE} ")) && !shown.contains("identity"), "{shown}");
        pair.run(plan).await.unwrap();
        assert_eq!(pair.target.read_at(STATE, 0, SEALED.len()).unwrap(), SEALED);
        assert!(!pair.source.files().unwrap().contains_key(STATE));
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_whose_state_is_another_one_after_the_copy_stays_where_it_is() {
    let pair = Pair::sealed().await;
    let plan = pair.move_sealed(WhileMoving::Refuse).await.unwrap().plan;
    let cancel = CancellationToken::new();
    let hook = Arc::new(WriteBefore("leave-host", pair.source.clone()));
    let executor = pair.executor().with_hook(hook);
    let cx = RunContext { host: &pair.there, reporter: &Silent, cancel: &cancel };
    let refused = said(&executor.run(plan, cx).await.unwrap_err());
    assert!(refused.contains(STATE) && refused.contains("is not what was moved"), "{refused}");
    assert!(pair.source.files().unwrap().contains_key(STATE), "it stays where it is");
    assert!(!pair.target.files().unwrap().contains_key(STATE), "and is nowhere else");
}

/// Somebody writes to the state right before the step of this name.
#[derive(Debug)]
struct WriteBefore(&'static str, Mock);

#[async_trait]
impl Hook for WriteBefore {
    async fn at(&self, moment: Moment, _: usize, name: &str) -> Verdict {
        if moment == Moment::Before && name == self.0 {
            self.1.write_at(STATE, 0, b"something else").unwrap();
        }
        Verdict::Continue
    }
}

/// A copy with its TPM, whose every step is made to fail.
struct Going {
    is_move: bool,
    pair: Mutex<Option<Pair>>,
}

#[async_trait]
impl Scenario for Going {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let pair = Pair::sealed().await;
        let plan = match self.is_move {
            true => pair.move_sealed(WhileMoving::Refuse).await?.plan,
            false => pair.plan("sealed", &copying()).await?.plan,
        };
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
async fn copies_with_a_tpm_survive_a_failure_at_every_step() {
    for (is_move, steps) in [(false, 2), (true, 5)] {
        let scenario = Going { is_move, pair: Mutex::new(None) };
        assert_eq!(check(&scenario).await.unwrap().steps, steps, "{is_move}");
    }
}
