//! Moving machines to other hosts: what could go wrong is looked at first, and what will happen is a plan.

use std::num::NonZeroU8;
use std::time::Duration;

use kvm_core::op::{LockKey, Peer, Plan, PlanLine, Step};
use kvm_core::{
    Bandwidth, Capabilities, DefinitionPlace, Entropy, Error, ErrorKind, Host, HostName, Migration, MigrationMode,
    MigrationSpec, Resource, Result, Route, Target, VmSummary,
};
use kvm_xml::value::DiskName;
use serde::{Deserialize, Serialize};

use crate::copying::check_not_copied;
use crate::step::{AtPeer, Ends, LeaveSource, Migrate, ProveApart, RemoveVariables, SetAutostart};

mod finding;
mod machine;
mod network;
mod route;
mod storage;
mod variables;

pub use finding::{Check, Finding, Verdict};
use storage::Storage;
use variables::Variables;

/// What was under way when a preflight refused, so that a surface can say how to see all of it.
pub(crate) const PREFLIGHT: &str = "preflight";

/// How a machine is to be moved; the default moves it as it is, on storage that both hosts share, with its definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrateOptions {
    /// While it runs or while it is off; `None` is as it is now.
    pub mode: Option<MigrationMode>,
    /// What becomes of its disks.
    pub storage: DiskTransfer,
    /// Who leads.
    pub lead: Lead,
    /// The destination as the source reaches it, where that differs from how it is reached from here.
    pub peer: Option<Target>,
    /// The destination's address for the data; else the name that it has for itself.
    pub data_host: Option<HostName>,
    /// Where the definition is afterwards.
    pub definition: DefinitionPlace,
    /// Whether memory and disks are encrypted on their way.
    pub tls: bool,
    /// Most bytes per second.
    pub bandwidth: Bandwidth,
    /// How long it may stand still at the end.
    pub max_downtime: Option<Duration>,
    /// Whether virtual CPUs that dirty memory faster than it is sent are slowed down.
    pub auto_converge: bool,
    /// So many connections at a time for the memory.
    pub connections: Option<NonZeroU8>,
    /// What happens when it takes too long.
    pub timeout: Option<MigrationTimeout>,
}

impl Default for MigrateOptions {
    fn default() -> Self {
        Self {
            mode: None,
            storage: DiskTransfer::Shared,
            lead: Lead::Auto,
            peer: None,
            data_host: None,
            definition: DefinitionPlace::Destination,
            tls: false,
            bandwidth: Bandwidth::UNLIMITED,
            max_downtime: None,
            auto_converge: false,
            connections: None,
            timeout: None,
        }
    }
}

/// What becomes of a machine's disks when it moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskTransfer {
    /// Both hosts have them, under the same paths.
    Shared,
    /// All that can be written to are copied.
    Copy,
    /// These are copied, all others are shared.
    CopyOnly(Vec<DiskName>),
}

/// Who leads a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lead {
    /// This program, since it is connected to both hosts anyway: then the hosts need no keys for each other.
    Auto,
    /// This program. When it ends before the migration does, the machine stays where it is.
    Client,
    /// The source, which logs in at the destination by itself and goes on without this program.
    Source,
    /// As [`Source`](Self::Source), with the memory in the same connection: no other port is needed.
    Tunnel,
}

/// What happens to a migration that takes too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationTimeout {
    /// So long is not too long.
    pub after: Duration,
    /// What happens then.
    pub then: AtTimeout,
}

/// What happens to a migration that takes too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AtTimeout {
    /// It is given up; the machine stays.
    Cancel,
    /// The machine stands still until it is there, so that the end comes.
    Suspend,
    /// It runs there at once, and fetches its memory as it needs it.
    PostCopy,
}

/// What a look at both hosts found, and the plan that follows from it.
#[derive(Debug)]
pub struct Preflight {
    findings: Vec<Finding>,
    draft: Draft,
}

/// What the plan is made of.
#[derive(Debug)]
struct Draft {
    vm: VmSummary,
    source: Capabilities,
    destination: Capabilities,
    spec: MigrationSpec,
    timeout: Option<MigrationTimeout>,
    storage: Storage,
    variables: Option<Variables>,
}

