//! `kvmctl nic link`.

use clap::ValueEnum;
use kvm_core::{Impact, MacAddr, Result};
use kvm_xml::domain::Link;
use serde::Serialize;

use crate::device::{Reach, when};
use crate::printer::{Outcome, Page};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `nic link`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl nic link web 52:54:00:12:34:56 down\n  kvmctl nic link web 52:54:00:12:34:56 up --only live",
    after_long_help = "Library: kvm_vm::set_link"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// Its hardware address.
    #[arg(value_name = "MAC", value_parser = MacAddr::parse)]
    mac: MacAddr,
    /// Whether the guest sees a cable.
    #[arg(value_enum, value_name = "STATE")]
    link: State,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum State {
    Up,
    Down,
}

#[derive(Debug, Serialize)]
pub(super) struct Linked {
    vm: String,
    mac: MacAddr,
    link: State,
    documents: Impact,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Linked> {
    let (connection, vm) = args.vm.find(session).await?;
    let link = match args.link {
        State::Up => Link::Up,
        State::Down => Link::Down,
    };
    let documents = kvm_vm::set_link(&connection.host, &vm, args.mac, link, args.reach.impact()).await?;
    Ok(Linked { vm: vm.name.into(), mac: args.mac, link: args.link, documents })
}

impl Outcome for Linked {
    fn text(&self, page: &mut Page<'_>) {
        let state = if self.link == State::Up { "up" } else { "down" };
        page.done(format_args!("link of {} in {} is {state}{}", self.mac, self.vm, when(self.documents)));
    }
}
