//! `kvmctl op cancel`.

use kvm_core::Result;
use kvm_core::op::{OpId, Store as _};
use serde::Serialize;

use super::{One, open};
use crate::printer::{Outcome, Page};
use crate::session::Session;

/// Arguments of `op cancel`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl op cancel 7f3a1b2c\n  kvmctl op follow 7f3a1b2c",
    after_long_help = "The owner notices within a second, and takes back what it did unless it is past its point of no return.\n\n\
        Library: kvm_core::op::Store::request_cancel"
)]
pub struct Args {
    #[command(flatten)]
    one: One,
}

#[derive(Debug, Serialize)]
pub(super) struct Asked {
    operation: OpId,
    action: &'static str,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Asked> {
    let operation = args.one.operation;
    open(session, &operation).await?;
    session.store()?.request_cancel(&operation).await?;
    Ok(Asked { operation, action: "asked to cancel" })
}

impl Outcome for Asked {
    fn text(&self, page: &mut Page<'_>) {
        page.done(format_args!("operation {} {}", self.operation, self.action));
    }
}
