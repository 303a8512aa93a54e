//! What an image is, by the signatures and headers of all formats.

use kvm_core::Bytes;
use serde::Serialize;

use crate::luks::Luks;
use crate::partition::Partitions;
use crate::read::{Fault, Fields, READ_MAX, Source};
use crate::{Format, ImageError, ReadAt, Reference, Risk, iso, luks, partition, qcow2, qed, vdi, vhdx, vmdk, vpc};

/// What an image is and what it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// The length of the file.
    pub length: Bytes,
    /// The formats whose signature is there; none for a raw image.
    pub candidates: Vec<Format>,
    /// The format: the only candidate, or raw without one. `None` when there are several.
    pub format: Option<Format>,
    /// The size of the disk that a guest sees; `None` when the header does not say it or cannot be read.
    pub virtual_size: Option<Bytes>,
    /// The image below this one.
    pub backing: Option<Reference>,
    /// The file that holds the data of a qcow2 image, when it is another one.
    pub data_file: Option<Reference>,
    /// Other files that hold parts of the disk.
    pub external: Vec<Reference>,
    /// What can be recognised in the bytes of a raw image. It changes nothing about the format.
    pub contents: Vec<Content>,
    /// The header, when there is one candidate and it can be read.
    pub header: Option<Header>,
    /// What speaks against the image.
    pub risks: Vec<Risk>,
}

/// What stands in the bytes of a raw image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Content {
    /// A partition table.
    Partitions(Partitions),
    /// An encrypted volume, made by a guest or for QEMU.
    Luks(Luks),
}

/// The header of one format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Header {
    /// Of a qcow2 image.
    Qcow2(Box<qcow2::Header>),
    /// Of a QED image.
    Qed(qed::Header),
    /// Of a VMDK image or descriptor.
    Vmdk(vmdk::Header),
    /// Of a VHDX image.
    Vhdx(vhdx::Header),
    /// Of a VHD image.
    Vpc(vpc::Header),
    /// Of a VDI image.
    Vdi(vdi::Header),
    /// Of an optical disc.
    Iso(iso::Header),
}

/// The first and the last bytes, in which signatures are looked for.
pub(crate) struct Ends<'a> {
    pub(crate) head: Fields<'a>,
    pub(crate) tail: Fields<'a>,
}

/// What the header of a format says in the words of all formats.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) virtual_size: Option<Bytes>,
    pub(crate) backing: Option<Reference>,
    pub(crate) data_file: Option<Reference>,
    pub(crate) external: Vec<Reference>,
    pub(crate) risks: Vec<Risk>,
}

