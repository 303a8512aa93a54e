//! From a model to serde.

use super::{EXTRA, NODE_KEY, OTHER};
use crate::compare::{unknown_nodes, unknown_value};
use crate::element::{Element, Item, Place};
use crate::extra::{Extra, NODE};
use crate::leaf::Scalar;
use crate::parse::text_of;
use serde_core::ser::{Serialize, SerializeMap, Serializer};

pub(crate) fn serialize<S: Serializer>(element: &dyn Element, serializer: S) -> Result<S::Ok, S::Error> {
    Node(element).serialize(serializer)
}

struct Node<'a>(&'a dyn Element);

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let element = self.0;
        let extra = element.extra();
        let mut map = serializer.serialize_map(None)?;
        // Child elements first: readers that look a name up by its path alone then meet the outer one last.
        let shape = element.shape();
        for index in (shape.attributes..shape.fields.len()).chain(0..shape.attributes) {
            let Some(field) = shape.fields.get(index) else { continue };
            let slot = element.slot(index);
            if slot.count() == 0 {
                if let Some(text) = unknown_value(element, index) {
                    map.serialize_entry(field.key, &One(OTHER, text))?;
                }
            } else if field.many {
                map.serialize_entry(field.key, &Many(element, index))?;
            } else {
                map.serialize_entry(field.key, &entry(element, index, 0))?;
            }
        }
        let rest = Rest(element, extra);
        if !rest.is_empty() {
            map.serialize_entry(EXTRA, &rest)?;
        }
        map.end()
    }
}

enum Entry<'a> {
    Item(Item<'a>),
    /// A text as it was spelt.
    Spelt(String),
}

/// An item of a field. A number is a number however it was spelt; other values are texts, spelt as they were.
fn entry(element: &dyn Element, index: usize, item: usize) -> Entry<'_> {
    let found = element.slot(index).item(item).unwrap_or(Item::Flag);
    match (found, spelling(element, index, item)) {
        (Item::Leaf(leaf), Some(text)) if matches!(leaf.scalar(), Scalar::Str(_) | Scalar::String(_)) => {
            Entry::Spelt(text)
        }
        _ => Entry::Item(found),
    }
}

/// How a value that is still the one that was read was spelt.
fn spelling(element: &dyn Element, index: usize, item: usize) -> Option<String> {
    let field = element.shape().fields.get(index)?;
    let written = element.extra().written_at(index, item)?;
    let text = if field.place == Place::Child { text_of(written)? } else { written.to_owned() };
    element.slot(index).agrees(item, &text, field.format_in(element)).then_some(text)
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Spelt(text) => serializer.serialize_str(text),
            Self::Item(Item::Flag) => serializer.serialize_bool(true),
            Self::Item(Item::Element(element)) => Node(*element).serialize(serializer),
            Self::Item(Item::Leaf(leaf)) => match leaf.scalar() {
                Scalar::Str(text) => serializer.serialize_str(text),
                Scalar::String(text) => serializer.serialize_str(&text),
                Scalar::Unsigned(number) => serializer.serialize_u64(number),
                Scalar::Signed(number) => serializer.serialize_i64(number),
            },
        }
    }
}

struct Many<'a>(&'a dyn Element, usize);

impl Serialize for Many<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let slot = self.0.slot(self.1);
        serializer.collect_seq((0..slot.count()).map(|item| entry(self.0, self.1, item)))
    }
}

/// A map with one entry.
struct One<'a>(&'a str, &'a str);

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(self.0, self.1)])
    }
}

/// What no field stands for.
struct Rest<'a>(&'a dyn Element, &'a Extra);

impl Rest<'_> {
    /// The spellings that the entries of the fields do not show: of numbers, and of whole elements.
    fn spellings(&self) -> impl Iterator<Item = (String, &str)> {
        let Self(element, extra) = self;
        extra.written().filter_map(move |(index, item, text)| {
            let field = element.shape().fields.get(index)?;
            let key = if field.many { format!("{}[{item}]", field.key) } else { field.key.to_owned() };
            let shown = field.place != Place::Child && matches!(self::entry(*element, index, item), Entry::Spelt(_));
            (element.slot(index).count() > item && !shown).then_some((key, text))
        })
    }

    fn is_empty(&self) -> bool {
        let Self(element, extra) = self;
        extra.attributes().is_empty()
            && unknown_nodes(*element).next().is_none()
            && extra.order().is_empty()
            && self.spellings().next().is_none()
    }
}

impl Serialize for Rest<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(element, extra) = self;
        let mut map = serializer.serialize_map(None)?;
        if !extra.attributes().is_empty() {
            let attributes: std::collections::BTreeMap<_, _> =
                extra.attributes().iter().map(|(name, value)| (name, value)).collect();
            map.serialize_entry("attributes", &attributes)?;
        }
        let nodes: Vec<_> = unknown_nodes(*element).map(crate::Fragment::as_str).collect();
        if !nodes.is_empty() {
            map.serialize_entry("nodes", &nodes)?;
        }
        if self.spellings().next().is_some() {
            map.serialize_entry("written", &self.spellings().collect::<std::collections::BTreeMap<_, _>>())?;
        }
        if !extra.order().is_empty() {
            let fields = element.shape().fields;
            let key = |step: &u16| {
                if *step == NODE {
                    NODE_KEY
                } else {
                    fields.get(usize::from(*step)).map_or(NODE_KEY, |field| field.key)
                }
            };
            map.serialize_entry("order", &extra.order().iter().map(key).collect::<Vec<_>>())?;
        }
        map.end()
    }
}
