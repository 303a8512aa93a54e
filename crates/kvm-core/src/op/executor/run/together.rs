//! Neighbouring steps that are done at the same time.

use std::ops::Range;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio_util::sync::CancellationToken;

use super::{Halt, Run, cancelled};
use crate::StepOutcome;

impl Run<'_> {
    /// The steps from this one on that may be under way at the same time; this one alone where none may.
    pub(super) async fn together(&self, first: usize) -> Range<usize> {
        let reversible = self.book().await.view.header.reversible;
        let ready = self.steps.iter().take(reversible).skip(first).take_while(|step| step.at_once().get() > 1).count();
        first..first + ready.max(1)
    }

    /// Does these steps, as many of them at a time as all allow. The first that goes wrong has the others give up, and all
    /// are waited for: what each has done is in the journal before anything is taken back.
    pub(super) async fn do_together(&self, steps: Range<usize>, cancel: &CancellationToken) -> Result<(), Halt> {
        let most = self.steps[steps.clone()].iter().map(|step| step.at_once().get()).min().unwrap_or(1);
        let stop = cancel.child_token();
        let (mut waiting, mut under_way, mut first) = (steps, FuturesUnordered::new(), None);
        loop {
            while under_way.len() < usize::from(most) && !stop.is_cancelled() {
                let Some(i) = waiting.next() else { break };
                let stop = &stop;
                // Nothing is waited for out here: those that are under way would stand still, with the journal in hand.
                under_way.push(async move {
                    match self.is_done(i).await {
                        true => {
                            self.report_step(i, StepOutcome::AlreadyDone);
                            Ok(())
                        }
                        false => self.do_step(i, stop).await,
                    }
                });
            }
            match under_way.next().await {
                Some(Ok(())) => {}
                // Nobody waits for the others either.
                Some(Err(Halt::Died)) => return Err(Halt::Died),
                Some(Err(Halt::Error(error))) => {
                    stop.cancel();
                    first.get_or_insert(error);
                }
                None => break,
            }
        }
        match first {
            Some(error) => Err(error.into()),
            None if !waiting.is_empty() => Err(cancelled().into()),
            None => Ok(()),
        }
    }
}
