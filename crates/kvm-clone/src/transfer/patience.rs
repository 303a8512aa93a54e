//! Waiting for a helper of an earlier attempt, which holds files as long as it does not know that it was left.

use std::time::Duration;

use kvm_core::{Error, ErrorKind, Progress, Result, Transport};
use kvm_wire::Reply;
use tokio::time::Instant;

use super::{Watch, unless_cancelled};

/// How often is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long, in times of a stall. After a cut a host hears that nobody is there when its TCP tries to send again, for which
/// it takes longer and longer, on Linux up to two minutes; a stall is half a minute.
const PATIENCE: u32 = 6;

/// How long it is asked for what somebody holds who may have been left.
#[derive(Debug)]
pub(super) struct Patience<'a> {
    due: Instant,
    watch: Watch<'a>,
    why: Option<String>,
}

impl<'a> Patience<'a> {
    /// Begins now. Whoever has to wait hears `why`, once.
    pub(super) fn with(host: &dyn Transport, why: impl Into<String>, watch: Watch<'a>) -> Self {
        Self { due: Instant::now() + host.stall() * PATIENCE, watch, why: Some(why.into()) }
    }

    /// Nobody is waited for.
    pub(super) fn none(watch: Watch<'a>) -> Self {
        Self { due: Instant::now(), watch, why: None }
    }

    /// What was answered; `None`, after a while, when it is to be asked again.
    pub(super) async fn settle(&mut self, answer: Result<Reply>) -> Result<Option<Reply>> {
        let is_held = |e: &Error| e.kind() == ErrorKind::Busy;
        if !answer.as_ref().is_err_and(is_held) || Instant::now() >= self.due {
            return answer.map(Some);
        }
        if let Some(message) = self.why.take() {
            self.watch.reporter.report(&Progress::Warning { message });
        }
        let pause = async {
            self.watch.clock.sleep(AGAIN).await;
            Ok(None)
        };
        unless_cancelled(self.watch, pause).await
    }
}
