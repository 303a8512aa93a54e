//! Appliances: an archive with everything, or a document with its files beside it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use kvm_core::{Error, ErrorKind, Resource, Result};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

use super::{Package, Watch, corrupt, file_error, small, verify};
use crate::archive::{broken, walk};
use crate::{Content, Manifest, MemberName};

/// What an archive is made of.
const BLOCK: u64 = 512;

/// Opens an OVA: its files are read where they stand in the archive.
pub(super) fn open_archive(file: Arc<File>, watch: Watch<'_>) -> Result<Package> {
    let end = (&*file).seek(SeekFrom::End(0)).map_err(broken)?;
    (&*file).seek(SeekFrom::Start(0)).map_err(broken)?;
    let (mut contents, mut order) = (BTreeMap::new(), Vec::new());
    let mut archive = tar::Archive::new(&*file);
    walk(archive.entries_with_seek().map_err(broken)?, &mut |member| {
        // An archive is made of whole blocks: one that ends within the last of them was cut as well.
        let stop = member.offset.checked_add(member.length).and_then(|stop| stop.checked_next_multiple_of(BLOCK));
        if stop.is_none_or(|stop| stop > end) {
            return Err(corrupt(&member.name, "is cut off"));
        }
        let content = Content::new(Arc::clone(&file), member.offset, member.length);
        order.push(member.name.clone());
        contents.insert(member.name, content);
        Ok(())
    })?;
    let document = only(&order, ".ovf")?.ok_or_else(|| no_document("the archive has no OVF document"))?;
    let manifest = match only(&order, ".mf")? {
        Some(name) => Some(read_manifest(name, &contents[name])?),
        None => None,
    };
    if let Some(manifest) = &manifest {
        verify(manifest, &contents, watch)?;
        let has_digest = |name: &&MemberName| {
            manifest.get(name).is_some() || name.as_str().ends_with(".mf") || name.as_str().ends_with(".cert")
        };
        if let Some(name) = order.iter().find(|name| !has_digest(name)) {
            return Err(corrupt(name, "has no digest in the manifest"));
        }
    }
    let text = small(document, &contents[document])?;
    Package::appliance(&text, manifest.as_ref(), contents)
}

/// Opens a document whose files are in its own directory, or below it, and reached through no link.
pub(super) fn open_folder(path: &Path, file: &File, watch: Watch<'_>) -> Result<Package> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = openat(CWD, parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| file_error(parent, e.into()))?;
    let open = |name: &str| {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(openat2(&folder, name, flags, Mode::empty(), resolve)?);
        let metadata = file.metadata()?;
        match metadata.is_file() {
            true => Ok(Content::new(Arc::new(file), 0, metadata.len())),
            false => Err(std::io::Error::from(std::io::ErrorKind::InvalidInput)),
        }
    };
    let length = file.metadata().map_err(|e| file_error(path, e))?.len();
    let document = Content::new(Arc::new(file.try_clone().map_err(|e| file_error(path, e))?), 0, length);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = MemberName::parse(name)?;
    let text = small(&name, &document)?;
    let stem = name.as_str().rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
    let manifest_name = format!("{stem}.mf");
    let manifest = match open(&manifest_name) {
        Ok(content) => Some(read_manifest(&MemberName::parse(&manifest_name)?, &content)?),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(file_error(&parent.join(&manifest_name), e)),
    };
    let mut contents = BTreeMap::from([(name, document)]);
    // What a document refers to is known when it is read, which is done once more with the files at hand.
    let appliance = crate::read_ovf(&String::from_utf8_lossy(&text))?;
    let referred = appliance.disks.iter().filter_map(|disk| Some(disk.file.as_ref()?.name.clone()));
    let listed = manifest.iter().flat_map(Manifest::iter).map(|(name, _)| name.clone());
    for name in referred.chain(listed) {
        if let Entry::Vacant(place) = contents.entry(name) {
            let content = open(place.key().as_str()).map_err(|e| {
                let error = file_error(&parent.join(place.key().as_str()), e);
                error.with_detail("a file of an appliance is beside its OVF document, and no link")
            })?;
            place.insert(content);
        }
    }
    if let Some(manifest) = &manifest {
        verify(manifest, &contents, watch)?;
    }
    Package::appliance(&text, manifest.as_ref(), contents)
}

fn read_manifest(name: &MemberName, content: &Content) -> Result<Manifest> {
    let bytes = small(name, content)?;
    Manifest::parse(std::str::from_utf8(&bytes).map_err(|e| corrupt(name, "is not text").with_source(e))?)
}

/// The one member whose name ends so. With two of them nobody knows which is meant.
fn only<'a>(names: &'a [MemberName], ending: &str) -> Result<Option<&'a MemberName>> {
    let mut found = names.iter().filter(|name| name.as_str().to_lowercase().ends_with(ending));
    match (found.next(), found.next()) {
        (first, None) => Ok(first),
        _ => Err(Error::invalid("archive_member", format!("the archive has two members that end in {ending}"))),
    }
}

fn no_document(why: &str) -> Error {
    Error::new(ErrorKind::Corrupt, why).on(Resource::Field("ovf".into()))
}
