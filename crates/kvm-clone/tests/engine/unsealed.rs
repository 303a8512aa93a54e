//! The state of an emulated TPM out of backups: back where nobody has one, and else as it is.

use std::path::Path;

use async_trait::async_trait;
use kvm_clone::RestoreSpec;
use kvm_core::op::{Direction, Hook, Moment, RunContext, Store as _, Verdict};
use kvm_core::{ErrorKind, Host, Keep, PowerAction, Silent, VmId};
use kvm_mock::Mock;
use kvm_vm::Start;
use kvm_xml::{Document as _, Secret};
use tokio_util::sync::CancellationToken;

use super::restore::anew;
use super::sealed::{LATER, copying, in_place, stored};
use super::tpm::{ID, SEALED, SECRET, STATE, state_of};
use crate::support::{Pair, said};

impl Pair {
    fn states_here(&self) -> Vec<String> {
        self.source.files().unwrap().into_keys().filter(|path| path.contains("swtpm")).collect()
    }

    fn states_there(&self) -> Vec<String> {
        self.target.files().unwrap().into_keys().filter(|path| path.contains("swtpm")).collect()
    }
}

/// Somebody starts the machine, which writes to its state, right before a step.
#[derive(Debug)]
struct Starts {
    before: &'static str,
    host: Host,
    source: Mock,
    id: VmId,
}

