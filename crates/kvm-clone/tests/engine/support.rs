//! Two simulated hosts, and what all tests ask of them.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use kvm_clone::{ClonePlan, CloneSpec, plan_clone};
use kvm_core::op::{Catalogue, Executor, KnownHosts, MemoryStore, Peer, Peers, Plan, RunContext, Store as _};
use kvm_core::{Autostart, Error, ErrorKind, Host, MockWorld, Result, SeededEntropy, Silent, VmSummary};
use kvm_mock::{Mock, TokioClock};
use kvm_vm::{PlanContext, Policy, inventory};
use kvm_xml::{Document as _, Network, StoragePool};
use tokio_util::sync::CancellationToken;

/// What a guest wrote, well behind the header of its image.
pub(crate) const WRITTEN: (u64, &[u8]) = (1 << 20, b"what the guest wrote");

/// The host of the original, and another one.
pub(crate) struct Pair {
    pub(crate) source: Mock,
    pub(crate) target: Mock,
    pub(crate) here: Host,
    pub(crate) there: Host,
    pub(crate) store: MemoryStore,
    pub(crate) clock: Arc<TokioClock>,
    /// For the ids of operations.
    ids: Arc<SeededEntropy>,
    entropy: SeededEntropy,
    policy: Policy,
}

/// No other host answers.
#[derive(Debug)]
struct Gone;

#[async_trait]
impl Peers for Gone {
    async fn open(&self, peer: &Peer) -> Result<Host> {
        Err(Error::new(ErrorKind::Unavailable, format!("no route to {peer}")))
    }
}

impl Pair {
    /// The other host has a pool and a network.
    pub(crate) async fn new() -> Result<Self> {
        let clock = Arc::new(TokioClock::starting_at("2030-01-01T00:00:00Z".parse().unwrap()));
        let world = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engine/world.yaml"));
        let source = Mock::open(&MockWorld::File(world), None, clock.clone())?;
        let target = Mock::empty(clock.clone())?;
        let (here, there) = (source.host(), target.host());
        for path in ["/images/web.qcow2", "/images/data.raw", "/images/base.qcow2"] {
            source.write_at(path, WRITTEN.0, WRITTEN.1)?;
        }
        let network = Network::from_xml("<network><name>default</name><bridge name='virbr0'/></network>").unwrap();
        there.networks.define(&network).await?;
        there.networks.start(&"default".parse()?).await?;
        let pool = "<pool type='dir'><name>default</name><target><path>/var/lib/images</path></target></pool>";
        there.storage.create_pool(&StoragePool::from_xml(pool).unwrap(), Autostart::On).await?;
        let (entropy, policy) = (SeededEntropy::new(1), Policy::default());
        let ids = Arc::new(SeededEntropy::new(9));
        Ok(Self { source, target, here, there, store: MemoryStore::new(), clock, ids, entropy, policy })
    }

    /// The same with a helper on both hosts.
    pub(crate) async fn with_helpers() -> Result<Self> {
        let pair = Self::new().await?;
        pair.source.run_helper(true)?;
        pair.target.run_helper(true)?;
        Ok(pair)
    }

    pub(crate) fn cx(&self) -> PlanContext<'_> {
        PlanContext { policy: &self.policy, entropy: &self.entropy }
    }

    pub(crate) async fn vm(&self, name: &str) -> VmSummary {
        kvm_vm::resolve(&self.here, name).await.unwrap()
    }

    /// Plans a clone on the other host.
    pub(crate) async fn plan(&self, vm: &str, spec: &CloneSpec) -> Result<ClonePlan> {
        plan_clone(&self.here, &self.there, &self.vm(vm).await, spec, &self.cx()).await
    }

    /// Plans one beside the original.
    pub(crate) async fn plan_here(&self, vm: &str, spec: &CloneSpec) -> Result<ClonePlan> {
        plan_clone(&self.here, &self.here, &self.vm(vm).await, spec, &self.cx()).await
    }

    pub(crate) fn catalogue(&self) -> Catalogue {
        let peers = Arc::new(KnownHosts::new([self.here.clone(), self.there.clone()]));
        Catalogue::new()
            .with("clone.", kvm_clone::decode)
            .with("backup.", kvm_clone::decode)
            .with("restore.", kvm_clone::decode)
            .with("vm.", kvm_vm::decode)
            .reaching(peers)
    }

    pub(crate) fn executor(&self) -> Executor {
        let ids = self.ids.clone();
        Executor::new(Arc::new(self.store.clone()), self.catalogue(), "test").with_time(self.clock.clone(), ids)
    }

    /// One from which the original's host cannot be reached.
    pub(crate) fn executor_alone(&self) -> Executor {
        let (ids, catalogue) = (self.ids.clone(), self.catalogue().reaching(Arc::new(Gone)));
        Executor::new(Arc::new(self.store.clone()), catalogue, "test").with_time(self.clock.clone(), ids)
    }

    pub(crate) async fn run(&self, plan: Plan) -> Result<()> {
        self.run_at(plan, &self.there).await
    }

    pub(crate) async fn run_at(&self, plan: Plan, host: &Host) -> Result<()> {
        let cancel = CancellationToken::new();
        self.executor().run(plan, RunContext { host, reporter: &Silent, cancel: &cancel }).await.map(drop)
    }

    pub(crate) async fn assert_nothing_open(&self) {
        assert_eq!(self.store.unfinished().await.unwrap(), []);
    }
}

/// Everything on a host and every file of it, as text.
pub(crate) async fn picture(host: &Host, mock: &Mock) -> Result<String> {
    let inventory =
        serde_json::to_string_pretty(&inventory(host).await?).map_err(|e| Error::internal(e.to_string()))?;
    let directories = mock.directories()?.join("\n");
    let files: Vec<_> = mock.files()?.into_iter().map(|(path, info)| format!("{path} {info:?}")).collect();
    Ok(format!("{inventory}\n{directories}\n{}", files.join("\n")))
}

/// The error as one text: kind, what it is about, message, detail.
pub(crate) fn said(error: &Error) -> String {
    let on = error.resource().map(|r| format!(" [{r}]")).unwrap_or_default();
    let detail = error.detail().map(|d| format!(" | {d}")).unwrap_or_default();
    format!("{}{on}: {error}{detail}", error.kind())
}
