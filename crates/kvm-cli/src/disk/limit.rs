//! `kvmctl disk limit`.

use kvm_core::{Bandwidth, DiskLimits, Impact, Iops, Result};
use kvm_xml::value::DiskName;
use serde::Serialize;

use crate::device::{Reach, when};
use crate::printer::{Outcome, Page};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `disk limit`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl disk limit web vda --read-bytes 50MiB --write-bytes 20MiB\n  \
        kvmctl disk limit web vda --total-iops 500 --only live\n  kvmctl disk limit web vda --none",
    after_long_help = "The limits take the place of those that there were: what is left out is not limited. A total goes without its \
        parts.\n\nLibrary: kvm_vm::limit_disk"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// The disk's target, such as vda.
    #[arg(value_name = "TARGET")]
    target: DiskName,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Clone, Copy, Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct Limits {
    /// Bytes per second, reading and writing together, such as 100MiB.
    #[arg(long, value_name = "RATE", value_parser = Bandwidth::parse)]
    total_bytes: Option<Bandwidth>,
    /// Bytes per second, reading.
    #[arg(long, value_name = "RATE", value_parser = Bandwidth::parse)]
    read_bytes: Option<Bandwidth>,
    /// Bytes per second, writing.
    #[arg(long, value_name = "RATE", value_parser = Bandwidth::parse)]
    write_bytes: Option<Bandwidth>,
    /// Operations per second, reading and writing together.
    #[arg(long, value_name = "N", value_parser = Iops::parse)]
    total_iops: Option<Iops>,
    /// Operations per second, reading.
    #[arg(long, value_name = "N", value_parser = Iops::parse)]
    read_iops: Option<Iops>,
    /// Operations per second, writing.
    #[arg(long, value_name = "N", value_parser = Iops::parse)]
    write_iops: Option<Iops>,
    /// No limits.
    #[arg(long, conflicts_with_all = ["total_bytes", "read_bytes", "write_bytes", "total_iops", "read_iops", "write_iops"])]
    none: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Limited {
    vm: String,
    target: String,
    /// What is limited, in bytes or operations per second.
    limits: serde_json::Map<String, serde_json::Value>,
    documents: Impact,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Limited> {
    let (connection, vm) = args.vm.find(session).await?;
    let Limits { total_bytes, read_bytes, write_bytes, total_iops, read_iops, write_iops, none: _ } = args.limits;
    let limits = DiskLimits { total_bytes, read_bytes, write_bytes, total_iops, read_iops, write_iops };
    let documents = kvm_vm::limit_disk(&connection.host, &vm, &args.target, &limits, args.reach.impact()).await?;
    let limits = limits.named().into_iter().filter(|(_, limit)| *limit > 0);
    let limits = limits.map(|(name, limit)| (name.to_owned(), limit.into())).collect();
    Ok(Limited { vm: vm.name.into(), target: args.target.to_string(), limits, documents })
}

impl Outcome for Limited {
    fn text(&self, page: &mut Page<'_>) {
        let Self { vm, target, documents, .. } = self;
        let is_limited = if self.limits.is_empty() { "is not limited" } else { "is limited" };
        page.done(format_args!("disk {target} of {vm} {is_limited}{}", when(*documents)));
    }
}
