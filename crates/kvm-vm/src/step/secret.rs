//! Passphrases of volumes as parts of a plan. None of them is ever in a journal.

use async_trait::async_trait;
use kvm_core::op::{Already, Probe, Step, StepContext};
use kvm_core::{Error, ErrorKind, Passphrase, Progress, Resource, Result, SecretId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{document, to_json, unless_gone};
use crate::secret::{facet, needed};
use crate::spec::VolumeRef;

/// Defines the secret of a new volume.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DefineSecret {
    pub(crate) id: SecretId,
    pub(crate) volume: VolumeRef,
    /// Without the passphrase.
    pub(crate) document: String,
}

impl DefineSecret {
    pub(crate) const NAME: &'static str = "define-secret";
}

async fn is_there(cx: &StepContext<'_>, id: SecretId) -> Result<bool> {
    Ok(facet(cx.host)?.list().await?.iter().any(|secret| secret.id == id))
}

#[async_trait]
impl Step for DefineSecret {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("define secret {} for {}", self.id, self.volume)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        Ok(if is_there(cx, self.id).await? { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        facet(cx.host)?.define(&document(&self.document)?).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        unless_gone(facet(cx.host)?.undefine(&self.id).await)
    }
}

/// Gives the secret its value.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SetSecret {
    pub(crate) id: SecretId,
    pub(crate) volume: VolumeRef,
    /// In memory only: an operation that another process goes on with does not have it.
    #[serde(skip)]
    pub(crate) passphrase: Option<Passphrase>,
}

impl SetSecret {
    pub(crate) const NAME: &'static str = "set-secret";
}

#[async_trait]
impl Step for SetSecret {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("set the passphrase of {}", self.volume)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    /// Nobody can see whether a private secret has a value; setting it once more does no harm.
    async fn probe(&self, _: &StepContext<'_>) -> Result<Probe> {
        Ok(Probe::Pending)
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let Some(passphrase) = &self.passphrase else {
            let message = format!("the passphrase of {} was known to the process that began this alone", self.volume);
            return Err(Error::new(ErrorKind::InvalidState, message)
                .on(Resource::Secret(self.id.to_string()))
                .with_detail("it is in no journal; what was done is taken back, so begin anew"));
        };
        facet(cx.host)?.set_value(&self.id, passphrase).await
    }

    /// The value goes with its secret.
    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Ok(())
    }
}

/// Forgets a secret that nothing needs any more.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DeleteSecret {
    pub(crate) id: SecretId,
}

impl DeleteSecret {
    pub(crate) const NAME: &'static str = "delete-secret";
}

#[async_trait]
impl Step for DeleteSecret {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("forget secret {}", self.id)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        Ok(if is_there(cx, self.id).await? { Probe::Pending } else { Probe::Done })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let all = facet(cx.host)?.list().await?;
        let Some(info) = all.into_iter().find(|secret| secret.id == self.id) else { return Ok(()) };
        if let Some(why) = needed(cx.host, info).await? {
            cx.reporter.report(&Progress::Warning { message: format!("secret {} is kept: {why}", self.id) });
            return Ok(());
        }
        unless_gone(facet(cx.host)?.undefine(&self.id).await)
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Err(Error::internal("a forgotten passphrase cannot be brought back"))
    }
}
