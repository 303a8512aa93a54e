//! Reads a document into a model: one parser for all elements, through their tables.

mod source;
mod text;

pub(crate) use text::{Attributes, end_of_tag, is_name, unescape};

use crate::compare::mark_repeats;
use crate::document::{ParseOptions, Unknown};
use crate::element::{Element, Field, Item, Kind, Place, Shape, bits};
use crate::error::{XmlError, list, quote};
use crate::extra::NODE;
use crate::fragment::Fragment;
use crate::leaf::{Expected, Format, Spelling};
use source::{Source, Tag, Token, split_prefix, twice};
use std::borrow::Cow;

/// Reads `text`, whose outermost element must be `root`, into `target`.
pub(crate) fn document(
    target: &mut dyn Element,
    root: &str,
    text: &str,
    options: &ParseOptions,
) -> Result<(), XmlError> {
    let mut source = Source::new(text, options)?;
    let tag = loop {
        match source.token()? {
            Token::Start => break source.tag(),
            Token::Aside => {}
            Token::Text if source.take_text().trim_ascii().is_empty() => {}
            Token::Text => return Err(source.error("text before the document's element")),
            Token::End | Token::Eof => return Err(source.error("there is no element")),
        }
    };
    if tag.name != root {
        return Err(source.error(format!("the document is a {}, not a '{root}'", quote(tag.name))));
    }
    let default_namespaces = source.has_default_namespace();
    let strict = options.unknown == Unknown::Refuse;
    let mut parser = Parser { source, strict, room: options.max_elements(), default_namespaces };
    parser.element(target, &tag).map_err(|error| error.within(root))?;
    loop {
        match parser.source.token()? {
            Token::Aside => {}
            Token::Text if parser.source.take_text().trim_ascii().is_empty() => {}
            Token::Eof => return Ok(()),
            _ => return Err(parser.source.error("something after the document's element")),
        }
    }
}

/// Checks that `text` is one piece of XML.
pub(crate) fn fragment(text: &str, options: &ParseOptions) -> Result<(), XmlError> {
    let text = text.trim();
    let mut source = Source::new(text, options)?;
    match source.token()? {
        Token::Start => {
            let tag = source.tag();
            source.skip(&tag)?;
        }
        Token::Aside => {}
        // A text may be cut in several tokens.
        Token::Text => loop {
            match source.token()? {
                Token::Text => {}
                Token::Eof => return Ok(()),
                _ => return Err(source.error("a text with markup in it")),
            }
        },
        Token::End | Token::Eof => return Err(source.error("there is no element")),
    }
    match source.token()? {
        Token::Eof => Ok(()),
        _ => Err(source.error("something after the element")),
    }
}

/// The elements right below the one that `text` is, each with the declarations that it needs; none when it cannot be read.
pub(crate) fn children(text: &str) -> Vec<Cow<'_, str>> {
    let mut found = Vec::new();
    // What was read up to something broken is no answer.
    if gather_children(text, &mut found).is_err() {
        found.clear();
    }
    found
}

fn gather_children<'a>(text: &'a str, found: &mut Vec<Cow<'a, str>>) -> Result<(), XmlError> {
    let mut source = Source::new(text, &ParseOptions::LENIENT)?;
    let Token::Start = source.token()? else { return Ok(()) };
    let whole = source.tag();
    source.attributes(&whole, |_, _| Ok(()))?;
    if whole.empty {
        return Ok(());
    }
    loop {
        match source.token()? {
            Token::Start => {
                let child = source.tag();
                found.push(source.keep(&child, |source| source.skip(&child))?.1);
            }
            Token::End | Token::Eof => return Ok(()),
            Token::Text | Token::Aside => {}
        }
    }
}

/// The text of an element that has only text: what a field held when `xml` was read.
pub(crate) fn text_of(xml: &str) -> Option<String> {
    let mut source = Source::new(xml, &ParseOptions { max_bytes: usize::MAX, ..ParseOptions::LENIENT }).ok()?;
    let mut text = String::new();
    loop {
        let token = source.token().ok()?;
        text.push_str(&source.take_blank());
        match token {
            Token::Text => text.push_str(&source.take_text()),
            Token::Eof => return Some(text),
            _ => {}
        }
    }
}

struct Parser<'a> {
    source: Source<'a>,
    strict: bool,
    /// How many more elements with fields of their own there may be: `<disk/>` is seven bytes, and a struct of thousands.
    room: usize,
    default_namespaces: bool,
}

/// The children met so far, while one element is read.
#[derive(Default)]
struct Children {
    /// The field of the last child.
    last: u16,
    any: bool,
    /// All of them in order, once they are not in the order of the table.
    order: Option<Vec<u16>>,
}

/// Text of an element while it is gathered.
#[derive(Default)]
struct Pending<'a> {
    text: Cow<'a, str>,
    start: usize,
    end: usize,
}

