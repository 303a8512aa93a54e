//! A machine's identity inside its guest, made anew.

mod guest;
mod part;
mod program;
mod step;

use std::collections::BTreeSet;
use std::time::Duration;

use kvm_core::op::{LockKey, Peer, Plan, PlanLine, Step};
use kvm_core::{DnsName, Error, ErrorKind, Host, Resource, Result, Secrets, View, VmId, VmName, VmSummary};
use kvm_vm::{PlanContext, check_not_copied, check_start};
use kvm_xml::{Document as _, Domain};

use crate::trial::{
    ForgetTrial, Instead, TrialDocument, Variables, Written, check_off, has_agent, media, trial, trial_name,
};
pub use part::{Outcome, Part, PartDone, SysprepReport};
pub(crate) use step::PrepareGuest;

/// The longest name that Linux takes.
const LONGEST_NAME: usize = 64;
/// The longest time that somebody waits.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What becomes of a guest's identity; the default changes all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysprepSpec {
    /// What the guest calls itself; as its machine is called, if left out.
    pub host_name: Option<DnsName>,
    /// What stays as it is.
    pub keep: BTreeSet<Part>,
    /// How long its agent may take to answer.
    pub timeout: Duration,
}

impl Default for SysprepSpec {
    fn default() -> Self {
        Self { host_name: None, keep: BTreeSet::new(), timeout: Self::TIMEOUT }
    }
}

impl SysprepSpec {
    /// How long an agent may take of which nothing else is said.
    pub const TIMEOUT: Duration = Duration::from_secs(300);

    /// Refuses what cannot be done with this machine, before any time is spent on a copy of it. `InvalidInput` names the
    /// field; `Unsupported` when it has no line for an agent.
    pub fn check(&self, machine: &Domain) -> Result<()> {
        if !(Duration::from_secs(1)..=LONGEST).contains(&self.timeout) {
            return Err(Error::invalid("timeout", "is between a second and a day"));
        }
        let name = machine.name.as_deref().unwrap_or_default();
        if !self.keep.contains(&Part::HostName) {
            self.host_name(name)?;
        }
        match has_agent(machine) {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Unsupported, "the VM has no line for a guest agent, which does the work")
                .on(Resource::Vm(name.to_owned()))
                .with_detail(
                    "give it one (channel org.qemu.guest_agent.0) and a guest that runs qemu-guest-agent; or run virt-sysprep on its host",
                )),
        }
    }

    /// The guest's name. `InvalidInput` where the machine's cannot be it.
    fn host_name(&self, machine: &str) -> Result<DnsName> {
        let refuse = |name: &str, why: &str| {
            let shown = kvm_core::text::printable_within(name, 48);
            Error::invalid("hostname", format!("{shown} is none that a guest can have: {why}"))
                .with_detail("say what it is called inside: --hostname NAME")
        };
        let name = match &self.host_name {
            Some(name) => name.clone(),
            None => DnsName::parse(machine).map_err(|_| refuse(machine, "it is no host name"))?,
        };
        // What the DNS takes is more than guests do.
        let text = name.as_str();
        if text.contains('_') {
            return Err(refuse(text, "it has an underscore"));
        }
        match text.len() <= LONGEST_NAME {
            true => Ok(name),
            false => Err(refuse(text, &format!("it is longer than {LONGEST_NAME} bytes"))),
        }
    }
}

/// A guest's identity that could be made anew.
#[derive(Debug)]
pub struct SysprepPlan {
    /// What would happen.
    pub plan: Plan,
    /// The document that its guest is started with.
    pub document: Domain,
    /// What came of it, once it is carried out.
    pub report: SysprepReport,
}

