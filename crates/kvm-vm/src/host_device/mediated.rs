//! Mediated devices made and taken away.

use kvm_core::{Error, ErrorKind, Host, HostDeviceName, MdevId, MdevSpec, PciAddress, Resource, Result};

use super::{HostAddress, HostDevice, HostDeviceKind, documents, facet, host_devices};

/// Makes a mediated device of this type out of the device at this address; it is gone when the host restarts.
///
/// `NotFound` when nothing is there, `InvalidInput` when it makes none of the type, `InvalidState` when it has made all that it
/// can, `AlreadyExists` when there is a mediated device of the uuid.
pub async fn create_mediated(host: &Host, parent: PciAddress, kind: &str, id: MdevId) -> Result<HostDeviceName> {
    let devices = documents(host).await?;
    let parent = find(&devices, &HostAddress::Pci(parent))?;
    facet(host)?.create(&MdevSpec::new(parent.name.clone(), kind, id)?).await
}

/// The mediated device of a uuid that no machine has, so that it can be taken away by [`delete_mediated`]. `NotFound`;
/// `InvalidState` names the machine that has it.
pub async fn find_unused_mediated(host: &Host, id: MdevId) -> Result<HostDevice> {
    let devices = host_devices(host).await?;
    let device = find(&devices, &HostAddress::Mdev(id))?;
    match device.used_by.first() {
        None => Ok(device.clone()),
        Some(user) => {
            let text = format!("mediated device {id} belongs to VM {}", user.vm);
            Err(Error::new(ErrorKind::InvalidState, text).on(Resource::HostDevice(device.name.as_str().to_owned())))
        }
    }
}

/// Takes a mediated device away that no machine has. `NotFound`; `InvalidState` names the machine that has it.
pub async fn delete_mediated(host: &Host, id: MdevId) -> Result<()> {
    let device = find_unused_mediated(host, id).await?;
    facet(host)?.delete(&device.name).await
}

fn find<'a>(devices: &'a [HostDevice], address: &HostAddress) -> Result<&'a HostDevice> {
    let kind = if matches!(address, HostAddress::Pci(_)) { HostDeviceKind::Pci } else { HostDeviceKind::Mdev };
    devices.iter().find(|device| device.address.as_ref() == Some(address)).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("the host has no {kind} device {address}"))
            .on(Resource::Field("device".into()))
            .with_detail(format!("kvmctl host devices --type {kind} lists them"))
    })
}
