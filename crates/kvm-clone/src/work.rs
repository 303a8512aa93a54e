//! A copy while it is planned: its lines and its steps.

use kvm_core::op::{PlanLine, Step};
use kvm_core::{DiskPath, Error, ErrorKind, Resource, Result};
use kvm_vm::{VolumeRef, copy_volume, reserve_volume, stored_document};
use kvm_xml::Document as _;
use kvm_xml::rewrite::{Content, Copy, How, Location};

use crate::place::{self, Images};
use crate::route::Route;
use crate::spec::{CloneSpec, Compress};
use crate::step::{CopyImage, CopyVariables, Ends, TransferImage, Whole, whole_document};
use crate::survey::{Survey, has};
use crate::tally::Tally;
use crate::transfer::Turns;

/// What is being put together.
pub(crate) struct Work<'a> {
    pub(crate) survey: &'a Survey<'a>,
    pub(crate) images: &'a Images,
    pub(crate) ends: &'a Ends,
    pub(crate) route: &'a Route,
    pub(crate) spec: &'a CloneSpec,
    pub(crate) lines: Vec<PlanLine>,
    pub(crate) steps: Vec<Box<dyn Step>>,
    pub(crate) turns: Turns,
    /// Where images will be.
    pub(crate) placed: Vec<DiskPath>,
    /// Hears what was sent.
    pub(crate) tally: Tally,
}

impl<'a> Work<'a> {
    /// Nothing of it yet.
    pub(crate) fn new(
        survey: &'a Survey<'a>,
        images: &'a Images,
        (ends, route): (&'a Ends, &'a Route),
        spec: &'a CloneSpec,
        tally: Tally,
    ) -> Self {
        let (lines, steps, placed) = (Vec::new(), Vec::new(), Vec::new());
        Self { survey, images, ends, route, spec, lines, steps, turns: Turns::default(), placed, tally }
    }

    pub(crate) async fn copy(&mut self, copy: &Copy) -> Result<()> {
        match copy.content {
            Content::Disk => self.image(copy),
            Content::Nvram => self.variables(copy).await,
            // It need not be in the document: `tpm` sees to it.
            Content::Tpm => Ok(()),
            other => {
                let what = match other {
                    Content::Nvdimm => "an NVDIMM",
                    _ => "an image chain",
                };
                Err(Error::new(ErrorKind::Unsupported, format!("{what} is not copied: {}", copy.from))
                    .on(Resource::File(copy.from.to_string())))
            }
        }
    }

    fn image(&mut self, copy: &Copy) -> Result<()> {
        let Some(own) = self.images.get(&copy.from) else {
            return Err(Error::internal(format!("nobody looked at {}", copy.from)));
        };
        let from = VolumeRef { pool: own.volume.pool.clone(), volume: own.volume.name.clone() };
        let to = place::reference(&own.pool, &copy.to)?;
        let size = own.volume.capacity;
        let format = own.volume.format.as_deref().unwrap_or("raw");
        let is_overlay = own.volume.backing.is_some() && copy.how == How::Flattened;
        let note = format!("{format}, {size}, {} on disk", own.volume.allocation);
        self.lines.push(PlanLine::new("copy", "volume", from.as_text()).note(match is_overlay {
            true => format!("{note}; an overlay, which becomes whole"),
            false => note,
        }));
        self.lines.push(PlanLine::new("create", "volume", to.as_text()));
        let (Location::File(path) | Location::Block(path)) = &copy.to else {
            return Err(Error::internal("a copy has no path"));
        };
        let to_path = DiskPath::adopt(path)?;
        self.placed.push(to_path.clone());
        let ends = self.ends.clone();
        let whole = match is_overlay {
            true => Some(Whole::new(from.clone(), &to.volume, size, format)?),
            false => None,
        };
        match self.route {
            Route::SameHost => {
                let document = whole_document(&to.volume, size, format)?;
                self.steps.push(copy_volume(from, to, size, &document));
            }
            Route::Helpers => self.steps.push(Box::new(TransferImage {
                ends,
                path: own.volume.host_path()?.clone(),
                is_qcow2: own.is_qcow2,
                from,
                to,
                to_path,
                size,
                whole,
                limit: self.spec.limit.bytes_per_second(),
                is_compressed: self.spec.compression == Compress::Auto,
                at_once: self.spec.parallel,
                reach: self.turns.next(),
                tally: self.tally.of(&copy.path),
            })),
            Route::Libvirt { .. } => {
                let document = stored_document(&to.volume, own.stored, &own.pool);
                self.steps.push(reserve_volume(to.clone(), own.stored, &document));
                self.steps.push(Box::new(CopyImage { ends, from, to, size, whole, document: document.to_xml() }));
            }
        }
        Ok(())
    }

    /// Those of a machine that never ran are not there yet.
    async fn variables(&mut self, copy: &Copy) -> Result<()> {
        let (Location::File(from), Location::File(to)) = (&copy.from, &copy.to) else {
            return Err(Error::new(ErrorKind::Unsupported, format!("UEFI variables in {} are not copied", copy.from))
                .with_detail("only those in a file are"));
        };
        if !has(self.survey.source, from).await? {
            return Ok(());
        }
        if has(self.survey.target, to).await? {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("{} has a file {to}", self.survey.there.target))
                .on(Resource::File(to.clone()))
                .with_detail("choose another name for the clone, or remove that file"));
        }
        self.lines.push(PlanLine::new("copy", "nvram", from).note(format!("to {to}")));
        self.steps.push(Box::new(CopyVariables {
            ends: self.ends.clone(),
            from: DiskPath::adopt(from)?,
            to: DiskPath::adopt(to)?,
        }));
        Ok(())
    }

    /// Whether there is room for the images.
    pub(crate) fn check_room(&self) -> Result<()> {
        place::check_room(self.images)
    }
}
