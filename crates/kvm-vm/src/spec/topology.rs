//! What a machine's virtual CPUs and its memory are made of.

use std::fmt;
use std::str::FromStr;

use kvm_core::{Bytes, Error, Result, VcpuCount, parse_size};

use crate::text::{refused, text_serde};

/// How virtual CPUs are arranged: `sockets=2,cores=4,threads=2`. What is left out is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuTopology {
    /// Sockets.
    pub sockets: u32,
    /// Dies in each socket.
    pub dies: u32,
    /// Cores in each die.
    pub cores: u32,
    /// Threads of each core.
    pub threads: u32,
}

impl CpuTopology {
    /// Reads `sockets=2,cores=4,threads=2`. `InvalidInput` also for more virtual CPUs than there can be.
    pub fn parse(text: &str) -> Result<Self> {
        const FORM: &str = "is not like sockets=2,cores=4,threads=2";
        let mut topology = Self { sockets: 0, dies: 0, cores: 0, threads: 0 };
        for part in text.split(',') {
            let (key, value) = part.split_once('=').ok_or_else(|| refused("topology", text, FORM))?;
            let field = match key {
                "sockets" => &mut topology.sockets,
                "dies" => &mut topology.dies,
                "cores" => &mut topology.cores,
                "threads" => &mut topology.threads,
                _ => return Err(refused("topology", key, "is not one of sockets, dies, cores, threads")),
            };
            if *field != 0 {
                return Err(refused("topology", key, "is there twice"));
            }
            *field = VcpuCount::parse(value).map_err(|_| refused("topology", text, FORM))?.get();
        }
        for field in [&mut topology.sockets, &mut topology.dies, &mut topology.cores, &mut topology.threads] {
            *field = (*field).max(1);
        }
        topology.vcpus().map(|_| topology)
    }

    /// How many virtual CPUs that is.
    pub fn vcpus(self) -> Result<VcpuCount> {
        let product =
            [self.dies, self.cores, self.threads].iter().try_fold(self.sockets, |n, more| n.checked_mul(*more));
        VcpuCount::new(product.unwrap_or(u32::MAX))
    }
}

impl fmt::Display for CpuTopology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sockets, dies, cores, threads } = self;
        write!(f, "sockets={sockets},dies={dies},cores={cores},threads={threads}")
    }
}

/// Memory in large pages of the host, which has to have set them aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HugePages {
    /// Of the size that the host prefers.
    Default,
    /// Of this size.
    Size(Bytes),
}

impl HugePages {
    /// Reads `default`, or a size such as `2M` or `1G`.
    pub fn parse(text: &str) -> Result<Self> {
        if text == "default" {
            return Ok(Self::Default);
        }
        let size =
            parse_size(text).map_err(|_| refused("hugepages", text, "is not default, or a size such as 2M or 1G"))?;
        let is_page = size.get().is_power_of_two() && (Bytes::from_mib(1)..=Bytes::from_gib(16)).contains(&size);
        is_page
            .then_some(Self::Size(size))
            .ok_or_else(|| refused("hugepages", text, "is no size of pages, such as 2M or 1G"))
    }
}

impl fmt::Display for HugePages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Size(size) => write!(f, "{}KiB", size.kib()),
        }
    }
}

impl FromStr for CpuTopology {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl FromStr for HugePages {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

text_serde!(CpuTopology);
text_serde!(HugePages);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topology_is_a_product() {
        let read = |text: &str| CpuTopology::parse(text).map(|t| t.vcpus().unwrap().get());
        assert_eq!(read("sockets=2,cores=4,threads=2").unwrap(), 16);
        assert_eq!(read("cores=3").unwrap(), 3);
        for bad in [
            "",
            "4",
            "cores",
            "cores=0",
            "cores=-1",
            "cores=1,cores=2",
            "dice=2",
            "sockets=4096,cores=4096,threads=4096",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        let topology = CpuTopology::parse("cores=4,threads=2").unwrap();
        assert_eq!(topology.to_string().parse::<CpuTopology>().unwrap(), topology);
    }

    #[test]
    fn pages_have_a_size_that_pages_can_have() {
        for (text, pages) in [("default", HugePages::Default), ("2M", HugePages::Size(Bytes::from_mib(2)))] {
            assert_eq!(HugePages::parse(text).unwrap(), pages);
            assert_eq!(pages.to_string().parse::<HugePages>().unwrap(), pages);
        }
        for bad in ["", "3M", "4K", "1T", "yes"] {
            assert!(HugePages::parse(bad).is_err(), "{bad}");
        }
    }
}
