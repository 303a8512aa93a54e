//! Values of filters and their rules.

use crate::element::{Item, Kind, Leaf, Value};
use crate::error::XmlError;
use crate::leaf::{Expected, Format, Scalar, Spelling, leaf, text_traits};
use crate::value::formed;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A value of a rule, or the variable that stands for it: `10.0.0.1` or `$IP`.
///
/// In JSON a field of this type is one scalar in both cases; a text that starts with `$` is a variable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OrVariable<T> {
    /// The value itself.
    Value(T),
    /// The variable.
    Variable(Variable),
}

impl<T> OrVariable<T> {
    /// The value, unless it is a variable.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Variable(_) => None,
        }
    }

    /// The variable, if it is one.
    pub fn variable(&self) -> Option<&Variable> {
        match self {
            Self::Value(_) => None,
            Self::Variable(variable) => Some(variable),
        }
    }
}

impl<T> From<T> for OrVariable<T> {
    fn from(value: T) -> Self {
        Self::Value(value)
    }
}

impl<T: Leaf> Leaf for OrVariable<T> {
    fn scalar(&self) -> Scalar<'_> {
        match self {
            Self::Value(value) => value.scalar(),
            Self::Variable(variable) => variable.scalar(),
        }
    }
}

impl<T: Leaf + Value> Value for OrVariable<T> {
    const KIND: Kind = Kind::Leaf;
    fn item(&self) -> Item<'_> {
        Item::Leaf(self)
    }
    fn read(text: &str, format: Format) -> Result<(Self, Spelling), Expected> {
        if text.trim_start().starts_with('$') {
            return Variable::read(text, format).map(|(variable, spelling)| (Self::Variable(variable), spelling));
        }
        T::read(text, format).map(|(value, spelling)| (Self::Value(value), spelling))
    }
    fn fresh() -> Option<Self> {
        None
    }
    fn as_element_mut(&mut self) -> Option<&mut dyn crate::element::Element> {
        None
    }
}

impl<T: Leaf> fmt::Display for OrVariable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::leaf::display(self, f)
    }
}

impl<T: Leaf + Value> FromStr for OrVariable<T> {
    type Err = XmlError;
    fn from_str(text: &str) -> Result<Self, XmlError> {
        crate::leaf::from_str(text)
    }
}

#[cfg(feature = "serde")]
impl<T: Leaf> serde_core::Serialize for OrVariable<T> {
    fn serialize<S: serde_core::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de, T: Leaf + Value> serde_core::Deserialize<'de> for OrVariable<T> {
    fn deserialize<D: serde_core::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <String as serde_core::Deserialize>::deserialize(deserializer)?;
        text.parse().map_err(serde_core::de::Error::custom)
    }
}

