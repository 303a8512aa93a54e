//! One machine of the simulated host.
//!
//! ```text
//!            start                  suspend
//!   Off ───────────────▶ Running ───────────▶ Paused
//!    ▲ ▲                 │ │ │ ▲ ◀─────────── resume
//!    │ │   power-off     │ │ │ │
//!    │ └─────────────────┘ │ │ └─ start (restores)
//!    │ the guest obeys     │ └──▶ Saved
//!    ├─────────────────────┤ save
//!    └─── ShuttingDown ◀───┘ the guest obeys, but the transition is held
//! ```
//!
//! Nothing here waits: what a guest does by itself is due when it has *run* for so long, and happens as soon as
//! somebody looks ([`Machine::settle`]). A paused guest does nothing, and does not age.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use kvm_core::{
    DeviceRef, Error, ErrorKind, MacAddr, PowerAction, Result, SnapshotName, VmChange, VmName, VmState, Which,
};
use kvm_xml::Domain;
use serde::{Deserialize, Serialize};

use crate::agent::{AgentAnswer, AgentSession, GuestFiles};
use crate::block_job::Job;
use crate::checkpoint::Checkpoint;
use crate::clock::{elapsed, later};
use crate::document;
use crate::snapshot::{Left, Snapshot, Stray};

/// A machine: its documents, its power state, and the guest inside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) name: VmName,
    /// What the next start uses.
    #[serde(with = "document::text")]
    pub(crate) config: Domain,
    /// Whether the definition outlives a power-off.
    pub(crate) persistent: bool,
    pub(crate) autostart: bool,
    pub(crate) live: Option<Live>,
    pub(crate) saved: Option<Live>,
    /// In the order in which they were made, so parents come before children.
    pub(crate) snapshots: Vec<Snapshot>,
    /// The one that the machine was last put to.
    #[serde(default)]
    pub(crate) current_snapshot: Option<SnapshotName>,
    pub(crate) checkpoints: Vec<Checkpoint>,
    pub(crate) guest: GuestModel,
    /// What the guest has written.
    #[serde(default)]
    pub(crate) files: GuestFiles,
}

/// What exists only while a machine has a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Live {
    #[serde(with = "document::text")]
    pub(crate) document: Domain,
    condition: Condition,
    /// How long the virtual CPUs have run.
    ran: Stopwatch,
    /// What `ran` showed when the guest booted last.
    booted_at: Duration,
    agent_answers: bool,
    task: Option<Task>,
    /// Devices that the guest was asked for, in the order of the requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unplugging: Vec<Unplug>,
    /// What is under way on disks, by their targets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) jobs: BTreeMap<String, Job>,
    /// Overlays that the process is in and the document does not name, by the targets of their disks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) strays: BTreeMap<String, Stray>,
    /// Overlays that the process has left and the document names, by the targets of their disks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) left: BTreeMap<String, Left>,
    /// What the agent holds until the guest boots again.
    #[serde(default)]
    agent: AgentSession,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Condition {
    Running,
    Paused,
    ShuttingDown,
    Crashed,
    PmSuspended,
}

/// What a guest was asked to do, and how long it has to run until it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Task {
    at: Duration,
    what: Request,
}

/// A device that a guest was asked for, and how long it has to run until it gives it up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Unplug {
    at: Duration,
    device: DeviceRef,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Request {
    ShutDown,
    Reboot,
}

/// How the system inside a machine behaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct GuestModel {
    /// From the start to the login prompt, the addresses and the agent.
    pub(crate) boots_in: Duration,
    /// From a request to shut down, to reboot or to give up a device until it has done so; `None` for a guest that does
    /// not listen.
    pub(crate) obeys_in: Option<Duration>,
    /// Whether an agent is installed. It answers only through a channel of the document.
    pub(crate) has_agent: bool,
    /// Part of its virtual CPUs' time that it uses, on average.
    pub(crate) load: f64,
    /// Addresses that it gave itself, by network device; others come from the DHCP server of a network.
    #[serde(default)]
    pub(crate) addresses: BTreeMap<MacAddr, IpAddr>,
    /// What its agent answers.
    #[serde(default)]
    pub(crate) answer: AgentAnswer,
}