type Matches = fn(&Ends<'_>) -> bool;
type Read = fn(&mut Source<'_>) -> Result<(Header, Facts), Fault>;

/// How a format is recognised and read. Their order is that of messages only: all are tried.
const READERS: [(Format, Matches, Read); 7] = [
    (Format::Qcow2, qcow2::matches, qcow2::read),
    (Format::Qed, qed::matches, qed::read),
    (Format::Vmdk, vmdk::matches, vmdk::read),
    (Format::Vhdx, vhdx::matches, vhdx::read),
    (Format::Vpc, vpc::matches, vpc::read),
    (Format::Vdi, vdi::matches, vdi::read),
    (Format::Iso, iso::matches, iso::read),
];

/// Signatures at the beginning of what is not read, but must not pass as raw.
const FOREIGN: [(&str, &[u8]); 5] = [
    ("a Parallels image", b"WithoutFreeSpace"),
    ("a Parallels image", b"WithouFreSpacExt"),
    ("a Bochs image", b"Bochs Virtual HD Image"),
    ("a cloop image", b"#!/bin/sh\n#V2.0 Format\n"),
    ("an ESX sparse extent", b"COWD"),
];

/// As much of the beginning as has a signature in it: descriptors of discs stand up to here.
const HEAD: u64 = 64 << 10;
const TAIL: u64 = 512;

/// Looks at an image with the readers of all formats.
///
/// What is wrong with the image is among [`Inspection::risks`]. Reads at most [`READ_MAX`] bytes.
///
/// # Errors
/// [`ImageError::Read`] when the source cannot be read.
pub fn inspect(source: &dyn ReadAt) -> Result<Inspection, ImageError> {
    let mut source = Source::new(source, READ_MAX)?;
    let mut seen = raw(source.length);
    if source.length == 0 {
        seen.risks.push(Risk::Empty);
        return Ok(seen);
    }
    let ends = source.some(0, HEAD, "its beginning").and_then(|head| {
        let tail = source.some(source.length.saturating_sub(TAIL), TAIL, "its end")?;
        Ok((head, tail))
    });
    let (head, tail) = match ends {
        Ok(ends) => ends,
        Err(fault) => return refused(seen, Format::Raw, fault),
    };
    let ends = Ends { head: Fields(&head), tail: Fields(&tail) };
    let readers: Vec<_> = READERS.iter().filter(|(_, matches, _)| matches(&ends)).collect();
    seen.candidates = readers.iter().map(|(format, ..)| *format).collect();
    seen.contents.extend(partition::find(ends.head).map(Content::Partitions));
    seen.contents.extend(luks::find(ends.head).map(Content::Luks));
    let foreign: Vec<_> = foreign(&ends).collect();

    let names = seen.candidates.iter().map(|format| format.as_str()).chain(foreign.iter().copied());
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    // A disc may well be bootable, and a fixed VHD is the disk with something behind it.
    if !seen.candidates.iter().all(|format| matches!(format, Format::Iso | Format::Vpc)) {
        let table = seen.contents.iter().any(|content| matches!(content, Content::Partitions(_)));
        names.extend(table.then(|| "a partitioned disk".to_owned()));
    }
    if names.len() > 1 {
        seen.format = None;
        seen.virtual_size = None;
        seen.risks.push(Risk::Ambiguous { formats: names });
    }
    seen.risks.extend(foreign.into_iter().map(|what| Risk::Unsupported { what: what.to_owned() }));
    // All of them: what an ambiguous image names is part of the message.
    for (format, _, read) in readers {
        match read(&mut source) {
            Ok((header, facts)) => seen.add(header, facts),
            Err(fault) => seen = refused(seen, *format, fault)?,
        }
    }
    Ok(seen)
}

/// Looks at an image whose format is on record.
///
/// An image that is recorded as raw is not looked at: its guest may have written any header into it, and none of them
/// means anything.
///
/// # Errors
/// [`ImageError::Read`] when the source cannot be read.
pub fn inspect_as(source: &dyn ReadAt, format: Option<Format>) -> Result<Inspection, ImageError> {
    if format != Some(Format::Raw) {
        return inspect(source);
    }
    let source = Source::new(source, 0)?;
    let mut seen = raw(source.length);
    seen.risks.extend((source.length == 0).then_some(Risk::Empty));
    Ok(seen)
}

fn raw(length: u64) -> Inspection {
    Inspection {
        length: Bytes::new(length),
        candidates: Vec::new(),
        format: Some(Format::Raw),
        virtual_size: Some(Bytes::new(length)),
        backing: None,
        data_file: None,
        external: Vec::new(),
        contents: Vec::new(),
        header: None,
        risks: Vec::new(),
    }
}

/// The inspection with a header that cannot be read.
fn refused(mut seen: Inspection, format: Format, fault: Fault) -> Result<Inspection, ImageError> {
    seen.risks.push(match fault {
        Fault::Source(error) => return Err(error),
        Fault::Malformed(what) => Risk::Malformed { format, what },
        Fault::Unsupported(what) => Risk::Unsupported { what },
    });
    seen.virtual_size = None;
    seen.format = (seen.candidates.len() < 2).then_some(format).filter(|_| seen.format.is_some());
    Ok(seen)
}

fn foreign(ends: &Ends<'_>) -> impl Iterator<Item = &'static str> {
    let at_start = FOREIGN.iter().filter(|(_, magic)| ends.head.has(0, magic)).map(|(name, _)| *name);
    at_start.chain(ends.tail.has(0, b"koly").then_some("an Apple disk image"))
}

impl Inspection {
    fn add(&mut self, header: Header, facts: Facts) {
        let Facts { virtual_size, backing, data_file, external, risks } = facts;
        let references = backing.iter().map(|reference| Risk::Backing { reference: reference.clone() });
        self.risks.extend(references);
        self.risks.extend(data_file.iter().map(|reference| Risk::DataFile { reference: reference.clone() }));
        self.risks.extend(external.iter().map(|reference| Risk::Extent { reference: reference.clone() }));
        self.risks.extend(risks);
        self.backing = self.backing.take().or(backing);
        self.data_file = self.data_file.take().or(data_file);
        self.external.extend(external);
        if let [only] = self.candidates[..]
            && self.format.is_some()
        {
            self.format = Some(only);
            self.virtual_size = virtual_size;
            self.header = Some(header);
        }
    }

    /// The LUKS header in the bytes of the image, if there is one.
    #[must_use]
    pub fn luks(&self) -> Option<&Luks> {
        self.contents.iter().find_map(|content| match content {
            Content::Luks(luks) => Some(luks),
            Content::Partitions(_) => None,
        })
    }
}
