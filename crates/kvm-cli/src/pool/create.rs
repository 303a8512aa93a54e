//! `kvmctl pool create`.

use kvm_core::{Autostart, DiskPath, DiskRoot, ErrorKind, PoolName, Result};
use kvm_xml::pool::{PoolTarget, PoolType};
use kvm_xml::{Document as _, StoragePool};

use super::Changed;
use crate::printer::Printer;
use crate::session::Session;

/// Arguments of `pool create`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl pool create images --target /var/lib/libvirt/images --autostart\n  kvmctl pool create scratch --target /srv/scratch --print-xml",
    after_long_help = "Makes the directory when it is not there.\n\nLibrary: kvm_core::Storage::create_pool"
)]
pub struct Args {
    /// Name of the pool.
    #[arg(value_name = "POOL")]
    pool: PoolName,
    /// Directory on the host in which the volumes are.
    #[arg(long, value_name = "DIR", value_parser = target)]
    target: DiskRoot,
    /// Start it when its host boots.
    #[arg(long)]
    autostart: bool,
    /// Print the XML that would be defined and do nothing.
    #[arg(long)]
    print_xml: bool,
}

/// A directory whose files may be disks.
fn target(text: &str) -> Result<DiskRoot> {
    DiskPath::parse(&format!("{text}/volume"))?;
    DiskRoot::parse(text)
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let document = StoragePool {
        r#type: Some(PoolType::Dir),
        name: Some(args.pool.as_str().to_owned()),
        target: Some(PoolTarget { path: Some(args.target.as_str().to_owned()), ..PoolTarget::default() }),
        ..StoragePool::default()
    };
    if args.print_xml {
        return printer.raw(document.to_xml().as_bytes()).map(|()| None);
    }
    let autostart = if args.autostart { Autostart::On } else { Autostart::Off };
    session.host().await?.host.storage.create_pool(&document, autostart).await?;
    printer.show(&Changed { pool: args.pool, action: "created and started" })
}