impl Default for GuestModel {
    fn default() -> Self {
        Self {
            boots_in: Duration::from_secs(3),
            obeys_in: Some(Duration::from_secs(2)),
            has_agent: true,
            load: 0.05,
            addresses: BTreeMap::new(),
            answer: AgentAnswer::Honest,
        }
    }
}

/// Something that a guest, or its process, does without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuestAction {
    /// It shuts itself down.
    ShutDown,
    /// It reboots itself.
    Reboot,
    /// It, or its process, dies. With `on_crash` `preserve` the machine stays as crashed, else it is off.
    Crash,
    /// A write fails because the disk is full: the hypervisor pauses it.
    IoError,
    /// It suspends itself to memory.
    SuspendToMemory,
}

/// Changes, each with its time.
pub(crate) type Changes = Vec<(Timestamp, VmChange)>;

impl Machine {
    pub(crate) fn new(name: VmName, config: Domain, guest: GuestModel) -> Self {
        Self {
            name,
            config,
            persistent: true,
            autostart: false,
            live: None,
            saved: None,
            snapshots: Vec::new(),
            current_snapshot: None,
            checkpoints: Vec::new(),
            guest,
            files: GuestFiles::default(),
        }
    }

    pub(crate) fn state(&self) -> VmState {
        match (&self.live, &self.saved) {
            (Some(live), _) => match live.condition {
                Condition::Running => VmState::Running,
                Condition::Paused => VmState::Paused,
                Condition::ShuttingDown => VmState::ShuttingDown,
                Condition::Crashed => VmState::Crashed,
                Condition::PmSuspended => VmState::PmSuspended,
            },
            (None, Some(_)) => VmState::Saved,
            (None, None) => VmState::Off,
        }
    }

    /// What runs now, else what the next start would run.
    pub(crate) fn current(&self) -> &Domain {
        self.live.as_ref().map_or(&self.config, |live| &live.document)
    }

    /// Fails with `InvalidState` unless the machine has a process.
    pub(crate) fn running(&self) -> Result<&Live> {
        self.live.as_ref().ok_or_else(|| self.not_in_state("has to run for that"))
    }

    /// As [`running`](Self::running), to change it.
    pub(crate) fn running_mut(&mut self) -> Result<&mut Live> {
        self.running()?;
        self.live.as_mut().ok_or_else(|| Error::internal("the VM runs and does not"))
    }

    /// The document that a change is to reach. `InvalidState` when there is none.
    pub(crate) fn document(&self, which: Which) -> Result<&Domain> {
        match which {
            Which::Live => self.running().map(|live| &live.document),
            Which::Config if self.persistent => Ok(&self.config),
            Which::Config => Err(self.not_in_state("is transient and has no configuration")),
        }
    }

    /// As [`document`](Self::document), to change it.
    pub(crate) fn document_mut(&mut self, which: Which) -> Result<&mut Domain> {
        self.document(which)?;
        match (which, &mut self.live) {
            (Which::Live, Some(live)) => Ok(&mut live.document),
            _ => Ok(&mut self.config),
        }
    }

    /// Asks the guest for a device.
    pub(crate) fn unplug(&mut self, device: &DeviceRef, now: Timestamp) -> Vec<VmChange> {
        let (Some(live), Some(wait)) = (&mut self.live, self.guest.obeys_in) else { return Vec::new() };
        if live.unplugging.iter().all(|asked| asked.device != *device) {
            let at = live.ran.shows(now).saturating_add(wait);
            live.unplugging.push(Unplug { at, device: device.clone() });
        }
        self.settle(now).into_iter().map(|(_, change)| change).collect()
    }

    /// The guest gives up the device that it was asked for first.
    fn give_up(&mut self) -> Vec<VmChange> {
        let Some(live) = self.live.as_mut().filter(|live| !live.unplugging.is_empty()) else { return Vec::new() };
        let Unplug { device, .. } = live.unplugging.remove(0);
        device.take_out(&mut live.document);
        vec![VmChange::DeviceRemoved]
    }

