//! Which machines have which devices of their host.

use std::collections::BTreeSet;

use futures_util::FutureExt as _;
use kvm_core::{ErrorKind, Host, MdevId, PciAddress, Result, UsbAddress, UsbId, View, VmFilter, VmSummary};
use kvm_xml::Domain;
use kvm_xml::domain::{Hostdev, HostdevSource, HostdevType, Interface, InterfaceSourceAddress, InterfaceType};

use super::{DeviceUser, HostAddress};
use crate::parallel;

/// A device that a document names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Claim {
    /// By its place.
    At(HostAddress),
    /// Any USB device of this kind.
    UsbId(UsbId),
}

impl Claim {
    /// Whether the device there is the one that is meant.
    pub(crate) fn is(&self, address: &HostAddress) -> bool {
        match (self, address) {
            (Self::UsbId(wanted), HostAddress::Usb(_, id)) => Some(wanted) == id.as_ref(),
            // What stands in a document need not say what the device is.
            (Self::At(HostAddress::Usb(a, _)), HostAddress::Usb(b, _)) => a == b,
            (Self::At(wanted), there) => wanted == there,
            (Self::UsbId(_), _) => false,
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
    let given = devices.hostdev.iter().filter_map(hostdev);
    let nics = devices.interface.iter().filter_map(interface);
    let disks = devices.disk.iter().filter_map(|disk| disk.source.as_ref()?.dev.clone()).map(HostAddress::Block);
    given.chain(nics.chain(disks).map(Claim::At)).collect()
}

/// The device that an element gives to the guest.
pub(crate) fn hostdev(element: &Hostdev) -> Option<Claim> {
    let source = element.source.as_ref()?;
    let address = source.address.as_ref();
    match element.r#type? {
        HostdevType::Pci => {
            let address = address?;
            let bus = u8::try_from(address.bus?).ok()?;
            let (slot, function) = (address.slot.unwrap_or_default(), address.function.unwrap_or_default());
            let at = PciAddress::new(address.domain.unwrap_or_default(), bus, slot, function)?;
            Some(Claim::At(HostAddress::Pci(at)))
        }
        HostdevType::Usb => match address {
            Some(address) => {
                let at = UsbAddress::new(address.bus?, address.device?)?;
                Some(Claim::At(HostAddress::Usb(at, usb_id(source))))
            }
            None => usb_id(source).map(Claim::UsbId),
        },
        HostdevType::Mdev => Some(Claim::At(HostAddress::Mdev(MdevId::from(address?.uuid?)))),
        _ => None,
    }
}

fn usb_id(source: &HostdevSource) -> Option<UsbId> {
    UsbId::new(source.vendor.as_ref()?.id?, source.product.as_ref()?.id?)
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
