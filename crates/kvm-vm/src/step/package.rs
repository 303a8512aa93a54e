//! Machines that become packages, and volumes that are filled from packages.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use kvm_archive::{BundleImage, MemberName, Package, write_bundle, write_ova};
use kvm_core::op::{Already, Probe, Step, StepContext};
use kvm_core::{
    Bytes, DiskPath, Error, ErrorKind, Holes, Piece, Progress, Resource, Result, Secrets, View, VmId, VmName, VmRef,
};
use kvm_image::write::Qcow2;
use kvm_image::{CHAIN_MAX, Disk, Expect, Format, ReferenceKind, check, inspect_as};
use kvm_xml::Document as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::to_json;
use crate::package::{PackageForm, Source, describe, judge, refuse_used, told};
use crate::spec::{VolumeFormat, VolumeRef};
use crate::volume::pump::{Told, Way, unless_cancelled};
use crate::volume::{Verify, content, local};

/// How many pieces may wait between a package and the network.
const AHEAD: usize = 4;

/// Writes a machine with its disks into a file that has not got its name yet.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WritePackage {
    pub(crate) id: VmId,
    pub(crate) name: VmName,
    pub(crate) form: PackageForm,
    pub(crate) partial: PathBuf,
    /// Where a disk is for a moment while it is fetched.
    pub(crate) scratch: PathBuf,
    pub(crate) shows_secrets: bool,
    pub(crate) disks: Vec<PackedDisk>,
}

/// A disk that goes into a package.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PackedDisk {
    pub(crate) target: String,
    pub(crate) volume: VolumeRef,
    pub(crate) format: Format,
}

/// An image and those that it lies upon.
type Layers = Vec<(File, Format)>;

impl WritePackage {
    pub(crate) const NAME: &'static str = "write-package";

    async fn check_off(&self, cx: &StepContext<'_>) -> Result<()> {
        refuse_used(&cx.host.hypervisor.find(&VmRef::Id(self.id)).await?)
    }

    /// Fetches an image with everything below it.
    async fn fetch(&self, disk: &PackedDisk, cx: &StepContext<'_>) -> Result<Layers> {
        let (mut volume, mut format, mut layers) = (disk.volume.clone(), disk.format, Layers::new());
        loop {
            Way { volume: &volume, file: &self.scratch, holes: Holes::Keep, verify: Verify::Count }
                .download(cx)
                .await?;
            let scratch = self.scratch.clone();
            let (file, below) = local::blocking(move || {
                let unread = |e| local::trouble("read", &scratch, e);
                let file = File::open(&scratch).map_err(unread)?;
                std::fs::remove_file(&scratch).map_err(unread)?;
                let seen = inspect_as(&file, Some(format))?;
                check(&seen, &Expect::format(format).in_a_chain())?;
                Ok((file, seen.backing))
            })
            .await?;
            layers.push((file, format));
            let Some(below) = below else { return Ok(layers) };
            let broken = |why: &str| {
                Error::new(ErrorKind::Corrupt, format!("volume {volume} {why}")).on(Resource::Volume(volume.as_text()))
            };
            if layers.len() >= CHAIN_MAX {
                return Err(broken("lies upon too many images"));
            }
            let known = below.known_format().filter(|_| below.kind == ReferenceKind::File);
            let below_format = known.ok_or_else(|| broken("does not say what it lies upon"))?;
            let here = cx.host.storage.find_volume(&volume.pool, &volume.volume).await?;
            let folder = here.host_path()?.as_str().rsplit_once('/').map_or("", |(folder, _)| folder);
            let path =
                if below.name.starts_with('/') { below.name.clone() } else { format!("{folder}/{}", below.name) };
            let found = cx.host.storage.volume_at(&DiskPath::adopt(&path)?).await?;
            (volume, format) = (VolumeRef { pool: found.pool, volume: found.name }, below_format);
        }
    }
}

