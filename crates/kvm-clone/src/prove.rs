//! Trial starts: whether a copy boots, without it, or anybody who reaches it, noticing.

mod overlay;
mod step;

use std::time::Duration;

use jiff::Timestamp;
use kvm_core::op::{LockKey, Peer, Plan, PlanLine, Step};
use kvm_core::{
    Error, ErrorKind, Host, ProofKind, Receipt, Replica, ReplicaState, Replication, Resource, Result, Secrets, View,
    VmId, VmNotes, VmSummary,
};
use kvm_vm::{PlanContext, at_peer, reserve_volume};
use kvm_xml::{Document as _, Domain, StorageVolume};

use crate::step::ClaimReplica;
use crate::trial::{
    ForgetTrial, Instead, TrialDocument, Variables, Written, check_off, has_agent, media, trial, trial_name,
};
use overlay::images;
pub(crate) use step::RunTrial;

/// The longest text that is waited for.
const LONGEST_TEXT: usize = 200;
/// The longest time that somebody waits.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// How a machine is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProveSpec {
    /// When it was asked for.
    pub at: Timestamp,
    /// A text on the serial console that shows that it is up; the answer of its agent if left out.
    pub until: Option<String>,
    /// How long it may take.
    pub timeout: Duration,
}

impl ProveSpec {
    /// How long a trial may take that says nothing else.
    pub const TIMEOUT: Duration = Duration::from_secs(300);

    /// The default, asked for at this time: five minutes for the agent.
    #[must_use]
    pub fn at(at: Timestamp) -> Self {
        Self { at, until: None, timeout: Self::TIMEOUT }
    }

    /// Refuses what no trial of this machine could fulfil, before any time is spent on a copy of it. `InvalidInput` names
    /// the field.
    pub fn check(&self, machine: &Domain) -> Result<()> {
        if let Some(text) = &self.until
            && (text.is_empty() || text.len() > LONGEST_TEXT || text.contains(char::is_control))
        {
            let message = format!("is one line of 1 to {LONGEST_TEXT} bytes that the console says");
            return Err(Error::invalid("until", message));
        }
        if !(Duration::from_secs(1)..=LONGEST).contains(&self.timeout) {
            return Err(Error::invalid("timeout", "is between a second and a day"));
        }
        match self.until {
            None if !has_agent(machine) => Err(Error::invalid(
                "until",
                "the VM has no line for a guest agent, so only its console can show that it is up",
            )
            .with_detail("say what it says there when it is: --until TEXT")),
            _ => Ok(()),
        }
    }

    fn kind(&self) -> ProofKind {
        if self.until.is_some() { ProofKind::Console } else { ProofKind::Agent }
    }

    /// What is waited for, in words.
    fn awaited(&self) -> String {
        match &self.until {
            Some(text) => format!("until it says \"{text}\" on its console"),
            None => "until its agent answers".to_owned(),
        }
    }
}

/// A trial that could be made.
#[derive(Debug)]
pub struct ProvePlan {
    /// What would happen.
    pub plan: Plan,
    /// The trial's document.
    pub document: Domain,
    /// Which trial it is; the receipt has the same id.
    pub trial: VmId,
}

