//! Network filters.

use async_trait::async_trait;
use kvm_core::{Error, Existing, FilterName, Filters, Resource, Result};
use kvm_xml::{Document as _, NetworkFilter};
use virt::nwfilter::NWFilter;

use crate::document::{self, looked_again, refused};
use crate::error::optional;
use crate::libvirt::Libvirt;
use crate::task::{Failure, Task};

#[async_trait]
impl Filters for Libvirt {
    async fn list(&self) -> Result<Vec<FilterName>> {
        self.ask("list the network filters of", self.host(), |task| {
            let mut names = Vec::new();
            for filter in task.connection().list_all_nw_filters(0)? {
                match FilterName::adopt(&filter.name()?) {
                    Ok(name) => names.push(name),
                    Err(e) => tracing::warn!(error = %e, "left out a network filter with an impossible name"),
                }
            }
            names.sort_unstable();
            Ok(names)
        })
        .await
    }

    async fn definition(&self, filter: &FilterName) -> Result<NetworkFilter> {
        self.on_filter("read", filter, |task, filter| document::read(task, &filter.xml_desc(0)?)).await
    }

    async fn define(&self, doc: &NetworkFilter, existing: Existing) -> Result<()> {
        let name = FilterName::adopt(doc.name.as_deref().unwrap_or_default())?;
        let mut doc = doc.clone();
        self.ask("define", resource(&name), move |task| {
            let connection = task.connection();
            let find = || optional(connection.lookup_nwfilter_by_name(name.as_str()));
            let check = || match (find()?, existing) {
                (Some(_), Existing::Reject) => Err(task.already_exists().into()),
                (found, _) => Ok(found),
            };
            if let Some(before) = check()? {
                // libvirt takes another document of the name only under the same uuid.
                doc.uuid = Some(before.uuid()?);
            }
            let defined = connection.define_nwfilter_xml(&doc.to_xml());
            defined.map(drop).map_err(|e| looked_again(e, || check().map(drop), |e| refused(task, e)))
        })
        .await
    }

    async fn undefine(&self, filter: &FilterName) -> Result<()> {
        self.on_filter("undefine", filter, |_, filter| Ok(filter.undefine()?)).await
    }
}

impl Libvirt {
    /// Looks a filter up and does something with it.
    async fn on_filter<T: Send + 'static>(
        &self,
        verb: &'static str,
        name: &FilterName,
        work: impl FnOnce(&Task<'_>, &NWFilter) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let name = name.clone();
        self.ask(verb, resource(&name), move |task| {
            let filter = optional(task.connection().lookup_nwfilter_by_name(name.as_str()))?;
            work(task, &filter.ok_or_else(|| -> Error { task.not_found() })?)
        })
        .await
    }
}

fn resource(name: &FilterName) -> Resource {
    Resource::Filter(name.as_str().into())
}
