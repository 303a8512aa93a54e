//! A change of an existing image: collected, compared, made durable, and only then applied.

use std::path::Path;
use std::sync::Mutex;

use kvm_wire::{Block, Cause, Digest, FailureKind, FileRef, Frame, Identity, LEAF_SIZE, Opening, leaf_digest};

use crate::block::Unpacker;
use crate::failure::{Result, Trouble};
use crate::image::Image;
use crate::partial::differs;
use crate::peer::{Peer, locked};
use crate::place::Place;
use crate::receive::Sink;
use crate::redo::{Redo, State};
use crate::saved;
use crate::tree::{Patch, Tree};

/// Changes of an image that is still what it was.
#[derive(Debug)]
pub(crate) struct Update {
    place: Place,
    /// Held open, and locked against writers, until the changes are applied.
    image: Option<Image>,
    identity: Option<Identity>,
    length: u64,
    log: Mutex<Log>,
    /// What the image would be with what an earlier attempt has brought.
    resumed: Option<Tree>,
    ready: Option<Tree>,
}

#[derive(Debug)]
struct Log {
    redo: Redo,
    patch: Option<Patch>,
}

impl Update {
    /// Begins to change `image`, whose digests are `tree`, or goes on with it.
    pub(crate) fn begin(
        place: Place,
        image: Image,
        tree: Tree,
        length: u64,
        opening: Opening,
        directory: &Path,
    ) -> Result<Self> {
        if image.is_device() {
            let text = "devices are not updated: there is no place beside them where changes could wait";
            return Err(Trouble::new(FailureKind::Unsupported, text).of(place.file()));
        }
        let identity = image.identity()?;
        let before = tree.root;
        // First what may be refused: nothing is to be left behind.
        let mut patch = Patch::new(tree, directory, length)?;
        let (redo, was_there) = Redo::create(&place, before, length, opening)?;
        let mut resumed = None;
        if was_there {
            let tree = patched(&redo, patch)?;
            patch = Patch::new(tree.try_clone()?, directory, length)?;
            resumed = Some(tree);
        }
        let log = Mutex::new(Log { redo, patch: Some(patch) });
        Ok(Self { place, image: Some(image), identity, length, log, resumed, ready: None })
    }

    /// Whether it goes on with what an earlier attempt has brought.
    pub(crate) fn is_resumed(&self) -> bool {
        self.resumed.is_some()
    }

    /// What the image would be with that, once.
    pub(crate) fn resumed(&mut self) -> Result<(Tree, Option<Identity>)> {
        let Some(tree) = self.resumed.take() else {
            let text = "the update has nothing of an earlier attempt";
            return Err(Trouble::new(FailureKind::InvalidState, text).of(self.file()));
        };
        Ok((tree, self.identity))
    }

    pub(crate) fn file(&self) -> &FileRef {
        self.place.file()
    }

    /// Says whether more can be received.
    pub(crate) fn open(&self) -> Result<()> {
        match locked(&self.log).patch {
            Some(_) => Ok(()),
            None => Err(Trouble::new(FailureKind::InvalidState, "the update is finished").of(self.file())),
        }
    }

    /// Compares what the image will be, and makes the changes durable.
    pub(crate) fn finish(&mut self, root: Digest) -> Result<()> {
        self.open()?;
        let mut log = locked(&self.log);
        let Some(patch) = log.patch.take() else { return Ok(()) };
        let tree = patch.finish()?;
        if tree.root != root {
            return Err(differs(root, tree.root).of(self.place.file()));
        }
        log.redo.head.after = root;
        log.redo.set(State::Ready)?;
        self.place.sync()?;
        drop(log);
        self.ready = Some(tree);
        Ok(())
    }

    /// Applies the changes. When the image is in use or was changed nothing has happened, and it can be tried again.
    pub(crate) fn publish(&mut self, directory: &Path, peer: &Peer) -> Result<()> {
        let Some(tree) = &self.ready else {
            return Err(Trouble::new(FailureKind::InvalidState, "the update is not finished").of(self.file()));
        };
        // Our own lock would be in the way.
        self.image = None;
        let mut image = Image::open_to_write(&self.place)?;
        if image.identity()? != self.identity {
            let text = "the file changed since the update began";
            return Err(Trouble::new(FailureKind::Busy, text).because(Cause::Changed).of(self.file()));
        }
        let mut log = locked(&self.log);
        apply(&mut log.redo, &mut image)?;
        compare(&log.redo, &image, tree, peer)?;
        log.redo.remove(&self.place)?;
        // It is published; digests are only for speed.
        let _saved = saved::save(directory, tree, &image, image.identity()?);
        Ok(())
    }

    /// Forgets the changes.
    pub(crate) fn discard(self) -> Result<()> {
        let log = locked(&self.log);
        match log.redo.head.state {
            State::Applying => {
                let text = "the update is half applied; it can only be recovered";
                Err(Trouble::new(FailureKind::InvalidState, text).of(self.file()))
            }
            State::Open | State::Ready => log.redo.remove(&self.place),
        }
    }
}

