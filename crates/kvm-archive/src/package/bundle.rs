//! Bundles: a compressed archive, unpacked into files without a name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;

use kvm_core::{Bytes, Error, ErrorKind, Resource, Result};

use super::{CHUNK, Machine, Package, Watch, corrupt, file_error};
use crate::archive::{Member, broken, walk};
use crate::manifest::Manifest;
use crate::{Algorithm, BundleIndex, Content, Hasher, MemberName, OVF_MAX};

/// The most memory that decompression takes: what zstd itself takes for its highest ordinary levels.
const WINDOW_LOG_MAX: u32 = 27;
/// What is only zeros is not written: so long it has to be.
const BLOCK: usize = 64 << 10;

/// Opens a bundle.
pub(super) fn open(mut file: File, staging: &Path, watch: Watch<'_>) -> Result<Package> {
    file.seek(SeekFrom::Start(0)).map_err(broken)?;
    let mut decoder =
        zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(CHUNK, file)).map_err(broken)?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(broken)?;
    let mut archive = tar::Archive::new(decoder);
    let mut reader = Reader { staging, index: None, wanted: BTreeMap::new(), unpacked: BTreeMap::new(), sums: None };
    walk(archive.entries().map_err(broken)?, &mut |member| reader.take(member, watch))?;
    reader.finish()
}

struct Reader<'a> {
    staging: &'a Path,
    index: Option<BundleIndex>,
    /// What has to come, and how long it is.
    wanted: BTreeMap<MemberName, Bytes>,
    unpacked: BTreeMap<MemberName, (Content, Hasher)>,
    sums: Option<Manifest>,
}

impl Reader<'_> {
    fn take(&mut self, member: Member<'_>, watch: Watch<'_>) -> Result<()> {
        if self.sums.is_some() {
            return Err(corrupt(&member.name, "comes after the digests"));
        }
        if self.index.is_none() {
            return self.begin(member);
        }
        if member.name.as_str() == BundleIndex::SUMS {
            let mut text = String::new();
            let bytes = small(member)?;
            text.push_str(std::str::from_utf8(&bytes).map_err(|e| broken(std::io::Error::other(e)))?);
            self.sums = Some(Manifest::parse_sums(&text)?);
            return Ok(());
        }
        match self.wanted.remove(&member.name) {
            Some(length) if length.get() == member.length => self.unpack(member, watch),
            Some(_) => Err(corrupt(&member.name, "has another length than the index says")),
            None => Err(corrupt(&member.name, "is not in the index")),
        }
    }

    /// Reads the index, which is the first member, and looks whether there is room for what it announces.
    fn begin(&mut self, member: Member<'_>) -> Result<()> {
        if member.name.as_str() != BundleIndex::NAME {
            return Err(Error::new(ErrorKind::Corrupt, "the archive is no bundle of a machine: it has no index")
                .on(Resource::Field("bundle".into())));
        }
        let name = member.name.clone();
        let bytes = small(member)?;
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(&bytes);
        let index = BundleIndex::read(&bytes)?;
        let mut total = Bytes::ZERO;
        for (name, length) in index.members()? {
            total = total.saturating_add(length);
            if self.wanted.insert(name.clone(), length).is_some() {
                return Err(corrupt(&name, "is twice in the index"));
            }
        }
        let space = rustix::fs::statvfs(self.staging).map_err(|e| file_error(self.staging, e.into()))?;
        let free = Bytes::new(space.f_bavail.saturating_mul(space.f_frsize));
        if total > free {
            let place = self.staging.display();
            return Err(Error::new(ErrorKind::NoSpace, format!("not enough space in {place} to unpack the bundle"))
                .on(Resource::File(place.to_string()))
                .with_detail(format!("it needs {total}, free are {free}; choose another directory")));
        }
        let file = self.unnamed()?;
        self.unpacked.insert(name, (Content::new(Arc::new(file), 0, 0), hasher));
        self.index = Some(index);
        Ok(())
    }

    fn unnamed(&self) -> Result<File> {
        tempfile::tempfile_in(self.staging).map_err(|e| file_error(self.staging, e))
    }

    /// Unpacks a member, exactly as long as it said.
    fn unpack(&mut self, member: Member<'_>, watch: Watch<'_>) -> Result<()> {
        let Member { name, length, bytes, .. } = member;
        let mut file = self.unnamed()?;
        let unwritten = |e| file_error(self.staging, e);
        file.set_len(length).map_err(unwritten)?;
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut buffer = vec![0; CHUNK];
        let mut done = 0;
        while done < length {
            let want = usize::try_from(length - done).unwrap_or(CHUNK).min(CHUNK);
            let read = bytes.read(&mut buffer[..want]).map_err(broken)?;
            if read == 0 {
                return Err(corrupt(&name, "is cut off"));
            }
            hasher.update(&buffer[..read]);
            for block in buffer[..read].chunks(BLOCK) {
                match block.iter().all(|byte| *byte == 0) {
                    true => file.seek(SeekFrom::Current(block.len() as i64)).map(drop),
                    false => file.write_all(block),
                }
                .map_err(unwritten)?;
            }
            done += read as u64;
            watch(&name, Bytes::new(done), Bytes::new(length))?;
        }
        self.unpacked.insert(name, (Content::new(Arc::new(file), 0, length), hasher));
        Ok(())
    }

    fn finish(self) -> Result<Package> {
        let index = self.index.ok_or_else(|| broken(std::io::ErrorKind::UnexpectedEof.into()))?;
        if let Some(name) = self.wanted.keys().next() {
            return Err(corrupt(name, "is missing"));
        }
        let sums = self.sums.ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "the bundle has no digests at its end; take another copy")
                .on(Resource::Field("bundle".into()))
        })?;
        if let Some((name, _)) = sums.iter().find(|(name, _)| !self.unpacked.contains_key(*name)) {
            return Err(corrupt(name, "has a digest, but is missing"));
        }
        let mut contents = BTreeMap::new();
        for (name, (content, hasher)) in self.unpacked {
            if sums.get(&name) != Some(&hasher.finish()) {
                return Err(corrupt(&name, "is not what its digest says"));
            }
            contents.insert(name, content);
        }
        let name = MemberName::parse(BundleIndex::DEFINITION)?;
        let definition = super::small(&name, &contents[&name])?;
        let definition = String::from_utf8(definition).map_err(|e| corrupt(&name, "is not UTF-8").with_source(e))?;
        Ok(Package { machine: Machine::Bundle { definition, index }, contents, is_verified: true })
    }
}

/// A small member as a whole.
fn small(member: Member<'_>) -> Result<Vec<u8>> {
    if member.length > OVF_MAX {
        return Err(Error::invalid("archive_member", format!("archive member {} is longer than 1 MiB", member.name)));
    }
    let mut bytes = Vec::new();
    member.bytes.take(OVF_MAX).read_to_end(&mut bytes).map_err(broken)?;
    match bytes.len() as u64 == member.length {
        true => Ok(bytes),
        false => Err(corrupt(&member.name, "is cut off")),
    }
}