impl<'a> Parser<'a> {
    /// Reads the element that `tag` opens. The depth of the recursion is bounded by the source.
    fn element(&mut self, target: &mut dyn Element, tag: &Tag<'a>) -> Result<(), XmlError> {
        self.attributes(target, tag)?;
        if tag.empty {
            self.source.close();
            return Ok(());
        }
        let shape = target.shape();
        let mut children = Children::default();
        let mut pending = Pending::default();
        loop {
            match self.source.token()? {
                Token::Text => self.gather(&mut pending),
                Token::Start => {
                    let child = self.source.tag();
                    self.gather_blank(&mut pending);
                    self.text(target, &mut pending, &mut children, false)?;
                    self.child(target, shape, &child, &mut children).map_err(|error| error.within(child.name))?;
                }
                Token::Aside => {
                    self.gather_blank(&mut pending);
                    self.text(target, &mut pending, &mut children, false)?;
                    self.keep(target, self.source.raw(), &mut children);
                }
                Token::End => break,
                Token::Eof => return Err(self.source.unfinished(tag.name)),
            }
        }
        self.gather_blank(&mut pending);
        self.text(target, &mut pending, &mut children, true)?;
        if let Some(order) = children.order {
            target.extra_mut().set_order(order);
        }
        mark_repeats(target);
        Ok(())
    }

    fn attributes(&mut self, target: &mut dyn Element, tag: &Tag<'a>) -> Result<(), XmlError> {
        if tag.attributes.is_empty() {
            return Ok(());
        }
        let shape = target.shape();
        let strict = self.strict;
        let (mut seen, mut plain) = (0_u128, 0_u128);
        let mut next = 0;
        self.source.attributes(tag, |name, value| {
            let Some(index) = shape.attribute(name, next) else {
                return unknown_attribute(target, name, value, strict);
            };
            next = index + 1;
            if seen & (1 << index) != 0 {
                return Err(twice(name));
            }
            seen |= 1 << index;
            let Some(field) = shape.fields.get(index) else { return Ok(()) };
            let format = field.format_in(target);
            if format.plain {
                plain |= 1 << index;
            }
            if strict {
                field.check(&value).map_err(|expected| XmlError::value(&value, expected).within(name))?;
            }
            match target.slot_mut(index).read(&value, format) {
                Ok(Spelling::Usual) => {}
                Ok(Spelling::Odd) => target.extra_mut().push_written(index, 0, &value),
                Err(expected) if strict => return Err(XmlError::value(&value, expected).within(name)),
                Err(_) => target.extra_mut().push_written(index, 0, &value),
            }
            Ok(())
        })?;
        // An attribute may come before the one that makes it hexadecimal; then its spelling must be kept.
        for index in bits(plain) {
            let Some(field) = shape.fields.get(index) else { break };
            if !field.format_in(target).plain && target.extra().written_at(index, 0).is_none() {
                let mut text = String::new();
                if let Some(Item::Leaf(leaf)) = target.slot(index).item(0) {
                    leaf.scalar().render(Format::PLAIN, &mut text);
                    target.extra_mut().push_written(index, 0, &text);
                }
            }
        }
        Ok(())
    }

    fn child(
        &mut self,
        target: &mut dyn Element,
        shape: &Shape,
        tag: &Tag<'a>,
        children: &mut Children,
    ) -> Result<(), XmlError> {
        let Some((index, field)) = self.field(shape, tag, children)? else {
            if self.strict && !shape.open {
                let names = shape.fields.iter().filter(|field| field.place == Place::Child).map(|field| field.name);
                return Err(self.source.error(format!("unknown element; the one around it may have {}", list(names))));
            }
            return self.unknown(target, tag, children);
        };
        let number = u16::try_from(index).unwrap_or(NODE);
        if field.kind == Kind::Element {
            let Some(room) = self.room.checked_sub(1) else {
                return Err(self.source.error("more elements than a document of libvirt's has"));
            };
            self.room = room;
            return match target.slot_mut(index).open() {
                Some(child) => {
                    self.element(child, tag)?;
                    children.met(target, number);
                    Ok(())
                }
                None if self.strict => Err(self.source.error("the element is there twice")),
                None => self.unknown(target, tag, children),
            };
        }
        self.leaf(target, index, field, tag, children)
    }

