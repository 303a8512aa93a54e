//! The program: its streams, its end, its memory, and what a kill leaves.
#![allow(missing_docs, reason = "tests")]
#![expect(clippy::disallowed_methods, reason = "tests of the program start it")]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use kvm_wire::*;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kvm-helper");

/// A host in a directory: images, and the helper's own.
struct Host(TempDir);

struct Helper {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl Host {
    fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        fs::create_dir(host.0.path().join("images")).unwrap();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("images").join(name)
    }

    fn file(&self, name: &str) -> FileRef {
        FileRef::new(self.path("").to_str().unwrap(), name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn image(&self, name: &str, length: u64, parts: impl IntoIterator<Item = (u64, Vec<u8>)>) {
        let file = File::create(self.path(name)).unwrap();
        file.set_len(length).unwrap();
        parts.into_iter().for_each(|(at, bytes)| file.write_all_at(&bytes, at).unwrap());
    }

    fn start(&self) -> Helper {
        self.start_under(&[])
    }

    /// The helper, started by another program such as `prlimit`.
    fn start_under(&self, before: &[&str]) -> Helper {
        let words: Vec<&str> = before.iter().copied().chain([PROGRAM]).collect();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .env("KVM_HELPER_STATE", self.0.path().join("state"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        let mut helper = Helper { child, input, output };
        assert!(matches!(helper.ask(&Request::Hello { version: VERSION }), Reply::Hello { .. }));
        helper
    }
}

impl Helper {
    fn write(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn tell(&mut self, request: &Request) {
        self.write(&Frame::request(request).unwrap().to_bytes());
    }

    /// Asks, hands blocks over, and returns the reply.
    fn each(&mut self, request: &Request, mut each: impl FnMut(Frame)) -> Reply {
        self.tell(request);
        loop {
            let mut head = [0; Header::SIZE];
            self.output.read_exact(&mut head).unwrap();
            let header = Header::decode(head).unwrap();
            let mut payload = vec![0; header.length()];
            self.output.read_exact(&mut payload).unwrap();
            let frame = Frame::new(header.kind(), payload).unwrap();
            match frame.kind() {
                FrameKind::Message => match frame.as_reply().unwrap() {
                    Reply::Progress { .. } => {}
                    reply => return reply,
                },
                _ => each(frame),
            }
        }
    }

    fn ask(&mut self, request: &Request) -> Reply {
        self.each(request, drop)
    }

    fn send(&mut self, file: FileRef, each: impl FnMut(Frame)) -> (Digest, u64) {
        let (what, compression) = (What::All, Compression::Zstd);
        let request = Request::Send { file, what, compression, keep: Keep::Forget, access: Access::Exclusive };
        match self.each(&request, each) {
            Reply::Sent { root: Some(root), data, .. } => (root, data),
            other => panic!("{other:?}"),
        }
    }

    /// The most memory that it has used so far, in bytes.
    fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2) + 1;
    let step = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    std::iter::repeat_with(step).take(length).collect()
}

#[test]
fn it_says_its_version_and_takes_nothing_else() {
    let output = Command::new(PROGRAM).arg("--version").output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("kvm-helper {}\n", env!("CARGO_PKG_VERSION")));
    for arguments in [&["--help"][..], &["--version", "x"], &["/etc/passwd"]] {
        let output = Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}");
    }
}

#[test]
fn it_ends_with_its_input_also_in_the_middle_of_work() {
    let host = Host::new();
    host.image("source", 64 << 20, [(0, noise(1 << 20, 1))]);
    let mut helper = host.start();
    drop(helper.input.take());
    assert!(helper.child.wait().unwrap().success());

    let mut helper = host.start();
    let file = host.file("source");
    helper.tell(&Request::Scan { file, keep: Keep::Forget, access: Access::Exclusive });
    drop(helper.input.take());
    assert!(helper.child.wait().unwrap().success());
}

#[test]
fn its_memory_is_bounded_whatever_the_image() {
    let host = Host::new();
    // 64 GiB with data all over it, and much of it in one place.
    let parts = (0..256).map(|n: u64| (n << 28, noise(1 << 20, n)));
    host.image("source", 64 << 30, parts.chain([(1 << 33, vec![7; 256 << 20])]));
    let mut helper = host.start();
    let (root, data) = helper.send(host.file("source"), drop);
    assert!(data >= 511 << 20, "{data}");
    let request = Request::Scan { file: host.file("source"), keep: Keep::Remember, access: Access::Exclusive };
    assert!(matches!(helper.ask(&request), Reply::Scanned { root: scanned, .. } if scanned == root));
    assert_eq!(helper.ask(&Request::Groups), Reply::Done);
    assert!(helper.peak() < 64 << 20, "{} KiB", helper.peak() >> 10);

    let (mut target, length) = (host.start(), 64 << 30);
    target.ask(&Request::Create { file: host.file("copy"), length, mode: 0o600, opening: Opening::New });
    target.tell(&Request::Receive);
    helper.send(host.file("source"), |frame| target.write(&frame.to_bytes()));
    assert!(matches!(target.ask(&Request::End), Reply::Received { .. }));
    assert_eq!(target.ask(&Request::Finish { root }), Reply::Ready);
    assert_eq!(target.ask(&Request::Publish), Reply::Published);
    assert!(target.peak() < 64 << 20, "{} KiB", target.peak() >> 10);
}

#[test]
fn a_kill_between_any_two_steps_leaves_no_half_file_and_is_gone_on_with() {
    let host = Host::new();
    host.image("source", 20 << 20, [(0, noise(3 << 20, 1)), (18 << 20, noise(100_000, 2))]);
    let mut blocks = Vec::new();
    let mut source = host.start();
    let (root, _) = source.send(host.file("source"), |frame| blocks.push(frame));
    let create = |opening| Request::Create { file: host.file("copy"), length: 20 << 20, mode: 0o600, opening };
    for kill in 0..5 {
        let mut helper = host.start();
        helper.ask(&create(Opening::New));
        if kill > 0 {
            helper.tell(&Request::Receive);
            blocks[..1].iter().for_each(|block| helper.write(&block.to_bytes()));
        }
        if kill > 1 {
            blocks[1..].iter().for_each(|block| helper.write(&block.to_bytes()));
        }
        if kill > 2 {
            assert!(matches!(helper.ask(&Request::End), Reply::Received { .. }));
        }
        if kill > 3 {
            assert_eq!(helper.ask(&Request::Finish { root }), Reply::Ready);
        }
        helper.kill();
        assert_eq!(host.names(), ["copy.partial", "source"], "killed at {kill}");

        let mut helper = host.start();
        assert_eq!(helper.ask(&create(Opening::Resume)), Reply::Created { was_there: true });
        helper.tell(&Request::Receive);
        blocks.iter().for_each(|block| helper.write(&block.to_bytes()));
        assert!(matches!(helper.ask(&Request::End), Reply::Received { .. }));
        assert_eq!(helper.ask(&Request::Finish { root }), Reply::Ready);
        assert_eq!(helper.ask(&Request::Publish), Reply::Published);
        assert!(fs::read(host.path("copy")).unwrap() == fs::read(host.path("source")).unwrap());
        fs::remove_file(host.path("copy")).unwrap();
    }
}

#[test]
fn an_update_that_was_killed_at_any_moment_of_its_application_is_recovered() {
    let host = Host::new();
    let length = 64 << 20;
    host.image("source", length, [(0, noise(48 << 20, 1))]);
    host.image("old", length, [(0, noise(48 << 20, 2))]);
    let (mut blocks, mut source) = (Vec::new(), host.start());
    let (root, _) = source.send(host.file("source"), |frame| blocks.push(frame));
    let (before, _) = source.send(host.file("old"), drop);
    drop(source);
    for kill in 0..6 {
        fs::copy(host.path("old"), host.path("copy")).unwrap();
        let mut helper = host.start();
        let request = Request::Update { file: host.file("copy"), expect: before, length, opening: Opening::New };
        assert_eq!(helper.ask(&request), Reply::Updating { length, was_there: false });
        helper.tell(&Request::Receive);
        blocks.iter().for_each(|block| helper.write(&block.to_bytes()));
        assert!(matches!(helper.ask(&Request::End), Reply::Received { .. }));
        assert_eq!(helper.ask(&Request::Finish { root }), Reply::Ready);
        helper.tell(&Request::Publish);
        // Wait for as much of the new image as this round wants to see, then kill.
        let there = |at: u64| {
            let (mut byte, file) = ([0; 4096], File::open(host.path("copy")).unwrap());
            file.read_exact_at(&mut byte, at).unwrap();
            byte
        };
        let at = kill * (9 << 20);
        let new = there_in(&host, at);
        while kill > 0 && there(at) != new {
            std::thread::yield_now();
        }
        helper.kill();
        let reply = host.start().ask(&Request::Recover { file: host.file("copy") });
        // Whoever was fast had finished before.
        assert!(matches!(reply, Reply::Recovered { root: found } if found.is_none_or(|found| found == root)));
        assert!(fs::read(host.path("copy")).unwrap() == fs::read(host.path("source")).unwrap(), "{kill}: {reply:?}");
        assert_eq!(host.names(), ["copy", "old", "source"]);
    }
}

fn there_in(host: &Host, at: u64) -> [u8; 4096] {
    let (mut bytes, file) = ([0; 4096], File::open(host.path("source")).unwrap());
    file.read_exact_at(&mut bytes, at).unwrap();
    bytes
}

#[test]
fn without_room_nothing_is_left_that_was_not_there() {
    let host = Host::new();
    host.image("copy", 32 << 20, [(0, noise(1 << 20, 1))]);
    let old = fs::read(host.path("copy")).unwrap();
    // No file may become longer than this, which is to whoever writes as if the disk were full.
    let full = ["env", "--ignore-signal=XFSZ", "prlimit", "--fsize=8388608"];
    let mut helper = host.start_under(&full);
    let (file, length) = (host.file("other"), 16 << 20);
    let reply = helper.ask(&Request::Create { file, length, mode: 0o600, opening: Opening::New });
    assert!(matches!(reply, Reply::Error { kind: FailureKind::NoSpace, .. }), "{reply:?}");
    assert_eq!(host.names(), ["copy"]);

    host.image("source", 32 << 20, [(0, noise(24 << 20, 2))]);
    let (mut blocks, mut source) = (Vec::new(), host.start());
    source.send(host.file("source"), |frame| blocks.push(frame));
    let (expect, _) = source.send(host.file("copy"), drop);
    drop(source);
    let reply =
        helper.ask(&Request::Update { file: host.file("copy"), expect, length: 32 << 20, opening: Opening::New });
    assert!(matches!(reply, Reply::Updating { .. }), "{reply:?}");
    helper.tell(&Request::Receive);
    blocks.iter().for_each(|block| helper.write(&block.to_bytes()));
    let reply = helper.ask(&Request::End);
    assert!(matches!(reply, Reply::Error { kind: FailureKind::NoSpace, .. }), "{reply:?}");
    assert_eq!(helper.ask(&Request::Discard), Reply::Done);
    assert_eq!(host.names(), ["copy", "source"]);
    assert!(fs::read(host.path("copy")).unwrap() == old);
}
