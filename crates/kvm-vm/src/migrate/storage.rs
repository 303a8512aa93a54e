//! Images: those that are copied, with room and a place for them, and those that both hosts have.

use std::collections::{BTreeMap, BTreeSet};

use kvm_core::{
    Bytes, DiskPath, Entropy, Error, ErrorKind, MigrationMode, PoolInfo, PoolName, Result, VolumeInfo, VolumeName,
};
use kvm_xml::domain::{Disk, DiskDevice, DiskFormat};
use kvm_xml::value::{DiskName, Size};
use kvm_xml::volume::{VolumeFormat, VolumeFormatType, VolumeTarget};
use kvm_xml::{Document as _, StorageVolume};

use super::finding::{Check, Finding};
use super::machine::free;
use super::{DiskTransfer, Subject};
use crate::place::{Places, volume_name};
use crate::step::{CreateVolume, Mark};

/// What becomes of a machine's images.
#[derive(Debug, Default)]
pub(super) struct Storage {
    /// Disks whose content is copied.
    pub(super) copied: Vec<DiskName>,
    /// Images to be made on the destination.
    pub(super) volumes: Vec<CreateVolume>,
    /// Pools that have to prove that they are one.
    pub(super) marks: Vec<Mark>,
    /// Images that stay behind, `pool/name`.
    pub(super) left_behind: Vec<String>,
}

/// An image that a machine has.
struct Image<'a> {
    disk: &'a Disk,
    name: DiskName,
    path: DiskPath,
}

/// What is being put together.
struct Work<'a, 'b> {
    subject: &'a Subject<'b>,
    findings: &'a mut Vec<Finding>,
    storage: Storage,
    /// What is needed and promised in each pool of the destination.
    needs: BTreeMap<PoolName, (Bytes, Bytes)>,
    /// Pools that may be one and the same.
    pairs: BTreeSet<(PoolName, PoolName)>,
    pools: Vec<PoolInfo>,
}

pub(super) async fn check(
    subject: &Subject<'_>,
    entropy: &dyn Entropy,
    findings: &mut Vec<Finding>,
) -> Result<Storage> {
    let pools = subject.destination.storage.pools().await?;
    let (needs, pairs) = (BTreeMap::new(), BTreeSet::new());
    let mut work = Work { subject, findings, storage: Storage::default(), needs, pairs, pools };
    let disks = subject.document.devices.iter().flat_map(|devices| &devices.disk);
    for disk in disks {
        work.look(disk).await?;
    }
    work.check_named(subject.document)?;
    work.check_space();
    for (pool, peer_pool) in std::mem::take(&mut work.pairs) {
        let marker = VolumeName::parse(&format!("kvm-manager-marker-{}", entropy.uuid().simple()))?;
        work.storage.marks.push(Mark { pool, peer_pool, marker });
    }
    Ok(work.storage)
}

impl Work<'_, '_> {
    async fn look(&mut self, disk: &Disk) -> Result<()> {
        let Some(name) = disk.target.as_ref().and_then(|target| target.dev.clone()) else { return Ok(()) };
        let Some(source) = &disk.source else { return Ok(()) };
        if disk.encryption.is_some() || source.encryption.is_some() || disk.auth.is_some() {
            self.findings.push(
                Finding::unknown(Check::Secrets, format!("{name} needs a secret"))
                    .why("nobody here can see whether the destination has it under the same uuid"),
            );
        }
        if source.protocol.is_some() {
            self.findings.push(
                Finding::unknown(Check::Storage, format!("{name} is reached over the network"))
                    .why("nobody here can see whether the destination reaches it, too"),
            );
            return Ok(());
        }
        let path = match (&source.file, &source.dev, &source.pool, &source.volume) {
            (Some(path), ..) | (None, Some(path), ..) => DiskPath::adopt(path)?,
            (None, None, Some(pool), Some(volume)) => {
                let (pool, volume) = (PoolName::adopt(pool)?, VolumeName::adopt(volume)?);
                let volume = self.subject.source.storage.find_volume(&pool, &volume).await?;
                match &volume.path {
                    Some(path) => path.clone(),
                    None => return self.reach(&name, &volume).await,
                }
            }
            // An empty drive.
            _ => return Ok(()),
        };
        let image = Image { disk, name, path };
        if self.is_copied(&image) { self.copy(&image).await } else { self.share(&image).await }
    }

    fn is_copied(&self, image: &Image<'_>) -> bool {
        match &self.subject.options.storage {
            DiskTransfer::Shared => false,
            DiskTransfer::Copy => is_writable(image.disk),
            DiskTransfer::CopyOnly(names) => names.contains(&image.name),
        }
    }

