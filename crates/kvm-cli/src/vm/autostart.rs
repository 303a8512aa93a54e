//! `kvmctl vm autostart`.

use kvm_core::{Autostart, ErrorKind, Result};
use serde::Serialize;

use crate::printer::Printer;
use crate::session::Session;
use crate::text;
use crate::vms::{Deed, Several, Would};

/// Arguments of `vm autostart`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm autostart web db\n  kvmctl vm autostart --off --all",
    after_long_help = "Library: kvm_core::Hypervisor::set_autostart"
)]
pub struct Args {
    #[command(flatten)]
    vms: Several,
    /// Do not start them any more.
    #[arg(long)]
    off: bool,
}

#[derive(Debug, Serialize)]
struct Set {
    autostart: Autostart,
}

impl Deed for Set {
    fn words(&self) -> String {
        text::autostart(self.autostart).to_owned()
    }
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let autostart = if args.off { Autostart::Off } else { Autostart::On };
    if args.vms.dry_run {
        return printer.show(&Would::new("change the autostart of", args.vms.find(session).await?));
    }
    let batch = args
        .vms
        .each(session, async |connection, vm| {
            connection.host.hypervisor.set_autostart(&vm.id, autostart).await?;
            Ok(Set { autostart })
        })
        .await?;
    printer.show(&batch)
}
