//! MAC addresses.

use crate::leaf::{Scalar, leaf, parsed, text_traits};

/// A MAC address: `52:54:00:12:34:56`. As in libvirt, a byte may be one digit: `1:2:3:4:5:6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// Whether it is the address of a group, which no interface may have.
    #[must_use]
    pub fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }

    fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts
                .next()
                .filter(|part| (1..=2).contains(&part.len()) && part.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        parts.next().is_none().then_some(Self(bytes))
    }
}

leaf!(
    MacAddr,
    |mac| {
        let [a, b, c, d, e, f] = mac.0;
        Scalar::String(format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"))
    },
    |text: &str, _| parsed(text, Self::parse(text.trim()), "a MAC address such as 52:54:00:12:34:56")
);
text_traits!(MacAddr);