formed! {
    /// A variable of a filter: `$IP` for each of its values, `$IP[1]` for the second one, `$IP[@2]` for each of them in
    /// step with other variables under the same number. Lists since libvirt 0.9.8, brackets since 0.9.10.
    ///
    /// <https://libvirt.org/formatnwfilter.html#usage-of-variables-in-filters>
    Variable: "a variable such as $IP, $IP[1] or $IP[@1]", |text| variable(text).is_some();
    /// The chain that a filter's rules are in: `root`, or the name of a protocol and what else tells it from others,
    /// twelve characters at most. Since libvirt 0.9.8 it may be more than the protocol.
    FilterChain: "root or a name that starts with mac, stp, vlan, arp, rarp, ipv4 or ipv6", |text| {
        let protocol = ["mac", "stp", "vlan", "arp", "rarp", "ipv4", "ipv6"].iter().any(|name| text.starts_with(name));
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "_.:-".contains(c));
        text == "root" || (protocol && plain && text.len() <= 12)
    };
    /// An IPv4 or IPv6 address. libvirt's schema also takes what only looks like one, such as `299.0.0.1`; so does this
    /// type.
    FilterIp: "an IP address", |text| is_ipv4(text) || is_ipv6(text);
    /// States of a connection: `NONE`, or some of `NEW`, `ESTABLISHED`, `RELATED` and `INVALID` with commas between
    /// them. Since libvirt 0.8.5.
    ConnectionState: "NONE, or NEW, ESTABLISHED, RELATED and INVALID with commas", |text| {
        text == "NONE" || text.split(',').all(|word| matches!(word, "NEW" | "ESTABLISHED" | "RELATED" | "INVALID"))
    };
    /// Flags of TCP: those that are looked at, a slash, and those of them that must be set: `SYN,ACK/SYN`. Since
    /// libvirt 0.9.1.
    TcpFlags: "flags such as SYN,ACK/SYN, with ALL or NONE on either side", |text| {
        let flag = |word: &str| matches!(word, "SYN" | "ACK" | "URG" | "PSH" | "FIN" | "RST");
        let set = |text: &str| matches!(text, "ALL" | "NONE") || text.split(',').all(flag);
        text.split_once('/').is_some_and(|(mask, flags)| set(mask) && set(flags))
    };
    /// The name of an IP set: up to 31 characters. Since libvirt 0.9.13.
    IpsetName: "the name of an IP set, up to 31 characters", |text| {
        (1..=31).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.:-+ ".contains(c))
    };
    /// What is looked up in an IP set: up to six times `src` or `dst`, with commas between them. Since libvirt 0.9.13.
    IpsetFlags: "up to six times src or dst, with commas", |text| {
        let side = |word: &str| word.eq_ignore_ascii_case("src") || word.eq_ignore_ascii_case("dst");
        text.split(',').count() <= 6 && text.split(',').all(side)
    };
}

impl Variable {
    /// Its name, without `$`.
    #[must_use]
    pub fn name(&self) -> &str {
        variable(&self.0).map_or("", |(name, _)| name)
    }

    /// What is between the brackets: the number of a value from 0, or `@` and the number of an iterator.
    #[must_use]
    pub fn access(&self) -> Option<&str> {
        variable(&self.0)?.1
    }
}

/// Takes a variable apart into its name and what is between the brackets. Spaces may be after `$`, inside the brackets
/// and at the end.
fn variable(text: &str) -> Option<(&str, Option<&str>)> {
    let rest = text.strip_prefix('$')?.trim_matches(' ');
    let (name, access) = match rest.split_once('[') {
        Some((name, access)) => (name, Some(access.strip_suffix(']')?.trim_matches(' '))),
        None => (rest, None),
    };
    let digits = access.map(|access| access.strip_prefix('@').unwrap_or(access));
    let numbered = digits.is_none_or(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
    let named = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (named && numbered).then_some((name, access))
}

impl FilterIp {
    /// The address, if it is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }
}

impl From<IpAddr> for FilterIp {
    fn from(address: IpAddr) -> Self {
        Self(address.to_string())
    }
}

/// Four numbers of up to three digits, as libvirt's schema has them.
fn is_ipv4(text: &str) -> bool {
    let number = |text: &str| {
        (1..=3).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && (text.len() < 3 || text.starts_with(['0', '1', '2']))
    };
    text.split('.').count() == 4 && text.split('.').all(number)
}

/// Groups of hexadecimal digits, the last of which may end in an IPv4 address, as libvirt's schema has them.
fn is_ipv6(text: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let Some((groups, last)) = text.rsplit_once(':') else { return false };
    let end = last.find('.').map_or(hex(last), |dot| {
        let digits = last.get(..dot).unwrap_or_default();
        let start = digits.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        // Digits in front of the address may belong to the group.
        hex(digits) && (start..dot).any(|start| last.get(start..).is_some_and(is_ipv4))
    });
    (2..=7).contains(&groups.split(':').count()) && groups.split(':').all(|group| group.len() <= 4 && hex(group)) && end
}

/// A mask for an IP address: how many bits of it count (`24`), or those bits (`255.255.255.0`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FilterMask {
    /// The number of bits: up to 32 for IPv4, up to 128 for IPv6.
    Prefix(u8),
    /// The bits, written as an address.
    Bits(FilterIp),
}

