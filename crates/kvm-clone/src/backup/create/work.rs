//! What of a machine becomes a file of its point.

use kvm_core::op::{PlanLine, Step};
use kvm_core::{Bytes, DiskPath, Error, ErrorKind, Host, Resource, Result, VmSummary};
use kvm_image::{Expect, Format};
use kvm_vm::{VolumeRef, inspect};
use kvm_wire::Digest;
use kvm_xml::Domain;
use kvm_xml::domain::Disk;
use kvm_xml::rewrite::Location;

use super::BackupSpec;
use crate::backup::manifest::{Manifest, StoredDisk, StoredFile, StoredFormat, TPM, VARIABLES, image_name};
use crate::backup::step::{At, StoreFile, StoreTpm};
use crate::place;
use crate::spec::Compress;
use crate::step::{Ends, Whole};
use crate::survey::has;
use crate::tally::{Tally, TallyOf};
use crate::tpm::ToStore;

/// A file whose size and digest are seen when it is there.
pub(super) fn unknown(file: &str) -> StoredFile {
    StoredFile { file: file.to_owned(), size: Bytes::ZERO, digest: Digest::ZERO }
}

/// What is being put together: the files of the point, each with its line and its step.
pub(super) struct Work<'a> {
    pub(super) at: &'a At,
    pub(super) ends: &'a Ends,
    pub(super) base: Option<&'a Manifest>,
    pub(super) spec: &'a BackupSpec,
    pub(super) lines: Vec<PlanLine>,
    pub(super) steps: Vec<Box<dyn Step>>,
    pub(super) needed: Bytes,
    pub(super) tally: Tally,
}

impl Work<'_> {
    pub(super) async fn disk(&mut self, source: &Host, disk: &Disk) -> Result<Option<StoredDisk>> {
        let target = disk.target.as_ref().and_then(|target| target.dev.as_ref()).map(ToString::to_string);
        let target = target.unwrap_or_default();
        let Some(location) = place::location(disk) else {
            return match &disk.source {
                // An empty drive.
                None => Ok(None),
                Some(_) => Err(refused(&target, "is on a server, and is not backed up")),
            };
        };
        if disk.encryption.is_some() || disk.source.as_ref().is_some_and(|source| source.encryption.is_some()) {
            return Err(refused(&target, "is encrypted, and is not backed up"));
        }
        let volume = place::volume(source, &location).await.map_err(|e| unknown_volume(&target, &location, e))?;
        // A guest can write any header into its disk: what the definition says counts.
        let said = disk.driver.as_ref().and_then(|driver| driver.r#type).map(|format| format.to_string());
        let format = match said.as_deref().unwrap_or("raw") {
            "raw" => StoredFormat::Raw,
            "qcow2" => StoredFormat::Qcow2,
            other => return Err(refused(&target, &format!("is of format {other}; only raw and qcow2 are backed up"))),
        };
        let path = volume.host_path()?.clone();
        let is_overlay = format == StoredFormat::Qcow2 && self.judge(source, &target, &path).await?;
        let (file, size) = (image_name(&target, format)?, volume.capacity);
        let whole = match is_overlay {
            true => {
                let of = VolumeRef { pool: volume.pool.clone(), volume: volume.name.clone() };
                Some(Whole::new(of, &volume.name, size, format.as_str())?)
            }
            false => None,
        };
        let note = format!("{format}, {size}, {} on disk", volume.allocation);
        self.lines.push(PlanLine::new("store", "disk", &target).note(match is_overlay {
            true => format!("{path}: {note}; an overlay, which becomes whole"),
            false => format!("{path}: {note}"),
        }));
        self.needed = self.needed.saturating_add(volume.allocation);
        let tally = self.tally.of(&target);
        self.file(path, &file, whole, tally);
        let stored = unknown(&file);
        Ok(Some(StoredDisk { target, format, virtual_size: size, allocated: Bytes::ZERO, stored }))
    }

    /// Whether a qcow2 image lies upon another one. `Unsupported` when it has data elsewhere, or is no such image.
    async fn judge(&self, source: &Host, target: &str, path: &DiskPath) -> Result<bool> {
        let seen = inspect(&*source.transport, path.as_path(), Some(Format::Qcow2)).await?;
        match kvm_image::check(&seen, &Expect::format(Format::Qcow2).in_a_chain()) {
            Ok(_) => Ok(seen.backing.is_some()),
            Err(e) => Err(refused(target, "is an image that is not backed up").with_source(kvm_core::Error::from(e))),
        }
    }

    /// First of all: what comes while the images are copied is another moment than theirs.
    pub(super) fn tpm(&mut self, vm: &VmSummary, found: Option<ToStore>) -> Option<StoredFile> {
        match found? {
            ToStore::State(path) => {
                self.lines.push(PlanLine::new("store", "tpm", path.as_str()));
                self.steps.push(Box::new(StoreTpm { at: self.at.clone(), source: self.ends.source.clone(), path }));
                Some(unknown(TPM))
            }
            ToStore::Nothing(why) => {
                self.lines.push(PlanLine::new("note", "domain", vm.name.as_str()).note(why));
                None
            }
        }
    }

    /// Those of a machine that never ran are not there yet.
    pub(super) async fn variables(&mut self, source: &Host, document: &Domain) -> Result<Option<StoredFile>> {
        let Some(path) = document.os.as_ref().and_then(|os| os.nvram.as_ref()).and_then(|nvram| nvram.value.as_ref())
        else {
            return Ok(None);
        };
        if !has(source, path).await? {
            return Ok(None);
        }
        self.lines.push(PlanLine::new("store", "nvram", path));
        self.file(DiskPath::adopt(path)?, VARIABLES, None, TallyOf::default());
        Ok(Some(unknown(VARIABLES)))
    }

    fn file(&mut self, path: DiskPath, file: &str, whole: Option<Whole>, tally: TallyOf) {
        let base = self.base.filter(|base| base.files().any(|stored| stored.file == file));
        self.steps.push(Box::new(StoreFile {
            at: self.at.clone(),
            source: self.ends.source.clone(),
            path,
            is_qcow2: file.ends_with(".qcow2"),
            file: file.to_owned(),
            whole,
            base: base.map(|base| base.point),
            limit: self.spec.limit.bytes_per_second(),
            is_compressed: self.spec.compression == Compress::Auto,
            at_once: self.spec.parallel,
            tally,
        }));
    }
}

fn refused(target: &str, why: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("disk {target} {why}")).on(Resource::Field("disk".into()))
}

fn unknown_volume(target: &str, location: &Location, e: Error) -> Error {
    match e.kind() {
        ErrorKind::NotFound => {
            Error::new(ErrorKind::InvalidState, format!("disk {target}: no pool of the host knows {location}"))
                .on(Resource::Volume(location.to_string()))
                .with_detail("refresh its pool, or make one: kvmctl pool create NAME --target DIR")
        }
        _ => e,
    }
}