/// The family of a host. `Unsupported` when it has none.
pub(crate) fn facet(host: &Host) -> Result<&dyn Migration> {
    let missing = || Error::new(ErrorKind::Unsupported, "this host cannot move machines");
    host.hypervisor.migration().ok_or_else(missing)
}

/// What checks look at.
struct Subject<'a> {
    source: &'a Host,
    destination: &'a Host,
    here: &'a Capabilities,
    there: &'a Capabilities,
    vm: &'a VmSummary,
    document: &'a kvm_xml::Domain,
    mode: MigrationMode,
    options: &'a MigrateOptions,
}

/// Looks at both hosts, changes nothing, and says of each thing that matters whether it is fine.
///
/// `Unsupported` when one of the hosts moves no machines at all; other errors when one of them does not answer. What
/// stands in the way of this machine is no error here but a [`Finding`].
pub async fn preflight(
    source: &Host,
    destination: &Host,
    vm: &VmSummary,
    options: &MigrateOptions,
    entropy: &dyn Entropy,
) -> Result<Preflight> {
    facet(source)?;
    facet(destination)?;
    check_not_copied(source, vm).await?;
    let (here, there) = (source.hypervisor.capabilities().await?, destination.hypervisor.capabilities().await?);
    let is_live = vm.state.is_active();
    let mode = options.mode.unwrap_or(if is_live { MigrationMode::Live } else { MigrationMode::Offline });
    let view = if is_live { kvm_core::View::LIVE } else { kvm_core::View::CONFIG };
    let document = source.hypervisor.definition(&vm.id, view).await?;
    let subject = Subject { source, destination, here: &here, there: &there, vm, document: &document, mode, options };
    let mut findings = machine::check(&subject).await?;
    findings.extend(network::check(&subject).await?);
    let storage = storage::check(&subject, entropy, &mut findings).await?;
    let route = route::choose(&subject, &storage, &mut findings);
    let spec = MigrationSpec {
        mode,
        route,
        definition: options.definition,
        copy: storage.copied.clone(),
        data_host: options.data_host.clone(),
        tls: options.tls,
        bandwidth: options.bandwidth,
        max_downtime: options.max_downtime,
        auto_converge: options.auto_converge,
        post_copy: options.timeout.is_some_and(|timeout| timeout.then == AtTimeout::PostCopy),
        connections: options.connections,
    };
    let variables = variables::check(&subject).await?;
    let (vm, timeout) = (vm.clone(), options.timeout);
    let draft = Draft { vm, spec, timeout, storage, variables, source: here, destination: there };
    Ok(Preflight { findings, draft })
}

