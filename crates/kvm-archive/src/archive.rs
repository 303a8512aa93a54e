//! The members of a tar archive: plain files under names that mean nothing else.

use std::collections::BTreeSet;
use std::io::{self, Read};

use kvm_core::{Error, ErrorKind, Resource, Result};
use tar::{Entries, EntryType, PaxExtensions};

use crate::MemberName;

/// The most files that a package has. Appliances of many disks have a dozen.
pub const MEMBERS_MAX: usize = 256;

/// The longest extension header that is read into memory: names and times.
const EXTENSION_MAX: u64 = 64 << 10;

/// A member, while the archive is at it.
pub(crate) struct Member<'a> {
    pub(crate) name: MemberName,
    /// Where its bytes begin in the archive.
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) bytes: &'a mut dyn Read,
}

/// An archive that is not well formed, ends too early or cannot be read.
pub(crate) fn broken(source: io::Error) -> Error {
    let kind = match source.kind() {
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
        _ => ErrorKind::Corrupt,
    };
    Error::new(kind, "the archive cannot be read to its end; take another copy").with_source(source)
}

/// Gives every member to `each`, in order. `InvalidInput` for anything that is not a plain file with a name of its own,
/// `Corrupt` when the archive cannot be read.
pub(crate) fn walk<R: Read>(entries: Entries<'_, R>, each: &mut dyn FnMut(Member<'_>) -> Result<()>) -> Result<()> {
    let mut seen = BTreeSet::new();
    let mut extension = Extension::default();
    // Raw: the library would read a long name of any length into memory, and let an extension change a length.
    for entry in entries.raw(true) {
        let mut entry = entry.map_err(broken)?;
        let header = entry.header();
        let length = header.entry_size().map_err(broken)?;
        match header.entry_type() {
            EntryType::GNULongName => {
                extension.name = Some(until_nul(extended(&mut entry, length)?));
                continue;
            }
            EntryType::XHeader => {
                extension.read_pax(&extended(&mut entry, length)?)?;
                continue;
            }
            _ => {}
        }
        let (kind, mode) = (header.entry_type(), header.mode().map_err(broken)?);
        let own = header.path_bytes().into_owned();
        let Extension { name, length: said } = std::mem::take(&mut extension);
        let name = MemberName::from_bytes(&name.unwrap_or(own))?;
        let refused = |why: &str| Err(Error::invalid("archive_member", format!("archive member {name} {why}")));
        match kind {
            EntryType::Regular | EntryType::Continuous => {}
            EntryType::Symlink | EntryType::Link => return refused("is a link; a package has plain files only"),
            EntryType::Directory => return refused("is a directory; a package has plain files only"),
            _ => return refused("is a device or of another special kind; a package has plain files only"),
        }
        if mode & 0o7000 != 0 {
            return refused("has the bits of a privileged program, which no file of a package needs");
        }
        if said.is_some_and(|said| said != length) {
            return refused("has two different lengths; the archive has to be made anew");
        }
        if !seen.insert(name.folded()) {
            return refused("is there twice, or differs from another only in case");
        }
        if seen.len() > MEMBERS_MAX {
            return Err(Error::invalid("archive_member", format!("the archive has more than {MEMBERS_MAX} members")));
        }
        let offset = entry.raw_file_position();
        each(Member { name, offset, length, bytes: &mut entry })?;
    }
    if extension.name.is_some() || extension.length.is_some() {
        return Err(Error::new(ErrorKind::Corrupt, "the archive ends in front of a member that it announces")
            .on(Resource::Field("archive_member".into())));
    }
    Ok(())
}

/// What an extension header says of the member behind it.
#[derive(Default)]
struct Extension {
    name: Option<Vec<u8>>,
    length: Option<u64>,
}

impl Extension {
    fn read_pax(&mut self, bytes: &[u8]) -> Result<()> {
        for record in PaxExtensions::new(bytes) {
            let record = record.map_err(broken)?;
            match record.key_bytes() {
                b"path" => self.name = Some(record.value_bytes().to_vec()),
                b"size" => {
                    let length = record.value().ok().and_then(|value| value.parse().ok());
                    self.length = Some(length.ok_or_else(|| broken(io::ErrorKind::InvalidData.into()))?);
                }
                key if key.starts_with(b"GNU.sparse") || key == b"linkpath" => {
                    return Err(Error::invalid("archive_member", "the archive has a sparse file or a link in it"));
                }
                // Times, owners and comments.
                _ => {}
            }
        }
        Ok(())
    }
}

fn extended(entry: &mut impl Read, length: u64) -> Result<Vec<u8>> {
    if length > EXTENSION_MAX {
        return Err(Error::invalid("archive_member", "the archive has a name of more than 64 KiB"));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(broken)?;
    Ok(bytes)
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}