    /// Looks whether the destination reaches a volume, too, over the network.
    async fn reach(&mut self, name: &DiskName, here: &VolumeInfo) -> Result<()> {
        let shown = volume_name(here);
        if matches!(&self.subject.options.storage, DiskTransfer::CopyOnly(names) if names.contains(name)) {
            let what = format!("{name} cannot be copied: {shown} is reached over the network");
            self.findings
                .push(Finding::refusal(Check::Storage, what).fix("leave it out: the destination reaches it, too"));
            return Ok(());
        }
        let there = match self.subject.destination.storage.find_volume(&here.pool, &here.name).await {
            // Its pool is there and not active.
            Err(e) if e.kind() == ErrorKind::InvalidState => None,
            there => found(there)?,
        };
        self.findings.push(match there {
            Some(there) if there.address.is_some() && there.address == here.address => {
                Finding::ok(Check::Storage, format!("{name} is {shown} at the same address there"))
            }
            Some(_) => Finding::refusal(Check::SharedStorage, format!("{name}: {shown} is at another address there"))
                .fix("make the pool of this name the same on both hosts"),
            None => Finding::refusal(Check::Storage, format!("{name}: the destination has no volume {shown}"))
                .fix(format!("make the same pool there and start it: kvmctl pool create {}", here.pool)),
        });
        Ok(())
    }

    /// Finds a place for an image on the destination.
    async fn copy(&mut self, image: &Image<'_>) -> Result<()> {
        let (name, path) = (&image.name, &image.path);
        let refuse = |what: String| Finding::refusal(Check::Storage, what);
        if self.subject.mode == MigrationMode::Offline {
            self.findings.push(
                refuse(format!("{name} is copied from a running machine only"))
                    .fix("move it while it runs, or share the storage"),
            );
            return Ok(());
        }
        if !is_writable(image.disk) {
            self.findings.push(refuse(format!("{name} cannot be copied: it is read-only or shared")));
            return Ok(());
        }
        let Some(volume) = found(self.subject.source.storage.volume_at(path).await)? else {
            self.findings.push(
                refuse(format!("{name}: no pool here knows {path}"))
                    .why("its size and format are not known for sure")
                    .fix("refresh its pool, or make one: kvmctl pool create NAME --target DIR"),
            );
            return Ok(());
        };
        let Some(format) = format_of(image.disk) else {
            self.findings.push(refuse(format!("{name} is neither raw nor qcow2")));
            return Ok(());
        };
        let (directory, file) = (parent(path), path.file_name());
        let Some(pool) = self.pools.iter().find(|pool| pool.target.as_ref().map(DiskPath::as_str) == Some(directory))
        else {
            self.findings.push(
                refuse(format!("the destination has no pool in {directory}"))
                    .fix(format!("make one there: kvmctl pool create NAME --target {directory}")),
            );
            return Ok(());
        };
        if !pool.active {
            let fix = format!("kvmctl pool start {}", pool.name);
            self.findings.push(refuse(format!("pool {} is not active on the destination", pool.name)).fix(fix));
            return Ok(());
        }
        let file = VolumeName::adopt(file)?;
        // Whether its kind is one in which new images can be made at that path.
        if Places::is_block(pool) || Places::path_in(pool, &file).ok().as_ref() != Some(path) {
            self.findings.push(refuse(format!("new images cannot be made in pool {} by their path", pool.name)));
            return Ok(());
        }
        if found(self.subject.destination.storage.find_volume(&pool.name, &file).await)?.is_some() {
            self.findings.push(
                refuse(format!("the destination has {path} already"))
                    .why("it may be the same storage, or another VM's disk")
                    .fix("leave --copy-storage out if it is shared; else delete or rename that one"),
            );
            return Ok(());
        }
        let finding = Finding::ok(Check::Storage, format!("{name} is copied to {}/{file}", pool.name));
        self.findings.push(match &volume.backing {
            Some(_) => Finding { verdict: super::Verdict::Warning, ..finding }
                .why("it is an overlay here; the copy holds all of it, and takes the more room"),
            None => finding,
        });
        let need = self.needs.entry(pool.name.clone()).or_default();
        *need = (need.0.saturating_add(volume.allocation), need.1.saturating_add(volume.capacity));
        self.storage.volumes.push(CreateVolume {
            pool: pool.name.clone(),
            volume: file.clone(),
            path: path.clone(),
            size: volume.capacity,
            grows: true,
            document: document(&file, volume.capacity, format),
            is_copy: true,
        });
        self.storage.copied.push(name.clone());
        self.storage.left_behind.push(volume_name(&volume));
        Ok(())
    }

