//! A session: one request after the other, and what they leave for those that follow.

use std::io::{Read, Write};
use std::path::Path;

use kvm_wire::{
    Access, Compression, Digest, DigestRun, FailureKind, FileRef, GROUP_LEAVES, Identity, Keep, Opening, Pending,
    Reply, Request, VERSION, What,
};

use crate::directory;
use crate::failure::{Result, Trouble};
use crate::image::Image;
use crate::marks;
use crate::partial::{Partial, differs};
use crate::peer::Peer;
use crate::place::{Place, root};
use crate::receive::receive;
use crate::redo::pending;
use crate::saved;
use crate::send;
use crate::settings::Settings;
use crate::sum::sum;
use crate::tree::Tree;
use crate::update::{Update, known, recover};

/// Answers what comes in, until it ends.
///
/// Work that is under way when the input ends is given up; partial files stay, so that a later session can go on with
/// them.
pub fn serve(settings: Settings, input: impl Read + Send + 'static, output: impl Write + Send + 'static) {
    let peer = Peer::new(input, output, settings.sign_of_life);
    let mut session = Session { settings, scanned: None, target: None };
    // Both ways of ending are the same: nobody is there any more.
    let _gone = Session::greet(&peer).and_then(|()| session.run(&peer));
}

struct Session {
    settings: Settings,
    scanned: Option<Scanned>,
    target: Option<Target>,
}

/// What is being received.
enum Target {
    Partial(Box<Partial>),
    Update(Box<Update>),
}

/// The file whose digests are known. It stays open, and locked.
struct Scanned {
    file: FileRef,
    /// An update holds its own.
    _image: Option<Image>,
    identity: Option<Identity>,
    tree: Tree,
}

impl Session {
    fn greet(peer: &Peer) -> Result<()> {
        let greeting = peer.next().and_then(|frame| match frame.as_request() {
            Ok(Request::Hello { version }) => hello(version),
            Ok(_) => Err(Trouble::invalid("the greeting comes first")),
            Err(e) => Err(Trouble::invalid(e.to_string())),
        });
        match greeting {
            Ok(hello) => peer.reply(&hello),
            Err(Trouble::Failed(failure)) => {
                peer.reply(&failure.into_reply())?;
                Err(Trouble::Gone)
            }
            Err(Trouble::Gone) => Err(Trouble::Gone),
        }
    }

    fn run(&mut self, peer: &Peer) -> Result<()> {
        loop {
            // Bytes that are no frames end the session, with a word about it.
            let (frame, is_last) = match peer.next() {
                Ok(frame) => (Ok(frame), false),
                Err(Trouble::Gone) => return Err(Trouble::Gone),
                Err(e) => (Err(e), true),
            };
            let answered = frame.and_then(|frame| {
                let request = frame.as_request().map_err(|e| Trouble::invalid(with_source(&e)))?;
                peer.recycle(frame);
                self.answer(request, peer)
            });
            match answered {
                Ok(()) => {}
                Err(Trouble::Gone) => return Err(Trouble::Gone),
                Err(Trouble::Failed(failure)) => peer.reply(&failure.into_reply())?,
            }
            if is_last {
                return Err(Trouble::Gone);
            }
        }
    }

