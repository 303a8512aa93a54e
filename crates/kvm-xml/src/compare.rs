//! `PartialEq` and `Debug` of all elements, through their tables.

use crate::element::{Element, Item, Place};
use std::fmt;

/// Whether two elements of one type say the same; how they say it, and in which order children with different names
/// stand, does not count.
pub(crate) fn equal(a: &dyn Element, b: &dyn Element) -> bool {
    let fields = a.shape().fields.len();
    (0..fields).all(|index| {
        let (x, y) = (a.slot(index), b.slot(index));
        let count = x.count();
        count == y.count()
            && x.items().zip(y.items()).all(|(a, b)| equal_items(a, b))
            && (count > 0 || a.extra().written_at(index, 0) == b.extra().written_at(index, 0))
    }) && a.extra().nodes() == b.extra().nodes()
        && unknown_attributes(a).count() == unknown_attributes(b).count()
        && unknown_attributes(a).all(|pair| unknown_attributes(b).any(|other| other == pair))
}

/// The attributes that no field stands for; where a namespace is declared is no part of what a document says.
pub(crate) fn unknown_attributes(element: &dyn Element) -> impl Iterator<Item = &(String, String)> {
    element.extra().attributes().iter().filter(|(name, _)| name != "xmlns" && !name.starts_with("xmlns:"))
}

fn equal_items(a: Item<'_>, b: Item<'_>) -> bool {
    match (a, b) {
        (Item::Element(a), Item::Element(b)) => equal(a, b),
        (Item::Leaf(a), Item::Leaf(b)) => a.scalar() == b.scalar(),
        (Item::Flag, Item::Flag) => true,
        _ => false,
    }
}

/// Shows the fields that are set.
pub(crate) fn debug(element: &dyn Element, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let shape = element.shape();
    let mut show = f.debug_struct(shape.name);
    for (index, field) in shape.fields.iter().enumerate() {
        let slot = element.slot(index);
        if slot.count() == 0 {
            if let Some(text) = element.extra().written_at(index, 0) {
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
