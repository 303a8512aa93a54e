//! Plugging devices in and out as part of a plan.

use std::time::Duration;

use async_trait::async_trait;
use kvm_core::op::{Already, Probe, Step, StepContext};
use kvm_core::{
    Device, DeviceRef, Error, ErrorKind, HypervisorExt as _, Impact, PeripheralKind, Resource, Result, View, VmId,
    VmName, Which,
};
use kvm_xml::domain::{Disk, Interface};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{document, to_json, unless_gone};
use crate::device::facet;

/// How long a guest has to give up what an interrupted operation plugged in.
const TAKE_BACK: Duration = Duration::from_secs(30);

/// Plugs a device into a machine.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AttachDevice {
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) device: DeviceRef,
    pub(crate) document: String,
    pub(crate) impact: Impact,
}

impl AttachDevice {
    pub(crate) const NAME: &'static str = "attach-device";
}

#[async_trait]
impl Step for AttachDevice {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("attach {} to {}", self.device, self.name)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let there = places(cx, &self.id, &self.device).await?;
        let is_done = self.impact.documents().iter().all(|which| there.contains(which));
        Ok(if is_done { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        facet(cx.host)?.attach(&self.id, &read(&self.device, &self.document)?, self.impact).await
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        for which in places(cx, &self.id, &self.device).await? {
            if self.impact.reaches(which) {
                take_out(cx, &self.id, &self.device, which, TAKE_BACK).await?;
            }
        }
        Ok(())
    }
}

/// Takes a device out of a machine: out of the running one first, then, when the guest has obeyed, out of its
/// configuration.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DetachDevice {
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) device: DeviceRef,
    /// The device as it can be plugged in again, for each document that it is taken out of.
    pub(crate) live: Option<String>,
    pub(crate) config: Option<String>,
    /// How long the guest has.
    #[serde(rename = "timeout_seconds", with = "seconds")]
    pub(crate) timeout: Duration,
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(time.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_secs)
    }
}

impl DetachDevice {
    pub(crate) const NAME: &'static str = "detach-device";

    /// The documents that the device is taken out of, with the device as it was there.
    fn parts(&self) -> impl Iterator<Item = (Which, &String)> {
        let live = self.live.iter().map(|document| (Which::Live, document));
        live.chain(self.config.iter().map(|document| (Which::Config, document)))
    }
}

#[async_trait]
impl Step for DetachDevice {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("detach {} from {}", self.device, self.name)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    async fn probe(&self, cx: &StepContext<'_>) -> Result<Probe> {
        let there = places(cx, &self.id, &self.device).await?;
        let is_pending = self.parts().any(|(which, _)| there.contains(&which));
        Ok(if is_pending { Probe::Pending } else { Probe::Done })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        let there = places(cx, &self.id, &self.device).await?;
        for (which, _) in self.parts().filter(|(which, _)| there.contains(which)) {
            take_out(cx, &self.id, &self.device, which, self.timeout).await?;
        }
        Ok(())
    }

    async fn undo(&self, cx: &StepContext<'_>) -> Result<()> {
        let there = places(cx, &self.id, &self.device).await?;
        let is_active = cx.host.hypervisor.find(&self.id.into()).await?.state.is_active();
        for (which, document) in self.parts().filter(|(which, _)| !there.contains(which)) {
            // A machine that has stopped meanwhile has no live devices to get back.
            if which == Which::Config || is_active {
                facet(cx.host)?.attach(&self.id, &read(&self.device, document)?, impact(which)).await?;
            }
        }
        Ok(())
    }
}

/// Takes a device out of one document, and waits for a running guest to give it up.
async fn take_out(cx: &StepContext<'_>, id: &VmId, device: &DeviceRef, which: Which, timeout: Duration) -> Result<()> {
    let asked = unless_gone(facet(cx.host)?.detach(id, device, impact(which)).await);
    if which == Which::Config {
        return asked;
    }
    asked.map_err(|e| unless_movable(device, e))?;
    tokio::select! {
        biased;
        gone = cx.host.hypervisor.wait_until_detached(id, device, timeout, cx.clock) => {
            gone.map_err(|e| unless_movable(device, e))
        }
        () = cx.cancel.cancelled() => {
            Err(Error::new(ErrorKind::Cancelled, "the wait for the guest was cancelled")
                .on(Resource::Vm(id.to_string()))
                .with_detail(format!("the guest was asked for {device} and may still give it up")))
        }
    }
}

/// Says what a guest needs that is to give memory up.
fn unless_movable(device: &DeviceRef, e: Error) -> Error {
    let is_memory = matches!(device, DeviceRef::Peripheral(device) if device.kind == PeripheralKind::Memory);
    match e.kind() {
        ErrorKind::InvalidState | ErrorKind::Timeout if is_memory => e.with_note(
            "a guest gives up memory that holds nothing of its kernel: Linux keeps a module free of that when \
             /sys/devices/system/memory/auto_online_blocks says online_movable before it is plugged in",
        ),
        _ => e,
    }
}

fn impact(which: Which) -> Impact {
    match which {
        Which::Live => Impact::Live,
        Which::Config => Impact::Config,
    }
}

/// The documents of a machine that have the device now. Of a machine that is off the configuration alone counts.
async fn places(cx: &StepContext<'_>, id: &VmId, device: &DeviceRef) -> Result<Vec<Which>> {
    let vm = cx.host.hypervisor.find(&(*id).into()).await?;
    let mut there = Vec::new();
    for (which, view, exists) in
        [(Which::Live, View::LIVE, vm.state.is_active()), (Which::Config, View::CONFIG, vm.persistent)]
    {
        if exists && device.find(&cx.host.hypervisor.definition(id, view).await?).is_some() {
            there.push(which);
        }
    }
    Ok(there)
}

fn read(device: &DeviceRef, xml: &str) -> Result<Device> {
    Ok(match device {
        DeviceRef::Disk(_) => Device::Disk(Box::new(document::<Disk>(xml)?)),
        DeviceRef::Nic(_) => Device::Interface(Box::new(document::<Interface>(xml)?)),
        DeviceRef::Peripheral(device) => Device::Peripheral(
            device
                .kind
                .read(xml)
                .map_err(|e| Error::new(ErrorKind::Corrupt, "the step's document cannot be read").with_source(e))?,
        ),
        _ => return Err(Error::new(ErrorKind::Unsupported, "this version knows no such device")),
    })
}
