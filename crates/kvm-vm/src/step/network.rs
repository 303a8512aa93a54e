//! Making networks as part of a plan.

use async_trait::async_trait;
use kvm_core::op::{Already, Probe, Step, StepContext};
use kvm_core::{Autostart, ErrorKind, NetworkInfo, NetworkName, Result};
use kvm_xml::Network;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{document, to_json, unless_gone};

/// Stores the definition of a new network.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DefineNetwork {
    pub(crate) name: NetworkName,
    /// Tells it from one that somebody else makes under the same name.
    pub(crate) uuid: Uuid,
    pub(crate) document: String,
}

impl DefineNetwork {
    pub(crate) const NAME: &'static str = "define-network";
}

#[async_trait]
impl Step for DefineNetwork {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("define network {}", self.name)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let found = match cx.host.networks.definition(&self.name).await {
            Ok(found) => found.uuid,
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        Ok(if found == Some(self.uuid) { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        cx.host.networks.define(&document::<Network>(&self.document)?).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        match self.probe(cx).await? {
            Probe::Done => unless_gone(cx.host.networks.undefine(&self.name).await),
            Probe::Pending => Ok(()),
        }
    }
}

/// Lets the host start a network when it boots.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AutostartNetwork {
    pub(crate) name: NetworkName,
}

impl AutostartNetwork {
    pub(crate) const NAME: &'static str = "autostart-network";
}

#[async_trait]
impl Step for AutostartNetwork {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("start network {} when the host boots", self.name)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let is_on = find(cx, &self.name).await?.is_some_and(|network| network.autostart);
        Ok(if is_on { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        cx.host.networks.set_autostart(&self.name, Autostart::On).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        unless_gone(cx.host.networks.set_autostart(&self.name, Autostart::Off).await)
    }
}

/// Starts a network.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StartNetwork {
    pub(crate) name: NetworkName,
}

impl StartNetwork {
    pub(crate) const NAME: &'static str = "start-network";
}

#[async_trait]
impl Step for StartNetwork {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("start network {}", self.name)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let is_active = find(cx, &self.name).await?.is_some_and(|network| network.active);
        Ok(if is_active { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        cx.host.networks.start(&self.name).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        match self.probe(cx).await? {
            Probe::Done => unless_gone(cx.host.networks.stop(&self.name).await),
            Probe::Pending => Ok(()),
        }
    }
}

async fn find(cx: &StepContext<'_>, name: &NetworkName) -> Result<Option<NetworkInfo>> {
    match cx.host.networks.find(name).await {
        Ok(network) => Ok(Some(network)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