    fn answer(&mut self, request: Request, peer: &Peer) -> Result<()> {
        let digests = &self.settings.digests.clone();
        let reply = match request {
            // Somebody else goes on with this process.
            Request::Hello { version } => {
                (self.scanned, self.target) = (None, None);
                hello(version)?
            }
            Request::Stat { file } => stat(&file)?,
            Request::Space { root } => space(&root)?,
            Request::Scan { file, keep, access } => self.scan(file, keep, access, peer)?,
            Request::Groups => {
                runs(peer, 0, &self.scanned()?.tree.groups)?;
                Reply::Done
            }
            Request::Leaves { groups } => {
                let tree = &self.scanned()?.tree;
                for group in groups {
                    if group >= tree.groups.len() as u64 {
                        return Err(Trouble::invalid(format!("groups: there is no group {group}")));
                    }
                    runs(peer, group * GROUP_LEAVES, &tree.leaves_of(group)?)?;
                }
                Reply::Done
            }
            Request::Send { file, what, compression, keep, access } => {
                self.send(file, what, compression, keep, access, peer)?
            }
            Request::Create { file, length, mode, opening } => {
                self.target = None;
                let (partial, was_there) = Partial::create(&file, length, mode, opening)?;
                self.target = Some(Target::Partial(Box::new(partial)));
                Reply::Created { was_there }
            }
            Request::ScanPartial => {
                let scanned = match self.target()? {
                    Target::Partial(partial) => {
                        let image = partial.image();
                        let tree = Tree::scan(image, digests, peer)?;
                        let file = image.name().clone();
                        let opened = image.file().try_clone().map_err(|e| image.failed("cannot open it", e))?;
                        let image = Image::of(opened, &file)?;
                        Scanned { file, identity: image.identity()?, _image: Some(image), tree }
                    }
                    Target::Update(update) => {
                        let (tree, identity) = update.resumed()?;
                        Scanned { file: update.file().clone(), identity, _image: None, tree }
                    }
                };
                self.remember(scanned, false, 0, None)
            }
            Request::Receive => {
                return match self.target()? {
                    Target::Partial(partial) => {
                        partial.open();
                        receive(peer, &**partial)
                    }
                    Target::Update(update) => {
                        update.open()?;
                        receive(peer, &**update)
                    }
                };
            }
            Request::End => return Err(Trouble::invalid("nothing is being received")),
            Request::Finish { root } => {
                match self.target()? {
                    Target::Partial(partial) => partial.finish(root, digests, peer)?,
                    Target::Update(update) => update.finish(root)?,
                }
                Reply::Ready
            }
            Request::Publish => {
                // A scan of the image holds it against whoever wants to write.
                self.scanned = None;
                match self.target()? {
                    Target::Partial(partial) => partial.publish(digests)?,
                    Target::Update(update) => update.publish(digests, peer)?,
                }
                self.target = None;
                Reply::Published
            }
            Request::Discard => {
                self.target()?;
                match self.target.take() {
                    Some(Target::Partial(partial)) => partial.discard()?,
                    Some(Target::Update(update)) => update.discard()?,
                    None => {}
                }
                Reply::Done
            }
            Request::Update { file, expect, length, opening } => self.update(&file, expect, length, opening, peer)?,
            Request::Recover { file } => {
                self.scanned = None;
                self.target = None;
                Reply::Recovered { root: recover(&file, digests, peer)? }
            }
            Request::List { file } => directory::list(&file)?,
            Request::MakeDirectory { file, mode } => directory::make(&file, mode)?,
            Request::Rename { file, to } => directory::rename(&file, &to)?,
            Request::Remove { file } => directory::remove(&file)?,
            Request::Seed { file, from } => directory::seed(&file, &from)?,
            Request::Sum { file } => sum(&file, peer)?,
        };
        peer.reply(&reply)
    }

    fn scan(&mut self, file: FileRef, keep: Keep, access: Access, peer: &Peer) -> Result<Reply> {
        let digests = &self.settings.digests;
        let place = Place::find(&file)?;
        let pending = pending(&place)?;
        let image = Image::open(&place, access)?;
        let identity = image.identity()?;
        let saved = match keep {
            Keep::Forget => None,
            Keep::Remember | Keep::Track => saved::load(digests, &image)?,
        };
        let was_saved = saved.is_some();
        let patched = match keep {
            Keep::Track if !was_saved => marks::scan(&image, digests, peer).map_err(|e| e.of(&file))?,
            _ => None,
        };
        let (tree, spared) = match (saved, patched) {
            (Some(tree), _) => (tree, 0),
            (None, Some(patched)) => patched,
            (None, None) => (Tree::scan(&image, digests, peer).map_err(|e| e.of(&file))?, 0),
        };
        settle(&image, identity, access)?;
        if !was_saved {
            keep_digests(digests, keep, &tree, &image, identity)?;
        }
        Ok(self.remember(Scanned { file, _image: Some(image), identity, tree }, was_saved, spared, pending))
    }

    fn update(&mut self, file: &FileRef, expect: Digest, length: u64, opening: Opening, peer: &Peer) -> Result<Reply> {
        self.target = None;
        let (digests, place) = (&self.settings.digests, Place::find(file)?);
        let image = Image::open(&place, Access::Exclusive)?;
        let (identity, tree) = (image.identity()?, known(&image, digests, peer)?);
        settle(&image, identity, Access::Exclusive)?;
        if tree.root != expect {
            return Err(differs(expect, tree.root).of(file));
        }
        let now = image.length();
        let update = Update::begin(place, image, tree, length, opening, digests)?;
        let was_there = update.is_resumed();
        self.target = Some(Target::Update(Box::new(update)));
        Ok(Reply::Updating { length: now, was_there })
    }

