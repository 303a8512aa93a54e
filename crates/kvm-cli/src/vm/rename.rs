//! `kvmctl vm rename`.

use kvm_core::{Result, VmName};
use serde::Serialize;

use crate::printer::{Outcome, Page};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `vm rename`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  kvmctl vm rename web web-old",
    after_long_help = "The VM must be off and have no snapshots; its uuid and its volumes keep what they are called.\n\nLibrary: kvm_vm::rename"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// The new name.
    #[arg(value_name = "NEW")]
    new: VmName,
}

#[derive(Debug, Serialize)]
pub(super) struct Renamed {
    id: String,
    name: String,
    old_name: String,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Renamed> {
    let (connection, vm) = args.vm.find(session).await?;
    kvm_vm::rename(&connection.host, &vm.id, &args.new).await?;
    Ok(Renamed { id: vm.id.to_string(), name: args.new.as_str().to_owned(), old_name: vm.name.into() })
}

impl Outcome for Renamed {
    fn text(&self, page: &mut Page<'_>) {
        page.done(format_args!("{} is now {}", self.old_name, self.name));
    }
}
