//! What is asked, and what it does to the simulated host.

use std::collections::BTreeSet;

use kvm_core::ErrorKind;
use kvm_wire::{
    Block, Digest, DigestRun, Encoding, Entry, EntryKind, FailureKind, FileRef, Frame, FrameKind, GROUP_LEAVES,
    LEAF_SIZE, Opening, Reply, Request, Span, VERSION, What,
};
use sha2::{Digest as _, Sha256};

use super::file::{Answer, PARTIAL, Trouble, directory, has, missing, path, taken};
use super::frame;
use super::tree::Tree;
use crate::fault::Method;
use crate::file::SparseFile;
use crate::mock::{Access, Mock, locked};
use crate::world::World;

/// So much of a file is hashed at once.
const SUMMED: u64 = 1 << 20;

/// One conversation.
#[derive(Debug)]
pub(super) struct Session {
    mock: Mock,
    scanned: Option<Tree>,
    target: Option<Target>,
    receiving: Option<Receiving>,
}

/// A file that has not its name yet.
#[derive(Clone, Debug)]
struct Target {
    path: String,
    is_ready: bool,
}

/// Blocks that come in.
#[derive(Clone, Debug, Default)]
struct Receiving {
    blocks: u64,
    data: u64,
    /// Something went wrong and was told; what follows is ignored.
    failed: bool,
}

impl Session {
    pub(super) fn of(mock: Mock) -> Self {
        Self { mock, scanned: None, target: None, receiving: None }
    }

    /// The frames that answer one.
    pub(super) fn hear(&mut self, heard: &Frame) -> Vec<Frame> {
        let answered = match heard.kind() {
            FrameKind::Block => self.block(heard),
            FrameKind::Digests => Err(Trouble::plain(FailureKind::InvalidInput, "digests were not asked for")),
            FrameKind::Message => match heard.as_request() {
                Ok(request) => self.answer(request),
                Err(e) => Err(Trouble::plain(FailureKind::InvalidInput, e.to_string())),
            },
        };
        answered.unwrap_or_else(|trouble| frame(&trouble.into_reply()))
    }

    /// A call at the simulated host.
    fn call<T>(&self, subject: &str, work: impl FnOnce(&mut World) -> Answer<T>) -> Answer<T> {
        let lost = locked(&self.mock.0.faults).enter(Method::Helper, subject).map_err(|e| failed(&e))?;
        let worked = self.mock.0.with(Access::Change, |world, _| Ok(work(world))).map_err(|e| failed(&e))?;
        match lost {
            Some(e) => worked.and(Err(failed(&e))),
            None => worked,
        }
    }

    fn block(&mut self, heard: &Frame) -> Answer<Vec<Frame>> {
        let Some(mut receiving) = self.receiving.take() else {
            return Err(Trouble::plain(FailureKind::InvalidInput, "nothing is being received"));
        };
        let put = match receiving.failed {
            true => Ok(()),
            false => {
                heard.as_block().map_err(|e| Trouble::plain(FailureKind::Corrupt, e.to_string())).and_then(|block| {
                    (receiving.blocks, receiving.data) =
                        (receiving.blocks + 1, receiving.data + u64::from(block.length()));
                    self.put(&block)
                })
            }
        };
        receiving.failed |= put.is_err();
        self.receiving = Some(receiving);
        put.map(|()| Vec::new())
    }

    fn put(&self, block: &Block<'_>) -> Answer<()> {
        let partial = self.partial()?;
        let bytes = match block.encoding() {
            Encoding::Raw => block.data().to_vec(),
            Encoding::Zeros => vec![0; block.length() as usize],
            Encoding::Zstd => {
                return Err(Trouble::plain(FailureKind::Unsupported, "a simulated host unpacks nothing"));
            }
        };
        self.call("block", |world| {
            let file = world.files.get_mut(&partial).ok_or_else(gone)?;
            match block.encoding() {
                Encoding::Zeros => file.clear(block.offset(), u64::from(block.length())),
                _ => file.write(block.offset(), &bytes),
            }
            Ok(())
        })
    }

