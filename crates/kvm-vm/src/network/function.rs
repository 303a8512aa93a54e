//! Whether an interface of the host is what a pool of virtual functions is made of.

use kvm_core::{Error, ErrorKind, Host, Resource, Result};
use kvm_xml::Network;

use crate::host_device::{HostAddress, HostDevice, documents};

/// Refuses an interface that has no virtual functions, as far as the host tells of its devices.
pub(super) async fn check_physical(host: &Host, document: &Network) -> Result<()> {
    let interface = document.forward.as_ref().and_then(|forward| forward.pf.as_ref()?.dev.as_deref());
    let Some(interface) = interface else { return Ok(()) };
    let devices = match documents(host).await {
        Ok(devices) => devices,
        Err(e) => {
            tracing::debug!(error = %e, "the host does not tell of its devices");
            return Ok(());
        }
    };
    check(interface, &devices)
}

fn check(interface: &str, devices: &[HostDevice]) -> Result<()> {
    let is = |device: &&HostDevice| matches!(&device.address, Some(HostAddress::Net(name)) if name == interface);
    let card = devices.iter().find(is);
    let above = |card: &HostDevice| devices.iter().find(|device| Some(device.name.as_str()) == card.parent.as_deref());
    // What is not there now may come, and what no device drives is judged by libvirt.
    let Some(function) = card.and_then(above) else { return Ok(()) };
    let refuse = |kind, text: String| Err(Error::new(kind, text).on(Resource::Field("uplink".into())));
    match &function.virtual_functions {
        Some(functions) if !functions.addresses.is_empty() => Ok(()),
        Some(functions) => {
            let most = functions.max.map_or_else(|| "N".to_owned(), |max| format!("N, at most {max},"));
            refuse(ErrorKind::InvalidState, format!("interface {interface} has no virtual functions now")).map_err(
                |e| {
                    e.with_detail(format!("write {most} to /sys/class/net/{interface}/device/sriov_numvfs on the host"))
                },
            )
        }
        None => {
            let physical = devices.iter().filter(|device| device.virtual_functions.is_some());
            let of = |function: &HostDevice| {
                devices.iter().find(|d| d.parent.as_deref() == Some(function.name.as_str()))?.address.clone()
            };
            let names: Vec<_> = physical.filter_map(of).map(|address| address.to_string()).collect();
            let known = if names.is_empty() {
                "the host has none".into()
            } else {
                format!("the host has {}", names.join(", "))
            };
            let text = format!("interface {interface} is no physical function of SR-IOV");
            refuse(ErrorKind::InvalidInput, text).map_err(|e: Error| e.with_detail(known))
        }
    }
}