impl Sink for Update {
    fn length(&self) -> u64 {
        self.length
    }

    fn put(&self, frame: &Frame, block: &Block<'_>, _: Option<&[u8]>) -> Result<()> {
        let digests: Vec<Digest> = block.digests().collect();
        // Both in the same order, in case that a leaf comes twice.
        let mut log = locked(&self.log);
        let Some(patch) = &mut log.patch else { return Ok(()) };
        patch.set(block.offset() / LEAF_SIZE, &digests)?;
        log.redo.append(frame)
    }

    /// Changes are few, and all of them are waited for in the end.
    fn settle(&self) -> Result<()> {
        Ok(())
    }
}

/// Writes all changes into the image, durably; as often as anybody likes.
fn apply(redo: &mut Redo, image: &mut Image) -> Result<()> {
    let length = redo.head.length;
    if redo.head.state != State::Applying {
        // All of it can be applied, or nothing is.
        each_block(redo, |_, _| Ok(()))?;
        redo.set(State::Applying)?;
    }
    if length > image.length() {
        image.resize(length)?;
    }
    let whole = &*image;
    each_block(redo, |block, bytes| match bytes {
        Some(bytes) => whole.write(bytes, block.offset()),
        None => whole.write_zeros(block.offset(), block.length().into()),
    })?;
    image.resize(length)?;
    image.sync()
}

/// Hands over the blocks, unpacked and found to be what their digests say.
fn each_block(redo: &Redo, mut each: impl FnMut(&Block<'_>, Option<&[u8]>) -> Result<()>) -> Result<()> {
    let mut unpacker = Unpacker::new()?;
    redo.each(|frame| {
        let block = frame.as_block().map_err(|e| Trouble::new(FailureKind::Corrupt, e.to_string()))?;
        each(&block, unpacker.unpack(&block, redo.head.length)?)
    })
}

/// Reads back what was written.
fn compare(redo: &Redo, image: &Image, tree: &Tree, peer: &Peer) -> Result<()> {
    let mut bytes = vec![0; Block::MAX as usize];
    redo.each(|frame| {
        peer.check()?;
        let block = frame.as_block().map_err(|e| Trouble::new(FailureKind::Corrupt, e.to_string()))?;
        let bytes = &mut bytes[..block.length() as usize];
        image.read(bytes, block.offset())?;
        for (leaf, bytes) in (block.offset() / LEAF_SIZE..).zip(bytes.chunks(LEAF_SIZE as usize)) {
            let expected = tree.leaves.read(leaf, 1)?;
            if expected != [leaf_digest(bytes)] {
                let offset = leaf * LEAF_SIZE;
                let text = format!("what was written at {offset} is not what is read there");
                let cause = Cause::Block { offset };
                return Err(Trouble::new(FailureKind::Corrupt, text).because(cause).of(image.name()));
            }
        }
        Ok(())
    })
}

/// Applies an update that waits beside a file, and says what the file is then; `None` when there was none to apply.
pub(crate) fn recover(file: &FileRef, directory: &Path, peer: &Peer) -> Result<Option<Digest>> {
    let place = Place::find(file)?;
    let Some(mut redo) = Redo::open(&place)? else { return Ok(None) };
    let mut image = Image::open_to_write(&place)?;
    let after = redo.head.after;
    let tree = match redo.head.state {
        State::Open => None,
        // Nothing of it was applied: what it will be is known from what it is.
        State::Ready => {
            let before = known(&image, directory, peer)?;
            match before.root == redo.head.before {
                true => Some(patched(&redo, Patch::new(before, directory, redo.head.length)?)?),
                false => None,
            }
        }
        State::Applying => {
            apply(&mut redo, &mut image)?;
            Some(Tree::scan(&image, directory, peer)?)
        }
    };
    let Some(tree) = tree else {
        redo.remove(&place)?;
        return Ok(None);
    };
    if tree.root != after {
        return Err(differs(after, tree.root).of(file));
    }
    if redo.head.state == State::Ready {
        apply(&mut redo, &mut image)?;
        compare(&redo, &image, &tree, peer)?;
    }
    let identity = image.identity()?;
    redo.remove(&place)?;
    // It is recovered; digests are only for speed.
    let _saved = saved::save(directory, &tree, &image, identity);
    Ok(Some(tree.root))
}

/// The digests of an image with the changes that wait beside it.
fn patched(redo: &Redo, mut patch: Patch) -> Result<Tree> {
    redo.each(|frame| {
        let block = frame.as_block().map_err(|e| Trouble::new(FailureKind::Corrupt, e.to_string()))?;
        patch.set(block.offset() / LEAF_SIZE, &block.digests().collect::<Vec<_>>())
    })?;
    patch.finish()
}

/// The digests of an image, saved or computed.
pub(crate) fn known(image: &Image, directory: &Path, peer: &Peer) -> Result<Tree> {
    match saved::load(directory, image)? {
        Some(tree) => Ok(tree),
        None => Tree::scan(image, directory, peer),
    }
}
