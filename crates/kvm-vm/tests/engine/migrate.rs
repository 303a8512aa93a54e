//! Machines that move between two hosts, and are on exactly one of them whatever goes wrong.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Direction, Executor, MemoryStore, OpStatus, Peer, Peers, Plan, Store as _};
use kvm_core::{
    Autostart, Bandwidth, DefinitionPlace, Error, ErrorKind, Host, MigrationSpec, MockWorld, PoolName, PowerAction,
    Progress, Reporter, Result, SeededEntropy, VmRef, VmState, VmSummary,
};
use kvm_mock::{Fault, Method, Mock, TokioClock};
use kvm_vm::migrate::{
    AtTimeout, Check, DiskTransfer, Finding, Lead, MigrateOptions, MigrationTimeout, Preflight, Verdict, preflight,
};
use kvm_xml::{Document as _, Network, StoragePool};
use tokio_util::sync::CancellationToken;

use crate::support::{catalogue, context, picture, said};

/// Two hosts of one time: `web` runs on the first, with a disk and a network of its own.
struct Pair {
    source: Mock,
    destination: Mock,
    here: Host,
    there: Host,
    clock: Arc<TokioClock>,
    store: MemoryStore,
}

#[derive(Debug)]
struct Known([Host; 2]);

#[async_trait]
impl Peers for Known {
    async fn open(&self, peer: &Peer) -> Result<Host> {
        let mut last = Error::internal("nobody knows that host");
        for host in &self.0 {
            match peer.check(host).await {
                Ok(()) => return Ok(host.clone()),
                Err(e) if e.kind() == ErrorKind::InvalidState => {}
                Err(e) => last = e,
            }
        }
        Err(last)
    }
}

const DISK: &str = "/images/web.qcow2";
/// What the guest wrote, well behind the header of its image.
const WRITTEN: (u64, &[u8]) = (1 << 20, b"what the guest wrote");

impl Pair {
    async fn new() -> Result<Self> {
        let clock = Arc::new(TokioClock::starting_at("2030-01-01T00:00:00Z".parse().unwrap()));
        let world = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engine/moving.yaml"));
        let source = Mock::open(&MockWorld::File(world), None, clock.clone())?;
        let destination = Mock::empty(clock.clone())?;
        let (here, there) = (source.host(), destination.host());
        source.write_at(DISK, WRITTEN.0, WRITTEN.1)?;
        let network = Network::from_xml("<network><name>default</name><bridge name='virbr0'/></network>").unwrap();
        there.networks.define(&network).await?;
        there.networks.start(&"default".parse()?).await?;
        Ok(Self { source, destination, here, there, clock, store: MemoryStore::new() })
    }

    /// With a pool on the destination in which the disk's copy can be made.
    async fn with_pool() -> Result<Self> {
        let pair = Self::new().await?;
        pair.pool("images", "/images").await?;
        Ok(pair)
    }

    /// With one directory of images for both.
    async fn sharing() -> Result<Self> {
        let pair = Self::new().await?;
        pair.source.share_directory(&pair.destination, "/images")?;
        pair.pool("nas", "/images").await?;
        Ok(pair)
    }

    async fn pool(&self, name: &str, path: &str) -> Result<()> {
        let document = format!("<pool type='dir'><name>{name}</name><target><path>{path}</path></target></pool>");
        self.there.storage.create_pool(&StoragePool::from_xml(&document).unwrap(), Autostart::On).await
    }

    async fn vm(&self, name: &str) -> VmSummary {
        kvm_vm::resolve(&self.here, name).await.unwrap()
    }

    async fn look(&self, vm: &str, options: &MigrateOptions) -> Preflight {
        let vm = self.vm(vm).await;
        preflight(&self.here, &self.there, &vm, options, &SeededEntropy::new(1)).await.unwrap()
    }

    async fn plan(&self, vm: &str, options: &MigrateOptions) -> Plan {
        self.look(vm, options).await.into_plan().unwrap()
    }

