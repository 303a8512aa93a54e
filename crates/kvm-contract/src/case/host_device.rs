//! Devices of the host itself.

use std::collections::BTreeSet;

use kvm_core::{
    Device, Devices, Error, ErrorKind, HostDeviceName, HostDeviceRef, HostDevices, Impact, MdevId, MdevSpec,
    Peripheral, Result, UsbId, View,
};
use kvm_xml::NodeDevice;

use crate::case::{Outcome, cases, holds, refused, same, sorted};
use crate::cx::Cx;

cases! { CASES in "host_devices" on Cx;
    /// Devices are listed by name; they form a tree whose root is called computer.
    async fn devices_form_a_tree(cx) {
        let all = facet(cx)?.list().await?;
        sorted("names", &all, |device| device.name.clone())?;
        let names: BTreeSet<_> = all.iter().filter_map(|device| device.name.as_deref()).collect();
        same("devices without a name", all.len() - names.len(), 0)?;
        holds("there is a root", names.contains("computer"))?;
        for device in &all {
            let parent = device.parent.as_ref().and_then(|parent| parent.value.as_deref());
            match parent {
                Some(parent) => holds(&format!("{parent} is listed"), names.contains(parent))?,
                None => same("a device without a parent", device.name.as_deref(), Some("computer"))?,
            }
        }
        Ok(())
    }

    /// A device that is listed is found by its name, and says the same.
    async fn a_listed_device_is_found(cx) {
        let root = HostDeviceName::adopt("computer")?;
        let found = facet(cx)?.find(&root).await?;
        same("name in the document", found.name.as_deref(), Some("computer"))?;
        let all = facet(cx)?.list().await?;
        let listed = all.iter().find(|device| device.name == found.name);
        same("its capabilities", listed.map(|device| device.capability.len()), Some(found.capability.len()))
    }

    /// A device that is not there is not found, not taken away, and nothing is made out of it.
    async fn an_absent_device_is_not_found(cx) {
        let absent = HostDeviceName::adopt("pci_0000_ff_1f_7")?;
        refused(facet(cx)?.find(&absent).await, ErrorKind::NotFound)?;
        refused(facet(cx)?.delete(&absent).await, ErrorKind::NotFound)?;
        refused(facet(cx)?.create(&MdevSpec::new(absent, "a-1", id("0001")?)?).await, ErrorKind::NotFound)
    }

    /// What is real stays: only mediated devices are taken away.
    async fn a_real_device_stays(cx) {
        let root = HostDeviceName::adopt("computer")?;
        refused(facet(cx)?.delete(&root).await, ErrorKind::Unsupported)?;
        facet(cx)?.find(&root).await?;
        Ok(())
    }

    /// Out of a device that makes none, no mediated device is made.
    async fn a_type_that_is_not_made_is_invalid(cx) {
        let root = HostDeviceName::adopt("computer")?;
        let spec = MdevSpec::new(root, "contract-none", id("0002")?)?;
        refused(facet(cx)?.create(&spec).await, ErrorKind::InvalidInput)
    }

    /// A mediated device is made, is listed below its parent, and is gone when it was taken away.
    async fn a_mediated_device_comes_and_goes(cx) {
        let (parent, kind, left) = maker(cx).await?;
        let spec = MdevSpec::new(parent.clone(), &kind, id("0003")?)?;
        let made = facet(cx)?.create(&spec).await?;
        let outcome = is_made(cx, &spec, &made, left).await;
        facet(cx)?.delete(&made).await?;
        outcome?;
        refused(facet(cx)?.find(&made).await, ErrorKind::NotFound)?;
        same("how many more can be made", maker(cx).await?.2, left)
    }

    /// A device of the host goes into a machine's configuration and out of it, told apart by where it is on the host.
    async fn a_device_is_given_in_the_configuration(cx) {
        let id = cx.defined("a").await?;
        let device = stranger()?;
        given(cx)?.attach(&id, &device, Impact::Config).await?;
        let document = cx.hypervisor().definition(&id, View::CONFIG).await?;
        holds("it is there", device.key()?.find(&document).is_some())?;
        refused(given(cx)?.attach(&id, &device, Impact::Config).await, ErrorKind::AlreadyExists)?;
        given(cx)?.detach(&id, &device.key()?, Impact::Config).await?;
        let document = cx.hypervisor().definition(&id, View::CONFIG).await?;
        holds("it is gone", device.key()?.find(&document).is_none())
    }

    /// A device that the host does not have is not plugged into a running machine.
    async fn an_absent_device_is_not_given_live(cx) {
        let id = cx.running("a").await?;
        let device = stranger()?;
        refused(given(cx)?.attach(&id, &device, Impact::Live).await, ErrorKind::InvalidState)?;
        let document = cx.hypervisor().definition(&id, View::LIVE).await?;
        holds("it is not there", device.key()?.find(&document).is_none())
    }
}

fn given(cx: &Cx) -> Result<&dyn Devices> {
    cx.family("devices", cx.hypervisor().devices())
}

/// A USB device that no host has: its vendor's numbers are for tests.
fn stranger() -> Result<Device> {
    Ok(Device::Peripheral(Peripheral::of_host(HostDeviceRef::UsbId(UsbId::parse("1209:0001")?))))
}

fn facet(cx: &Cx) -> Result<&dyn HostDevices> {
    cx.family("devices of the host", cx.hypervisor().host_devices())
}

fn id(end: &str) -> Result<MdevId> {
    MdevId::parse(&format!("83b8f4f2-509f-482f-8c1e-e6bfe0fa{end}"))
}

/// A device out of which another one can be made: its name, the type, and how many more.
async fn maker(cx: &Cx) -> Result<(HostDeviceName, String, u32)> {
    for device in facet(cx)?.list().await? {
        let Some((kind, left)) = first_type(&device) else { continue };
        return Ok((HostDeviceName::adopt(device.name.as_deref().unwrap_or_default())?, kind, left));
    }
    Err(Error::new(ErrorKind::Unsupported, "the host has no device that others are made out of"))
}

fn first_type(device: &NodeDevice) -> Option<(String, u32)> {
    let nested = device.capability.iter().flat_map(|capability| &capability.capability);
    let mut types = nested.flat_map(|nested| &nested.type_el);
    types.find_map(|kind| Some((kind.id.clone()?, kind.available_instances.filter(|left| *left > 1)?)))
}

async fn is_made(cx: &Cx, spec: &MdevSpec, made: &HostDeviceName, left: u32) -> Outcome {
    let document = facet(cx)?.find(made).await?;
    let parent = document.parent.as_ref().and_then(|parent| parent.value.as_deref());
    same("its parent", parent, Some(spec.parent().as_str()))?;
    let uuid = document.capability.iter().find_map(|capability| capability.uuid);
    same("its uuid", uuid.map(MdevId::from), Some(spec.id()))?;
    same("how many more can be made", maker(cx).await?.2, left - 1)?;
    refused(facet(cx)?.create(spec).await, ErrorKind::AlreadyExists)
}