#[async_trait]
impl Step for WritePackage {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("write {} with its disks", self.name)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Conflict
    }

    /// Nobody sees whether a file holds all of a machine: one that was interrupted is written again.
    async fn probe(&self, _: &StepContext<'_>) -> Result<Probe> {
        Ok(Probe::Pending)
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        self.check_off(cx).await?;
        let mut disks = Vec::with_capacity(self.disks.len());
        for disk in &self.disks {
            disks.push((disk.target.clone(), self.fetch(disk, cx).await?));
        }
        // It may have been started meanwhile.
        self.check_off(cx).await?;
        let secrets = if self.shows_secrets { Secrets::Show } else { Secrets::Hide };
        let document = cx.host.hypervisor.definition(&self.id, View { secrets, ..View::CONFIG }).await?;
        let (form, partial, stem) = (self.form, self.partial.clone(), stem(&self.name));
        told("write", cx.reporter, cx.cancel, move |watch| write(form, &partial, &stem, &document, &disks, watch)).await
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        local::forget(&self.scratch).await?;
        local::forget(&self.partial).await
    }
}

/// What the files of a package begin with: the machine's name, as far as every system takes it.
fn stem(name: &VmName) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let stem: String = name.as_str().chars().map(plain).take(60).collect();
    format!("{}{}", if stem.starts_with(['.', '-']) { "_" } else { "" }, stem)
}

fn write(
    form: PackageForm,
    partial: &Path,
    stem: &str,
    document: &kvm_xml::Domain,
    disks: &[(String, Layers)],
    watch: kvm_archive::Watch<'_>,
) -> Result<()> {
    let mut opened = Vec::with_capacity(disks.len());
    for (_, layers) in disks {
        let mut whole: Option<Disk<'_>> = None;
        for (file, format) in layers.iter().rev() {
            let layer = Disk::open(file, *format)?;
            whole = Some(match whole {
                Some(below) => layer.over(below)?,
                None => layer,
            });
        }
        opened.push(whole.ok_or_else(|| Error::internal("a disk without an image"))?);
    }
    let folder = partial.parent().unwrap_or(Path::new("/"));
    let unwritten = |e| local::trouble("write", partial, e);
    match std::fs::remove_file(partial) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(unwritten(e)),
        _ => {}
    }
    let out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(partial).map_err(unwritten)?;
    match form {
        PackageForm::Ova => {
            let sizes: Vec<_> = opened.iter().map(Disk::size).collect();
            write_ova(out, stem, describe(document, &sizes), &mut opened, folder, watch)
        }
        PackageForm::Bundle => {
            let names = disks.iter().map(|(target, _)| target.clone());
            let mut images: Vec<_> = names.zip(opened).map(|(target, disk)| BundleImage { target, disk }).collect();
            write_bundle(out, &document.to_xml(), &mut images, watch)
        }
    }
}

/// Fills a new volume with a disk of a package.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FillVolume {
    pub(crate) volume: VolumeRef,
    #[serde(rename = "size_bytes")]
    pub(crate) size: Bytes,
    /// Whether it takes space only as it is written.
    pub(crate) grows: bool,
    pub(crate) to: VolumeFormat,
    #[serde(flatten)]
    pub(crate) source: Source,
    pub(crate) member: String,
    pub(crate) from: Format,
}

impl FillVolume {
    pub(crate) const NAME: &'static str = "fill-volume";

    async fn open(&self, cx: &StepContext<'_>) -> Result<Arc<Package>> {
        if let Some(open) = &self.source.open {
            return Ok(Arc::clone(open));
        }
        let Source { file, staging, .. } = self.source.clone();
        told("verify", cx.reporter, cx.cancel, move |watch| Package::open(&file, &staging, watch)).await.map(Arc::new)
    }

    async fn fill(&self, cx: &StepContext<'_>) -> Result<()> {
        let (package, member) = (self.open(cx).await?, MemberName::parse(&self.member)?);
        let (from, to, size) = (self.from, self.to, self.size);
        let (to_pieces, mut pieces) = mpsc::channel(AHEAD);
        let (to_length, length) = oneshot::channel();
        let task = spawn_blocking(move || produce(&package, &member, from, to, size, to_length, to_pieces));
        let gone = || Error::internal("a disk was not read to its end");
        let Ok(length) = length.await else {
            return Err(task.await.map_err(|e| gone().with_source(e))?.err().unwrap_or_else(gone));
        };
        // What a device held before stands where nothing is written.
        let holes = if self.grows { Holes::Keep } else { Holes::Fill };
        let VolumeRef { pool, volume } = &self.volume;
        let content = content(cx.host)?;
        let mut writer = match content.upload(pool, volume, length, holes).await {
            Err(e) if e.kind() == ErrorKind::Unsupported => content.upload(pool, volume, length, Holes::Fill).await?,
            opened => opened?,
        };
        let mut told = Told::new(self.title(), length, cx);
        while let Some(piece) = pieces.recv().await {
            let length = piece.length();
            writer.write(piece).await?;
            told.more(length);
        }
        task.await.map_err(|e| gone().with_source(e))??;
        writer.finish().await
    }
}