/// Plans to make a machine that is off, a clone as a rule, another one inside as well: its machine-id becomes its uuid, its
/// guest gets a host name and SSH host keys of its own, and loses DHCP leases, names of network devices by their old
/// addresses, logs and histories of shells. What else is the original's stays: users, passwords, authorized keys, certificates, data.
///
/// For that its guest is started once on its own images, as a transient machine of another name: without link on its
/// network devices, without anything of the host, and with a copy of its UEFI variables. Its agent does the work with the
/// guest's own programs, and the guest shuts down. The [`SysprepReport`] says part by part what was changed and what
/// was not; done again, the same comes out.
///
/// What was changed inside cannot be taken back: an operation that is undone only ends the start.
///
/// `InvalidState` when the machine is not off, or a replica; `Busy` when it is copied; else as [`SysprepSpec::check`].
pub async fn plan_sysprep(
    target: &Host,
    vm: &VmSummary,
    spec: &SysprepSpec,
    cx: &PlanContext<'_>,
) -> Result<SysprepPlan> {
    let machine = target.hypervisor.definition(&vm.id, View { secrets: Secrets::Hide, ..View::CONFIG }).await?;
    check_off(vm, "prepared", "shut it down first, or prepare a clone of it: kvmctl clone --sysprep")?;
    check_start(target, vm).await?;
    check_not_copied(target, vm).await?;
    spec.check(&machine)?;
    let there = target.hypervisor.capabilities().await?;
    let peer = Peer::of(&there);
    let id = VmId::from(cx.entropy.uuid());
    let name = trial_name(&vm.name, "sysprep", id)?;
    let variables = Variables::of(&machine, target, &name).await?;

    let mut lines = Vec::new();
    let mut steps = Vec::<Box<dyn Step>>::new();
    if let Some((line, step)) = variables.as_ref().and_then(|variables| variables.copied(&peer)) {
        lines.push(line);
        steps.push(step);
    }
    let media = media(target, &machine).await?;
    let to = variables.as_ref().map(|variables| &variables.to);
    let purpose = "a start that prepares";
    let instead = Instead { name: &name, id, purpose, written: Written::Images, variables: to, media: &media };
    let TrialDocument { domain, left_out } = trial(&machine, &instead)?;
    lines.extend(left_out.iter().map(|what| PlanLine::new("leave out", "device", what)));
    let seconds = spec.timeout.as_secs();
    let how = format!("transient, no link on its network devices, until its agent answers, at most {seconds} s");
    lines.push(PlanLine::new("start", "domain", name.as_str()).note(how));
    let identity = Identity {
        machine_id: vm.id.to_string().replace('-', ""),
        host_name: (!spec.keep.contains(&Part::HostName)).then(|| spec.host_name(vm.name.as_str())).transpose()?,
        keep: spec.keep.clone(),
    };
    lines.extend(identity.lines());
    lines.push(note(&vm.name, "users, passwords, authorized keys, certificates and data inside stay as they are"));

    let report = SysprepReport::default();
    let forget =
        ForgetTrial { target: peer.clone(), volumes: vec![], variables: variables.as_ref().map(|v| v.to.clone()) };
    steps.push(Box::new(PrepareGuest {
        target: peer,
        id: vm.id,
        name: vm.name.clone(),
        trial: id,
        document: domain.to_xml(),
        timeout_seconds: seconds,
        identity,
        variables,
        report: report.clone(),
    }));
    let reversible = steps.len();
    steps.push(Box::new(forget));
    let plan = Plan {
        kind: "clone.sysprep",
        title: format!("give {} on {} an identity of its own inside", vm.name, there.target),
        target: there.target.clone(),
        locks: vec![LockKey { host: there.host_key(), vm: vm.id }],
        lines,
        steps,
        reversible,
    };
    Ok(SysprepPlan { plan, document: domain, report })
}

fn note(vm: &VmName, text: &str) -> PlanLine {
    PlanLine::new("note", "domain", vm.as_str()).note(text)
}

/// What a guest is from now on.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Identity {
    /// Its machine's uuid, as systemd writes such: 32 digits.
    machine_id: String,
    /// `None` where that is kept.
    host_name: Option<DnsName>,
    keep: BTreeSet<Part>,
}

impl Identity {
    /// What is going to be done, a line for each part.
    fn lines(&self) -> impl Iterator<Item = PlanLine> {
        Part::ALL.into_iter().map(|part| {
            let line = |action| PlanLine::new(action, "inside", part.as_str());
            match (part, &self.host_name) {
                _ if self.keep.contains(&part) => line("keep"),
                (Part::MachineId, _) => line("change").note(format!("to {}", self.machine_id)),
                (Part::HostName, Some(name)) => line("change").note(format!("to {name}")),
                _ => line("change").note(part.becomes()),
            }
        })
    }
}
