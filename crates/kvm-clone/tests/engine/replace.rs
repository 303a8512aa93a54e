//! Copies that take the place of a machine: it is there, whole, until they stand.

use async_trait::async_trait;
use kvm_clone::{AfterReplacing, CloneSpec, Replace, RestoreSpec, Restored, plan_restore};
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Plan};
use kvm_core::{ErrorKind, Host, PowerAction, Result, View};
use kvm_vm::Start;
use kvm_xml::Document as _;
use tokio::sync::Mutex;

use super::backup::{point, store};
use super::restore::anew;
use crate::support::{Pair, WRITTEN, said};

fn spec(name: &str, then: AfterReplacing) -> CloneSpec {
    let at = "2030-06-01T12:00:00Z".parse().unwrap();
    CloneSpec { name: Some(name.parse().unwrap()), replace: Some(Replace { at, then }), ..CloneSpec::default() }
}

impl Pair {
    /// A clone of `web` on the other host, in whose place another one will come.
    async fn with_clone(vm: &str) -> Result<Self> {
        let pair = Self::with_helpers().await?;
        let first = CloneSpec { name: Some("copy".parse()?), ..CloneSpec::default() };
        pair.run(pair.plan(vm, &first).await?.plan).await?;
        Ok(pair)
    }
}

#[tokio::test(start_paused = true)]
async fn a_clone_takes_the_place_of_a_machine_which_goes_when_it_stands() {
    let pair = Pair::with_clone("web").await.unwrap();
    let old = pair.there("copy").await;
    pair.source.write_at("/images/data.raw", WRITTEN.0, b"WHAT").unwrap();
    let clone = pair.plan("web", &spec("copy", AfterReplacing::Delete)).await.unwrap();
    assert_eq!(clone.replaced.as_ref().map(|name| name.as_str()), Some("copy.replaced-2030-06-01T12-00-00Z"));
    let shown = clone.plan.to_string();
    for line in [
        "rename   domain   copy ",
        "remove   domain   copy.replaced-2030-06-01T12-00-00Z ",
        "remove   volume   default/copy-data.raw ",
    ] {
        assert!(shown.contains(line), "{line:?} is not in\n{shown}");
    }
    pair.run(clone.plan).await.unwrap();
    let new = pair.there("copy").await;
    assert_ne!(new.id, old.id);
    assert_eq!(pair.target.read_at("/var/lib/images/copy-data-1.raw", WRITTEN.0, 4).unwrap(), b"WHAT");
    let left: Vec<_> = pair.target.files().unwrap().into_keys().filter(|path| path.contains("copy")).collect();
    assert_eq!(left, ["/var/lib/images/copy-1.qcow2", "/var/lib/images/copy-data-1.raw"]);
    assert_eq!(pair.there.hypervisor.list(&kvm_core::VmFilter::all()).await.unwrap().len(), 1);
    // The next one has the first names again.
    pair.run(pair.plan("web", &spec("copy", AfterReplacing::Delete)).await.unwrap().plan).await.unwrap();
    pair.target.read_at("/var/lib/images/copy-data.raw", WRITTEN.0, 4).unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_replaced_may_stay_under_its_other_name() {
    let pair = Pair::with_clone("web").await.unwrap();
    let old = pair.there("copy").await;
    let clone = pair.plan("web", &spec("copy", AfterReplacing::Keep)).await.unwrap();
    pair.run(clone.plan).await.unwrap();
    let aside = pair.there("copy.replaced-2030-06-01T12-00-00Z").await;
    assert_eq!(aside.id, old.id);
    pair.there.hypervisor.power(&aside.id, PowerAction::Start).await.unwrap();
    assert_eq!(pair.target.read_at("/var/lib/images/copy-data.raw", WRITTEN.0, WRITTEN.1.len()).unwrap(), WRITTEN.1);
}

#[tokio::test(start_paused = true)]
async fn a_free_name_is_no_replacement_and_what_must_not_go_is_refused() {
    let pair = Pair::with_clone("web").await.unwrap();
    let free = pair.plan("web", &spec("other", AfterReplacing::Delete)).await.unwrap();
    assert_eq!(free.replaced, None);
    let unnamed = CloneSpec { name: None, ..spec("copy", AfterReplacing::Delete) };
    assert_eq!(pair.plan("web", &unnamed).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let itself = pair.plan_here("web", &spec("web", AfterReplacing::Delete)).await.unwrap_err();
    assert_eq!(itself.kind(), ErrorKind::InvalidInput, "{}", said(&itself));
    let kept = said(&pair.plan_here("web", &spec("kept", AfterReplacing::Delete)).await.unwrap_err());
    assert!(kept.starts_with("invalid_state [VM kept]: VM kept is running"), "{kept}");
    let saved = said(&pair.plan_here("web", &spec("saved", AfterReplacing::Delete)).await.unwrap_err());
    assert!(saved.starts_with("invalid_state [VM saved]"), "{saved}");
    // A replica is not replaced by mistake.
    pair.sync("top").await.unwrap();
    let replica = said(&pair.plan("web", &spec("top", AfterReplacing::Delete)).await.unwrap_err());
    assert!(replica.contains("is a replica of top"), "{replica}");
}

#[tokio::test(start_paused = true)]
async fn uefi_variables_of_both_are_told_apart() {
    let pair = Pair::with_helpers().await.unwrap();
    let id = pair.vm("modest").await.id;
    pair.here.hypervisor.power(&id, PowerAction::Start).await.unwrap();
    pair.here.hypervisor.power(&id, PowerAction::PowerOff).await.unwrap();
    let first = CloneSpec { name: Some("copy".parse().unwrap()), ..CloneSpec::default() };
    pair.run(pair.plan("modest", &first).await.unwrap().plan).await.unwrap();
    let clone = pair.plan("modest", &spec("copy", AfterReplacing::Delete)).await.unwrap();
    let variables = clone.document.os.as_ref().unwrap().nvram.as_ref().unwrap().value.clone().unwrap();
    assert!(variables.ends_with("/copy_VARS-1.fd"), "{variables}");
    pair.run(clone.plan).await.unwrap();
    let left: Vec<_> = pair.target.files().unwrap().into_keys().filter(|path| path.contains("_VARS")).collect();
    assert_eq!(left, [variables]);
}

/// A replacement, whose every step is made to fail.
struct Replacing {
    /// Out of a backup, or as a clone.
    is_restore: bool,
    then: AfterReplacing,
    pair: Mutex<Option<Pair>>,
}

#[async_trait]
impl Scenario for Replacing {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let pair = Pair::with_clone("web").await?;
        let CloneSpec { replace, .. } = spec("copy", self.then);
        let plan = match self.is_restore {
            true => {
                pair.back_up("web").await;
                let spec = RestoreSpec { replace, start: Start::Yes, ..anew("copy") };
                assert_eq!(spec.identity, Restored::New("copy".parse()?));
                plan_restore(&pair.there, &store(), &point("web"), &pair.there, &spec, &pair.cx()).await?.plan
            }
            false => pair.plan("web", &spec("copy", self.then)).await?.plan,
        };
        let host = pair.there.clone();
        *self.pair.lock().await = Some(pair);
        Ok((host, plan))
    }

    async fn inventory(&self, host: &Host) -> Result<String> {
        let pair = self.pair.lock().await;
        let mut all = pair.as_ref().unwrap().pictures().await?;
        for vm in host.hypervisor.list(&kvm_core::VmFilter::all()).await? {
            all += &host.hypervisor.definition(&vm.id, View::CONFIG).await?.to_xml();
        }
        Ok(all)
    }

    fn catalogue(&self) -> Catalogue {
        self.pair.try_lock().unwrap().as_ref().unwrap().catalogue()
    }
}

#[tokio::test(start_paused = true)]
async fn a_replacement_survives_a_failure_at_every_step() {
    use AfterReplacing::{Delete, Keep};
    for (is_restore, then, steps) in [(false, Delete, 7), (false, Keep, 4), (true, Delete, 8)] {
        let scenario = Replacing { is_restore, then, pair: Mutex::new(None) };
        assert_eq!(check(&scenario).await.unwrap().steps, steps, "{is_restore} {then:?}");
    }
}