    fn answer(&mut self, request: Request) -> Answer<Vec<Frame>> {
        let reply = match request {
            Request::Hello { .. } => self.call("hello", |_| {
                Ok(Reply::Hello {
                    version: VERSION,
                    program: "kvm-helper, simulated".into(),
                    architecture: "x86_64".into(),
                    features: Vec::new(),
                })
            })?,
            Request::Stat { file } => self.call("stat", |world| {
                let found = find(world, &file)?;
                let (length, allocated) = (found.len(), found.allocated());
                Ok(Reply::Stat { length, allocated, identity: None, pending: None })
            })?,
            Request::Space { root } => self.call("space", |world| {
                directory(world, &FileRef::new(root, ""))?;
                Ok(Reply::Space { free: 1 << 40, total: 1 << 40 })
            })?,
            Request::Scan { file, .. } => {
                let tree = self.call("scan", |world| Ok(Tree::of(find(world, &file)?)))?;
                self.scanned(tree)
            }
            Request::ScanPartial => {
                let partial = self.partial()?;
                let tree =
                    self.call("scan_partial", |world| Ok(Tree::of(world.files.get(&partial).ok_or_else(gone)?)))?;
                self.scanned(tree)
            }
            Request::Groups => return Ok(runs(&[(0, self.tree()?.groups.clone())])),
            Request::Leaves { groups } => {
                let tree = self.tree()?;
                let leaf = |leaf: u64| tree.leaves.get(&leaf).copied().unwrap_or(Digest::ZERO);
                let ends = |group: u64| (group * GROUP_LEAVES, (group + 1) * GROUP_LEAVES);
                let of = |group: u64| (ends(group).0, (ends(group).0..ends(group).1).map(leaf).collect());
                return Ok(runs(&groups.into_iter().map(of).collect::<Vec<_>>()));
            }
            Request::Send { file, what, .. } => return self.send(&file, &what),
            Request::Create { file, length, mode, opening } => self.create(&file, length, mode, opening)?,
            Request::Receive => {
                self.partial()?;
                self.receiving = Some(Receiving::default());
                return Ok(Vec::new());
            }
            Request::End => match self.receiving.take() {
                // Its error was told.
                Some(Receiving { failed: true, .. }) => return Ok(Vec::new()),
                Some(Receiving { blocks, data, .. }) => Reply::Received { blocks, data },
                None => return Err(Trouble::plain(FailureKind::InvalidInput, "nothing is being received")),
            },
            Request::Finish { root } => {
                let partial = self.partial()?;
                let found =
                    self.call("finish", |world| Ok(Tree::of(world.files.get(&partial).ok_or_else(gone)?).root))?;
                if found != root {
                    return Err(Trouble::plain(FailureKind::Corrupt, "the file has another digest than expected"));
                }
                self.target.iter_mut().for_each(|target| target.is_ready = true);
                Reply::Ready
            }
            Request::Publish => self.publish()?,
            Request::Discard => {
                let partial = self.partial()?;
                self.call("discard", |world| Ok(world.files.remove(&partial)))?;
                self.target = None;
                Reply::Done
            }
            Request::List { file } => self.call("list", |world| list(world, &file))?,
            Request::MakeDirectory { file, .. } => self.call("make_directory", |world| {
                let path = path(world, &file)?;
                match has(world, &path) {
                    true => Err(taken(&file)),
                    false => Ok(world.directories.insert(path)),
                }
                .map(|_| Reply::Done)
            })?,
            Request::Rename { file, to } => self.call("rename", |world| rename(world, &file, &to))?,
            Request::Remove { file } => self.call("remove", |world| remove(world, &file))?,
            Request::Seed { file, from } => self.call("seed", |world| {
                let (from, partial) = (find(world, &from)?.clone(), format!("{}{PARTIAL}", path(world, &file)?));
                match has(world, &partial) {
                    true => Err(taken(&file)),
                    false => Ok(world.files.insert(partial, from)),
                }
                .map(|_| Reply::Done)
            })?,
            Request::Sum { file } => {
                self.call("sum", |world| Ok(Reply::Summed { sha256: sum(find(world, &file)?) }))?
            }
            Request::Update { file, .. } | Request::Recover { file } => {
                return Err(Trouble::new(FailureKind::Unsupported, "a simulated host applies no updates", &file));
            }
        };
        Ok(frame(&reply))
    }

