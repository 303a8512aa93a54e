//! Writing what an overlay holds into the image below it.

use kvm_core::op::{Plan, PlanLine, Step};
use kvm_core::{Bandwidth, DiskPath, Error, ErrorKind, Host, Resource, Result, VmSummary};
use kvm_xml::value::DiskName;

use super::{CHECK_IMAGES, OldImages, Target, check_commit};
use crate::chain::normal;
use crate::step::Mirror;

/// A commit of a running machine's disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskCommit {
    /// Which disk.
    pub target: DiskName,
    /// The image that receives everything above it; the one right below if left out.
    pub base: Option<DiskPath>,
    /// What becomes of the images above it.
    pub old: OldImages,
    /// How fast it may go.
    pub speed: Bandwidth,
}

impl DiskCommit {
    /// A commit into the image right below, whose overlay is deleted.
    #[must_use]
    pub fn new(target: DiskName) -> Self {
        Self { target, base: None, old: OldImages::Delete, speed: Bandwidth::UNLIMITED }
    }
}

/// Plans to write what a disk's overlay holds into an image below, in which the machine then goes on.
///
/// `InvalidState` when the machine is off, when its disk lies upon nothing, or when somebody else uses an image that would
/// change: another machine, another overlay, a snapshot. Until the machine goes over to the base it can be taken back; what
/// was written to the base by then does no harm.
pub async fn plan_disk_commit(host: &Host, vm: &VmSummary, wanted: &DiskCommit) -> Result<Plan> {
    let host_info = host.hypervisor.capabilities().await?;
    let target = Target::read(host, vm, &wanted.target).await?;
    target.check_active()?;
    let disk = &wanted.target;
    let below = target.below()?;
    let Some(nearest) = below.first() else {
        let message = format!("disk {disk} of {} lies upon no other image", vm.name);
        return Err(Error::new(ErrorKind::InvalidState, message)
            .on(Resource::Vm(vm.name.as_str().to_owned()))
            .during(CHECK_IMAGES)
            .with_detail("there is nothing to commit"));
    };
    let base = wanted.base.as_ref().unwrap_or(nearest);
    let depth = below.iter().position(|path| normal(path.as_str()) == normal(base.as_str()));
    let Some(depth) = depth else {
        let known: Vec<_> = below.iter().map(ToString::to_string).collect();
        return Err(Error::invalid("base", format!("{base} is not below disk {disk} of {}", vm.name))
            .with_detail(format!("below it: {}", known.join(", "))));
    };
    let base = &below[depth];
    check_commit(&target.graph, &vm.name, disk, &target.image.path, base)?;
    let to = target.place(base)?;

    let (kind, shown) = target.shown(base);
    let line = PlanLine::new("commit", "disk", disk.as_str()).note(format!("into {kind} {shown}"));
    let mirror = Mirror {
        disk: target.step_subject(),
        from: target.image.path.clone(),
        to: to.clone(),
        is_commit: true,
        speed: wanted.speed,
    };
    let steps: Vec<Box<dyn Step>> = vec![Box::new(mirror), Box::new(target.pivot(to))];
    let mut parts = (vec![line], steps);
    let old: Vec<_> = std::iter::once(&target.image.path).chain(&below[..depth]).cloned().collect();
    target.leave(&old, wanted.old, &mut parts);
    let title = format!("commit disk {disk} of {}", vm.name);
    Ok(target.subject.plan("vm.commit-disk", title, &host_info, parts, 1))
}
