//! What the owner of a host decided, and what else a plan is made with.

use kvm_core::{Bytes, Capabilities, DiskRoot, Entropy, Error, NetworkName, PoolName, Result};
use serde::{Deserialize, Serialize};

/// What machines on a host may be like; every key has a default.
///
/// ```
/// use kvm_vm::Policy;
/// let policy: Policy = serde_json::from_str(r#"{"allowed_paths": ["/srv/iso"], "memory_percent": 150}"#).unwrap();
/// assert_eq!(policy.default_pool.as_ref().map(|p| p.as_str()), None);
/// assert!(serde_json::from_str::<Policy>(r#"{"alowed_paths": []}"#).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Directories whose files may be disks, ISOs and kernels, beside the volumes of active pools.
    pub allowed_paths: Vec<DiskRoot>,
    /// The most memory of one machine, in percent of what the host has.
    pub memory_percent: u32,
    /// Where new volumes go: `default` if left out.
    pub default_pool: Option<PoolName>,
    /// The network of machines that name none: `default` if left out, and if there is such a network.
    pub default_network: Option<NetworkName>,
    /// What happens to an existing image whose header is risky, when a machine is to get it.
    pub foreign_images: ForeignImages,
}

/// What happens to an image that names files where no images may lie, addresses or a data file, that is encrypted, damaged,
/// or several things at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForeignImages {
    /// No machine gets it.
    #[default]
    Refuse,
    /// It is taken as it is: whoever decides so knows where it comes from.
    Accept,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            allowed_paths: Vec::new(),
            memory_percent: 100,
            default_pool: None,
            default_network: None,
            foreign_images: ForeignImages::Refuse,
        }
    }
}

impl Policy {
    /// Where new volumes go that name no pool.
    pub fn default_pool(&self) -> Result<PoolName> {
        self.default_pool.clone().map_or_else(|| PoolName::parse("default"), Ok)
    }

    pub(crate) fn default_network(&self) -> Result<NetworkName> {
        self.default_network.clone().map_or_else(|| NetworkName::parse("default"), Ok)
    }

    /// Refuses more memory than a host may give to one machine.
    pub(crate) fn check_memory(&self, memory: Bytes, host: &Capabilities) -> Result<()> {
        let Some(total) = host.memory else { return Ok(()) };
        // In 128 bits: a percentage of terabytes does not fit otherwise.
        let most = u128::from(total.get()) * u128::from(self.memory_percent) / 100;
        if u128::from(memory.get()) <= most {
            return Ok(());
        }
        let most = Bytes::new(u64::try_from(most).unwrap_or(u64::MAX));
        Err(Error::invalid("memory", format!("{memory} are more than this host gives to one machine"))
            .with_detail(format!("asked {memory}, at most {most} ({}% of the host's {total})", self.memory_percent)))
    }
}

/// What a plan is made with, beside what is asked for.
#[derive(Clone, Copy, Debug)]
pub struct PlanContext<'a> {
    /// What machines may be like.
    pub policy: &'a Policy,
    /// For new uuids and MAC addresses.
    pub entropy: &'a dyn Entropy,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn memory_is_bounded_by_a_share_of_the_hosts() {
        let host = Capabilities {
            target: "mock:///test".into(),
            host_uuid: None,
            host_name: "test".into(),
            driver: "mock".into(),
            hypervisor_version: None,
            library_version: None,
            arch: None,
            cpus: None,
            memory: Some(Bytes::from_gib(16)),
            guests: Vec::new(),
            numa: vec![],
            runs_as: None,
            features: BTreeSet::new(),
        };
        let policy = Policy { memory_percent: 150, ..Policy::default() };
        assert!(policy.check_memory(Bytes::from_gib(24), &host).is_ok());
        let e = policy.check_memory(Bytes::from_gib(25), &host).unwrap_err();
        assert_eq!(e.resource(), Some(&kvm_core::Resource::Field("memory".into())));
        assert_eq!(e.detail(), Some("asked 25 GiB, at most 24 GiB (150% of the host's 16 GiB)"));
    }
}
