//! Keeping a world between processes: one JSON file, changed under a lock, replaced as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use kvm_core::{Error, ErrorKind, Resource, Result};
use serde::{Deserialize, Serialize};

use crate::world::World;

/// The version of the format. A file of another version is refused rather than misread.
const FORMAT: u32 = 1;

/// What stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored<W> {
    format: u32,
    /// What the world was made from. Another origin under the same name begins anew.
    origin: String,
    world: W,
}

/// The place where a world is kept.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    lock: PathBuf,
    origin: String,
    /// The file as this process knows it: what is in memory is the same.
    known: Mutex<Option<Stamp>>,
}

/// Tells one version of a file from another; each is a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(meta: &fs::Metadata) -> Self {
        Self { inode: meta.ino(), length: meta.len(), modified: (meta.mtime(), meta.mtime_nsec()) }
    }
}

impl StateFile {
    /// Uses `<dir>/<name>.json`; makes the directory, readable by the user alone.
    pub(crate) fn open(dir: &Path, name: &str, origin: String) -> Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| trouble("create", dir, e))?;
        Ok(Self {
            path: dir.join(format!("{name}.json")),
            lock: dir.join(format!("{name}.lock")),
            origin,
            known: Mutex::new(None),
        })
    }

    /// Waits until no other process works on the world; each holds it for one call only.
    pub(crate) fn lock(&self) -> Result<LockedState<'_>> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&self.lock)
            .map_err(|e| trouble("open", &self.lock, e))?;
        file.lock().map_err(|e| trouble("lock", &self.lock, e))?;
        Ok(LockedState { state: self, _lock: file })
    }
}

/// The state while no other process touches it.
#[derive(Debug)]
pub(crate) struct LockedState<'a> {
    state: &'a StateFile,
    _lock: File,
}

impl LockedState<'_> {
    /// The world in the file, unless it is what this process read or wrote last. `None` also when there is none, or
    /// one of another origin.
    pub(crate) fn news(&self) -> Result<Option<World>> {
        let path = &self.state.path;
        let stamp = match fs::metadata(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => Stamp::of(&other.map_err(|e| trouble("read", path, e))?),
        };
        let mut known = self.known();
        if *known == Some(stamp) {
            return Ok(None);
        }
        let text = fs::read(path).map_err(|e| trouble("read", path, e))?;
        *known = Some(stamp);
        let damaged = |e: serde_json::Error| {
            Error::new(ErrorKind::Corrupt, "the simulated host's state file does not make sense")
                .on(Resource::File(path.display().to_string()))
                .with_detail("delete it to begin anew")
                .with_source(e)
        };
        // The frame first: the world of another version may well look different.
        let frame: Stored<serde::de::IgnoredAny> = serde_json::from_slice(&text).map_err(damaged)?;
        if frame.format != FORMAT {
            return Err(Error::new(ErrorKind::Unsupported, "the simulated host's state file is of another version")
                .on(Resource::File(path.display().to_string()))
                .with_detail(format!(
                    "it is version {}, this program knows {FORMAT}; delete it to begin anew",
                    frame.format
                )));
        }
        if frame.origin != self.state.origin {
            return Ok(None);
        }
        serde_json::from_slice(&text).map(|stored: Stored<World>| Some(stored.world)).map_err(damaged)
    }

    /// Writes the world in place of what is there.
    pub(crate) fn store(&self, world: &World) -> Result<()> {
        let (path, new) = (&self.state.path, self.state.path.with_extension("json.new"));
        let stored = Stored { format: FORMAT, origin: self.state.origin.clone(), world };
        let text = serde_json::to_vec(&stored)
            .map_err(|e| Error::internal("the simulated host cannot be written down").with_source(e))?;
        let write = || {
            let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
            file.write_all(&text)?;
            file.sync_data()?;
            fs::rename(&new, path)
        };
        write().map_err(|e| trouble("write", path, e))?;
        let written = fs::metadata(path).map_err(|e| trouble("read", path, e))?;
        *self.known() = Some(Stamp::of(&written));
        Ok(())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<Stamp>> {
        self.state.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn trouble(verb: &str, path: &Path, e: io::Error) -> Error {
    let kind = match e.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, format!("cannot {verb} the simulated host's state"))
        .on(Resource::File(path.display().to_string()))
        .with_source(e)
}
