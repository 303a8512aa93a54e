//! The start in which a guest's identity is made anew, as a step.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kvm_core::op::{Already, Attempt, Peer, Probe, Step, StepContext};
use kvm_core::{Error, ErrorKind, Host, Progress, Resource, Result, SystemClock, VmId, VmName};
use kvm_vm::guest::{Agent, ExecSpec};
use kvm_xml::{Document as _, Domain};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::guest::prepare;
use super::part::PartDone;
use super::{Identity, Outcome, SysprepReport};
use crate::step::to_json;
use crate::trial::{Variables, Watched, check_still_off, end, watch};

/// How long a guest may take to write down what was changed.
const SYNC: Duration = Duration::from_secs(60);
/// How long it may take to shut down.
const SHUTDOWN: Duration = Duration::from_secs(120);
/// What to do with a start that somebody has stored.
const STORED: &str = "it has the images of another machine; forget it: virsh undefine --keep-nvram";

/// What half a change is worth.
const HALF: &str = "it may be changed in part; do it again, and the rest is changed as well";

/// Starts the guest on its own images, changes it, and shuts it down.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PrepareGuest {
    pub(crate) target: Peer,
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    /// The machine that its guest is started as.
    pub(crate) trial: VmId,
    pub(crate) document: String,
    pub(crate) timeout_seconds: u64,
    pub(crate) identity: Identity,
    pub(crate) variables: Option<Variables>,
    #[serde(skip)]
    pub(crate) report: SysprepReport,
}

impl PrepareGuest {
    pub(crate) const NAME: &'static str = "prepare-guest";

    fn error(&self, kind: ErrorKind, what: String) -> Error {
        Error::new(kind, what).on(Resource::Vm(self.name.as_str().to_owned())).during("sysprep")
    }

    /// Waits for the agent. Until then nothing inside is changed.
    async fn is_up(&self, host: &Host, cx: &StepContext<'_>) -> Result<()> {
        let timeout = Duration::from_secs(self.timeout_seconds);
        let Watched { why, seen, .. } = watch(host, &self.trial, None, timeout, cx).await?;
        let Some(why) = why else { return Ok(()) };
        let seen = seen
            .map_or_else(|| "it said nothing on its console".to_owned(), |seen| format!("last on its console: {seen}"));
        Err(self
            .error(ErrorKind::Unavailable, format!("{}: {why}", self.name))
            .with_detail(format!("nothing inside was changed; {seen}")))
    }

    async fn change(&self, host: &Host, cx: &StepContext<'_>) -> Result<Vec<PartDone>> {
        // The step's clock is lent to it; an agent has one of its own.
        let agent = Agent::new(host, &self.trial, Arc::new(SystemClock))?;
        let parts = tokio::select! {
            biased;
            () = cx.cancel.cancelled() => {
                return Err(self.error(ErrorKind::Cancelled, "the guest was stopped while it was changed".to_owned())
                    .with_detail(HALF));
            }
            parts = prepare(&agent, &self.identity) => parts.map_err(|e| e.during("sysprep"))?,
        };
        // Whatever becomes of the shutdown, it is on the disk then.
        let sync = agent.exec(&ExecSpec::new("sync", Vec::<String>::new())?, SYNC).await;
        let ended = agent.shutdown(SHUTDOWN).await;
        match (sync, ended) {
            (Ok(_), Err(e)) if e.kind() == ErrorKind::Timeout => {
                let message =
                    format!("{} did not shut down and is powered off; what was changed is on its disk", self.name);
                cx.reporter.report(&Progress::Warning { message });
            }
            (_, ended) => ended?,
        }
        Ok(parts)
    }
}

#[async_trait]
impl Step for PrepareGuest {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("start {} and give it an identity of its own, at most {} s to boot", self.name, self.timeout_seconds)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    /// Nobody knows from outside; what was done already is done again.
    async fn probe(&self, _: &StepContext<'_>) -> Result<Probe> {
        Ok(Probe::Pending)
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let host = cx.peer(&self.target).await?;
        if cx.attempt == Attempt::Again {
            end(&host, &self.trial, STORED).await?;
            if let Some(variables) = &self.variables {
                variables.renew(&host).await?;
            }
        }
        check_still_off(&host, &self.id).await?;
        let document = Domain::from_xml(&self.document)
            .map_err(|e| Error::new(ErrorKind::Corrupt, "the step's document cannot be read").with_source(e))?;
        host.hypervisor.start_transient(&document).await?;
        let parts = match self.is_up(&host, cx).await {
            Ok(()) => self.change(&host, cx).await,
            Err(e) => Err(e),
        };
        // Whatever came out, and before that is told.
        end(&host, &self.trial, STORED).await?;
        let parts = parts?;
        for PartDone { part, what, .. } in parts.iter().filter(|part| part.outcome == Outcome::Failed) {
            let message = format!("{part} inside {} is still the original's: {what}", self.name);
            cx.reporter.report(&Progress::Warning { message });
        }
        self.report.set(parts);
        Ok(())
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        let host = cx.peer(&self.target).await?;
        end(&host, &self.trial, STORED).await?;
        match &self.variables {
            Some(variables) => variables.remove(&host).await,
            None => Ok(()),
        }
    }
}
