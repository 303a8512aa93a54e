//! `kvmctl doctor`.

use clap_complete::engine::ArgValueCandidates;
use kvm_core::{Error, Host, Result, Target, Transport, Via, VmSummary};
use kvm_ssh::LocalTransport;
use kvm_vm::doctor::{Finding, Patient, Status, diagnose};
use serde::Serialize;

use crate::printer::{Outcome, Page, Printer};
use crate::session::{Connection, Session};
use crate::vms::{self, VmArg};
use crate::{completion, exit};

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl doctor\n  kvmctl doctor web\n  kvmctl doctor -o json | jq '.[] | select(.status == \"fail\")'",
    after_long_help = "Exit code 1 when a check failed.\n\nLibrary: kvm_vm::doctor::diagnose"
)]
pub struct Args {
    /// Look at the disks of this VM only: its name or uuid, or HOST/NAME.
    #[arg(value_name = "VM", add = ArgValueCandidates::new(completion::vm_names))]
    vm: Option<VmArg>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Diagnosis(Vec<Finding>);

/// Looks at the host, and gives the exit code.
pub(crate) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<u8> {
    let (target, host, vm) = match &args.vm {
        Some(vm) => {
            let (connection, vm) = vms::find(session, vm).await?;
            (connection.target.clone(), Ok(connection), Some(vm))
        }
        None => match session.address().await {
            // Which host is meant is not a question of health, unless nothing at all was found on this machine.
            Err(e) if e.operation() != Some("find-host") && e.operation() != Some("connect") => return Err(e),
            Err(e) => (Target::parse("qemu:///system")?, Err(e), None),
            Ok(address) => (address.target, session.host().await, None),
        },
    };
    let here = LocalTransport::new();
    let host = host.as_ref().map(|connection| &connection.host);
    let patient = Patient { target: &target, host, transport: system(&target, host.ok(), &here), vm: vm.as_ref() };
    let diagnosis = Diagnosis(diagnose(&patient, &*session.clock).await);
    printer.show(&diagnosis)?;
    let failed = diagnosis.0.iter().any(|finding| finding.status == Status::Fail);
    Ok(if failed { exit::FOUND } else { exit::SUCCESS })
}

/// The way to the host's operating system, where there is one.
fn system<'a>(target: &Target, host: Option<&'a Host>, here: &'a LocalTransport) -> Option<&'a dyn Transport> {
    match host {
        _ if target.host().is_none() && !matches!(target, Target::Mock(_)) => Some(here),
        // Over TLS nobody logs in, so the operating system cannot be asked.
        Some(_) if matches!(target, Target::Qemu { via: Via::Tls { .. }, .. }) => None,
        Some(host) => Some(&*host.transport),
        None => None,
    }
}

/// Why a VM could not be started, where that is found on the way to its disks; otherwise the error as it is.
pub(crate) async fn explain_start(session: &Session, connection: &Connection, vm: &VmSummary, refused: Error) -> Error {
    let here = LocalTransport::new();
    let (target, host) = (&connection.target, &connection.host);
    let patient = Patient { target, host: Ok(host), transport: system(target, Some(host), &here), vm: Some(vm) };
    kvm_vm::doctor::explain_start(&patient, vm, refused, &*session.clock).await
}

impl Outcome for Diagnosis {
    fn text(&self, page: &mut Page<'_>) {
        let width = self.0.iter().map(|finding| finding.check.as_str().len()).max().unwrap_or(0);
        let indent = " ".repeat(width + 8);
        for finding in &self.0 {
            let word = match finding.status {
                Status::Ok => "ok",
                Status::Warn => "warn",
                Status::Fail => "FAIL",
                Status::Skipped => "skip",
            };
            page.line(format_args!("{word:4}  {:width$}  {}", finding.check.as_str(), finding.what));
            if let Some(why) = &finding.why {
                why.lines().for_each(|line| page.line(format_args!("{indent}{line}")));
            }
            if let Some(fix) = &finding.fix {
                fix.lines().for_each(|line| page.line(format_args!("{indent}fix: {line}")));
            }
        }
    }
}
