//! MAC addresses.

use crate::leaf::{Expected, Scalar, Spelling, leaf, text_traits};

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
        let mut text = String::with_capacity(17);
        for (index, byte) in mac.0.iter().enumerate() {
            if index > 0 {
                text.push(':');
            }
            for digit in [byte >> 4, byte & 15] {
                text.extend(char::from_digit(digit.into(), 16));
            }
        }
        Scalar::String(text)
    },
    |text: &str, _| {
        let mac = Self::parse(text.trim()).ok_or(Expected::Text("a MAC address such as 52:54:00:12:34:56"))?;
        let usual = text.len() == 17 && !text.bytes().any(|byte| byte.is_ascii_uppercase());
        Ok((mac, if usual { Spelling::Usual } else { Spelling::Odd }))
    }
);
text_traits!(MacAddr);
