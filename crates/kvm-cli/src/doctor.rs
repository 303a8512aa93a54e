//! `kvmctl doctor`.

use kvm_core::{Result, Target, Transport, Via};
use kvm_ssh::LocalTransport;
use kvm_vm::doctor::{Finding, Patient, Status, diagnose};
use serde::Serialize;

use crate::exit;
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl doctor\n  kvmctl -c qemu:///session doctor\n  kvmctl doctor -o json | jq '.[] | select(.status == \"fail\")'",
    after_long_help = "Exit code 1 when a check failed.\n\nLibrary: kvm_vm::doctor::diagnose"
)]
pub struct Args {}

#[derive(Serialize)]
#[serde(transparent)]
struct Diagnosis(Vec<Finding>);

/// Looks at the host, and gives the exit code.
pub(crate) async fn run(_: Args, session: &Session, printer: &mut Printer) -> Result<u8> {
    let here = LocalTransport::new();
    let (target, host) = match session.address().await {
        // Which host is meant is not a question of health, unless nothing at all was found on this machine.
        Err(e) if e.operation() != Some("find-host") && e.operation() != Some("connect") => return Err(e),
        Err(e) => (Target::parse("qemu:///system")?, Err(e)),
        Ok(address) => (address.target, session.host().await),
    };
    let local = target.host().is_none() && !matches!(target, Target::Mock(_));
    let transport: Option<&dyn Transport> = match &host {
        _ if local => Some(&here),
        // Over TLS nobody logs in, so the operating system cannot be asked.
        Ok(_) if matches!(target, Target::Qemu { via: Via::Tls { .. }, .. }) => None,
        Ok(connection) => Some(&*connection.host.transport),
        Err(_) => None,
    };
    let patient = Patient { target: &target, host: host.as_ref().map(|connection| &connection.host), transport };
    let diagnosis = Diagnosis(diagnose(&patient, &*session.clock).await);
    printer.show(&diagnosis)?;
    let failed = diagnosis.0.iter().any(|finding| finding.status == Status::Fail);
    Ok(if failed { exit::FOUND } else { exit::SUCCESS })
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
