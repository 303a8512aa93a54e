//! Which machines have which devices of their host.

use std::collections::BTreeSet;

use futures_util::FutureExt as _;
use kvm_core::{ErrorKind, Host, HostDeviceRef, PciAddress, Result, View, VmFilter, VmSummary};
use kvm_xml::Domain;
use kvm_xml::domain::{Interface, InterfaceSourceAddress, InterfaceType};

use super::{DeviceUser, HostAddress};
use crate::parallel;

/// A device that a document names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Claim {
    /// To give it to the guest.
    Given(HostDeviceRef),
    /// To build upon it: a disk, or a network device.
    Below(HostAddress),
}

impl Claim {
    /// Whether the device there is the one that is meant.
    pub(crate) fn is(&self, address: &HostAddress) -> bool {
        match (self, address) {
            (Self::Below(wanted), there) => wanted == there,
            (Self::Given(HostDeviceRef::Pci(wanted)), HostAddress::Pci(there)) => wanted == there,
            (Self::Given(HostDeviceRef::UsbAddress(wanted)), HostAddress::Usb(there, _)) => wanted == there,
            (Self::Given(HostDeviceRef::UsbId(wanted)), HostAddress::Usb(_, id)) => Some(wanted) == id.as_ref(),
            (Self::Given(HostDeviceRef::Mdev(wanted)), HostAddress::Mdev(there)) => wanted == there,
            _ => false,
        }
    }
}

/// A machine and the devices that its documents name.
pub(crate) struct Use {
    vm: VmSummary,
    live: BTreeSet<Claim>,
    config: BTreeSet<Claim>,
}

/// What the documents of all machines of a host name, sorted by machine.
pub(crate) async fn uses(host: &Host) -> Result<Vec<Use>> {
    let listed = host.hypervisor.list(&VmFilter::all()).await?;
    let read = parallel::for_each(&listed, |vm| one(host, vm).boxed()).await;
    read.into_iter().filter_map(Result::transpose).collect()
}

async fn one(host: &Host, vm: &VmSummary) -> Result<Option<Use>> {
    let claims = async |view| match host.hypervisor.definition(&vm.id, view).await {
        Ok(document) => Ok(Some(claims(&document))),
        // It went away, or turned off, while we looked.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidState) => Ok(None),
        Err(e) => Err(e),
    };
    let live = if vm.state.is_active() { claims(View::LIVE).await? } else { None };
    let config = if vm.persistent { claims(View::CONFIG).await? } else { None };
    let used = live.is_some() || config.is_some();
    let (live, config) = (live.unwrap_or_default(), config.unwrap_or_default());
    Ok(used.then(|| Use { vm: vm.clone(), live, config }))
}

/// The machines that name the device at this address.
pub(crate) fn of(address: Option<&HostAddress>, uses: &[Use]) -> Vec<DeviceUser> {
    let Some(address) = address else { return Vec::new() };
    let has = |claims: &BTreeSet<Claim>| claims.iter().any(|claim| claim.is(address));
    uses.iter()
        .filter_map(|used| {
            let running = has(&used.live);
            let user = DeviceUser { vm: used.vm.name.clone(), id: used.vm.id, running };
            (running || has(&used.config)).then_some(user)
        })
        .collect()
}

/// The devices of the host that a document names.
fn claims(document: &Domain) -> BTreeSet<Claim> {
    let Some(devices) = &document.devices else { return BTreeSet::new() };
    let given = devices.hostdev.iter().filter_map(HostDeviceRef::of).map(Claim::Given);
    let nics = devices.interface.iter().filter_map(interface);
    let disks = devices.disk.iter().filter_map(|disk| disk.source.as_ref()?.dev.clone()).map(HostAddress::Block);
    given.chain(nics.chain(disks).map(Claim::Below)).collect()
}

/// A network device that is a function of the host's own, or sits on one of its interfaces.
fn interface(element: &Interface) -> Option<HostAddress> {
    let source = element.source.as_ref()?;
    match element.r#type? {
        InterfaceType::Hostdev => source.address_el.as_ref().and_then(function).map(HostAddress::Pci),
        InterfaceType::Direct => source.dev.clone().map(HostAddress::Net),
        _ => None,
    }
}

fn function(address: &InterfaceSourceAddress) -> Option<PciAddress> {
    let (slot, function) = (address.slot.unwrap_or_default(), address.function.unwrap_or_default());
    PciAddress::new(address.domain.unwrap_or_default(), u8::try_from(address.bus?).ok()?, slot, function)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_core::{MdevId, UsbAddress, UsbId};
    use kvm_xml::Document as _;

    #[test]
    fn a_document_names_devices_in_several_ways() {
        let document = Domain::from_xml(
            "<domain><devices>\
             <hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source></hostdev>\
             <hostdev mode='subsystem' type='usb'><source><vendor id='0x046d'/><product id='0xc52b'/></source></hostdev>\
             <hostdev mode='subsystem' type='usb'><source><address bus='1' device='6'/></source></hostdev>\
             <hostdev mode='subsystem' type='mdev' model='vfio-pci'><source>\
               <address uuid='83b8f4f2-509f-382f-3c1e-e6bfe0fa1001'/></source></hostdev>\
             <interface type='hostdev'><source><address type='pci' domain='0' bus='0x81' slot='0x10' function='0x2'/></source></interface>\
             <interface type='direct'><source dev='eno1'/></interface>\
             <disk type='block'><source dev='/dev/sdb'/></disk>\
             </devices></domain>",
        );
        let claims = claims(&document.unwrap());
        let usb = |at, id| HostAddress::Usb(UsbAddress::parse(at).unwrap(), id);
        let receiver = UsbId::parse("046d:c52b").unwrap();
        for there in [
            HostAddress::Pci(PciAddress::parse("01:00.0").unwrap()),
            HostAddress::Pci(PciAddress::parse("81:10.2").unwrap()),
            usb("1-4", Some(receiver)),
            usb("1-6", None),
            HostAddress::Mdev(MdevId::parse("83b8f4f2-509f-382f-3c1e-e6bfe0fa1001").unwrap()),
            HostAddress::Net("eno1".into()),
            HostAddress::Block("/dev/sdb".into()),
        ] {
            assert_eq!(claims.iter().filter(|claim| claim.is(&there)).count(), 1, "{there:?}");
        }
        assert!(!claims.iter().any(|claim| claim.is(&usb("1-5", None))));
    }
}
