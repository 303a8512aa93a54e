//! Network filters.

use std::collections::BTreeMap;

use async_trait::async_trait;
use kvm_core::{Error, ErrorKind, Existing, FilterName, Filters, Resource, Result};
use kvm_xml::NetworkFilter;
use serde::{Deserialize, Serialize};

use crate::document;
use crate::fault::Method;
use crate::mock::Mock;
use crate::world::World;

/// A network filter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Filter(#[serde(with = "document::text")] NetworkFilter);

/// What every host comes with: libvirt's own filter against forged addresses.
pub(crate) fn usual() -> BTreeMap<FilterName, Filter> {
    let document = NetworkFilter { name: Some("clean-traffic".into()), ..NetworkFilter::default() };
    FilterName::adopt("clean-traffic").map(|name| BTreeMap::from([(name, Filter(document))])).unwrap_or_default()
}

#[async_trait]
impl Filters for Mock {
    async fn list(&self) -> Result<Vec<FilterName>> {
        self.read(Method::ListFilters, "", |world, _| Ok(world.filters.keys().cloned().collect())).await
    }

    async fn definition(&self, filter: &FilterName) -> Result<NetworkFilter> {
        self.read(Method::FilterDefinition, filter, |world, _| {
            world.filters.get(filter).map(|filter| filter.0.clone()).ok_or_else(|| no_such_filter(filter))
        })
        .await
    }

    async fn define(&self, doc: &NetworkFilter, existing: Existing) -> Result<()> {
        let name = FilterName::adopt(doc.name.as_deref().unwrap_or_default())?;
        self.change(Method::DefineFilter, &name, |world, _| {
            if existing == Existing::Reject && world.filters.contains_key(&name) {
                let error = Error::new(ErrorKind::AlreadyExists, "there is a network filter of this name already");
                return Err(error.on(resource(&name)));
            }
            world.filters.insert(name.clone(), Filter(doc.clone()));
            Ok(())
        })
        .await
    }

    async fn undefine(&self, filter: &FilterName) -> Result<()> {
        self.change(Method::UndefineFilter, filter, |world, _| {
            if is_used(world, filter) {
                let error = Error::new(ErrorKind::InvalidState, "a running machine is behind the network filter");
                return Err(error.on(resource(filter)));
            }
            world.filters.remove(filter).map(drop).ok_or_else(|| no_such_filter(filter))
        })
        .await
    }
}

fn is_used(world: &World, filter: &FilterName) -> bool {
    let running = world.machines.values().filter_map(|machine| machine.live.as_ref());
    let nics = running.flat_map(|live| &live.document.devices).flat_map(|devices| &devices.interface);
    nics.filter_map(|nic| nic.filterref.as_ref()?.filter.as_deref()).any(|name| *filter == *name)
}

fn no_such_filter(name: &FilterName) -> Error {
    Error::new(ErrorKind::NotFound, "no such network filter").on(resource(name))
}

fn resource(name: &FilterName) -> Resource {
    Resource::Filter(name.as_str().to_owned())
}
