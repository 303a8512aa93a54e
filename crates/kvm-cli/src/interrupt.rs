//! Ctrl-C: first politely, then at once.

use std::io;

use kvm_core::{Error, ErrorKind, Progress, Reporter as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::session::Session;

/// Waits until somebody asks to stop, which is then the end of the work and no error.
pub(crate) async fn asked_to_stop(session: &Session) -> Result<()> {
    let mut requests = Requests::listen()?;
    let _quiet = session.leave_signals_to_child();
    requests.next().await;
    Ok(())
}

/// Requests to stop, from when this is made.
#[derive(Debug)]
pub(crate) struct Requests {
    interrupt: Signal,
    terminate: Signal,
}

impl Requests {
    /// Listens from now on; without it a request would end the process in the middle of an operation.
    pub(crate) fn listen() -> Result<Self> {
        let refused = |e: io::Error| Error::internal("signals cannot be listened to").with_source(e);
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(refused)?,
            terminate: signal(SignalKind::terminate()).map_err(refused)?,
        })
    }

    /// Waits for requests to stop. The first one while an operation runs cancels it; any other one ends the wait, with
    /// the error that says what is left.
    pub(crate) async fn forced(mut self, session: &Session) -> Error {
        loop {
            self.next().await;
            if session.child_has_terminal() {
                continue;
            }
            let stopped = Error::new(ErrorKind::Cancelled, "stopped");
            match session.progress.running() {
                None => return stopped,
                Some(id) if session.cancel.is_cancelled() => {
                    return stopped.with_detail(format!(
                        "operation {id} is left as it is; take it back: kvmctl op undo {id}, or do the rest: kvmctl op resume {id}"
                    ));
                }
                Some(id) => {
                    let message = format!("cancelling operation {id}; Ctrl-C again stops at once");
                    session.progress.report(&Progress::Warning { message });
                    session.cancel.cancel();
                }
            }
        }
    }

    /// Waits for the next request.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
