//! `kvmctl pool create`.

use kvm_core::{Autostart, Build, DiskPath, DiskRoot, ErrorKind, PoolName, Result};
use kvm_vm::{
    InitiatorName, InitiatorUser, PoolKind, PoolSpec, SecretRef, SourceAuth, SourceDevice, SourceDir, SourceHost,
    SourceName,
};
use kvm_xml::Document as _;

use super::Changed;
use crate::args::one_of;
use crate::operation::{PlanView, agree};
use crate::printer::Printer;
use crate::session::Session;

/// Arguments of `pool create`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl pool create images --target /var/lib/libvirt/images --autostart\n  \
        kvmctl pool create nfs --type netfs --source-host nas --source-dir /export/vm --target /srv/nfs\n  \
        kvmctl pool create fast --type logical --source-name vg0",
    after_long_help = "\
What each type needs, and takes [besides]:
  dir           --target
  fs            --target --source-device [--source-format]
  netfs         --target --source-host --source-dir [--source-format]
  logical       --source-name [--source-device… --target]
  disk          --source-device [--source-format --target]
  iscsi         --source-host --source-device IQN [--initiator --auth-user --auth-secret --target]
  iscsi-direct  --source-host --source-device IQN --initiator [--auth-user --auth-secret]
  rbd           --source-host… --source-name [--auth-user --auth-secret]
  zfs           --source-name [--source-device…]

Directories are made when they are not there. File systems, partition tables and volume groups are made with --format only.
Passwords are in secrets of the host's libvirt, never on a command line.

Library: kvm_vm::plan_pool_create, kvm_core::Storage::create_pool"
)]
pub struct Args {
    /// Name of the pool.
    #[arg(value_name = "POOL")]
    pool: PoolName,
    /// What backs it.
    #[arg(long = "type", value_name = "TYPE", default_value = "dir", value_parser = one_of!(PoolKind))]
    kind: PoolKind,
    /// Directory on the host in which the volumes are.
    #[arg(long, value_name = "DIR", value_parser = target)]
    target: Option<DiskRoot>,
    #[command(flatten)]
    source: Source,
    /// Make the file system, partition table or volume group, where there is none.
    #[arg(long)]
    format: bool,
    /// With --format: also where there is something, which is lost.
    #[arg(long, requires = "format")]
    overwrite: bool,
    /// Start it when its host boots.
    #[arg(long)]
    autostart: bool,
    /// Print the XML that would be defined and do nothing.
    #[arg(long)]
    print_xml: bool,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Where the storage comes from.
#[derive(Debug, clap::Args)]
struct Source {
    /// Server, with :PORT if it is not the usual one.
    #[arg(long = "source-host", value_name = "HOST")]
    hosts: Vec<SourceHost>,
    /// Device below /dev, or the qualified name of an iSCSI target.
    #[arg(long = "source-device", value_name = "DEVICE")]
    devices: Vec<SourceDevice>,
    /// Directory of the server.
    #[arg(long = "source-dir", value_name = "DIR")]
    dir: Option<SourceDir>,
    /// Volume group, Ceph pool or ZFS pool.
    #[arg(long = "source-name", value_name = "NAME")]
    name: Option<SourceName>,
    /// What is on the device or server: ext4, xfs, nfs, gpt…
    #[arg(long, value_name = "FORMAT")]
    source_format: Option<String>,
    /// The host's name for iSCSI targets.
    #[arg(long, value_name = "IQN")]
    initiator: Option<InitiatorName>,
    /// User of the storage server.
    #[arg(long, value_name = "USER", requires = "auth_secret")]
    auth_user: Option<InitiatorUser>,
    /// The secret of the host's libvirt that holds the password: its uuid or usage.
    #[arg(long, value_name = "SECRET", requires = "auth_user")]
    auth_secret: Option<SecretRef>,
}

/// A directory whose files may be disks.
fn target(text: &str) -> Result<DiskRoot> {
    // Device pools have theirs below /dev, where no file may be a disk.
    if !text.starts_with("/dev/") && text != "/dev" {
        DiskPath::parse(&format!("{text}/volume"))?;
    }
    DiskRoot::parse(text)
}

impl Args {
    fn spec(&self) -> PoolSpec {
        let Source { hosts, devices, dir, name, source_format, initiator, auth_user, auth_secret } = &self.source;
        let auth = auth_user.clone().zip(auth_secret.clone());
        PoolSpec {
            target: self.target.clone(),
            hosts: hosts.clone(),
            devices: devices.clone(),
            dir: dir.clone(),
            source_name: name.clone(),
            format: source_format.clone(),
            initiator: initiator.clone(),
            auth: auth.map(|(user, secret)| SourceAuth { user, secret }),
            ..PoolSpec::new(self.pool.clone(), self.kind)
        }
    }
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let spec = args.spec();
    let document = spec.document()?;
    if args.print_xml {
        return printer.raw(document.to_xml().as_bytes()).map(|()| None);
    }
    let autostart = if args.autostart { Autostart::On } else { Autostart::Off };
    let build = match (args.format, args.overwrite) {
        (true, true) => Some(Build::Overwrite),
        (true, false) => Some(Build::Format),
        _ => None,
    };
    let connection = session.host().await?;
    if build.is_none() && !args.dry_run {
        connection.host.storage.create_pool(&document, autostart).await?;
        return printer.show(&Changed { pool: args.pool, action: "created and started" });
    }
    let plan = kvm_vm::plan_pool_create(&connection.host, &spec, build, autostart).await?;
    if args.dry_run {
        return printer.show(&PlanView::of(&plan));
    }
    agree(&plan, session, printer).await?;
    session.carry_out(&connection, plan).await?;
    printer.show(&Changed { pool: args.pool, action: "formatted, created and started" })
}
