//! Devices of the host itself.

use async_trait::async_trait;
use kvm_core::{ErrorKind, HostDeviceName, HostDevices, MdevSpec, Resource, Result};
use kvm_xml::node_device::CapabilityType;
use kvm_xml::{Document as _, NodeDevice};
use virt::nodedev;
use virt::sys;

use crate::document::{self, looked_again, refused};
use crate::error::optional;
use crate::libvirt::Libvirt;
use crate::task::{Failure, Task};

#[async_trait]
impl HostDevices for Libvirt {
    async fn list(&self) -> Result<Vec<NodeDevice>> {
        self.ask("list the devices of", self.host(), |task| {
            let mut devices = Vec::new();
            for device in task.connection().list_all_node_devices(0)? {
                // One that was unplugged while we looked is none any more.
                if let Some(xml) = optional(device.xml_desc(0))? {
                    devices.push(document::read::<NodeDevice>(task, &xml)?);
                }
            }
            devices.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            Ok(devices)
        })
        .await
    }

    async fn find(&self, device: &HostDeviceName) -> Result<NodeDevice> {
        let name = device.clone();
        self.ask("read", resource(device), move |task| {
            let device = lookup(task, &name)?;
            document::read(task, &device.xml_desc(0)?)
        })
        .await
    }

    async fn create(&self, spec: &MdevSpec) -> Result<HostDeviceName> {
        let parent = HostDevices::find(self, spec.parent()).await?;
        spec.check(&parent)?;
        let spec = spec.clone();
        self.work("create", Resource::HostDevice(spec.id().to_string()), move |task| {
            let check = || match mediated(task, &spec)? {
                true => Err(Failure::from(task.already_exists())),
                false => Ok(()),
            };
            check()?;
            let created = task.connection().create_node_device_xml(&spec.document().to_xml(), 0);
            let created = created.map_err(|e| looked_again(e, check, |e| refused(task, e)))?;
            Ok(HostDeviceName::adopt(&created.name()?)?)
        })
        .await
    }

    async fn delete(&self, device: &HostDeviceName) -> Result<()> {
        let name = device.clone();
        self.work("delete", resource(device), move |task| {
            let device = lookup(task, &name)?;
            let document: NodeDevice = document::read(task, &device.xml_desc(0)?)?;
            if !document.capability.iter().any(|capability| capability.r#type == Some(CapabilityType::Mdev)) {
                let text = "only a mediated device can be taken away";
                return Err(task.error(ErrorKind::Unsupported, text).into());
            }
            Ok(device.destroy()?)
        })
        .await
    }
}

fn lookup(task: &Task<'_>, name: &HostDeviceName) -> Result<nodedev::NodeDevice, Failure> {
    let device = optional(task.connection().lookup_node_device_by_name(name.as_str()))?;
    device.ok_or_else(|| task.not_found().into())
}

/// Whether there is a mediated device of this uuid, which is a part of its name.
fn mediated(task: &Task<'_>, spec: &MdevSpec) -> Result<bool, Failure> {
    let prefix = format!("mdev_{}", spec.id().to_string().replace('-', "_"));
    for device in task.connection().list_all_node_devices(sys::VIR_CONNECT_LIST_NODE_DEVICES_CAP_MDEV)? {
        if device.name()?.starts_with(&prefix) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn resource(name: &HostDeviceName) -> Resource {
    Resource::HostDevice(name.as_str().into())
}
