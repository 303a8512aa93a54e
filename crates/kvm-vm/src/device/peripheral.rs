//! Devices that are neither disks, nor network devices, nor screens, plugged in and out.

use std::time::Duration;

use kvm_core::op::{PlanLine, Step};
use kvm_core::{
    Device, DeviceRef, Error, ErrorKind, Host, Impact, Peripheral, PeripheralRef, Resource, Result, VmSummary, Which,
};
use kvm_xml::domain::{CharType, ControllerModel, ControllerType, WatchdogModel};

use super::{AttachPlan, DETACH_TIMEOUT, DetachPlan, FIND_DEVICE, Subject, facet};
use crate::build::peripheral::{peripheral, share_memory, shares_memory, taken};
use crate::host_device::assign;
use crate::place::Places;
use crate::policy::PlanContext;
use crate::spec::DeviceSpec;
use crate::step::{AttachDevice, ShareMemory};

/// What was under way when a device could not be plugged into a running machine, so that a surface can say how else.
const PLUG_LIVE: &str = "plug-live";

/// A device that a machine is to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceAttach {
    /// What it is.
    pub device: DeviceSpec,
    /// Which documents it goes into; all that there are if left out.
    pub impact: Option<Impact>,
}

/// A device that is taken out of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceDetach {
    /// Which; without a name the only one of its kind.
    pub device: PeripheralRef,
    /// Which documents it is taken out of; all that there are if left out.
    pub impact: Option<Impact>,
    /// How long a running guest has to give it up.
    pub timeout: Duration,
}

impl DeviceDetach {
    /// Takes the device out of all documents.
    #[must_use]
    pub fn new(device: PeripheralRef) -> Self {
        Self { device, impact: None, timeout: DETACH_TIMEOUT }
    }
}

/// Plans a device for a machine, and what it needs: for a shared directory, memory that the host's processes share.
///
/// Checked before: that the machine can have it, has none of its name in either document and, when it runs, can get it
/// before its next start; that a shared directory is allowed and where its path says.
///
/// `InvalidState` when a document that is to change is not there, or a running machine's memory is not shared;
/// `Unsupported` for what a running machine never gets; `AlreadyExists`, `NotFound`, `InvalidInput` name what is taken,
/// missing or wrong.
pub async fn plan_device_attach(
    host: &Host,
    vm: &VmSummary,
    wanted: &DeviceAttach,
    cx: &PlanContext<'_>,
) -> Result<AttachPlan> {
    let host_info = host.hypervisor.capabilities().await?;
    facet(host)?;
    let subject = Subject::read(host, vm, wanted.impact).await?;
    let documents: Vec<_> = subject.documents().collect();
    let news = match wanted.device.of_host() {
        Some((device, scope)) => {
            let given = assign(host, &vm.id, device, scope).await?;
            given.into_iter().map(|given| (Peripheral::of_host(given.device), given.about)).collect()
        }
        None => vec![(peripheral(&wanted.device, &documents)?, about(&wanted.device))],
    };
    for (new, _) in &news {
        let key = DeviceRef::Peripheral(new.key());
        if documents.iter().any(|document| key.find(document).is_some()) {
            return Err(taken(new, vm.name.as_str()));
        }
        if subject.impact.reaches(Which::Live) {
            check_plug(new, "plugged into")?;
            subject.check_place(new)?;
        }
    }
    if news.len() > 1 && subject.impact.reaches(Which::Live) {
        let text = format!("a group of {} devices cannot be plugged into a running VM", news.len());
        return Err(Error::new(ErrorKind::Unsupported, text)
            .on(Resource::Field("device".into()))
            .with_detail("the host's drivers let go of all of them at once only when the VM starts")
            .during(PLUG_LIVE));
    }
    let mut lines = Vec::new();
    let mut steps: Vec<Box<dyn Step>> = Vec::new();
    if let DeviceSpec::Share(share) = &wanted.device {
        Places::read(host, &cx.policy.allowed_paths).await?.share(&share.share).await?;
        let (line, step) = subject.shared_memory()?;
        lines.extend(line);
        steps.extend(step.map(|step| Box::new(step) as Box<dyn Step>));
    }
    let mut devices = Vec::new();
    for (new, note) in news {
        let (key, document) = (DeviceRef::Peripheral(new.key()), Device::Peripheral(new));
        lines.push(subject.line("attach", "device", &key.to_string(), &note));
        steps.push(Box::new(AttachDevice {
            id: vm.id,
            name: vm.name.clone(),
            device: key.clone(),
            document: document.to_xml(),
            impact: subject.impact,
        }));
        devices.push((key, document));
    }
    // Once all are plugged in the guest may use them: whoever dies then, they are not taken away again.
    let reversible = steps.len().saturating_sub(1);
    let none = || Error::internal("the plan has no device");
    let (device, document) = devices.into_iter().next().ok_or_else(none)?;
    let title = format!("attach {device} to {}", vm.name);
    let plan = subject.plan("vm.attach-device", title, &host_info, (lines, steps), reversible);
    Ok(AttachPlan { plan, device, document })
}