    /// Reads a child element that is a leaf or a flag.
    fn leaf(
        &mut self,
        target: &mut dyn Element,
        index: usize,
        field: &Field,
        tag: &Tag<'a>,
        children: &mut Children,
    ) -> Result<(), XmlError> {
        let strict = self.strict;
        let (content, raw) = self.source.keep(tag, |source| leaf_content(source, tag, strict))?;
        let LeafContent { text, odd, nested } = content;
        if nested {
            self.keep(target, &raw, children);
            return Ok(());
        }
        if strict {
            let wrong = |expected| self.source.error_at(XmlError::value(&text, expected), tag.start);
            field.check(&text).map_err(wrong)?;
        }
        // The first is the one that counts, also when its value is unknown.
        if !field.many && target.slot(index).count() == 0 && target.extra().written_at(index, 0).is_some() {
            self.keep(target, &raw, children);
            return Ok(());
        }
        match target.slot_mut(index).read(&text, field.format) {
            Ok(spelling) => {
                if odd || spelling == Spelling::Odd {
                    let item = target.slot(index).count().saturating_sub(1);
                    target.extra_mut().push_written(index, item, &raw);
                }
            }
            Err(expected) if strict => {
                return Err(self.source.error_at(XmlError::value(&text, expected), tag.start));
            }
            // One value of an unknown kind has its place in the model; a second one, or one in a list, has not.
            Err(expected) if expected != Expected::Once && !field.many => {
                target.extra_mut().push_written(index, 0, &raw);
            }
            Err(_) => {
                self.keep(target, &raw, children);
                return Ok(());
            }
        }
        children.met(target, u16::try_from(index).unwrap_or(NODE));
        Ok(())
    }

    /// The field that a child element belongs to.
    fn field<'s>(
        &mut self,
        shape: &'s Shape,
        tag: &Tag<'a>,
        children: &Children,
    ) -> Result<Option<(usize, &'s Field)>, XmlError> {
        if self.default_namespaces && Attributes::new(tag.attributes).flatten().any(|other| other.name == "xmlns") {
            return Ok(None);
        }
        let next = usize::from(children.last);
        let mut index = shape.child(tag.name, next, |field| field.namespace.is_none());
        if index.is_none()
            && let Some((prefix, local)) = split_prefix(tag.name)
        {
            // The tag itself may declare the prefix, which does not take effect before its attributes are read.
            let mut own = Attributes::new(tag.attributes).flatten();
            let uri = match own.find(|other| other.name.strip_prefix("xmlns:") == Some(prefix)) {
                Some(declaration) => declaration.value,
                None => match self.source.namespace(prefix) {
                    Ok(uri) => uri,
                    Err(_) => return Ok(None),
                },
            };
            index = shape.child(local, next, |field| field.namespace.is_some_and(|namespace| namespace.uri == uri));
        }
        Ok(index.and_then(|index| shape.fields.get(index).map(|field| (index, field))))
    }

    /// Adds a piece of text.
    fn gather(&mut self, pending: &mut Pending<'a>) {
        let text = self.source.take_text();
        if pending.text.is_empty() {
            *pending = Pending { text, start: self.source.start(), end: 0 };
        } else {
            pending.text.to_mut().push_str(&text);
        }
        pending.end = self.source.start() + self.source.raw().len();
    }

    /// Adds the white space between a text and markup; where there is no text it only lays the document out.
    #[inline]
    fn gather_blank(&mut self, pending: &mut Pending<'a>) {
        if !pending.text.is_empty() {
            let blank = self.source.take_blank();
            if !blank.is_empty() {
                pending.text.to_mut().push_str(&blank);
                pending.end = self.source.start();
            }
        }
    }

    /// Puts the text gathered so far where it belongs: nowhere if it is only white space between elements.
    fn text(
        &mut self,
        target: &mut dyn Element,
        pending: &mut Pending<'a>,
        children: &mut Children,
        last: bool,
    ) -> Result<(), XmlError> {
        if pending.text.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(pending);
        if pending.text.trim_ascii().is_empty() {
            return Ok(());
        }
        let shape = target.shape();
        let raw = self.source.since(pending.start);
        let raw = raw.get(..pending.end - pending.start).unwrap_or(raw);
        match shape.text_field() {
            Some((index, field)) if !children.any => {
                let text = if last { &*pending.text } else { without_indentation(&pending.text) };
                if self.strict {
                    let wrong = |expected| self.source.error_at(XmlError::value(text, expected), pending.start);
                    field.check(text).map_err(wrong)?;
                }
                match target.slot_mut(index).read(text, field.format) {
                    Ok(Spelling::Usual) => {}
                    Err(expected) if self.strict => {
                        return Err(self.source.error_at(XmlError::value(text, expected), pending.start));
                    }
                    Ok(Spelling::Odd) | Err(_) => target.extra_mut().push_written(index, 0, text),
                }
            }
            _ if self.strict => {
                return Err(self.source.error_at(
                    XmlError::new(format!("text {} where only elements may be", quote(&pending.text))),
                    pending.start,
                ));
            }
            _ => self.keep(target, raw.trim_ascii(), children),
        }
        Ok(())
    }

    /// Reads past a child element that no field stands for, and keeps it.
    fn unknown(&mut self, target: &mut dyn Element, tag: &Tag<'a>, children: &mut Children) -> Result<(), XmlError> {
        let ((), raw) = self.source.keep(tag, |source| source.skip(tag))?;
        self.keep(target, &raw, children);
        Ok(())
    }

    fn keep(&self, target: &mut dyn Element, raw: &str, children: &mut Children) {
        target.extra_mut().push_fragment(Fragment::checked(raw));
        children.met(target, NODE);
    }
}

