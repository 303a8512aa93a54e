//! `kvmctl vol clone`.

use clap::ValueEnum;
use kvm_core::{Bytes, ErrorKind, Result};
use kvm_vm::{Sharing, VolumeCopy, VolumeRef};

use super::done::Deed;
use crate::printer::Printer;
use crate::session::Session;

/// Arguments of `vol clone`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vol clone default/web.qcow2 default/web-2.qcow2\n  kvmctl vol clone default/web.qcow2 fast/web.qcow2\n  \
        kvmctl vol clone default/data.raw default/data-2.raw --reflink always",
    after_long_help = "The copy is made on the host and is complete by itself, whatever the original lies upon. Where the file system can \
        (btrfs, xfs), a raw copy shares its blocks with the original until one of them changes, and is there at once.\n\n\
        Library: kvm_vm::plan_volume_copy, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    copy: Copy,
    /// Whether blocks are shared with the original.
    #[arg(long, value_enum, default_value_t = Reflink::Auto, value_name = "WHEN")]
    reflink: Reflink,
}

/// What every copy needs.
#[derive(Debug, clap::Args)]
pub(super) struct Copy {
    /// Pool and name of the original.
    #[arg(value_name = "POOL/VOLUME")]
    from: VolumeRef,
    /// Pool and name of the copy.
    #[arg(value_name = "NEW-POOL/NEW-VOLUME", value_parser = VolumeRef::parse_new)]
    to: VolumeRef,
    /// Size that a guest sees, not less than the original's.
    #[arg(long, value_name = "SIZE", value_parser = kvm_core::parse_size)]
    size: Option<Bytes>,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Reflink {
    /// Where the file system can.
    Auto,
    /// In any case; else there is no copy.
    Always,
    /// Never.
    Never,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let sharing = match args.reflink {
        Reflink::Auto => Sharing::Auto,
        Reflink::Always => Sharing::Always,
        Reflink::Never => Sharing::Never,
    };
    args.copy.run((None, sharing, "cloned to"), session, printer).await
}

impl Copy {
    pub(super) async fn run(
        self,
        (format, sharing, verb): (Option<kvm_vm::VolumeFormat>, Sharing, &str),
        session: &Session,
        printer: &mut Printer,
    ) -> Result<Option<ErrorKind>> {
        let what = format!("{} {verb} {}", self.from, self.to);
        let wanted = VolumeCopy { from: self.from, to: self.to, format, size: self.size, sharing };
        let connection = session.host().await?;
        let plan = kvm_vm::plan_volume_copy(&connection.host, &wanted).await?;
        let deed = Deed {
            connection: &connection,
            volume: &wanted.to,
            file: None,
            what,
            dry_run: self.dry_run,
            destroys: false,
        };
        deed.carry_out(plan, session, printer).await
    }
}
