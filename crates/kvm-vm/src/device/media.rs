//! Media of CD-ROM and floppy drives.

use kvm_core::{Device, DeviceRef, Error, ErrorKind, Host, Impact, Resource, Result, VmSummary};
use kvm_xml::domain::{Disk, DiskDevice, DiskSource, DiskType};
use kvm_xml::value::DiskName;

use super::disk::source;
use super::{FIND_DEVICE, Subject, facet};
use crate::place::Places;
use crate::policy::Policy;
use crate::spec::ImageRef;

/// What became of a drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaChange {
    /// The drive.
    pub target: DiskName,
    /// The path of the medium that was in it.
    pub before: Option<String>,
    /// The path of the medium that is in it.
    pub after: Option<String>,
    /// The documents that changed.
    pub impact: Impact,
}

/// Puts a medium into a drive, in the place of the one that is in it. Without a target it is the machine's only drive.
///
/// The image has to lie where images may lie; `Unsupported` for one that is reached over the network. `NotFound` when
/// there is no such drive or image, `InvalidInput` when there are several drives to choose from or the target is none,
/// `InvalidState`.
pub async fn insert(
    host: &Host,
    vm: &VmSummary,
    target: Option<&DiskName>,
    image: &ImageRef,
    impact: Option<Impact>,
    policy: &Policy,
) -> Result<MediaChange> {
    let image = Places::read(host, &policy.allowed_paths).await?.image(image).await?;
    let path = Some(image.at.host_path()?.as_str().to_owned());
    let (kind, source) = if image.at.is_device() {
        (DiskType::Block, DiskSource { dev: path, ..DiskSource::default() })
    } else {
        (DiskType::File, DiskSource { file: path, ..DiskSource::default() })
    };
    change(host, vm, target, impact, |drive| {
        drive.r#type = Some(kind);
        drive.source = Some(source.clone());
    })
    .await
}

/// Takes the medium out of a drive; an empty one stays so. As [`insert`].
pub async fn eject(
    host: &Host,
    vm: &VmSummary,
    target: Option<&DiskName>,
    impact: Option<Impact>,
) -> Result<MediaChange> {
    change(host, vm, target, impact, |drive| drive.source = None).await
}

async fn change(
    host: &Host,
    vm: &VmSummary,
    target: Option<&DiskName>,
    impact: Option<Impact>,
    work: impl Fn(&mut Disk),
) -> Result<MediaChange> {
    let subject = Subject::read(host, vm, impact).await?;
    let target = match target {
        Some(target) => target.clone(),
        None => subject.only_drive()?,
    };
    let key = DeviceRef::Disk(target.clone());
    let drive = match subject.find(&key)?.into_base()? {
        Device::Disk(drive) if is_drive(&drive) => drive,
        _ => return Err(Error::invalid("target", format!("{key} of {} is no drive for media", vm.name))),
    };
    let before = source(&drive);
    let mut drive = drive;
    work(&mut drive);
    let after = source(&drive);
    facet(host)?.update(&vm.id, &Device::Disk(drive), subject.impact).await?;
    Ok(MediaChange { target, before, after, impact: subject.impact })
}

impl Subject<'_> {
    fn only_drive(&self) -> Result<DiskName> {
        let mut names: Vec<DiskName> = Vec::new();
        for disk in self.documents().flat_map(|document| &document.devices).flat_map(|devices| &devices.disk) {
            let name = disk.target.as_ref().and_then(|target| target.dev.clone()).filter(|_| is_drive(disk));
            names.extend(name.filter(|name| !names.contains(name)));
        }
        match names.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(Error::new(ErrorKind::NotFound, format!("VM {} has no drive for media", self.vm.name))
                .on(Resource::Vm(self.vm.name.as_str().to_owned()))
                .during(FIND_DEVICE)),
            many => {
                let many: Vec<_> = many.iter().map(ToString::to_string).collect();
                Err(Error::invalid("target", format!("VM {} has several drives; say which", self.vm.name))
                    .with_detail(format!("there are {}", many.join(", "))))
            }
        }
    }
}

fn is_drive(disk: &Disk) -> bool {
    matches!(disk.device, Some(DiskDevice::Cdrom | DiskDevice::Floppy))
}
