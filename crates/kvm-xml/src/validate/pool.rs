//! Storage pools: what each type needs.

use super::ProblemKind::Name;
use super::Problems;
use super::system::name;
use crate::pool::{PoolType, StoragePool};

pub(super) fn check(pool: &StoragePool, problems: &mut Problems) {
    let Some(r#type) = pool.r#type else {
        return problems.missing("type", "a pool has a type, such as dir");
    };
    let source = pool.source.as_ref();
    // libvirt names pools after the source where that has a name.
    let named_by_source = pool.name.is_none() && source.is_some_and(|source| !source.name.is_empty());
    if !named_by_source {
        name(pool.name.as_deref(), "pool", problems);
    }
    let path = pool.target.as_ref().and_then(|target| target.path.as_deref());
    if matches!(r#type, PoolType::Dir | PoolType::Fs | PoolType::Netfs) {
        match path {
            None => problems.missing("target.path", "it has to be said where the volumes are on the host"),
            Some(path) if !path.starts_with('/') => {
                problems.warning("target.path", Name, "libvirt takes it from the root folder; write it so");
            }
            Some(_) => {}
        }
    }
    if r#type == PoolType::Netfs {
        if source.is_none_or(|source| source.host.iter().all(|host| host.name.is_none())) {
            problems.missing("source.host", "it has to be said which server the files are on");
        }
        if source.is_none_or(|source| source.dir.as_ref().is_none_or(|dir| dir.path.is_none())) {
            problems.missing("source.dir", "it has to be said which folder of the server it is");
        }
    }
    if r#type == PoolType::Fs && source.is_none_or(|source| source.device.iter().all(|device| device.path.is_none())) {
        problems.missing("source.device", "it has to be said which device the file system is on");
    }
    if r#type == PoolType::Rbd && source.is_none_or(|source| source.name.is_empty()) {
        problems.missing("source.name", "it has to be said which pool of the cluster it is");
    }
}
