//! libvirt's default event loop on one thread, for the life of the process.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use virt::{error::clear_error_callback, event, sys};

use super::{lend, release};
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

/// Waits until the loop has done everything that it was told before, but at most `limit`. Gives whether it has.
///
/// A connection's socket is freed by the loop, after the connection is closed. What a timer holds is freed in the same
/// way and order, so a timer that is taken away at once shows when the loop is past the sockets.
pub(crate) fn flush(limit: Duration) -> bool {
    if !matches!(STARTED.get(), Some(Ok(()))) {
        return true;
    }
    let (held, freed) = mpsc::channel::<()>();
    let opaque = lend(held);
    // SAFETY: the loop is registered; the callback uses nothing, and libvirt gives the pointer to `release` once.
    let timer = unsafe { sys::virEventAddTimeout(-1, Some(never), opaque, Some(release::<mpsc::Sender<()>>)) };
    if timer < 0 {
        // SAFETY: libvirt took nothing.
        unsafe { release::<mpsc::Sender<()>>(opaque) };
        return false;
    }
    // SAFETY: the timer is ours and there.
    unsafe { sys::virEventRemoveTimeout(timer) };
    freed.recv_timeout(limit) == Err(RecvTimeoutError::Disconnected)
}

/// The callback of a timer that never fires.
unsafe extern "C" fn never(_: c_int, _: *mut c_void) {}

fn run() {
    loop {
        if let Err(e) = event::event_run_default_impl() {
            tracing::warn!(error = %e, "libvirt's event loop stumbled");
            // Nothing says that the next round goes better; do not turn a lasting fault into a busy loop.
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
}
