//! The other side of a session, and a host for it in a temporary directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read as _, Write as _, pipe};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use kvm_helper::{Settings, serve};
use kvm_wire::*;
use tempfile::TempDir;

/// A host: images below one directory, the helper's own below others.
pub(crate) struct Host {
    pub(crate) dir: TempDir,
}

impl Host {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("images")).unwrap();
        Self { dir }
    }

    pub(crate) fn file(&self, name: &str) -> FileRef {
        FileRef::new(self.dir.path().join("images").to_str().unwrap(), name)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("images").join(name)
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings::new(self.dir.path().join("digests"))
    }

    /// The names of all files in the directory of images.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A session that has not greeted yet.
    pub(crate) fn silent(&self) -> Peer {
        self.silent_with(self.settings())
    }

    pub(crate) fn silent_with(&self, settings: Settings) -> Peer {
        let ((theirs, output), (input, ours)) = (pipe().unwrap(), pipe().unwrap());
        let thread = std::thread::spawn(move || serve(settings, theirs, ours));
        Peer { input, output: Some(output), thread: Some(thread), frames: Vec::new(), signs: 0 }
    }

    pub(crate) fn session(&self) -> Peer {
        let mut peer = self.silent();
        assert!(matches!(peer.ask(&Request::Hello { version: VERSION }), Reply::Hello { version: VERSION, .. }));
        peer
    }

    /// Makes an image with these contents, holes elsewhere.
    pub(crate) fn image(&self, name: &str, length: u64, parts: &[(u64, &[u8])]) -> Vec<u8> {
        let file = File::create(self.path(name)).unwrap();
        file.set_len(length).unwrap();
        for (offset, bytes) in parts {
            file.write_all_at(bytes, *offset).unwrap();
        }
        drop(file);
        std::fs::read(self.path(name)).unwrap()
    }
}

/// Who asks.
pub(crate) struct Peer {
    input: PipeReader,
    output: Option<PipeWriter>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// Frames that came before the last reply.
    pub(crate) frames: Vec<Frame>,
    /// How often it said before the last reply that it is at work.
    pub(crate) signs: usize,
}

impl Peer {
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.output.as_mut().unwrap().write_all(bytes).unwrap();
    }

    pub(crate) fn tell(&mut self, request: &Request) {
        self.write(&Frame::request(request).unwrap().to_bytes());
    }

    pub(crate) fn ask(&mut self, request: &Request) -> Reply {
        self.tell(request);
        self.reply()
    }

    /// The reply that ends a request; blocks and digests before it are kept.
    pub(crate) fn reply(&mut self) -> Reply {
        self.frames.clear();
        self.signs = 0;
        loop {
            let frame = self.frame().expect("the helper answers");
            match frame.kind() {
                FrameKind::Message => match frame.as_reply().unwrap() {
                    Reply::Progress { .. } => self.signs += 1,
                    reply => return reply,
                },
                _ => self.frames.push(frame),
            }
        }
    }

    pub(crate) fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; Header::SIZE];
        self.input.read_exact(&mut head).ok()?;
        let header = Header::decode(head).unwrap();
        let mut payload = vec![0; header.length()];
        self.input.read_exact(&mut payload).ok()?;
        Some(Frame::new(header.kind(), payload).unwrap())
    }

    /// Hangs up and waits until the helper has noticed.
    pub(crate) fn cut(mut self) {
        drop(self.output.take());
        self.thread.take().unwrap().join().unwrap();
    }

    /// Goes away without reading what is sent, and waits until the helper has noticed.
    pub(crate) fn hang_up(self) {
        let Self { input, output, thread, .. } = self;
        drop((input, output));
        thread.unwrap().join().unwrap();
    }

    pub(crate) fn scan(&mut self, file: &FileRef, keep: Keep) -> (Digest, bool) {
        let request = Request::Scan { file: file.clone(), keep, access: Access::Exclusive };
        match self.ask(&request) {
            Reply::Scanned { root, was_saved, .. } => (root, was_saved),
            other => panic!("{other:?}"),
        }
    }

    /// The digests of all groups, or of the leaves of some, that are not zeros.
    pub(crate) fn digests(&mut self, request: &Request) -> BTreeMap<u64, Digest> {
        assert_eq!(self.ask(request), Reply::Done);
        let runs = self.frames.iter().map(|frame| frame.as_digests().unwrap());
        runs.flat_map(|run| (run.first..).zip(run.digests)).filter(|(_, digest)| !digest.is_zero()).collect()
    }

    /// All blocks of a file, and the reply.
    pub(crate) fn send(&mut self, file: &FileRef, what: What) -> (Vec<Frame>, Reply) {
        let reply = self.ask(&Request::Send {
            file: file.clone(),
            what,
            compression: Compression::Zstd,
            keep: Keep::Forget,
            access: Access::Exclusive,
        });
        (std::mem::take(&mut self.frames), reply)
    }

    /// Sends blocks for what was begun.
    pub(crate) fn receive(&mut self, blocks: &[Frame]) -> Reply {
        self.tell(&Request::Receive);
        blocks.iter().for_each(|block| self.write(&block.to_bytes()));
        self.ask(&Request::End)
    }

    pub(crate) fn create(&mut self, file: &FileRef, length: u64, opening: Opening) -> Reply {
        self.ask(&Request::Create { file: file.clone(), length, mode: 0o640, opening })
    }
}

/// Bytes that cannot be compressed, the same for the same seed.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2) + 1;
    let step = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    std::iter::repeat_with(step).take(length).collect()
}

/// Bytes that can be compressed.
pub(crate) fn text(length: usize) -> Vec<u8> {
    b"the quick brown fox jumps over the lazy dog\n".iter().copied().cycle().take(length).collect()
}

pub(crate) fn kind(reply: &Reply) -> FailureKind {
    match reply {
        Reply::Error { kind, .. } => *kind,
        other => panic!("no error: {other:?}"),
    }
}

pub(crate) fn cause(reply: Reply) -> Option<Cause> {
    match reply {
        Reply::Error { cause, .. } => cause,
        other => panic!("no error: {other:?}"),
    }
}
