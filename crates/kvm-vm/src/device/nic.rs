//! Network devices that are plugged in and out, and their links.

use std::time::Duration;

use kvm_core::op::Plan;
use kvm_core::{Device, DeviceRef, Error, Host, Impact, MacAddr, Result, VmSummary};
use kvm_xml::domain::{Link, LinkState};

use super::{AttachPlan, DETACH_TIMEOUT, Subject, facet};
use crate::build::device::interface;
use crate::chain::disk_graph;
use crate::create::nic::resolve;
use crate::policy::PlanContext;
use crate::spec::{NicModel, NicSpec, Start};
use crate::step::AttachDevice;

/// A network device that a machine is to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NicAttach {
    /// What it is plugged into; of the model that the machine's first one has, else virtio, unless it says otherwise.
    pub nic: NicSpec,
    /// Which documents it goes into; all that there are if left out.
    pub impact: Option<Impact>,
}

/// A network device that is taken out of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NicDetach {
    /// Which.
    pub mac: MacAddr,
    /// Which documents it is taken out of; all that there are if left out.
    pub impact: Option<Impact>,
    /// How long a running guest has to give it up.
    pub timeout: Duration,
}

impl NicDetach {
    /// Takes the device out of all documents.
    #[must_use]
    pub fn new(mac: MacAddr) -> Self {
        Self { mac, impact: None, timeout: DETACH_TIMEOUT }
    }
}

/// Plans a network device for a machine.
///
/// That the network exists, and is active when the machine runs, and that nobody else has the MAC address is checked
/// before. `InvalidState` when a document that is to change is not there; `AlreadyExists`, `NotFound`, `InvalidInput` name
/// what is taken, missing or wrong.
pub async fn plan_nic_attach(
    host: &Host,
    vm: &VmSummary,
    wanted: &NicAttach,
    cx: &PlanContext<'_>,
) -> Result<AttachPlan> {
    let host_info = host.hypervisor.capabilities().await?;
    facet(host)?;
    let subject = Subject::read(host, vm, wanted.impact).await?;
    let usage = disk_graph(host).await?;
    let start = if subject.impact == Impact::Config { Start::No } else { Start::Yes };
    let nics = resolve(host, Some(std::slice::from_ref(&wanted.nic)), start, &usage, cx).await?;
    let [nic] = nics.as_slice() else { return Err(Error::internal("one network device was asked for")) };

    let model = nic.model.map(|model| model.as_str().to_owned()).or_else(|| subject.usual_model());
    let model = model.unwrap_or_else(|| NicModel::Virtio.as_str().to_owned());
    let (key, document) = (DeviceRef::Nic(nic.mac), Device::Interface(Box::new(interface(nic, &model))));
    let lines = vec![nic.line(), subject.line("attach", "nic", &nic.mac.to_string(), &model)];
    let step = AttachDevice {
        id: vm.id,
        name: vm.name.clone(),
        device: key.clone(),
        document: document.to_xml(),
        impact: subject.impact,
    };
    let title = format!("attach {key} to {}", vm.name);
    let plan = subject.plan("vm.attach-nic", title, &host_info, (lines, vec![Box::new(step)]), 0);
    Ok(AttachPlan { plan, device: key, document })
}

/// Plans to take a network device out of a machine. Of a running one the guest is asked and waited for; when it does not
/// give the device up in time, the configuration keeps it as well.
///
/// `NotFound` when a document that is to change has no such device, `InvalidState` when such a document is not there.
pub async fn plan_nic_detach(host: &Host, vm: &VmSummary, wanted: &NicDetach) -> Result<Plan> {
    let host_info = host.hypervisor.capabilities().await?;
    facet(host)?;
    let subject = Subject::read(host, vm, wanted.impact).await?;
    let key = DeviceRef::Nic(wanted.mac);
    let found = subject.find(&key)?;
    let lines = vec![subject.line("detach", "nic", &wanted.mac.to_string(), "")];
    let step = subject.detach(&key, &found, wanted.timeout);
    let title = format!("detach {key} from {}", vm.name);
    Ok(subject.plan("vm.detach-nic", title, &host_info, (lines, vec![Box::new(step)]), 1))
}

/// Plugs the cable of a network device in, or pulls it; gives the documents that changed. `NotFound`, `InvalidState`.
pub async fn set_link(host: &Host, vm: &VmSummary, mac: MacAddr, link: Link, impact: Option<Impact>) -> Result<Impact> {
    let subject = Subject::read(host, vm, impact).await?;
    let Device::Interface(mut nic) = subject.find(&DeviceRef::Nic(mac))?.into_base()? else {
        return Err(Error::internal("a MAC address is that of a network device"));
    };
    nic.link.get_or_insert_with(LinkState::default).state = Some(link);
    facet(host)?.update(&vm.id, &Device::Interface(nic), subject.impact).await?;
    Ok(subject.impact)
}

impl Subject<'_> {
    /// The model of the machine's first network device.
    fn usual_model(&self) -> Option<String> {
        let nics = self.documents().flat_map(|document| &document.devices).flat_map(|devices| &devices.interface);
        nics.filter_map(|nic| nic.model.as_ref()?.r#type.clone()).next()
    }
}
