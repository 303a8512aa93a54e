//! Reading and writing whole documents.

use crate::canonical;
use crate::element::Element;
use crate::error::XmlError;
use crate::parse;
use crate::redact;
use crate::write;

/// How a document is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseOptions {
    /// What happens to what this crate does not know.
    pub unknown: Unknown,
    /// The largest document, in bytes. A document must not have more elements than one for each 16 of these bytes either,
    /// not counting those that are a value or unknown.
    pub max_bytes: usize,
    /// The deepest nesting of elements.
    pub max_depth: usize,
}

/// What happens to attributes, elements and values that this crate does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// They are kept and written back. For documents that come from libvirt.
    Keep,
    /// They are errors that say what would be valid. For documents that come from people.
    Refuse,
}

impl ParseOptions {
    /// The largest document unless told otherwise: 1 MiB.
    pub const MAX_BYTES: usize = 1 << 20;
    /// The deepest nesting unless told otherwise.
    pub const MAX_DEPTH: usize = 256;
    /// For documents from libvirt.
    pub const LENIENT: Self = Self { unknown: Unknown::Keep, max_bytes: Self::MAX_BYTES, max_depth: Self::MAX_DEPTH };
    /// For documents from people.
    pub const STRICT: Self = Self { unknown: Unknown::Refuse, ..Self::LENIENT };

    /// How many elements there may be that become structs. In documents from libvirt they have 40 bytes on average.
    pub(crate) fn max_elements(&self) -> usize {
        const LEAST: usize = 1000;
        (self.max_bytes / 16).max(LEAST)
    }
}

impl Default for ParseOptions {
    /// [`ParseOptions::LENIENT`].
    fn default() -> Self {
        Self::LENIENT
    }
}

/// An element that can stand alone: a domain, or a device that is attached to one.
pub trait Document: Element + Default {
    /// The name of the element.
    const ROOT: &'static str;

    /// Reads a document and keeps whatever is unknown in it.
    ///
    /// # Errors
    /// When it is not well-formed, is another kind of document, has a document type, or is too large or too deep.
    fn from_xml(text: &str) -> Result<Self, XmlError> {
        Self::from_xml_with(text, &ParseOptions::LENIENT)
    }

    /// Reads a document in which nothing may be unknown.
    ///
    /// # Errors
    /// As [`from_xml`](Self::from_xml), and for each attribute, element or value that this crate does not know.
    fn from_xml_strict(text: &str) -> Result<Self, XmlError> {
        Self::from_xml_with(text, &ParseOptions::STRICT)
    }

    /// Reads a document as `options` say.
    ///
    /// # Errors
    /// As [`from_xml`](Self::from_xml), and what `options` refuse.
    fn from_xml_with(text: &str, options: &ParseOptions) -> Result<Self, XmlError> {
        let mut document = Self::default();
        parse::document(&mut document, Self::ROOT, text, options)?;
        Ok(document)
    }

    /// Writes the document as libvirt does, indented by two spaces, with a line end at the end.
    ///
    /// A field that was given a character which XML does not have (U+0000, say) makes a document that nobody can read.
    #[must_use]
    fn to_xml(&self) -> String {
        write::document(self, Self::ROOT)
    }

    /// Writes the document in the one form that all documents have which say the same: two of them are equal exactly when
    /// their canonical forms are. For digests, and for tools that compare text.
    ///
    /// - Attributes stand in the order of their names, children in the order of libvirt's schema; those of one name, and so
    ///   all items of a list, keep their order.
    /// - Numbers and units are spelt as libvirt spells them (`0x0`, `KiB`); they are not converted: `1 GiB` and
    ///   `1048576 KiB` differ. Text is kept to the last space.
    /// - What this crate does not know follows the known children of its element, by name. Values that it does not know
    ///   stand in the place of their field.
    /// - Comments are dropped, and white space that only lays elements out. An empty element is `<a/>`, quotes are `'`.
    /// - Libvirt's own namespaces have their usual prefix and are declared where they are needed; other elements keep
    ///   their prefixes, which are part of what they say.
    ///
    /// Reading it gives a document that is equal to this one. The form may change with a new version of this crate.
    #[must_use]
    fn canonical(&self) -> String {
        canonical::form(self, Self::ROOT)
    }

    /// The SHA-256 sum of the [canonical form](Self::canonical): what `sha256sum` prints for it.
    #[cfg(feature = "digest")]
    #[must_use]
    fn digest(&self) -> [u8; 32] {
        use sha2::Digest;
        sha2::Sha256::digest(self.canonical()).into()
    }

    /// Takes out what must not be shown or logged: passwords of graphics, values of cookies, and unknown attributes that
    /// are called like a password. What other programs keep in the metadata, and arguments handed to QEMU as they are,
    /// are left alone.
    fn redact(&mut self) {
        redact::redact(self);
    }

    /// A copy without secrets, see [`redact`](Self::redact).
    #[must_use]
    fn redacted(&self) -> Self
    where
        Self: Clone,
    {
        let mut copy = self.clone();
        copy.redact();
        copy
    }
}
