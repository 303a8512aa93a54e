//! Packages, written from the beginning to the end.

use std::fs::File;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write};
use std::path::Path;

use kvm_core::{Bytes, Error, ErrorKind, Resource, Result};
use kvm_image::write::{Qcow2, stream_vmdk};
use kvm_image::{Disk, Format};

use crate::manifest::Manifest;
use crate::package::Watch;
use crate::{Algorithm, Appliance, ApplianceFile, BundleDisk, BundleIndex, Digest, Hasher, MemberName, write_ovf};

const BUFFER: usize = 1 << 20;
/// Disks compress well and fast at the lowest level, and hardly better at higher ones.
const LEVEL: i32 = 3;

/// Writes an OVA: the document, the manifest, then the disks as compressed VMDK streams.
///
/// The names of the files begin with `stem`. `disks` are those of the appliance, in its order; what it says about their
/// files is filled in here. `staging` has room for the disks, which are written there first, without a name: their lengths
/// belong into the document in front of them.
pub fn write_ova(
    out: File,
    stem: &str,
    mut appliance: Appliance,
    disks: &mut [Disk<'_>],
    staging: &Path,
    watch: Watch<'_>,
) -> Result<()> {
    let mut manifest = Manifest::default();
    let mut streams = Vec::with_capacity(disks.len());
    for (number, (described, disk)) in (1..).zip(appliance.disks.iter_mut().zip(disks)) {
        let name = MemberName::parse(&format!("{stem}-disk{number}.vmdk"))?;
        let file = tempfile::tempfile_in(staging).map_err(unwritten)?;
        let mut counted = Counted::new(BufWriter::with_capacity(BUFFER, file), &name, disk.size(), watch);
        let populated = stream_vmdk(disk, &mut counted).map_err(|e| counted.failure(e.into()))?;
        let (file, length, digest) = counted.finish()?;
        described.file = Some(ApplianceFile {
            name: name.clone(),
            format: Format::Vmdk,
            length: Some(length),
            populated: Some(Bytes::new(populated)),
        });
        manifest.insert(name.clone(), digest);
        streams.push((name, length, file.into_inner().map_err(|e| unwritten(e.into_error()))?));
    }
    let document = write_ovf(&appliance);
    let name = MemberName::parse(&format!("{stem}.ovf"))?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(document.as_bytes());
    manifest.insert(name.clone(), hasher.finish());
    let mut archive = tar::Builder::new(BufWriter::with_capacity(BUFFER, out));
    add(&mut archive, &name, document.len() as u64, document.as_bytes())?;
    let text = manifest.to_text();
    add(&mut archive, &MemberName::parse(&format!("{stem}.mf"))?, text.len() as u64, text.as_bytes())?;
    for (name, length, mut file) in streams {
        file.seek(SeekFrom::Start(0)).map_err(unwritten)?;
        add(&mut archive, &name, length.get(), file)?;
    }
    let out = archive.into_inner().and_then(|out| out.into_inner().map_err(io::IntoInnerError::into_error));
    out.and_then(|out| out.sync_all()).map_err(unwritten)
}

/// A disk that goes into a bundle.
pub struct BundleImage<'a> {
    /// The name under which the machine's document plugs it in, such as `vda`.
    pub target: String,
    /// What the guest sees.
    pub disk: Disk<'a>,
}

