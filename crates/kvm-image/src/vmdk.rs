//! VMDK, by VMware's "Virtual Disk Format 5.0" and by what QEMU makes of it (`block/vmdk.c`).
//!
//! A file is a sparse extent with a descriptor inside, or the descriptor alone, a text that names the extents.

use kvm_core::Bytes;
use serde::Serialize;

use crate::inspect::{Ends, Facts, Header as AnyHeader};
use crate::read::{Fault, Fields, Source, malformed};
use crate::{Reference, ReferenceKind};

mod data;

pub(crate) use data::Data;

pub(crate) const MAGIC: &[u8] = b"KDMV";
pub(crate) const SECTOR: u64 = 512;

/// A descriptor is a page of text.
const DESCRIPTOR_MAX: u64 = 64 << 10;

/// The table of a compressed stream stands behind the data; so does a second header.
pub(crate) const AT_END: u64 = u64::MAX;

/// The kinds of image that are one sparse file.
const ONE_FILE: [&str; 2] = ["monolithicSparse", "streamOptimized"];

/// The header of a VMDK image, or its descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Header {
    /// Whether the file is only the text that names the extents.
    pub is_descriptor: bool,
    /// `createType` of the descriptor.
    pub create_type: String,
    /// The size of the guest's disk.
    pub virtual_size: Bytes,
    /// What the descriptor lists.
    pub extents: Vec<Extent>,
    /// The image below.
    pub backing: Option<Reference>,
}

/// A part of the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Extent {
    /// Its size.
    pub size: Bytes,
    /// Its kind, such as `FLAT` or `SPARSE`.
    pub kind: String,
    /// The file that holds it; none for zeros.
    pub file: Option<Reference>,
}

pub(crate) fn matches(ends: &Ends<'_>) -> bool {
    ends.head.has(0, MAGIC) || is_descriptor(ends.head.0)
}

/// Whether it begins as a descriptor: comments and blank lines, then `version=`.
fn is_descriptor(head: &[u8]) -> bool {
    let first = &head[..head.len().min(4096)];
    if first.len() >= 21 && first[..21].eq_ignore_ascii_case(b"# disk descriptorfile") {
        return true;
    }
    let mut lines = first.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.find(|line| !line.is_empty() && !line.starts_with(b"#")).is_some_and(|line| line.starts_with(b"version="))
}

pub(crate) fn read(source: &mut Source<'_>) -> Result<(AnyHeader, Facts), Fault> {
    let head = source.some(0, SECTOR, "the header")?;
    let header = if head.starts_with(MAGIC) { sparse(source, Fields(&head))? } else { text(source)? };
    let external = header.extents.iter().filter_map(|extent| extent.file.clone());
    // A single sparse extent of an image that is one file is this file itself.
    let is_itself = !header.is_descriptor
        && header.extents.len() <= 1
        && ONE_FILE.contains(&&*header.create_type)
        && header.extents.iter().all(|extent| extent.kind == "SPARSE");
    let external = if is_itself { Vec::new() } else { external.collect() };
    let (virtual_size, backing) = (Some(header.virtual_size), header.backing.clone());
    Ok((AnyHeader::Vmdk(header), Facts { virtual_size, backing, external, ..Facts::default() }))
}

