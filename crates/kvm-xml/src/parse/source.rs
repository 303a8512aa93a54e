//! Cuts a document into tags and texts and checks that it is well-formed; the tokenizer underneath is lenient.

use super::text::{self, Attributes};
use crate::document::ParseOptions;
use crate::error::{XmlError, quote};
use quick_xml::Reader;
use quick_xml::events::Event;
use std::borrow::Cow;

/// A document being read.
pub(crate) struct Source<'a> {
    text: &'a str,
    reader: Reader<&'a [u8]>,
    /// Whether there are line ends other than `\n`, and whether there is `]]>`; most documents have neither.
    line_ends: bool,
    section_ends: bool,
    /// Where the last token starts.
    start: usize,
    /// The white space before the last token, if that is markup. Nearly all texts only lay the document out; the
    /// tokenizer jumps over them, and whoever needs them finds them here.
    blank: &'a str,
    /// The last text, with its references resolved.
    content: Cow<'a, str>,
    /// How long the name of the last start tag is, and whether the tag is an end tag too.
    name: usize,
    empty: bool,
    max_depth: usize,
    /// The namespace declarations in scope, with the depth of their element.
    namespaces: Vec<(usize, &'a str, Cow<'a, str>)>,
    depth: usize,
    /// While an element is read that will be kept as text: how many declarations stand outside of it, and the prefixes
    /// that it takes from them.
    outside: Option<usize>,
    borrowed: Vec<&'a str>,
}

/// What the last token was. What it says is asked for with [`Source::tag`] and [`Source::take_text`]: returning it by
/// value would copy it several times, which takes as long as finding it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Start,
    End,
    Text,
    /// A comment or a processing instruction.
    Aside,
    Eof,
}

/// A start tag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tag<'a> {
    /// The name, prefix included.
    pub(crate) name: &'a str,
    /// The text after the name.
    pub(crate) attributes: &'a str,
    /// Whether it is an end tag too.
    pub(crate) empty: bool,
    /// Where it starts.
    pub(crate) start: usize,
}

/// No element of libvirt's has a tenth as many; checking for doubles takes the square of it.
const MAX_ATTRIBUTES: usize = 256;
/// Each name with a prefix searches the declarations in scope.
const MAX_NAMESPACES: usize = 256;

impl<'a> Source<'a> {
    pub(crate) fn new(text: &'a str, options: &ParseOptions) -> Result<Self, XmlError> {
        if text.len() > options.max_bytes {
            return Err(XmlError::new(format!(
                "the document has {} bytes, more than {}",
                text.len(),
                options.max_bytes
            )));
        }
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        if let Some(offset) = text::forbidden(text) {
            return Err(XmlError::new("a character that XML does not allow").at(text, offset));
        }
        let mut reader = Reader::from_str(text);
        reader.config_mut().check_comments = true;
        reader.config_mut().trim_text_start = true;
        Ok(Self {
            text,
            reader,
            line_ends: memchr::memchr(b'\r', text.as_bytes()).is_some(),
            section_ends: memchr::memmem::find(text.as_bytes(), b"]]>").is_some(),
            start: 0,
            blank: "",
            content: Cow::Borrowed(""),
            name: 0,
            empty: false,
            max_depth: options.max_depth,
            namespaces: Vec::new(),
            depth: 0,
            outside: None,
            borrowed: Vec::new(),
        })
    }

    /// The next token. Tags are counted: an end that is missing or too many is an error.
    pub(crate) fn token(&mut self) -> Result<Token, XmlError> {
        let from = self.position();
        let event = self.reader.read_event();
        // Tags tell how long they are. Looking for the end of the white space again would take longer.
        let tag = match &event {
            Ok(Event::Start(tag)) => Some(tag.len() + "<>".len()),
            Ok(Event::Empty(tag)) => Some(tag.len() + "</>".len()),
            _ => None,
        };
        self.blank = match tag {
            Some(length) => self.text.get(from..self.position().saturating_sub(length)).unwrap_or_default(),
            None => {
                let before = self.text.get(from..).unwrap_or_default();
                before.get(..before.len() - before.trim_ascii_start().len()).unwrap_or_default()
            }
        };
        self.start = from + self.blank.len();
        let event = match &event {
            Ok(event) => event,
            Err(error) => return Err(self.error(quote(&error.to_string()).trim_matches('\'').to_owned())),
        };
        match event {
            Event::Start(tag) => self.open(tag.name().0.len(), false),
            Event::Empty(tag) => self.open(tag.name().0.len(), true),
            Event::End(_) => {
                self.close();
                Ok(Token::End)
            }
            Event::Text(_) => {
                let text = self.since(from);
                if self.section_ends && text.contains("]]>") {
                    return Err(self.error("']]>' in a text"));
                }
                self.text_token(text, from)
            }
            Event::CData(_) => {
                let inner = self.raw().strip_prefix("<![CDATA[").and_then(|raw| raw.strip_suffix("]]>"));
                self.text_token(inner.unwrap_or_default(), from)
            }
            Event::GeneralRef(name) => {
                let character = text::reference(name).map_err(|message| self.error(message))?;
                let blank = self.take_blank();
                self.start = from;
                self.content = Cow::Owned(format!("{blank}{character}"));
                Ok(Token::Text)
            }
            Event::Comment(_) | Event::PI(_) => Ok(Token::Aside),
            Event::Decl(declaration) => {
                if self.start > 0 {
                    return Err(self.error("an XML declaration comes first"));
                }
                let encoding = declaration.encoding().and_then(Result::ok).unwrap_or(Cow::Borrowed("utf-8"));
                if !["utf-8", "utf8", "us-ascii", "ascii"].contains(&encoding.to_ascii_lowercase().as_str()) {
                    return Err(self.error(format!("the encoding is UTF-8, not {}", quote(&encoding))));
                }
                Ok(Token::Aside)
            }
            Event::DocType(_) => Err(self.error("a document type is not allowed")),
            Event::Eof => Ok(Token::Eof),
        }
    }

