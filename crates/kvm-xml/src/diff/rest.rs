//! Differences in what no field stands for: unknown attributes and elements, and what is in the metadata.

use super::pair::{at, pair};
use super::{Change, join};
use crate::canonical::unknown_nodes;
use crate::compare::unknown_attributes;
use crate::element::Element;
use crate::redact::is_secret;
use crate::tree::{Node, Tree};
use std::collections::HashMap;

/// Compares what two elements have beside their fields.
pub(super) fn rest(before: &dyn Element, after: &dyn Element, path: &str, changes: &mut Vec<Change>) {
    let list = |element| unknown_attributes(element).cloned().collect::<Vec<_>>();
    attributes(&list(before), &list(after), path, changes);
    // The elements of a document's metadata belong to programs, which are known by their namespace.
    let by_namespace = before.shape().open;
    content(&unknown_nodes(before), &unknown_nodes(after), path, by_namespace, changes);
}

/// Compares attributes that no field stands for.
pub(super) fn attributes(
    before: &[(String, String)],
    after: &[(String, String)],
    path: &str,
    changes: &mut Vec<Change>,
) {
    let shown = |(name, value): &(String, String)| if is_secret(name) { "***".to_owned() } else { value.clone() };
    for (old, new) in pair(before, after, |(name, _)| Some(name.clone()), |(_, value)| value.clone()) {
        let (old, new) = (at(before, old), at(after, new));
        if old != new {
            let name = old.or(new).map_or("", |(name, _)| name);
            changes.push(Change { path: join(path, name), before: old.map(shown), after: new.map(shown) });
        }
    }
}

fn content(before: &[Tree], after: &[Tree], path: &str, by_namespace: bool, changes: &mut Vec<Change>) {
    let (old_places, new_places) = (Places::of(before), Places::of(after));
    let step = |tree: &Tree, position| {
        let name = tree.name();
        match tree {
            Tree::Element(node) if by_namespace => match node.namespace() {
                Some(namespace) => format!("{path}[{namespace}]"),
                None => join(path, name),
            },
            Tree::Element(_) if old_places.many(name) || new_places.many(name) => {
                join(path, &format!("{name}[{position}]"))
            }
            Tree::Element(_) => join(path, name),
            Tree::Text(_) | Tree::Instruction(_) => path.to_owned(),
        }
    };
    let key = |tree: &Tree| Some(format!("{} {}", tree.name(), tree.namespace().unwrap_or_default()));
    for (old, new) in pair(before, after, key, Tree::form) {
        let place = at(&old_places.numbers, old).or(at(&new_places.numbers, new)).copied().unwrap_or_default();
        let (old, new) = (at(before, old), at(after, new));
        let path = old.or(new).map(|tree| step(tree, place)).unwrap_or_default();
        match (old, new) {
            (Some(Tree::Element(old)), Some(Tree::Element(new))) => {
                attributes(&old.attributes, &new.attributes, &path, changes);
                content(&old.content, &new.content, &path, false, changes);
            }
            (old, new) if old != new => {
                changes.push(Change { path, before: old.map(show), after: new.map(show) });
            }
            _ => {}
        }
    }
}

/// The numbers of pieces of XML among those of their name.
struct Places<'a> {
    numbers: Vec<usize>,
    counts: HashMap<&'a str, usize>,
}

impl<'a> Places<'a> {
    fn of(list: &'a [Tree]) -> Self {
        let mut counts = HashMap::new();
        let next = |tree: &'a Tree| {
            let count = counts.entry(tree.name()).or_default();
            *count += 1;
            *count - 1
        };
        Self { numbers: list.iter().map(next).collect(), counts }
    }

    fn many(&self, name: &str) -> bool {
        self.counts.get(name).is_some_and(|count| *count > 1)
    }
}

/// A text as it is, an element as XML without its secrets.
fn show(tree: &Tree) -> String {
    match tree {
        Tree::Element(node) => {
            let mut node = node.clone();
            node.hide_secrets();
            Tree::Element(node).form()
        }
        Tree::Text(text) | Tree::Instruction(text) => text.clone(),
    }
}

impl Tree {
    fn namespace(&self) -> Option<String> {
        match self {
            Self::Element(node) => node.namespace().map(ToOwned::to_owned),
            Self::Text(_) | Self::Instruction(_) => None,
        }
    }
}

impl Node {
    /// The namespace that the element declares for itself.
    fn namespace(&self) -> Option<&str> {
        let declared = self.attributes.iter().find(|(name, _)| match self.name.split_once(':') {
            Some((prefix, _)) => name.strip_prefix("xmlns:") == Some(prefix),
            None => name == "xmlns",
        });
        declared.map(|(_, uri)| uri.as_str())
    }

    fn hide_secrets(&mut self) {
        for (_, value) in self.attributes.iter_mut().filter(|(name, _)| is_secret(name)) {
            "***".clone_into(value);
        }
        for part in &mut self.content {
            if let Tree::Element(node) = part {
                node.hide_secrets();
            }
        }
    }
}
