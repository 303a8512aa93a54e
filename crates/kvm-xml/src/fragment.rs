//! A piece of XML that is kept as text.

use crate::document::ParseOptions;
use crate::element::Place;
use crate::error::XmlError;
use crate::parse;
use crate::write::escape;
use std::fmt;

/// A well-formed piece of XML that no type of this crate stands for: an element with all that is in it, a comment, a
/// processing instruction or a text. It is written as it was read.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Fragment(Box<str>);

impl Fragment {
    /// Checks that `text` is one element, comment, processing instruction or text, and well-formed.
    ///
    /// # Errors
    /// When it is not, or goes past the default limits of [`ParseOptions`].
    pub fn parse(text: &str) -> Result<Self, XmlError> {
        parse::fragment(text, &ParseOptions::LENIENT)?;
        Ok(Self(text.trim().into()))
    }

    /// Takes text that the parser has just checked.
    pub(crate) fn checked(text: &str) -> Self {
        Self(text.into())
    }

    /// The XML.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The element's name with its prefix; `None` for comments, instructions and texts.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        let name = self.0.strip_prefix('<')?;
        let name = name.get(..name.find(|c: char| c.is_ascii_whitespace() || c == '>' || c == '/')?)?;
        (!name.starts_with(['!', '?'])).then_some(name)
    }

    /// The element's namespace, if the element itself declares it.
    #[must_use]
    pub fn namespace(&self) -> Option<String> {
        let declaration = match self.name()?.split_once(':') {
            Some((prefix, _)) => format!("xmlns:{prefix}"),
            None => "xmlns".to_owned(),
        };
        self.attribute(&declaration)
    }

    /// The value of one of the element's own attributes.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<String> {
        let mut found = parse::Attributes::new(self.written_attributes()?).flatten();
        let attribute = found.find(|attribute| attribute.name == name)?;
        parse::unescape(attribute.value).ok().map(std::borrow::Cow::into_owned)
    }

    /// The element with another value of one of its own attributes, or without it; all else stays. What is no element
    /// stays as it is.
    #[must_use]
    pub fn with_attribute(&self, name: &str, value: Option<&str>) -> Self {
        let (Some(element), Some(written)) = (self.name(), self.written_attributes()) else { return self.clone() };
        let rest = self.0.get(1 + element.len() + written.len()..).unwrap_or_default();
        let mut text = format!("<{element}");
        for other in parse::Attributes::new(written).flatten().filter(|other| other.name != name) {
            let quote = if other.value.contains('"') { '\'' } else { '"' };
            text.push_str(&format!(" {}={quote}{}{quote}", other.name, other.value));
        }
        if let Some(value) = value {
            text.push_str(&format!(" {name}=\""));
            escape(value, Place::Attribute, &mut text);
            text.push('"');
        }
        text.push_str(rest);
        Self(text.into())
    }

    /// The elements right below this one, each with the namespace declarations that it needs.
    #[must_use]
    pub fn children(&self) -> Vec<Self> {
        parse::children(&self.0).into_iter().map(|text| Self::checked(&text)).collect()
    }

    /// Whether this is an element that says nothing: without content, and without attributes but namespace declarations.
    #[must_use]
    pub fn is_empty_element(&self) -> bool {
        let content =
            self.written_attributes().and_then(|written| self.0.get(1 + self.name()?.len() + written.len()..));
        content.is_some_and(|rest| rest == "/>" || rest.starts_with("></")) && !self.has_attributes()
    }

    /// Whether the element has attributes, namespace declarations apart.
    pub(crate) fn has_attributes(&self) -> bool {
        let found = self.written_attributes().map(parse::Attributes::new);
        found.into_iter().flatten().flatten().any(|other| other.name != "xmlns" && !other.name.starts_with("xmlns:"))
    }

    /// The text of the element with other content, which is not checked; `None` when this is no element.
    #[must_use]
    pub fn with_content(&self, content: &str) -> Option<String> {
        if content.is_empty() && self.0.ends_with("/>") {
            return Some(self.0.to_string());
        }
        let (name, attributes) = (self.name()?, self.written_attributes()?.trim_end());
        Some(match content {
            "" => format!("<{name}{attributes}/>"),
            _ => format!("<{name}{attributes}>{content}</{name}>"),
        })
    }

    fn written_attributes(&self) -> Option<&str> {
        let start = self.0.strip_prefix('<')?.strip_prefix(self.name()?)?;
        let end = parse::end_of_tag(start)?;
        Some(start.get(..end)?.trim_end_matches('/'))
    }
}

impl fmt::Display for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