    fn create(&mut self, file: &FileRef, length: u64, mode: u32, opening: Opening) -> Answer<Reply> {
        let (path, was_there) = self.call("create", |world| {
            let path = path(world, file)?;
            let partial = format!("{path}{PARTIAL}");
            let was_there = world.files.contains_key(&partial);
            if has(world, &path) || (was_there && opening == Opening::New) {
                return Err(taken(file));
            }
            let mut begun = world.files.remove(&partial).unwrap_or_default().with_mode(mode);
            begun.truncate(length);
            begun.lengthen(length);
            world.files.insert(partial, begun);
            Ok((path, was_there))
        })?;
        self.target = Some(Target { path, is_ready: false });
        Ok(Reply::Created { was_there })
    }

    fn publish(&mut self) -> Answer<Reply> {
        let Some(Target { path, is_ready: true }) = self.target.clone() else {
            return Err(Trouble::plain(FailureKind::InvalidState, "the file is not finished"));
        };
        self.call("publish", |world| {
            if has(world, &path) {
                return Err(Trouble::plain(FailureKind::AlreadyExists, "the file is there already"));
            }
            let file = world.files.remove(&format!("{path}{PARTIAL}")).ok_or_else(gone)?;
            world.files.insert(path, file);
            Ok(())
        })?;
        self.target = None;
        Ok(Reply::Published)
    }

    fn send(&mut self, file: &FileRef, what: &What) -> Answer<Vec<Frame>> {
        let found = self.call("send", |world| Ok(find(world, file)?.clone()))?;
        let (tree, length) = (Tree::of(&found), found.len());
        let spans: Vec<Span> = match what {
            What::Ranges(spans) => spans.clone(),
            What::All => {
                let span =
                    |leaf: &u64| Span { offset: leaf * LEAF_SIZE, length: LEAF_SIZE.min(length - leaf * LEAF_SIZE) };
                tree.leaves.keys().map(span).collect()
            }
        };
        let mut frames = Vec::new();
        let mut wire = 0;
        for span in &spans {
            for offset in (span.offset..span.offset + span.length).step_by(LEAF_SIZE as usize) {
                let size = LEAF_SIZE.min(span.offset + span.length - offset);
                let digest = tree.leaves.get(&(offset / LEAF_SIZE)).copied().unwrap_or(Digest::ZERO);
                let bytes = if digest.is_zero() { Vec::new() } else { found.read(offset, size as usize) };
                let encoding = if digest.is_zero() { Encoding::Zeros } else { Encoding::Raw };
                let block = Block::frame(offset, size as u32, encoding, &[digest], &bytes)
                    .map_err(|e| Trouble::new(FailureKind::InvalidInput, e.to_string(), file))?;
                wire += block.payload().len() as u64;
                frames.push(block);
            }
        }
        let blocks = frames.len() as u64;
        let data = spans.iter().map(|span| span.length).sum();
        frames.extend(frame(&Reply::Sent { root: Some(tree.root), length, blocks, data, wire }));
        self.scanned = Some(tree);
        Ok(frames)
    }

    fn scanned(&mut self, tree: Tree) -> Reply {
        let (length, data, root) = (tree.length, tree.data(), tree.root);
        self.scanned = Some(tree);
        Reply::Scanned { length, data, root, was_saved: false, spared: 0, pending: None }
    }

    fn tree(&self) -> Answer<&Tree> {
        self.scanned.as_ref().ok_or_else(|| Trouble::plain(FailureKind::InvalidState, "no file was scanned"))
    }

    fn partial(&self) -> Answer<String> {
        let begun = self.target.as_ref().map(|target| format!("{}{PARTIAL}", target.path));
        begun.ok_or_else(|| Trouble::plain(FailureKind::InvalidState, "no file was begun"))
    }
}

