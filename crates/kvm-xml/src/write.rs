//! Writes a model as a document: one writer for all elements, through their tables.

use crate::compare::{is_set, unknown_nodes};
use crate::element::{Element, Field, Item, Place, bits};
use crate::extra::NODE;
use crate::parse::{end_of_tag, text_of, usual_order};

/// Writes `element` under the name `root`.
pub(crate) fn document(element: &dyn Element, root: &str) -> String {
    let mut writer = Writer { out: String::with_capacity(8192), namespaces: Vec::new() };
    writer.element(element, root, 0);
    writer.out
}

struct Writer {
    out: String,
    /// The namespace declarations in scope: prefix and name.
    namespaces: Vec<(String, String)>,
}

impl Writer {
    fn element(&mut self, element: &dyn Element, name: &str, depth: usize) {
        let shape = element.shape();
        let extra = element.extra();
        let set = element.held() | extra.spelt();
        let scope = self.namespaces.len();
        self.open(name, depth);
        for index in bits(set) {
            let Some(field) = shape.fields.get(index).filter(|field| field.place == Place::Attribute) else { break };
            let slot = element.slot(index);
            match (slot.item(0), extra.written_at(index, 0)) {
                (None, None) => {}
                (_, Some(text)) if slot.agrees(0, text, field.format_in(element)) => {
                    self.out.push_str(field.before);
                    escape(text, Place::Attribute, &mut self.out);
                    self.out.push('\'');
                }
                (Some(Item::Leaf(leaf)), _) => {
                    self.out.push_str(field.before);
                    self.leaf(leaf, field, element);
                    self.out.push('\'');
                }
                _ => {}
            }
        }
        for (key, value) in extra.attributes() {
            self.attribute(key, value);
            if let Some(prefix) = key.strip_prefix("xmlns:") {
                self.namespaces.push((prefix.to_owned(), value.clone()));
            }
        }
        if shape.namespaces {
            self.declare_namespaces(element);
        }
        let start = self.out.len();
        self.text(element);
        let inside = self.out.len();
        self.out.push('\n');
        self.children(element, set, depth + 1);
        if self.out.len() > inside + 1 {
            self.indent(depth);
            self.close(name);
        } else if inside > start + 1 {
            self.out.truncate(inside);
            self.close(name);
        } else {
            self.out.truncate(start);
            self.out.push_str("/>\n");
        }
        self.namespaces.truncate(scope);
    }

    /// Declares the namespaces that children of `element` need and nobody has declared.
    fn declare_namespaces(&mut self, element: &dyn Element) {
        for (index, field) in element.shape().fields.iter().enumerate() {
            let Some(namespace) = field.namespace else { continue };
            if element.slot(index).count() > 0 && !self.namespaces.iter().any(|(_, uri)| uri == namespace.uri) {
                let name = format!("xmlns:{}", namespace.prefix);
                self.attribute(&name, namespace.uri);
                self.namespaces.push((namespace.prefix.to_owned(), namespace.uri.to_owned()));
            }
        }
    }

    /// Ends the start tag and writes the element's own text.
    #[inline]
    fn text(&mut self, element: &dyn Element) {
        self.out.push('>');
        if let Some((index, field)) = element.shape().text_field() {
            let slot = element.slot(index);
            match (slot.item(0), element.extra().written_at(index, 0)) {
                (_, Some(text)) if slot.agrees(0, text, field.format) => escape(text, field.place, &mut self.out),
                (Some(Item::Leaf(leaf)), _) => self.leaf(leaf, field, element),
                _ => {}
            }
        }
    }

    /// Writes the children; `set` are the fields that hold something, or that something stands for.
    fn children(&mut self, element: &dyn Element, set: u128, depth: usize) {
        let shape = element.shape();
        let extra = element.extra();
        if !extra.order().is_empty() {
            let mut next = vec![0; shape.fields.len()];
            let mut nodes = extra.repeats();
            for step in merged_order(element) {
                if step == NODE {
                    let node = nodes.next().filter(|(field, _)| field.is_none_or(|field| is_set(element, field)));
                    node.into_iter().for_each(|(_, node)| self.raw(node.as_str(), depth));
                } else if let (Some(field), Some(item)) =
                    (shape.fields.get(usize::from(step)), next.get_mut(usize::from(step)))
                {
                    self.child(element, usize::from(step), field, *item, depth);
                    *item += 1;
                }
            }
            return;
        }
        for index in bits(set) {
            let Some(field) = shape.fields.get(index).filter(|field| field.place == Place::Child) else { continue };
            let mut item = 0;
            while self.child(element, index, field, item, depth) && field.many {
                item += 1;
            }
        }
        for node in unknown_nodes(element) {
            self.raw(node.as_str(), depth);
        }
    }

    /// Writes one item of a field, or what stood in its place when the field is empty; `false` past the last one.
    fn child(&mut self, element: &dyn Element, index: usize, field: &Field, item: usize, depth: usize) -> bool {
        let slot = element.slot(index);
        let found = slot.item(item);
        let written = element.extra().written_at(index, item).filter(|_| found.is_some() || item == 0);
        if let Some(raw) = written
            && text_of(raw).is_some_and(|text| slot.agrees(item, &text, field.format))
        {
            self.raw(raw, depth);
            return true;
        }
        let Some(found) = found else { return false };
        let name = self.qualified(field);
        match found {
            Item::Element(child) => self.element(child, &name, depth),
            Item::Flag => {
                self.open(&name, depth);
                self.out.push_str("/>\n");
            }
            Item::Leaf(leaf) => {
                self.open(&name, depth);
                // The value has changed, attributes that it had have not.
                self.out.push_str(written.map_or("", raw_attributes));
                self.out.push('>');
                let start = self.out.len();
                self.leaf(leaf, field, element);
                if self.out.len() > start {
                    self.close(&name);
                } else {
                    self.out.truncate(start - 1);
                    self.out.push_str("/>\n");
                }
            }
        }
        true
    }