#[async_trait]
impl Hook for Starts {
    async fn at(&self, moment: Moment, _: usize, name: &str) -> Verdict {
        if moment == Moment::Before && name == self.before {
            self.host.hypervisor.power(&self.id, PowerAction::Start).await.unwrap();
            self.source.write_at(STATE, 0, LATER).unwrap();
        }
        Verdict::Continue
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_gone_comes_back_with_its_tpm() {
    let pair = Pair::lost().await;
    assert_eq!(pair.states_here(), [""; 0]);
    let restore = pair.plan_restore(&pair.there, "sealed", &in_place()).await.unwrap();
    let shown = restore.plan.to_string();
    assert!(shown.contains(&format!("  restore  tpm     {STATE}\n")) && !shown.contains("EMPTY"), "{shown}");
    assert!(restore.warnings.is_empty(), "{:?}", restore.warnings);
    pair.run_at(restore.plan, &pair.there).await.unwrap();
    assert_eq!(pair.state(STATE).await, pair.state(&stored("tpm.permall")).await);
    assert!(pair.target.directories().unwrap().contains(&STATE.rsplit_once('/').unwrap().0.to_owned()));
    let back = kvm_vm::resolve(&pair.there, "sealed").await.unwrap();
    assert_eq!(back.id.to_string(), ID);
    pair.there.hypervisor.power(&back.id, PowerAction::Start).await.unwrap();
    assert!(pair.state(STATE).await.starts_with(SEALED));

    // Whoever has the uuid there has left a state, of which nobody knows what it is worth.
    pair.there.hypervisor.power(&back.id, PowerAction::PowerOff).await.unwrap();
    pair.there.hypervisor.undefine(&back.id, Keep::STATE).await.unwrap();
    let before = pair.world().await;
    let refused = said(&pair.plan_restore(&pair.there, "sealed", &in_place()).await.unwrap_err());
    assert!(refused.starts_with("already_exists [file /var/lib/libvirt/swtpm/"), "{refused}");
    assert!(refused.ends_with("remove its state if nobody needs it"), "{refused}");
    assert_eq!(pair.world().await, before);
}

#[tokio::test(start_paused = true)]
async fn without_a_state_in_the_point_it_comes_back_with_an_empty_tpm_as_ever() {
    let pair = Pair::with_helpers().await.unwrap();
    pair.define_sealed("").await;
    pair.back_up("sealed").await;
    let here = pair.plan_restore(&pair.here, "sealed", &in_place()).await.unwrap().plan.to_string();
    assert!(!here.contains(" tpm "), "{here}");
    pair.here.hypervisor.undefine(&pair.vm("sealed").await.id, Keep::NOTHING).await.unwrap();
    let restore = pair.plan_restore(&pair.there, "sealed", &in_place()).await.unwrap();
    assert!(restore.plan.to_string().contains("STARTS WITH AN EMPTY TPM"), "{}", restore.plan);
    pair.run_at(restore.plan, &pair.there).await.unwrap();
    assert_eq!(pair.states_there(), [""; 0]);
    let refused = said(&pair.plan_restore(&pair.there, "sealed", &copying("other")).await.unwrap_err());
    assert!(refused.starts_with("not_found [field devices.tpm]: backup sealed/"), "{refused}");
    assert!(refused.ends_with("without --copy-tpm"), "{refused}");
    pair.plan_restore(&pair.there, "sealed", &anew("other")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn another_machine_has_the_state_where_that_is_asked_for() {
    let pair = Pair::sealed().await;
    pair.back_up("sealed").await;
    let fresh = pair.plan_restore(&pair.there, "sealed", &anew("fresh")).await.unwrap();
    let shown = fresh.plan.to_string();
    assert!(shown.contains("STARTS WITH AN EMPTY TPM") && !shown.contains("  tpm "), "{shown}");
    pair.run_at(fresh.plan, &pair.there).await.unwrap();
    assert_eq!(pair.states_there(), [""; 0]);
    let copy = pair.plan_restore(&pair.there, "sealed", &copying("copy")).await.unwrap();
    let (shown, to) = (copy.plan.to_string(), state_of(&copy.id));
    assert!(shown.contains(&format!("  restore  tpm     {to}\n")) && !shown.contains("EMPTY"), "{shown}");
    assert!(shown.contains("the same TPM identity"), "{shown}");
    pair.run_at(copy.plan, &pair.there).await.unwrap();
    assert!(copy.id.to_string() != ID && pair.state(&to).await.starts_with(SEALED));
    assert_eq!(pair.states_there(), [to]);
    pair.there.hypervisor.undefine(&copy.id, Keep::NOTHING).await.unwrap();
    assert_eq!(pair.target.directories().unwrap().iter().filter(|it| it.contains("swtpm/")).count(), 0);
    // One without a TPM comes back as ever.
    pair.back_up("web").await;
    pair.plan_restore(&pair.there, "web", &copying("other")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_set_back_keeps_the_state_that_it_has() {
    let pair = Pair::sealed_with_disks().await;
    pair.back_up("sealed").await;
    pair.source.write_at(STATE, 0, LATER).unwrap();
    let restore = pair.plan_restore(&pair.here, "sealed", &in_place()).await.unwrap();
    let shown = restore.plan.to_string();
    assert!(shown.contains(&format!("  keep     tpm     {STATE}")), "{shown}");
    pair.run_at(restore.plan, &pair.here).await.unwrap();
    assert_eq!(pair.source.read_at(STATE, 0, LATER.len()).unwrap(), LATER);
    // Unless it has none.
    pair.here.transport.remove_file(Path::new(STATE)).await.unwrap();
    let restore = pair.plan_restore(&pair.here, "sealed", &in_place()).await.unwrap();
    assert!(restore.plan.to_string().contains(&format!("  restore  tpm     {STATE}\n")), "{}", restore.plan);
    pair.run_at(restore.plan, &pair.here).await.unwrap();
    assert_eq!(pair.source.read_at(STATE, 0, SEALED.len()).unwrap(), SEALED);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_the_machine_has_made_meanwhile_is_not_taken_from_it() {
    let pair = Pair::sealed_with_disks().await;
    pair.back_up("sealed").await;
    pair.here.transport.remove_file(Path::new(STATE)).await.unwrap();
    for before in ["restore-tpm", "redefine"] {
        let plan = pair.plan_restore(&pair.here, "sealed", &in_place()).await.unwrap().plan;
        let (host, source) = (pair.here.clone(), pair.source.clone());
        let id = pair.vm("sealed").await.id;
        let starts = Starts { before, host, source, id };
        let refused = pair.run_with(plan, &pair.here, starts).await.unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::AlreadyExists | ErrorKind::InvalidState), "{}", said(&refused));
        assert_eq!(pair.source.read_at(STATE, 0, LATER.len()).unwrap(), LATER, "{before}");
        pair.here.hypervisor.power(&id, PowerAction::PowerOff).await.unwrap();
        pair.here.transport.remove_file(Path::new(STATE)).await.unwrap();
    }
}

/// The program dies right before the step of this name.
#[derive(Debug)]
struct DieBefore(&'static str);

#[async_trait]
impl Hook for DieBefore {
    async fn at(&self, moment: Moment, _: usize, name: &str) -> Verdict {
        if moment == Moment::Before && name == self.0 { Verdict::Die } else { Verdict::Continue }
    }
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_has_put_there_after_a_crash_is_not_taken_away() {
    let pair = Pair::lost().await;
    let plan = pair.plan_restore(&pair.there, "sealed", &in_place()).await.unwrap().plan;
    pair.run_with(plan, &pair.there, DieBefore("define")).await.unwrap_err();
    pair.target.write_at(STATE, 0, LATER).unwrap();
    let killed = pair.store.unfinished().await.unwrap()[0].header.id.clone();
    let cancel = CancellationToken::new();
    let cx = RunContext { host: &pair.there, reporter: &Silent, cancel: &cancel };
    pair.executor().finish(&killed, Direction::Back, cx).await.unwrap();
    assert!(pair.state(STATE).await.starts_with(LATER));
    pair.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn a_state_that_is_damaged_in_the_store_is_not_restored() {
    let pair = Pair::lost().await;
    pair.target.write_at(&stored("tpm.permall"), 3, b"\x07").unwrap();
    let before = pair.world().await;
    for spec in [in_place(), copying("copy"), RestoreSpec { start: Start::Yes, ..copying("copy") }] {
        let plan = pair.plan_restore(&pair.there, "sealed", &spec).await.unwrap().plan;
        let refused = said(&pair.run_at(plan, &pair.there).await.unwrap_err());
        assert!(refused.starts_with(&format!("corrupt [file {}]", stored("tpm.permall"))), "{refused}");
        assert_eq!(pair.world().await, before);
        pair.assert_nothing_open().await;
    }
    // Nor one that is missing.
    pair.there.transport.remove_file(Path::new(&stored("tpm.permall"))).await.unwrap();
    let before = pair.world().await;
    let plan = pair.plan_restore(&pair.there, "sealed", &in_place()).await.unwrap().plan;
    assert_eq!(pair.run_at(plan, &pair.there).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(pair.world().await, before);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_is_encrypted_comes_back_where_its_secret_is() {
    let pair = Pair::sealed().await;
    pair.define_sealed(&format!("<encryption secret='{SECRET}'/>")).await;
    pair.back_up("sealed").await;
    pair.here.hypervisor.undefine(&pair.vm("sealed").await.id, Keep::NOTHING).await.unwrap();
    for spec in [in_place(), copying("copy")] {
        let refused = said(&pair.plan_restore(&pair.there, "sealed", &spec).await.unwrap_err());
        assert!(refused.starts_with("not_found [field devices.tpm[0].backend.encryption]"), "{refused}");
        assert!(refused.contains(SECRET), "{refused}");
    }
    pair.plan_restore(&pair.there, "sealed", &anew("fresh")).await.unwrap();
    let secret = format!(
        "<secret ephemeral='no' private='yes'><uuid>{SECRET}</uuid><usage type='vtpm'><name>sealed</name></usage></secret>"
    );
    let secrets = pair.there.storage.secrets().unwrap();
    secrets.define(&Secret::from_xml(&secret).unwrap()).await.unwrap();
    for spec in [in_place(), copying("copy")] {
        pair.plan_restore(&pair.there, "sealed", &spec).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_the_document_names_is_where_it_comes_back() {
    let pair = Pair::sealed().await;
    pair.here.transport.write_file("/images/tpm2-00.permall".as_ref(), SEALED, 0o600).await.unwrap();
    pair.define_sealed("<source type='dir' path='/images'/>").await;
    pair.back_up("sealed").await;
    pair.here.hypervisor.undefine(&pair.vm("sealed").await.id, Keep::NOTHING).await.unwrap();
    let restore = pair.plan_restore(&pair.there, "sealed", &in_place()).await.unwrap();
    assert!(restore.plan.to_string().contains("  restore  tpm     /images/tpm2-00.permall\n"), "{}", restore.plan);
    pair.run_at(restore.plan, &pair.there).await.unwrap();
    assert_eq!(pair.state("/images/tpm2-00.permall").await, SEALED);
}