/// Plans to take a device out of a machine. Of a running one the guest is asked and waited for; when it does not give the
/// device up in time, the configuration keeps it as well.
///
/// `NotFound` when a document that is to change has no such device, `InvalidInput` when it has several that nothing tells
/// apart, `Unsupported` for what a running machine never gives up, `InvalidState` when such a document is not there.
pub async fn plan_device_detach(host: &Host, vm: &VmSummary, wanted: &DeviceDetach) -> Result<DetachPlan> {
    let host_info = host.hypervisor.capabilities().await?;
    facet(host)?;
    let subject = Subject::read(host, vm, wanted.impact).await?;
    let key = DeviceRef::Peripheral(subject.only(&wanted.device)?);
    let found = subject.find(&key)?;
    if let Some(Device::Peripheral(present)) = &found.live {
        check_plug(present, "taken out of")?;
    }
    let lines = vec![subject.line("detach", "device", &key.to_string(), "")];
    let step = subject.detach(&key, &found, wanted.timeout);
    let title = format!("detach {key} from {}", vm.name);
    let plan = subject.plan("vm.detach-device", title, &host_info, (lines, vec![Box::new(step)]), 1);
    Ok(DetachPlan { plan, device: key })
}

impl Subject<'_> {
    /// The device that is meant: without a name the only one of its kind.
    fn only(&self, wanted: &PeripheralRef) -> Result<PeripheralRef> {
        let reached = self.impact.documents().iter().filter_map(|which| self.reached(*which));
        let devices: Vec<_> = reached.flat_map(|document| &document.devices).collect();
        let several = |detail: String| {
            Error::invalid("device", format!("VM {} has several devices of kind {}", self.vm.name, wanted.kind))
                .with_detail(detail)
                .during(FIND_DEVICE)
        };
        if devices.iter().any(|devices| wanted.candidates(devices).len() > 1) {
            let detail = "nothing tells them apart: give each an alias that begins with ua- in its definition first";
            return Err(several(detail.into()));
        }
        if wanted.name.is_some() || devices.iter().any(|devices| !wanted.candidates(devices).is_empty()) {
            return Ok(wanted.clone());
        }
        let mut keys: Vec<_> = devices.iter().flat_map(|devices| Peripheral::of(devices)).map(|d| d.key()).collect();
        keys.retain(|key| key.kind == wanted.kind);
        keys.sort_by(|a, b| a.name.cmp(&b.name));
        keys.dedup();
        match keys.as_slice() {
            [] => Ok(wanted.clone()),
            [only] => Ok(only.clone()),
            many => {
                let many: Vec<_> = many.iter().map(ToString::to_string).collect();
                Err(several(format!("say which: {}", many.join(", "))))
            }
        }
    }

    /// Refuses what fits into no place that a running machine has: an i6300esb is a PCI device, and a machine with PCI express
    /// alone gets a bridge for it at its next start.
    fn check_place(&self, device: &Peripheral) -> Result<()> {
        let devices = self.reached(Which::Live).into_iter().flat_map(|live| &live.devices);
        let models: Vec<_> = devices.flat_map(|devices| &devices.controller).filter_map(|other| other.model).collect();
        let is_bridge = |model: &ControllerModel| {
            matches!(
                model,
                ControllerModel::PciBridge | ControllerModel::PcieToPciBridge | ControllerModel::DmiToPciBridge
            )
        };
        let has_place = !models.contains(&ControllerModel::PcieRoot) || models.iter().any(is_bridge);
        match device {
            Peripheral::Watchdog(_) if !has_place => {
                let message =
                    format!("{} is a PCI device, and the running VM has places for PCI express alone", device.key());
                Err(Error::new(ErrorKind::Unsupported, message).on(Resource::Field("device".into())).during(PLUG_LIVE))
            }
            _ => Ok(()),
        }
    }

    /// What lets the host's processes share the machine's memory, where they do not.
    fn shared_memory(&self) -> Result<(Option<PlanLine>, Option<ShareMemory>)> {
        if self.reached(Which::Live).is_some_and(|live| !shares_memory(live)) {
            return Err(Error::new(
                ErrorKind::InvalidState,
                format!("VM {} was started with memory that the host's processes do not share", self.vm.name),
            )
            .on(Resource::Vm(self.vm.name.as_str().to_owned()))
            .with_detail("a shared directory needs that; it can be had from the next start")
            .during(PLUG_LIVE));
        }
        let Some(config) = self.reached(Which::Config) else { return Ok((None, None)) };
        let mut after = config.clone();
        if !share_memory(&mut after)? {
            return Ok((None, None));
        }
        let line = PlanLine::new("change", "memory", self.vm.name.as_str())
            .note("shared with processes of the host, from its next start");
        Ok((Some(line), Some(ShareMemory::new(self.vm.id, self.vm.name.clone(), config, &after))))
    }
}

/// What a running machine neither gets nor gives up: QEMU wires it for good.
fn check_plug(device: &Peripheral, what: &str) -> Result<()> {
    let is_wired = match device {
        Peripheral::Sound(_) => true,
        Peripheral::Controller(controller) => controller.r#type != Some(ControllerType::Scsi),
        Peripheral::Watchdog(watchdog) => watchdog.model != Some(WatchdogModel::I6300esb),
        Peripheral::Channel(channel) => channel.r#type == Some(CharType::QemuVdagent),
        _ => false,
    };
    if !is_wired {
        return Ok(());
    }
    let message = format!("{} cannot be {what} a running VM", device.key());
    Err(Error::new(ErrorKind::Unsupported, message)
        .on(Resource::Field("device".into()))
        .with_detail("the hypervisor wires it when it starts")
        .during(PLUG_LIVE))
}

/// What a plan says of a device.
pub(crate) fn about(spec: &DeviceSpec) -> String {
    match spec {
        DeviceSpec::Share(share) => {
            let access = if share.readonly { ", read-only" } else { "" };
            format!("{}{access}", share.share.as_str())
        }
        DeviceSpec::Clipboard(_) => "the clipboard".into(),
        DeviceSpec::Dimm(module) => module.dimm.to_string(),
        DeviceSpec::Redirect(_) => "a USB device of the viewer".into(),
        _ => String::new(),
    }
}