leaf!(
    FilterMask,
    |mask| match mask {
        Self::Prefix(bits) => Scalar::Unsigned((*bits).into()),
        Self::Bits(bits) => bits.scalar(),
    },
    |text: &str, format: Format| {
        let prefix =
            u8::read(text, Format { max: 128, ..format }).map(|(bits, spelling)| (Self::Prefix(bits), spelling));
        let mask =
            prefix.or_else(|_| FilterIp::read(text, format).map(|(bits, spelling)| (Self::Bits(bits), spelling)));
        mask.map_err(|_| Expected::Text("a number of bits or a mask such as 255.255.255.0"))
    }
);
text_traits!(FilterMask);

/// `true` or `false`; `yes` and `1`, `no` and `0` are other spellings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Boolean(pub bool);

leaf!(Boolean, |value| Scalar::Str(if value.0 { "true" } else { "false" }), |text: &str, _| {
    let word = text.trim().to_ascii_lowercase();
    let value = match word.as_str() {
        "true" | "yes" | "1" => Some(true),
        "false" | "no" | "0" => Some(false),
        _ => None,
    };
    crate::leaf::parsed(text, value.map(Self), "true, yes or 1, or false, no or 0")
});
text_traits!(Boolean);

/// Declares numbers of which some have names; the case of a name does not count.
macro_rules! numbers {
    ($(
        $(#[$meta:meta])*
        pub enum $name:ident: $number:ty, $expected:literal { $($variant:ident = $word:literal),+ $(,)? }
    )+) => {$(
        $(#[$meta])*
        #[allow(missing_docs, reason = "a variant says no more than its word")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($variant,)+
            /// Given as a number, whether that has a name or not.
            Number($number),
        }
        leaf!(
            $name,
            |value| match value {
                $(Self::$variant => Scalar::Str($word),)+
                Self::Number(number) => Scalar::Unsigned((*number).into()),
            },
            |text: &str, format: Format| {
                let names = [$(($word, Self::$variant)),+];
                if let Some((word, name)) = names.into_iter().find(|(word, _)| word.eq_ignore_ascii_case(text.trim())) {
                    return Ok((name, Spelling::of(word == text)));
                }
                let number = <$number>::read(text, format).map(|(number, spelling)| (Self::Number(number), spelling));
                number.map_err(|_| Expected::Text($expected))
            }
        );
        text_traits!($name);
    )+};
}

numbers! {
    /// What an Ethernet frame carries, from 0x600 to 0xffff.
    pub enum EtherType: u16, "arp, rarp, ipv4, ipv6, vlan or a number from 1536 to 65535" {
        Arp = "arp", Rarp = "rarp", Ipv4 = "ipv4", Ipv6 = "ipv6", Vlan = "vlan",
    }
    /// What an ARP or RARP packet asks or tells.
    pub enum ArpOpcode: u16, "Request, Reply, another operation of ARP, or a number from 0 to 65535" {
        Request = "Request", Reply = "Reply", RequestReverse = "Request_Reverse", ReplyReverse = "Reply_Reverse",
        DrarpRequest = "DRARP_Request", DrarpReply = "DRARP_Reply", DrarpError = "DRARP_Error",
        InArpRequest = "InARP_Request", ArpNak = "ARP_NAK",
    }
    /// What an IP packet carries.
    pub enum IpProtocol: u8, "tcp, udp, another protocol, or a number from 0 to 255" {
        Tcp = "tcp", Udp = "udp", Udplite = "udplite", Esp = "esp", Ah = "ah", Icmp = "icmp", Igmp = "igmp",
        Sctp = "sctp", Icmpv6 = "icmpv6",
    }
}
