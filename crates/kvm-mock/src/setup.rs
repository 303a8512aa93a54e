//! How pools are set up and taken down.

use async_trait::async_trait;
use kvm_core::{Build, Error, ErrorKind, PoolName, PoolSetup, Resource, Result};
use kvm_xml::StoragePool;
use kvm_xml::pool::{PoolSource, PoolType};

use crate::fault::Method;
use crate::mock::Mock;
use crate::storage::{DEFAULT_CAPACITY, known, wrong_state};

#[async_trait]
impl PoolSetup for Mock {
    async fn define(&self, doc: &StoragePool) -> Result<()> {
        let name = doc.name.clone().unwrap_or_default();
        self.change(Method::DefinePool, &name, |world, _| {
            let name = world.create_pool(doc, DEFAULT_CAPACITY, kvm_core::Autostart::Off)?;
            if let Some(pool) = world.pools.get_mut(&name) {
                pool.deactivate();
            }
            Ok(())
        })
        .await
    }

    async fn definition(&self, pool: &PoolName) -> Result<StoragePool> {
        self.read(Method::PoolDefinition, pool, |world, _| Ok(known(world, pool)?.document().clone())).await
    }

    async fn build(&self, pool: &PoolName, build: Build) -> Result<()> {
        self.change(Method::BuildPool, pool, |world, _| {
            if known(world, pool)?.is_active() {
                return Err(wrong_state("pool is active", pool));
            }
            match build {
                // Directories of the simulated host are there as soon as something is in them.
                Build::Place => Ok(()),
                Build::Format | Build::Overwrite => {
                    Err(Error::new(ErrorKind::Unsupported, "this host formats no devices")
                        .on(Resource::Pool(pool.as_str().to_owned())))
                }
            }
        })
        .await
    }

    async fn destroy_data(&self, pool: &PoolName) -> Result<()> {
        self.change(Method::DestroyPoolData, pool, |world, _| {
            let found = known(world, pool)?;
            if found.is_active() {
                return Err(wrong_state("pool is active", pool));
            }
            found.check_own()?;
            match found.files(world).next() {
                Some(_) => Err(wrong_state("the pool's directory is not empty", pool)),
                None => Ok(()),
            }
        })
        .await
    }

    async fn find_sources(&self, kind: PoolType, at: &PoolSource) -> Result<Vec<PoolSource>> {
        self.read(Method::FindPoolSources, kind, |_, _| match kind {
            PoolType::Netfs if at.host.is_empty() => {
                Err(Error::invalid("source.host", "it has to be said which server to ask"))
            }
            // No server answers, and there are no volume groups: nothing is found.
            PoolType::Netfs | PoolType::Logical => Ok(Vec::new()),
            _ => Err(Error::new(ErrorKind::Unsupported, format!("this host does not look for storage of type {kind}"))),
        })
        .await
    }
}
