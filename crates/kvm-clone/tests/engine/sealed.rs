//! The state of an emulated TPM in backups: stored as it was at the moment of the disks, or told why not.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use kvm_clone::{BackupSpec, RestoreSpec, Restored, TpmState, backup_point, plan_backup_delete};
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Hook, Moment, Plan, RunContext, Verdict};
use kvm_core::{Bytes, ErrorKind, Existing, Host, Keep, Result, Silent, View, VmState};
use kvm_mock::Fault;
use kvm_xml::{Document as _, Domain};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::backup::{FIRST, STORE, point, spec as storing, store};
use super::restore::{anew, spec};
use super::tpm::{SEALED, STATE};
use crate::support::{Pair, picture};

/// What swtpm writes when something else was sealed.
pub(crate) const LATER: &[u8] = b"what was sealed later";

pub(crate) fn in_place() -> RestoreSpec {
    spec(Restored::InPlace)
}

pub(crate) fn copying(name: &str) -> RestoreSpec {
    RestoreSpec { tpm: TpmState::Copy, ..anew(name) }
}

pub(crate) fn stored(file: &str) -> String {
    format!("{STORE}/sealed/{FIRST}/{file}")
}

impl Pair {
    /// The machine with a TPM has disks as well.
    pub(crate) async fn sealed_with_disks() -> Self {
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
    pub(crate) async fn lost() -> Self {
        let pair = Self::sealed().await;
        pair.back_up("sealed").await;
        pair.here.hypervisor.undefine(&pair.vm("sealed").await.id, Keep::NOTHING).await.unwrap();
        pair
    }

    pub(crate) async fn state(&self, at: &str) -> Vec<u8> {
        self.there.transport.read_file(Path::new(at), Bytes::from_mib(1)).await.unwrap()
    }

    pub(crate) async fn run_with(&self, plan: Plan, host: &Host, hook: impl Hook + 'static) -> Result<()> {
        let cancel = CancellationToken::new();
        let executor = self.executor().with_hook(Arc::new(hook));
        executor.run(plan, RunContext { host, reporter: &Silent, cancel: &cancel }).await.map(drop)
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