#[async_trait]
impl Step for FillVolume {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> String {
        format!("fill volume {} from {}", self.volume, self.member)
    }

    fn to_json(&self) -> Result<Value> {
        to_json(self)
    }

    fn already(&self) -> Already {
        Already::Fine
    }

    /// Nobody sees from outside whether a volume holds all of a disk: one that was interrupted is filled again.
    async fn probe(&self, _: &StepContext<'_>) -> Result<Probe> {
        Ok(Probe::Pending)
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        unless_cancelled(cx, self.fill(cx)).await?;
        // Only now the pool can see what it is. One that is busy looks by itself when it is no longer.
        if let Err(e) = cx.host.storage.refresh_pool(&self.volume.pool).await {
            let message = format!("pool {} has not looked at {} yet: {e}", self.volume.pool, self.volume);
            cx.reporter.report(&Progress::Warning { message });
        }
        Ok(())
    }

    /// What was written goes with the volume.
    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        Ok(())
    }
}

/// Reads a disk of a package and makes it anew, piece by piece.
fn produce(
    package: &Package,
    member: &MemberName,
    from: Format,
    to: VolumeFormat,
    size: Bytes,
    length: oneshot::Sender<Bytes>,
    pieces: mpsc::Sender<Piece>,
) -> Result<()> {
    if judge(package, member, from)? != size {
        let message = format!("{member} of the package is another disk than when the plan was made");
        return Err(Error::new(ErrorKind::Corrupt, message).on(Resource::Field("archive_member".into())));
    }
    let content = package.content(member).ok_or_else(|| Error::internal("a disk of the package is gone"))?;
    let mut disk = Disk::open(content, from)?;
    // Nobody who takes the pieces any more has a reason of its own, which is told in place of this one.
    let gone = || Error::new(ErrorKind::Cancelled, "nobody takes the disk any longer");
    match to {
        VolumeFormat::Qcow2 => {
            let plan = Qcow2::plan(&mut disk)?;
            length.send(Bytes::new(plan.length())).map_err(|_| gone())?;
            let mut out = Pieces { to: pieces, data: Vec::new() };
            plan.write(&mut disk, &mut out)?;
            out.flush().map_err(|_| gone())
        }
        VolumeFormat::Raw => {
            length.send(size).map_err(|_| gone())?;
            let mut offset = 0;
            while offset < size.get() {
                let rest = size.get() - offset;
                let hole = disk.hole(offset, rest)?;
                let piece = if hole > 0 {
                    Piece::Hole(Bytes::new(hole))
                } else {
                    let length = rest.min(Piece::DATA_MAX.get());
                    let mut data = vec![0; usize::try_from(length).unwrap_or(0)];
                    disk.read(offset, &mut data)?;
                    match data.iter().all(|byte| *byte == 0) {
                        true => Piece::Hole(Bytes::new(length)),
                        false => Piece::Data(data),
                    }
                };
                offset += piece.length().get();
                pieces.blocking_send(piece).map_err(|_| gone())?;
            }
            Ok(())
        }
    }
}

/// Makes pieces of what is written.
struct Pieces {
    to: mpsc::Sender<Piece>,
    data: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = usize::try_from(Piece::DATA_MAX.get()).unwrap_or(usize::MAX);
        let taken = bytes.len().min(most - self.data.len());
        self.data.extend(&bytes[..taken]);
        if self.data.len() == most {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.data.is_empty() {
            return Ok(());
        }
        let piece = Piece::Data(std::mem::take(&mut self.data));
        self.to.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_package_have_names_for_every_system() {
        let of = |name: &str| stem(&VmName::parse(name).unwrap());
        assert_eq!(of("web-01.example"), "web-01.example");
        assert_eq!(of("Überwachung: a/b".replace('/', "").as_str()), "_berwachung__ab");
        assert!(MemberName::parse(&format!("{}.ovf", of("x$(id)"))).is_ok());
    }
}
