//! Hardware addresses of network interfaces.

use std::fmt;
use std::str::FromStr;

use crate::text::{refused, text_serde};
use crate::{Error, Result};

/// The hardware address of one interface. Written in lower case with two digits for each octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr([u8; 6]);

const FIELD: &str = "mac";

impl MacAddr {
    /// Takes six octets in hexadecimal, one or two digits each, with colons between. `InvalidInput` for anything
    /// else and for what is not the address of one interface: zero (libvirt replaces it by a random one), multicast
    /// and broadcast.
    pub fn parse(text: &str) -> Result<Self> {
        let octets = parse_octets(text)
            .ok_or_else(|| refused(FIELD, "MAC address", text, "is not six octets; write it like 52:54:00:12:34:56"))?;
        Self::from_octets(octets)
    }

    /// Takes six octets; `InvalidInput` when they are not the address of one interface.
    pub fn from_octets(octets: [u8; 6]) -> Result<Self> {
        let refuse = |why| Err(refused(FIELD, "MAC address", &Self(octets).to_string(), why));
        if octets == [0; 6] {
            refuse("is zero, which stands for none; leave it out to get a new one")
        } else if octets == [0xff; 6] {
            refuse("is the broadcast address; choose another")
        } else if octets[0] & 1 == 1 {
            refuse("is a multicast address; the first octet has to be even")
        } else {
            Ok(Self(octets))
        }
    }

    /// A new address in the range that QEMU and KVM use (`52:54:00`), from three bytes of entropy.
    #[must_use]
    pub fn kvm_oui(entropy: [u8; 3]) -> Self {
        let [a, b, c] = entropy;
        Self([0x52, 0x54, 0x00, a, b, c])
    }

    /// The six octets.
    #[must_use]
    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

fn parse_octets(text: &str) -> Option<[u8; 6]> {
    let mut octets = [0; 6];
    let mut parts = text.split(':');
    for octet in &mut octets {
        let part = parts.next().filter(|p| matches!(p.len(), 1 | 2))?;
        // The library's own reader would take a plus sign.
        if !part.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        *octet = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(octets)
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
    }
}

impl FromStr for MacAddr {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

text_serde!(MacAddr, "a MAC address", MacAddr::parse, |mac| &mac.to_string());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_in_one_form() {
        assert_eq!(MacAddr::parse("52:54:0:AB:34:5").unwrap().to_string(), "52:54:00:ab:34:05");
        assert_eq!(MacAddr::kvm_oui([0, 0, 1]).to_string(), "52:54:00:00:00:01");
    }

    #[test]
    fn signs_and_empty_octets_are_refused() {
        for text in ["+2:54:00:12:34:56", "52::00:12:34:56", "52:54:00:12:34:056", "52:54:00:12:34:56:"] {
            assert!(MacAddr::parse(text).is_err(), "{text}");
        }
    }
}