    fn executor(&self) -> Executor {
        let catalogue = catalogue().reaching(Arc::new(Known([self.here.clone(), self.there.clone()])));
        let ids = Arc::new(SeededEntropy::new(9));
        Executor::new(Arc::new(self.store.clone()), catalogue, "test").with_time(self.clock.clone(), ids)
    }

    async fn run(&self, plan: Plan) -> Result<()> {
        let cancel = CancellationToken::new();
        self.executor().run(plan, context(&self.here, &cancel)).await.map(drop)
    }

    async fn state(&self, host: &Host) -> Option<VmState> {
        match host.hypervisor.find(&VmRef::Name("web".parse().unwrap())).await {
            Ok(vm) => Some(vm.state),
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::NotFound, "{e:?}");
                None
            }
        }
    }

    /// On the source, running; the destination holds nothing of it.
    async fn assert_stayed(&self) {
        assert_eq!((self.state(&self.here).await, self.state(&self.there).await), (Some(VmState::Running), None));
        assert_eq!(self.source.read_at(DISK, WRITTEN.0, WRITTEN.1.len()).unwrap(), WRITTEN.1);
    }

    /// On the destination, running, with what it wrote; the source has let go of it.
    async fn assert_moved(&self) {
        assert_eq!((self.state(&self.here).await, self.state(&self.there).await), (None, Some(VmState::Running)));
        assert_eq!(self.destination.read_at(DISK, WRITTEN.0, WRITTEN.1.len()).unwrap(), WRITTEN.1);
        assert_eq!(self.store.unfinished().await.unwrap(), []);
    }
}

fn copying() -> MigrateOptions {
    MigrateOptions { storage: DiskTransfer::Copy, ..MigrateOptions::default() }
}

