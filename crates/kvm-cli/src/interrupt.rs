//! Ctrl-C: first politely, then at once.

use kvm_core::{Error, ErrorKind};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::session::Session;

/// Waits for requests to stop. The first one while an operation runs cancels it; any other one ends the wait, with
/// the error that says what is left.
///
/// Never returns when signals cannot be listened to: the system's own answer, which ends the process, is then in place.
pub(crate) async fn forced(session: &Session) -> Error {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        return std::future::pending().await;
    };
    loop {
        next(&mut interrupt, &mut terminate).await;
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
                session.progress.say(&format!("cancelling operation {id}; Ctrl-C again stops at once"));
                session.cancel.cancel();
            }
        }
    }
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
