//! What people write about a machine, kept in its own document.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use kvm_xml::{Domain, Fragment, Metadata};
use serde::{Deserialize, Serialize};

use crate::{Description, Error, Result, Tag, Title};

/// The namespace of our element in a machine's metadata. It stands in people's documents and never changes.
pub const METADATA_NAMESPACE: &str = Metadata::NAMESPACE;

/// What people write about a machine.
///
/// Title and description are libvirt's own elements. Tags and protection are one element in our namespace:
///
/// ```xml
/// <kvmm:notes xmlns:kvmm="urn:kvm-manager:metadata:1" tags="ci,owner=dba" protection="on"/>
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmNotes {
    /// One line.
    pub title: Option<Title>,
    /// Any number of lines.
    pub description: Option<Description>,
    /// Words or `key=value` pairs.
    pub tags: BTreeSet<Tag>,
    /// Whether deleting is refused.
    pub protection: Protection,
}

/// Whether deleting is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protection {
    /// Deleting needs no more than a confirmation.
    #[default]
    Off,
    /// Deleting is refused until the protection is taken off.
    On,
}

impl VmNotes {
    /// Reads the notes of a document. A title or description that another program wrote is kept as it is, so that
    /// writing the notes back loses nothing; a tag that is none is left out.
    #[must_use]
    pub fn of(doc: &Domain) -> Self {
        let ours = doc.metadata.as_ref().and_then(|m| m.get(METADATA_NAMESPACE));
        let attribute = |name: &str| ours.and_then(|element: &Fragment| element.attribute(name));
        Self {
            title: doc.title.as_deref().and_then(|t| Title::adopt(t).ok()),
            description: doc.description.as_deref().and_then(|d| Description::adopt(d).ok()),
            tags: attribute("tags").unwrap_or_default().split(',').filter_map(|tag| Tag::parse(tag).ok()).collect(),
            protection: if attribute("protection").as_deref() == Some("on") { Protection::On } else { Protection::Off },
        }
    }

    /// Writes the notes into a document. Metadata of other programs stays.
    pub fn apply_to(&self, doc: &mut Domain) -> Result<()> {
        doc.title = self.title.as_ref().map(|t| t.as_str().to_owned());
        doc.description = self.description.as_ref().map(|d| d.as_str().to_owned());
        match (self.metadata_xml(), &mut doc.metadata) {
            (Some(xml), metadata) => metadata
                .get_or_insert_default()
                .set(METADATA_NAMESPACE, &xml)
                .map_err(|e| Error::internal("the notes have no XML form").with_source(e))?,
            (None, Some(metadata)) => metadata.remove(METADATA_NAMESPACE),
            (None, None) => {}
        }
        Ok(())
    }

    /// Our element of a document's metadata; `None` when there are neither tags nor protection.
    #[must_use]
    pub fn metadata_xml(&self) -> Option<String> {
        self.element(&format!("{}:notes xmlns:{0}=\"{METADATA_NAMESPACE}\"", Metadata::PREFIX))
    }

    /// The same element without its namespace, for calls that declare it themselves (`virDomainSetMetadata`).
    #[must_use]
    pub fn bare_metadata_xml(&self) -> Option<String> {
        self.element("notes")
    }

    fn element(&self, start: &str) -> Option<String> {
        if self.tags.is_empty() && self.protection == Protection::Off {
            return None;
        }
        let mut xml = format!("<{start}");
        if !self.tags.is_empty() {
            let tags: Vec<&str> = self.tags.iter().map(Tag::as_str).collect();
            attribute(&mut xml, "tags", &tags.join(","));
        }
        if self.protection == Protection::On {
            attribute(&mut xml, "protection", "on");
        }
        xml.push_str("/>");
        Some(xml)
    }
}

fn attribute(xml: &mut String, name: &str, value: &str) {
    let _infallible = write!(xml, " {name}=\"");
    for c in value.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            c => xml.push(c),
        }
    }
    xml.push('"');
}

#[cfg(test)]
mod tests {
    use kvm_xml::Document;

    use super::*;

    fn notes() -> VmNotes {
        VmNotes {
            title: Some(Title::parse("The <web> & \"mail\" server").unwrap()),
            description: Some(Description::parse("two\nlines").unwrap()),
            tags: ["ci", "owner=d<b>a&\"b"].map(|t| Tag::parse(t).unwrap()).into(),
            protection: Protection::On,
        }
    }

    #[test]
    fn notes_are_read_back_from_the_written_document() {
        let mut doc = Domain::from_xml(
            "<domain><name>a</name><metadata><x:other xmlns:x='urn:x'>1</x:other></metadata></domain>",
        )
        .unwrap();
        notes().apply_to(&mut doc).unwrap();
        let again = Domain::from_xml(&doc.to_xml()).unwrap();
        assert_eq!(VmNotes::of(&again), notes());
        assert!(again.to_xml().contains("<x:other xmlns:x='urn:x'>1</x:other>"), "{}", again.to_xml());
        VmNotes::default().apply_to(&mut doc).unwrap();
        assert_eq!(VmNotes::of(&doc), VmNotes::default());
        assert!(doc.to_xml().contains("urn:x") && !doc.to_xml().contains(METADATA_NAMESPACE));
    }

    #[test]
    fn what_another_program_wrote_is_kept_and_a_tag_that_is_none_is_left_out() {
        let doc = Domain::from_xml(
            "<domain><title>\u{202e}evil</title><metadata><k:notes xmlns:k='urn:kvm-manager:metadata:1' \
             tags='b,a,,=x,a' protection='perhaps'/></metadata></domain>",
        )
        .unwrap();
        let notes = VmNotes::of(&doc);
        assert_eq!(notes.title.unwrap().as_str(), "\u{202e}evil");
        assert_eq!(notes.tags.iter().map(Tag::as_str).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(notes.protection, Protection::Off);
    }
}
