//! The small choices of a specification, by the words that name them.

use crate::text::choices;

choices! {
    /// Whether a machine is started when it is made.
    Start: "start" {
        /// It stays off.
        No = "no",
        /// It boots.
        Yes = "yes",
        /// It is loaded, and waits to be resumed.
        Paused = "paused",
    }

    /// The operating system that a machine is for: decides what devices it finds without drivers of their own.
    OsHint: "os" {
        /// Virtio devices, clock in UTC.
        Linux = "linux",
        /// SATA and Intel network devices, clock in local time, Hyper-V enlightenments.
        Windows = "windows",
        /// SATA and Intel network devices, clock in UTC.
        Other = "other",
    }

    /// The firmware that a machine boots with.
    Firmware: "firmware" {
        /// SeaBIOS, or what the machine type has by itself.
        Bios = "bios",
        /// UEFI without Secure Boot.
        Uefi = "uefi",
        /// UEFI with Secure Boot and the usual keys enrolled.
        UefiSecure = "uefi-secure",
    }

    /// What a machine boots from.
    BootDevice: "boot" {
        /// Its disks, in their order.
        Disk = "disk",
        /// Its ISO.
        Cdrom = "cdrom",
        /// Its first network device (PXE).
        Network = "network",
    }

    /// The screen that a machine has.
    Graphics: "graphics" {
        /// None; the serial console is always there.
        None = "none",
        /// VNC, listening on the host's loopback address only.
        Vnc = "vnc",
        /// SPICE, listening on the host's loopback address only.
        Spice = "spice",
    }

    /// The form of a volume's content.
    VolumeFormat: "format" {
        /// Grows as it is written; snapshots and backing files.
        Qcow2 = "qcow2",
        /// Plain bytes.
        Raw = "raw",
    }

    /// How a volume's content is encrypted.
    VolumeEncryption: "encrypt" {
        /// LUKS inside a qcow2 image.
        Luks = "luks",
    }

    /// How a disk is plugged in.
    DiskBus: "bus" {
        /// Paravirtual, the fastest.
        Virtio = "virtio",
        /// A virtio-scsi controller.
        Scsi = "scsi",
        /// AHCI, known to every system since 2007.
        Sata = "sata",
        /// For old machine types.
        Ide = "ide",
        /// USB mass storage.
        Usb = "usb",
    }

    /// How the host caches a disk.
    CacheMode: "cache" {
        /// Not at all.
        None = "none",
        /// Until the guest asks for a flush.
        Writeback = "writeback",
        /// Reads only.
        Writethrough = "writethrough",
        /// Not at all, each write durable.
        Directsync = "directsync",
        /// Flushes are ignored: a crash of the host loses data.
        Unsafe = "unsafe",
    }

    /// The network device that a guest sees.
    NicModel: "model" {
        /// Paravirtual, the fastest.
        Virtio = "virtio",
        /// Intel, PCI express.
        E1000e = "e1000e",
        /// Intel, PCI.
        E1000 = "e1000",
        /// Realtek, for very old systems.
        Rtl8139 = "rtl8139",
    }
}

impl Start {
    /// Whether the machine is to be active in the end.
    #[must_use]
    pub fn is_wanted(self) -> bool {
        self != Self::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_is_found_again_by_its_word() {
        for choice in VolumeFormat::ALL {
            assert_eq!(choice.as_str().parse::<VolumeFormat>().unwrap(), *choice);
            assert_eq!(serde_json::to_value(choice).unwrap(), choice.as_str());
        }
    }

    #[test]
    fn an_unknown_word_names_the_field_and_lists_the_known_ones() {
        let e = "floppy".parse::<BootDevice>().unwrap_err();
        assert_eq!(e.resource(), Some(&kvm_core::Resource::Field("boot".into())));
        assert_eq!(e.to_string(), "boot \"floppy\" is not one of disk, cdrom, network");
        let e = serde_json::from_str::<NicModel>("\"ne2000\"").unwrap_err();
        assert!(e.to_string().contains("virtio, e1000e, e1000, rtl8139"), "{e}");
    }

    #[test]
    fn yes_and_no_may_be_written_as_booleans() {
        assert_eq!(serde_json::from_str::<Start>("true").unwrap(), Start::Yes);
        assert_eq!(serde_json::from_str::<Start>("\"no\"").unwrap(), Start::No);
        assert_eq!(serde_json::from_str::<Start>("\"paused\"").unwrap(), Start::Paused);
    }
}
