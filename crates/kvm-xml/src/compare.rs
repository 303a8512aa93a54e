//! `PartialEq` and `Debug` of all elements, through their tables.

use crate::canonical;
use crate::element::{Element, Item, Place, Shape};
use crate::fragment::Fragment;
use crate::parse::text_of;
use std::borrow::Cow;
use std::fmt;

/// Whether two elements of one type say the same: whether their canonical forms are equal.
pub(crate) fn equal(a: &dyn Element, b: &dyn Element) -> bool {
    // The name around them does not matter as long as it is one.
    canonical::form(a, "e") == canonical::form(b, "e")
}

/// What stands in the document for an empty field, when its type does not know it: the value of an attribute or of the
/// element's own text, the whole element otherwise.
pub(crate) fn unknown_value(element: &dyn Element, index: usize) -> Option<&str> {
    let field = element.shape().fields.get(index)?;
    let slot = element.slot(index);
    let raw = element.extra().written_at(index, 0).filter(|_| slot.count() == 0)?;
    let text = if field.place == Place::Child { text_of(raw)?.into() } else { Cow::Borrowed(raw) };
    slot.agrees(0, &text, field.format_in(element)).then_some(raw)
}

/// The nodes that the document has. One that repeats what a field holds goes with it: in its place it would be taken for
/// the first.
#[inline]
pub(crate) fn unknown_nodes(element: &dyn Element) -> impl Iterator<Item = &Fragment> {
    let all = element.extra().repeats();
    all.filter(|(field, _)| field.is_none_or(|field| is_set(element, field))).map(|(_, node)| node)
}

/// Notes which nodes repeat what a field holds. To be called when all of an element has been read.
#[inline]
pub(crate) fn mark_repeats(element: &mut dyn Element) {
    if element.extra().nodes().is_empty() {
        return;
    }
    let nodes = element.extra().nodes().iter().enumerate();
    let marks = nodes.filter_map(|(position, node)| Some((position, field_of(element.shape(), node)?)));
    let marks = marks.filter(|(_, field)| is_set(element, *field)).collect();
    element.extra_mut().set_repeats(marks);
}

/// Whether something stands for a field in the document.
pub(crate) fn is_set(element: &dyn Element, index: usize) -> bool {
    element.slot(index).count() > 0 || unknown_value(element, index).is_some()
}

/// The field that an element of this name is, if there can be only one.
fn field_of(shape: &Shape, node: &Fragment) -> Option<usize> {
    let name = node.name()?;
    let index = match (name.split_once(':'), node.namespace()) {
        (Some((_, local)), Some(uri)) => {
            shape.child(local, 0, |field| field.namespace.is_some_and(|namespace| namespace.uri == uri))
        }
        (None, None) => shape.child(name, 0, |field| field.namespace.is_none()),
        _ => None,
    };
    index.filter(|index| shape.fields.get(*index).is_some_and(|field| !field.many))
}

/// The attributes that no field stands for; where a namespace is declared is no part of what a document says.
pub(crate) fn unknown_attributes(element: &dyn Element) -> impl Iterator<Item = &(String, String)> {
    element.extra().attributes().iter().filter(|(name, _)| name != "xmlns" && !name.starts_with("xmlns:"))
}

/// Shows the fields that are set.
pub(crate) fn debug(element: &dyn Element, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let shape = element.shape();
    let mut show = f.debug_struct(shape.name);
    for (index, field) in shape.fields.iter().enumerate() {
        let slot = element.slot(index);
        if slot.count() == 0 {
            if let Some(text) = unknown_value(element, index) {
                show.field(field.key, &format_args!("?{text:?}"));
            }
        } else if field.secret {
            show.field(field.key, &format_args!("***"));
        } else if field.many {
            show.field(field.key, &slot.items().map(Shown).collect::<Vec<_>>());
        } else if let Some(item) = slot.item(0) {
            show.field(field.key, &Shown(item));
        }
        debug_assert!(index >= shape.attributes || field.place == Place::Attribute);
    }
    for (name, value) in element.extra().attributes() {
        show.field(name, value);
    }
    let nodes: Vec<_> = unknown_nodes(element).collect();
    if !nodes.is_empty() {
        show.field("_extra", &nodes);
    }
    show.finish()
}

struct Shown<'a>(Item<'a>);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Item::Flag => f.write_str("true"),
            Item::Element(element) => debug(element, f),
            Item::Leaf(leaf) => match leaf.scalar() {
                crate::leaf::Scalar::Str(text) => write!(f, "{text:?}"),
                crate::leaf::Scalar::String(text) => write!(f, "{text:?}"),
                crate::leaf::Scalar::Unsigned(number) => write!(f, "{number}"),
                crate::leaf::Scalar::Signed(number) => write!(f, "{number}"),
            },
        }
    }
}
