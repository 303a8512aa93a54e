//! `kvmctl vm migrate`.

use kvm_core::{Error, ErrorKind, MigrationJob, Result, VmId};
use kvm_vm::migrate::{Finding, Verdict, preflight};
use serde::Serialize;

use super::migrate_flags::Flags;
use crate::operation::{DoneForm, PlanView, confirm};
use crate::printer::{Failure, Outcome, Page, Printer};
use crate::session::Session;
use crate::text;
use crate::vms::One;

/// Arguments of `vm migrate`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm migrate web lab2 --dry-run\n  kvmctl vm migrate lab1/web lab2 --copy-storage\n  \
        kvmctl vm migrate web qemu+ssh://root@kvm2/system --timeout 60s --at-timeout post-copy",
    after_long_help = "Both hosts are looked at first: CPU, machine type, networks, pools, room and more. What stands in the way is \
        refused before anything happens; what nobody can see is asked about, unless --yes is given.\n\
        With --copy-storage the destination needs pools in the same directories; new images are made there, and taken away again \
        when the migration fails. The old images stay here. Storage that is said to be shared has to prove it by a marker.\n\
        Afterwards one host has the VM, and one alone, whatever failed. Ctrl-C gives the migration up.\n\
        A VM that is off moves its definition only: its disks have to be on shared storage.\n\n\
        Library: kvm_vm::migrate::preflight, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// The other host: a target, or an alias of hosts.toml.
    #[arg(value_name = "DEST")]
    destination: String,
    #[command(flatten)]
    flags: Flags,
    /// Show what was looked at and the plan, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (source, vm) = args.vm.find(session).await?;
    let destination = session.at(Some(&args.destination)).await?;
    let options = args.flags.options();
    let looked = preflight(&source.host, &destination.host, &vm, &options, &*session.entropy).await?;
    let checks = looked.findings().to_vec();
    let planned = looked.into_plan();
    if args.dry_run {
        let (plan, refused) = match planned {
            Ok(plan) => (Some(PlanView::of(&plan)), None),
            Err(e) => (None, Some(e)),
        };
        return printer.show(&Looked { name: vm.name.as_str().to_owned(), checks, plan, refused });
    }
    let plan = planned?;
    if checks.iter().any(|check| matches!(check.verdict, Verdict::Warning | Verdict::Unknown)) && !session.yes {
        printer.preview(&plan.to_string());
        confirm(session, printer, "Type the name to move it: ", vm.name.as_str()).await?;
    }
    let done = session.carry_out(&source, plan).await?;
    let migration = match destination.host.hypervisor.migration() {
        // Only a figure beside what was done.
        Some(migration) => migration.outcome(&vm.id).await.ok().flatten(),
        None => None,
    };
    let (name, id, to) = (vm.name.as_str().to_owned(), vm.id, destination.label());
    printer.show(&Moved { name, id, destination: to, done: DoneForm::of(&done), migration })
}

/// What `--dry-run` found.
#[derive(Serialize)]
struct Looked {
    name: String,
    checks: Vec<Finding>,
    /// `None` when something stands in the way.
    plan: Option<PlanView>,
    #[serde(skip)]
    refused: Option<Error>,
}

impl Outcome for Looked {
    fn text(&self, page: &mut Page<'_>) {
        let width = self.checks.iter().map(|check| check.check.as_str().len()).max().unwrap_or(0);
        let indent = " ".repeat(width + 11);
        for finding in &self.checks {
            page.line(format_args!("{:7}  {:width$}  {}", finding.verdict, finding.check.as_str(), finding.what));
            if let Some(why) = &finding.why {
                page.line(format_args!("{indent}{why}"));
            }
            if let Some(fix) = &finding.fix {
                page.line(format_args!("{indent}fix: {fix}"));
            }
        }
        if let Some(plan) = &self.plan {
            plan.text(page);
        }
    }

    fn failures(&self) -> Vec<Failure<'_>> {
        self.refused.iter().map(|error| Failure { subject: Some(&self.name), error }).collect()
    }
}

/// A VM that has moved.
#[derive(Serialize)]
struct Moved {
    name: String,
    id: VmId,
    destination: String,
    #[serde(flatten)]
    done: DoneForm,
    /// What the migration took, as far as the hypervisor tells.
    migration: Option<MigrationJob>,
}

impl Outcome for Moved {
    fn text(&self, page: &mut Page<'_>) {
        self.done.text(&format!("{} moved to {}", self.name, self.destination), page);
        let Some(job) = &self.migration else { return };
        let mut parts = vec![format!("memory {}", job.memory.done)];
        if job.disks.total.get() > 0 {
            parts.push(format!("disks {}", job.disks.done));
        }
        parts.extend(job.downtime.map(|downtime| format!("stood still for {}", text::duration(downtime))));
        page.line(format_args!("  {}", parts.join(", ")));
    }
}
