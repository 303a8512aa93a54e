//! What PCI devices do: classes as the PCI code and ID assignment specification numbers them.

use serde::{Serialize, Serializer};

/// The class of a PCI device: class, subclass and programming interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceClass(u32);

/// The bits of class and subclass.
const SUBCLASS: u32 = 8;
/// The bits of the class alone.
const CLASS: u32 = 16;

/// Subclasses that people look for.
const SUBCLASSES: [(u32, &str); 20] = [
    (0x0100, "SCSI controller"),
    (0x0101, "IDE controller"),
    (0x0104, "RAID controller"),
    (0x0106, "SATA controller"),
    (0x0107, "SAS controller"),
    (0x0108, "NVMe controller"),
    (0x0200, "Ethernet controller"),
    (0x0207, "InfiniBand controller"),
    (0x0280, "Network controller"),
    (0x0300, "VGA controller"),
    (0x0302, "3D controller"),
    (0x0380, "Display controller"),
    (0x0403, "Audio device"),
    (0x0600, "Host bridge"),
    (0x0601, "ISA bridge"),
    (0x0604, "PCI bridge"),
    (0x0805, "SD controller"),
    (0x0c03, "USB controller"),
    (0x0c05, "SMBus"),
    (0x1200, "Accelerator"),
];

/// Classes, for all else.
const CLASSES: [(u32, &str); 20] = [
    (0x00, "Old device"),
    (0x01, "Storage controller"),
    (0x02, "Network controller"),
    (0x03, "Display controller"),
    (0x04, "Multimedia controller"),
    (0x05, "Memory controller"),
    (0x06, "Bridge"),
    (0x07, "Communication controller"),
    (0x08, "System peripheral"),
    (0x09, "Input controller"),
    (0x0a, "Docking station"),
    (0x0b, "Processor"),
    (0x0c, "Serial bus controller"),
    (0x0d, "Wireless controller"),
    (0x0e, "Intelligent controller"),
    (0x0f, "Satellite controller"),
    (0x10, "Encryption controller"),
    (0x11, "Signal processing controller"),
    (0x12, "Accelerator"),
    (0x13, "Instrumentation"),
];

impl DeviceClass {
    /// The class of this number; `None` when it has more than six hexadecimal digits.
    #[must_use]
    pub fn new(code: u64) -> Option<Self> {
        u32::try_from(code).ok().filter(|code| *code < 1 << 24).map(Self)
    }

    /// The number.
    #[must_use]
    pub fn code(self) -> u32 {
        self.0
    }

    /// What it does, in words.
    #[must_use]
    pub fn name(self) -> &'static str {
        let named = |(code, _): &&(u32, &str)| *code == self.0 >> SUBCLASS;
        let subclass = SUBCLASSES.iter().find(named);
        let class = || CLASSES.iter().find(|(code, _)| *code == self.0 >> CLASS);
        subclass.or_else(class).map_or("Device", |(_, name)| name)
    }

    /// Whether it connects buses: it stays with the host, and its IOMMU group does not mind.
    #[must_use]
    pub fn is_bridge(self) -> bool {
        self.0 >> SUBCLASS == 0x0604 || self.0 >> SUBCLASS == 0x0600
    }

    /// Whether it draws pictures.
    #[must_use]
    pub fn is_display(self) -> bool {
        self.0 >> CLASS == 0x03
    }
}

impl Serialize for DeviceClass {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Form {
            code: String,
            name: &'static str,
        }
        Form { code: format!("{:06x}", self.0), name: self.name() }.serialize(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_has_the_name_of_its_subclass_or_of_itself() {
        let name = |code| DeviceClass::new(code).unwrap().name();
        assert_eq!(
            (name(0x03_00_00), name(0x03_01_00), name(0xff_00_00)),
            ("VGA controller", "Display controller", "Device")
        );
        assert!(DeviceClass::new(1 << 24).is_none());
        assert!(DeviceClass::new(0x06_04_00).unwrap().is_bridge());
        assert!(DeviceClass::new(0x03_02_00).unwrap().is_display());
    }
}
