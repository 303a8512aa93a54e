//! File systems that stand still, and are sure to go on.

use std::time::Duration;

use kvm_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{Agent, QUICK, SLOW};

/// How often a thaw is tried that gets no answer, and how long in between.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// Whether a guest's file systems stand still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FreezeState {
    /// They take writes.
    Thawed,
    /// Writes wait.
    Frozen,
}

/// File systems that stand still for as long as this lives, and no longer than agreed.
///
/// They thaw when it is dropped, when its time is over, and when whoever froze them is cancelled in the middle: a task
/// of the runtime sees to it, and tries for ten seconds when the agent does not answer. Only the end of the process
/// itself leaves them frozen; what thaws them then is [`Agent::thaw`].
#[derive(Debug)]
pub struct Frozen {
    count: u64,
    release: oneshot::Sender<()>,
    keeper: JoinHandle<Result<Ending>>,
}

#[derive(Debug)]
enum Ending {
    /// In time.
    Released,
    /// Its time was over before.
    Expired,
}

impl Frozen {
    /// How many file systems stand still.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Lets them go on, and says whether they stood still until now: `Timeout` when they were thawed before, because
    /// their time was over. Then what was copied meanwhile is not of one moment.
    pub async fn thaw(self) -> Result<()> {
        // The keeper may be done; then it says so.
        let _over = self.release.send(());
        match self.keeper.await {
            Ok(Ok(Ending::Released)) => Ok(()),
            Ok(Ok(Ending::Expired)) => {
                Err(Error::new(ErrorKind::Timeout, "the file systems of the guest went on before the work was over"))
            }
            Ok(Err(e)) => Err(e),
            Err(e) => Err(Error::internal("the task that keeps file systems frozen was lost").with_source(e)),
        }
    }
}

impl Agent {
    /// Asks whether the guest's file systems stand still.
    pub async fn freeze_state(&self) -> Result<FreezeState> {
        self.ask("guest-fsfreeze-status", &(), QUICK).await
    }

    /// Has the guest write down what it holds and keep all its file systems still, for `limit` at most.
    ///
    /// `Unsupported` when they stand still already. Cancelling is safe: what is frozen when nobody waits any longer is
    /// thawed. Needs a tokio runtime.
    pub async fn freeze(&self, limit: Duration) -> Result<Frozen> {
        let (began, begin) = oneshot::channel();
        let (release, released) = oneshot::channel();
        // A task of its own from the beginning: it sees the answer also when the caller is gone by then.
        let keeper = tokio::spawn(keep(self.clone(), limit, began, released));
        match begin.await {
            Ok(frozen) => frozen.map(|count| Frozen { count, release, keeper }),
            Err(e) => Err(Error::internal("the task that keeps file systems frozen was lost").with_source(e)),
        }
    }

    /// As [`freeze`](Self::freeze), but without an end: they stand still until somebody calls [`thaw`](Self::thaw).
    pub async fn freeze_without_end(&self) -> Result<u64> {
        self.ask("guest-fsfreeze-freeze", &(), SLOW).await
    }

    /// Lets the guest's file systems go on, and says how many stood still.
    pub async fn thaw(&self) -> Result<u64> {
        self.ask("guest-fsfreeze-thaw", &(), SLOW).await
    }

    /// Thaws, again and again while nobody knows whether it happened.
    async fn insist_on_thaw(&self) -> Result<u64> {
        for _ in 1..TRIES {
            match self.thaw().await {
                Err(e) if is_unknown(&e) => {
                    tracing::warn!(vm = %self.vm, error = %e, "file systems of a guest may be frozen still");
                    self.clock.sleep(PAUSE).await;
                }
                answer => return answer,
            }
        }
        self.thaw().await
    }
}

/// Freezes, and sees to it that they thaw.
async fn keep(
    agent: Agent,
    limit: Duration,
    began: oneshot::Sender<Result<u64>>,
    released: oneshot::Receiver<()>,
) -> Result<Ending> {
    match agent.freeze_without_end().await {
        Err(e) => {
            // A refusal froze nothing; and what somebody else has frozen stays so.
            let thawed = if is_unknown(&e) { agent.insist_on_thaw().await } else { Ok(0) };
            let _nobody = began.send(Err(match thawed {
                Ok(_) => e,
                Err(left) => e.with_detail(format!("its file systems may stand still: {left}")),
            }));
            return Ok(Ending::Released);
        }
        Ok(count) => {
            let _nobody = began.send(Ok(count));
        }
    }
    let ending = tokio::select! {
        biased;
        // Also when the other end was dropped.
        _ = released => Ending::Released,
        () = agent.clock.sleep(limit) => Ending::Expired,
    };
    agent.insist_on_thaw().await.map(|_| ending)
}

/// Whether a command may have been done all the same.
fn is_unknown(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::Busy | ErrorKind::Corrupt)
}
