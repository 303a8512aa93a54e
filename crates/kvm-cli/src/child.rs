//! Interactive children: programs that take over the terminal or show something for a while.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kvm_core::{Error, ErrorKind, Result};

use crate::environment;
use crate::session::Session;
use crate::vm::viewer::screen::Kind;

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

/// A program that shows screens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Viewer {
    /// remote-viewer of virt-viewer, which reads viewer files.
    Remote(PathBuf),
    /// A viewer for VNC alone, such as TigerVNC's.
    Vnc(PathBuf),
    /// What the desktop opens such addresses with; it does not wait for that.
    Desktop(PathBuf),
}

impl Viewer {
    /// What it is called.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Remote(_) => "remote-viewer",
            Self::Vnc(_) => "vncviewer",
            Self::Desktop(_) => "xdg-open",
        }
    }
}

/// The viewer of the user's desktop; `None` where there is no desktop, or nothing that shows such screens.
pub(crate) fn viewer(kind: Kind) -> Option<Viewer> {
    if !environment::has_desktop() {
        return None;
    }
    let vnc = || environment::program("vncviewer").filter(|_| kind == Kind::Vnc);
    environment::program("remote-viewer")
        .map(Viewer::Remote)
        .or_else(|| vnc().map(Viewer::Vnc))
        .or_else(|| environment::program("xdg-open").map(Viewer::Desktop))
}

/// Opens a viewer and waits until it is closed. Ctrl-C closes it.
pub(crate) async fn view(session: &Session, program: &Path, args: &[&OsStr]) -> Result<()> {
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // A terminal sends Ctrl-C to the viewer as well, and its end is waited for.
    let _quiet = session.leave_signals_to_child();
    #[expect(clippy::disallowed_methods, reason = "a viewer needs the user's desktop, which no transport has")]
    let status = tokio::process::Command::new(program).args(args).kill_on_drop(true).status().await;
    match status {
        Ok(_) => Ok(()),
        Err(e) => Err(Error::new(ErrorKind::Unavailable, format!("cannot run the viewer {name}"))
            .during("viewer")
            .with_source(e)),
    }
}
