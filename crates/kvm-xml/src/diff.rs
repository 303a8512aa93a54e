//! What differs between two documents, in words.

mod label;
mod pair;
mod rest;

pub(crate) use label::label;

use crate::canonical;
use crate::compare::unknown_value;
use crate::document::Document;
use crate::element::{Element, Field, Item, Place};
use crate::leaf::{Format, Scalar};
use crate::parse::text_of;
use pair::{at, pair};
use std::fmt;

/// One difference between two documents.
///
/// `Display` shows it on one line: `devices.disk[vda].source.file: /a.qcow2 -> /b.qcow2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The fields that lead to it, joined by dots; items of a list by what tells them apart (a disk's target, an
    /// interface's MAC address), else by number from 0.
    pub path: String,
    /// What was there; `None` if nothing.
    pub before: Option<String>,
    /// What is there; `None` if nothing.
    pub after: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |text: &Option<String>| text.as_deref().map(one_line);
        let path = one_line(&self.path);
        match (line(&self.before), line(&self.after)) {
            (Some(before), Some(after)) => write!(f, "{path}: {before} -> {after}"),
            (None, Some(after)) if after.is_empty() => write!(f, "{path}: added"),
            (None, Some(after)) => write!(f, "{path}: added {after}"),
            (Some(before), None) if before.is_empty() => write!(f, "{path}: removed"),
            (Some(before), None) => write!(f, "{path}: removed {before}"),
            (None, None) => f.write_str(&path),
        }
    }
}

/// The differences that a reader of libvirt's documentation would name, in the order of the elements.
///
/// How a value is spelt does not count, nor the order of elements that can be told apart. Secrets are shown as `***`.
#[must_use]
pub fn diff<T: Document>(before: &T, after: &T) -> Vec<Change> {
    let mut changes = Vec::new();
    elements(before, after, "", &mut changes);
    changes
}

/// Text on one line, without characters that do something to a terminal.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\'' | '"' | '\\' => line.push(character),
            other => line.extend(other.escape_debug()),
        }
    }
    line
}

fn elements(before: &dyn Element, after: &dyn Element, path: &str, changes: &mut Vec<Change>) {
    for (index, field) in before.shape().fields.iter().enumerate() {
        let path = join(path, field.key);
        let (old, new) = (said(before, index, field), said(after, index, field));
        for (position, other) in pair(&old, &new, |item| label::key(*item), form) {
            let name = |item: &Item<'_>, position: Option<usize>| match field.many {
                true => format!("{path}[{}]", label(*item, position.unwrap_or_default())),
                false => path.clone(),
            };
            match (at(&old, position), at(&new, other)) {
                (Some(old), Some(new)) => {
                    let path = name(old, position);
                    compare(*old, *new, field, &path, changes);
                    let beside = |element, position: Option<usize>| match field.place {
                        Place::Child => canonical::beside(element, index, position.unwrap_or_default()),
                        Place::Attribute | Place::Text => Vec::new(),
                    };
                    rest::attributes(&beside(before, position), &beside(after, other), &path, changes);
                }
                (Some(old), None) => {
                    let path = name(old, position);
                    changes.push(Change { path, before: Some(show(*old, field)), after: None });
                }
                (None, Some(new)) => {
                    let path = name(new, other);
                    changes.push(Change { path, before: None, after: Some(show(*new, field)) });
                }
                (None, None) => {}
            }
        }
        unknown_values(before, after, index, &path, changes);
    }
    rest::rest(before, after, path, changes);
}

/// The items of a field that a document shows: an element with an empty text looks like one without a text.
fn said<'a>(element: &'a dyn Element, index: usize, field: &Field) -> Vec<Item<'a>> {
    let shows = |item: &Item<'_>| field.place != Place::Text || !form(item).is_empty();
    element.slot(index).items().filter(shows).collect()
}

/// All that an item says.
fn form(item: &Item<'_>) -> String {
    match item {
        Item::Flag => String::new(),
        Item::Leaf(leaf) => text(&leaf.scalar(), Format::PLAIN),
        Item::Element(element) => canonical::form(*element, "e"),
    }
}

fn compare(before: Item<'_>, after: Item<'_>, field: &Field, path: &str, changes: &mut Vec<Change>) {
    match (before, after) {
        (Item::Element(before), Item::Element(after)) => elements(before, after, path, changes),
        (Item::Leaf(old), Item::Leaf(new)) if old.scalar() != new.scalar() => {
            changes.push(Change {
                path: path.to_owned(),
                before: Some(show(before, field)),
                after: Some(show(after, field)),
            });
        }
        _ => {}
    }
}

/// Values that their field's type does not know.
fn unknown_values(before: &dyn Element, after: &dyn Element, index: usize, path: &str, changes: &mut Vec<Change>) {
    let other = |element: &dyn Element| {
        let is_child = element.shape().fields.get(index).is_some_and(|field| field.place == Place::Child);
        unknown_value(element, index).map(|raw| text_of(raw).filter(|_| is_child).unwrap_or_else(|| raw.to_owned()))
    };
    match (other(before), other(after)) {
        (Some(old), Some(new)) if old == new => {
            let beside = |element| canonical::beside(element, index, 0);
            rest::attributes(&beside(before), &beside(after), path, changes);
        }
        (old, new) if old != new => changes.push(Change { path: path.to_owned(), before: old, after: new }),
        _ => {}
    }
}

/// What a difference calls the item at `position` of the list `list`: `devices.disk[vda]`.
pub(crate) fn item_path(list: &str, element: &dyn Element, position: usize) -> String {
    format!("{list}[{}]", label(Item::Element(element), position))
}

/// The difference that an element which is gone makes.
pub(crate) fn removal(path: String, element: &dyn Element) -> Change {
    Change { path, before: Some(describe(element)), after: None }
}

/// An item in a few words: a value, or the values inside an element.
fn show(item: Item<'_>, field: &Field) -> String {
    match item {
        Item::Flag => String::new(),
        Item::Leaf(_) if field.secret => "***".to_owned(),
        Item::Leaf(leaf) => text(&leaf.scalar(), field.format),
        Item::Element(element) => describe(element),
    }
}

/// The first values inside an element.
fn describe(element: &dyn Element) -> String {
    /// More would not be read.
    const SHOWN: usize = 6;
    let mut values = Vec::new();
    leaves(element, "", &mut values);
    let more = if values.len() > SHOWN { ", …" } else { "" };
    values.truncate(SHOWN);
    format!("{}{more}", values.join(", "))
}

/// All values inside an element as `path=value`.
fn leaves(element: &dyn Element, path: &str, values: &mut Vec<String>) {
    for (index, field) in element.shape().fields.iter().enumerate() {
        let slot = element.slot(index);
        let path = join(path, field.key);
        for item in slot.items() {
            match item {
                Item::Element(child) => leaves(child, &path, values),
                Item::Flag => values.push(path.clone()),
                Item::Leaf(_) => values.push(format!("{path}={}", show(item, field))),
            }
        }
    }
}

pub(crate) fn text(scalar: &Scalar<'_>, format: Format) -> String {
    let mut text = String::new();
    scalar.render(format, &mut text);
    text
}

pub(crate) fn join(path: &str, step: &str) -> String {
    if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") }
}
