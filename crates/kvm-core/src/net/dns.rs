//! Names in a network's own DNS.

use std::fmt;
use std::str::FromStr;

use super::HostName;
use crate::text::{refused, text_serde};
use crate::{Error, Result};

/// A name that a name server answers for: a [`HostName`] that is no address, in its exact ASCII form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(Box<str>);

impl DnsName {
    /// Takes a name with or without dots. `InvalidInput` for an address, and for what is no host name.
    pub fn parse(text: &str) -> Result<Self> {
        let host = HostName::parse(text)?;
        match host.address() {
            None => Ok(Self(host.as_str().into())),
            Some(_) => Err(refused("host", "name", text, "is an address; give a name")),
        }
    }

    /// The exact form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for DnsName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

text_serde!(DnsName, "a name", DnsName::parse, |name| name.as_str());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_address() {
        assert_eq!(DnsName::parse("Web.lab").unwrap().as_str(), "web.lab");
        assert_eq!(DnsName::parse("häst").unwrap().as_str(), "xn--hst-qla");
        for text in ["10.0.0.1", "fd00::1", "", "a b", "a,b", "a\nb", "web..lab", "-x"] {
            assert!(DnsName::parse(text).is_err(), "{text}");
        }
    }
}
