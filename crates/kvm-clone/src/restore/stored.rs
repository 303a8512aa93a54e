//! What a point holds: read as if a stranger had written it, and compared with its manifest.

use kvm_core::text::printable_within;
use kvm_core::{Bytes, DiskPath, Error, ErrorKind, Host, PoolName, Resource, Result, VolumeInfo, VolumeName};
use kvm_image::{Expect, Format};
use kvm_vm::inspect;
use kvm_xml::rewrite::Location;
use kvm_xml::{Document as _, Domain};

use crate::backup::{Manifest, Point, StoredDisk, StoredFormat, inside};
use crate::place::{self, Images, Own};
use crate::survey::Survey;
use crate::transfer::{Session, digest_of};

/// No document is longer.
const DOCUMENT_MOST: Bytes = Bytes::from_mib(4);

/// The machine's document, as it was when it was stored.
pub(super) async fn document(session: &mut Session, point: &Point, manifest: &Manifest) -> Result<Domain> {
    let file = inside(&point.whole(), &manifest.document.file);
    let named = || Resource::File(format!("{}/{}", file.root, file.name));
    let bytes = session.read(&file, DOCUMENT_MOST).await?;
    let found = digest_of(&bytes);
    if found != manifest.document.digest {
        return Err(Error::new(ErrorKind::Corrupt, "the file is not what it was when it was stored")
            .on(named())
            .with_detail(format!("expected {}, found {found}", manifest.document.digest)));
    }
    let unreadable =
        || Error::invalid("document", "the stored definition cannot be read").with_detail(named().to_string());
    let text = std::str::from_utf8(&bytes).map_err(|e| unreadable().with_source(e))?;
    let document = Domain::from_xml(text).map_err(|e| unreadable().with_source(e))?;
    let wrong = |why: String| Err(Error::invalid("document", why).with_detail(named().to_string()));
    // Both were written together, so one that was changed alone is noticed.
    if document.name.as_deref() != Some(manifest.vm.as_str()) || document.uuid != Some(manifest.uuid.into()) {
        return wrong("the stored definition is that of another machine than the manifest".to_owned());
    }
    let targets: Vec<_> = place::own(&document).filter(|disk| disk.source.is_some()).map(place::name).collect();
    let stored: Vec<_> = manifest.disks.iter().map(|disk| disk.target.clone()).collect();
    if targets != stored {
        let shown = printable_within(&targets.join(", "), 128).to_string();
        return wrong(format!("the stored definition has the disks {shown}, the manifest {}", stored.join(", ")));
    }
    Ok(document)
}

/// The stored images by where they lay, and the pool that takes each.
pub(super) async fn images(
    survey: &mut Survey<'_>,
    (point, manifest): (&Point, &Manifest),
    asked: Option<&PoolName>,
    default: &PoolName,
) -> Result<Images> {
    let mut images = Images::new();
    let disks: Vec<_> = place::own(&survey.document).filter(|disk| disk.source.is_some()).cloned().collect();
    for (disk, stored) in disks.iter().zip(&manifest.disks) {
        let Some(location) = place::location(disk) else {
            return Err(Error::invalid(
                "document",
                format!("disk {} of the stored definition is no file", stored.target),
            ));
        };
        let said = disk.driver.as_ref().and_then(|driver| driver.r#type).map(|format| format.to_string());
        if said.as_deref().unwrap_or("raw") != stored.format.as_str() {
            return Err(Error::invalid(
                "document",
                format!("disk {} has another format in the manifest", stored.target),
            ));
        }
        judge(survey.source, point, stored).await?;
        let volume = volume(&location, stored, default)?;
        let pool = place::choose(survey, &volume, asked, default)?;
        survey.look_into(&pool).await?;
        images.insert(location, Own { volume, stored: stored.stored.size, pool, is_qcow2: false });
    }
    Ok(images)
}

/// As if the image lay where the original did.
fn volume(location: &Location, stored: &StoredDisk, pool: &PoolName) -> Result<VolumeInfo> {
    let path = match location {
        Location::File(path) | Location::Block(path) => Some(DiskPath::adopt(path)?),
        Location::Volume { .. } => None,
    };
    Ok(VolumeInfo {
        pool: pool.clone(),
        name: VolumeName::parse(&stored.stored.file)?,
        path,
        address: None,
        format: Some(stored.format.as_str().to_owned()),
        capacity: stored.virtual_size,
        allocation: stored.allocated,
        backing: None,
    })
}

/// An image in a store may have been written by a stranger: one that names other files is refused.
async fn judge(store: &Host, point: &Point, stored: &StoredDisk) -> Result<()> {
    if stored.format == StoredFormat::Raw {
        return Ok(());
    }
    let file = inside(&point.whole(), &stored.stored.file);
    let path = format!("{}/{}", file.root, file.name);
    let seen = inspect(&*store.transport, path.as_ref(), Some(Format::Qcow2)).await?;
    match kvm_image::check(&seen, &Expect::format(Format::Qcow2)) {
        Ok(_) if seen.virtual_size == Some(stored.virtual_size) => Ok(()),
        Ok(_) => Err(Error::invalid("virtual_size_bytes", format!("is not what the header of {path} says"))),
        Err(e) => Err(Error::from(e).on(Resource::File(path))),
    }
}
