//! A document as a tree, with limits. Prefixes are left out: OVF's vocabularies have no names in common.

use kvm_core::text::printable_within;
use kvm_core::{Error, ErrorKind, Resource, Result};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

const DEPTH_MAX: usize = 64;
const ELEMENTS_MAX: usize = 20_000;

/// An element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: String,
    attributes: Vec<(String, String)>,
    text: String,
    pub(crate) children: Vec<Node>,
}

impl Node {
    /// The children of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The first child of this name.
    pub(crate) fn child<'a>(&'a self, name: &'a str) -> Option<&'a Self> {
        self.all(name).next()
    }

    /// The text of the first child of this name, if it says anything.
    pub(crate) fn said<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.child(name).map(Self::text).filter(|text| !text.is_empty())
    }

    /// What stands between its tags, without white space around it.
    pub(crate) fn text(&self) -> &str {
        self.text.trim()
    }

    /// The value of an attribute.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn open(tag: &BytesStart<'_>) -> Result<Self> {
        let name = tag.local_name().as_ref().to_owned();
        let mut attributes = Vec::new();
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|e| malformed("an attribute").with_source(e))?;
            // Names of namespaces only say what prefixes mean.
            if attribute.key.as_namespace_binding().is_none() {
                let value = quick_xml::escape::unescape(&attribute.value);
                let value = value.map_err(|e| malformed("an attribute").with_source(e))?;
                attributes.push((attribute.key.local_name().as_ref().to_owned(), value.into_owned()));
            }
        }
        Ok(Self { name, attributes, ..Self::default() })
    }
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the OVF document cannot be read: {what} is wrong"))
        .on(Resource::Field("ovf".into()))
}

fn refused(why: &str) -> Error {
    Error::invalid("ovf", format!("the OVF document {why}"))
}

/// Reads a document. `Corrupt` when it is not well formed, `InvalidInput` for document types, entities, and more than any
/// appliance needs.
pub(crate) fn parse(text: &str) -> Result<Node> {
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let (mut outer, mut open, mut count) = (Node::default(), Vec::<Node>::new(), 0);
    loop {
        let event = reader.read_event().map_err(|e| {
            let what = format!("{} at byte {}", printable_within(&e.to_string(), 120), reader.error_position());
            malformed(&what).with_source(e)
        })?;
        let top = open.last_mut().unwrap_or(&mut outer);
        match event {
            Event::Start(tag) => {
                count += 1;
                open.push(Node::open(&tag)?);
            }
            Event::Empty(tag) => {
                count += 1;
                top.children.push(Node::open(&tag)?);
            }
            Event::End(_) => {
                let node = open.pop().ok_or_else(|| malformed("an end tag"))?;
                open.last_mut().unwrap_or(&mut outer).children.push(node);
            }
            Event::Text(text) => top.text.push_str(&text.xml10_content()),
            Event::CData(text) => top.text.push_str(&text.xml10_content()),
            Event::GeneralRef(name) => {
                let character = quick_xml::escape::unescape(&format!("&{};", &*name)).map(|c| c.into_owned());
                top.text.push_str(&character.map_err(|_| refused("has an entity of its own"))?);
            }
            Event::DocType(_) => return Err(refused("has a document type")),
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
            Event::Eof => break,
        }
        if open.len() > DEPTH_MAX {
            return Err(refused("is nested more than 64 deep"));
        }
        if count > ELEMENTS_MAX {
            return Err(refused("has more than 20000 elements"));
        }
    }
    if !open.is_empty() {
        return Err(malformed("an element that does not end"));
    }
    match <[Node; 1]>::try_from(outer.children) {
        Ok([root]) => Ok(root),
        Err(_) => Err(malformed("there is not exactly one outermost element, which")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_fall_away_and_text_is_whole() {
        let root = parse("<o:A xmlns:o='x' o:b='1 &amp; 2'> x &lt;<![CDATA[ y ]]><c/><o:c>3</o:c></o:A>").unwrap();
        assert_eq!((root.name.as_str(), root.attribute("b"), root.text()), ("A", Some("1 & 2"), "x < y"));
        assert_eq!(root.all("c").map(Node::text).collect::<Vec<_>>(), ["", "3"]);
    }

    #[test]
    fn what_no_appliance_needs_is_refused() {
        let deep = format!("{}{}", "<a>".repeat(100), "</a>".repeat(100));
        let wide = format!("<a>{}</a>", "<b/>".repeat(ELEMENTS_MAX));
        for text in ["<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "<a>&x;</a>", &deep, &wide] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
        for text in ["", "<a>", "<a></b>", "<a/><b/>", "<a b=1/>", "</a>"] {
            assert_eq!(parse(text).unwrap_err().kind(), ErrorKind::Corrupt, "{text}");
        }
    }
}
