//! What is true on the simulated host: plain data that a state file can hold, and what time does to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use kvm_core::{
    Bytes, Error, ErrorKind, Event, FilterName, NetworkName, PoolName, Resource, Result, SecretId, VmChange, VmEvent,
    VmId, VmName,
};
use kvm_xml::Domain;
use serde::{Deserialize, Serialize};

use crate::clock::later;
use crate::document;
use crate::fault::Fault;
use crate::file::SparseFile;
use crate::filter::{self, Filter};
use crate::host_device::{self, HostDeviceMap};
use crate::machine::Machine;
use crate::network::Network;
use crate::secret::Secret;
use crate::storage::Pool;

/// So many events are kept for subscribers that have not fetched them yet.
const KEPT_EVENTS: usize = 512;

/// The simulated host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct World {
    pub(crate) host: HostFacts,
    pub(crate) machines: BTreeMap<VmId, Machine>,
    pub(crate) pools: BTreeMap<PoolName, Pool>,
    pub(crate) networks: BTreeMap<NetworkName, Network>,
    #[serde(default = "filter::usual")]
    pub(crate) filters: BTreeMap<FilterName, Filter>,
    #[serde(default = "host_device::usual")]
    pub(crate) host_devices: HostDeviceMap,
    #[serde(default)]
    pub(crate) secrets: BTreeMap<SecretId, Secret>,
    /// By absolute path: disk images, firmware variables, saved states, and what the transport wrote.
    pub(crate) files: BTreeMap<String, SparseFile>,
    /// Directories that somebody made. Others are there because something lies in them.
    #[serde(default)]
    pub(crate) directories: BTreeSet<String>,
    pub(crate) events: EventLog,
    pub(crate) counters: Counters,
    /// The time, where a scenario sets it; else it is the clock's.
    pub(crate) time: Option<ScenarioTime>,
}

/// Numbers that a host gives out and never again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counters {
    processes: u32,
    taps: u32,
}

impl Counters {
    /// The document of a machine that starts now.
    pub(crate) fn start(&mut self, config: &Domain) -> Domain {
        let number = self.process();
        document::started(config, number, &mut self.taps)
    }

    /// The number of a process that begins now.
    pub(crate) fn process(&mut self) -> u32 {
        self.processes += 1;
        self.processes
    }

    /// The name of the host's end of a network device that is plugged in now.
    pub(crate) fn tap(&mut self) -> String {
        self.taps += 1;
        format!("vnet{}", self.taps - 1)
    }
}

/// A time that moves by one step with each call, so that a scenario always tells the same story.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct ScenarioTime {
    pub(crate) now: Timestamp,
    pub(crate) step: Duration,
}

/// What the host says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HostFacts {
    pub(crate) name: String,
    pub(crate) cpus: u32,
    pub(crate) memory: Bytes,
    /// One when it was kept by a version that knew of none.
    #[serde(default)]
    pub(crate) numa_nodes: u8,
    /// Whether it can run a helper.
    #[serde(default)]
    pub(crate) helper: bool,
}

impl World {
    pub(crate) fn new(host: HostFacts) -> Self {
        Self {
            host,
            machines: BTreeMap::new(),
            pools: BTreeMap::new(),
            networks: BTreeMap::new(),
            filters: filter::usual(),
            host_devices: host_device::usual(),
            secrets: BTreeMap::new(),
            files: BTreeMap::new(),
            directories: BTreeSet::new(),
            events: EventLog::default(),
            counters: Counters::default(),
            time: None,
        }
    }

    /// The time of a call: the scenario's, which moves on, or the clock's.
    pub(crate) fn tick(&mut self, clock: Timestamp) -> Timestamp {
        let Some(time) = &mut self.time else { return clock };
        time.now = later(time.now, time.step);
        time.now
    }

    /// The machine with this uuid. `NotFound`.
    pub(crate) fn machine(&self, id: &VmId) -> Result<&Machine> {
        self.machines.get(id).ok_or_else(|| no_such_vm(id))
    }

    /// As [`machine`](Self::machine), to change it.
    pub(crate) fn machine_mut(&mut self, id: &VmId) -> Result<&mut Machine> {
        self.machines.get_mut(id).ok_or_else(|| no_such_vm(id))
    }

