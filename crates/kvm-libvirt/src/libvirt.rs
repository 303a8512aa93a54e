//! The backend: two connections to one host.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use kvm_core::{ConnectOptions, Error, ErrorKind, Resource, Result, Target, VmId};
use tokio::time::{Instant, timeout};

use crate::config::{Address, Config};
use crate::ffi::event_loop;
use crate::hub::Hub;
use crate::lane::Lane;
use crate::task::{Failure, Subject, Task};
use crate::withdrawn::Withdrawn;

/// How often a lost connection is tried again: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// A host under libvirt. See the crate's documentation.
///
/// Cheap to share in an [`Arc`]; a [`Host`](kvm_core::Host) takes it three times.
pub struct Libvirt {
    pub(crate) address: Arc<Address>,
    pub(crate) config: Config,
    pub(crate) hub: Arc<Hub>,
    /// Questions and quick changes; also carries the events.
    pub(crate) calls: Arc<Lane>,
    /// What takes long. The same lane where a host has one connection only.
    pub(crate) jobs: Arc<Lane>,
    /// What leads to the host; it ends after the connections.
    _way: Option<Box<dyn AsRef<Path> + Send + Sync>>,
    pub(crate) withdrawn: Withdrawn,
}

impl Libvirt {
    /// Opens a connection. Must be called in a tokio runtime with its time enabled.
    ///
    /// `Unavailable` when nobody listens there, `Denied` when the socket, the login or one side's key is refused,
    /// `Timeout` when there is no answer within [`Config::connect_deadline`], `InvalidInput` for a mock, for options
    /// that do not fit the target, for a host over SSH, and for a broken node file. Source: `virConnectOpen`.
    pub async fn connect(target: &Target, options: &ConnectOptions, config: Config) -> Result<Arc<Self>> {
        Self::open(Address::new(target, options)?, None, config).await
    }

    /// Opens a host over SSH through a socket of this machine that leads to the libvirt there, such as a relay; it is kept
    /// as long as the backend. Whenever a connection is lost, the socket is connected to again. The target is how the host
    /// is called.
    ///
    /// Errors are those of [`connect`](Self::connect); `InvalidInput` for a target that is not over SSH.
    pub async fn connect_through(
        target: &Target,
        socket: impl AsRef<Path> + Send + Sync + 'static,
        config: Config,
    ) -> Result<Arc<Self>> {
        Self::open(Address::relayed(target, socket.as_ref())?, Some(Box::new(socket)), config).await
    }

    async fn open(
        address: Address,
        way: Option<Box<dyn AsRef<Path> + Send + Sync>>,
        config: Config,
    ) -> Result<Arc<Self>> {
        let address = Arc::new(address);
        event_loop::ensure_started()
            .map_err(|e| Error::new(ErrorKind::Unavailable, "libvirt's event loop cannot be started").with_source(e))?;
        let hub = Arc::new(Hub::default());
        let calls = Arc::new(Lane::new("libvirt-calls", Arc::clone(&address), config, Some(Arc::clone(&hub))));
        let jobs = if address.dies_with_connection() {
            Arc::clone(&calls)
        } else {
            Arc::new(Lane::new("libvirt-jobs", Arc::clone(&address), config, None))
        };
        calls.session(Instant::now() + config.connect_deadline).await?;
        Ok(Arc::new(Self { address, config, hub, calls, jobs, _way: way, withdrawn: Withdrawn::default() }))
    }

    /// The target in its canonical form.
    #[must_use]
    pub fn target(&self) -> &str {
        self.address.canonical()
    }

    /// Asks something that the host answers from what it knows.
    pub(crate) async fn ask<T, F>(&self, verb: &'static str, resource: Resource, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Task<'_>) -> Result<T, Failure> + Send + 'static,
    {
        self.calls.call(Subject::new(verb, resource), self.config.call_deadline, work).await
    }

    /// Has something done that may take long.
    pub(crate) async fn work<T, F>(&self, verb: &'static str, resource: Resource, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Task<'_>) -> Result<T, Failure> + Send + 'static,
    {
        self.jobs.call(Subject::new(verb, resource), self.config.job_deadline, work).await
    }

    /// The resource that stands for the host itself.
    pub(crate) fn host(&self) -> Resource {
        Resource::Host(self.target().into())
    }

    /// Keeps the connection up for as long as anybody listens to events.
    pub(crate) fn keep_connected(&self) {
        let (lane, hub) = (Arc::downgrade(&self.calls), Arc::clone(&self.hub));
        let limit = self.config.connect_deadline;
        drop(tokio::spawn(keep_connected(lane, hub, limit)));
    }
}

/// The resource of a machine of which only the uuid is known.
pub(crate) fn vm_resource(id: &VmId) -> Resource {
    Resource::Vm(id.to_string())
}

async fn keep_connected(lane: Weak<Lane>, hub: Arc<Hub>, limit: Duration) {
    let mut pause = BACKOFF.0;
    while hub.keep_on() {
        let connected = match lane.upgrade() {
            Some(lane) => lane.session(Instant::now() + limit).await.map(drop),
            None => return,
        };
        match connected {
            Ok(()) => {
                pause = BACKOFF.0;
                hub.disturbed().await;
            }
            Err(e) => {
                tracing::debug!(error = %e, "still not connected");
                // Whatever disturbs meanwhile is looked at now; otherwise the next try is due.
                let _ = timeout(pause, hub.disturbed()).await;
                pause = (pause * 2).min(BACKOFF.1);
            }
        }
    }
}

impl Drop for Libvirt {
    fn drop(&mut self) {
        self.hub.close();
    }
}

impl fmt::Debug for Libvirt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Libvirt").field(&self.target()).finish()
    }
}
