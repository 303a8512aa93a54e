//! Two hosts in directories, and what all proofs share.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use kvm_clone::{Compress, ImageTransfer, ImageUpdate, Transferred, Updated, Watch};
use kvm_core::op::Pace;
use kvm_core::{DiskPath, Reporter, Result, Silent, SystemClock};
use kvm_helper::Settings;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::way::{Fault, Way};

/// What blocks hold at most.
pub(crate) const BLOCK: u64 = 1 << 20;
/// The image of most proofs: some blocks of one size, so that offsets in what is sent are the same in each run.
pub(crate) const LENGTH: u64 = 8 * BLOCK;

/// Which rounds are to be run, and from where chance comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// All rounds, and not only some of each kind.
    pub(crate) is_long: bool,
    pub(crate) seed: u64,
}

impl Extent {
    /// As `KVM_PROOF=long` and `KVM_PROOF_SEED` say.
    #[expect(clippy::disallowed_methods, reason = "whoever runs the tests says so in no other way")]
    pub(crate) fn asked_for() -> Self {
        let number = |text: String| text.parse().unwrap_or_else(|e| panic!("KVM_PROOF_SEED: {e}: {text}"));
        let seed = std::env::var("KVM_PROOF_SEED").map_or(1, number);
        Self { is_long: std::env::var("KVM_PROOF").is_ok_and(|form| form == "long"), seed }
    }
}

/// One line that is collected: what was proved, how often of how many.
pub(crate) fn told(name: &str, held: usize, of: usize, words: &str) {
    println!("PROOF {name} {held}/{of} {words}");
    assert_eq!(held, of, "{name}: {words}");
}

/// Chance that repeats itself.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }
}

/// Bytes that cannot be compressed.
pub(crate) fn noise(length: u64, seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let words = std::iter::repeat_with(|| dice.next().to_le_bytes()).flatten();
    words.take(usize::try_from(length).unwrap()).collect()
}

/// A host: images in one directory, the helper's own in another.
#[derive(Debug)]
pub(crate) struct Place {
    images: PathBuf,
    own: TempDir,
    sessions: Mutex<Vec<JoinHandle<()>>>,
}

impl Place {
    /// In memory where there is such a place: what is proved here is not what a disk keeps.
    pub(crate) fn new() -> Arc<Self> {
        let memory = Path::new("/dev/shm");
        let own = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let images = own.path().join("images");
        fs::create_dir(&images).unwrap();
        Arc::new(Self { images, own, sessions: Mutex::default() })
    }

    /// With its images in a directory that is there.
    pub(crate) fn with_images(images: &Path) -> Arc<Self> {
        let own = tempfile::tempdir().unwrap();
        Arc::new(Self { images: images.to_owned(), own, sessions: Mutex::default() })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.images.join(name)
    }

    pub(crate) fn disk(&self, name: &str) -> DiskPath {
        DiskPath::adopt(self.path(name).to_str().unwrap()).unwrap()
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn remove(&self, name: &str) {
        let _gone = fs::remove_file(self.path(name));
    }

    /// Flips one bit of a file where it lies.
    pub(crate) fn flip(path: &Path, byte: u64, bit: u8) {
        let file = File::options().read(true).write(true).open(path).unwrap();
        let mut one = [0];
        file.read_exact_at(&mut one, byte).unwrap();
        file.write_all_at(&[one[0] ^ (1 << bit)], byte).unwrap();
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.images).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings::new(self.own.path().join("digests"))
    }

    pub(crate) fn note(&self, session: JoinHandle<()>) {
        self.sessions.lock().unwrap().push(session);
    }

    /// Waits until no helper is at work here any more.
    pub(crate) fn settle(&self) {
        for session in std::mem::take(&mut *self.sessions.lock().unwrap()) {
            session.join().unwrap();
        }
    }

    /// A way here on which nothing goes wrong.
    pub(crate) fn way(self: &Arc<Self>) -> Way {
        self.patient(Duration::from_secs(30))
    }

    /// The same, on which silence is taken for a cut after this time.
    pub(crate) fn patient(self: &Arc<Self>, stall: Duration) -> Way {
        Way::to(Arc::clone(self), None, stall)
    }

    pub(crate) fn faulty(self: &Arc<Self>, fault: Fault, stall: Duration) -> Way {
        Way::to(Arc::clone(self), Some(fault), stall)
    }
}

/// Sends `source` of one host to `copy` of the other.
pub(crate) async fn transfer(from: &Way, to: &Way, resume: bool) -> Result<Transferred> {
    transfer_telling(from, to, resume, &Silent).await
}

/// The same, and tells how it goes.
pub(crate) async fn transfer_telling(
    from: &Way,
    to: &Way,
    resume: bool,
    reporter: &dyn Reporter,
) -> Result<Transferred> {
    let (source, target) = (from.place().disk("source"), to.place().disk("copy"));
    let transfer = ImageTransfer {
        source: from,
        from: &source,
        is_qcow2: false,
        target: to,
        to: &target,
        limit: None,
        compression: Compress::Never,
        resume,
    };
    let cancel = CancellationToken::new();
    let pace = Pace::default();
    let done = transfer.run(Watch { reporter, ..watch(&cancel, &pace) }).await;
    from.place().settle();
    to.place().settle();
    done
}

/// Brings `copy` of the other host up to date.
pub(crate) async fn update(from: &Way, to: &Way) -> Result<Updated> {
    update_telling(from, to, false, &Silent).await
}

/// The same, or goes on with it, and tells how it goes.
pub(crate) async fn update_telling(from: &Way, to: &Way, resume: bool, reporter: &dyn Reporter) -> Result<Updated> {
    let (source, target) = (from.place().disk("source"), to.place().disk("copy"));
    let compression = Compress::Never;
    let (is_qcow2, limit) = (false, None);
    let update =
        ImageUpdate { source: from, from: &source, is_qcow2, target: to, to: &target, limit, compression, resume };
    let cancel = CancellationToken::new();
    let pace = Pace::default();
    let done = update.run(Watch { reporter, ..watch(&cancel, &pace) }).await;
    from.place().settle();
    to.place().settle();
    done
}

fn watch<'a>(cancel: &'a CancellationToken, pace: &'a Pace) -> Watch<'a> {
    Watch { reporter: &Silent, title: "copy", clock: &SystemClock, cancel, pace }
}