/// The SHA-256 of a file, holes included.
fn sum(file: &SparseFile) -> Digest {
    let mut hasher = Sha256::new();
    for at in (0..file.len()).step_by(SUMMED as usize) {
        hasher.update(file.read(at, SUMMED.min(file.len() - at) as usize));
    }
    Digest::from_bytes(hasher.finalize().into())
}

fn find<'a>(world: &'a World, file: &FileRef) -> Answer<&'a SparseFile> {
    world.files.get(&path(world, file)?).ok_or_else(|| missing("cannot open it", file))
}

fn gone() -> Trouble {
    Trouble::plain(FailureKind::NotFound, "the partial file is gone")
}

/// An error of the simulated host in the words of the conversation.
fn failed(error: &kvm_core::Error) -> Trouble {
    let kind = match error.kind() {
        ErrorKind::AlreadyExists => FailureKind::AlreadyExists,
        ErrorKind::Busy => FailureKind::Busy,
        ErrorKind::Corrupt => FailureKind::Corrupt,
        ErrorKind::Denied => FailureKind::Denied,
        ErrorKind::NoSpace => FailureKind::NoSpace,
        ErrorKind::NotFound => FailureKind::NotFound,
        _ => FailureKind::Internal,
    };
    Trouble::plain(kind, error.message())
}

fn list(world: &World, file: &FileRef) -> Answer<Reply> {
    let above = format!("{}/", directory(world, file)?);
    let below = |path: &String| path.strip_prefix(&above).map(|rest| rest.split('/').next().unwrap_or(rest).to_owned());
    let names: BTreeSet<_> = world.files.keys().chain(&world.directories).filter_map(below).collect();
    let entry = |name: String| match world.files.get(&format!("{above}{name}")) {
        Some(file) => Entry { name, kind: EntryKind::File, length: file.len() },
        None => Entry { name, kind: EntryKind::Directory, length: 0 },
    };
    Ok(Reply::Listing { entries: names.into_iter().map(entry).collect() })
}

fn rename(world: &mut World, file: &FileRef, to: &str) -> Answer<Reply> {
    let (from, to) = (path(world, file)?, path(world, &FileRef::new(&file.root, to))?);
    if has(world, &to) {
        return Err(taken(file));
    }
    if !has(world, &from) {
        return Err(missing("cannot rename it", file));
    }
    let moved = |path: &str| match path.strip_prefix(&from) {
        Some("") => Some(to.clone()),
        Some(rest) if rest.starts_with('/') => Some(format!("{to}{rest}")),
        _ => None,
    };
    let files = std::mem::take(&mut world.files);
    world.files = files.into_iter().map(|(path, file)| (moved(&path).unwrap_or(path), file)).collect();
    let directories = std::mem::take(&mut world.directories);
    world.directories = directories.into_iter().map(|path| moved(&path).unwrap_or(path)).collect();
    Ok(Reply::Done)
}

fn remove(world: &mut World, file: &FileRef) -> Answer<Reply> {
    let path = match path(world, file) {
        Err(Trouble(FailureKind::NotFound, ..)) => return Ok(Reply::Done),
        path => path?,
    };
    let inside = format!("{path}/");
    if world.files.keys().chain(&world.directories).any(|other| other.starts_with(&inside)) {
        return Err(Trouble::new(FailureKind::InvalidState, "cannot remove it: directory not empty", file));
    }
    world.files.remove(&path);
    world.directories.remove(&path);
    Ok(Reply::Done)
}

/// Digests in frames, without those frames in which there are only zeros.
fn runs(parts: &[(u64, Vec<Digest>)]) -> Vec<Frame> {
    let mut frames = Vec::new();
    for (first, digests) in parts {
        for (first, digests) in (*first..).step_by(DigestRun::MAX).zip(digests.chunks(DigestRun::MAX)) {
            if digests.iter().any(|digest| !digest.is_zero()) {
                frames.extend(DigestRun { first, digests: digests.to_vec() }.to_frame());
            }
        }
    }
    frames.extend(frame(&Reply::Done));
    frames
}
