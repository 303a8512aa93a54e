//! `kvmctl net delete`.

use kvm_core::{ErrorKind, Result};

use super::{Changed, One};
use crate::operation::confirm;
use crate::printer::Printer;
use crate::session::Session;

/// Arguments of `net delete`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl net stop lab\n  kvmctl net delete lab",
    after_long_help = "VMs that name the network do not start any more until there is one of that name again.\n\n\
        Library: kvm_core::Networks::undefine"
)]
pub struct Args {
    #[command(flatten)]
    one: One,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let network = args.one.network;
    let connection = session.host().await?;
    let info = connection.host.networks.find(&network).await?;
    if !session.yes {
        let bridge = info.bridge.map(|bridge| format!(", bridge {bridge}")).unwrap_or_default();
        printer.preview(&format!(
            "delete network {network} on {}\n  remove  definition  {network}  {}{}",
            connection.label(),
            info.forward,
            kvm_core::text::printable(&bridge)
        ));
    }
    confirm(session, printer, "Type the name to delete it: ", network.as_str()).await?;
    connection.host.networks.undefine(&network).await?;
    printer.show(&Changed { network, action: "deleted" })
}
