//! The one form of all documents that say the same.

use crate::compare::{self, unknown_attributes, unknown_value};
use crate::element::{Element, Field, Item, Place};
use crate::tree::{Node, Tree, end_tag, start_tag};
use std::borrow::Cow;

/// `element` in its canonical form, under the name `root`.
pub(crate) fn form(element: &dyn Element, root: &str) -> String {
    let mut form = Form { out: String::with_capacity(1024), declared: Vec::new(), prefixes: Vec::new() };
    form.element(element, root);
    form.out
}

struct Form<'a> {
    out: String,
    /// The prefixes of libvirt's namespaces that are declared around the place.
    declared: Vec<&'static str>,
    /// Prefixes that the document declares for what nobody knows, with their names.
    prefixes: Vec<(&'a str, &'a str)>,
}

type Attributes<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

impl<'a> Form<'a> {
    fn element(&mut self, element: &'a dyn Element, name: &str) {
        let scope = (self.declared.len(), self.prefixes.len());
        let attributes = self.attributes(element);
        start_tag(name, &attributes, &mut self.out);
        let start = self.out.len();
        self.text(element);
        for (index, field) in element.shape().fields.iter().enumerate() {
            if field.place == Place::Child {
                self.field(element, index, field);
            }
        }
        for node in unknown_nodes(element) {
            node.write(&mut self.out);
        }
        end_tag(name, self.out.len() == start, &mut self.out);
        self.declared.truncate(scope.0);
        self.prefixes.truncate(scope.1);
    }

    /// All attributes by name: known ones, unknown ones, and the namespaces that are needed from here on.
    fn attributes(&mut self, element: &'a dyn Element) -> Attributes<'a> {
        let shape = element.shape();
        let mut attributes: Attributes<'a> = Vec::new();
        for (index, field) in shape.fields.iter().enumerate() {
            if field.place == Place::Attribute
                && let Some(value) = value(element, index, field)
            {
                attributes.push((field.name.into(), value));
            }
            if let Some(namespace) = field.namespace
                && element.slot(index).count() > 0
                && !self.declared.contains(&namespace.prefix)
            {
                self.declared.push(namespace.prefix);
                attributes.push((format!("xmlns:{}", namespace.prefix).into(), namespace.uri.into()));
            }
        }
        let written = element.extra().attributes().iter();
        self.prefixes.extend(written.filter_map(|(name, uri)| Some((name.strip_prefix("xmlns:")?, uri.as_str()))));
        for (name, value) in unknown_attributes(element) {
            attributes.push((name.into(), value.into()));
            if let Some((prefix, _)) = name.split_once(':')
                && let Some((_, uri)) = self.prefixes.iter().rfind(|(known, _)| *known == prefix)
            {
                attributes.push((format!("xmlns:{prefix}").into(), (*uri).into()));
            }
        }
        attributes.sort();
        attributes.dedup_by(|a, b| a.0 == b.0);
        attributes
    }

    fn text(&mut self, element: &dyn Element) {
        if let Some((index, field)) = element.shape().text_field()
            && let Some(text) = value(element, index, field)
        {
            Tree::Text(text.into_owned()).write(&mut self.out);
        }
    }

    fn field(&mut self, element: &'a dyn Element, index: usize, field: &'static Field) {
        if let Some(raw) = unknown_value(element, index) {
            return Tree::Element(Node::of(raw)).write(&mut self.out);
        }
        let name: Cow<'static, str> = match field.namespace {
            Some(namespace) => format!("{}:{}", namespace.prefix, field.name).into(),
            None => field.name.into(),
        };
        for (position, item) in element.slot(index).items().enumerate() {
            let text = match item {
                Item::Element(child) => {
                    self.element(child, &name);
                    continue;
                }
                Item::Flag => String::new(),
                Item::Leaf(leaf) => {
                    let mut text = String::new();
                    leaf.scalar().render(field.format_in(element), &mut text);
                    text
                }
            };
            start_tag(&name, &beside(element, index, position), &mut self.out);
            Tree::Text(text.clone()).write(&mut self.out);
            end_tag(&name, text.is_empty(), &mut self.out);
        }
    }
}

/// The value of an attribute or of the element's own text, or what stands there instead.
fn value<'a>(element: &'a dyn Element, index: usize, field: &Field) -> Option<Cow<'a, str>> {
    match element.slot(index).item(0) {
        Some(Item::Leaf(leaf)) => {
            let mut text = String::new();
            leaf.scalar().render(field.format_in(element), &mut text);
            Some(text.into())
        }
        _ => unknown_value(element, index).map(Cow::Borrowed),
    }
}

/// Attributes of a child element that should have only text.
pub(crate) fn beside(element: &dyn Element, index: usize, position: usize) -> Vec<(String, String)> {
    let Some(raw) = element.extra().written_at(index, position) else { return Vec::new() };
    let mut attributes = Node::of(raw).attributes;
    attributes.retain(|(name, _)| !name.starts_with("xmlns"));
    attributes
}

/// What no field stands for, without comments: elements by name, those of one name in their order, and then all text.
pub(crate) fn unknown_nodes(element: &dyn Element) -> Vec<Tree> {
    let (mut nodes, mut words) = (Vec::new(), Vec::new());
    for tree in compare::unknown_nodes(element).filter_map(Tree::of) {
        match tree {
            // White space around text between elements is layout, also where a reference spells it. What stood between two
            // texts may have been taken out: written, they are one.
            Tree::Text(text) => words.extend(text.split_ascii_whitespace().map(str::to_owned)),
            other => nodes.push(other),
        }
    }
    nodes.sort_by(|a, b| a.name().cmp(b.name()));
    if !words.is_empty() {
        nodes.push(Tree::Text(words.join(" ")));
    }
    nodes
}
