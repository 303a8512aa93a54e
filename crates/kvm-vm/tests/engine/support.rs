//! A simulated host with an executor, and what all tests ask of them.

use std::path::PathBuf;
use std::sync::Arc;

use kvm_core::op::{Catalogue, Executor, MemoryStore, Plan, RunContext, Store as _};
use kvm_core::{Error, Host, MockWorld, Result, SeededEntropy, Silent, VmSummary};
use kvm_mock::{Mock, TokioClock};
use kvm_vm::{CreateSpec, PlanContext, Policy, inventory};
use tokio_util::sync::CancellationToken;

pub(crate) struct Bench {
    pub(crate) mock: Mock,
    pub(crate) host: Host,
    pub(crate) clock: Arc<TokioClock>,
    pub(crate) policy: Policy,
    pub(crate) store: MemoryStore,
    entropy: SeededEntropy,
    /// For the ids of operations.
    ids: Arc<SeededEntropy>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let world = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engine/world.yaml"));
        Self::of(|clock| Mock::open(&MockWorld::File(world), None, clock))
    }

    pub(crate) fn empty() -> Self {
        Self::of(|clock| Mock::empty(clock))
    }

    pub(crate) fn of(open: impl FnOnce(Arc<TokioClock>) -> Result<Mock>) -> Self {
        let clock = Arc::new(TokioClock::starting_at("2030-01-01T00:00:00Z".parse().unwrap()));
        let mock = open(clock.clone()).unwrap();
        Self {
            host: mock.host(),
            mock,
            clock,
            policy: Policy::default(),
            store: MemoryStore::new(),
            entropy: SeededEntropy::new(1),
            ids: Arc::new(SeededEntropy::new(9)),
        }
    }

    pub(crate) fn cx(&self) -> PlanContext<'_> {
        PlanContext { policy: &self.policy, entropy: &self.entropy }
    }

    pub(crate) async fn vm(&self, name: &str) -> VmSummary {
        kvm_vm::resolve(&self.host, name).await.unwrap()
    }

    pub(crate) fn executor(&self) -> Executor {
        Executor::new(Arc::new(self.store.clone()), catalogue(), "test").with_time(self.clock.clone(), self.ids.clone())
    }

    pub(crate) async fn run(&self, plan: Plan) -> Result<()> {
        let cancel = CancellationToken::new();
        self.executor().run(plan, context(&self.host, &cancel)).await.map(drop)
    }

    /// Everything on the host and every file of it, as text.
    pub(crate) async fn picture(&self) -> String {
        picture(&self.host, &self.mock).await.unwrap()
    }

    /// No operation waits for anybody.
    pub(crate) async fn assert_nothing_open(&self) {
        assert_eq!(self.store.unfinished().await.unwrap(), []);
    }
}

pub(crate) fn context<'a>(host: &'a Host, cancel: &'a CancellationToken) -> RunContext<'a> {
    RunContext { host, reporter: &Silent, cancel }
}

pub(crate) fn catalogue() -> Catalogue {
    Catalogue::new().with("vm.", kvm_vm::decode).with("vol.", kvm_vm::decode).with("net.", kvm_vm::decode)
}

pub(crate) async fn picture(host: &Host, mock: &Mock) -> Result<String> {
    let inventory =
        serde_json::to_string_pretty(&inventory(host).await?).map_err(|e| Error::internal(e.to_string()))?;
    let files: Vec<_> = mock.files()?.into_iter().map(|(path, info)| format!("{path} {info:?}")).collect();
    let secrets = match host.storage.secrets() {
        Some(store) => store.list().await?,
        None => Vec::new(),
    };
    Ok(format!("{inventory}\n{}\n{secrets:?}", files.join("\n")))
}

/// A specification as a file has it.
pub(crate) fn spec(json: &str) -> CreateSpec {
    read(json).unwrap()
}

pub(crate) fn read(json: &str) -> Result<CreateSpec> {
    CreateSpec::read(&mut serde_json::Deserializer::from_str(json))
}