    fn not_in_state(&self, why: &str) -> Error {
        Error::new(ErrorKind::InvalidState, format!("VM {why}")).with_detail(format!("it is {}", self.state()))
    }

    /// How long the guest has run since the start; `None` when it is off.
    pub(crate) fn ran(&self, now: Timestamp) -> Option<Duration> {
        self.live.as_ref().map(|live| live.ran.shows(now))
    }

    /// How long the guest has run since it booted last, and when in that time the boot is over.
    pub(crate) fn boot_progress(&self, now: Timestamp) -> Option<Duration> {
        self.live.as_ref().map(|live| live.ran.shows(now).saturating_sub(live.booted_at))
    }

    /// Whether the system inside is up.
    pub(crate) fn has_booted(&self, now: Timestamp) -> bool {
        self.boot_progress(now).is_some_and(|so_far| so_far >= self.guest.boots_in)
    }

    /// When the guest will have run for so long since its boot, if it goes on.
    pub(crate) fn boot_reaches(&self, progress: Duration) -> Option<Timestamp> {
        let live = self.live.as_ref()?;
        live.ran.when(live.booted_at.saturating_add(progress))
    }

    /// Whether the agent inside answers.
    pub(crate) fn agent_answers(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.agent_answers && live.condition == Condition::Running)
    }

    /// What the agent holds, with how long the guest has run and what it has written. `None` when it is off.
    pub(crate) fn inside(&mut self, now: Timestamp) -> Option<(&mut AgentSession, Duration, &mut GuestFiles)> {
        let live = self.live.as_mut()?;
        let ran = live.ran.shows(now);
        Some((&mut live.agent, ran, &mut self.files))
    }

    /// Does what was asked, or accepts it for the guest to do. `live` is the document with which a start begins; with
    /// `hold` a shutdown begins at once and ends with [`release`](Self::release).
    ///
    /// The events come in the order in which QEMU's driver gives them.
    pub(crate) fn power(
        &mut self,
        action: PowerAction,
        live: impl FnOnce(&Domain) -> Domain,
        hold: bool,
        now: Timestamp,
    ) -> Result<Vec<VmChange>> {
        use PowerAction as A;
        use VmState as S;
        Ok(match (action, self.state()) {
            (A::Start | A::StartPaused, S::Off) => {
                let document = live(&self.config);
                let paused = action == A::StartPaused;
                self.live = Some(Live::begin(document, paused, now));
                if paused {
                    vec![VmChange::Started, VmChange::Suspended]
                } else {
                    vec![VmChange::Resumed, VmChange::Started]
                }
            }
            (A::Start | A::StartPaused, S::Saved) => self.restore(action == A::StartPaused, now),
            (A::Shutdown, S::Running) => self.ask(Request::ShutDown, hold, now),
            (A::Reboot, S::Running | S::Paused) => self.ask(Request::Reboot, false, now),
            (A::PowerOff, state) if state.is_active() => {
                self.stop();
                vec![VmChange::ShutDown, VmChange::PoweredOff]
            }
            (A::Reset, S::Running | S::Paused | S::Crashed) => self.boot_again(now),
            (A::Suspend, S::Running) => {
                self.freeze(Condition::Paused, now);
                vec![VmChange::Suspended]
            }
            (A::Resume, S::Paused) => {
                if let Some(live) = &mut self.live {
                    live.condition = Condition::Running;
                    live.ran.start(now);
                }
                vec![VmChange::Resumed]
            }
            (A::Save, state @ (S::Running | S::Paused)) => {
                let mut live = self.live.take();
                if let Some(live) = &mut live {
                    live.ran.stop(now);
                    live.agent_answers = false;
                }
                self.saved = live;
                let frozen = (state == S::Running).then_some(VmChange::Suspended);
                frozen.into_iter().chain([VmChange::ShutDown, VmChange::Saved]).collect()
            }
            (A::DiscardSaved, S::Saved) => {
                self.saved = None;
                Vec::new()
            }
            (action, _) => return Err(self.not_in_state(&format!("cannot {action} now"))),
        })
    }

    /// What runs, as its memory can be kept.
    pub(crate) fn memory(&self, now: Timestamp) -> Option<Live> {
        let mut live = self.live.clone()?;
        live.ran.stop(now);
        live.agent_answers = false;
        Some(live)
    }

    /// Runs on from memory that was kept, or stops. `paused` overrules what the machine did then.
    pub(crate) fn put_to(&mut self, memory: Option<Live>, paused: Option<bool>, now: Timestamp) -> Vec<VmChange> {
        let ran = self.live.take().is_some();
        self.saved = None;
        let mut changes = if ran { vec![VmChange::PoweredOff] } else { Vec::new() };
        if let Some(memory) = memory {
            self.saved = Some(memory);
            if paused == Some(false)
                && let Some(saved) = &mut self.saved
            {
                saved.condition = Condition::Running;
            }
            changes.extend(self.restore(paused == Some(true), now));
        }
        changes
    }

    fn restore(&mut self, paused: bool, now: Timestamp) -> Vec<VmChange> {
        let Some(mut live) = self.saved.take() else { return Vec::new() };
        if paused {
            live.condition = Condition::Paused;
        }
        let goes_on = live.condition == Condition::Running;
        if goes_on {
            live.ran.start(now);
        }
        self.live = Some(live);
        vec![VmChange::Restored, if goes_on { VmChange::Resumed } else { VmChange::Suspended }]
    }

    /// Passes a request to the guest. A held shutdown begins and does not end.
    fn ask(&mut self, what: Request, hold: bool, now: Timestamp) -> Vec<VmChange> {
        let obeys_in = self.guest.obeys_in;
        if let Some(live) = &mut self.live {
            if hold {
                live.condition = Condition::ShuttingDown;
            } else {
                let at = obeys_in.map(|wait| live.ran.shows(now).saturating_add(wait));
                let asked = at.map(|at| Task { at, what });
                // The first request counts: pressing the button again does not begin anew. But a shutdown goes before
                // a reboot, which would only delay it.
                let goes_on = live.task.filter(|task| task.what == what || task.what == Request::ShutDown);
                live.task = goes_on.or(asked);
            }
        }
        // Without a delay it has happened when the request is answered.
        self.settle(now).into_iter().map(|(_, change)| change).collect()
    }

    /// Ends a shutdown that was held.
    pub(crate) fn release(&mut self) -> Vec<VmChange> {
        match self.state() {
            VmState::ShuttingDown => self.finish_shutdown(),
            _ => Vec::new(),
        }
    }

    /// Does what is due by now.
    pub(crate) fn settle(&mut self, now: Timestamp) -> Changes {
        let mut changes = Vec::new();
        while let Some((at, what)) = self.next().filter(|(at, _)| *at <= now) {
            let happened = match what {
                Due::Agent => {
                    if let Some(live) = &mut self.live {
                        live.agent_answers = true;
                    }
                    vec![VmChange::AgentConnected]
                }
                Due::Unplug => self.give_up(),
                Due::Request(Request::ShutDown) => self.finish_shutdown(),
                Due::Request(Request::Reboot) => self.boot_again(at),
            };
            changes.extend(happened.into_iter().map(|change| (at, change)));
        }
        changes
    }

    /// When the guest does something by itself next, if nobody interferes.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.next().map(|(at, _)| at)
    }

    fn next(&self) -> Option<(Timestamp, Due)> {
        let live = self.live.as_ref().filter(|live| live.condition == Condition::Running)?;
        let boots = live.booted_at.saturating_add(self.guest.boots_in);
        let agent = self.guest.has_agent && !live.agent_answers && document::has_agent_channel(&live.document);
        let agent = agent.then(|| live.ran.when(boots)).flatten().map(|at| (at, Due::Agent));
        let task = live.task.and_then(|task| Some((live.ran.when(task.at)?, Due::Request(task.what))));
        let unplug = live.unplugging.first().and_then(|asked| Some((live.ran.when(asked.at)?, Due::Unplug)));
        [agent, unplug, task].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Does what a guest does by itself. `InvalidState` when it does not run.
    pub(crate) fn act(&mut self, action: GuestAction, now: Timestamp) -> Result<Vec<VmChange>> {
        if self.state() != VmState::Running {
            return Err(self.not_in_state("has to run for that"));
        }
        Ok(match action {
            GuestAction::ShutDown => self.finish_shutdown(),
            GuestAction::Reboot => self.boot_again(now),
            GuestAction::Crash if document::keeps_crashed(self.current()) => {
                self.freeze(Condition::Crashed, now);
                vec![VmChange::Crashed]
            }
            GuestAction::Crash => {
                self.stop();
                vec![VmChange::Crashed]
            }
            GuestAction::IoError => {
                self.freeze(Condition::Paused, now);
                vec![VmChange::SuspendedOnIoError]
            }
            GuestAction::SuspendToMemory => {
                self.freeze(Condition::PmSuspended, now);
                vec![VmChange::PmSuspended]
            }
        })
    }

    fn freeze(&mut self, condition: Condition, now: Timestamp) {
        if let Some(live) = &mut self.live {
            live.condition = condition;
            live.ran.stop(now);
        }
    }

    fn boot_again(&mut self, now: Timestamp) -> Vec<VmChange> {
        let Some(live) = &mut self.live else { return Vec::new() };
        live.booted_at = live.ran.shows(now);
        live.task = None;
        live.agent = AgentSession::default();
        let lost_agent = std::mem::take(&mut live.agent_answers);
        if live.condition == Condition::Crashed {
            live.condition = Condition::Paused;
        }
        let mut changes = vec![VmChange::Rebooted];
        if lost_agent {
            changes.push(VmChange::AgentDisconnected);
        }
        changes
    }

    fn finish_shutdown(&mut self) -> Vec<VmChange> {
        self.stop();
        vec![VmChange::ShutDown, VmChange::Stopped]
    }

    fn stop(&mut self) {
        self.live = None;
    }

    /// Stops the virtual CPUs of a machine that is about to run elsewhere.
    pub(crate) fn halt(&mut self, now: Timestamp) -> Vec<VmChange> {
        if self.state() != VmState::Running {
            return Vec::new();
        }
        self.freeze(Condition::Paused, now);
        vec![VmChange::Suspended]
    }

    /// Lets the virtual CPUs go on that were stopped in this state.
    pub(crate) fn thaw(&mut self, state: VmState, now: Timestamp) -> Vec<VmChange> {
        match (state, &mut self.live) {
            (VmState::Running, Some(live)) if live.condition == Condition::Paused => {
                live.condition = Condition::Running;
                live.ran.start(now);
                vec![VmChange::Resumed]
            }
            _ => Vec::new(),
        }
    }
}

