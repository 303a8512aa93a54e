//! `kvmctl net show`.

use kvm_core::{NetworkInfo, Result};
use serde::Serialize;

use super::One;
use crate::printer::{Outcome, Page};
use crate::session::Session;

/// Arguments of `net show`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  kvmctl net show default",
    after_long_help = "Library: kvm_core::Networks::find, ::definition"
)]
pub struct Args {
    #[command(flatten)]
    one: One,
}

#[derive(Debug, Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    network: NetworkInfo,
    /// The host's own addresses on it.
    addresses: Vec<String>,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Shown> {
    let connection = session.host().await?;
    let networks = &connection.host.networks;
    let network = networks.find(&args.one.network).await?;
    let document = networks.definition(&args.one.network).await?;
    let addresses = document.ip.iter().filter_map(|ip| {
        let address = ip.address?;
        Some(match (ip.prefix, ip.netmask) {
            (Some(prefix), _) => format!("{address}/{prefix}"),
            (None, Some(mask)) => format!("{address} mask {mask}"),
            (None, None) => address.to_string(),
        })
    });
    Ok(Shown { network, addresses: addresses.collect() })
}

impl Outcome for Shown {
    fn text(&self, page: &mut Page<'_>) {
        let network = &self.network;
        let yes_no = |is: bool| Some(if is { "yes" } else { "no" }.to_owned());
        page.fields(&[
            ("name", Some(network.name.as_str().to_owned())),
            ("state", Some(if network.active { "active" } else { "inactive" }.to_owned())),
            ("forward", Some(network.forward.clone())),
            ("bridge", network.bridge.clone()),
            ("address", (!self.addresses.is_empty()).then(|| self.addresses.join("\n"))),
            ("autostart", yes_no(network.autostart)),
            ("persistent", yes_no(network.persistent)),
        ]);
    }
}
