//! Making an overlay independent of the images below it.

use kvm_core::op::{Plan, PlanLine, Step};
use kvm_core::{Bandwidth, DiskPath, Error, ErrorKind, Host, Resource, Result, VmSummary};
use kvm_image::graph::Operation;
use kvm_xml::value::DiskName;

use super::{CHECK_IMAGES, Target, allowed, name};
use crate::chain::normal;
use crate::step::PullImage;

/// A pull of a running machine's disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskPull {
    /// Which disk.
    pub target: DiskName,
    /// The image that it still lies upon afterwards; none if left out.
    pub base: Option<DiskPath>,
    /// How fast it may go.
    pub speed: Bandwidth,
}

impl DiskPull {
    /// A pull of everything.
    #[must_use]
    pub fn new(target: DiskName) -> Self {
        Self { target, base: None, speed: Bandwidth::UNLIMITED }
    }
}

/// Plans to copy into a disk's image what it takes from those below. These do not change, so it hurts nobody who uses them.
///
/// What was copied does not go away again, and does no harm: a pull that is cancelled is gone on with by the next.
///
/// `InvalidState` when the machine is off, when its disk lies upon nothing, or when a snapshot or another overlay uses the
/// image itself. `InvalidInput` for a base that is not below.
pub async fn plan_disk_pull(host: &Host, vm: &VmSummary, wanted: &DiskPull) -> Result<Plan> {
    let host_info = host.hypervisor.capabilities().await?;
    let target = Target::read(host, vm, &wanted.target).await?;
    target.check_active()?;
    let (disk, image) = (&wanted.target, &target.image.path);
    let below = target.below()?;
    if below.is_empty() {
        let message = format!("disk {disk} of {} lies upon no other image", vm.name);
        return Err(Error::new(ErrorKind::InvalidState, message)
            .on(Resource::Vm(vm.name.as_str().to_owned()))
            .during(CHECK_IMAGES)
            .with_detail("there is nothing to pull"));
    }
    let is_base = |path: &&DiskPath| wanted.base.as_ref().is_some_and(|b| normal(b.as_str()) == normal(path.as_str()));
    let base = below.iter().find(is_base).cloned();
    if let (Some(base), None) = (&wanted.base, &base) {
        return Err(Error::invalid("base", format!("{base} is not below disk {disk} of {}", vm.name)));
    }
    let operation = Operation::Pull { image: name(image) };
    allowed(&target.graph, &vm.name, disk, &operation, || {
        format!("nothing can be pulled into disk {disk} of {}", vm.name)
    })?;

    let note = match &base {
        Some(base) => format!("still upon {} {}", target.shown(base).0, target.shown(base).1),
        None => "complete by itself afterwards".to_owned(),
    };
    let mut lines = vec![PlanLine::new("pull", "disk", disk.as_str()).note(note)];
    let kept = below.iter().take_while(|path| base.as_ref() != Some(*path));
    lines.extend(kept.map(|path| PlanLine::new("keep", target.shown(path).0, target.shown(path).1)));
    let (disk, speed) = (target.step_subject(), wanted.speed);
    let steps: Vec<Box<dyn Step>> = vec![Box::new(PullImage { disk, image: image.clone(), base, speed })];
    let title = format!("pull into disk {} of {}", wanted.target, vm.name);
    Ok(target.subject.plan("vm.pull-disk", title, &host_info, (lines, steps), 1))
}
