//! `--prove`: whether a copy boots.

use std::time::Duration;

use kvm_clone::{ProveSpec, plan_prove, proof_of};
use kvm_core::op::{Plan, PlanLine};
use kvm_core::{Error, ErrorKind, Receipt, Resource, Result, VmId, VmRef, VmSummary};
use kvm_xml::Domain;
use serde::Serialize;

use crate::printer::{Failure, Page};
use crate::session::{Connection, Done, Session};

/// Whether a copy is started once, for commands that make one.
#[derive(Debug, clap::Args)]
pub(crate) struct Prove {
    /// Start the copy once on throw-away overlays, without network, and note on it whether it came up.
    #[arg(long)]
    pub(crate) prove: bool,
    /// With --prove: it is up when its serial console says this; if left out, when its guest agent answers.
    #[arg(long, value_name = "TEXT", requires = "prove")]
    until: Option<String>,
    /// With --prove: how long that may take; 5m if left out.
    #[arg(long, value_name = "TIME", value_parser = kvm_core::parse_duration, requires = "prove")]
    timeout: Option<Duration>,
}

impl Prove {
    /// Refuses a trial of what takes another's place where that one would be gone before it.
    pub(crate) fn check_replacing(&self, deletes: bool) -> Result<()> {
        match self.prove && deletes {
            true => Err(Error::invalid("prove", "what had the name would be deleted before the new one is proved")
                .with_detail("add --keep-replaced, and delete it when all is well")),
            false => Ok(()),
        }
    }

    /// What was asked for, refused where the copy could not fulfil it.
    pub(crate) fn wanted(&self, copy: &Domain, session: &Session) -> Result<Option<ProveSpec>> {
        if !self.prove {
            return Ok(None);
        }
        let spec = spec(self.until.as_deref(), self.timeout, session);
        spec.check(copy)?;
        Ok(Some(spec))
    }
}

/// A trial as it was asked for.
pub(crate) fn spec(until: Option<&str>, timeout: Option<Duration>, session: &Session) -> ProveSpec {
    ProveSpec {
        until: until.map(ToOwned::to_owned),
        timeout: timeout.unwrap_or(ProveSpec::TIMEOUT),
        ..ProveSpec::at(session.clock.now())
    }
}

/// Says in the plan of a copy that it will be tried.
pub(crate) fn announce(wanted: Option<&ProveSpec>, plan: &mut Plan, copy: &str) {
    let Some(spec) = wanted else { return };
    let until = match &spec.until {
        Some(text) => format!("until it says \"{text}\" on its console"),
        None => "until its agent answers".to_owned(),
    };
    let note =
        format!("once, on throw-away overlays and without network, {until}, at most {} s", spec.timeout.as_secs());
    plan.lines.push(PlanLine::new("prove", "domain", copy).note(note));
}

/// Tries a copy that was just made.
pub(crate) async fn prove_copy(
    wanted: Option<&ProveSpec>,
    connection: &Connection,
    id: VmId,
    session: &Session,
) -> Result<Option<Proof>> {
    let Some(spec) = wanted else { return Ok(None) };
    let vm = connection.host.hypervisor.find(&VmRef::Id(id)).await?;
    match prove(spec, connection, &vm, session).await {
        Ok((proof, _)) => Ok(Some(proof)),
        Err(e) => {
            let name = connection.place(&vm.name);
            Err(e.with_note(&format!("the copy is there and whole; try it again: kvmctl replica prove {name}")))
        }
    }
}

/// Tries a machine.
pub(crate) async fn prove(
    spec: &ProveSpec,
    connection: &Connection,
    vm: &VmSummary,
    session: &Session,
) -> Result<(Proof, Done)> {
    let planned = plan_prove(&connection.host, vm, spec, &session.plan_context()).await?;
    let trial = planned.trial;
    let done = session.carry_out(connection, planned.plan).await?;
    let noted = proof_of(&connection.host, &vm.id).await?;
    let ours = noted.filter(|receipt| VmId::from(receipt.trial) == trial);
    let receipt = ours.ok_or_else(|| Error::internal("the trial has left no receipt"))?;
    Ok((Proof::of(receipt), done))
}

/// What came out of a trial. One that was not proved is an error beside what was printed.
#[derive(Debug, Serialize)]
pub(crate) struct Proof {
    #[serde(flatten)]
    receipt: Receipt,
    #[serde(skip)]
    error: Option<Error>,
}

impl Proof {
    fn of(receipt: Receipt) -> Self {
        let error = (!receipt.is_proved()).then(|| {
            let why = receipt.why.as_deref().unwrap_or("nobody knows why");
            let seen = match &receipt.seen {
                Some(seen) => format!("last on its console: {seen}"),
                None => "it said nothing on its console".to_owned(),
            };
            Error::new(ErrorKind::Corrupt, format!("{} was not proved to boot: {why}", receipt.vm))
                .on(Resource::Vm(receipt.vm.as_str().to_owned()))
                .with_detail(seen)
                .with_note("its images are what they were, and it stays; that it was not proved is noted on it")
        });
        Self { receipt, error }
    }

    /// Says that it was proved.
    pub(crate) fn text(&self, page: &mut Page<'_>) {
        if self.error.is_none() {
            page.done(in_words(&self.receipt));
        }
    }

    pub(crate) fn failures(&self) -> Vec<Failure<'_>> {
        self.error.iter().map(|error| Failure { subject: None, error }).collect()
    }
}

/// A receipt in one line.
pub(crate) fn in_words(receipt: &Receipt) -> String {
    let (vm, seconds) = (&receipt.vm, receipt.after_seconds);
    match (&receipt.why, &receipt.until) {
        (Some(why), _) => format!("{vm} was not proved to boot: {why}"),
        (None, Some(text)) => format!("{vm} boots: it said \"{text}\" after {seconds} s"),
        (None, None) => format!("{vm} boots: its agent answered after {seconds} s"),
    }
}
