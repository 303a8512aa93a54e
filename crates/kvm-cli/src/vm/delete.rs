//! `kvmctl vm delete`.

use std::sync::Arc;

use kvm_core::op::Plan;
use kvm_core::{Error, ErrorKind, Result, VmId};
use kvm_vm::{DeleteOptions, Running, Volumes};
use serde::Serialize;

use crate::operation::{DoneForm, PlanView, confirm};
use crate::printer::{Failure, Outcome, Page, Printer};
use crate::session::{Connection, Session};
use crate::vms::Several;

/// Arguments of `vm delete`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm delete web --dry-run\n  kvmctl vm delete web\n  kvmctl vm delete --select tag=scratch --power-off --delete-volumes --yes",
    after_long_help = "Deletes the definition, what the host keeps beside it (saved state, NVRAM, TPM state, snapshot records) and the \
        volumes that only this VM uses. What is shared, read-only or somebody's backing file stays. The plan says each.\n\
        With --yes nobody reads the plan: then volumes go only with --delete-volumes.\n\n\
        Library: kvm_vm::plan_delete, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    vms: Several,
    /// Keep its volumes; so does --yes unless --delete-volumes is given.
    #[arg(long)]
    keep_volumes: bool,
    /// Delete its volumes also where --yes leaves nobody to ask.
    #[arg(long, conflicts_with = "keep_volumes")]
    delete_volumes: bool,
    /// Power it off first when it runs.
    #[arg(long)]
    power_off: bool,
}

/// One VM that is to be deleted.
struct Doomed {
    label: String,
    name: String,
    id: VmId,
    connection: Arc<Connection>,
    plan: Plan,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let options = DeleteOptions {
        // Whoever reads the plan and types the name has agreed to lose the data. --yes alone has not.
        volumes: if args.keep_volumes || (session.yes && !args.delete_volumes) {
            Volumes::Keep
        } else {
            Volumes::Delete
        },
        running: if args.power_off { Running::PowerOff } else { Running::Refuse },
    };
    let (mut doomed, mut failed) = (Vec::new(), Vec::new());
    for picked in args.vms.find(session).await? {
        let planned = async {
            let (connection, vm) = picked.found?;
            let planned = kvm_vm::plan_delete(&connection.host, &vm, &options).await;
            let plan = planned.map_err(|e| e.during("delete"))?;
            Ok(Doomed { label: picked.label.clone(), name: vm.name.as_str().to_owned(), id: vm.id, connection, plan })
        };
        match planned.await {
            Ok(one) => doomed.push(one),
            Err(e) => failed.push((picked.label.clone(), e)),
        }
    }
    if args.vms.dry_run {
        let plans = doomed.iter().map(|one| PlanView::of(&one.plan)).collect();
        return printer.show(&Plans { plans, failed });
    }
    // One that cannot be deleted is a reason to ask again, not to delete the others meanwhile.
    if !failed.is_empty() {
        printer.note("nothing was deleted");
        return printer.show(&Deleted { vms: vec![], failed });
    }
    ask(session, printer, &doomed).await?;
    let mut vms = Vec::new();
    for Doomed { label, name, id, connection, plan } in doomed {
        match session.carry_out(&connection, plan).await {
            Ok(done) => vms.push(DeletedVm { name, id, done: DoneForm::of(&done) }),
            Err(e) => failed.push((label, e)),
        }
        if session.cancel.is_cancelled() {
            break;
        }
    }
    printer.show(&Deleted { vms, failed })
}

async fn ask(session: &Session, printer: &mut Printer, doomed: &[Doomed]) -> Result<()> {
    if session.yes {
        return Ok(());
    }
    for one in doomed {
        printer.preview(&one.plan.to_string());
    }
    match doomed {
        [] => Ok(()),
        [one] => confirm(session, printer, "Type the name to delete it: ", &one.name).await,
        many => {
            let count = many.len().to_string();
            confirm(session, printer, &format!("Type how many VMs these are to delete all {count}: "), &count).await
        }
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Plans {
    plans: Vec<PlanView>,
    #[serde(skip)]
    failed: Vec<(String, Error)>,
}

impl Outcome for Plans {
    fn text(&self, page: &mut Page<'_>) {
        self.plans.iter().for_each(|plan| plan.text(page));
    }

    fn failures(&self) -> Vec<Failure<'_>> {
        failures(&self.failed)
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Deleted {
    vms: Vec<DeletedVm>,
    #[serde(skip)]
    failed: Vec<(String, Error)>,
}

#[derive(Serialize)]
struct DeletedVm {
    name: String,
    id: VmId,
    #[serde(flatten)]
    done: DoneForm,
}

impl Outcome for Deleted {
    fn text(&self, page: &mut Page<'_>) {
        if self.vms.is_empty() && self.failed.is_empty() {
            page.line("no VM matches");
        }
        for vm in &self.vms {
            vm.done.text(&format!("{} deleted", vm.name), page);
        }
    }

    fn failures(&self) -> Vec<Failure<'_>> {
        failures(&self.failed)
    }
}

fn failures(failed: &[(String, Error)]) -> Vec<Failure<'_>> {
    failed.iter().map(|(name, error)| Failure { subject: Some(name), error }).collect()
}
