//! `kvmctl op resume`.

use kvm_core::Result;
use kvm_core::op::Direction;

use super::{Finished, One, open};
use crate::session::Session;

/// Arguments of `op resume`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  kvmctl op resume 7f3a1b2c",
    after_long_help = "Works while its owner is dead; what is done already is not done again.\n\nLibrary: kvm_core::op::Executor::finish with Direction::Forward"
)]
pub struct Args {
    #[command(flatten)]
    one: One,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Finished> {
    let id = args.one.operation;
    let header = open(session, &id).await?.header;
    let connection = session.at_target(&header.target).await?;
    let done = session.finish(&connection, &id, Direction::Forward).await?;
    Ok(Finished::new(header.title, &done))
}
