//! How pools are set up and taken down.

use kvm_core::{Build, Error, ErrorKind, PoolSetup, Result};
use kvm_xml::pool::{PoolSource, PoolType};

use crate::case::{cases, holds, refused, same};
use crate::cx::Cx;

cases! { CASES in "setup" on Cx;
    /// A pool that is only defined is not active, does not start with its host, and is what was asked for.
    async fn a_defined_pool_is_not_active(cx) {
        let name = cx.pool_name("a")?;
        let document = cx.bench().pool(&name);
        let facet = facet(cx)?;
        facet.define(&document).await?;
        let pool = cx.storage().find_pool(&name).await?;
        same("active, autostart", (pool.active, pool.autostart), (false, false))?;
        let stored = facet.definition(&name).await?;
        same("name", stored.name, document.name)?;
        same("type", stored.r#type, document.r#type)?;
        let path = |target: Option<kvm_xml::pool::PoolTarget>| target.and_then(|target| target.path);
        same("target", path(stored.target), path(document.target))
    }

    /// A name and a target that are taken are refused, and the pool that has them stays.
    async fn a_taken_name_or_target_is_refused(cx) {
        let pool = cx.active_pool("a").await?;
        let document = cx.bench().pool(&pool);
        refused(facet(cx)?.define(&document).await, ErrorKind::AlreadyExists)?;
        let mut other = cx.bench().pool(&cx.pool_name("b")?);
        other.target = document.target;
        refused(facet(cx)?.define(&other).await, ErrorKind::AlreadyExists)?;
        holds("the pool is active", cx.storage().find_pool(&pool).await?.active)?;
        refused(cx.storage().find_pool(&cx.pool_name("b")?).await, ErrorKind::NotFound)
    }

    /// A pool is built, then it starts and holds volumes.
    async fn a_built_pool_starts(cx) {
        let name = cx.pool_name("a")?;
        facet(cx)?.define(&cx.bench().pool(&name)).await?;
        facet(cx)?.build(&name, Build::Place).await?;
        cx.storage().start_pool(&name).await?;
        cx.thin_volume(&name, "disk.qcow2", 1 << 20).await?;
        same("volumes", cx.storage().volumes(&name).await?.len(), 1)
    }

    /// What is active is neither built nor destroyed.
    async fn an_active_pool_is_neither_built_nor_destroyed(cx) {
        let pool = cx.active_pool("a").await?;
        cx.thin_volume(&pool, "disk.qcow2", 1 << 20).await?;
        refused(facet(cx)?.build(&pool, Build::Place).await, ErrorKind::InvalidState)?;
        refused(facet(cx)?.destroy_data(&pool).await, ErrorKind::InvalidState)?;
        same("volumes", cx.storage().volumes(&pool).await?.len(), 1)
    }

    /// The directory of a stopped pool goes when it is empty, once or twice, and the definition stays.
    async fn an_empty_directory_is_destroyed(cx) {
        let pool = cx.active_pool("a").await?;
        cx.storage().stop_pool(&pool).await?;
        facet(cx)?.destroy_data(&pool).await?;
        facet(cx)?.destroy_data(&pool).await?;
        holds("the definition stays", !cx.storage().find_pool(&pool).await?.active)?;
        facet(cx)?.build(&pool, Build::Place).await?;
        cx.storage().start_pool(&pool).await?;
        same("volumes", cx.storage().volumes(&pool).await?, vec![])
    }

    /// A directory with volumes in it is not destroyed.
    async fn a_directory_with_volumes_stays(cx) {
        let pool = cx.active_pool("a").await?;
        cx.thin_volume(&pool, "disk.qcow2", 1 << 20).await?;
        cx.storage().stop_pool(&pool).await?;
        refused(facet(cx)?.destroy_data(&pool).await, ErrorKind::InvalidState)?;
        cx.storage().start_pool(&pool).await?;
        same("volumes", cx.storage().volumes(&pool).await?.len(), 1)
    }

    /// Directories are not looked for, and a server has to be named.
    async fn sources_are_looked_for_where_there_can_be_some(cx) {
        let nowhere = PoolSource::default();
        refused(facet(cx)?.find_sources(PoolType::Dir, &nowhere).await, ErrorKind::Unsupported)?;
        refused(facet(cx)?.find_sources(PoolType::Netfs, &nowhere).await, ErrorKind::InvalidInput)
    }

    /// No call finds a pool that is not there.
    async fn what_is_not_there_is_not_found(cx) {
        let absent = cx.pool_name("absent")?;
        refused(facet(cx)?.definition(&absent).await, ErrorKind::NotFound)?;
        refused(facet(cx)?.build(&absent, Build::Place).await, ErrorKind::NotFound)?;
        refused(facet(cx)?.destroy_data(&absent).await, ErrorKind::NotFound)
    }
}

fn facet(cx: &Cx) -> Result<&dyn PoolSetup> {
    cx.storage().setup().ok_or_else(|| Error::new(ErrorKind::Unsupported, "the backend sets up no pools"))
}