/// The error as one text: kind, what it is about, message, detail.
pub(crate) fn said(error: &Error) -> String {
    let on = error.resource().map(|r| format!(" [{r}]")).unwrap_or_default();
    let detail = error.detail().map(|d| format!(" | {d}")).unwrap_or_default();
    format!("{}{on}: {error}{detail}", error.kind())
}

/// A server moves its futures between threads.
#[tokio::test(start_paused = true)]
async fn every_call_can_move_between_threads() {
    fn check<T: Send>(_: T) {}
    let bench = Bench::new();
    let (host, vm, clock) = (&bench.host, bench.vm("db").await, &*bench.clock);
    let cancel = CancellationToken::new();
    check(kvm_vm::plan_create(host, &spec(r#"{"name": "a"}"#), &bench.cx()));
    check(kvm_vm::plan_import(host, "", &kvm_vm::ImportOptions::default(), &bench.cx()));
    check(kvm_vm::plan_delete(host, &vm, &kvm_vm::DeleteOptions::default()));
    check(kvm_vm::prepare_edit(host, &vm.id, "", "", &kvm_vm::EditOptions::default(), &bench.policy));
    check(kvm_vm::export(host, &vm.id, kvm_core::Secrets::Hide));
    check(kvm_vm::resolve(host, "db"));
    check(kvm_vm::select(host, &"state=off".parse().unwrap()));
    check(kvm_vm::wide(host, std::slice::from_ref(&vm), kvm_vm::WideColumns::default(), clock));
    check(kvm_vm::addresses(host, &vm.id, clock));
    check(kvm_vm::change_notes(host, &vm.id, &kvm_vm::NotesChange::default()));
    check(inventory(host));
    check(kvm_vm::disk_graph(host));
    check(kvm_vm::plan_disk_commit(host, &vm, &kvm_vm::DiskCommit::new("vda".parse().unwrap())));
    check(kvm_vm::plan_disk_pull(host, &vm, &kvm_vm::DiskPull::new("vda".parse().unwrap())));
    let relocation = kvm_vm::DiskMove::new("vda".parse().unwrap(), "default".parse().unwrap());
    check(kvm_vm::plan_disk_move(host, &vm, &relocation, &bench.cx()));
    let disk = kvm_vm::DiskAttach { disk: "1G".parse().unwrap(), target: None, impact: None, allow_overcommit: false };
    check(kvm_vm::plan_disk_attach(host, &vm, &disk, &bench.cx()));
    check(kvm_vm::plan_disk_detach(host, &vm, &kvm_vm::DiskDetach::new("vda".parse().unwrap())));
    check(kvm_vm::eject(host, &vm, None, None));
    check(kvm_vm::pending(host, &vm));
    let volume: kvm_vm::VolumeRef = "default/free.qcow2".parse().unwrap();
    check(kvm_vm::resize_volume(host, &volume, kvm_core::Bytes::GIB, kvm_core::Resize::Grow));
    check(kvm_vm::wipe_volume(host, &volume, kvm_core::WipePattern::Zero));
    let name = "a".parse().unwrap();
    check(kvm_vm::plan_revert(host, &vm, &name, kvm_core::Revert::default()));
    check(kvm_vm::plan_snapshot_delete(host, &vm, &name, kvm_vm::SnapshotScope::Branch));
    check(kvm_vm::find_checkpoint(host, &vm, &name));
    let resources = kvm_vm::Resources::default();
    check(kvm_vm::set_resources(host, &vm, &resources, None, kvm_vm::DETACH_TIMEOUT, clock));
    let (options, entropy) = (kvm_vm::migrate::MigrateOptions::default(), SeededEntropy::new(1));
    check(kvm_vm::migrate::preflight(host, host, &vm, &options, &entropy));
    let options = kvm_vm::ShutdownOptions { timeout: std::time::Duration::ZERO, then: kvm_vm::Then::Fail };
    check(kvm_vm::shutdown(host, &vm.id, &options, clock, &cancel));
    let target = kvm_core::Target::parse("mock:///empty").unwrap();
    let patient = kvm_vm::doctor::Patient { target: &target, host: Ok(host), transport: None, vm: None };
    check(kvm_vm::doctor::diagnose(&patient, clock));
}
