//! `kvmctl move`.

use std::time::Duration;

use kvm_clone::{Compress, MovePlan, MoveSpec, Parallel, SyncedImage, UplinkMap, WhileMoving, plan_move};
use kvm_core::{Bandwidth, ErrorKind, PoolName, Result, VmId, parse_duration};
use kvm_vm::Start;
use kvm_xml::Document as _;
use serde::Serialize;

use crate::operation::{DoneForm, PlanView, Rewritten, agree};
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `move`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl move web lab2 --dry-run\n  kvmctl move lab1/web lab2 --shutdown --yes\n  \
        kvmctl move web lab2 --pool fast --network lan=default --start",
    after_long_help = "The VM stays what it is: name, uuid, MAC addresses, UEFI variables, the state of an emulated TPM, and whether it starts with its host. Its images are \
        sent to the other host, read there once more and compared; both hosts need to be able to run kvm-helper. While both hosts have \
        its definition, kvmctl starts it on neither. Then the images are compared again, and it goes from this host: its definition, its UEFI \
        variables, the state of its TPM, and those of its images that were copied and that nobody else uses.\n\
        Cut short at any moment, one host has it whole: kvmctl op list --open, and op resume or op undo. Ctrl-C takes everything back \
        as long as this host has it.\n\
        A VM that runs is refused; kvmctl vm migrate moves one while it runs. With --shutdown or --power-off it is off for the time of the move, \
        and started there.\n\n\
        Library: kvm_clone::plan_move, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// The host that it goes to, a target or an alias of hosts.toml.
    #[arg(value_name = "HOST")]
    destination: String,
    /// Where its images go; the pool in the same directory, or the default one, if left out.
    #[arg(long, value_name = "POOL")]
    pool: Option<PoolName>,
    /// What a network or a bridge of the VM is called there; may be repeated.
    #[arg(long, value_name = "OLD=NEW")]
    network: Vec<UplinkMap>,
    /// Leave devices of the source's hardware out.
    #[arg(long)]
    drop_hostdev: bool,
    /// Leave the records of snapshots and checkpoints behind; without it a VM that has some is refused.
    #[arg(long)]
    leave_snapshots: bool,
    /// Have a VM that runs shut down first, within this time, and start it there.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, num_args = 0..=1, default_missing_value = "2m", require_equals = true)]
    shutdown: Option<Duration>,
    /// Pull the plug of a VM that runs first, and start it there.
    #[arg(long, conflicts_with = "shutdown")]
    power_off: bool,
    /// Start it there also when it was off.
    #[arg(long)]
    start: bool,
    /// Most that is sent per second, such as 100M or 1Gbit/s.
    #[arg(long, value_name = "RATE", value_parser = Bandwidth::parse)]
    bandwidth: Option<Bandwidth>,
    /// Send everything as it is; without it what a sample shows to shrink is compressed.
    #[arg(long)]
    no_compress: bool,
    /// How many disks are sent at a time where helpers carry them, from 1 to 8; 1 if left out.
    #[arg(long, value_name = "N")]
    parallel: Option<Parallel>,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the XML that would be defined there and do nothing.
    #[arg(long, conflicts_with = "dry_run")]
    print_xml: bool,
}

impl Args {
    fn spec(&self) -> MoveSpec {
        MoveSpec {
            pool: self.pool.clone(),
            uplinks: self.network.clone(),
            drop_hostdev: self.drop_hostdev,
            leave_snapshots: self.leave_snapshots,
            running: match (self.shutdown, self.power_off) {
                (Some(within), _) => WhileMoving::Shutdown(within),
                (None, true) => WhileMoving::PowerOff,
                (None, false) => WhileMoving::Refuse,
            },
            limit: self.bandwidth.unwrap_or(Bandwidth::UNLIMITED),
            compression: if self.no_compress { Compress::Never } else { Compress::Auto },
            parallel: self.parallel.unwrap_or_default(),
            start: if self.start { Start::Yes } else { Start::No },
        }
    }
}

pub(crate) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (source, vm) = args.vm.find(session).await?;
    let target = session.at(Some(&args.destination)).await?;
    let planned = plan_move(&source.host, &target.host, &vm, &args.spec(), &session.plan_context()).await?;
    let MovePlan { plan, document, name, id, changes, warnings, tally } = planned;
    if args.print_xml {
        printer.raw(document.to_xml().as_bytes())?;
        return Ok(None);
    }
    let changes = changes.iter().map(ToString::to_string).collect();
    if args.dry_run {
        return printer.show(&Rewritten { plan: PlanView::of(&plan), changes });
    }
    agree(&plan, session, printer).await?;
    let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    let done = session.carry_out(&target, plan).await?;
    printer.show(&Moved {
        name: name.as_str().to_owned(),
        id,
        host: target.label(),
        source: source.label(),
        done: DoneForm::of(&done),
        images: tally.images().into_iter().map(Image::of).collect(),
        warnings,
        changes,
    })
}

/// What was moved of a disk.
#[derive(Serialize)]
struct Image {
    disk: String,
    length_bytes: kvm_core::Bytes,
    sent_bytes: kvm_core::Bytes,
}

impl Image {
    fn of(SyncedImage { disk, moved }: SyncedImage) -> Self {
        Self { disk, length_bytes: moved.length, sent_bytes: moved.sent }
    }
}

/// A VM that has moved.
#[derive(Serialize)]
struct Moved {
    name: String,
    id: VmId,
    host: String,
    source: String,
    #[serde(flatten)]
    done: DoneForm,
    images: Vec<Image>,
    warnings: Vec<String>,
    changes: Vec<String>,
}

impl Outcome for Moved {
    fn text(&self, page: &mut Page<'_>) {
        self.done.text(&format!("{} moved from {} to {}", self.name, self.source, self.host), page);
    }
}
