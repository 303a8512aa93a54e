//! A kept piece of XML, taken apart: what it says, without how it says it.

use crate::fragment::Fragment;
use crate::parse::{Attributes, unescape};
use crate::write::escape;
use quick_xml::Reader;
use quick_xml::events::Event;

/// A piece of XML. Comments are no part of it, nor is white space that only lays elements out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tree {
    Element(Node),
    Text(String),
    /// A processing instruction as it stands.
    Instruction(String),
}

/// An element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    /// The name, prefix included.
    pub(crate) name: String,
    /// Names and values, by name.
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) content: Vec<Tree>,
}

impl Tree {
    /// Takes a fragment apart; `None` for a comment.
    pub(crate) fn of(fragment: &Fragment) -> Option<Self> {
        Self::read(fragment.as_str()).into_iter().next()
    }

    /// Takes well-formed XML apart.
    fn read(xml: &str) -> Vec<Self> {
        let mut reader = Reader::from_str(xml);
        // The elements that are open; the first stands for what is around all of them.
        let (mut outer, mut open) = (Node::default(), Vec::<Node>::new());
        loop {
            let top = open.last_mut().unwrap_or(&mut outer);
            match reader.read_event() {
                Ok(Event::Start(tag)) => open.push(Node::new(tag.name().0, tag.attributes_raw())),
                Ok(Event::Empty(tag)) => {
                    let node = Node::new(tag.name().0, tag.attributes_raw());
                    top.content.push(Self::Element(node));
                }
                Ok(Event::End(_)) => {
                    let node = open.pop().map(Node::without_layout);
                    let top = open.last_mut().unwrap_or(&mut outer);
                    top.content.extend(node.map(Self::Element));
                }
                Ok(Event::Text(text)) => top.push_text(&text.xml10_content()),
                Ok(Event::CData(text)) => top.push_text(&text.xml10_content()),
                Ok(Event::GeneralRef(name)) => {
                    top.push_text(&unescape(&format!("&{};", &*name)).unwrap_or_default());
                }
                Ok(Event::PI(instruction)) => {
                    top.content.push(Self::Instruction(format!("<?{}?>", &*instruction)));
                }
                Ok(Event::Comment(_) | Event::Decl(_) | Event::DocType(_)) => {}
                // What the parser kept is well-formed, so there is an end and no error.
                Ok(Event::Eof) | Err(_) => return outer.content,
            }
        }
    }

    /// The element's name, nothing for texts.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Element(node) => &node.name,
            Self::Text(_) | Self::Instruction(_) => "",
        }
    }

    /// Appends it in the only way that it is written here.
    pub(crate) fn write(&self, out: &mut String) {
        match self {
            Self::Element(node) => node.write(out),
            Self::Text(text) => escape(text, crate::element::Place::Text, out),
            Self::Instruction(text) => out.push_str(text),
        }
    }

    /// It in the only way that it is written here.
    pub(crate) fn form(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }
}

impl Node {
    /// The element that `xml` begins with; an empty one if it begins with none.
    pub(crate) fn of(xml: &str) -> Self {
        let first = Tree::read(xml).into_iter().find_map(|tree| match tree {
            Tree::Element(node) => Some(node),
            Tree::Text(_) | Tree::Instruction(_) => None,
        });
        first.unwrap_or_default()
    }

    fn new(name: &str, attributes: &str) -> Self {
        let value = |text| unescape(text).map_or_else(|_| text.to_owned(), std::borrow::Cow::into_owned);
        let found = Attributes::new(attributes).flatten();
        let mut attributes: Vec<_> =
            found.map(|attribute| (attribute.name.to_owned(), value(attribute.value))).collect();
        attributes.sort();
        Self { name: name.to_owned(), attributes, content: Vec::new() }
    }

    /// Adds text; pieces that a comment or a reference has cut are one.
    fn push_text(&mut self, text: &str) {
        match self.content.last_mut() {
            Some(Tree::Text(last)) => last.push_str(text),
            // An empty section is nothing.
            _ if text.is_empty() => {}
            _ => self.content.push(Tree::Text(text.to_owned())),
        }
    }

    /// Without the white space between its elements.
    fn without_layout(mut self) -> Self {
        if self.content.iter().any(|part| matches!(part, Tree::Element(_))) {
            self.content.retain(|part| !matches!(part, Tree::Text(text) if text.trim_ascii().is_empty()));
        }
        self
    }

    fn write(&self, out: &mut String) {
        start_tag(&self.name, &self.attributes, out);
        for part in &self.content {
            part.write(out);
        }
        end_tag(&self.name, self.content.is_empty(), out);
    }
}

/// Appends `<name a='b'`, which [`end_tag`] goes on with when nothing follows.
pub(crate) fn start_tag<N: AsRef<str>, V: AsRef<str>>(name: &str, attributes: &[(N, V)], out: &mut String) {
    out.push('<');
    out.push_str(name);
    for (name, value) in attributes {
        out.push(' ');
        out.push_str(name.as_ref());
        out.push_str("='");
        escape(value.as_ref(), crate::element::Place::Attribute, out);
        out.push('\'');
    }
    out.push('>');
}

/// Ends an element; one that is empty in the short form.
pub(crate) fn end_tag(name: &str, empty: bool, out: &mut String) {
    if empty {
        out.pop();
        out.push_str("/>");
    } else {
        out.push_str("</");
        out.push_str(name);
        out.push('>');
    }
}
