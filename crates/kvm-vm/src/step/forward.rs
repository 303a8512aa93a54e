//! Port forwards as part of a plan.

use async_trait::async_trait;
use kvm_core::op::{Already, Probe, Step, StepContext};
use kvm_core::{Error, ErrorKind, Impact, NetworkEntry, NetworkName, NetworkUpdate, Result, Which};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{to_json, unless_gone};
use crate::network::forward::{Hook, PortForward, apply, remove_file};

/// Puts the hook on the host that libvirt runs for its networks.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct InstallHook {
    /// The one of another version that stood there.
    pub(crate) before: Option<String>,
}

impl InstallHook {
    pub(crate) const NAME: &'static str = "install-hook";
}

#[async_trait]
impl Step for InstallHook {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("install {}", Hook::PATH)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let is_there = Hook::is_current(Hook::read(cx.host).await?.as_deref());
        Ok(if is_there { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        Hook::install(cx.host).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        match &self.before {
            Some(before) => Hook::write(cx.host, before).await,
            None => remove_file(cx.host, Hook::PATH).await,
        }
    }
}

/// Adds an entry to a network.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AddNetworkEntry {
    pub(crate) network: NetworkName,
    pub(crate) entry: NetworkEntry,
    pub(crate) impact: Impact,
}

impl AddNetworkEntry {
    pub(crate) const NAME: &'static str = "add-network-entry";

    /// The documents that have the entry now, of those that it goes into.
    async fn places(&self, cx: &StepContext<'_>) -> Result<Vec<Which>> {
        let info = cx.host.networks.find(&self.network).await?;
        let mut places = Vec::new();
        if self.impact.reaches(Which::Live)
            && info.active
            && self.entry.is_in(&cx.host.networks.definition(&self.network).await?)
        {
            places.push(Which::Live);
        }
        if self.impact.reaches(Which::Config) && self.entry.is_in(&cx.host.networks.configuration(&self.network).await?)
        {
            places.push(Which::Config);
        }
        Ok(places)
    }
}

#[async_trait]
impl Step for AddNetworkEntry {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("add {} to network {}", self.entry, self.network)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let there = self.places(cx).await?;
        let is_done = self.impact.documents().iter().all(|which| there.contains(which));
        Ok(if is_done { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        cx.host.networks.update(&self.network, &NetworkUpdate::Add(self.entry.clone()), self.impact).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        for which in self.places(cx).await? {
            let impact = if which == Which::Live { Impact::Live } else { Impact::Config };
            let remove = NetworkUpdate::Remove(self.entry.clone());
            unless_gone(cx.host.networks.update(&self.network, &remove, impact).await)?;
        }
        Ok(())
    }
}

/// Replaces the port forwards of a network.
///
/// The packet filter comes first: when the configuration has the rules, they have been applied.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SetForwards {
    pub(crate) network: NetworkName,
    pub(crate) before: Vec<PortForward>,
    pub(crate) after: Vec<PortForward>,
}

impl SetForwards {
    pub(crate) const NAME: &'static str = "set-forwards";

    async fn set(&self, cx: &StepContext<'_>, forwards: &[PortForward]) -> Result<()> {
        let networks = &cx.host.networks;
        let (info, mut document) = (networks.find(&self.network).await?, networks.configuration(&self.network).await?);
        let there = PortForward::of(&document);
        if there != self.before && there != self.after {
            // Somebody else changed them since the plan was made.
            return Err(Error::new(ErrorKind::InvalidState, "the network's forwards have changed meanwhile")
                .on(kvm_core::Resource::Network(self.network.as_str().to_owned()))
                .with_detail("look at them, and ask again"));
        }
        PortForward::write(forwards, &mut document)?;
        if info.active {
            apply(cx.host, &self.network, &document).await?;
        }
        if there == forwards { Ok(()) } else { networks.redefine(&document).await }
    }
}

#[async_trait]
impl Step for SetForwards {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("set the port forwards of network {}", self.network)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let there = PortForward::of(&cx.host.networks.configuration(&self.network).await?);
        Ok(if there == self.after { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        self.set(cx, &self.after).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        self.set(cx, &self.before).await
    }
}