fn sparse(source: &mut Source<'_>, head: Fields<'_>) -> Result<Header, Fault> {
    let (version, capacity, grain) = (head.le32(4), head.le64(12), head.le64(20));
    if !(1..=3).contains(&version) {
        return Err(Fault::Unsupported(format!("a vmdk extent of version {version}")));
    }
    let (at, length) = (head.le64(28), head.le64(36));
    if head.le64(56) == AT_END {
        // Readers take the second header in place of the first: they must not differ in what matters.
        let footer = source.length.checked_sub(2 * SECTOR).ok_or_else(|| malformed("it ends too early"))?;
        let footer = source.bytes(footer, SECTOR, "the footer")?;
        let same = [(12, 8), (20, 8), (28, 8), (36, 8)]
            .iter()
            .all(|&(at, length)| footer.get(at..at + length) == head.0.get(at..at + length));
        if !footer.starts_with(MAGIC) || !same {
            return Err(malformed("its header and its footer differ"));
        }
    }
    let bytes = |sectors: u64| sectors.checked_mul(SECTOR).ok_or_else(|| malformed(format!("{sectors} sectors")));
    let text = if at == 0 || length == 0 {
        Vec::new()
    } else {
        if bytes(length)? > DESCRIPTOR_MAX {
            return Err(malformed(format!("its descriptor has {length} sectors")));
        }
        source.some(bytes(at)?, bytes(length)?, "the descriptor")?
    };
    let descriptor = Descriptor::read(&text)?;
    if capacity == 0 {
        // Then the extents of the descriptor are the disk, as if the file were nothing else.
        return Ok(descriptor.header(true));
    }
    if grain == 0 || grain > 1 << 20 {
        return Err(malformed(format!("grains of {grain} sectors")));
    }
    let virtual_size = Bytes::new(bytes(capacity)?);
    // An extent without a descriptor is one file as well.
    let header = descriptor.header(false);
    let create_type = if text.is_empty() { ONE_FILE[0].to_owned() } else { header.create_type };
    Ok(Header { virtual_size, create_type, ..header })
}

fn text(source: &mut Source<'_>) -> Result<Header, Fault> {
    if source.length > DESCRIPTOR_MAX {
        return Err(malformed(format!("a descriptor of {} bytes", source.length)));
    }
    let text = source.some(0, DESCRIPTOR_MAX, "the descriptor")?;
    Ok(Descriptor::read(&text)?.header(true))
}

/// What the text says.
struct Descriptor {
    create_type: String,
    parent: Option<String>,
    extents: Vec<Extent>,
}

impl Descriptor {
    fn read(text: &[u8]) -> Result<Self, Fault> {
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        let text = std::str::from_utf8(&text[..end]).map_err(|_| malformed("its descriptor is not UTF-8"))?;
        let extents: Result<_, _> = text.lines().filter_map(extent).collect();
        // Anywhere in the text, as QEMU looks for them.
        let value = |key: &str| {
            let (_, rest) = text.split_once(key)?;
            let (_, rest) = rest.split_once('"')?;
            Some(rest.split('"').next().unwrap_or_default().to_owned())
        };
        let create_type = value("createType").unwrap_or_default();
        Ok(Self { create_type, parent: value("parentFileNameHint"), extents: extents? })
    }

    fn header(self, is_descriptor: bool) -> Header {
        let size = self.extents.iter().fold(0_u64, |sum, extent| sum.saturating_add(extent.size.get()));
        Header {
            is_descriptor,
            create_type: self.create_type,
            virtual_size: Bytes::new(size),
            extents: self.extents,
            backing: self.parent.map(|name| Reference::new(name, None)),
        }
    }
}

/// The extent that a line describes, such as `RW 8192 FLAT "disk-flat.vmdk" 0`.
fn extent(line: &str) -> Option<Result<Extent, Fault>> {
    let mut words = line.split_whitespace();
    if !["RW", "RDONLY", "NOACCESS"].contains(&words.next()?) {
        return None;
    }
    let sectors = words.next().and_then(|word| word.parse::<u64>().ok()).and_then(|n| n.checked_mul(SECTOR));
    let (Some(size), Some(kind)) = (sectors, words.next()) else {
        return Some(Err(malformed("an extent without a size and a kind")));
    };
    let name = line.split_once('"').map(|(_, rest)| rest.split('"').next().unwrap_or_default());
    let file = name.map(|name| {
        let reference = Reference::new(name.to_owned(), Some(kind.to_lowercase()));
        // Joined to the directory of the descriptor unless it is absolute or an address.
        Reference { kind: if name.contains("://") { reference.kind } else { ReferenceKind::File }, ..reference }
    });
    if file.is_none() && kind != "ZERO" {
        return Some(Err(malformed("an extent without a file")));
    }
    Some(Ok(Extent { size: Bytes::new(size), kind: kind.to_owned(), file }))
}
