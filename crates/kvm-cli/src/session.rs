//! What one run of the program works with: settings, open hosts, and the way to carry out plans.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use kvm_core::op::{Catalogue, Direction, Executor, FileStore, OpId, Outcome, Plan, RunContext};
use kvm_core::{Clock, ConnectOptions, Entropy, Host, Result, SystemClock, SystemEntropy, Target, VmName};
use kvm_vm::{ForeignImages, PlanContext, Policy};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::args::Global;
use crate::connect::{self, Address};
use crate::environment::{self, Directories};
use crate::peers::OpenPeers;
use crate::printer::ProgressView;
use crate::settings::Settings;
use crate::ssh;

/// An open host, and how the user calls it.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its alias in `hosts.toml`, where it was reached by one.
    pub alias: Option<String>,
    /// Its canonical target.
    pub target: Target,
    /// The host.
    pub host: Host,
}

impl Connection {
    /// How it is called in messages.
    #[must_use]
    pub fn label(&self) -> String {
        self.alias.clone().unwrap_or_else(|| self.target.to_string())
    }

    /// What a command calls a machine of it: `HOST/NAME`, where the host has an alias.
    pub(crate) fn place(&self, vm: &VmName) -> String {
        match &self.alias {
            Some(alias) => format!("{alias}/{vm}"),
            None => vm.to_string(),
        }
    }
}

/// Open hosts, by how the user calls them.
pub(crate) type Open = Arc<Mutex<BTreeMap<String, Arc<Connection>>>>;

/// What one run of the program works with.
#[derive(Debug)]
pub struct Session {
    pub(crate) directories: Directories,
    pub(crate) settings: Settings,
    pub(crate) yes: bool,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) progress: ProgressView,
    pub(crate) cancel: CancellationToken,
    /// The one VM that the command is about, as the user calls it.
    subject: OnceLock<String>,
    /// A child has the terminal, and Ctrl-C with it.
    child: AtomicBool,
    connect: Option<String>,
    flags: ConnectOptions,
    open: Open,
}

