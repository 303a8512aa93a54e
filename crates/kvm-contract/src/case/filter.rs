//! Network filters.

use kvm_core::{ErrorKind, Existing, FilterName, Filters, Result};
use kvm_xml::{Document as _, NetworkFilter};

use crate::case::{cases, holds, refused, same, sorted};
use crate::cx::Cx;

cases! { CASES in "filters" on Cx;
    /// A filter that was defined is listed, and is what its document says.
    async fn a_defined_filter_is_listed(cx) {
        let name = defined(cx, "a").await?;
        let all = facet(cx)?.list().await?;
        sorted("names", &all, Clone::clone)?;
        holds("it is listed", all.contains(&name))?;
        let document = facet(cx)?.definition(&name).await?;
        same("name in the document", document.name.as_deref(), Some(name.as_str()))?;
        same("rules", document.rule.len(), 1)?;
        facet(cx)?.undefine(&name).await?;
        Ok(())
    }

    /// A name that is taken is refused, or replaced by whoever says so; the uuid stays.
    async fn a_taken_name_is_refused_or_replaced(cx) {
        let name = defined(cx, "a").await?;
        let before = facet(cx)?.definition(&name).await?;
        let other = NetworkFilter::from_xml(&format!("<filter name='{}'/>", name.as_str()))?;
        refused(facet(cx)?.define(&other, Existing::Reject).await, ErrorKind::AlreadyExists)?;
        same("rules of what was kept", facet(cx)?.definition(&name).await?.rule.len(), 1)?;
        facet(cx)?.define(&other, Existing::Replace).await?;
        let after = facet(cx)?.definition(&name).await?;
        same("rules of what replaced it", after.rule.len(), 0)?;
        same("uuid", after.uuid, before.uuid)?;
        facet(cx)?.undefine(&name).await?;
        Ok(())
    }

    /// A filter that was undefined is gone, and none is found that is not there.
    async fn an_undefined_filter_is_gone(cx) {
        let name = defined(cx, "a").await?;
        facet(cx)?.undefine(&name).await?;
        refused(facet(cx)?.definition(&name).await, ErrorKind::NotFound)?;
        refused(facet(cx)?.undefine(&name).await, ErrorKind::NotFound)
    }

    /// A document without a name is invalid.
    async fn a_filter_without_a_name_is_invalid(cx) {
        let defined = facet(cx)?.define(&NetworkFilter::default(), Existing::Reject).await;
        refused(defined, ErrorKind::InvalidInput)
    }
}

fn facet(cx: &Cx) -> Result<&dyn Filters> {
    cx.family("network filters", cx.networks().filters())
}

async fn defined(cx: &Cx, word: &str) -> Result<FilterName> {
    let name = FilterName::parse(cx.network_name(word)?.as_str())?;
    let xml = "<filter name='x' chain='root'><rule action='accept' direction='out'><ip/></rule></filter>";
    let document = NetworkFilter::from_xml(xml).map_err(|e| kvm_core::Error::internal("no filter").with_source(e))?;
    let document = NetworkFilter { name: Some(name.as_str().to_owned()), ..document };
    facet(cx)?.define(&document, Existing::Reject).await?;
    Ok(name)
}