/// Plans to start a machine that is off once, as a transient one on throw-away overlays of its images: without link on its
/// network devices, without anything of the host, and with a copy of its UEFI variables. What comes out is noted on the
/// machine as a [`Receipt`]; that it was not proved is no error of the operation. [`proof_of`] gives it afterwards.
///
/// A replica takes no syncs meanwhile, whoever controls them.
///
/// `InvalidState` when the machine is not off, `Busy` when it is a replica to which a sync comes, `InvalidInput` when
/// nothing that is waited for can come, `Unsupported` for what can have no overlay.
pub async fn plan_prove(target: &Host, vm: &VmSummary, spec: &ProveSpec, cx: &PlanContext<'_>) -> Result<ProvePlan> {
    // A guest with a screen needs no password for it here.
    let machine = target.hypervisor.definition(&vm.id, View { secrets: Secrets::Hide, ..View::CONFIG }).await?;
    check_off(vm, "tried", "shut it down first, or try a clone of it: kvmctl clone --prove")?;
    spec.check(&machine)?;
    let noted = VmNotes::of(&machine);
    let claimed = claim(vm, noted.replication.as_ref())?;
    let there = target.hypervisor.capabilities().await?;
    let peer = Peer::of(&there);
    let id = VmId::from(cx.entropy.uuid());
    let name = trial_name(&vm.name, "proof", id)?;
    let default = cx.policy.default_pool()?;
    let images = images(target, &machine, &name, &default).await?;

    let mut lines = Vec::new();
    let mut steps = Vec::<Box<dyn Step>>::new();
    if let Some(claimed) = &claimed {
        let claimed = Replication::Replica(claimed.clone());
        let before = noted.replication.clone();
        steps.push(Box::new(ClaimReplica { target: peer.clone(), id: vm.id, before, claimed }));
    }
    for image in &images {
        let line = PlanLine::new("create", "overlay", image.overlay.volume.as_text());
        lines.push(line.note(format!("on {}; thrown away afterwards", image.path)));
        let document = StorageVolume::from_xml(&image.overlay.document)
            .map_err(|e| Error::internal("the overlay has no document").with_source(e))?;
        let reserve = reserve_volume(image.overlay.volume.clone(), image.size, &document);
        steps.push(at_peer(peer.clone(), reserve));
    }
    let variables = Variables::of(&machine, target, &name).await?;
    if let Some((line, step)) = variables.as_ref().and_then(|variables| variables.copied(&peer)) {
        lines.push(line);
        steps.push(step);
    }
    let overlays = images.iter().map(|image| (image.disk.clone(), image.at.clone())).collect();
    let media = media(target, &machine).await?;
    let to = variables.as_ref().map(|variables| &variables.to);
    let (purpose, written) = ("a trial start of", Written::Overlays(&overlays));
    let instead = Instead { name: &name, id, purpose, written, variables: to, media: &media };
    let TrialDocument { domain, left_out } = trial(&machine, &instead)?;
    lines.extend(left_out.iter().map(|what| PlanLine::new("leave out", "device", what)));
    let how =
        format!("transient, no link on its network devices, {}, at most {} s", spec.awaited(), spec.timeout.as_secs());
    lines.push(PlanLine::new("start", "domain", name.as_str()).note(how));
    lines.push(PlanLine::new("note", "domain", vm.name.as_str()).note("what came out"));

    let forget = ForgetTrial {
        target: peer.clone(),
        volumes: images.iter().map(|image| image.overlay.volume.clone()).collect(),
        variables: variables.as_ref().map(|variables| variables.to.clone()),
    };
    steps.push(Box::new(RunTrial {
        target: peer,
        id: vm.id,
        name: vm.name.clone(),
        trial: id,
        document: domain.to_xml(),
        by: spec.kind(),
        until: spec.until.clone(),
        timeout_seconds: spec.timeout.as_secs(),
        at: spec.at,
        images: images.iter().map(|image| (image.disk.clone(), image.path.clone())).collect(),
        overlays: images.into_iter().map(|image| image.overlay).collect(),
        variables,
        claimed: claimed.map(Replication::Replica),
        before: noted.replication,
        was: noted.proof,
    }));
    let reversible = steps.len();
    steps.push(Box::new(forget));
    let plan = Plan {
        kind: "clone.prove",
        title: format!("prove that {} on {} boots", vm.name, there.target),
        target: there.target.clone(),
        locks: vec![LockKey { host: there.host_key(), vm: vm.id }],
        lines,
        steps,
        reversible,
    };
    Ok(ProvePlan { plan, document: domain, trial: id })
}

/// What the last trial of a machine has shown; `None` when there was none. `NotFound`.
pub async fn proof_of(host: &Host, id: &VmId) -> Result<Option<Receipt>> {
    Ok(VmNotes::of(&host.hypervisor.definition(id, View::CONFIG).await?).proof)
}

/// What is noted on a replica for as long as it is tried; `None` for what takes no syncs. The id is that of its last sync:
/// nothing else of it changes.
fn claim(vm: &VmSummary, noted: Option<&Replication>) -> Result<Option<Replica>> {
    let Some(Replication::Replica(replica)) = noted else { return Ok(None) };
    match replica.state {
        ReplicaState::Promoted => Ok(None),
        ReplicaState::Current | ReplicaState::Paused => {
            Ok(Some(Replica { state: ReplicaState::Proving, ..replica.clone() }))
        }
        state => Err(Error::new(ErrorKind::Busy, format!("the replica {} is {state}", vm.name))
            .on(Resource::Vm(vm.name.as_str().to_owned()))
            .with_detail("wait for it, or finish it where it was begun: kvmctl op list --open; if nobody can: kvmctl replica resume")),
    }
}