/// How a plan was carried out.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    /// The operation and what it recovered.
    pub(crate) outcome: Outcome,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Session {
    /// Reads the user's files; connects to nothing yet.
    pub fn new(global: &Global, progress: ProgressView) -> Result<Self> {
        let directories = Directories::new(global.config.clone(), global.state.clone())?;
        let settings = Settings::read(&directories.config)?;
        let absolute = |path: &Option<std::path::PathBuf>| path.clone().map(environment::absolute).transpose();
        let flags = ConnectOptions {
            socket: absolute(&global.socket)?,
            identity: absolute(&global.identity)?,
            known_hosts: absolute(&global.known_hosts)?,
            pki: absolute(&global.pki)?,
        };
        flags.check()?;
        Ok(Self {
            directories,
            settings,
            yes: global.yes,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            progress,
            cancel: CancellationToken::new(),
            subject: OnceLock::new(),
            child: AtomicBool::new(false),
            connect: global.connect.clone(),
            flags,
            open: Open::default(),
        })
    }

    /// Where commands go that name no host: `--connect`, `KVM_CONNECT`, `config.toml`, or what this machine has.
    pub async fn address(&self) -> Result<Address> {
        match self.connect.as_ref().or(self.settings.config.connect.as_ref()) {
            Some(text) => Address::parse(text, &self.flags, &self.settings),
            None => Address::default(&self.flags).await,
        }
    }

    /// The host that commands go to when they name none.
    pub async fn host(&self) -> Result<Arc<Connection>> {
        self.at(None).await
    }

    /// The host of an alias, or the one that commands go to when they name none. Opened once.
    pub async fn at(&self, alias: Option<&str>) -> Result<Arc<Connection>> {
        // Held while connecting: two commands for the same host wait for one login.
        let mut open = self.open.lock().await;
        let key = alias.unwrap_or_default();
        if let Some(connection) = open.get(key) {
            return Ok(Arc::clone(connection));
        }
        let address = match alias {
            Some(alias) => Address::parse(alias, &ConnectOptions::default(), &self.settings)?,
            None => self.address().await?,
        };
        let host = self.open(&address).await?;
        let connection = Arc::new(Connection { alias: address.alias, target: address.target, host });
        open.insert(key.to_owned(), Arc::clone(&connection));
        Ok(connection)
    }

    /// The host at an address. Opened once.
    pub(crate) async fn reach(&self, address: Address) -> Result<Arc<Connection>> {
        let mut open = self.open.lock().await;
        let key = address.label();
        if let Some(connection) = open.get(&key) {
            return Ok(Arc::clone(connection));
        }
        let host = self.open(&address).await?;
        let connection = Arc::new(Connection { alias: address.alias, target: address.target, host });
        open.insert(key, Arc::clone(&connection));
        Ok(connection)
    }

    async fn open(&self, address: &Address) -> Result<Host> {
        let (clock, entropy) = (Arc::clone(&self.clock), Arc::clone(&self.entropy));
        connect::open(address, &self.directories.state, clock, entropy).await
    }

    /// The settings of connections that flags gave.
    pub(crate) fn connect_flags(&self) -> &ConnectOptions {
        &self.flags
    }

    /// How a person names a host that is reached over SSH: an alias, a target, or `[USER@]HOST[:PORT]`.
    pub(crate) fn ssh_place(&self, text: &str) -> Result<Address> {
        ssh::place(text, &self.flags, &self.settings)
    }

    /// The host of a target that a journal names.
    pub(crate) async fn at_target(&self, target: &str) -> Result<Arc<Connection>> {
        for connection in self.open.lock().await.values() {
            if connection.target.to_string() == target {
                return Ok(Arc::clone(connection));
            }
        }
        // The settings of the connection stand with the alias, which the journal does not know.
        let alias = self.settings.hosts.iter().find(|(_, host)| host.target.to_string() == target);
        if let Some((alias, _)) = alias {
            return self.at(Some(alias)).await;
        }
        let address = Address::parse(target, &self.flags, &self.settings)?;
        let host = self.open(&address).await?;
        Ok(Arc::new(Connection { alias: None, target: address.target, host }))
    }

    /// What plans are made with.
    pub(crate) fn plan_context(&self) -> PlanContext<'_> {
        PlanContext { policy: &self.settings.config.policy, entropy: &*self.entropy }
    }

    /// The policy for a command that was told what to do about risky images.
    pub(crate) fn policy(&self, accept_image: bool) -> Policy {
        let policy = self.settings.config.policy.clone();
        if accept_image { Policy { foreign_images: ForeignImages::Accept, ..policy } } else { policy }
    }

    /// Carries a plan out, and takes the moving line of its progress away afterwards.
    pub(crate) async fn carry_out(&self, connection: &Connection, plan: Plan) -> Result<Done> {
        let executor = self.executor()?;
        let begin = Instant::now();
        let result = executor.run(plan, self.run_context(connection)).await;
        self.progress.over();
        Ok(Done { outcome: result?, took: begin.elapsed() })
    }

    /// Carries out a plan that is made for the case that another host is gone.
    pub(crate) async fn carry_out_cut_off(&self, connection: &Connection, plan: Plan) -> Result<Done> {
        let executor = self.executor()?;
        let begin = Instant::now();
        let result = executor.run_cut_off(plan, self.run_context(connection)).await;
        self.progress.over();
        Ok(Done { outcome: result?, took: begin.elapsed() })
    }

    /// Finishes an interrupted operation one way or the other.
    pub(crate) async fn finish(&self, connection: &Connection, id: &OpId, direction: Direction) -> Result<Done> {
        let executor = self.executor()?;
        let begin = Instant::now();
        let result = executor.finish(id, direction, self.run_context(connection)).await;
        self.progress.over();
        Ok(Done { outcome: result?, took: begin.elapsed() })
    }

    fn run_context<'a>(&'a self, connection: &'a Connection) -> RunContext<'a> {
        RunContext { host: &connection.host, reporter: &self.progress, cancel: &self.cancel }
    }

    fn executor(&self) -> Result<Executor> {
        let peers = OpenPeers {
            open: Arc::clone(&self.open),
            settings: self.settings.clone(),
            state: self.directories.state.clone(),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
        };
        let catalogue = Catalogue::new()
            .with("vm.", kvm_vm::decode)
            .with("clone.", kvm_clone::decode)
            .with("backup.", kvm_clone::decode)
            .with("restore.", kvm_clone::decode)
            .with("vol.", kvm_vm::decode)
            .with("net.", kvm_vm::decode)
            .reaching(Arc::new(peers));
        let store = self.store()?;
        #[cfg(feature = "failpoints")]
        let store = crate::failpoint::journal(store);
        let executor = Executor::new(Arc::new(store), catalogue, environment::user());
        #[cfg(feature = "failpoints")]
        let executor = executor.with_hook(Arc::new(crate::failpoint::Steps));
        Ok(executor.with_time(Arc::clone(&self.clock), Arc::clone(&self.entropy)))
    }

    /// Where journals are kept; made when it is not there.
    pub(crate) fn store(&self) -> Result<FileStore> {
        FileStore::open(&self.directories.state)
    }

    /// Journals, unless nothing was ever changed: reading makes no directories.
    pub(crate) fn existing_store(&self) -> Result<Option<FileStore>> {
        match self.directories.state.join("operations").is_dir() {
            true => self.store().map(Some),
            false => Ok(None),
        }
    }

    /// Says which VM the command is about, so that an error of the host can be told as one about it.
    pub(crate) fn is_about(&self, vm: &str) {
        self.subject.get_or_init(|| vm.to_owned());
    }

    /// The VM that the command is about.
    pub(crate) fn subject(&self) -> Option<&str> {
        self.subject.get().map(String::as_str)
    }

    /// Leaves Ctrl-C to a child that has the terminal, until the guard is dropped.
    pub(crate) fn leave_signals_to_child(&self) -> ChildHasTerminal<'_> {
        self.child.store(true, Ordering::SeqCst);
        ChildHasTerminal(&self.child)
    }

    /// Whether a child has the terminal.
    pub(crate) fn child_has_terminal(&self) -> bool {
        self.child.load(Ordering::SeqCst)
    }
}

/// While it lives, Ctrl-C is a child's.
#[derive(Debug)]
pub(crate) struct ChildHasTerminal<'a>(&'a AtomicBool);

impl Drop for ChildHasTerminal<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}
