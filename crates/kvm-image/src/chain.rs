//! A chain of backing files, followed under a limit.

use std::collections::BTreeSet;

use crate::{Expect, Format, ImageError, Inspection, ReadAt, Reference, check, inspect_as};

/// The most images that a chain may have.
pub const CHAIN_MAX: usize = 64;

/// An image that the caller has found and opened.
pub struct Opened {
    /// What makes it the same image, whatever name led to it: its canonical path, or device and inode.
    pub identity: String,
    /// Its bytes.
    pub source: Box<dyn ReadAt>,
}

/// One image of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// As the caller gave it.
    pub identity: String,
    /// The format by which it is opened.
    pub format: Format,
    /// What its header says.
    pub seen: Inspection,
}

/// A chain of images, the uppermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    links: Vec<Link>,
}

impl Chain {
    /// Follows the backing files of an image of ours down to the one that has none.
    ///
    /// `open` finds what a header names; it decides which paths may be opened at all. Each image below the first is
    /// read by the format that the one above gives to it, so that a raw base stays raw.
    ///
    /// # Errors
    /// What [`check`] refuses in any of them, [`ImageError::Loop`], [`ImageError::TooDeep`] beyond [`CHAIN_MAX`], and what
    /// `open` says.
    pub fn read(
        top: Opened,
        expect: &Expect,
        open: &mut dyn FnMut(&Link, &Reference) -> Result<Opened, ImageError>,
    ) -> Result<Self, ImageError> {
        let mut chain = Self { links: Vec::new() };
        let mut known = BTreeSet::new();
        let mut expect = expect.clone().in_a_chain();
        let mut next = Some(top);
        while let Some(Opened { identity, source }) = next.take() {
            if !known.insert(identity.clone()) {
                return Err(ImageError::Loop { name: kvm_core::text::printable_within(&identity, 200).to_string() });
            }
            if chain.links.len() == CHAIN_MAX {
                return Err(ImageError::TooDeep { max: CHAIN_MAX });
            }
            let seen = inspect_as(&*source, expect.format)?;
            let format = check(&seen, &expect)?;
            let link = Link { identity, format, seen };
            if let Some(reference) = &link.seen.backing {
                next = Some(open(&link, reference)?);
                expect.format = reference.known_format();
            }
            chain.links.push(link);
        }
        Ok(chain)
    }

    /// The images, the uppermost first.
    #[must_use]
    pub fn links(&self) -> &[Link] {
        &self.links
    }
}
