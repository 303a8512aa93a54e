//! The handle of a simulated host: how a call comes in, and the knobs for tests.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kvm_core::{
    Clock, Endpoint, Error, ErrorKind, Event, Host, HostName, MockWorld, PowerAction, Resource, Result, Target, VmId,
};
use tokio::sync::watch;

use crate::clock::elapsed;
use crate::console::Consoles;
use crate::fault::{Faults, Method};
use crate::machine::GuestAction;
use crate::migration::{Share, Traffic};
use crate::scenario::Scenario;
use crate::state::StateFile;
use crate::transport::{Programs, Sockets};
use crate::world::{Beginning, World};

/// The host's name as an operating system: nobody takes it for this machine, and no resolver knows it.
const NOWHERE: &str = "mock.invalid";

/// A simulated host.
///
/// It implements all traits of a backend; [`Mock::host`] bundles them. Clones are handles of the same host. What the
/// traits cannot say (faults, delays, what guests do by themselves, the record of calls) is said here.
#[derive(Clone, Debug)]
pub struct Mock(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    target: String,
    endpoint: Endpoint,
    clock: Arc<dyn Clock>,
    world: Mutex<World>,
    file: Option<StateFile>,
    /// The number of the next event; moves whenever there is one.
    changed: watch::Sender<u64>,
    pub(crate) held: watch::Sender<HashSet<PowerAction>>,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) latency: Mutex<Duration>,
    pub(crate) consoles: Consoles,
    pub(crate) programs: Programs,
    pub(crate) sockets: Sockets,
    pub(crate) traffic: watch::Sender<Traffic>,
    pub(crate) shares: Mutex<Vec<Share>>,
}

/// What a call does with the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Change,
}

/// What a subscriber sees when it looks.
pub(crate) struct Look {
    pub(crate) events: Vec<Event>,
    /// The number of the next event.
    pub(crate) end: u64,
    /// How long it is until something happens by itself.
    pub(crate) next_due: Option<Duration>,
}

impl Mock {
    /// A host without machines, pools or networks.
    pub fn empty(clock: Arc<dyn Clock>) -> Result<Self> {
        Self::open(&MockWorld::Empty, None, clock)
    }

    /// The host of `mock:///demo`: a dozen machines with disks, networks and a past.
    pub fn demo(clock: Arc<dyn Clock>) -> Result<Self> {
        Self::open(&MockWorld::Demo, None, clock)
    }

    /// Opens a simulated host.
    ///
    /// With a directory for state, the host is kept in a file below it, and all processes that open the same target
    /// there see the same host; deleting the file, or changing the scenario, begins anew. What is not part of the
    /// host (faults, delays, held transitions, scripted programs) stays with the handle. Without a directory, the
    /// host is gone with its last handle.
    ///
    /// Time is the clock's unless a scenario sets its own.
    ///
    /// A scenario file that is not there is `NotFound`, one that makes no sense `InvalidInput`. A damaged state file
    /// is `Corrupt`, one of another version `Unsupported`.
    pub fn open(world: &MockWorld, state_dir: Option<&Path>, clock: Arc<dyn Clock>) -> Result<Self> {
        let scenario = Scenario::of(world)?;
        let Beginning { world: beginning, faults, latency } = scenario.begin(clock.now())?;
        let file = state_dir
            .map(|dir| StateFile::open(&dir.join("mock"), scenario.state_name(), scenario.origin().to_owned()))
            .transpose()?;
        let mock = Self(Arc::new(Inner {
            target: Target::Mock(world.clone()).to_string(),
            endpoint: Endpoint::Ssh { user: None, host: HostName::parse(NOWHERE)?, port: None },
            clock,
            world: Mutex::new(beginning),
            file,
            changed: watch::Sender::new(0),
            held: watch::Sender::new(HashSet::new()),
            faults: Mutex::new(Faults::new(faults)),
            latency: Mutex::new(latency),
            consoles: Consoles::default(),
            programs: scenario.programs(),
            sockets: Sockets::default(),
            traffic: watch::Sender::new(Traffic::default()),
            shares: Mutex::default(),
        }));
        // A damaged state file is found now, not by the first call.
        mock.0.with(Access::Change, |_, _| Ok(()))?;
        Ok(mock)
    }

    /// All its parts as a bundle.
    #[must_use]
    pub fn host(&self) -> Host {
        Host {
            hypervisor: Arc::new(self.clone()),
            storage: Arc::new(self.clone()),
            networks: Arc::new(self.clone()),
            transport: Arc::new(self.clone()),
        }
    }

    pub(crate) fn target(&self) -> &str {
        &self.0.target
    }