/// Writes a bundle: the index, the machine's document, each disk as a qcow2 image, and the digests.
pub fn write_bundle(out: File, definition: &str, disks: &mut [BundleImage<'_>], watch: Watch<'_>) -> Result<()> {
    let mut plans = Vec::with_capacity(disks.len());
    for image in disks.iter_mut() {
        let file = MemberName::parse(&format!("disks/{}.qcow2", image.target))?;
        let plan = Qcow2::plan(&mut image.disk).map_err(Error::from)?;
        let (length, capacity) = (Bytes::new(plan.length()), image.disk.size());
        plans.push((plan, BundleDisk { target: image.target.clone(), file, length, capacity }));
    }
    let described = plans.iter().map(|(_, disk)| disk.clone()).collect();
    let index = BundleIndex::new(Bytes::new(definition.len() as u64), described);
    let index =
        serde_json::to_vec_pretty(&index).map_err(|e| Error::internal("the index has no JSON form").with_source(e))?;

    let encoder = zstd::stream::write::Encoder::new(BufWriter::with_capacity(BUFFER, out), LEVEL);
    let mut encoder = encoder.map_err(unwritten)?;
    encoder.include_checksum(true).map_err(unwritten)?;
    let mut archive = tar::Builder::new(encoder);
    let mut manifest = Manifest::default();
    for (name, bytes) in [(BundleIndex::NAME, index.as_slice()), (BundleIndex::DEFINITION, definition.as_bytes())] {
        let name = MemberName::parse(name)?;
        add(&mut archive, &name, bytes.len() as u64, bytes)?;
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(bytes);
        manifest.insert(name, hasher.finish());
    }
    for ((plan, described), image) in plans.iter().zip(disks) {
        let name = &described.file;
        let header = header(name, plan.length())?;
        archive.get_mut().write_all(header.as_bytes()).map_err(unwritten)?;
        let mut counted = Counted::new(archive.get_mut(), name, described.length, watch);
        plan.write(&mut image.disk, &mut counted).map_err(|e| counted.failure(e.into()))?;
        let (_, length, digest) = counted.finish()?;
        // An image is made of whole clusters, so no padding follows; the archive would be wrong if it were otherwise.
        if length != described.length || !length.get().is_multiple_of(512) {
            return Err(Error::internal("an image has another length than planned"));
        }
        manifest.insert(name.clone(), digest);
    }
    let sums = manifest.to_sums();
    add(&mut archive, &MemberName::parse(BundleIndex::SUMS)?, sums.len() as u64, sums.as_bytes())?;
    let out = archive.into_inner().and_then(|encoder| encoder.finish());
    let out = out.and_then(|out| out.into_inner().map_err(io::IntoInnerError::into_error));
    out.and_then(|out| out.sync_all()).map_err(unwritten)
}

fn header(name: &MemberName, length: u64) -> Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name.as_str()).map_err(|e| {
        Error::invalid("archive_member", format!("{name} is too long a name for an archive")).with_source(e)
    })?;
    header.set_size(length);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_cksum();
    Ok(header)
}

fn add<W: Write>(archive: &mut tar::Builder<W>, name: &MemberName, length: u64, bytes: impl io::Read) -> Result<()> {
    archive.append(&header(name, length)?, bytes).map_err(unwritten)
}

fn unwritten(source: io::Error) -> Error {
    let kind = match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => ErrorKind::NoSpace,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, "the package cannot be written").on(Resource::Field("file".into())).with_source(source)
}

/// Counts and digests what is written, and tells how far it is.
struct Counted<'a, 'w, W> {
    out: W,
    name: &'a MemberName,
    total: Bytes,
    done: u64,
    hasher: Hasher,
    watch: &'a mut (dyn FnMut(&MemberName, Bytes, Bytes) -> Result<()> + 'w),
    /// Why the watcher wanted to end it.
    stopped: Option<Error>,
}

impl<'a, 'w, W: Write> Counted<'a, 'w, W> {
    fn new(
        out: W,
        name: &'a MemberName,
        total: Bytes,
        watch: &'a mut (dyn FnMut(&MemberName, Bytes, Bytes) -> Result<()> + 'w),
    ) -> Self {
        Self { out, name, total, done: 0, hasher: Hasher::new(Algorithm::Sha256), watch, stopped: None }
    }

    /// The watcher's error in place of the one that it caused.
    fn failure(&mut self, error: Error) -> Error {
        self.stopped.take().unwrap_or(error)
    }

    fn finish(mut self) -> Result<(W, Bytes, Digest)> {
        self.out.flush().map_err(unwritten)?;
        Ok((self.out, Bytes::new(self.done), self.hasher.finish()))
    }
}

impl<W: Write> Write for Counted<'_, '_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.done += written as u64;
        match (self.watch)(self.name, Bytes::new(self.done), self.total) {
            Ok(()) => Ok(written),
            Err(error) => {
                self.stopped = Some(error);
                Err(io::Error::other("stopped"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
