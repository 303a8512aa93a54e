//! Network devices, as the guest sees them.

use std::net::IpAddr;

use kvm_core::{MacAddr, Result};
use serde::{Deserialize, Serialize};

use super::bounded::Few;
use super::{Agent, QUICK, implausible};

/// The most addresses that a guest may have in all.
const MOST: usize = 256;

/// A network device of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GuestInterface {
    /// The guest's own name of it.
    pub name: String,
    /// Its hardware address, where it has one.
    pub mac: Option<MacAddr>,
    /// Its addresses.
    pub addresses: Vec<InterfaceAddress>,
}

/// An address of a network device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// Length of its network prefix, where that can be.
    pub prefix: Option<u8>,
}

impl Agent {
    /// Lists the guest's network devices with their addresses, loopback included.
    ///
    /// `Corrupt` for more than 256 devices or addresses.
    pub async fn interfaces(&self) -> Result<Vec<GuestInterface>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Form {
            name: String,
            hardware_address: Option<String>,
            #[serde(default)]
            ip_addresses: Few<Address, MOST>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Address {
            ip_address: String,
            prefix: i64,
        }
        let all: Few<Form, MOST> = self.ask("guest-network-get-interfaces", &(), QUICK).await?;
        if all.0.iter().map(|form| form.ip_addresses.0.len()).sum::<usize>() > MOST {
            return Err(implausible(format!("more than {MOST} addresses")));
        }
        let address = |form: Address| {
            let address: IpAddr = form.ip_address.parse().ok()?;
            let longest = if address.is_ipv4() { 32 } else { 128 };
            let prefix = u8::try_from(form.prefix).ok().filter(|prefix| *prefix <= longest);
            Some(InterfaceAddress { address, prefix })
        };
        let interface = |form: Form| GuestInterface {
            name: form.name,
            mac: form.hardware_address.and_then(|mac| MacAddr::parse(&mac).ok()),
            // What is no address is left out.
            addresses: form.ip_addresses.0.into_iter().filter_map(address).collect(),
        };
        Ok(all.0.into_iter().map(interface).collect())
    }
}
