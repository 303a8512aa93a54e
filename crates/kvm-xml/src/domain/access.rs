//! Shorter ways to what is used most.

use super::{Channel, Devices, Disk, DiskDevice, Domain, Graphics, Hostdev, Interface, Serial};
use crate::value::MacAddr;

impl Domain {
    /// The devices, to change them; added to the document if it has none.
    pub fn devices_mut(&mut self) -> &mut Devices {
        self.devices.get_or_insert_default()
    }

    /// The disks, CD-ROM and floppy drives included.
    #[must_use]
    pub fn disks(&self) -> &[Disk] {
        self.devices.as_ref().map_or(&[], |devices| &devices.disk)
    }

    /// The network interfaces.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        self.devices.as_ref().map_or(&[], |devices| &devices.interface)
    }

    /// The graphical consoles.
    #[must_use]
    pub fn graphics(&self) -> &[Graphics] {
        self.devices.as_ref().map_or(&[], |devices| &devices.graphics)
    }

    /// The serial ports.
    #[must_use]
    pub fn serials(&self) -> &[Serial] {
        self.devices.as_ref().map_or(&[], |devices| &devices.serial)
    }

    /// The consoles. libvirt shows the first serial port here once more.
    #[must_use]
    pub fn consoles(&self) -> &[Serial] {
        self.devices.as_ref().map_or(&[], |devices| &devices.console)
    }

    /// The channels.
    #[must_use]
    pub fn channels(&self) -> &[Channel] {
        self.devices.as_ref().map_or(&[], |devices| &devices.channel)
    }

    /// The host devices given to the guest.
    #[must_use]
    pub fn hostdevs(&self) -> &[Hostdev] {
        self.devices.as_ref().map_or(&[], |devices| &devices.hostdev)
    }

    /// How many virtual CPUs the guest starts with: `current`, else all of them.
    #[must_use]
    pub fn current_vcpus(&self) -> Option<u16> {
        let vcpu = self.vcpu.as_ref()?;
        vcpu.current.or(vcpu.value)
    }
}

impl Disk {
    /// The disk's name in the guest (`vda`), which no other disk of the guest has.
    #[must_use]
    pub fn target_name(&self) -> Option<&str> {
        Some(self.target.as_ref()?.dev.as_ref()?.as_str())
    }

    /// The file or block device on the host.
    #[must_use]
    pub fn source_path(&self) -> Option<&str> {
        let source = self.source.as_ref()?;
        source.file.as_deref().or(source.dev.as_deref())
    }

    /// What kind of drive the guest sees; a disk, unless the document says otherwise.
    #[must_use]
    pub fn device(&self) -> DiskDevice {
        self.device.unwrap_or(DiskDevice::Disk)
    }
}

impl Interface {
    /// The MAC address.
    #[must_use]
    pub fn mac_address(&self) -> Option<MacAddr> {
        self.mac.as_ref()?.address
    }

    /// The device on the host (`vnet0`), while the guest runs.
    #[must_use]
    pub fn host_device(&self) -> Option<&str> {
        self.target.as_ref()?.dev.as_deref()
    }
}
