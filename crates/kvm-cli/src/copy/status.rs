//! `kvm-clone status`.

use kvm_core::op::{OpId, OpStatus, OpView, Store as _};
use kvm_core::{Error, ErrorKind, Result};

use crate::op;
use crate::printer::Printer;
use crate::session::Session;

/// How many that ended are shown without being asked for all.
const LATEST: usize = 20;

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvm-clone status --active\n  kvm-clone status 7f3a1b2c\n  kvm-clone status --follow",
    after_long_help = "Clones, syncs and promotions of this user on this machine, whether kvm-clone or kvmctl began them. One that was interrupted \
        is finished by the next one of the same VM, or by kvmctl op resume and kvmctl op undo.\n\n\
        Library: kvm_core::op::Store::unfinished, ::finished, ::view"
)]
pub struct Args {
    /// One operation, step by step: eight hexadecimal digits.
    #[arg(value_name = "ID", conflicts_with_all = ["all", "active"])]
    operation: Option<OpId>,
    /// All that are kept, not only the latest.
    #[arg(short, long)]
    all: bool,
    /// Only those that run, were interrupted or need attention.
    #[arg(long, conflicts_with = "all")]
    active: bool,
    /// Print each step as it begins and ends; without an ID, of the one that runs.
    #[arg(short, long, conflicts_with_all = ["all", "active"])]
    follow: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    match (args.operation, args.follow) {
        (Some(operation), true) => op::follow(operation, session, printer).await,
        (Some(operation), false) => op::show(&operation, session, printer).await,
        (None, true) => op::follow(running(session).await?, session, printer).await,
        (None, false) => {
            let ended = match (args.active, args.all) {
                (true, _) => None,
                (false, true) => Some(usize::MAX),
                (false, false) => Some(LATEST),
            };
            op::overview(ended, is_copy, session, printer).await
        }
    }
}

fn is_copy(view: &OpView) -> bool {
    view.header.kind.starts_with("clone.")
}

/// The one that runs. `NotFound` when none does, `InvalidInput` when it is not clear which.
async fn running(session: &Session) -> Result<OpId> {
    let views = match session.existing_store()? {
        Some(store) => store.unfinished().await?,
        None => Vec::new(),
    };
    let runs = |view: &&OpView| view.status == OpStatus::Running && is_copy(view);
    let ids: Vec<_> = views.iter().filter(runs).map(|view| view.header.id.clone()).collect();
    match ids.as_slice() {
        [one] => Ok(one.clone()),
        [] => {
            Err(Error::new(ErrorKind::NotFound, "no clone and no sync runs")
                .with_detail("kvm-clone status lists what was"))
        }
        several => {
            let ids: Vec<_> = several.iter().map(ToString::to_string).collect();
            Err(Error::invalid("operation", "several operations run")
                .with_detail(format!("name one of {}", ids.join(", "))))
        }
    }
}
