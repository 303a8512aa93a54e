//! What a backend brings to be tested: hosts, and what to make on them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kvm_core::{Clock, Host, NetworkName, PoolName, PowerAction, Result, Transport, VmId, VmName};

/// Makes hosts of one backend, one for each case.
#[async_trait]
pub trait Rig: Send + Sync + 'static {
    /// How time passes for its hosts.
    fn time(&self) -> Time;

    /// How long a case may take by that time.
    fn limit(&self) -> Duration;

    /// Makes a host on which nothing of other cases is seen: one of its own, or a share of one with names of its own.
    async fn bench(&self, setup: &Setup) -> Result<Box<dyn Bench>>;
}

/// How time passes for a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// As for everybody.
    Real,
    /// By tokio's timer, which the suite pauses: what has to be waited for is there at once. Only for backends that
    /// do nothing outside of the runtime.
    Paused,
}

/// What a case wants to find on its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The case's group.
    pub group: &'static str,
    /// The case's name.
    pub case: &'static str,
    /// Names of machines that somebody else defined, past every check. Each is off, and begins with nothing else.
    pub planted: Vec<String>,
}

/// A host for one case, and what the case may make there.
#[async_trait]
pub trait Bench: Send + Sync {
    /// The host.
    fn host(&self) -> &Host;

    /// The host's time.
    fn clock(&self) -> &dyn Clock;

    /// How long guests and events may take.
    fn patience(&self) -> Duration;

    /// What the names of this case's things begin with; may be empty when the host is the case's own.
    fn prefix(&self) -> &str;

    /// A document for a small machine that starts on this host: with a serial console and a screen where the host has
    /// them, without disks, and with a network device on an active network if there is one.
    fn machine(&self, name: &VmName, id: &VmId) -> kvm_xml::Domain;

    /// A document for a pool in a directory that is not there yet, another for each name.
    fn pool(&self, name: &PoolName) -> kvm_xml::StoragePool;

    /// A document for an isolated network with IPv4 addresses, with a DHCP server if the host has them. The last address of
    /// a guest is in no range of it.
    fn network(&self, name: &NetworkName) -> kvm_xml::Network;

    /// The actions that random sequences may use: those that this backend knows, and that its guests obey.
    fn actions(&self) -> Vec<PowerAction>;

    /// How many random sequences are tried.
    fn sequences(&self) -> u32;

    /// Breaks the connection to the host and lets it come back. `Unsupported` when that cannot be done.
    async fn interrupt(&self) -> Result<()>;

    /// Another host of this backend, for machines that move: with networks of the same names, and free of what this case
    /// makes. Asked only by cases of the group `migration`. `Unsupported` when there is none.
    async fn peer(&self) -> Result<Host>;

    /// Removes what the case left. Called when the case is over, whatever became of it.
    async fn finish(self: Box<Self>) -> Result<()>;
}

/// A backend seen through a decorator: the same suite runs against what `wrap` makes of each host.
///
/// ```no_run
/// # fn example(rig: impl kvm_contract::Rig, cached: fn(kvm_core::Host) -> kvm_core::Host) {
/// let args = kvm_contract::Arguments::from_args();
/// kvm_contract::run(kvm_contract::through(rig, cached), "", &args).exit();
/// # }
/// ```
pub fn through(rig: impl Rig, wrap: impl Fn(Host) -> Host + Send + Sync + 'static) -> impl Rig {
    Decorated { rig, wrap: Arc::new(wrap) }
}

struct Decorated<R> {
    rig: R,
    wrap: Arc<dyn Fn(Host) -> Host + Send + Sync>,
}

#[async_trait]
impl<R: Rig> Rig for Decorated<R> {
    fn time(&self) -> Time {
        self.rig.time()
    }

    fn limit(&self) -> Duration {
        self.rig.limit()
    }

    async fn bench(&self, setup: &Setup) -> Result<Box<dyn Bench>> {
        let bench = self.rig.bench(setup).await?;
        let host = (self.wrap)(bench.host().clone());
        Ok(Box::new(DecoratedBench { bench, host }))
    }
}

struct DecoratedBench {
    bench: Box<dyn Bench>,
    host: Host,
}

#[async_trait]
impl Bench for DecoratedBench {
    fn host(&self) -> &Host {
        &self.host
    }

    fn clock(&self) -> &dyn Clock {
        self.bench.clock()
    }

    fn patience(&self) -> Duration {
        self.bench.patience()
    }

    fn prefix(&self) -> &str {
        self.bench.prefix()
    }

    fn machine(&self, name: &VmName, id: &VmId) -> kvm_xml::Domain {
        self.bench.machine(name, id)
    }

    fn pool(&self, name: &PoolName) -> kvm_xml::StoragePool {
        self.bench.pool(name)
    }

    fn network(&self, name: &NetworkName) -> kvm_xml::Network {
        self.bench.network(name)
    }

    fn actions(&self) -> Vec<PowerAction> {
        self.bench.actions()
    }

    fn sequences(&self) -> u32 {
        self.bench.sequences()
    }

    async fn interrupt(&self) -> Result<()> {
        self.bench.interrupt().await
    }

    async fn peer(&self) -> Result<Host> {
        self.bench.peer().await
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        self.bench.finish().await
    }
}

/// Makes transports to one kind of host, one for each case.
#[async_trait]
pub trait TransportRig: Send + Sync + 'static {
    /// How time passes for them.
    fn time(&self) -> Time;

    /// How long a case may take by that time.
    fn limit(&self) -> Duration;

    /// Makes a transport.
    async fn bench(&self, case: &'static str) -> Result<TransportBench>;
}

/// A transport for one case, and what is there at its other end.
pub struct TransportBench {
    /// The transport.
    pub transport: Arc<dyn Transport>,
    /// An empty directory on the host in which the case may write.
    pub directory: PathBuf,
    /// A program with arguments that prints `contract` to both of its outputs and ends with status 3.
    pub failing: Vec<String>,
    /// A program with arguments that runs for an hour.
    pub endless: Vec<String>,
    /// A program with arguments that prints 17 MiB to its standard output and ends with status 0.
    pub flood: Vec<String>,
    /// A Unix socket on the host that sends back what it is sent.
    pub echo: PathBuf,
    /// Whether the transport has a helper: a program that sends back what it is sent.
    pub has_helper: bool,
    /// What has to live as long as the bench, such as the directory's guard.
    pub keep: Box<dyn Send + Sync>,
}
