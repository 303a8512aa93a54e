//! What people write about a machine, kept in its own document.

use std::collections::BTreeSet;

use kvm_xml::{Domain, Fragment, Metadata};
use serde::{Deserialize, Serialize};

use crate::{Description, Error, Moving, Receipt, Replication, Result, Tag, Title};

/// The namespace of our element in a machine's metadata. It stands in people's documents and never changes.
pub const METADATA_NAMESPACE: &str = Metadata::NAMESPACE;

/// What people write about a machine.
///
/// Title and description are libvirt's own elements. Tags and protection are one element in our namespace, with the
/// [`Replication`], the [`Moving`] and the [`Receipt`] in it where there are such:
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
    /// What it has to do with copies of itself on other hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<Replication>,
    /// The move to another host that it is in the middle of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<Moving>,
    /// What the last trial start of it has shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Receipt>,
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
            replication: ours.and_then(|element| element.children().iter().find_map(Replication::of)),
            moving: ours.and_then(|element| element.children().iter().find_map(Moving::of)),
            proof: ours.and_then(|element| element.children().iter().find_map(Receipt::of)),
        }
    }

    /// Writes the notes into a document. Metadata of other programs stays, and so does what our own element holds
    /// beside the notes.
    pub fn apply_to(&self, doc: &mut Domain) -> Result<()> {
        doc.title = self.title.as_ref().map(|t| t.as_str().to_owned());
        doc.description = self.description.as_ref().map(|d| d.as_str().to_owned());
        let before = doc.metadata.as_ref().and_then(|metadata| metadata.get(METADATA_NAMESPACE));
        let element = match before {
            Some(before) => self.written_into(before),
            None => {
                let empty = format!("<{0}:notes xmlns:{0}=\"{METADATA_NAMESPACE}\"/>", Metadata::PREFIX);
                self.written_into(&Fragment::parse(&empty).map_err(no_form)?)
            }
        };
        match (element, &mut doc.metadata) {
            (Some(element), metadata) => {
                metadata.get_or_insert_default().set(METADATA_NAMESPACE, element.as_str()).map_err(no_form)?;
            }
            (None, Some(metadata)) => metadata.remove(METADATA_NAMESPACE),
            (None, None) => {}
        }
        doc.metadata.take_if(|metadata| *metadata == Metadata::default());
        Ok(())
    }

    /// Our element of a machine's metadata without its namespace, for calls that declare it themselves
    /// (`virDomainSetMetadata`); `None` when nothing is left to say. `before` is the element that is there, as
    /// `virDomainGetMetadata` gives it: what it holds beside the notes stays.
    pub fn bare_metadata_xml(&self, before: Option<&str>) -> Result<Option<String>> {
        let before = Fragment::parse(before.unwrap_or("<notes/>")).map_err(no_form)?;
        Ok(self.written_into(&before).map(|element| element.to_string()))
    }

    /// The element with tags and protection in place of its own; `None` when nothing is left to say.
    fn written_into(&self, element: &Fragment) -> Option<Fragment> {
        let tags = self.tags.iter().map(Tag::as_str).collect::<Vec<_>>().join(",");
        let protection = (self.protection == Protection::On).then_some("on");
        let tags = Some(tags.as_str()).filter(|tags| !tags.is_empty());
        let element = element.with_attribute("tags", tags).with_attribute("protection", protection);
        let element = self.with_children(element);
        (!element.is_empty_element()).then_some(element)
    }

    /// The element with replication, move and receipt in place of its own. What this version cannot read is another's, and
    /// stays.
    fn with_children(&self, element: Fragment) -> Fragment {
        let children = element.children();
        let replication = children.iter().find_map(Replication::of);
        let moving = children.iter().find_map(Moving::of);
        let proof = children.iter().find_map(Receipt::of);
        if replication == self.replication && moving == self.moving && proof == self.proof {
            return element;
        }
        let is_ours = |child: &&Fragment| {
            Replication::of(child).is_some() || Moving::of(child).is_some() || Receipt::of(child).is_some()
        };
        let mut content: String = children.iter().filter(|child| !is_ours(child)).map(Fragment::as_str).collect();
        let prefix = element.name().and_then(|name| Some(name.split_once(':')?.0));
        content.extend(self.replication.iter().map(|replication| replication.to_xml(prefix)));
        content.extend(self.moving.iter().map(|moving| moving.to_xml(prefix)));
        content.extend(self.proof.iter().map(|proof| proof.to_xml(prefix)));
        let written = element.with_content(&content).and_then(|text| Fragment::parse(&text).ok());
        written.unwrap_or(element)
    }
}

fn no_form(error: kvm_xml::XmlError) -> Error {
    Error::internal("the notes have no XML form").with_source(error)
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
            replication: None,
            moving: None,
            proof: None,
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
    fn what_our_element_holds_beside_the_notes_stays() {
        let origin = "<k:clone of='web'>a &gt; b</k:clone>";
        let element =
            |attributes: &str| format!("<k:notes xmlns:k='urn:kvm-manager:metadata:1'{attributes}>{origin}</k:notes>");
        let text = format!("<domain><metadata>{}</metadata></domain>", element(" tags='old' new='1'"));
        let mut doc = Domain::from_xml(&text).unwrap();
        notes().apply_to(&mut doc).unwrap();
        let again = Domain::from_xml(&doc.to_xml()).unwrap();
        assert_eq!(VmNotes::of(&again), notes());
        assert!(again.to_xml().contains(origin) && again.to_xml().contains("new=\"1\""), "{}", again.to_xml());
        VmNotes::default().apply_to(&mut doc).unwrap();
        assert_eq!(VmNotes::of(&doc), VmNotes::default());
        assert!(doc.to_xml().contains(origin), "{}", doc.to_xml());
    }

    #[test]
    fn the_element_of_a_running_machine_keeps_its_content() {
        let bare =
            |before| VmNotes { protection: Protection::On, ..VmNotes::default() }.bare_metadata_xml(before).unwrap();
        assert_eq!(bare(None).as_deref(), Some("<notes protection=\"on\"/>"));
        let kept = bare(Some("<notes tags='a'>\n  <clone of='web'/>\n</notes>"));
        assert_eq!(kept.as_deref(), Some("<notes protection=\"on\">\n  <clone of='web'/>\n</notes>"));
        let none = |before| VmNotes::default().bare_metadata_xml(before).unwrap();
        assert_eq!(none(Some("<notes tags='a' protection='on'/>")), None);
        assert_eq!(none(Some("<notes><clone of='web'/></notes>")).as_deref(), Some("<notes><clone of='web'/></notes>"));
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
