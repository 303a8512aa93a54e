//! What differs between two documents, in words.

use crate::compare::unknown_attributes;
use crate::document::Document;
use crate::element::{Element, Field, Item};
use crate::fragment::Fragment;
use crate::leaf::{Format, Scalar};
use std::collections::{HashMap, VecDeque};
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
        let Self { path, before, after } = self;
        match (before, after) {
            (Some(before), Some(after)) => write!(f, "{path}: {before} -> {after}"),
            (None, Some(after)) if after.is_empty() => write!(f, "{path}: added"),
            (None, Some(after)) => write!(f, "{path}: added {after}"),
            (Some(before), None) if before.is_empty() => write!(f, "{path}: removed"),
            (Some(before), None) => write!(f, "{path}: removed {before}"),
            (None, None) => f.write_str(path),
        }
    }
}

/// The differences that a reader of libvirt's documentation would name, in the order of the elements.
///
/// How a value is spelt does not count, nor the order of elements with different names. Secrets are shown as `***`.
#[must_use]
pub fn diff<T: Document>(before: &T, after: &T) -> Vec<Change> {
    let mut changes = Vec::new();
    elements(before, after, "", &mut changes);
    changes
}

fn elements(before: &dyn Element, after: &dyn Element, path: &str, changes: &mut Vec<Change>) {
    for (index, field) in before.shape().fields.iter().enumerate() {
        let path = join(path, field.key);
        let name =
            |item, position| if field.many { format!("{path}[{}]", label(item, position)) } else { path.clone() };
        let (old, new) = (before.slot(index), after.slot(index));
        let mut left: HashMap<String, VecDeque<usize>> = HashMap::new();
        let mut new: Vec<Option<Item<'_>>> = new.items().map(Some).collect();
        for (position, item) in new.iter().flatten().enumerate() {
            left.entry(label(*item, position)).or_default().push_back(position);
        }
        for (position, item) in old.items().enumerate() {
            let name = name(item, position);
            let other = left.get_mut(&label(item, position)).and_then(VecDeque::pop_front);
            match other.and_then(|other| new.get_mut(other)?.take()) {
                Some(other) => compare(item, other, field, &name, changes),
                None => changes.push(Change { path: name, before: Some(show(item, field)), after: None }),
            }
        }
        for (position, item) in new.into_iter().enumerate().filter_map(|(position, item)| Some((position, item?))) {
            let name = name(item, position);
            changes.push(Change { path: name, before: None, after: Some(show(item, field)) });
        }
        odd(before, after, index, &path, changes);
    }
    rest(before, after, path, changes);
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
fn odd(before: &dyn Element, after: &dyn Element, index: usize, path: &str, changes: &mut Vec<Change>) {
    let other = |element: &dyn Element| {
        let unknown = element.slot(index).count() == 0;
        element.extra().written_at(index, 0).filter(|_| unknown).map(str::to_owned)
    };
    let (before, after) = (other(before), other(after));
    if before != after {
        changes.push(Change { path: path.to_owned(), before, after });
    }
}

/// What no field stands for.
fn rest(before: &dyn Element, after: &dyn Element, path: &str, changes: &mut Vec<Change>) {
    let value = |element, name: &str| {
        let mut found = unknown_attributes(element).filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.clone())
    };
    for (name, was) in unknown_attributes(before) {
        let is = value(after, name);
        if is.as_ref() != Some(was) {
            changes.push(Change { path: join(path, name), before: Some(was.clone()), after: is });
        }
    }
    for (name, is) in unknown_attributes(after).filter(|(name, _)| value(before, name).is_none()) {
        changes.push(Change { path: join(path, name), before: None, after: Some(is.clone()) });
    }
    let (old, new) = (before.extra(), after.extra());
    let gone = surplus(old.nodes(), new.nodes());
    changes.extend(gone.map(|node| Change { path: path.to_owned(), before: Some(node), after: None }));
    let come = surplus(new.nodes(), old.nodes());
    changes.extend(come.map(|node| Change { path: path.to_owned(), before: None, after: Some(node) }));
}

/// The nodes of `these` that `those` have not, or not so often.
fn surplus<'a>(these: &'a [Fragment], those: &[Fragment]) -> impl Iterator<Item = String> + use<'a> {
    let mut left: HashMap<Fragment, usize> = HashMap::new();
    for node in those {
        *left.entry(node.clone()).or_default() += 1;
    }
    these
        .iter()
        .filter(move |node| match left.get_mut(node) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        })
        .map(ToString::to_string)
}

/// What tells an item of a list from the others.
fn key(item: Item<'_>) -> Option<String> {
    let Item::Element(mut element) = item else { return None };
    let mut steps = element.shape().key.split('.').peekable();
    while let Some(step) = steps.next() {
        let slot = element.slot(element.shape().position(step)?);
        match slot.item(0)? {
            Item::Element(child) => element = child,
            Item::Leaf(leaf) if steps.peek().is_none() => return Some(text(&leaf.scalar(), Format::PLAIN)),
            _ => return None,
        }
    }
    None
}

fn label(item: Item<'_>, position: usize) -> String {
    key(item).unwrap_or_else(|| position.to_string())
}

/// An item in a few words: a value, or the values inside an element.
fn show(item: Item<'_>, field: &Field) -> String {
    /// More would not be read.
    const SHOWN: usize = 6;
    match item {
        Item::Flag => String::new(),
        Item::Leaf(_) if field.secret => "***".to_owned(),
        Item::Leaf(leaf) => text(&leaf.scalar(), field.format),
        Item::Element(element) => {
            let mut values = Vec::new();
            leaves(element, "", &mut values);
            let more = if values.len() > SHOWN { ", …" } else { "" };
            values.truncate(SHOWN);
            format!("{}{more}", values.join(", "))
        }
    }
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

fn text(scalar: &Scalar<'_>, format: Format) -> String {
    let mut text = String::new();
    scalar.render(format, &mut text);
    text
}

fn join(path: &str, step: &str) -> String {
    if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") }
}