    /// The machine with this name.
    pub(crate) fn named(&self, name: &VmName) -> Option<(&VmId, &Machine)> {
        self.machines.iter().find(|(_, machine)| machine.name == *name)
    }

    /// All machines, sorted by name.
    pub(crate) fn by_name(&self) -> Vec<(&VmId, &Machine)> {
        let mut all: Vec<_> = self.machines.iter().collect();
        all.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        all
    }

    /// Records what happened to a machine, and lets go of what its process held when it ended.
    pub(crate) fn happened(&mut self, id: &VmId, changes: impl IntoIterator<Item = VmChange>, now: Timestamp) {
        for change in changes {
            self.record(id, change);
        }
        self.tidy(id, now);
    }

    /// Lets time have passed until now. Whether anything happened.
    pub(crate) fn settle(&mut self, now: Timestamp) -> bool {
        let mut happened: Vec<_> = self
            .machines
            .iter_mut()
            .flat_map(|(id, machine)| machine.settle(now).into_iter().map(|(at, change)| (at, *id, change)))
            .collect();
        happened.sort_by_key(|(at, ..)| *at);
        for (_, id, change) in &happened {
            self.record(id, *change);
        }
        for (at, id, _) in &happened {
            self.tidy(id, *at);
        }
        let is_over = self.settle_jobs(now);
        is_over || !happened.is_empty()
    }

    fn record(&mut self, id: &VmId, what: VmChange) {
        if let Some(machine) = self.machines.get(id) {
            self.events.push(Event::Vm(VmEvent { vm: *id, name: machine.name.clone(), what }));
        }
    }

    fn tidy(&mut self, id: &VmId, now: Timestamp) {
        let Some(machine) = self.machines.get(id).filter(|machine| machine.live.is_none()) else { return };
        for network in self.networks.values_mut() {
            network.unplugged(id, now);
        }
        if !machine.persistent {
            self.machines.remove(id);
        }
    }

    /// When something happens by itself next.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.machines.values().filter_map(Machine::next_due).min()
    }
}

fn no_such_vm(id: &VmId) -> Error {
    Error::new(ErrorKind::NotFound, "no such VM").on(Resource::Vm(id.to_string()))
}

/// The latest events, each with its number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EventLog {
    /// The number that the next event gets.
    next: u64,
    recent: VecDeque<Event>,
    /// While this is false nobody hears anything, as after a lost connection.
    connected: bool,
}

impl Default for EventLog {
    fn default() -> Self {
        Self { next: 0, recent: VecDeque::new(), connected: true }
    }
}

impl EventLog {
    pub(crate) fn push(&mut self, event: Event) {
        if !self.connected {
            return;
        }
        if self.recent.len() == KEPT_EVENTS {
            self.recent.pop_front();
        }
        self.recent.push_back(event);
        self.next += 1;
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected
    }

    /// Loses the connection, or gains it again; says so to subscribers when it is news.
    pub(crate) fn set_connected(&mut self, connected: bool) {
        if self.connected == connected {
            return;
        }
        // Said while there is a connection: nothing else is heard without one.
        self.connected = true;
        self.push(if connected { Event::Resynced } else { Event::Disconnected });
        self.connected = connected;
    }

    /// The number that the next event gets.
    pub(crate) fn end(&self) -> u64 {
        self.next
    }

    /// The events from this number on; first how many there were that are not kept any more.
    pub(crate) fn since(&self, number: u64) -> Vec<Event> {
        let oldest = self.next - self.recent.len() as u64;
        let missed = oldest.saturating_sub(number);
        let lagged = (missed > 0).then_some(Event::Lagged { missed });
        let skip = usize::try_from(number.saturating_sub(oldest)).unwrap_or(usize::MAX);
        lagged.into_iter().chain(self.recent.iter().skip(skip).cloned()).collect()
    }
}

/// A description of what a world is to be: the world and what belongs to the handle.
#[derive(Debug)]
pub(crate) struct Beginning {
    pub(crate) world: World,
    pub(crate) faults: Vec<Fault>,
    pub(crate) latency: Duration,
}
