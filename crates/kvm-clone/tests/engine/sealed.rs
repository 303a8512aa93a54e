//! The state of an emulated TPM in backups: stored as it was at the moment of the disks, and back where nobody has one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use kvm_clone::{BackupSpec, RestoreSpec, Restored, TpmState, backup_point, plan_backup_delete};
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Direction, Hook, Moment, Plan, RunContext, Store as _, Verdict};
use kvm_core::{Bytes, ErrorKind, Existing, Host, Keep, PowerAction, Result, Silent, View, VmId, VmState};
use kvm_mock::{Fault, Mock};
use kvm_vm::Start;
use kvm_xml::{Document as _, Domain, Secret};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::backup::{FIRST, STORE, point, spec as storing, store};
use super::restore::{anew, spec};
use super::tpm::{ID, SEALED, SECRET, STATE, state_of};
use crate::support::{Pair, picture, said};

/// What swtpm writes when something else was sealed.
const LATER: &[u8] = b"what was sealed later";

fn in_place() -> RestoreSpec {
    spec(Restored::InPlace)
}

fn copying(name: &str) -> RestoreSpec {
    RestoreSpec { tpm: TpmState::Copy, ..anew(name) }
}

fn stored(file: &str) -> String {
    format!("{STORE}/sealed/{FIRST}/{file}")
}

impl Pair {
    /// The machine with a TPM has disks as well.
    async fn sealed_with_disks() -> Self {
        let pair = Self::sealed().await;
        let id = pair.vm("sealed").await.id;
        let mut document = pair.here.hypervisor.definition(&id, View::CONFIG).await.unwrap();
        let web = pair.here.hypervisor.definition(&pair.vm("web").await.id, View::CONFIG).await.unwrap();
        let devices = document.devices.get_or_insert_default();
        devices.disk = web.devices.unwrap().disk;
        pair.here.hypervisor.undefine(&pair.vm("web").await.id, Keep::STATE).await.unwrap();
        pair.here.hypervisor.define(&document, Existing::Replace).await.unwrap();
        pair
    }

    /// And runs.
    async fn running_and_sealed() -> Self {
        let pair = Self::sealed_with_disks().await;
        pair.start("sealed").await.unwrap();
        pair
    }

    /// It was backed up, and its host has nothing of it any more.
    async fn lost() -> Self {
        let pair = Self::sealed().await;
        pair.back_up("sealed").await;
        pair.here.hypervisor.undefine(&pair.vm("sealed").await.id, Keep::NOTHING).await.unwrap();
        pair
    }

    async fn state(&self, at: &str) -> Vec<u8> {
        self.there.transport.read_file(Path::new(at), Bytes::from_mib(1)).await.unwrap()
    }

    async fn run_with(&self, plan: Plan, host: &Host, hook: impl Hook + 'static) -> Result<()> {
        let cancel = CancellationToken::new();
        let executor = self.executor().with_hook(Arc::new(hook));
        executor.run(plan, RunContext { host, reporter: &Silent, cancel: &cancel }).await.map(drop)
    }

    fn states_here(&self) -> Vec<String> {
        self.source.files().unwrap().into_keys().filter(|path| path.contains("swtpm")).collect()
    }

    fn states_there(&self) -> Vec<String> {
        self.target.files().unwrap().into_keys().filter(|path| path.contains("swtpm")).collect()
    }
}

