//! Host names and addresses.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use idna::AsciiDenyList;

use crate::text::{hazards, mixed_script_word, refused, text_serde};
use crate::{Error, Result};

/// A host: a DNS name, an IPv4 address, or an IPv6 address with or without a zone.
///
/// The exact form is ASCII and lower case; a name that was typed in another script is kept for people and both are
/// shown. Two hosts are equal when their exact forms are.
///
/// ```
/// use kvm_core::HostName;
/// assert_eq!(HostName::parse("KVM1.example.com")?.as_str(), "kvm1.example.com");
/// assert_eq!(HostName::parse("häst")?.to_string(), "häst (xn--hst-qla)");
/// assert_eq!(HostName::parse("[2001:db8::1]")?.as_str(), "2001:db8::1");
/// assert!(HostName::parse("0x7f000001").is_err()); // an address in disguise
/// # Ok::<(), kvm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct HostName {
    exact: Box<str>,
    typed: Option<Box<str>>,
    address: Option<IpAddr>,
}

const FIELD: &str = "host";
/// The longest name that DNS has.
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;

impl HostName {
    /// Takes a host without user and port; an IPv6 address may stand in brackets. `InvalidInput` for anything that a
    /// resolver, a shell, `ssh` or `known_hosts` could read as something else, and for names of mixed scripts.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |why: &str| refused(FIELD, FIELD, text, why);
        if text.is_empty() {
            return Err(refuse("is empty; name a host"));
        }
        // In another script a name may be longer than its ASCII form allows, but not by much.
        if text.len() > 4 * NAME_MAX {
            return Err(refuse("is longer than any host name"));
        }
        let bracketed = text.strip_prefix('[').map(|rest| rest.strip_suffix(']'));
        let parsed = match bracketed {
            Some(Some(inner)) => ipv6(inner),
            Some(None) => Err("has an opening bracket only; close it"),
            None if text.contains(':') => ipv6(text),
            None => name(text),
        };
        let host = parsed.map_err(refuse)?;
        let no_host = |ip: IpAddr| ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::from([255; 4]);
        if host.address.is_some_and(no_host) {
            return Err(refuse("is not the address of one host"));
        }
        Ok(host)
    }

    /// The exact form: ASCII, lower case, an IPv6 address without brackets and with its zone after `%`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.exact
    }

    /// The address, when this is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The form that a URI needs: an IPv6 address in brackets, `%` of its zone as `%25` (RFC 6874).
    #[must_use]
    pub fn to_uri(&self) -> String {
        match self.address {
            Some(IpAddr::V6(_)) => format!("[{}]", self.exact.replace('%', "%25")),
            _ => self.exact.to_string(),
        }
    }

    fn exact(exact: impl Into<Box<str>>) -> Self {
        Self { exact: exact.into(), typed: None, address: None }
    }
}

fn ipv6(text: &str) -> Result<HostName, &'static str> {
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    let address: Ipv6Addr =
        address.parse().map_err(|_| "has a colon but is not an IPv6 address; the port belongs to its own field")?;
    let exact = match zone {
        None => address.to_string(),
        Some(zone) if !is_interface(zone) => return Err("has no proper interface name after '%'"),
        Some(_) if !address.is_unicast_link_local() => return Err("has a zone, which only fe80:: addresses need"),
        Some(zone) => format!("{address}%{zone}"),
    };
    Ok(HostName { address: Some(address.into()), ..HostName::exact(exact) })
}

/// A name that a Linux network interface can have, without what shells and `ssh` expand.
fn is_interface(zone: &str) -> bool {
    (1..=15).contains(&zone.len())
        && zone.starts_with(|c: char| c.is_ascii_alphanumeric())
        && zone.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

fn name(text: &str) -> Result<HostName, &'static str> {
    let host = if text.is_ascii() { HostName::exact(text.to_ascii_lowercase()) } else { international(text)? };
    let exact = &*host.exact;
    if exact.len() > NAME_MAX {
        return Err("is longer than the 253 bytes of a DNS name");
    }
    // The root's dot is legal at the end of a name.
    let mut labels = exact.strip_suffix('.').unwrap_or(exact).split('.');
    labels.clone().try_for_each(check_label)?;
    let last = labels.next_back().unwrap_or_default();
    if last.starts_with("0x") || last.bytes().all(|b| b.is_ascii_digit()) {
        // Resolvers read such a name as an address, each in its own way: only the one plain form is left.
        let address: std::net::Ipv4Addr =
            exact.parse().map_err(|_| "is a number but not a plain IPv4 address; write it like 192.0.2.1")?;
        return Ok(HostName { address: Some(address.into()), ..HostName::exact(address.to_string()) });
    }
    if exact.contains("xn--") && idna::domain_to_ascii_cow(exact.as_bytes(), AsciiDenyList::URL).is_err() {
        return Err("has a part that starts with xn-- but is not proper punycode");
    }
    Ok(host)
}

