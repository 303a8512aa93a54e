//! What a document holds beside the fields that this crate knows.

use crate::fragment::Fragment;
use std::collections::BTreeMap;

/// What an element had in its document that is not one of its fields, kept so that it is written back.
///
/// One pointer wide while it is empty, which it nearly always is. It keeps
/// - attributes and child elements that no field stands for, comments included, at their place;
/// - an element that is there twice and may be there once: written back as long as the field holds the first;
/// - how a value was spelt, when that is not how this crate would write it (`0x0`, ` 5`): written back as long as the
///   field still has that value;
/// - a value that the field's type does not know: written back as long as the field is empty;
/// - the order of the children, when it is not the usual one.
///
/// Comparing two elements compares the first two of these and the unknown values: what a document says, not how it says
/// it.
#[derive(Clone, Default)]
pub struct Extra(Option<Box<Content>>);

#[derive(Clone, Default)]
struct Content {
    attributes: Vec<(String, String)>,
    nodes: Vec<Fragment>,
    /// Nodes that repeat what a field holds, by position, with the field.
    repeats: BTreeMap<usize, usize>,
    order: Vec<u16>,
    /// By field and item: the text of a leaf as it stood in the document. The value of an attribute or of the element's
    /// own text, the whole element otherwise.
    written: BTreeMap<(u16, u32), Box<str>>,
}

/// Stands for the next unknown node in the order of the children; other numbers are fields.
pub(crate) const NODE: u16 = u16::MAX;

impl Extra {
    /// An empty one.
    pub const NONE: Self = Self(None);

    /// Whether there is nothing.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Attributes that no field stands for, namespace declarations included, as name and value.
    #[must_use]
    #[inline]
    pub fn attributes(&self) -> &[(String, String)] {
        self.0.as_ref().map_or(&[], |content| &content.attributes)
    }

    /// Child elements, comments and texts that no field stands for.
    #[must_use]
    #[inline]
    pub fn nodes(&self) -> &[Fragment] {
        self.0.as_ref().map_or(&[], |content| &content.nodes)
    }

    /// Adds a child element or a comment after all others.
    pub fn push_node(&mut self, node: Fragment) {
        let content = self.content();
        if !content.order.is_empty() {
            content.order.push(NODE);
        }
        content.nodes.push(node);
    }

    /// Keeps the nodes for which `keep` says so.
    pub fn retain_nodes(&mut self, mut keep: impl FnMut(&Fragment) -> bool) {
        let Some(content) = &mut self.0 else { return };
        let kept: Vec<bool> = content.nodes.iter().map(&mut keep).collect();
        let mut node = kept.iter();
        content.order.retain(|&step| step != NODE || node.next().copied().unwrap_or(false));
        let mut node = kept.iter();
        content.nodes.retain(|_| node.next().copied().unwrap_or(true));
        let repeats = std::mem::take(&mut content.repeats).into_iter();
        let left = |position: usize| kept.iter().take(position).filter(|kept| **kept).count();
        let kept_ones = repeats.filter(|(position, _)| kept.get(*position) == Some(&true));
        content.repeats = kept_ones.map(|(position, field)| (left(position), field)).collect();
    }

    /// All nodes, each with the field that it repeats.
    pub(crate) fn repeats(&self) -> impl Iterator<Item = (Option<usize>, &Fragment)> {
        let content = self.0.iter();
        let all = content.flat_map(|content| content.nodes.iter().enumerate().map(move |node| (content, node)));
        all.map(|(content, (position, node))| (content.repeats.get(&position).copied(), node))
    }

    #[inline]
    pub(crate) fn order(&self) -> &[u16] {
        self.0.as_ref().map_or(&[], |content| &content.order)
    }

    /// How items were spelt: field, item and text.
    #[cfg(feature = "serde")]
    pub(crate) fn written(&self) -> impl Iterator<Item = (usize, usize, &str)> {
        let all = self.0.iter().flat_map(|content| &content.written);
        all.map(|((field, item), text)| (usize::from(*field), *item as usize, &**text))
    }

    /// How an item of a field was spelt.
    #[inline]
    pub(crate) fn written_at(&self, field: usize, item: usize) -> Option<&str> {
        let content = self.0.as_ref()?;
        content.written.get(&(u16::try_from(field).ok()?, u32::try_from(item).ok()?)).map(|text| &**text)
    }

    /// The fields of which the first item, or what stands for it, was spelt in a way of its own: one bit each.
    #[inline]
    pub(crate) fn spelt(&self) -> u128 {
        let Some(content) = &self.0 else { return 0 };
        let first = content.written.keys().filter(|(_, item)| *item == 0);
        first.fold(0, |set, (field, _)| set | 1_u128.checked_shl(u32::from(*field)).unwrap_or(0))
    }

    pub(crate) fn push_attribute(&mut self, name: &str, value: String) {
        self.content().attributes.push((name.to_owned(), value));
    }

    pub(crate) fn set_order(&mut self, order: Vec<u16>) {
        self.content().order = order;
    }

    pub(crate) fn push_fragment(&mut self, node: Fragment) {
        self.content().nodes.push(node);
    }

    pub(crate) fn set_repeats(&mut self, repeats: BTreeMap<usize, usize>) {
        if !repeats.is_empty() {
            self.content().repeats = repeats;
        }
    }

    pub(crate) fn push_written(&mut self, field: usize, item: usize, text: &str) {
        if let (Ok(field), Ok(item)) = (u16::try_from(field), u32::try_from(item)) {
            self.content().written.insert((field, item), text.into());
        }
    }

    pub(crate) fn retain_attributes(&mut self, keep: impl Fn(&str) -> bool) {
        if let Some(content) = &mut self.0 {
            content.attributes.retain(|(name, _)| keep(name));
        }
    }

    pub(crate) fn forget_written(&mut self, field: usize) {
        if let Some(content) = &mut self.0 {
            content.written.retain(|(entry, _), _| usize::from(*entry) != field);
        }
    }

    fn content(&mut self) -> &mut Content {
        self.0.get_or_insert_default()
    }
}
