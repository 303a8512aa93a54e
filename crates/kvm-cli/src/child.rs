//! Interactive children: programs that take over the terminal for a while.

use std::path::Path;

use kvm_core::{Error, ErrorKind, Result};

use crate::environment;
use crate::session::Session;

/// Opens the user's editor on a file and waits until it is closed.
pub(crate) async fn edit(session: &Session, file: &Path) -> Result<()> {
    let command = environment::editor();
    let (program, args) = command.split_first().ok_or_else(|| Error::invalid("EDITOR", "the editor has no name"))?;
    // Ctrl-C belongs to the editor while it runs.
    let _quiet = session.leave_signals_to_child();
    #[expect(clippy::disallowed_methods, reason = "an editor needs the terminal, which no transport has")]
    let status = tokio::process::Command::new(program).args(args).arg(file).kill_on_drop(true).status().await;
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Error::new(ErrorKind::Cancelled, format!("the editor ended with {status}"))),
        Err(e) => Err(Error::new(ErrorKind::NotFound, format!("cannot run the editor {program}"))
            .during("edit")
            .with_source(e)),
    }
}
