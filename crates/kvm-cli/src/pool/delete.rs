//! `kvmctl pool delete`.

use kvm_core::{ErrorKind, Result};

use super::{Changed, One};
use crate::operation::confirm;
use crate::printer::Printer;
use crate::session::Session;

/// Arguments of `pool delete`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl pool stop scratch\n  kvmctl pool delete scratch",
    after_long_help = "Only the definition goes; the directory and the volumes in it stay.\n\nLibrary: kvm_core::Storage::undefine_pool"
)]
pub struct Args {
    #[command(flatten)]
    one: One,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let pool = args.one.pool;
    let connection = session.host().await?;
    let info = connection.host.storage.find_pool(&pool).await?;
    if !session.yes {
        let target = info.target.as_ref().map(|t| format!("  keep    data        {}", t.as_str())).unwrap_or_default();
        printer
            .preview(&format!("delete pool {pool} on {}\n  remove  definition  {pool}\n{target}", connection.label()));
    }
    confirm(session, printer, "Type the name to delete it: ", pool.as_str()).await?;
    connection.host.storage.undefine_pool(&pool).await?;
    printer.show(&Changed { pool, action: "deleted; its data is still there" })
}
