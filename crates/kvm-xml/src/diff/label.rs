//! What tells an item of a list from the others.

use super::text;
use crate::element::{Element, Item};

/// What an item is called in a path: its key, else its number from 0.
pub(crate) fn label(item: Item<'_>, position: usize) -> String {
    key(item).unwrap_or_else(|| position.to_string())
}

/// The values that tell an item from the others, joined by colons; `None` if it has none.
///
/// [`Shape::key`](crate::element::Shape::key) names them: `a+b` takes all that are there, `a|b` the first that is.
pub(super) fn key(item: Item<'_>) -> Option<String> {
    let Item::Element(element) = item else { return None };
    element.shape().key.split('|').find_map(|paths| {
        let parts: Vec<String> = paths.split('+').flat_map(|path| values(element, path)).collect();
        (!parts.is_empty()).then(|| parts.join(":"))
    })
}

/// The value at the end of `path`, or all values of the element there.
fn values(element: &dyn Element, path: &str) -> Vec<String> {
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    let Some(index) = element.shape().position(step) else { return Vec::new() };
    match element.slot(index).item(0) {
        Some(Item::Element(child)) if rest.is_empty() => {
            child.shape().fields.iter().flat_map(|field| values(child, field.key)).collect()
        }
        Some(Item::Element(child)) => values(child, rest),
        Some(Item::Leaf(leaf)) => {
            let format = element.shape().fields.get(index).map(|field| field.format_in(element));
            let value = text(&leaf.scalar(), format.unwrap_or(crate::leaf::Format::PLAIN));
            // As the host's tools write it: 0000:01:00:0.
            vec![value.strip_prefix("0x").unwrap_or(&value).to_owned()]
        }
        Some(Item::Flag) | None => Vec::new(),
    }
}