/// The findings that are no praise, as `check: verdict`.
fn complaints(preflight: &Preflight) -> Vec<String> {
    let bad = preflight.findings().iter().filter(|finding| finding.verdict != Verdict::Ok);
    bad.map(|finding| format!("{}: {}", finding.check.as_str(), finding.verdict)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_machine_moves_with_the_content_of_its_disk() {
    let pair = Pair::with_pool().await.unwrap();
    let plan = pair.plan("web", &copying()).await;
    let shown = plan.to_string();
    let (_, lines) = shown.split_once('\n').unwrap();
    assert_eq!(
        lines,
        "  create  volume  images/web.qcow2  20 GiB, on mock:///empty\n  \
         move    domain  web               while it runs, led from here, with the content of vda\n  \
         remove  domain  web               from this host\n  \
         change  domain  web               starts when mock:///empty boots\n  \
         keep    volume  local/web.qcow2   the old image stays on this host"
    );
    pair.run(plan).await.unwrap();
    pair.assert_moved().await;
    let web = kvm_vm::resolve(&pair.there, "web").await.unwrap();
    assert_eq!((web.persistent, web.autostart), (true, Some(true)));
    assert!(pair.source.files().unwrap().contains_key(DISK), "the old image is nobody's to delete");
}

const VARIABLES: &str = "/var/lib/libvirt/qemu/nvram/modest_VARS.fd";

/// `modest` has UEFI, and therefore a file of variables as soon as it runs.
async fn boot_modest(pair: &Pair) {
    pair.here.hypervisor.power(&pair.vm("modest").await.id, PowerAction::Start).await.unwrap();
    assert!(pair.source.files().unwrap().contains_key(VARIABLES));
}

#[tokio::test(start_paused = true)]
async fn uefi_variables_do_not_stay_where_the_machine_was() {
    let pair = Pair::new().await.unwrap();
    boot_modest(&pair).await;
    let plan = pair.plan("modest", &MigrateOptions::default()).await;
    assert!(plan.to_string().contains(&format!("remove  nvram   {VARIABLES}")), "{plan}");
    pair.run(plan).await.unwrap();
    assert!(!pair.source.files().unwrap().contains_key(VARIABLES));
    assert!(pair.destination.files().unwrap().contains_key(VARIABLES));
}

#[tokio::test(start_paused = true)]
async fn uefi_variables_stay_where_they_may_be_those_that_the_destination_uses() {
    // On shared storage.
    let pair = Pair::new().await.unwrap();
    pair.source.share_directory(&pair.destination, "/var/lib/libvirt/qemu/nvram").unwrap();
    boot_modest(&pair).await;
    let plan = pair.plan("modest", &MigrateOptions::default()).await;
    assert!(plan.to_string().contains(&format!("keep    nvram   {VARIABLES}")), "{plan}");
    pair.run(plan).await.unwrap();
    assert!(pair.destination.files().unwrap().contains_key(VARIABLES));

    // Shared between the plan and the move: nothing moves.
    let pair = Pair::new().await.unwrap();
    boot_modest(&pair).await;
    let plan = pair.plan("modest", &MigrateOptions::default()).await;
    pair.source.share_directory(&pair.destination, "/var/lib/libvirt/qemu/nvram").unwrap();
    assert_eq!(pair.run(plan).await.unwrap_err().kind(), ErrorKind::InvalidState);
    assert!(pair.source.files().unwrap().contains_key(VARIABLES));
    assert!(!pair.source.calls().iter().any(|call| call.method == Method::Migrate), "it moved all the same");

    // Nobody can look.
    let pair = Pair::new().await.unwrap();
    boot_modest(&pair).await;
    pair.destination.inject(Fault::next(Method::ReadPart, ErrorKind::Denied));
    let plan = pair.plan("modest", &MigrateOptions::default()).await;
    assert!(plan.to_string().contains(&format!("keep    nvram   {VARIABLES}")), "{plan}");
    pair.run(plan).await.unwrap();
    assert!(pair.source.files().unwrap().contains_key(VARIABLES));

    // The definition stays, and needs them.
    let pair = Pair::new().await.unwrap();
    boot_modest(&pair).await;
    let options = MigrateOptions { definition: DefinitionPlace::Source, ..MigrateOptions::default() };
    let plan = pair.plan("modest", &options).await;
    assert!(!plan.to_string().contains("nvram"), "{plan}");
    pair.run(plan).await.unwrap();
    assert!(pair.source.files().unwrap().contains_key(VARIABLES));
}

#[tokio::test(start_paused = true)]
async fn uefi_variables_of_a_machine_that_is_back_are_not_removed_by_an_old_operation() {
    let pair = Pair::new().await.unwrap();
    boot_modest(&pair).await;
    let plan = pair.plan("modest", &MigrateOptions::default()).await;
    pair.source.inject(Fault::next(Method::RemoveFile, ErrorKind::Unavailable));
    assert_eq!(pair.run(plan).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let open = pair.store.unfinished().await.unwrap();
    assert!(matches!(open[..], [ref one] if one.status == OpStatus::NeedsAttention), "{open:?}");
    // Back by hand, and without this program.
    let id = kvm_vm::resolve(&pair.there, "modest").await.unwrap().id;
    let (from, to) = (pair.there.hypervisor.migration().unwrap(), pair.here.hypervisor.migration().unwrap());
    from.migrate(&id, to, &MigrationSpec::live()).await.unwrap();

    let cancel = CancellationToken::new();
    let op = open[0].header.id.clone();
    let done = pair.executor().finish(&op, Direction::Forward, context(&pair.here, &cancel)).await.unwrap();
    assert_eq!(done.status, OpStatus::Succeeded);
    assert!(pair.source.files().unwrap().contains_key(VARIABLES));
}

#[tokio::test(start_paused = true)]
async fn shared_storage_is_proved_by_a_marker_that_leaves_nothing_behind() {
    let pair = Pair::sharing().await.unwrap();
    let files = pair.source.files().unwrap();
    let plan = pair.plan("web", &MigrateOptions::default()).await;
    assert!(plan.to_string().contains("prove   pool    local"), "{plan}");
    pair.run(plan).await.unwrap();
    pair.assert_moved().await;
    assert_eq!(pair.source.files().unwrap(), files);
    let pool = PoolName::parse("nas").unwrap();
    assert_eq!(pair.there.storage.volumes(&pool).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_only_looks_the_same_is_found_out_before_anything_moves() {
    let pair = Pair::with_pool().await.unwrap();
    // An image of that size and name, which is another one.
    let web = pair.here.storage.volume_at(&DISK.parse().unwrap()).await.unwrap();
    let twin = format!(
        "<volume><name>web.qcow2</name><capacity>{}</capacity><target><format type='qcow2'/></target></volume>",
        web.capacity.get()
    );
    let pool = PoolName::parse("images").unwrap();
    pair.there.storage.create_volume(&pool, &kvm_xml::StorageVolume::from_xml(&twin).unwrap()).await.unwrap();
    let before = (picture(&pair.here, &pair.source).await.unwrap(), pair.destination.files().unwrap());
    let plan = pair.plan("web", &MigrateOptions::default()).await;
    let e = pair.run(plan).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidState, "{e:?}");
    assert!(!pair.source.calls().iter().any(|call| call.method == Method::Migrate), "it moved all the same");
    assert_eq!(picture(&pair.here, &pair.source).await.unwrap(), before.0);
    assert_eq!(pair.destination.files().unwrap(), before.1);
}

#[tokio::test(start_paused = true)]
async fn what_stands_in_the_way_is_refused_before_anything_is_written() {
    let pair = Pair::new().await.unwrap();
    let before = (pair.source.files().unwrap(), pair.destination.files().unwrap());
    let refused = |vm, options| {
        let pair = &pair;
        async move { complaints(&pair.look(vm, &options).await) }
    };
    assert_eq!(refused("web", copying()).await, ["storage: refusal"], "no pool for the copy");
    assert_eq!(refused("web", MigrateOptions::default()).await, ["storage: refusal"], "no such image there");
    assert_eq!(refused("plain", MigrateOptions { lead: Lead::Tunnel, ..copying() }).await, ["route: unknown"]);
    assert_eq!(refused("kept", MigrateOptions::default()).await, ["records: refusal", "networks: refusal"]);
    assert_eq!(refused("bare", copying()).await, ["state: refusal"], "saved");
    let e = pair.look("web", &copying()).await.into_plan().unwrap_err();
    assert!(said(&e).starts_with("invalid_state [VM web]: VM web cannot move to mock:///empty | "), "{}", said(&e));
    assert_eq!((pair.source.files().unwrap(), pair.destination.files().unwrap()), before);
}

#[tokio::test(start_paused = true)]
async fn a_cpu_that_the_destination_lacks_is_refused() {
    let pair = Pair::new().await.unwrap();
    pair.destination.lack_cpu("EPYC");
    let looked = pair.look("modern", &MigrateOptions::default()).await;
    assert_eq!(complaints(&looked), ["cpu: refusal"]);
    let finding: Vec<&Finding> = looked.refusals().collect();
    assert!(matches!(finding[..], [Finding { check: Check::Cpu, fix: Some(_), .. }]));
}

#[tokio::test(start_paused = true)]
async fn the_same_host_under_its_own_target_is_refused() {
    let pair = Pair::new().await.unwrap();
    let vm = pair.vm("plain").await;
    let options = MigrateOptions::default();
    let looked = preflight(&pair.here, &pair.here, &vm, &options, &SeededEntropy::new(1)).await.unwrap();
    assert_eq!(complaints(&looked), ["hosts: refusal", "name: refusal"]);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_off_moves_on_shared_storage() {
    let pair = Pair::sharing().await.unwrap();
    pair.here.hypervisor.power(&pair.vm("web").await.id, PowerAction::PowerOff).await.unwrap();
    let plan = pair.plan("web", &MigrateOptions::default()).await;
    pair.run(plan).await.unwrap();
    assert_eq!((pair.state(&pair.here).await, pair.state(&pair.there).await), (None, Some(VmState::Off)));
    let pair = Pair::with_pool().await.unwrap();
    pair.here.hypervisor.power(&pair.vm("web").await.id, PowerAction::PowerOff).await.unwrap();
    assert_eq!(complaints(&pair.look("web", &copying()).await), ["storage: refusal"]);
}

#[tokio::test(start_paused = true)]
async fn a_definition_may_stay_behind() {
    let pair = Pair::with_pool().await.unwrap();
    let options = MigrateOptions { definition: DefinitionPlace::Source, ..copying() };
    let plan = pair.plan("web", &options).await;
    pair.run(plan).await.unwrap();
    let states = (pair.state(&pair.here).await, pair.state(&pair.there).await);
    assert_eq!(states, (Some(VmState::Off), Some(VmState::Running)));
    assert!(!kvm_vm::resolve(&pair.there, "web").await.unwrap().persistent);
}

/// Does something as soon as memory moves.
struct OnceItMoves<F>(F);

impl<F> std::fmt::Debug for OnceItMoves<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnceItMoves")
    }
}

impl<F: Fn() + Send + Sync> Reporter for OnceItMoves<F> {
    fn report(&self, progress: &Progress) {
        if matches!(progress, Progress::Moved { .. }) {
            self.0();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_migration_that_is_given_up_leaves_both_hosts_as_they_were() {
    let pair = Pair::with_pool().await.unwrap();
    let before = (picture(&pair.here, &pair.source).await.unwrap(), pair.destination.files().unwrap());
    let options = MigrateOptions { bandwidth: Bandwidth::parse("1M").unwrap(), ..copying() };
    let plan = pair.plan("web", &options).await;
    let cancel = CancellationToken::new();
    let reporter = OnceItMoves(|| cancel.cancel());
    let cx = kvm_core::op::RunContext { host: &pair.here, reporter: &reporter, cancel: &cancel };
    let e = pair.executor().run(plan, cx).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Cancelled, "{e:?}");
    pair.assert_stayed().await;
    assert_eq!(picture(&pair.here, &pair.source).await.unwrap(), before.0);
    assert_eq!(pair.destination.files().unwrap(), before.1);
    assert!(matches!(pair.store.finished().await.unwrap()[..], [ref one] if one.status == OpStatus::Cancelled));
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_given_up_suspended_or_switched_to_post_copy() {
    for then in [AtTimeout::Cancel, AtTimeout::Suspend, AtTimeout::PostCopy] {
        let pair = Pair::with_pool().await.unwrap();
        let timeout = Some(MigrationTimeout { after: Duration::from_secs(5), then });
        let options = MigrateOptions { bandwidth: Bandwidth::parse("1M").unwrap(), timeout, ..copying() };
        let plan = pair.plan("web", &options).await;
        let done = pair.run(plan).await;
        let asked = |method| pair.source.calls().iter().any(|call| call.method == method);
        match then {
            AtTimeout::Cancel => {
                assert_eq!(done.unwrap_err().kind(), ErrorKind::Timeout);
                pair.assert_stayed().await;
            }
            AtTimeout::Suspend => {
                done.unwrap();
                assert!(asked(Method::Power));
                pair.assert_moved().await;
            }
            AtTimeout::PostCopy => {
                done.unwrap();
                assert!(asked(Method::StartPostCopy));
                pair.assert_moved().await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_fails_at_any_stage_leaves_the_machine_on_exactly_one() {
    let stages = [Method::Migrate, Method::PrepareMigration, Method::FinishMigration, Method::ConfirmMigration];
    for method in stages {
        for kind in [ErrorKind::Unavailable, ErrorKind::Timeout, ErrorKind::Internal] {
            for after in [false, true] {
                let pair = Pair::with_pool().await.unwrap();
                let before = pair.destination.files().unwrap();
                let plan = pair.plan("web", &copying()).await;
                let fault = Fault::next(method, kind);
                let fault = if after { fault.after_effect() } else { fault };
                let at_source = matches!(method, Method::Migrate | Method::ConfirmMigration);
                if at_source { &pair.source } else { &pair.destination }.inject(fault);
                let done = pair.run(plan).await;
                let said = format!("{method} {kind} {after}: {done:?}");
                // From the moment at which the other host has it there is no way back.
                match (method, after) {
                    (Method::FinishMigration, true) | (Method::ConfirmMigration, _) => {
                        assert!(done.is_ok(), "{said}");
                        pair.assert_moved().await;
                    }
                    _ => {
                        assert_eq!(done.unwrap_err().kind(), kind, "{said}");
                        pair.assert_stayed().await;
                        assert_eq!(pair.destination.files().unwrap(), before, "{said}");
                    }
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_lost_leaves_the_operation_open_until_it_can_be_asked() {
    let pair = Pair::with_pool().await.unwrap();
    let before = pair.destination.files().unwrap();
    let options = MigrateOptions { bandwidth: Bandwidth::parse("1M").unwrap(), ..copying() };
    let plan = pair.plan("web", &options).await;
    let cancel = CancellationToken::new();
    let reporter = OnceItMoves(|| pair.source.disconnect().unwrap());
    let cx = kvm_core::op::RunContext { host: &pair.here, reporter: &reporter, cancel: &cancel };
    assert_eq!(pair.executor().run(plan, cx).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let open = pair.store.unfinished().await.unwrap();
    assert!(matches!(open[..], [ref one] if one.status == OpStatus::NeedsAttention), "{open:?}");

    pair.source.reconnect().unwrap();
    let id = open[0].header.id.clone();
    let undone = pair.executor().finish(&id, Direction::Back, context(&pair.here, &cancel)).await.unwrap();
    assert_eq!(undone.status, OpStatus::Undone);
    pair.assert_stayed().await;
    assert_eq!(pair.destination.files().unwrap(), before);
}

struct Moving {
    vm: &'static str,
    options: MigrateOptions,
    shared: bool,
    /// The other host of the run under way.
    there: Mutex<Option<(Mock, Mock)>>,
}

impl Moving {
    fn new(vm: &'static str, options: MigrateOptions, shared: bool) -> Self {
        Self { vm, options, shared, there: Mutex::default() }
    }

    fn mocks(&self) -> Result<(Mock, Mock)> {
        let there = self.there.lock().unwrap_or_else(PoisonError::into_inner).clone();
        there.ok_or_else(|| Error::internal("nothing has begun"))
    }
}

#[async_trait]
impl Scenario for Moving {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let pair = if self.shared { Pair::sharing().await? } else { Pair::with_pool().await? };
        if self.vm == "modest" {
            boot_modest(&pair).await;
        }
        let plan = pair.look(self.vm, &self.options).await.into_plan()?;
        // The source does not hear that the machine has arrived, so that letting go of it is a step with work to do.
        pair.source.inject(Fault::next(Method::ConfirmMigration, ErrorKind::Unavailable));
        *self.there.lock().unwrap_or_else(PoisonError::into_inner) = Some((pair.source, pair.destination));
        Ok((pair.here, plan))
    }

    async fn inventory(&self, host: &Host) -> Result<String> {
        let (source, destination) = self.mocks()?;
        let there = picture(&destination.host(), &destination).await?;
        Ok(format!("{}\n--- there\n{there}", picture(host, &source).await?))
    }

    fn catalogue(&self) -> Catalogue {
        let (source, destination) = self.mocks().expect("begun");
        catalogue().reaching(Arc::new(Known([source.host(), destination.host()])))
    }
}

#[tokio::test(start_paused = true)]
async fn a_copied_machine_survives_a_failure_at_every_step() {
    let coverage = check(&Moving::new("web", copying(), false)).await.unwrap();
    assert_eq!(coverage.steps, 4);
}

#[tokio::test(start_paused = true)]
async fn a_shared_machine_survives_a_failure_at_every_step() {
    let coverage = check(&Moving::new("web", MigrateOptions::default(), true)).await.unwrap();
    assert_eq!(coverage.steps, 4);
}

#[tokio::test(start_paused = true)]
async fn a_machine_with_uefi_survives_a_failure_at_every_step() {
    let coverage = check(&Moving::new("modest", MigrateOptions::default(), false)).await.unwrap();
    assert_eq!(coverage.steps, 4);
}