    /// Keeps `text` as the last text; it was read from offset `from` on.
    fn text_token(&mut self, text: &'a str, from: usize) -> Result<Token, XmlError> {
        let text = if self.line_ends { text::line_ends(text) } else { Cow::Borrowed(text) };
        // A text has its white space with it, a section of text has not.
        let blank = if self.raw().starts_with('<') { self.take_blank() } else { Cow::Borrowed("") };
        self.content = blank + text;
        self.blank = "";
        self.start = from;
        Ok(Token::Text)
    }

    #[inline]
    fn open(&mut self, name: usize, empty: bool) -> Result<Token, XmlError> {
        self.name = name;
        self.empty = empty;
        self.depth += 1;
        if self.depth > self.max_depth {
            return Err(self.error(format!("elements are nested more than {} deep", self.max_depth)));
        }
        Ok(Token::Start)
    }

    /// The start tag that was the last token.
    #[inline]
    pub(crate) fn tag(&self) -> Tag<'a> {
        let raw = self.raw();
        let end = raw.len().saturating_sub(if self.empty { 2 } else { 1 });
        let inner = raw.get(1..end).unwrap_or_default();
        let (name, attributes) = inner.split_at_checked(self.name).unwrap_or((inner, ""));
        Tag { name, attributes, empty: self.empty, start: self.start }
    }

    /// The white space between the last token and the one before it, if the last one is markup.
    #[inline]
    pub(crate) fn take_blank(&mut self) -> Cow<'a, str> {
        let blank = std::mem::take(&mut self.blank);
        if self.line_ends { text::line_ends(blank) } else { Cow::Borrowed(blank) }
    }

    /// The text that was the last token, with its references resolved.
    #[inline]
    pub(crate) fn take_text(&mut self) -> Cow<'a, str> {
        std::mem::take(&mut self.content)
    }

    /// Ends the scope of the element that is read; an empty tag has no end token, so its reader calls this.
    #[inline]
    pub(crate) fn close(&mut self) {
        while self.namespaces.last().is_some_and(|(depth, ..)| *depth >= self.depth) {
            self.namespaces.pop();
        }
        self.depth = self.depth.saturating_sub(1);
    }

    /// The attributes of a tag with their values resolved; namespace declarations take effect.
    pub(crate) fn attributes(
        &mut self,
        tag: &Tag<'a>,
        mut each: impl FnMut(&'a str, Cow<'a, str>) -> Result<(), XmlError>,
    ) -> Result<(), XmlError> {
        let mut count = 0;
        let mut prefixed = false;
        for attribute in Attributes::new(tag.attributes) {
            let attribute = attribute.map_err(|message| self.error(message))?;
            let name = attribute.name;
            let value = if attribute.escaped {
                text::unescape(attribute.value).map_err(|message| self.error(message))?
            } else {
                Cow::Borrowed(attribute.value)
            };
            count += 1;
            if count > MAX_ATTRIBUTES {
                return Err(self.error(format!("an element with more than {MAX_ATTRIBUTES} attributes")));
            }
            if let Some((prefix, local)) = split_prefix(name) {
                if prefix == "xmlns" {
                    if self.namespaces.len() >= MAX_NAMESPACES {
                        return Err(self.error(format!("more than {MAX_NAMESPACES} namespaces at once")));
                    }
                    self.namespaces.push((self.depth, local, value.clone()));
                } else {
                    prefixed = true;
                }
            }
            each(name, value).map_err(|error| error.at(self.text, self.start))?;
        }
        // A prefix may be declared by a later attribute of the same tag.
        if prefixed {
            for name in Attributes::new(tag.attributes)
                .flatten()
                .map(|attribute| attribute.name)
                .filter(|name| !name.starts_with("xmlns:"))
            {
                if let Some((prefix, _)) = name.split_once(':') {
                    self.namespace(prefix)?;
                }
            }
        }
        Ok(())
    }

    /// The namespace that a prefix stands for.
    pub(crate) fn namespace(&mut self, prefix: &'a str) -> Result<&str, XmlError> {
        if prefix == "xml" {
            return Ok("http://www.w3.org/XML/1998/namespace");
        }
        let Some(found) = self.namespaces.iter().rposition(|(_, name, _)| *name == prefix) else {
            return Err(self.error(format!("the prefix {} has no namespace", quote(prefix))));
        };
        if self.outside.is_some_and(|outside| found < outside) && !self.borrowed.contains(&prefix) {
            self.borrowed.push(prefix);
        }
        Ok(self.namespaces.get(found).map_or("", |(_, _, uri)| uri))
    }

    /// Reads something with `read` from `tag` on and returns it as text that can stand alone: it declares the prefixes
    /// that it takes from elements around it.
    pub(crate) fn keep<T>(
        &mut self,
        tag: &Tag<'a>,
        read: impl FnOnce(&mut Self) -> Result<T, XmlError>,
    ) -> Result<(T, Cow<'a, str>), XmlError> {
        let outermost = self.outside.is_none();
        if outermost {
            self.outside = Some(self.namespaces.len());
        }
        let done = read(self)?;
        let raw = self.since(tag.start);
        if !outermost {
            return Ok((done, Cow::Borrowed(raw)));
        }
        self.outside = None;
        let borrowed = std::mem::take(&mut self.borrowed);
        let name = 1 + tag.name.len();
        let (Some(head), Some(tail), false) = (raw.get(..name), raw.get(name..), borrowed.is_empty()) else {
            return Ok((done, Cow::Borrowed(raw)));
        };
        let mut text = head.to_owned();
        for prefix in borrowed {
            let uri = self.namespace(prefix)?;
            text.push_str(&format!(" xmlns:{prefix}=\"{}\"", quick_xml::escape::escape(uri)));
        }
        text.push_str(tail);
        Ok((done, Cow::Owned(text)))
    }

    /// Reads to the end of an element that nobody knows.
    pub(crate) fn skip(&mut self, tag: &Tag<'a>) -> Result<(), XmlError> {
        let mut open = 0_usize;
        self.check(tag)?;
        if tag.empty {
            self.close();
        } else {
            open += 1;
        }
        while open > 0 {
            match self.token()? {
                Token::Start => {
                    let inner = self.tag();
                    self.check(&inner)?;
                    if inner.empty { self.close() } else { open += 1 }
                }
                Token::End => open -= 1,
                Token::Eof => return Err(self.unfinished(tag.name)),
                Token::Text | Token::Aside => {}
            }
        }
        Ok(())
    }

    /// Checks the names in a tag: those of a known element need no check.
    fn check(&mut self, tag: &Tag<'a>) -> Result<(), XmlError> {
        let mut names: Vec<&str> = Vec::new();
        let bad = |name: &str| XmlError::new(format!("{} is not a name", quote(name)));
        self.attributes(tag, |name, _| {
            if !text::is_name(name) {
                return Err(bad(name));
            }
            if names.contains(&name) {
                return Err(twice(name));
            }
            names.push(name);
            Ok(())
        })?;
        if !text::is_name(tag.name) {
            return Err(self.error(bad(tag.name).message()));
        }
        if let Some((prefix, _)) = tag.name.split_once(':') {
            self.namespace(prefix)?;
        }
        Ok(())
    }

    /// The text from `start` to the end of the last token.
    #[inline]
    pub(crate) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.position()).unwrap_or_default()
    }

    /// The last token as it stands.
    #[inline]
    pub(crate) fn raw(&self) -> &'a str {
        self.since(self.start)
    }

    /// Where the last token starts.
    #[inline]
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// Whether some element may declare a default namespace.
    pub(crate) fn has_default_namespace(&self) -> bool {
        let text = self.text.as_bytes();
        memchr::memmem::find_iter(text, "xmlns").any(|index| text.get(index + "xmlns".len()) != Some(&b':'))
    }

    #[inline]
    fn position(&self) -> usize {
        usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX)
    }

    /// An error at the last token.
    pub(crate) fn error(&self, message: impl Into<String>) -> XmlError {
        XmlError::new(message).at(self.text, self.start)
    }

    /// An error at `offset`.
    pub(crate) fn error_at(&self, error: XmlError, offset: usize) -> XmlError {
        error.at(self.text, offset)
    }

    /// The document ends inside an element.
    pub(crate) fn unfinished(&self, name: &str) -> XmlError {
        self.error(format!("the document ends before </{}>", quote(name).trim_matches('\'')))
    }
}

/// A name's prefix and what comes after it.
pub(crate) fn split_prefix(name: &str) -> Option<(&str, &str)> {
    // Names are too short for a search made for long texts.
    let colon = name.bytes().position(|byte| byte == b':')?;
    Some((name.get(..colon)?, name.get(colon + 1..)?))
}

/// An attribute that is there twice.
pub(crate) fn twice(name: &str) -> XmlError {
    XmlError::new(format!("the attribute {} is there twice", quote(name)))
}