impl Preflight {
    /// What was found, in the order in which it is told.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What stands in the way.
    pub fn refusals(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.verdict == Verdict::Refusal)
    }

    /// Plans the move.
    ///
    /// New images on the destination are made by the plan, and taken away again when it goes wrong. The step that moves
    /// the machine is the point of no return; what follows sees to it that one host has it, and one alone.
    ///
    /// `InvalidState` when something stands in the way.
    pub fn into_plan(self) -> Result<Plan> {
        let refusals: Vec<_> = self.refusals().map(Finding::sentence).collect();
        let Draft { vm, source, destination, spec, timeout, storage, variables } = self.draft;
        if !refusals.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidState,
                format!("VM {} cannot move to {}", vm.name, destination.target),
            )
            .on(Resource::Vm(vm.name.as_str().to_owned()))
            .during(PREFLIGHT)
            .with_detail(refusals.join("\n")));
        }
        let ends = Ends { source: Peer::of(&source), destination: Peer::of(&destination) };
        let peer = &ends.destination;
        let mut lines = Vec::new();
        let mut steps: Vec<Box<dyn Step>> = Vec::new();
        for volume in storage.volumes {
            let note = format!("{}, on {peer}", volume.size);
            lines.push(PlanLine::new("create", "volume", format!("{}/{}", volume.pool, volume.volume)).note(note));
            steps.push(Box::new(AtPeer::new(peer.clone(), volume)));
        }
        for mark in storage.marks {
            let note = "a marker written here has to be seen there";
            lines.push(PlanLine::new("prove", "pool", mark.pool.as_str()).note(note));
            steps.push(Box::new(mark.between(ends.clone())));
        }
        let proved = variables.as_ref().filter(|variables| variables.kept.is_none()).map(|apart| apart.path.clone());
        if let Some(path) = &proved {
            steps.push(Box::new(ProveApart { ends: ends.clone(), path: path.clone() }));
        }
        let reversible = steps.len();
        lines.push(PlanLine::new("move", "domain", vm.name.as_str()).note(how(&spec, timeout)));
        let (id, name, place) = (vm.id, vm.name.clone(), spec.definition);
        steps.push(Box::new(Migrate { ends: ends.clone(), id, name: name.clone(), spec, timeout }));
        steps.push(Box::new(LeaveSource { ends: ends.clone(), id, name: name.clone(), place }));
        match place {
            DefinitionPlace::Destination if vm.persistent => {
                lines.push(PlanLine::new("remove", "domain", name.as_str()).note("from this host"));
            }
            DefinitionPlace::Destination => {}
            DefinitionPlace::Source => {
                lines.push(PlanLine::new("keep", "domain", name.as_str()).note("its definition stays on this host"));
            }
        }
        if vm.autostart == Some(true) && place == DefinitionPlace::Destination {
            lines.push(PlanLine::new("change", "domain", name.as_str()).note(format!("starts when {peer} boots")));
            steps.push(Box::new(AtPeer::new(peer.clone(), SetAutostart { id, name: name.clone() })));
        }
        if let Some(path) = proved {
            steps.push(Box::new(RemoveVariables { ends: ends.clone(), id, name: name.clone(), path }));
        }
        if let Some(Variables { path, kept }) = variables {
            let apart = || format!("the UEFI variables, from this host; {peer} has no such file yet");
            let action = if kept.is_some() { "keep" } else { "remove" };
            lines.push(PlanLine::new(action, "nvram", path.as_str()).note(kept.unwrap_or_else(apart)));
        }
        for old in storage.left_behind {
            lines.push(PlanLine::new("keep", "volume", old).note("the old image stays on this host"));
        }
        for finding in self.findings.iter().filter(|finding| finding.verdict != Verdict::Ok) {
            lines.push(PlanLine::new(finding.verdict.as_str(), finding.check.as_str(), "").note(finding.sentence()));
        }
        let locks = [&source, &destination].map(|host| LockKey { host: host.host_key(), vm: id });
        Ok(Plan {
            kind: "vm.migrate",
            title: format!("move {name} from {} to {peer}", source.target),
            target: source.target,
            locks: locks.into(),
            lines,
            steps,
            reversible,
        })
    }
}

/// How the machine moves, in words.
fn how(spec: &MigrationSpec, timeout: Option<MigrationTimeout>) -> String {
    let mut words = vec![match spec.mode {
        MigrationMode::Live => "while it runs".to_owned(),
        MigrationMode::Offline => "its definition".to_owned(),
    }];
    words.push(match &spec.route {
        Route::Client => "led from here".to_owned(),
        Route::Source(target) => format!("led by the source, over {target}"),
        Route::Tunnel(target) => format!("led by the source, all through {target}"),
    });
    if !spec.copy.is_empty() {
        let disks: Vec<_> = spec.copy.iter().map(ToString::to_string).collect();
        words.push(format!("with the content of {}", disks.join(", ")));
    }
    if spec.bandwidth != Bandwidth::UNLIMITED {
        words.push(format!("at most {}", spec.bandwidth));
    }
    if let Some(timeout) = timeout {
        let then = match timeout.then {
            AtTimeout::Cancel => "given up",
            AtTimeout::Suspend => "suspended",
            AtTimeout::PostCopy => "switched to post-copy",
        };
        words.push(format!("{then} after {} s", timeout.after.as_secs_f64()));
    }
    words.join(", ")
}
