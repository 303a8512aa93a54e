//! Values that several elements share: yes and no, sizes, MAC addresses, sets of CPUs.

mod cpu_set;
mod disk_name;
mod mac;
mod size;

pub use cpu_set::CpuSet;
pub use mac::MacAddr;
pub(crate) use size::sized;
pub use size::{Memory, Size, Tseg, Unit};

use crate::leaf::{Scalar, closed, leaf, parsed, text_traits};

closed! {
    /// `yes` or `no`.
    pub enum YesNo { Yes = "yes", No = "no" }
    /// `on` or `off`.
    pub enum OnOff { On = "on", Off = "off" }
}

impl YesNo {
    /// Whether it is yes.
    #[must_use]
    pub fn is_yes(self) -> bool {
        self == Self::Yes
    }
}

impl OnOff {
    /// Whether it is on.
    #[must_use]
    pub fn is_on(self) -> bool {
        self == Self::On
    }
}

impl From<bool> for YesNo {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

impl From<bool> for OnOff {
    fn from(on: bool) -> Self {
        if on { Self::On } else { Self::Off }
    }
}

/// Permission bits of a file, written in octal with four digits: `0644`;
/// <https://libvirt.org/formatstorage.html#storage-volume-target-elements>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mode(pub u16);

leaf!(Mode, |mode| Scalar::String(format!("{:04o}", mode.0)), |text: &str, _| {
    let digits = Some(text.trim()).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let bits = digits.and_then(|digits| u16::from_str_radix(digits, 8).ok()).filter(|bits| *bits <= 0o7777);
    parsed(text, bits.map(Self), "an octal file mode such as 0644")
});
text_traits!(Mode);

/// A world wide name: 16 hexadecimal digits, with or without `0x` before them;
/// <https://libvirt.org/formatnode.html#scsi-host>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wwn(pub u64);

leaf!(Wwn, |name| Scalar::String(format!("{:016x}", name.0)), |text: &str, _| {
    let digits = text.trim();
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    let digits =
        Some(digits).filter(|digits| digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    parsed(text, digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).map(Self), "16 hexadecimal digits")
});
text_traits!(Wwn);

/// Seconds that a clock differs, or `reset`: <https://libvirt.org/formatdomain.html#time-keeping>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Adjustment {
    /// The clock is put right at each start.
    Reset,
    /// The clock is ahead (or behind, if negative) by this many seconds.
    Seconds(i64),
}

leaf!(
    Adjustment,
    |adjustment| match adjustment {
        Self::Reset => Scalar::Str("reset"),
        Self::Seconds(seconds) => Scalar::Signed(*seconds),
    },
    |text: &str, _| {
        let word = text.trim();
        let value = if word == "reset" { Some(Self::Reset) } else { word.parse().ok().map(Self::Seconds) };
        parsed(text, value, "a number of seconds or 'reset'")
    }
);
text_traits!(Adjustment);

/// A number, or a name where the XML has one element for both, as the buses of
/// <https://libvirt.org/formatnode.html#capability-types>.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NumberOrName {
    /// Decimal digits without leading zeros.
    Number(u64),
    /// Anything else.
    Name(String),
}

impl NumberOrName {
    /// The number; `None` for a name.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Name(_) => None,
        }
    }
}

leaf!(
    NumberOrName,
    |value| match value {
        Self::Number(number) => Scalar::Unsigned(*number),
        Self::Name(name) => Scalar::Str(name),
    },
    |text: &str, _| {
        let number = text.parse().ok().filter(|number: &u64| number.to_string() == text);
        Ok((number.map_or_else(|| Self::Name(text.to_owned()), Self::Number), crate::leaf::Spelling::Usual))
    }
);
text_traits!(NumberOrName);

/// Text with a form of its own that this crate checks and does not take apart.
macro_rules! formed {
    ($($(#[$meta:meta])* $name:ident: $expected:literal, $check:expr;)+) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        $crate::leaf::leaf!($name, |value| $crate::leaf::Scalar::Str(&value.0), |text: &str, _| {
            let check: fn(&str) -> bool = $check;
            let found = Some(text).filter(|text| check(text)).or_else(|| Some(text.trim()).filter(|text| check(text)));
            $crate::leaf::parsed(text, found.map(|text| Self(text.to_owned())), $expected)
        });
        $crate::leaf::text_traits!($name);
    )+};
}
pub(crate) use formed;

