//! `kvmctl vol delete`.

use kvm_core::{Error, ErrorKind, Resource, Result};
use kvm_vm::VolumeRef;
use serde::Serialize;

use super::done::Deed;
use crate::operation::confirm;
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;

/// Arguments of `vol delete`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  kvmctl vol delete default/data.qcow2",
    after_long_help = "A volume that a VM uses, or that others lie upon, is refused.\n\n\
        Library: kvm_vm::volume_uses, kvm_core::Storage::delete_volume, kvm_vm::plan_volume_delete"
)]
pub struct Args {
    /// Pool and name.
    #[arg(value_name = "POOL/VOLUME")]
    volume: VolumeRef,
}

#[derive(Serialize)]
struct Deleted {
    volume: String,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let connection = session.host().await?;
    if kvm_vm::volume_details(&connection.host, &args.volume).await?.secret.is_some() {
        // Its passphrase goes with it, in one operation.
        let plan = kvm_vm::plan_volume_delete(&connection.host, &args.volume).await?;
        if !session.yes {
            printer.preview(&plan.to_string());
        }
        confirm(session, printer, "Type the volume's name to delete it: ", args.volume.volume.as_str()).await?;
        let what = format!("volume {} deleted", args.volume);
        let (file, dry_run, destroys) = (None, false, false);
        let deed = Deed { connection: &connection, volume: &args.volume, file, what, dry_run, destroys };
        return deed.carry_out(plan, session, printer).await;
    }
    let storage = &connection.host.storage;
    let (info, users) = kvm_vm::volume_uses(&connection.host, &args.volume).await?;
    let volume = args.volume.as_text();
    if let Some(users) = users {
        return Err(Error::new(ErrorKind::InvalidState, format!("cannot delete volume {volume}"))
            .on(Resource::Volume(volume))
            .with_detail(users));
    }
    if !session.yes {
        printer.preview(&format!(
            "delete volume {} on {}\n  remove  data  {}  {} on disk",
            kvm_core::text::printable(&volume),
            connection.label(),
            kvm_core::text::printable(info.place().unwrap_or_default()),
            info.allocation
        ));
    }
    confirm(session, printer, "Type the volume's name to delete it: ", info.name.as_str()).await?;
    storage.delete_volume(&args.volume.pool, &args.volume.volume).await?;
    printer.show(&Deleted { volume })
}

impl Outcome for Deleted {
    fn text(&self, page: &mut Page<'_>) {
        page.done(format_args!("volume {} deleted", self.volume));
    }
}