fn international(text: &str) -> Result<HostName, &'static str> {
    if hazards(text).any(|(_, _, hazard)| hazard.is_some()) {
        return Err("contains an invisible or control character; leave it out");
    }
    if mixed_script_word(text).is_some() {
        return Err("mixes scripts in one word, so that it may look like another host; write it as punycode (xn--…)");
    }
    let exact = idna::domain_to_ascii_cow(text.as_bytes(), AsciiDenyList::URL)
        .map_err(|_| "is not an internationalised domain name")?;
    // Full-width digits and the like are mapped to ASCII: a second spelling of another name.
    let (shown, _) = idna::domain_to_unicode(&exact);
    if shown != text.to_lowercase() {
        return Err("is another spelling of a name; write it in its plain form");
    }
    Ok(HostName { typed: Some(shown.into()), ..HostName::exact(exact) })
}

fn check_label(label: &str) -> Result<(), &'static str> {
    if label.is_empty() {
        Err("has an empty part; write one dot between parts")
    } else if label.len() > LABEL_MAX {
        Err("has a part of more than 63 bytes")
    } else if label.starts_with('-') || label.ends_with('-') {
        Err("has a part that starts or ends with '-'")
    } else if label.contains('@') {
        Err("contains '@'; the user belongs to its own field")
    } else if !label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
        Err("contains a character that no host name has; use letters, digits, '-' and '.'")
    } else {
        Ok(())
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.typed {
            Some(typed) => f.pad(&format!("{typed} ({})", self.exact)),
            None => f.pad(&self.exact),
        }
    }
}

impl PartialEq for HostName {
    fn eq(&self, other: &Self) -> bool {
        self.exact == other.exact
    }
}

impl Eq for HostName {}

impl PartialOrd for HostName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for HostName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.exact.cmp(&other.exact)
    }
}

impl Hash for HostName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.exact.hash(state);
    }
}

impl FromStr for HostName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

text_serde!(HostName, "a host", HostName::parse, |host| host.typed.as_deref().unwrap_or(&host.exact));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_international_name_equals_its_ascii_form() {
        let typed = HostName::parse("Häst").unwrap();
        assert_eq!(typed, HostName::parse("xn--hst-qla").unwrap());
        assert_eq!(typed.as_str(), "xn--hst-qla");
        assert_eq!(serde_json::to_string(&typed).unwrap(), "\"häst\"");
    }

    #[test]
    fn addresses_in_disguise_are_refused() {
        for text in ["127.1", "0177.0.0.1", "2130706433", "0x7f.1", "１２７.0.0.1", "①.example", "a.0x1", "1.2.3.4."]
        {
            assert!(HostName::parse(text).is_err(), "{text}");
        }
        assert_eq!(HostName::parse("10.99.0.2").unwrap().address(), Some(IpAddr::from([10, 99, 0, 2])));
    }

    #[test]
    fn zones_belong_to_link_local_addresses() {
        let host = HostName::parse("[fe80::1%eth0.5]").unwrap();
        assert_eq!((host.as_str(), host.to_uri().as_str()), ("fe80::1%eth0.5", "[fe80::1%25eth0.5]"));
        for text in ["2001:db8::1%lo", "fe80::1%", "fe80::1%a b", "fe80::1%-o", "[fe80::1", "[kvm1]", "::", "ff02::1"] {
            assert!(HostName::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn broken_punycode_is_refused() {
        assert!(HostName::parse("xn--\u{7a}z-99999").is_err());
        assert!(HostName::parse("xn--").is_err());
    }
}
