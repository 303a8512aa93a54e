//! libvirt's default event loop on one thread, for the life of the process.

use std::sync::OnceLock;
use std::time::Duration;

use virt::{error::clear_error_callback, event};

use crate::error::LibvirtError;

/// What starting the loop came to, for every connection of this process.
static STARTED: OnceLock<Result<(), StartError>> = OnceLock::new();

/// Why the event loop could not be started.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("libvirt refuses its event loop")]
    Register(#[source] LibvirtError),
    #[error("no thread for libvirt's event loop: {0}")]
    Thread(std::io::ErrorKind),
}

/// Starts the loop unless it runs. libvirt wants this before the first connection is opened.
pub(crate) fn ensure_started() -> Result<(), StartError> {
    STARTED.get_or_init(start).clone()
}

fn start() -> Result<(), StartError> {
    // libvirt prints every error to standard error unless somebody else takes them.
    clear_error_callback();
    event::event_register_default_impl().map_err(|e| StartError::Register(e.into()))?;
    std::thread::Builder::new().name("libvirt-events".into()).spawn(run).map_err(|e| StartError::Thread(e.kind()))?;
    Ok(())
}

fn run() {
    loop {
        if let Err(e) = event::event_run_default_impl() {
            tracing::warn!(error = %e, "libvirt's event loop stumbled");
            // Nothing says that the next round goes better; do not turn a lasting fault into a busy loop.
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
}
