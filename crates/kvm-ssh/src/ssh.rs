//! Another machine as a transport, over SSH.

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use kvm_core::{ByteStream, Bytes, Clock, Dial, Endpoint, Entropy, ErrorKind, FilePart, Output, Result, Transport};
use tokio::sync::Mutex;

mod algorithms;
mod client;
mod config;
mod dial;
mod error;
mod helper;
mod host_key;
mod identity;
mod known_hosts;
mod login;
mod options;
mod program;
mod prompt;
mod quote;
mod sftp;
mod trust;

pub use config::{SshAsker, SshConfig};
pub use host_key::{Fingerprint, HostKey};
pub use options::{AgentKeys, SshOptions, Timeouts};
pub use prompt::{Asked, Echo, NoPrompt, Prompt, Question, Secret};
pub use trust::{host_key, host_keys, knows_host_key, trust_host_key};

use client::Connection;
use error::host_error;
use helper::Settled;
use prompt::Answers;
use sftp::Sftp;

/// So many sessions with the helper are kept that nobody uses.
const KEPT: usize = 4;
/// How long one of them may have waited to be used again.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// Another machine, reached over SSH.
///
/// - **One connection for requests, one for each stream.** It is opened at the first call and again when it broke.
///   [`dial`](Transport::dial) logs in anew, so that a stream whose reader stops holds up nothing else. Passphrases and
///   passwords are asked for once.
/// - **The host must be known.** Its key is looked up in `known_hosts`, strictly: an unknown, changed or revoked key is
///   `Denied` with fingerprints in the detail. [`host_key`] and [`trust_host_key`] are for a person who decides.
/// - **Programs** are run through the user's login shell, because SSH has no other way. The words are quoted so that no
///   shell reads anything into them, and run in a cleared environment by `timeout` of the host's coreutils, which keeps
///   the deadline there, rounded up to a second. A program that nobody waits for any more is killed at once where the
///   server passes signals on; OpenSSH's does not for root, and there it runs until its deadline.
/// - **The helper** is put into a directory that nobody else can write to, under a name with its SHA-256, which is checked
///   at each start by the command line that starts it, on a connection of its own. Sessions that are given back go on with
///   the next one who wants one.
/// - **Files** go through the SFTP subsystem and are named by absolute paths in UTF-8. A link at the path of a file that
///   is written is replaced, not followed.
#[derive(Debug)]
pub struct SshTransport {
    options: SshOptions,
    endpoint: Endpoint,
    answers: Answers,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    control: Mutex<Option<Arc<Connection>>>,
    /// The helper as it lies on the host; held while it is looked for there.
    helper: Mutex<Option<Settled>>,
    /// Sessions with the helper that were given back.
    idle: std::sync::Mutex<Vec<Idle>>,
    /// One on which no stream was opened, for the next.
    spare: Mutex<Option<Connection>>,
}

impl SshTransport {
    /// A way to this host. Nothing is connected yet.
    #[must_use]
    pub fn new(options: SshOptions, prompt: Arc<dyn Prompt>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let endpoint =
            Endpoint::Ssh { user: Some(options.user.clone()), host: options.host.clone(), port: Some(options.port) };
        Self {
            options,
            endpoint,
            answers: Answers::new(prompt),
            clock,
            entropy,
            control: Mutex::new(None),
            helper: Mutex::default(),
            idle: std::sync::Mutex::default(),
            spare: Mutex::new(None),
        }
    }

    /// Logs in, if nobody is logged in yet, so that trouble shows before there is work. `Denied` when the host is not
    /// known or takes no login, `Unavailable` and `Timeout` when it cannot be reached.
    pub async fn connect(&self) -> Result<()> {
        self.control().await.map(drop)
    }

    /// The connection for requests, opened when there is none that works.
    async fn control(&self) -> Result<Arc<Connection>> {
        let mut control = self.control.lock().await;
        if let Some(connection) = control.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        let connection = self.fresh().await?;
        Ok(Arc::clone(control.insert(Arc::new(connection))))
    }

