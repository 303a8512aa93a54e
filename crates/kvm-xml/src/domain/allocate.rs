//! What is still free: names of disks, numbers of controllers and I/O threads, turns in the boot order.

use super::{ControllerType, Disk, DiskBus, Domain};
use crate::value::DiskName;
use std::collections::{BTreeSet, HashSet};

/// Controller, bus, target and unit of a disk on a bus that counts so.
pub(crate) type Drive = (u32, u32, u32, u32);

impl Domain {
    /// The first name that no disk has, for a new disk on `bus`: `vda`, `vdb`, …
    ///
    /// A name is also taken when its place on the bus is. For a disk that goes into a running machine and its stored
    /// document, see [`DiskName::free`].
    #[must_use]
    pub fn free_target(&self, bus: DiskBus) -> DiskName {
        DiskName::free(bus, [self])
    }

    /// The lowest number that no controller of this type has. Those without a number get the lowest ones from libvirt.
    #[must_use]
    pub fn free_controller_index(&self, r#type: ControllerType) -> u32 {
        let controllers = self.devices.iter().flat_map(|devices| &devices.controller);
        let same: Vec<_> = controllers.filter(|controller| controller.r#type == Some(r#type)).collect();
        let numbered: BTreeSet<u32> = same.iter().filter_map(|controller| controller.index).collect();
        let others = same.iter().filter(|controller| controller.index.is_none()).count();
        let after = |free: u32, taken: &u32| if *taken <= free { free.saturating_add(1) } else { free };
        numbered.iter().fold(u32::try_from(others).unwrap_or(u32::MAX), after)
    }

    /// The lowest number from 1 that no I/O thread has.
    #[must_use]
    pub fn free_iothread(&self) -> u32 {
        let named = self.named_iothreads();
        // The unnamed ones have the lowest numbers that the named ones leave; this is the next.
        let after = |free: u32, taken: &u32| if *taken <= free { free.saturating_add(1) } else { free };
        named.iter().fold(self.unnamed_iothreads(&named).saturating_add(1), after)
    }

    /// Whether there is an I/O thread with this number. Those that `iothreads` counts and `iothreadids` does not name
    /// have the lowest numbers from 1 that are left.
    #[must_use]
    pub fn has_iothread(&self, number: u32) -> bool {
        let named = self.named_iothreads();
        let below = u32::try_from(named.range(..number).count()).unwrap_or(u32::MAX);
        named.contains(&number) || number > 0 && number.saturating_sub(below) <= self.unnamed_iothreads(&named)
    }

    fn named_iothreads(&self) -> BTreeSet<u32> {
        self.iothreadids.iter().flat_map(|ids| &ids.iothread).filter_map(|thread| thread.id).collect()
    }

    fn unnamed_iothreads(&self, named: &BTreeSet<u32>) -> u32 {
        self.iothreads.unwrap_or_default().saturating_sub(u32::try_from(named.len()).unwrap_or(u32::MAX))
    }

    /// The turn after all devices that have one, from 1.
    #[must_use]
    pub fn next_boot_order(&self) -> u32 {
        let Some(devices) = &self.devices else { return 1 };
        let disks = devices.disk.iter().map(|device| &device.boot);
        let interfaces = devices.interface.iter().map(|device| &device.boot);
        let hostdevs = devices.hostdev.iter().map(|device| &device.boot);
        let redirdevs = devices.redirdev.iter().map(|device| &device.boot);
        let filesystems = devices.filesystem.iter().map(|device| &device.boot);
        let all = disks.chain(interfaces).chain(hostdevs).chain(redirdevs).chain(filesystems);
        all.flatten().filter_map(|boot| boot.order).max().unwrap_or_default().saturating_add(1)
    }
}

impl DiskName {
    /// The first name that no disk of these documents has, for a new disk on `bus`. A disk that is plugged into a
    /// running machine and stored for its next start needs a name that is free in both documents.
    #[must_use]
    pub fn free<'a>(bus: DiskBus, documents: impl IntoIterator<Item = &'a Domain>) -> Self {
        let (mut names, mut places) = (HashSet::new(), HashSet::new());
        for disk in documents.into_iter().flat_map(Domain::disks) {
            names.extend(disk.target.as_ref().and_then(|target| target.dev.as_ref()).map(Self::as_str));
            if disk.bus() == Some(bus) {
                places.extend(disk.drive());
            }
        }
        let is_free = |number| {
            !names.contains(Self::nth(bus, number).as_str())
                && !default_drive(bus, number).is_some_and(|place| places.contains(&place))
        };
        Self::nth(bus, first(is_free))
    }
}

impl Disk {
    /// The bus that the document names, else the one that libvirt chooses by the disk's name.
    #[must_use]
    pub fn bus(&self) -> Option<DiskBus> {
        let target = self.target.as_ref()?;
        target.bus.or_else(|| Some(target.dev.as_ref()?.default_bus()))
    }

    /// Its place on a bus of drives: the one that the document names, else the one that libvirt chooses by its name.
    pub(crate) fn drive(&self) -> Option<Drive> {
        let bus = self.bus()?;
        match &self.address {
            Some(address) => {
                let place = |number: Option<u32>| number.unwrap_or_default();
                let on_bus = address.bus.map_or(0, u32::from);
                default_drive(bus, 0)?;
                Some((place(address.controller), on_bus, place(address.target), place(address.unit)))
            }
            None => default_drive(bus, self.target.as_ref()?.dev.as_ref()?.number()?),
        }
    }
}

/// Where libvirt puts a disk that has no address; `None` on buses that do not count drives.
fn default_drive(bus: DiskBus, number: u32) -> Option<Drive> {
    match bus {
        DiskBus::Ide => Some((number / 4, number % 4 / 2, 0, number % 2)),
        DiskBus::Fdc => Some((number / 2, 0, 0, number % 2)),
        DiskBus::Sata => Some((number / 6, 0, 0, number % 6)),
        DiskBus::Scsi => Some((number / 7, 0, 0, number % 7)),
        _ => None,
    }
}

/// The first number that is free; a document cannot take them all.
fn first(is_free: impl Fn(u32) -> bool) -> u32 {
    (0..u32::MAX).find(|number| is_free(*number)).unwrap_or(u32::MAX)
}
