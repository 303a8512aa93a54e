//! `kvmctl pool delete`.

use kvm_core::{ErrorKind, Result};
use kvm_vm::PoolData;

use super::{Changed, One};
use crate::operation::{PlanView, confirm};
use crate::printer::Printer;
use crate::session::Session;

/// Arguments of `pool delete`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl pool delete scratch\n  kvmctl pool delete scratch --destroy-data\n  kvmctl pool delete scratch --dry-run",
    after_long_help = "Only the definition goes; what the pool stands for and the volumes in it stay. With --destroy-data the volumes go \
        first, none of which may be in use, and then the directory, the volume group or the partition table.\n\n\
        Library: kvm_vm::plan_pool_delete, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    one: One,
    /// Delete its volumes, and what they were in.
    #[arg(long)]
    destroy_data: bool,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let pool = args.one.pool;
    let connection = session.host().await?;
    let (data, action) = match args.destroy_data {
        true => (PoolData::Destroy, "deleted with its data"),
        false => (PoolData::Keep, "deleted; its data is still there"),
    };
    let plan = kvm_vm::plan_pool_delete(&connection.host, &pool, data).await?;
    if args.dry_run {
        return printer.show(&PlanView::of(&plan));
    }
    if !session.yes {
        printer.preview(&plan.to_string());
    }
    confirm(session, printer, "Type the name to delete it: ", pool.as_str()).await?;
    if args.destroy_data {
        confirm(session, printer, "All data in it will be lost. Type destroy to go on: ", "destroy").await?;
    }
    session.carry_out(&connection, plan).await?;
    printer.show(&Changed { pool, action })
}
