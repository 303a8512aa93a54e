//! A new file: written beside its place, compared, made durable, and only then named.

use std::fs::{File, TryLockError};
use std::path::Path;

use kvm_wire::{Block, Cause, Digest, FailureKind, FileRef, Frame, Opening};
use rustix::fs::{Mode, OFlags};

use crate::failure::{Result, Trouble};
use crate::image::Image;
use crate::peer::Peer;
use crate::place::{PARTIAL, Place};
use crate::receive::Sink;
use crate::saved;
use crate::tree::Tree;

/// A file that has not its name yet.
#[derive(Debug)]
pub(crate) struct Partial {
    place: Place,
    image: Image,
    /// The digests of what was read back, after which nothing was written.
    ready: Option<Tree>,
}

impl Partial {
    /// Begins a file, or goes on with it, and says whether it was there.
    pub(crate) fn create(file: &FileRef, length: u64, mode: u32, opening: Opening) -> Result<(Self, bool)> {
        let place = Place::find(file)?;
        if place.has(place.name())? {
            return Err(Trouble::new(FailureKind::AlreadyExists, "the file is there already").of(file));
        }
        let name = place.beside(PARTIAL);
        let was_there = opening == Opening::Resume && place.has(&name)?;
        // What is not for everybody when it is finished is not before, whatever the umask.
        let mode = Mode::from_raw_mode(mode & 0o777);
        let opened = match was_there {
            true => place.open(&name, OFlags::RDWR, Mode::empty())?,
            false => place.open(&name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, Mode::RUSR | Mode::WUSR)?,
        };
        lock(&opened).map_err(|e| e.of(file))?;
        rustix::fs::fchmod(&opened, mode).map_err(|e| Trouble::io("cannot set the mode", e).of(file))?;
        let mut image = Image::of(opened, file)?;
        if image.is_device() {
            return Err(Trouble::invalid("the partial file is no regular file").of(file));
        }
        if let Err(e) = image.resize(length) {
            // Nothing is in it that anybody could go on with.
            if !was_there {
                place.remove(&name)?;
            }
            return Err(e);
        }
        Ok((Self { place, image, ready: None }, was_there))
    }

    pub(crate) fn image(&self) -> &Image {
        &self.image
    }

    /// From here on it is being written.
    pub(crate) fn open(&mut self) {
        self.ready = None;
    }

    /// Reads it back, compares it and makes it durable.
    pub(crate) fn finish(&mut self, root: Digest, directory: &Path, peer: &Peer) -> Result<()> {
        let tree = Tree::scan(&self.image, directory, peer)?;
        if tree.root != root {
            return Err(differs(root, tree.root).of(self.place.file()));
        }
        self.image.sync()?;
        self.ready = Some(tree);
        Ok(())
    }

    /// Gives it its name, durably.
    pub(crate) fn publish(&self, directory: &Path) -> Result<()> {
        let Some(tree) = &self.ready else {
            return Err(Trouble::new(FailureKind::InvalidState, "the file is not finished").of(self.place.file()));
        };
        self.place.rename(&self.place.beside(PARTIAL), self.place.name())?;
        // It is published; digests are only for speed.
        let _saved = saved::save(directory, tree, &self.image, self.image.identity()?);
        Ok(())
    }

    pub(crate) fn discard(self) -> Result<()> {
        self.place.remove(&self.place.beside(PARTIAL))
    }
}

impl Sink for Partial {
    fn length(&self) -> u64 {
        self.image.length()
    }

    fn put(&self, _: &Frame, block: &Block<'_>, bytes: Option<&[u8]>) -> Result<()> {
        match bytes {
            Some(bytes) => self.image.write(bytes, block.offset()),
            None => self.image.write_zeros(block.offset(), block.length().into()),
        }
    }

    fn settle(&self) -> Result<()> {
        self.image.settle()
    }
}

/// Has a partial file for this session alone. `busy` when another one has it.
pub(crate) fn lock(file: &File) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            Err(Trouble::new(FailureKind::Busy, "another session writes the partial file"))
        }
        Err(TryLockError::Error(e)) => Err(Trouble::io("cannot lock the partial file", e)),
    }
}

/// A whole file that is not what it should be.
pub(crate) fn differs(expected: Digest, found: Digest) -> Trouble {
    Trouble::new(FailureKind::Corrupt, "the file has another digest than expected")
        .because(Cause::Differs { expected, found })
}