    fn remember(&mut self, scanned: Scanned, was_saved: bool, spared: u64, pending: Option<Pending>) -> Reply {
        let Tree { length, data, root, .. } = scanned.tree;
        self.scanned = Some(scanned);
        Reply::Scanned { length, data, root, was_saved, spared, pending }
    }

    fn send(
        &mut self,
        file: FileRef,
        what: What,
        compression: Compression,
        keep: Keep,
        access: Access,
        peer: &Peer,
    ) -> Result<Reply> {
        let image = Image::open(&Place::find(&file)?, access)?;
        let identity = image.identity()?;
        let known = self.scanned.as_ref().filter(|known| known.file == file);
        let reply = match what {
            What::Ranges(spans) => {
                if known.is_some_and(|known| known.identity != identity) && access == Access::Exclusive {
                    return Err(Trouble::changed().of(&file));
                }
                send::ranges(&image, peer, compression, &spans, known.map(|known| &known.tree))
                    .map_err(|e| e.of(&file))?
            }
            What::All => {
                let digests = &self.settings.digests;
                let (tree, reply) = send::all(&image, peer, compression, digests).map_err(|e| e.of(&file))?;
                settle(&image, identity, access)?;
                keep_digests(digests, keep, &tree, &image, identity)?;
                self.scanned = Some(Scanned { file, _image: Some(image), identity, tree });
                return Ok(reply);
            }
        };
        settle(&image, identity, access)?;
        Ok(reply)
    }

    fn scanned(&self) -> Result<&Scanned> {
        self.scanned.as_ref().ok_or_else(|| Trouble::new(FailureKind::InvalidState, "no file was scanned"))
    }

    fn target(&mut self) -> Result<&mut Target> {
        self.target.as_mut().ok_or_else(|| Trouble::new(FailureKind::InvalidState, "no file was begun"))
    }
}

/// Saves what is to be kept of an image that was read.
fn keep_digests(directory: &Path, keep: Keep, tree: &Tree, image: &Image, identity: Option<Identity>) -> Result<()> {
    if keep != Keep::Forget {
        saved::save(directory, tree, image, identity)?;
    }
    match keep {
        Keep::Track => marks::save(directory, image, tree.root),
        Keep::Forget | Keep::Remember => Ok(()),
    }
}

/// An image that was read is still what it was, unless the caller answers for it.
fn settle(image: &Image, then: Option<Identity>, access: Access) -> Result<()> {
    match access == Access::Shared || image.identity()? == then {
        true => Ok(()),
        false => Err(Trouble::changed().of(image.name())),
    }
}

fn hello(version: u32) -> Result<Reply> {
    match version {
        VERSION => Ok(Reply::Hello {
            version: VERSION,
            program: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            features: Vec::new(),
        }),
        other => {
            let text = format!("this helper speaks version {VERSION}, not {other}");
            Err(Trouble::new(FailureKind::Unsupported, text))
        }
    }
}

fn stat(file: &FileRef) -> Result<Reply> {
    let place = Place::find(file)?;
    let image = Image::open(&place, Access::Shared)?;
    let (length, allocated, identity) = (image.length(), image.allocated()?, image.identity()?);
    Ok(Reply::Stat { length, allocated, identity, pending: pending(&place)? })
}

fn space(path: &str) -> Result<Reply> {
    let of = rustix::fs::fstatvfs(root(path)?).map_err(|e| Trouble::io("cannot measure the room", e))?;
    let bytes = |blocks: u64| blocks.saturating_mul(of.f_frsize);
    Ok(Reply::Space { free: bytes(of.f_bavail), total: bytes(of.f_blocks) })
}

/// Sends digests that follow one another, without those frames in which there are only zeros.
fn runs(peer: &Peer, first: u64, digests: &[Digest]) -> Result<()> {
    let firsts = (first..).step_by(DigestRun::MAX);
    for (first, digests) in firsts.zip(digests.chunks(DigestRun::MAX)) {
        if digests.iter().any(|digest| !digest.is_zero()) {
            peer.digests(&DigestRun { first, digests: digests.to_vec() })?;
        }
    }
    Ok(())
}

/// The conversation has no chain of causes.
fn with_source(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