    #[inline]
    fn leaf(&mut self, leaf: &dyn crate::element::Leaf, field: &Field, element: &dyn Element) {
        match leaf.scalar() {
            crate::leaf::Scalar::Str(text) => escape(text, field.place, &mut self.out),
            crate::leaf::Scalar::String(text) => escape(&text, field.place, &mut self.out),
            number => number.render(field.format_in(element), &mut self.out),
        }
    }

    #[inline]
    fn qualified(&self, field: &Field) -> std::borrow::Cow<'static, str> {
        let Some(namespace) = field.namespace else { return field.name.into() };
        let declared = self.namespaces.iter().rev().find(|(_, uri)| uri == namespace.uri);
        let prefix = declared.map_or(namespace.prefix, |(prefix, _)| prefix.as_str());
        format!("{prefix}:{}", field.name).into()
    }

    fn attribute(&mut self, name: &str, value: &str) {
        self.out.push(' ');
        self.out.push_str(name);
        self.out.push_str("='");
        escape(value, Place::Attribute, &mut self.out);
        self.out.push('\'');
    }

    #[inline]
    fn raw(&mut self, xml: &str, depth: usize) {
        self.indent(depth);
        self.out.push_str(xml);
        self.out.push('\n');
    }

    #[inline]
    fn open(&mut self, name: &str, depth: usize) {
        self.indent(depth);
        self.out.push('<');
        self.out.push_str(name);
    }

    #[inline]
    fn close(&mut self, name: &str) {
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push_str(">\n");
    }

    #[inline]
    fn indent(&mut self, depth: usize) {
        const SPACES: &str = "                                ";
        let mut spaces = depth * 2;
        while spaces > 0 {
            let part = spaces.min(SPACES.len());
            self.out.push_str(SPACES.get(..part).unwrap_or_default());
            spaces -= part;
        }
    }
}

/// The order of the children as it was read, with what has been added and without what has been removed.
fn merged_order(element: &dyn Element) -> Vec<u16> {
    let usual = usual_order(element);
    let mut left: Vec<usize> = vec![0; element.shape().fields.len()];
    let mut nodes = 0_usize;
    for &step in &usual {
        match left.get_mut(usize::from(step)) {
            Some(count) => *count += 1,
            None => nodes += 1,
        }
    }
    let mut order = Vec::with_capacity(usual.len());
    for &step in element.extra().order() {
        let count = left.get_mut(usize::from(step)).unwrap_or(&mut nodes);
        if *count > 0 {
            *count -= 1;
            order.push(step);
        }
    }
    // What is new comes after the last of its kind, or else before the first that is usually behind it.
    let mut place = |step: u16, count: usize| {
        let after = order.iter().rposition(|&other| other == step).map(|index| index + 1);
        let place =
            after.or_else(|| order.iter().position(|&other| other != NODE && other > step)).unwrap_or(order.len());
        order.splice(place..place, std::iter::repeat_n(step, count));
    };
    for (index, count) in left.into_iter().enumerate() {
        if count > 0 {
            place(u16::try_from(index).unwrap_or(NODE), count);
        }
    }
    if nodes > 0 {
        place(NODE, nodes);
    }
    order
}

/// The attributes of a kept element, with the space before them.
fn raw_attributes(xml: &str) -> &str {
    let rest = xml.trim_start_matches(|character: char| !character.is_ascii_whitespace() && character != '>');
    end_of_tag(rest).and_then(|end| rest.get(..end)).unwrap_or_default().trim_end_matches('/').trim_ascii_end()
}

/// Escapes as libvirt does, which makes no difference between quotes in attributes and in texts.
#[inline]
pub(crate) fn escape(text: &str, place: Place, out: &mut String) {
    if place != Place::Attribute && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_whitespace()) {
        // As it is it would be taken for layout.
        return text.bytes().for_each(|byte| out.push_str(&format!("&#{byte};")));
    }
    // Most texts stand for themselves. No early end, so that the compiler can look at many bytes at once.
    let special = |byte: u8| matches!(byte, b'&' | b'<' | b'>' | b'\'' | b'"' | b'\r' | b'\n' | b'\t');
    if !text.bytes().fold(false, |found, byte| found | special(byte)) {
        return out.push_str(text);
    }
    let mut from = 0;
    for (index, byte) in text.bytes().enumerate() {
        let reference = match byte {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'\'' => "&apos;",
            b'"' => "&quot;",
            b'\r' => "&#13;",
            // A line end or a tab in an attribute would be read back as a space.
            b'\n' if place == Place::Attribute => "&#10;",
            b'\t' if place == Place::Attribute => "&#9;",
            _ => continue,
        };
        out.push_str(text.get(from..index).unwrap_or_default());
        out.push_str(reference);
        from = index + 1;
    }
    out.push_str(text.get(from..).unwrap_or_default());
}
