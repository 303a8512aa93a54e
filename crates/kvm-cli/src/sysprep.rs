//! `--sysprep`: a copy that is another one inside as well.

use std::time::Duration;

use kvm_clone::{Outcome as Became, Part, PartDone, SysprepPlan, SysprepSpec, plan_sysprep};
use kvm_core::op::{Plan, PlanLine};
use kvm_core::{DnsName, Error, ErrorKind, PowerAction, Resource, Result, VmId, VmRef, VmSummary};
use kvm_xml::Domain;
use serde::Serialize;

use crate::printer::{Failure, Page, Printer};
use crate::session::{Connection, Done, Session};

/// Whether a copy gets an identity of its own inside, for commands that make one.
#[derive(Debug, clap::Args)]
pub(crate) struct Sysprep {
    /// Make it another one inside as well: machine-id, host name, SSH host keys, DHCP leases, logs (see kvmctl vm sysprep).
    #[arg(long)]
    pub(crate) sysprep: bool,
    /// With --sysprep: what it calls itself inside; its name as a VM if left out.
    #[arg(long, value_name = "NAME", requires = "sysprep")]
    hostname: Option<DnsName>,
    /// With --sysprep: leave this inside as it is; may be repeated.
    #[arg(long, value_name = "PART", requires = "sysprep")]
    sysprep_keep: Vec<Part>,
}

impl Sysprep {
    /// What was asked for, refused where it could not be done to the copy.
    pub(crate) fn wanted(&self, copy: &Domain) -> Result<Option<SysprepSpec>> {
        if !self.sysprep {
            return Ok(None);
        }
        let spec = spec(self.hostname.as_ref(), &self.sysprep_keep, None);
        spec.check(copy)?;
        Ok(Some(spec))
    }
}

pub(crate) fn spec(host_name: Option<&DnsName>, keep: &[Part], timeout: Option<Duration>) -> SysprepSpec {
    let timeout = timeout.unwrap_or(SysprepSpec::TIMEOUT);
    SysprepSpec { host_name: host_name.cloned(), keep: keep.iter().copied().collect(), timeout }
}

/// What is done to a copy inside, before it is started for good.
#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) spec: SysprepSpec,
    /// Whether it is started afterwards.
    pub(crate) start: bool,
}

/// Says in the plan of a copy what is done to it inside.
pub(crate) fn announce(inside: Option<&Inside>, plan: &mut Plan, copy: &str) {
    let Some(Inside { spec, start }) = inside else { return };
    let parts: Vec<_> = Part::ALL.iter().filter(|part| !spec.keep.contains(part)).map(ToString::to_string).collect();
    let note = format!(
        "inside, by its agent, without network, at most {} s to boot: {}",
        spec.timeout.as_secs(),
        parts.join(", ")
    );
    plan.lines.push(PlanLine::new("change", "domain", copy).note(note));
    if *start {
        plan.lines.push(PlanLine::new("start", "domain", copy));
    }
}

/// Prepares a copy that was just made, and starts it where that is wanted and nothing of the original's identity is left.
pub(crate) async fn prepare_copy(
    inside: Option<&Inside>,
    connection: &Connection,
    id: VmId,
    session: &Session,
    printer: &mut Printer,
) -> Result<Option<Prepared>> {
    let Some(Inside { spec, start }) = inside else { return Ok(None) };
    let vm = connection.host.hypervisor.find(&VmRef::Id(id)).await?;
    let name = connection.place(&vm.name);
    let prepared = async {
        let planned = plan_sysprep(&connection.host, &vm, spec, &session.plan_context()).await?;
        prepare(planned, connection, &vm, session).await
    };
    let (prepared, _) = prepared.await.map_err(|e| {
        e.with_note(&format!("the copy is there, whole and off; prepare it again: kvmctl vm sysprep {name}"))
    })?;
    match (start, &prepared.error) {
        (false, _) => {}
        (true, Some(_)) => {
            printer.note(&format!("{name} was not started: something inside is still the original's"));
        }
        (true, None) => connection.host.hypervisor.power(&id, PowerAction::Start).await.map_err(|e| {
            e.with_note(&format!("the copy is there, and another one inside; start it: kvmctl vm start {name}"))
        })?,
    }
    Ok(Some(prepared))
}

/// Prepares a machine as it was planned.
pub(crate) async fn prepare(
    planned: SysprepPlan,
    connection: &Connection,
    vm: &VmSummary,
    session: &Session,
) -> Result<(Prepared, Done)> {
    let done = session.carry_out(connection, planned.plan).await?;
    Ok((Prepared::of(vm, planned.report.parts()), done))
}

/// What became of a guest's identity. Where something of it is still the original's, that is an error beside what was printed.
#[derive(Debug, Serialize)]
pub(crate) struct Prepared {
    inside: Vec<PartDone>,
    #[serde(skip)]
    vm: String,
    #[serde(skip)]
    error: Option<Error>,
}

impl Prepared {
    fn of(vm: &VmSummary, inside: Vec<PartDone>) -> Self {
        let failed: Vec<_> = named(&inside, Became::Failed, |done| format!("{}: {}", done.part, done.what));
        let error = (!failed.is_empty()).then(|| {
            Error::new(ErrorKind::Corrupt, format!("{} is still the original inside: {}", vm.name, failed.join("; ")))
                .on(Resource::Vm(vm.name.as_str().to_owned()))
                .with_detail(
                    "mend that in its guest, and prepare it again: kvmctl vm sysprep; or leave the part: --keep PART",
                )
        });
        Self { inside, vm: vm.name.as_str().to_owned(), error }
    }

    /// Says part by part what was changed and what was not.
    pub(crate) fn text(&self, page: &mut Page<'_>) {
        let changed = named(&self.inside, Became::Changed, |done| done.part.to_string());
        page.done(format_args!("{} changed inside: {}", self.vm, listed(&changed)));
        for (outcome, words) in [(Became::Absent, "not there"), (Became::Kept, "kept")] {
            let parts = named(&self.inside, outcome, |done| done.part.to_string());
            if !parts.is_empty() {
                page.line(format_args!("  {words}: {}", parts.join(", ")));
            }
        }
    }

    pub(crate) fn failures(&self) -> Vec<Failure<'_>> {
        self.error.iter().map(|error| Failure { subject: None, error }).collect()
    }
}

fn named(parts: &[PartDone], outcome: Became, words: impl Fn(&PartDone) -> String) -> Vec<String> {
    parts.iter().filter(|done| done.outcome == outcome).map(words).collect()
}

fn listed(parts: &[String]) -> String {
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}
