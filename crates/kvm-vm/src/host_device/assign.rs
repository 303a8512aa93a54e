//! Devices of a host that a machine is to get: what stands against it, and what the machine's document says then.

use kvm_core::{Error, ErrorKind, Host, HostDeviceRef, MdevId, PciAddress, Resource, Result, UsbAddress, UsbId, VmId};

use super::needs::{Needs, needs};
use super::{GroupMember, HostAddress, HostDevice, HostDeviceKind, host_devices};

/// Drivers that leave a device to guests.
const GUEST_DRIVERS: [&str; 2] = ["vfio-pci", "pci-stub"];
/// The vendor of the ports that the kernel itself makes.
const ROOT_HUBS: u16 = 0x1d6b;
/// The verb of all refusals.
const ASSIGN: &str = "assign-device";

/// Whether a PCI device is given alone or with its IOMMU group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupScope {
    /// Alone.
    Function,
    /// With all other members of its group, such as the audio function of a graphics card.
    Group,
}

/// What a machine gets.
#[derive(Debug)]
pub(crate) struct Assignment {
    /// The device.
    pub(crate) device: HostDeviceRef,
    /// What it is, for plans.
    pub(crate) about: String,
}

/// Looks at the host and at all machines, and refuses a device that is not there, that the host needs, that another machine
/// has, or that cannot be given alone.
pub(crate) async fn assign(
    host: &Host,
    vm: &VmId,
    wanted: HostDeviceRef,
    scope: GroupScope,
) -> Result<Vec<Assignment>> {
    let devices = host_devices(host).await?;
    let look = Look { needs: needs(host, &devices).await, devices: &devices, vm };
    match wanted {
        HostDeviceRef::Pci(address) => look.pci(address, scope),
        HostDeviceRef::UsbId(id) => look.usb_kind(id),
        HostDeviceRef::UsbAddress(at) => look.usb_place(at),
        HostDeviceRef::Mdev(id) => look.mediated(id),
    }
    .map_err(|e| e.during(ASSIGN))
}

/// A host, and the machine that is to get something of it.
struct Look<'a> {
    devices: &'a [HostDevice],
    needs: Needs,
    vm: &'a VmId,
}