enum Due {
    Agent,
    Unplug,
    Request(Request),
}

impl Live {
    fn begin(document: Domain, paused: bool, now: Timestamp) -> Self {
        let mut ran = Stopwatch::default();
        if !paused {
            ran.start(now);
        }
        Self {
            document,
            condition: if paused { Condition::Paused } else { Condition::Running },
            ran,
            booted_at: Duration::ZERO,
            agent_answers: false,
            task: None,
            unplugging: Vec::new(),
            jobs: BTreeMap::new(),
            strays: BTreeMap::new(),
            left: BTreeMap::new(),
            agent: AgentSession::default(),
        }
    }
}

/// Adds up the time during which it runs.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Stopwatch {
    before: Duration,
    since: Option<Timestamp>,
}

impl Stopwatch {
    fn start(&mut self, now: Timestamp) {
        self.since.get_or_insert(now);
    }

    fn stop(&mut self, now: Timestamp) {
        *self = Self { before: self.shows(now), since: None };
    }

    fn shows(&self, now: Timestamp) -> Duration {
        self.since.map_or(self.before, |since| self.before.saturating_add(elapsed(since, now)))
    }

    /// When it shows this much; `None` while it stands.
    fn when(&self, reading: Duration) -> Option<Timestamp> {
        self.since.map(|since| later(since, reading.saturating_sub(self.before)))
    }
}