    /// A call that only looks.
    pub(crate) async fn read<T>(
        &self,
        method: Method,
        subject: impl fmt::Display + Send,
        work: impl FnOnce(&World, Timestamp) -> Result<T> + Send,
    ) -> Result<T> {
        self.call(Access::Read, method, subject, |world, now| work(world, now)).await
    }

    /// A call that changes the world. `work` looks at everything that could stop it before it changes anything.
    pub(crate) async fn change<T>(
        &self,
        method: Method,
        subject: impl fmt::Display + Send,
        work: impl FnOnce(&mut World, Timestamp) -> Result<T> + Send,
    ) -> Result<T> {
        self.call(Access::Change, method, subject, work).await
    }

    async fn call<T>(
        &self,
        access: Access,
        method: Method,
        subject: impl fmt::Display + Send,
        work: impl FnOnce(&mut World, Timestamp) -> Result<T> + Send,
    ) -> Result<T> {
        let subject = subject.to_string();
        let latency = *locked(&self.0.latency);
        if !latency.is_zero() {
            self.0.clock.sleep(latency).await;
        }
        let named = |e: Error| e.during(method.as_str());
        let lost_answer = locked(&self.0.faults).enter(method, &subject).map_err(named)?;
        let result = self.0.with(access, |world, now| {
            if !world.events.is_connected() {
                return Err(Error::new(ErrorKind::Unavailable, "the connection is lost")
                    .on(Resource::Host(self.0.target.clone())));
            }
            work(world, now)
        });
        match lost_answer {
            Some(error) => result.and(Err(error)),
            None => result,
        }
        .map_err(named)
    }

    /// Whether a shutdown is to begin and not to end. Any other action that is held waits here until it is released.
    pub(crate) async fn pass_or_wait(&self, action: PowerAction) -> bool {
        let mut held = self.0.held.subscribe();
        if action == PowerAction::Shutdown {
            return held.borrow().contains(&action);
        }
        // The sender lives in `self`, so this ends only by release.
        let _ = held.wait_for(|held| !held.contains(&action)).await;
        false
    }
}

impl Inner {
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Tells when there are events, or when somebody is to look again.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Lets everybody look again who waits for a change.
    pub(crate) fn wake(&self) {
        self.changed.send_modify(|_| {});
    }

    /// Whether other processes may change the world.
    pub(crate) fn is_shared(&self) -> bool {
        self.file.is_some()
    }

    /// Brings the world to the present time, works on it, and keeps what has become of it.
    pub(crate) fn with<T>(&self, access: Access, work: impl FnOnce(&mut World, Timestamp) -> Result<T>) -> Result<T> {
        let mut world = locked(&self.world);
        let file = self.file.as_ref().map(StateFile::lock).transpose()?;
        if let Some(news) = file.as_ref().map(|file| file.news()).transpose()?.flatten() {
            *world = news;
        }
        let shares = locked(&self.shares).clone();
        let mut entered: Vec<_> = shares.iter().map(|share| share.enter(&mut world)).collect();
        let now = world.tick(self.clock.now());
        let settled = world.settle(now);
        let result = work(&mut world, now);
        shares.iter().zip(&mut entered).for_each(|(share, files)| share.leave(files, &world));
        if let Some(file) = file.filter(|_| settled || access == Access::Change || world.time.is_some()) {
            file.store(&world)?;
        }
        let end = world.events.end();
        self.changed.send_if_modified(|known| std::mem::replace(known, end) != end);
        result
    }

    /// Looks at the world outside of a call. `None` also when its state file cannot be read: calls tell why.
    pub(crate) fn peek<T>(&self, look: impl FnOnce(&World, Timestamp) -> Option<T>) -> Option<T> {
        self.with(Access::Read, |world, now| Ok(look(world, now))).ok().flatten()
    }

    /// The events from this number on.
    pub(crate) fn look(&self, since: u64) -> Look {
        let look = self.peek(|world, now| {
            let next_due = world.next_due().map(|due| elapsed(now, due));
            Some(Look { events: world.events.since(since), end: world.events.end(), next_due })
        });
        look.unwrap_or(Look { events: Vec::new(), end: since, next_due: None })
    }

    /// Lets a guest do something by itself.
    pub(crate) fn guest_acts(&self, id: &VmId, action: GuestAction) -> Result<()> {
        self.with(Access::Change, |world, now| {
            let changes = world.machine_mut(id)?.act(action, now)?;
            world.happened(id, changes, now);
            Ok(())
        })
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("target", &self.target).finish_non_exhaustive()
    }
}

/// A panic of another thread while it held the lock has left the world as it was before its call, or after it.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