/// Something that happens right before the step of this name.
struct Before<F>(&'static str, F);

impl<F> fmt::Debug for Before<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[async_trait]
impl<F: Fn() + Send + Sync> Hook for Before<F> {
    async fn at(&self, moment: Moment, _: usize, name: &str) -> Verdict {
        if moment == Moment::Before && name == self.0 {
            self.1();
        }
        Verdict::Continue
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
async fn a_point_has_the_state_readable_for_its_owner_alone_and_it_goes_with_it() {
    let pair = Pair::sealed().await;
    let before = picture(&pair.here, &pair.source).await.unwrap();
    let plan = pair.plan_backup("sealed", &BackupSpec { sums: true, ..storing() }).await.unwrap().plan;
    assert!(plan.to_string().contains(&format!("  store   tpm     {STATE}\n")), "{plan}");
    pair.run_at(plan, &pair.here).await.unwrap();
    let all = pair.target.files().unwrap();
    let files: BTreeMap<_, _> = all.iter().filter(|(path, _)| path.starts_with(STORE)).collect();
    let wanted = ["SHA256SUMS", "domain.xml", "manifest.json", "tpm.permall"].map(stored);
    assert!(files.keys().copied().eq(&wanted), "{files:?}");
    assert!(files.values().all(|file| file.mode == 0o600), "{files:?}");
    let here = pair.source.read_at(STATE, 0, 1 << 16).unwrap();
    assert!(here.starts_with(SEALED) && pair.state(&stored("tpm.permall")).await == here);
    let sums = String::from_utf8(pair.state(&stored("SHA256SUMS")).await).unwrap();
    assert!(sums.contains("  tpm.permall\n"), "{sums}");
    let (_, manifest) = backup_point(&pair.there, &store(), &point("sealed")).await.unwrap();
    assert_eq!(manifest.tpm.unwrap().size.get(), here.len() as u64);
    assert_eq!(pair.verdicts("sealed").await.unwrap()["tpm.permall"], "matches");
    pair.target.write_at(&stored("tpm.permall"), 3, b"\x07").unwrap();
    assert_eq!(pair.verdicts("sealed").await.unwrap()["tpm.permall"], "differs: its digest is");
    assert_eq!(picture(&pair.here, &pair.source).await.unwrap(), before, "the machine is as it was");
    let (_, plan) = plan_backup_delete(&pair.there, &store(), &point("sealed")).await.unwrap();
    pair.run_at(plan, &pair.there).await.unwrap();
    assert!(!pair.target.files().unwrap().keys().any(|path| path.starts_with(STORE)));
    pair.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn of_a_machine_that_runs_it_is_what_was_sealed_when_the_disks_were_held() {
    let pair = Pair::running_and_sealed().await;
    let plan = pair.plan_backup("sealed", &storing()).await.unwrap().plan;
    let names: Vec<_> = plan.steps.iter().map(|step| step.name()).collect();
    let at = |name: &str| names.iter().position(|other| *other == name).unwrap();
    assert!(at("store-tpm") + 1 == at("store-file") && at("store-file") < at("release-moment"), "{names:?}");
    assert!(at("store-tpm") > at("store-document") + 1, "the disks are held first: {names:?}");
    let source = pair.source.clone();
    let later = Before("store-file", move || source.write_at(STATE, 0, LATER).unwrap());
    pair.run_with(plan, &pair.here, later).await.unwrap();
    assert!(pair.state(&stored("tpm.permall")).await.starts_with(SEALED));
    assert!(pair.source.read_at(STATE, 0, LATER.len()).unwrap() == LATER);
    assert_eq!(pair.vm("sealed").await.state, VmState::Running);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_another_one_replaces_while_it_is_read_is_read_again() {
    let pair = Pair::running_and_sealed().await;
    let plan = pair.plan_backup("sealed", &storing()).await.unwrap().plan;
    let source = pair.source.clone();
    pair.run_with(plan, &pair.here, Before("store-tpm", move || source.forget_calls())).await.unwrap();
    let nth = pair.source.calls().iter().position(|call| call.subject == "send").unwrap() as u64 + 1;
    for times in [1, 8] {
        let pair = Pair::running_and_sealed().await;
        let before = pair.world().await;
        let plan = pair.plan_backup("sealed", &storing()).await.unwrap().plan;
        let source = pair.source.clone();
        // A conversation that ended early is begun anew: three calls lead to the next reading.
        let busy = move || (0..times).for_each(|n| source.inject(Fault::nth(nth + 3 * n, ErrorKind::Busy)));
        let ended = pair.run_with(plan, &pair.here, Before("store-tpm", busy)).await;
        match times {
            1 => {
                ended.unwrap();
                assert!(pair.state(&stored("tpm.permall")).await.starts_with(SEALED));
            }
            // Not for ever.
            _ => {
                assert_eq!(ended.unwrap_err().kind(), ErrorKind::Busy);
                assert_eq!(pair.world().await, before);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_is_told_and_the_backup_made() {
    let pair = Pair::with_helpers().await.unwrap();
    pair.define_sealed("").await;
    let shown = async || pair.plan_backup("sealed", &storing()).await.unwrap().plan.to_string();
    let never = shown().await;
    assert!(never.contains("  note    domain  sealed "), "{never}");
    assert!(never.contains("its TPM has no state yet: none of it is in the backup"), "{never}");
    // That is what points were before there were states in them.
    pair.back_up("sealed").await;
    let (_, manifest) = backup_point(&pair.there, &store(), &point("sealed")).await.unwrap();
    assert_eq!(manifest.tpm, None);
    assert_eq!(pair.verdicts("sealed").await.unwrap().into_keys().collect::<Vec<_>>(), ["domain.xml"]);

    pair.define_sealed("<source type='file' path='/images/tpm2'/>").await;
    let file = shown().await;
    assert!(file.contains("the state of its TPM in /images/tpm2 is not copied: none of it"), "{file}");
    let id = pair.vm("sealed").await.id;
    let mut document = pair.here.hypervisor.definition(&id, View::CONFIG).await.unwrap();
    let text = "<domain><devices><tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm></devices></domain>";
    document.devices = Domain::from_xml(text).unwrap().devices;
    pair.here.hypervisor.define(&document, Existing::Replace).await.unwrap();
    let passed = shown().await;
    assert!(passed.contains("its TPM is not emulated by its host: none of it"), "{passed}");

    // Nor may whoever is logged in read everything.
    let pair = Pair::sealed().await;
    pair.source.forget_calls();
    pair.plan_backup("sealed", &storing()).await.unwrap();
    let nth = pair.source.calls().iter().position(|call| call.subject == "stat").unwrap() as u64 + 1;
    pair.source.inject(Fault::nth(nth, ErrorKind::Denied));
    let denied = pair.plan_backup("sealed", &storing()).await.unwrap().plan.to_string();
    assert!(denied.contains("the state of its TPM cannot be read (") && !denied.contains(" tpm  "), "{denied}");
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

/// What a scenario is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Storing,
    Gone,
    Copy,
    /// A machine that is there, without a state.
    There,
}

/// A backup or a restoration with a TPM, whose every step is made to fail.
struct Sealing(About, Mutex<Option<Pair>>);

#[async_trait]
impl Scenario for Sealing {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let (pair, host, plan);
        match self.0 {
            About::Storing => {
                pair = Pair::running_and_sealed().await;
                (host, plan) = (pair.here.clone(), pair.plan_backup("sealed", &storing()).await?.plan);
            }
            About::Gone | About::Copy => {
                pair = Pair::lost().await;
                let spec = if self.0 == About::Copy { copying("copy") } else { in_place() };
                (host, plan) = (pair.there.clone(), pair.plan_restore(&pair.there, "sealed", &spec).await?.plan);
            }
            About::There => {
                pair = Pair::sealed_with_disks().await;
                pair.back_up("sealed").await;
                pair.here.transport.remove_file(Path::new(STATE)).await?;
                (host, plan) = (pair.here.clone(), pair.plan_restore(&pair.here, "sealed", &in_place()).await?.plan);
            }
        }
        *self.1.lock().await = Some(pair);
        Ok((host, plan))
    }

    async fn inventory(&self, _: &Host) -> Result<String> {
        Ok(self.1.lock().await.as_ref().unwrap().world().await)
    }

    fn catalogue(&self) -> Catalogue {
        self.1.try_lock().unwrap().as_ref().unwrap().catalogue()
    }
}

#[tokio::test(start_paused = true)]
async fn a_tpm_survives_a_failure_at_every_step() {
    for (about, steps) in [(About::Storing, 9), (About::Gone, 2), (About::Copy, 2), (About::There, 4)] {
        let scenario = Sealing(about, Mutex::new(None));
        assert_eq!(check(&scenario).await.unwrap().steps, steps, "{about:?}");
    }
}
