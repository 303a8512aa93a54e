//! A package of any kind, opened and verified.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use kvm_core::{Bytes, Error, ErrorKind, Resource, Result};
use kvm_image::ReadAt as _;

use crate::{Appliance, BundleIndex, Content, Hasher, Manifest, MemberName, OVF_MAX, read_ovf};

mod appliance;
mod bundle;

/// Hears what is being read and how far that is (done, of all), in bytes. An error ends the reading.
pub type Watch<'a> = &'a mut dyn FnMut(&MemberName, Bytes, Bytes) -> Result<()>;

/// Watches nothing.
pub fn unwatched(_: &MemberName, _: Bytes, _: Bytes) -> Result<()> {
    Ok(())
}

/// How much is read at once.
const CHUNK: usize = 1 << 20;

/// A machine in a file.
#[derive(Debug)]
pub struct Package {
    machine: Machine,
    contents: BTreeMap<MemberName, Content>,
    is_verified: bool,
}

/// What a package says about its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Machine {
    /// An OVF document, in the words of no hypervisor.
    Appliance(Box<Appliance>),
    /// libvirt's document, which may say anything, and the disks that it plugs in.
    Bundle {
        /// The document.
        definition: String,
        /// What the bundle has.
        index: BundleIndex,
    },
}

impl Package {
    /// Opens an OVA, an OVF document with its files beside it, or a bundle; it is known by its content, not by its name.
    ///
    /// All digests that it has are verified. `staging` is a directory with room for the disks of a bundle, which are
    /// unpacked into files there that have no name.
    ///
    /// `InvalidInput` names what must not be in a package, `Corrupt` what does not hold, `Unsupported` what is not read,
    /// `NoSpace` when the disks of a bundle do not fit into `staging`; `NotFound` and `Denied` for the file.
    pub fn open(path: &Path, staging: &Path, watch: Watch<'_>) -> Result<Self> {
        let file = open_plain(path)?;
        let mut head = [0; 262];
        let read = fill(&file, &mut head).map_err(|e| file_error(path, e))?;
        let head = &head[..read];
        if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            return bundle::open(file, staging, watch);
        }
        if head.get(257..262) == Some(b"ustar") {
            return appliance::open_archive(Arc::new(file), watch);
        }
        let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
        if text.starts_with(b"<") {
            return appliance::open_folder(path, &file, watch);
        }
        Err(Error::invalid("file", "the file is neither an OVA nor an OVF document nor a bundle of a machine"))
    }

    /// What it says about its machine.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// What is in one of its files.
    #[must_use]
    pub fn content(&self, name: &MemberName) -> Option<&Content> {
        self.contents.get(name)
    }

    /// Whether it had digests, all of which hold. Without any a damaged disk cannot be told from a good one.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.is_verified
    }

    /// The appliance of a document, with every file that it refers to.
    fn appliance(
        document: &[u8],
        manifest: Option<&Manifest>,
        contents: BTreeMap<MemberName, Content>,
    ) -> Result<Self> {
        let text = std::str::from_utf8(document).map_err(|_| Error::invalid("ovf", "the OVF document is not UTF-8"))?;
        let appliance = read_ovf(text)?;
        for file in appliance.disks.iter().filter_map(|disk| disk.file.as_ref()) {
            let name = &file.name;
            let content = contents.get(name).ok_or_else(|| corrupt(name, "is missing"))?;
            if file.length.is_some_and(|length| length != content.length()) {
                return Err(corrupt(name, "has another length than its OVF document says"));
            }
            if manifest.is_some_and(|manifest| manifest.get(name).is_none()) {
                return Err(corrupt(name, "has no digest in the manifest"));
            }
        }
        Ok(Self { machine: Machine::Appliance(Box::new(appliance)), contents, is_verified: manifest.is_some() })
    }
}

fn corrupt(name: &MemberName, why: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{name} of the package {why}; take another copy"))
        .on(Resource::Field("archive_member".into()))
}

fn file_error(path: &Path, source: io::Error) -> Error {
    let kind = match source.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
        _ => ErrorKind::Unavailable,
    };
    let shown = path.to_string_lossy().into_owned();
    Error::new(kind, format!("cannot read {}", kvm_core::text::printable(&shown)))
        .on(Resource::File(shown))
        .with_source(source)
}

/// Opens a file that is nothing but a file: a pipe would block, and a device never end.
fn open_plain(path: &Path) -> Result<File> {
    let is_plain = std::fs::metadata(path).map_err(|e| file_error(path, e))?.is_file();
    if !is_plain {
        return Err(Error::invalid("file", format!("{} is not a plain file", path.display())));
    }
    File::open(path).map_err(|e| file_error(path, e))
}

/// Reads from the beginning as much as there is.
fn fill(mut file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read(&mut buffer[done..]) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// A small file of a package as a whole.
fn small(name: &MemberName, content: &Content) -> Result<Vec<u8>> {
    if content.length().get() > OVF_MAX {
        return Err(Error::invalid("archive_member", format!("archive member {name} is longer than 1 MiB")));
    }
    content.read_all().map_err(|e| corrupt(name, "cannot be read").with_source(e))
}

/// Refuses a package whose digests do not hold or that lacks a file that has one.
fn verify(manifest: &Manifest, contents: &BTreeMap<MemberName, Content>, watch: Watch<'_>) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    for (name, digest) in manifest.iter() {
        let content = contents.get(name).ok_or_else(|| corrupt(name, "is in the manifest, but missing"))?;
        let mut hasher = Hasher::new(digest.algorithm());
        let mut done = 0;
        loop {
            let read =
                content.read_at(done, &mut buffer).map_err(|e| corrupt(name, "cannot be read").with_source(e))?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            done += read as u64;
            watch(name, Bytes::new(done), content.length())?;
        }
        if hasher.finish() != *digest {
            return Err(corrupt(name, "is not what its digest says"));
        }
    }
    Ok(())
}
