//! The steps that bring a replica that is there up to date.

use kvm_core::op::{PlanLine, Step};
use kvm_core::{DiskPath, Error, Replication, Result};
use kvm_vm::VolumeRef;
use kvm_xml::rewrite::{Content, Copy, How, Location, Rewritten};
use uuid::Uuid;

use super::kept::Kept;
use super::measure::Measured;
use crate::place::Own;
use crate::route::Route;
use crate::spec::Compress;
use crate::step::{ApplyImage, ApplyVariables, DropImage, StageImage, StageVariables, Whole};
use crate::survey::has;
use crate::tally::disk_of;
use crate::work::Work;

/// What comes after the steps that send.
pub(super) struct Update {
    pub(super) measured: Vec<Measured>,
    /// Disks of which changes wait beside their images.
    pub(super) staged: Vec<String>,
    /// What is applied, on the target alone.
    pub(super) apply: Vec<Box<dyn Step>>,
    /// What is deleted when it is replaced.
    pub(super) dropped: Vec<Box<dyn Step>>,
    /// Whether images are changed in their places.
    pub(super) is_in_place: bool,
}

/// Adds the steps that send, and gives those that come after.
pub(super) async fn steps(work: &mut Work<'_>, rewritten: &Rewritten, kept: &Kept, sync: Uuid) -> Result<Update> {
    let is_in_place = matches!(work.route, Route::Helpers);
    let mut update =
        Update { measured: Vec::new(), staged: Vec::new(), apply: Vec::new(), dropped: Vec::new(), is_in_place };
    for copy in &rewritten.copies {
        let disk = disk_of(&copy.path);
        let old = kept.replica.image(disk).filter(|_| copy.content == Content::Disk);
        match (old, is_in_place) {
            (Some(image), true) => update.stage(work, copy, &image.path, image.root.clone(), kept, sync)?,
            (Some(image), false) => {
                update.measured.extend(Measured::replaced(copy, work.images));
                work.copy(copy).await?;
                update.replace(work, disk, &image.path, kept);
            }
            (None, _) if copy.content == Content::Nvram => update.variables(work, copy).await?,
            (None, _) => {
                update.measured.extend(Measured::whole(copy, work.images));
                work.copy(copy).await?;
            }
        }
    }
    if !is_in_place {
        work.check_room()?;
    }
    Ok(update)
}

impl Update {
    fn stage(
        &mut self,
        work: &mut Work<'_>,
        copy: &Copy,
        to: &DiskPath,
        root: Option<String>,
        kept: &Kept,
        sync: Uuid,
    ) -> Result<()> {
        let disk = disk_of(&copy.path);
        let Some(own) = work.images.get(&copy.from) else {
            return Err(Error::internal(format!("nobody looked at {}", copy.from)));
        };
        let Own { volume, pool, .. } = own;
        let is_qcow2 = own.is_qcow2;
        let from = VolumeRef { pool: volume.pool.clone(), volume: volume.name.clone() };
        let path = volume.host_path()?.clone();
        let format = volume.format.as_deref().unwrap_or("raw");
        let whole = match volume.backing.is_some() && copy.how == How::Flattened {
            true => {
                let own = crate::place::reference(pool, &copy.to)?;
                Some(Whole::new(from.clone(), &own.volume, volume.capacity, format)?)
            }
            false => None,
        };
        let line = PlanLine::new("update", "volume", to.as_str());
        work.lines.push(line.note(match whole {
            None => format!("with what changed of {}, {format}, {}", from.as_text(), volume.capacity),
            Some(_) => format!("with what changed of {}, an overlay, which is made whole first", from.as_text()),
        }));
        self.measured.push(match whole {
            None => Measured::changed(disk, path.clone(), to.clone(), root.clone()),
            Some(_) => Measured::unknown(disk),
        });
        work.steps.push(Box::new(StageImage {
            ends: work.ends.clone(),
            from,
            path,
            is_qcow2,
            to: to.clone(),
            whole,
            root,
            limit: work.spec.limit.bytes_per_second(),
            is_compressed: work.spec.compression == Compress::Auto,
            at_once: work.spec.parallel,
            tally: work.tally.of(&copy.path),
        }));
        self.staged.push(disk.to_owned());
        self.apply.push(Box::new(ApplyImage {
            target: work.ends.target.clone(),
            id: kept.vm.id,
            sync,
            disk: disk.to_owned(),
            path: to.clone(),
        }));
        Ok(())
    }

    /// The image that another one takes the place of.
    fn replace(&mut self, work: &mut Work<'_>, disk: &str, old: &DiskPath, kept: &Kept) {
        let pool = kept.pools.get(disk).cloned();
        let name = old.as_str().rsplit('/').next().and_then(|name| kvm_core::VolumeName::adopt(name).ok());
        let Some((pool, volume)) = pool.zip(name) else { return };
        let volume = VolumeRef { pool, volume };
        let note = match kept.noted {
            Some(Replication::Source { .. }) => "with all that was written to it since",
            _ => "the image of the last sync",
        };
        work.lines.push(PlanLine::new("remove", "volume", volume.as_text()).note(note));
        self.dropped.push(Box::new(DropImage { target: work.ends.target.clone(), volume }));
    }

    /// Those of a machine that never ran are not there yet.
    async fn variables(&mut self, work: &mut Work<'_>, copy: &Copy) -> Result<()> {
        let (Location::File(from), Location::File(to)) = (&copy.from, &copy.to) else {
            return work.copy(copy).await;
        };
        if !has(work.survey.source, from).await? {
            return Ok(());
        }
        let (from, to) = (DiskPath::adopt(from)?, DiskPath::adopt(to)?);
        work.lines.push(PlanLine::new("copy", "nvram", from.as_str()).note(format!("to {to}")));
        work.steps.push(Box::new(StageVariables { ends: work.ends.clone(), from, to: to.clone() }));
        self.apply.push(Box::new(ApplyVariables { target: work.ends.target.clone(), to }));
        Ok(())
    }
}
