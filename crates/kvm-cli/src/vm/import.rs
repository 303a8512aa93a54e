//! `kvmctl vm import`.

use std::path::PathBuf;

use kvm_core::{Autostart, ErrorKind, Result, VmName};
use kvm_vm::{Identity, ImportOptions, Start, Trust};

use super::create::{Mode, carry_out};
use crate::printer::Printer;
use crate::session::Session;
use crate::text;

/// Arguments of `vm import`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm import web.xml\n  kvmctl vm import web.xml --name web2 --fresh --start\n  kvmctl vm export web | kvmctl -c lab1 vm import - --dry-run",
    after_long_help = "A document from somebody else can name any file of the host and any program to run; what goes beyond a plain VM is \
        refused unless --trust says that the document is as good as your own.\n\n\
        Library: kvm_vm::plan_import, kvm_core::op::Executor::run"
)]
pub struct Args {
    /// libvirt's XML; - for standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Another name than the document says.
    #[arg(long, value_name = "NAME")]
    name: Option<VmName>,
    /// A new uuid and new MAC addresses, so that it can live beside the original.
    #[arg(long)]
    fresh: bool,
    /// Take everything that the document says.
    #[arg(long)]
    trust: bool,
    /// Start it with its host.
    #[arg(long)]
    autostart: bool,
    /// Start it.
    #[arg(long)]
    start: bool,
    /// Start it, but do not let its CPUs run yet.
    #[arg(long, conflicts_with = "start")]
    start_paused: bool,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the XML that would be defined and do nothing.
    #[arg(long, conflicts_with = "dry_run")]
    print_xml: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let xml = text::read_user_file(&args.file).await?;
    let options = ImportOptions {
        name: args.name,
        identity: if args.fresh { Identity::Fresh } else { Identity::Keep },
        trust: if args.trust { Trust::Full } else { Trust::Checked },
        autostart: if args.autostart { Autostart::On } else { Autostart::Off },
        start: match (args.start, args.start_paused) {
            (_, true) => Start::Paused,
            (true, false) => Start::Yes,
            (false, false) => Start::No,
        },
    };
    let connection = session.host().await?;
    let plan = kvm_vm::plan_import(&connection.host, &xml, &options, &session.plan_context()).await?;
    carry_out(plan, Mode { dry_run: args.dry_run, print_xml: args.print_xml, verb: "imported" }, session, printer).await
}