    /// Looks whether the destination has an image, too.
    async fn share(&mut self, image: &Image<'_>) -> Result<()> {
        let (name, path) = (&image.name, &image.path);
        let here = found(self.subject.source.storage.volume_at(path).await)?;
        let Some(there) = found(self.subject.destination.storage.volume_at(path).await)? else {
            let finding = Finding::refusal(Check::Storage, format!("{name}: no pool of the destination has {path}"));
            self.findings.push(match is_writable(image.disk) {
                true => finding.fix("mount the same storage there and refresh its pool, or --copy-storage"),
                false => finding.fix(format!("put it there, too, or take it out: kvmctl disk eject VM {name}")),
            });
            return Ok(());
        };
        let Some(here) = here else {
            self.findings.push(
                Finding::unknown(Check::SharedStorage, format!("{name}: no pool here has {path}"))
                    .why("so nobody can prove that it is the same image as there"),
            );
            return Ok(());
        };
        if (here.capacity, &here.format) != (there.capacity, &there.format) {
            self.findings.push(
                Finding::refusal(Check::SharedStorage, format!("{name}: {path} is another image there"))
                    .why(format!("{} here, {} there", here.capacity, there.capacity)),
            );
            return Ok(());
        }
        if !is_writable(image.disk) && !image.disk.shareable {
            self.findings.push(Finding::ok(Check::Storage, format!("{name}: the destination has one of that size")));
            return Ok(());
        }
        self.findings.push(self.pair(name, &here, &there));
        if self.can_mark(&here) {
            self.pairs.insert((here.pool, there.pool));
        }
        Ok(())
    }

    fn pair(&self, name: &DiskName, here: &VolumeInfo, there: &VolumeInfo) -> Finding {
        let what = format!("{name} is {} here and {} there", volume_name(here), volume_name(there));
        match self.can_mark(here) {
            true => Finding::ok(Check::SharedStorage, what)
                .why("before anything moves, a marker proves that both pools are one"),
            false => Finding::unknown(Check::SharedStorage, what)
                .why("no marker can be written into a pool of devices to prove that both are one"),
        }
    }

    /// Whether the pool's volumes are files.
    fn can_mark(&self, volume: &VolumeInfo) -> bool {
        volume.path.as_ref().is_some_and(|path| !path.as_str().starts_with("/dev/"))
    }

    /// Every disk that was named is one that is copied, or was refused with its reason.
    fn check_named(&mut self, document: &kvm_xml::Domain) -> Result<()> {
        let DiskTransfer::CopyOnly(names) = &self.subject.options.storage else { return Ok(()) };
        let disks: Vec<_> = document.devices.iter().flat_map(|devices| &devices.disk).collect();
        for name in names {
            let has = disks.iter().any(|disk| disk.target.as_ref().and_then(|t| t.dev.as_ref()) == Some(name));
            if !has {
                return Err(Error::invalid("disk", format!("VM {} has no disk {name}", self.subject.vm.name)));
            }
        }
        Ok(())
    }

    fn check_space(&mut self) {
        for (name, (allocated, promised)) in &self.needs {
            let Some(pool) = self.pools.iter().find(|pool| pool.name == *name) else { continue };
            let room = free(pool.available);
            let what = format!("pool {name} there has {room}, {allocated} of {promised} are used here");
            self.findings.push(match pool.available {
                Some(available) if available < *allocated => {
                    Finding::refusal(Check::Space, what).fix("make room there, or have the guest trim its disks first")
                }
                Some(available) if available < *promised => {
                    Finding::warning(Check::Space, what).why("it fits now, and not when the disks fill up")
                }
                Some(_) => Finding::ok(Check::Space, what),
                None => Finding::unknown(Check::Space, what),
            });
        }
    }
}

/// Whether the machine writes to it, and nobody else does.
fn is_writable(disk: &Disk) -> bool {
    let is_disk = matches!(disk.device, None | Some(DiskDevice::Disk | DiskDevice::Lun));
    is_disk && !disk.readonly && !disk.shareable
}

fn format_of(disk: &Disk) -> Option<VolumeFormatType> {
    match disk.driver.as_ref().and_then(|driver| driver.r#type) {
        Some(DiskFormat::Raw) => Some(VolumeFormatType::Raw),
        Some(DiskFormat::Qcow2) => Some(VolumeFormatType::Qcow2),
        _ => None,
    }
}

fn parent(path: &DiskPath) -> &str {
    path.as_str().rsplit_once('/').map_or("/", |(directory, _)| directory)
}

/// An empty image of that size, for the blocks that come.
fn document(name: &VolumeName, capacity: Bytes, format: VolumeFormatType) -> String {
    StorageVolume {
        name: Some(name.as_str().to_owned()),
        capacity: Some(Size::from_bytes(capacity.get())),
        allocation: Some(Size::from_bytes(0)),
        target: Some(VolumeTarget {
            format: Some(VolumeFormat { r#type: Some(format), ..VolumeFormat::default() }),
            ..VolumeTarget::default()
        }),
        ..StorageVolume::default()
    }
    .to_xml()
}

fn found(result: Result<VolumeInfo>) -> Result<Option<VolumeInfo>> {
    match result {
        Ok(volume) => Ok(Some(volume)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