formed! {
    /// The name of a disk in the guest: a bus prefix (`fd`, `hd`, `sd`, `vd`, `xvd`, `ubd`) and at least one letter.
    DiskName: "a disk name such as vda", |text| {
        let name = text.strip_prefix("ioemu:").unwrap_or(text);
        let rest = ["fd", "hd", "sd", "vd", "xvd", "ubd"].iter().find_map(|bus| name.strip_prefix(bus));
        rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
    };
    /// A moment: `2025-11-21T10:00:00`.
    DateTime: "a time such as 2025-11-21T10:00:00", |text| {
        let shape: String = text.chars().take(19).map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        shape == "0000-00-00T00:00:00" && text.chars().skip(19).all(|c| c.is_ascii_digit() || ".:+-Z".contains(c))
    };
    /// Seconds since 1970, with up to nine digits of a fraction: `1700000000.123456789`;
    /// <https://libvirt.org/formatstorage.html#storage-volume-target-elements>.
    Timestamp: "seconds with a fraction", |text| {
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        !seconds.is_empty() && digits(seconds) && digits(fraction) && fraction.len() <= 9
    };
    /// The version of an image format, `1.1`: <https://libvirt.org/formatstorage.html#storage-volume-target-elements>.
    Compat: "a version such as 1.1", |text| {
        let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.split_once('.').is_some_and(|(major, minor)| number(major) && number(minor))
    };
    /// A USB port, through hubs, `1.2`: <https://libvirt.org/formatdomain.html#device-addresses>.
    UsbPort: "a USB port such as 1.2", |text| {
        let number = |text: &str| {
            let digits = text.strip_prefix("0x").unwrap_or(text);
            (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        text.split('.').count() <= 4 && text.split('.').all(number)
    };
    /// The version of a USB device in a filter, `1.10`, or `-1` for any:
    /// <https://libvirt.org/formatdomain.html#usb-device-redirection>.
    UsbVersion: "a version such as 1.10, or -1", |text| {
        let number = |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text == "-1" || text.split_once('.').is_some_and(|(major, minor)| number(major) && number(minor))
    };
    /// A world wide port name in the form of the kernel: `naa.` and 16 hexadecimal digits.
    Naa: "naa. and 16 hexadecimal digits", |text| {
        text.strip_prefix("naa.").is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    /// The port of a virtual switch: a uuid, or a number.
    PortId: "a uuid or a number", |text| {
        text.parse::<i64>().is_ok() || uuid::Uuid::parse_str(text).is_ok()
    };
    /// A CPU vendor as the guest sees it, twelve characters, no comma:
    /// <https://libvirt.org/formatdomain.html#cpu-model-and-topology>.
    VendorId: "twelve characters without a comma", |text| text.chars().count() == 12 && !text.contains(',');
    /// Something that the host's hardware counts: cache occupancy (`llc_...`) or memory bandwidth (`mbm_...`).
    MonitorName: "a name that starts with llc_ or mbm_", |text| text.starts_with("llc_") || text.starts_with("mbm_");
    /// A DHCP unique identifier, bytes in hexadecimal, separated by colons:
    /// <https://libvirt.org/formatnetwork.html#addressing>.
    Duid: "a DUID: bytes in hexadecimal with colons between them", |text| {
        let byte = |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        text.split(':').count() >= 7 && text.split(':').all(byte)
    };
    /// The speed of a PCI Express link in gigatransfers per second, `2.5`: <https://libvirt.org/formatnode.html#pci>.
    LinkSpeed: "a number such as 8 or 2.5", |text| {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // The schema says "a character" where it means a point.
        text.split_once(|character: char| !character.is_ascii_digit())
            .map_or_else(|| digits(text), |(whole, fraction)| digits(whole) && digits(fraction))
    };
    /// Something that a network device does for the CPU, `tso`, `rxvlan`: <https://libvirt.org/formatnode.html#net>.
    NetFeature: "letters, '-' and '_'", |text| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic() || b"-_".contains(&byte))
    };
    /// The number of a field of vital product data, a digit or a capital letter:
    /// <https://libvirt.org/formatnode.html#vpd-capability>.
    VpdIndex: "a digit or a capital letter", |text| {
        text.len() == 1 && text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
    };
    /// Seconds that a bridge waits before it forwards, with or without a fraction: `1.5`.
    ForwardDelay: "seconds such as 0 or 1.5", |text| {
        let number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
        text == "INF" || number && text.parse::<f64>().is_ok_and(|seconds| seconds >= 0.0)
    };
}