    /// A connection on which there is nothing yet.
    async fn fresh(&self) -> Result<Connection> {
        let spare = self.spare.lock().await.take().filter(|connection| !connection.is_closed());
        match spare {
            Some(connection) => Ok(connection),
            None => Connection::open(&self.options, &self.answers, &*self.clock).await,
        }
    }

    /// Starts the helper, put there before where it is not, or in any case; `None` when what lies there is not it.
    async fn start(
        &self,
        program: &helper::Program,
        control: &Arc<Connection>,
        anew: bool,
    ) -> Result<Option<Box<dyn ByteStream>>> {
        let settled = async {
            // One at a time, so that it is put there once.
            let mut settled = self.helper.lock().await;
            if anew || !settled.as_ref().is_some_and(|settled| settled.is(program)) {
                let directory = self.options.helper_directory.as_deref();
                *settled = Some(program.settle(control, directory, anew, &*self.entropy).await?);
            }
            Ok(settled.clone())
        };
        let (settled, connection) = tokio::try_join!(settled, self.fresh())?;
        match settled {
            Some(settled) => helper::Program::start(connection, &settled).await,
            None => Ok(None),
        }
    }

    /// A session that was given back a moment ago. One that has waited for longer may lead nowhere by now.
    fn take_idle(&self) -> Option<Box<dyn ByteStream>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|idle| idle.since.elapsed() < KEPT_FOR);
        idle.pop().map(|idle| idle.stream)
    }
}

/// A session with the helper that nobody uses.
struct Idle {
    stream: Box<dyn ByteStream>,
    since: Instant,
}

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Idle({:?})", self.since)
    }
}

#[async_trait]
impl Transport for SshTransport {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn run(&self, argv: &[&str], timeout: Duration) -> Result<Output> {
        program::run(self.control().await?, argv, timeout).await
    }

    async fn dial(&self, to: &Dial) -> Result<Box<dyn ByteStream>> {
        let connection = self.fresh().await?;
        match dial::channel(&connection, to).await {
            Ok(channel) => Ok(dial::stream(channel, connection)),
            Err(e) => {
                // The login was not in vain: whoever tries another socket goes on with it.
                *self.spare.lock().await = Some(connection);
                Err(e)
            }
        }
    }

    async fn helper(&self) -> Result<Box<dyn ByteStream>> {
        if let Some(idle) = self.take_idle() {
            return Ok(idle);
        }
        let (program, control) = (helper::Program::read(&self.options).await?, self.control().await?);
        if let Some(stream) = self.start(&program, &control, false).await? {
            return Ok(stream);
        }
        let unlike = || host_error(ErrorKind::Corrupt, control.shown(), "has not kept the helper as it was written");
        self.start(&program, &control, true).await?.ok_or_else(unlike)
    }

    fn keep_helper(&self, session: Box<dyn ByteStream>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(Idle { stream: session, since: Instant::now() });
        }
    }

    fn stall(&self) -> Duration {
        self.options.timeouts.stall
    }

    async fn read_file(&self, path: &Path, limit: Bytes) -> Result<Vec<u8>> {
        sftp::checked(path)?;
        Sftp::open(&*self.control().await?).await?.read(path, limit).await
    }

    async fn read_part(&self, path: &Path, offset: u64, length: Bytes) -> Result<FilePart> {
        sftp::checked(path)?;
        Sftp::open(&*self.control().await?).await?.read_part(path, offset, length).await
    }

    async fn write_file(&self, path: &Path, data: &[u8], mode: u32) -> Result<()> {
        sftp::checked(path)?;
        Sftp::open(&*self.control().await?).await?.write(path, data, mode, &*self.entropy).await
    }

    async fn remove_file(&self, path: &Path) -> Result<()> {
        sftp::checked(path)?;
        Sftp::open(&*self.control().await?).await?.remove(path).await
    }
}
