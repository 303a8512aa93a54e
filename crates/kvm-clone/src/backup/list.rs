//! What is in a store.

use std::collections::BTreeSet;

use kvm_core::{Bytes, Error, ErrorKind, Host, Resource, Result};
use kvm_wire::EntryKind;

use super::manifest::{MANIFEST, MOST, Manifest};
use super::place::{Point, PointId, PointRef, StoreDir, VmDir, inside};
use crate::transfer::Session;

/// A point in a store.
#[derive(Debug)]
pub struct PointSummary {
    /// The directory of its machine.
    pub vm: VmDir,
    /// When it was made.
    pub point: PointId,
    /// What it says of itself; the error when that cannot be read.
    pub manifest: Result<Manifest>,
}

impl PointSummary {
    /// How much its files take; `None` when it does not say.
    #[must_use]
    pub fn allocated(&self) -> Option<Bytes> {
        let manifest = self.manifest.as_ref().ok()?;
        let others = [&manifest.document].into_iter().chain(&manifest.nvram).chain(&manifest.tpm).map(|file| file.size);
        let all = manifest.disks.iter().map(|disk| disk.allocated).chain(others);
        Some(all.fold(Bytes::ZERO, Bytes::saturating_add))
    }
}

/// The points in a store, of one machine or of all: by machine, then by time. What is not ours there is passed over, and
/// so are points that are not whole.
///
/// `NotFound` when the directory is not there, `Unsupported` when the host runs no helper.
pub async fn backups(host: &Host, directory: &StoreDir, vm: Option<&VmDir>) -> Result<Vec<PointSummary>> {
    let mut session = Session::open(&*host.transport).await?;
    let machines = match vm {
        Some(vm) => vec![vm.clone()],
        None => machines(&mut session, directory).await?,
    };
    let mut all = Vec::new();
    for vm in machines {
        for point in points(&mut session, directory, &vm).await? {
            let place = Point { directory: directory.clone(), vm: vm.clone(), point };
            let manifest = match read_manifest(&mut session, &place).await {
                // These say nothing about the point.
                Err(e) if matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => return Err(e),
                manifest => manifest,
            };
            all.push(PointSummary { vm: vm.clone(), point, manifest });
        }
    }
    Ok(all)
}

/// One point and what it says of itself; the newest when none is named.
///
/// `NotFound`; what is wrong with its manifest, as [`Manifest::parse`] says it.
pub async fn backup_point(host: &Host, directory: &StoreDir, point: &PointRef) -> Result<(PointId, Manifest)> {
    let mut session = Session::open(&*host.transport).await?;
    let place = resolve(&mut session, directory, point).await?;
    Ok((place.point, read_manifest(&mut session, &place).await?))
}

/// The very point that is meant.
pub(crate) async fn resolve(session: &mut Session, directory: &StoreDir, point: &PointRef) -> Result<Point> {
    let there = points(session, directory, &point.vm).await?;
    let found = match point.point {
        Some(point) => there.iter().copied().find(|other| *other == point),
        None => there.last().copied(),
    };
    let Some(found) = found else {
        let error = Error::new(ErrorKind::NotFound, format!("there is no backup {point} in {directory}"))
            .on(Resource::File(format!("{directory}/{point}")));
        return Err(match there.last() {
            Some(newest) => error.with_detail(format!("the newest of {} is {newest}", point.vm)),
            None => error.with_detail(format!("there is none of {}", point.vm)),
        });
    };
    Ok(Point { directory: directory.clone(), vm: point.vm.clone(), point: found })
}

/// What a point says of itself.
pub(crate) async fn read_manifest(session: &mut Session, point: &Point) -> Result<Manifest> {
    let file = inside(&point.whole(), MANIFEST);
    let named = || Resource::File(format!("{}/{}", file.root, file.name));
    let bytes = session.read(&file, MOST).await?;
    let text = String::from_utf8(bytes)
        .map_err(|e| Error::invalid("manifest", "is no text").with_detail(named().to_string()).with_source(e))?;
    let manifest = Manifest::parse(&text).map_err(|e| e.with_detail(format!("in the manifest of {point}")))?;
    if manifest.point != point.point {
        return Err(Error::invalid("point", format!("is {}, and the directory {}", manifest.point, point.point))
            .with_detail(format!("in the manifest of {point}")));
    }
    Ok(manifest)
}

/// The points of a machine, oldest first.
pub(crate) async fn points(session: &mut Session, directory: &StoreDir, vm: &VmDir) -> Result<Vec<PointId>> {
    let entries = match session.list(directory.file(vm.as_str())).await {
        // No backup was made of it yet; but there has to be a store.
        Err(e) if e.kind() == ErrorKind::NotFound => {
            session.list(directory.file("")).await?;
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    let directories = entries.iter().filter(|entry| entry.kind == EntryKind::Directory);
    let points: BTreeSet<PointId> = directories.filter_map(|entry| entry.name.parse().ok()).collect();
    Ok(points.into_iter().collect())
}

async fn machines(session: &mut Session, directory: &StoreDir) -> Result<Vec<VmDir>> {
    let entries = session.list(directory.file("")).await?;
    let directories = entries.iter().filter(|entry| entry.kind == EntryKind::Directory);
    let machines: BTreeSet<VmDir> = directories.filter_map(|entry| entry.name.parse().ok()).collect();
    Ok(machines.into_iter().collect())
}
