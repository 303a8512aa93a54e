//! `kvmctl vm import`.

use std::path::{Path, PathBuf};

use kvm_core::{Autostart, Error, ErrorKind, PoolName, Result, VmName};
use kvm_vm::{CreatePlan, DiskBus, Identity, ImportOptions, NetworkMap, PackageImport, Start, Trust, VolumeFormat};

use super::create::{Mode, carry_out};
use crate::args::one_of;
use crate::environment;
use crate::printer::Printer;
use crate::session::Session;
use crate::text;

/// Arguments of `vm import`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm import web.xml\n  kvmctl vm import shop.ova --name shop --network 'VM Network=default' --start\n  kvmctl vm export web | kvmctl -c lab1 vm import - --dry-run",
    after_long_help = "A file that ends in .ova, .ovf or .tar.zst is a package, which brings its disks; any other is libvirt's XML of a VM whose \
        disks are there. Disks of a package are read and written anew, into new volumes; its digests are verified first.\n\n\
        A document from somebody else can name any file of the host and any program to run; what goes beyond a plain VM is \
        refused unless --trust says that the document is as good as your own.\n\n\
        Library: kvm_vm::plan_import, kvm_vm::plan_package_import, kvm_core::op::Executor::run"
)]
pub struct Args {
    /// libvirt's XML, or - for standard input; an OVA, an OVF document beside its disks, or a bundle.
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
    #[command(flatten)]
    package: PackageFlags,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the XML that would be defined and do nothing.
    #[arg(long, conflicts_with = "dry_run")]
    print_xml: bool,
}

/// What only a package needs to be told.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
struct PackageFlags {
    /// Where its disks go.
    #[arg(long, value_name = "POOL", help_heading = "Packages")]
    pool: Option<PoolName>,
    /// The form of its disks; qcow2 where the pool has formats.
    #[arg(long, value_parser = one_of!(VolumeFormat), help_heading = "Packages")]
    format: Option<VolumeFormat>,
    /// How the disks of an appliance are plugged in.
    #[arg(long, value_parser = one_of!(DiskBus), help_heading = "Packages")]
    bus: Option<DiskBus>,
    /// Which network is which: NAME=NETWORK, NAME=bridge=BRIDGE, NAME=user, or NETWORK for all others; may be repeated.
    #[arg(long, value_name = "MAP", help_heading = "Packages")]
    network: Vec<NetworkMap>,
    /// A directory with room to unpack the disks of a bundle; that of the bundle if left out.
    #[arg(long, value_name = "DIR", help_heading = "Packages")]
    staging: Option<PathBuf>,
    /// Let the disks be larger than what their pool has left.
    #[arg(long, help_heading = "Packages")]
    allow_overcommit: bool,
}

impl Args {
    fn identity(&self) -> Identity {
        if self.fresh { Identity::Fresh } else { Identity::Keep }
    }

    fn autostart(&self) -> Autostart {
        if self.autostart { Autostart::On } else { Autostart::Off }
    }

    fn start(&self) -> Start {
        match (self.start, self.start_paused) {
            (_, true) => Start::Paused,
            (true, false) => Start::Yes,
            (false, false) => Start::No,
        }
    }
}

/// Whether a file is a package by its name.
fn is_package(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    [".ova", ".ovf", ".tar.zst"].iter().any(|ending| name.ends_with(ending))
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let mode = Mode { dry_run: args.dry_run, print_xml: args.print_xml, verb: "imported" };
    let plan = if is_package(&args.file) { package(args, session).await? } else { document(args, session).await? };
    carry_out(plan, mode, session, printer).await
}

async fn document(args: Args, session: &Session) -> Result<CreatePlan> {
    if args.package != PackageFlags::default() {
        return Err(Error::invalid(
            "file",
            "--pool, --format, --bus, --network, --staging and --allow-overcommit are for packages",
        )
        .with_detail("a package ends in .ova, .ovf or .tar.zst"));
    }
    let xml = text::read_user_file(&args.file).await?;
    let options = ImportOptions {
        identity: args.identity(),
        trust: if args.trust { Trust::Full } else { Trust::Checked },
        autostart: args.autostart(),
        start: args.start(),
        name: args.name,
    };
    let connection = session.host().await?;
    kvm_vm::plan_import(&connection.host, &xml, &options, &session.plan_context()).await
}

async fn package(args: Args, session: &Session) -> Result<CreatePlan> {
    if args.trust {
        return Err(Error::invalid("trust", "a package is never trusted; take it apart and import its XML"));
    }
    let (identity, autostart, start) = (args.identity(), args.autostart(), args.start());
    let file = environment::absolute(args.file)?;
    let staging = match args.package.staging {
        Some(staging) => environment::absolute(staging)?,
        None => file.parent().unwrap_or(Path::new("/")).to_owned(),
    };
    let wanted = PackageImport {
        name: args.name,
        pool: args.package.pool,
        format: args.package.format,
        bus: args.package.bus,
        networks: args.package.network,
        identity,
        autostart,
        start,
        allow_overcommit: args.package.allow_overcommit,
        ..PackageImport::new(file, staging)
    };
    let connection = session.host().await?;
    let (host, cx) = (&connection.host, session.plan_context());
    let plan = kvm_vm::plan_package_import(host, &wanted, &cx, &session.progress, &session.cancel).await;
    // The plan is shown, and perhaps a question asked, where the moving line was.
    session.progress.over();
    plan
}