impl Look<'_> {
    fn pci(&self, address: PciAddress, scope: GroupScope) -> Result<Vec<Assignment>> {
        let device = self.at(&HostAddress::Pci(address))?;
        let Some(group) = &device.iommu_group else {
            return Err(refused(device, "is in no IOMMU group: the IOMMU is off, or the host has none")
                .with_detail("kvmctl doctor says what to do"));
        };
        self.check_function(device)?;
        let others: Vec<_> = group.others.iter().filter(|other| !stays(other)).collect();
        let mut given = vec![device];
        match scope {
            GroupScope::Function => self.check_group(device, group.number, &others)?,
            GroupScope::Group => {
                for other in others {
                    let other = self.at(&HostAddress::Pci(other.address))?;
                    // What the machine has already stays as it is.
                    if !self.has(other) {
                        self.check_function(other)?;
                        given.push(other);
                    }
                }
            }
        }
        let assignment = |device: &HostDevice| match device.address {
            Some(HostAddress::Pci(address)) => {
                Some(Assignment { device: HostDeviceRef::Pci(address), about: title(device) })
            }
            _ => None,
        };
        Ok(given.into_iter().filter_map(assignment).collect())
    }

    /// What stands against giving away one function, whatever its group.
    fn check_function(&self, device: &HostDevice) -> Result<()> {
        if device.class.is_some_and(super::DeviceClass::is_bridge) {
            return Err(refused(device, "is a bridge, which stays with the host"));
        }
        self.check(device)?;
        let functions = device.virtual_functions.iter().flat_map(|functions| &functions.addresses);
        let functions = functions.filter_map(|address| self.at(&HostAddress::Pci(*address)).ok());
        let used: Vec<_> = functions.filter(|function| !function.used_by.is_empty()).map(describe_use).collect();
        if !used.is_empty() {
            let error = refused(device, "is a physical function, and its virtual functions are in use");
            return Err(error.with_detail(used.join("\n")));
        }
        let physical = device.physical_function.and_then(|address| self.at(&HostAddress::Pci(address)).ok());
        match physical.filter(|physical| !physical.used_by.is_empty()) {
            Some(physical) => Err(refused(device, "is a virtual function, and its physical one is in use")
                .with_detail(describe_use(physical))),
            None => Ok(()),
        }
    }

    /// What stands against giving away a device of any kind.
    fn check(&self, device: &HostDevice) -> Result<()> {
        if let Some(reason) = self.needs.reason(device) {
            return Err(refused(device, "is needed by the host itself").with_detail(reason));
        }
        let others: Vec<_> = device.used_by.iter().filter(|user| user.id != *self.vm).collect();
        if let Some(first) = others.first() {
            let what = if first.running { "runs with it" } else { "gets it when it starts" };
            let error = refused(device, &format!("belongs to VM {}, which {what}", first.vm));
            let vm = &first.vm;
            return Err(error.with_detail(format!("kvmctl device list {vm} and kvmctl nic list {vm} show what it has")));
        }
        Ok(())
    }

    /// Whether the rest of a group lets one function go: nothing of it may be at work on the host, or in another machine.
    fn check_group(&self, device: &HostDevice, number: u32, others: &[&GroupMember]) -> Result<()> {
        let in_the_way: Vec<_> = others.iter().filter(|other| !self.lets_go(other)).collect();
        if in_the_way.is_empty() {
            return Ok(());
        }
        let lines = in_the_way.iter().map(|other| {
            let class = other.class.map_or("Device", |class| class.name());
            let driver =
                other.driver.as_deref().map_or_else(|| "no driver".to_owned(), |driver| format!("driver {driver}"));
            let product = other.product.as_deref().unwrap_or_default();
            format!("{}  {class}  {product}  {driver}", other.address)
        });
        let mut lines: Vec<_> = lines.collect();
        let address = device.address.as_ref().map(ToString::to_string).unwrap_or_default();
        lines.push(format!(
            "give the VM the whole group (pci={address},group), or let go of the others: vfio-pci as their driver"
        ));
        let text = format!("cannot be given alone: IOMMU group {number} is not viable");
        Err(refused(device, &text).with_detail(lines.join("\n")))
    }

    fn lets_go(&self, other: &GroupMember) -> bool {
        let known = self.at(&HostAddress::Pci(other.address)).ok();
        let is_ours = known.is_some_and(|known| self.has(known));
        let is_elsewhere = known.is_some_and(|known| !known.used_by.is_empty()) && !is_ours;
        let is_free = other.driver.as_deref().is_none_or(|driver| GUEST_DRIVERS.contains(&driver));
        is_ours || (is_free && !is_elsewhere)
    }

    fn has(&self, device: &HostDevice) -> bool {
        device.used_by.iter().any(|user| user.id == *self.vm)
    }

    fn usb_kind(&self, id: UsbId) -> Result<Vec<Assignment>> {
        let is = |device: &&HostDevice| matches!(device.address, Some(HostAddress::Usb(_, found)) if found == Some(id));
        let found: Vec<_> = self.devices.iter().filter(is).collect();
        match found[..] {
            [] => Err(absent("usb", &id.to_string(), HostDeviceKind::Usb)),
            [device] => self.usb(device, HostDeviceRef::UsbId(id)),
            _ => {
                let places: Vec<_> =
                    found.iter().filter_map(|device| Some(format!("usb={}", device.address.as_ref()?))).collect();
                Err(Error::invalid("usb", format!("the host has {} USB devices {id}", found.len()))
                    .with_detail(format!("say which: {}", places.join(", "))))
            }
        }
    }

    fn usb_place(&self, at: UsbAddress) -> Result<Vec<Assignment>> {
        let is = |device: &&HostDevice| matches!(device.address, Some(HostAddress::Usb(found, _)) if found == at);
        let device = self.devices.iter().find(is).ok_or_else(|| absent("usb", &at.to_string(), HostDeviceKind::Usb))?;
        self.usb(device, HostDeviceRef::UsbAddress(at))
    }

    fn usb(&self, device: &HostDevice, wanted: HostDeviceRef) -> Result<Vec<Assignment>> {
        if matches!(device.address, Some(HostAddress::Usb(_, Some(id))) if id.vendor() == ROOT_HUBS) {
            return Err(refused(device, "is a hub of the host's own, which stays with it"));
        }
        self.check(device)?;
        Ok(vec![Assignment { device: wanted, about: title(device) }])
    }

    fn mediated(&self, id: MdevId) -> Result<Vec<Assignment>> {
        let device = self.at(&HostAddress::Mdev(id))?;
        self.check(device)?;
        Ok(vec![Assignment { device: HostDeviceRef::Mdev(id), about: title(device) }])
    }

    fn at(&self, address: &HostAddress) -> Result<&HostDevice> {
        let found = self.devices.iter().find(|device| device.address.as_ref() == Some(address));
        found.ok_or_else(|| match address {
            HostAddress::Mdev(id) => absent("mdev", &id.to_string(), HostDeviceKind::Mdev),
            other => absent("pci", &other.to_string(), HostDeviceKind::Pci),
        })
    }
}

/// Whether a member of a group is none of its guests' business.
fn stays(member: &GroupMember) -> bool {
    member.class.is_some_and(super::DeviceClass::is_bridge)
}

/// What a plan says of a device.
fn title(device: &HostDevice) -> String {
    let names = [&device.vendor, &device.product].into_iter().flatten();
    let names: Vec<_> = names.filter_map(|identity| identity.name.clone().or_else(|| identity.id.clone())).collect();
    if names.is_empty() { device.mediated_type.clone().unwrap_or_default() } else { names.join(" ") }
}

fn describe_use(device: &HostDevice) -> String {
    let users: Vec<_> = device.used_by.iter().map(|user| user.vm.to_string()).collect();
    let address = device.address.as_ref().map_or_else(|| device.name.to_string(), ToString::to_string);
    format!("{address} is used by {}", users.join(", "))
}

fn refused(device: &HostDevice, why: &str) -> Error {
    let address = device.address.as_ref().map_or_else(|| device.name.to_string(), ToString::to_string);
    let error = Error::new(ErrorKind::InvalidState, format!("device {address} {why}"));
    error.on(Resource::HostDevice(device.name.as_str().to_owned()))
}

fn absent(field: &str, address: &str, kind: HostDeviceKind) -> Error {
    Error::new(ErrorKind::NotFound, format!("the host has no {kind} device {address}"))
        .on(Resource::Field(field.into()))
        .with_detail(format!("kvmctl host devices --type {kind} lists them"))
        .during(ASSIGN)
}
