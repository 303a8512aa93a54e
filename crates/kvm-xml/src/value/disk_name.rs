//! Counting with the names of disks.

use super::DiskName;
use crate::domain::DiskBus;

/// How many letters there are to count with.
const LETTERS: u32 = 26;

impl DiskName {
    /// The name with this number on a bus, from 0: `vda` to `vdz`, then `vdaa`.
    #[must_use]
    pub fn nth(bus: DiskBus, number: u32) -> Self {
        let mut letters = Vec::new();
        let mut rest = u64::from(number) + 1;
        while rest > 0 {
            rest -= 1;
            letters.extend(u8::try_from(rest % u64::from(LETTERS)).map(|letter| char::from(b'a' + letter)));
            rest /= u64::from(LETTERS);
        }
        let prefix = match bus {
            DiskBus::Fdc => "fd",
            DiskBus::Ide => "hd",
            DiskBus::Scsi | DiskBus::Sata | DiskBus::Usb | DiskBus::Sd => "sd",
            DiskBus::Virtio => "vd",
            DiskBus::Xen => "xvd",
            DiskBus::Uml => "ubd",
        };
        Self(prefix.chars().chain(letters.into_iter().rev()).collect())
    }

    /// The letters before those that count: `vd` of `vdb`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.parts().0
    }

    /// The number that the letters stand for, from 0; `None` when libvirt could not count with them (`vd1`, `vdA`). A
    /// partition behind them (`vda1`) does not count.
    #[must_use]
    pub fn number(&self) -> Option<u32> {
        let letters = self.parts().1.trim_end_matches(|c: char| c.is_ascii_digit());
        let digit = |letter: u8| letter.is_ascii_lowercase().then(|| u32::from(letter - b'a') + 1);
        let count = |sum: u32, letter| sum.checked_mul(LETTERS)?.checked_add(digit(letter)?);
        letters.bytes().try_fold(0, count)?.checked_sub(1)
    }

    /// The partition behind the letters: 1 of `vda1`. No disk has one.
    #[must_use]
    pub fn partition(&self) -> Option<&str> {
        let rest = self.parts().1;
        let digits = rest.trim_start_matches(|c: char| !c.is_ascii_digit());
        (!digits.is_empty()).then_some(digits)
    }

    /// The bus that libvirt chooses for a disk of this name when the document names none.
    #[must_use]
    pub fn default_bus(&self) -> DiskBus {
        match self.prefix() {
            "fd" => DiskBus::Fdc,
            "hd" => DiskBus::Ide,
            "vd" => DiskBus::Virtio,
            "xvd" => DiskBus::Xen,
            "ubd" => DiskBus::Uml,
            _ => DiskBus::Scsi,
        }
    }

    fn parts(&self) -> (&str, &str) {
        let name = self.0.strip_prefix("ioemu:").unwrap_or(&self.0);
        name.split_at_checked(if name.starts_with("xvd") || name.starts_with("ubd") { 3 } else { 2 })
            .unwrap_or((name, ""))
    }
}