/// What is inside an element that should have only text.
struct LeafContent<'a> {
    text: Cow<'a, str>,
    /// Whether there are attributes or comments.
    odd: bool,
    /// Whether there are elements.
    nested: bool,
}

fn leaf_content<'a>(source: &mut Source<'a>, tag: &Tag<'a>, strict: bool) -> Result<LeafContent<'a>, XmlError> {
    let mut content =
        LeafContent { text: Cow::Borrowed(""), odd: !tag.attributes.trim_ascii().is_empty(), nested: false };
    if content.odd {
        let mut names: Vec<&str> = Vec::new();
        source.attributes(tag, |name, _| {
            if !is_name(name) {
                return Err(XmlError::new(format!("{} is not a name", quote(name))));
            }
            if names.contains(&name) {
                return Err(twice(name));
            }
            if strict && !name.starts_with("xmlns:") {
                return Err(XmlError::new(format!("unknown attribute {}; it may have none", quote(name))));
            }
            names.push(name);
            Ok(())
        })?;
    }
    // Text that is kept declares the prefix of its own name too.
    if let Some((prefix, _)) = split_prefix(tag.name) {
        source.namespace(prefix)?;
    }
    if tag.empty {
        source.close();
        return Ok(content);
    }
    loop {
        let token = source.token()?;
        let blank = source.take_blank();
        if !blank.is_empty() {
            content.text = std::mem::take(&mut content.text) + blank;
        }
        match token {
            Token::Text if content.text.is_empty() => content.text = source.take_text(),
            Token::Text => content.text.to_mut().push_str(&source.take_text()),
            Token::Aside => content.odd = true,
            Token::Start if strict => {
                let error = source.error("unknown element; the one around it has only text");
                return Err(error.within(source.tag().name));
            }
            Token::Start => {
                let child = source.tag();
                source.skip(&child)?;
                content.nested = true;
            }
            Token::End => return Ok(content),
            Token::Eof => return Err(source.unfinished(tag.name)),
        }
    }
}

/// A text in front of child elements, without the line ends and spaces that only lay them out.
fn without_indentation(text: &str) -> &str {
    let start = text.len() - text.trim_ascii_start().len();
    let text = if text.get(..start).is_some_and(|space| space.contains('\n')) { text.trim_ascii_start() } else { text };
    match text.rsplit_once('\n') {
        Some((before, space)) if space.trim_ascii().is_empty() => before,
        _ => text,
    }
}

impl Children {
    /// Notes a child that has just been added to `target`.
    #[inline]
    fn met(&mut self, target: &dyn Element, field: u16) {
        self.any = true;
        if let Some(order) = &mut self.order {
            order.push(field);
        } else if field < self.last {
            let mut order = usual_order(target);
            if let Some(here) = order.iter().rposition(|&step| step == field) {
                order.remove(here);
            }
            order.push(field);
            self.order = Some(order);
        }
        self.last = field;
    }
}

/// The children of an element in the order of its table, unknown nodes last.
pub(crate) fn usual_order(element: &dyn Element) -> Vec<u16> {
    let shape = element.shape();
    let mut order = Vec::new();
    for (index, field) in shape.fields.iter().enumerate().skip(shape.attributes) {
        if field.place == Place::Child {
            let count = element.slot(index).count();
            // A value of an unknown kind stands in its field's place.
            let count = if count == 0 && element.extra().written_at(index, 0).is_some() { 1 } else { count };
            order.extend(std::iter::repeat_n(u16::try_from(index).unwrap_or(NODE), count));
        }
    }
    order.extend(std::iter::repeat_n(NODE, element.extra().nodes().len()));
    order
}

fn unknown_attribute(target: &mut dyn Element, name: &str, value: Cow<'_, str>, strict: bool) -> Result<(), XmlError> {
    if !is_name(name) {
        return Err(XmlError::new(format!("{} is not a name", quote(name))));
    }
    if target.extra().attributes().iter().any(|(known, _)| known == name) {
        return Err(twice(name));
    }
    if strict && name != "xmlns" && !name.starts_with("xmlns:") {
        let shape = target.shape();
        let names = shape.fields.iter().take(shape.attributes).map(|field| field.name);
        let may = if shape.attributes == 0 { "none".to_owned() } else { list(names) };
        return Err(XmlError::new(format!("unknown attribute {}; it may have {may}", quote(name))));
    }
    target.extra_mut().push_attribute(name, value.into_owned());
    Ok(())
}
