//! From serde to a model.

use super::{EXTRA, NODE_KEY, OTHER};
use crate::compare::mark_repeats;
use crate::element::{Element, Field, Kind, Place};
use crate::error::{XmlError, list, quote};
use crate::extra::NODE;
use crate::fragment::Fragment;
use crate::leaf::{Format, Spelling};
use crate::parse::is_name;
use serde_core::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    target: &mut dyn Element,
    deserializer: D,
) -> Result<(), D::Error> {
    Node(target).deserialize(deserializer)
}

/// Reads a map into an element.
struct Node<'a>(&'a mut dyn Element);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the fields of {}", self.0.shape().name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let shape = self.0.shape();
        while let Some(key) = map.next_key::<String>()? {
            if key == EXTRA {
                map.next_value_seed(Rest(self.0))?;
                continue;
            }
            let Some((index, field)) = shape.fields.iter().enumerate().find(|(_, field)| field.key == key) else {
                let known = list(shape.fields.iter().map(|field| field.key));
                return Err(Error::custom(format!("{} has no field {}; it has {known}", shape.name, quote(&key))));
            };
            map.next_value_seed(Entry { element: self.0, index, field })?;
        }
        mark_repeats(self.0);
        Ok(())
    }
}

/// Reads what one field holds: an item, or a sequence of them.
struct Entry<'a> {
    element: &'a mut dyn Element,
    index: usize,
    field: &'static Field,
}

impl Entry<'_> {
    fn leaf<E: Error>(self, text: &str, format: Format) -> Result<(), E> {
        let wrong = |error: XmlError| Error::custom(error.within(self.field.key));
        if self.field.kind == Kind::Element {
            return Err(wrong(XmlError::new(format!("{} where an element must be", quote(text)))));
        }
        let slot = self.element.slot_mut(self.index);
        let item = slot.count();
        let spelling = slot.read(text, format).map_err(|expected| wrong(XmlError::value(text, expected)))?;
        // The spelling of a child element needs the whole element, which `written` has.
        if spelling == Spelling::Odd && self.field.place != Place::Child {
            self.element.extra_mut().push_written(self.index, item, text);
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Entry<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Entry<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the value of {}", self.field.key)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match (self.field.kind, value) {
            (Kind::Flag, true) => self.leaf("", Format::PLAIN),
            (Kind::Flag, false) => Ok(()),
            _ => self.leaf(if value { "true" } else { "false" }, Format::PLAIN),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        let format = self.field.format.decimal();
        self.leaf(&value.to_string(), format)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        let format = self.field.format.decimal();
        self.leaf(&value.to_string(), format)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.leaf(&value.to_string(), Format::PLAIN)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        let format = self.field.format_in(self.element);
        self.leaf(value, format)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        if !self.field.many {
            return Err(Error::custom(format!("{} is not a list", self.field.key)));
        }
        let Self { element, index, field } = self;
        while items.next_element_seed(Entry { element: &mut *element, index, field })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if self.field.kind == Kind::Element {
            let Some(child) = self.element.slot_mut(self.index).open() else {
                return Err(Error::custom(format!("{} is there twice", self.field.key)));
            };
            return Node(child).visit_map(map);
        }
        // The one map that a leaf can be: {"_other": "text"}.
        let entry: Option<(String, String)> = map.next_entry()?;
        match entry {
            Some((key, text)) if key == OTHER && map.next_key::<IgnoredAny>()?.is_none() => {
                check_spelling(self.field, &text).map_err(Error::custom)?;
                self.element.extra_mut().push_written(self.index, 0, &text);
                Ok(())
            }
            _ => Err(Error::custom(format!("{} is one value, or a map with '{OTHER}'", self.field.key))),
        }
    }
}

/// Checks that a spelling of a child element is that element.
fn check_spelling(field: &Field, text: &str) -> Result<(), XmlError> {
    if field.place != Place::Child {
        return Ok(());
    }
    let node = Fragment::parse(text)?;
    let name = node.name().map(|name| name.rsplit(':').next().unwrap_or(name));
    if name == Some(field.name) {
        Ok(())
    } else {
        Err(XmlError::new(format!("{} is not a <{}>", quote(text), field.name)))
    }
}

/// Reads `_extra`. All of it ends up in documents, so all of it is checked.
struct Rest<'a>(&'a mut dyn Element);

impl<'de> DeserializeSeed<'de> for Rest<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Rest<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("attributes, nodes, written or order")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let shape = self.0.shape();
        let position = |key: &str| {
            let found = shape.position(key);
            found.ok_or_else(|| A::Error::custom(format!("{} has no field {}", shape.name, quote(key))))
        };
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "attributes" => {
                    for (name, value) in map.next_value::<BTreeMap<String, String>>()? {
                        let known = shape.fields.iter().take(shape.attributes).any(|field| field.name == name);
                        if known || !is_name(&name) {
                            return Err(Error::custom(format!("{} is no name for an unknown attribute", quote(&name))));
                        }
                        self.0.extra_mut().push_attribute(&name, value);
                    }
                }
                "nodes" => {
                    for node in map.next_value::<Vec<String>>()? {
                        self.0.extra_mut().push_fragment(Fragment::parse(&node).map_err(Error::custom)?);
                    }
                }
                "written" => {
                    for (key, text) in map.next_value::<BTreeMap<String, String>>()? {
                        let (key, item) =
                            key.strip_suffix(']').and_then(|key| key.split_once('[')).unwrap_or((&key, "0"));
                        let index = position(key)?;
                        let item =
                            item.parse().map_err(|_| A::Error::custom(format!("{} is no index", quote(item))))?;
                        if let Some(field) = shape.fields.get(index) {
                            check_spelling(field, &text).map_err(Error::custom)?;
                        }
                        self.0.extra_mut().push_written(index, item, &text);
                    }
                }
                "order" => {
                    let mut order = Vec::new();
                    for key in map.next_value::<Vec<String>>()? {
                        order.push(if key == NODE_KEY { NODE } else { u16::try_from(position(&key)?).unwrap_or(NODE) });
                    }
                    self.0.extra_mut().set_order(order);
                }
                other => return Err(Error::custom(format!("{EXTRA} has no part {}", quote(other)))),
            }
        }
        Ok(())
    }
}
