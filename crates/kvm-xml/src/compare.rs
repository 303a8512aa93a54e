//! `PartialEq` and `Debug` of all elements, through their tables.

use crate::canonical;
use crate::element::{Element, Item, Place};
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
    if !element.extra().nodes().is_empty() {
        show.field("_extra", &element.extra().nodes());
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
