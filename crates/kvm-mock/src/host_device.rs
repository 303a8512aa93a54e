//! Devices of the simulated host itself.

use std::collections::BTreeMap;

use async_trait::async_trait;
use kvm_core::{Error, ErrorKind, HostDeviceName, HostDeviceRef, HostDevices, MdevSpec, Resource, Result, VmId};
use kvm_xml::NodeDevice;
use kvm_xml::node_device::{Capability, CapabilityType, Identity, IommuGroup, MdevType};
use kvm_xml::value::NumberOrName;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::document;
use crate::fault::Method;
use crate::mock::Mock;
use crate::world::World;

/// A device of the host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HostDevice(#[serde(with = "document::text")] pub(crate) NodeDevice);

/// All devices of a host.
pub(crate) type HostDeviceMap = BTreeMap<HostDeviceName, HostDevice>;

/// The number of the first group of a mediated device; those of real devices are lower.
const MEDIATED_GROUPS: u32 = 1000;

/// What every host comes with: the root of the tree.
pub(crate) fn usual() -> HostDeviceMap {
    let root = NodeDevice {
        name: Some("computer".into()),
        capability: vec![Capability { r#type: Some(CapabilityType::System), ..Capability::default() }],
        ..NodeDevice::default()
    };
    HostDeviceName::adopt("computer").map(|name| BTreeMap::from([(name, HostDevice(root))])).unwrap_or_default()
}

#[async_trait]
impl HostDevices for Mock {
    async fn list(&self) -> Result<Vec<NodeDevice>> {
        self.read(Method::ListHostDevices, "", |world, _| {
            Ok(world.host_devices.values().map(|device| device.0.clone()).collect())
        })
        .await
    }

    async fn find(&self, device: &HostDeviceName) -> Result<NodeDevice> {
        self.read(Method::FindHostDevice, device, |world, _| {
            world.host_devices.get(device).map(|device| device.0.clone()).ok_or_else(|| no_such_device(device))
        })
        .await
    }

    async fn create(&self, spec: &MdevSpec) -> Result<HostDeviceName> {
        self.change(Method::CreateHostDevice, spec.parent(), |world, _| world.create_mediated(spec)).await
    }

    async fn delete(&self, device: &HostDeviceName) -> Result<()> {
        self.change(Method::DeleteHostDevice, device, |world, _| world.delete_mediated(device)).await
    }
}

impl World {
    /// Puts a device into the host.
    pub(crate) fn plant_device(&mut self, document: NodeDevice) -> Result<HostDeviceName> {
        let name = HostDeviceName::adopt(document.name.as_deref().unwrap_or_default())?;
        self.host_devices.insert(name.clone(), HostDevice(document));
        Ok(name)
    }

    fn create_mediated(&mut self, spec: &MdevSpec) -> Result<HostDeviceName> {
        let parent = self.host_devices.get_mut(spec.parent()).ok_or_else(|| no_such_device(spec.parent()))?;
        spec.check(&parent.0)?;
        let address = spec.parent().as_str().trim_start_matches("pci_").to_owned();
        let name = format!("mdev_{}_{address}", spec.id().to_string().replace('-', "_"));
        if self.host_devices.keys().any(|other| other.as_str() == name) {
            let error = Error::new(ErrorKind::AlreadyExists, "there is a mediated device of this uuid already");
            return Err(error.on(Resource::HostDevice(spec.id().to_string())));
        }
        self.count_mediated(spec.parent(), spec.kind(), |left| left.saturating_sub(1));
        let mut document = spec.document();
        document.name = Some(name);
        let groups = self.host_devices.values().filter(|device| mediated_type(&device.0).is_some()).count();
        for capability in &mut document.capability {
            let number = u32::try_from(groups).ok().map(|count| MEDIATED_GROUPS + count);
            capability.iommu_group = Some(IommuGroup { number, ..IommuGroup::default() });
            capability.parent_addr = Some(dotted(&address));
        }
        self.plant_device(document)
    }

    fn delete_mediated(&mut self, name: &HostDeviceName) -> Result<()> {
        let device = self.host_devices.get(name).ok_or_else(|| no_such_device(name))?;
        let Some((id, kind)) = mediated_type(&device.0) else {
            let error = Error::new(ErrorKind::Unsupported, "only a mediated device can be taken away");
            return Err(error.on(resource(name)));
        };
        if self.is_given(HostDeviceRef::Mdev(id.into()), None) {
            let error = Error::new(ErrorKind::InvalidState, "a running machine has the mediated device");
            return Err(error.on(resource(name)));
        }
        let parent = device.0.parent.as_ref().and_then(|parent| HostDeviceName::adopt(parent.value.as_deref()?).ok());
        self.host_devices.remove(name);
        if let Some(parent) = parent {
            self.count_mediated(&parent, &kind, |left| left.saturating_add(1));
        }
        Ok(())
    }

    /// Changes how many more devices of a type can be made.
    fn count_mediated(&mut self, parent: &HostDeviceName, kind: &str, change: impl Fn(u32) -> u32) {
        let nested = self.host_devices.get_mut(parent).into_iter().flat_map(|device| &mut device.0.capability);
        let types = nested.flat_map(|capability| &mut capability.capability).flat_map(|nested| &mut nested.type_el);
        for MdevType { available_instances, .. } in types.filter(|known| known.id.as_deref() == Some(kind)) {
            *available_instances = available_instances.map(&change);
        }
    }

    /// What keeps a device from a machine that runs.
    pub(crate) fn cannot_give(&self, vm: &VmId, device: HostDeviceRef) -> Option<String> {
        if !self.host_devices.values().any(|there| is_there(&there.0, device)) {
            return Some(format!("the host has no device {device}"));
        }
        self.is_given(device, Some(vm)).then(|| format!("another machine runs with the device {device}"))
    }

    /// Whether a running machine, other than this, has a device.
    fn is_given(&self, device: HostDeviceRef, except: Option<&VmId>) -> bool {
        let others = self.machines.iter().filter(|(id, _)| Some(*id) != except);
        let running = others.filter_map(|(_, machine)| machine.live.as_ref());
        let devices = running.flat_map(|live| &live.document.devices).flat_map(|devices| &devices.hostdev);
        devices.filter_map(HostDeviceRef::of).any(|given| given == device)
    }
}

/// Whether this is the document of a device.
fn is_there(document: &NodeDevice, device: HostDeviceRef) -> bool {
    let number = |identity: &Option<Identity>| identity.as_ref().and_then(|identity| identity.id);
    document.capability.iter().any(|what| {
        let bus = what.bus.as_ref().and_then(NumberOrName::number);
        match (device, what.r#type) {
            (HostDeviceRef::Pci(at), Some(CapabilityType::Pci)) => {
                let there = (what.domain, bus, what.slot, what.function);
                there
                    == (
                        Some(at.domain().into()),
                        Some(at.bus().into()),
                        Some(at.slot().into()),
                        Some(at.function().into()),
                    )
            }
            (HostDeviceRef::UsbId(id), Some(CapabilityType::UsbDevice)) => {
                let there = (number(&what.vendor), number(&what.product));
                there == (Some(id.vendor().into()), Some(id.product().into()))
            }
            (HostDeviceRef::UsbAddress(at), Some(CapabilityType::UsbDevice)) => {
                (bus, what.device) == (Some(at.bus().into()), Some(at.device().into()))
            }
            (HostDeviceRef::Mdev(id), Some(CapabilityType::Mdev)) => what.uuid == Some(id.into()),
            _ => false,
        }
    })
}

/// The uuid and the type of a mediated device.
fn mediated_type(document: &NodeDevice) -> Option<(Uuid, String)> {
    let capability = document.capability.iter().find(|capability| capability.r#type == Some(CapabilityType::Mdev))?;
    Some((capability.uuid?, capability.type_el.as_ref()?.id.clone()?))
}

/// `0000_41_00_0` as the kernel writes it: `0000:41:00.0`.
fn dotted(address: &str) -> String {
    match address.rsplit_once('_') {
        Some((rest, function)) => format!("{}.{function}", rest.replace('_', ":")),
        None => address.to_owned(),
    }
}

fn no_such_device(name: &HostDeviceName) -> Error {
    Error::new(ErrorKind::NotFound, "no such device").on(resource(name))
}

fn resource(name: &HostDeviceName) -> Resource {
    Resource::HostDevice(name.as_str().to_owned())
}
