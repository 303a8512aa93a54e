//! Where journals and locks live: files that survive a power cut.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::{Entry, LockGuard, LockKey, OpId, OpView, Record};
use crate::{Error, ErrorKind, Resource, Result};

/// Finished journals that are kept; older ones are deleted.
const KEPT: usize = 1000;

/// Keeps journals and locks.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Begins a journal; the caller owns it until it drops it. `AlreadyExists` when the id is taken.
    async fn create(&self, first: Entry) -> Result<Box<dyn Journal>>;

    /// Takes over the journal of an owner that died. `Busy` when the owner lives, `NotFound`.
    async fn take_over(&self, id: &OpId) -> Result<(OpView, Box<dyn Journal>)>;

    /// Reads an operation, whoever owns it. `NotFound`.
    async fn view(&self, id: &OpId) -> Result<OpView>;

    /// Reads all operations that are not finished, oldest first.
    async fn unfinished(&self) -> Result<Vec<OpView>>;

    /// Reads the finished operations that are still kept, oldest first.
    async fn finished(&self) -> Result<Vec<OpView>>;

    /// Takes a lock for an operation. `Busy`, with the owner's operation in the detail, when somebody has it.
    async fn lock(&self, key: &LockKey, owner: &OpId) -> Result<Box<dyn LockGuard>>;

    /// Asks the owner of a running operation to cancel it. `NotFound` when no such operation is unfinished.
    async fn request_cancel(&self, id: &OpId) -> Result<()>;

    /// Whether somebody asked the owner to cancel.
    async fn cancel_requested(&self, id: &OpId) -> Result<bool>;
}

/// One operation's journal, held by its owner.
///
/// `Sync` so that the future of a run is `Send`: a server spawns it.
#[async_trait]
pub trait Journal: fmt::Debug + Send + Sync {
    /// Adds a line; it survives a power cut when this returns.
    async fn append(&mut self, entry: &Entry) -> Result<()>;

    /// Files the journal under the finished ones. It has its last line already.
    async fn finish(self: Box<Self>) -> Result<()>;
}

/// Journals as files: `operations/<id>.jsonl`, `operations/finished/<id>.jsonl` and `locks/*.lock` under one directory.
///
/// The owner of a journal holds an exclusive lock on the file, which the system gives back when the process dies.
#[derive(Clone, Debug)]
pub struct FileStore {
    root: PathBuf,
}

impl FileStore {
    /// Uses (and makes, readable by the user alone) the directories under `root`.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let store = Self { root: root.into() };
        for dir in [store.operations(), store.finished_dir(), store.locks()] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&dir)
                .map_err(|e| file_error("create", &dir, e))?;
        }
        Ok(store)
    }

    fn operations(&self) -> PathBuf {
        self.root.join("operations")
    }

    fn finished_dir(&self) -> PathBuf {
        self.operations().join("finished")
    }

    fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    fn journal_path(&self, id: &OpId) -> PathBuf {
        self.operations().join(format!("{id}.jsonl"))
    }

    fn cancel_path(&self, id: &OpId) -> PathBuf {
        self.operations().join(format!("{id}.cancel"))
    }

    /// Runs file work where it may block.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(Self) -> Result<T> + Send + 'static) -> Result<T> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || work(store))
            .await
            .map_err(|e| Error::internal("file work did not finish").with_source(e))?
    }

    fn views_in(dir: &Path) -> Result<Vec<OpView>> {
        let mut views = Vec::new();
        for file in fs::read_dir(dir).map_err(|e| file_error("list", dir, e))? {
            let path = file.map_err(|e| file_error("list", dir, e))?.path();
            if path.extension().is_some_and(|e| e == "jsonl") {
                match read_view(&path) {
                    Ok(view) => views.push(view),
                    // Finished or begun by another process between listing and reading.
                    Err(e) if e.kind() == ErrorKind::NotFound => {}
                    Err(e) => return Err(e),
                }
            }
        }
        views.sort_by_key(|v| v.started);
        Ok(views)
    }
}

#[async_trait]
impl Store for FileStore {
    async fn create(&self, first: Entry) -> Result<Box<dyn Journal>> {
        let Record::Opened(header) = &first.record else {
            return Err(Error::internal("a journal begins with its plan"));
        };
        let id = header.id.clone();
        let line = line_of(&first)?;
        self.blocking(move |store| {
            if store.finished_dir().join(format!("{id}.jsonl")).exists() {
                return Err(taken(&id));
            }
            // Under another name until it is locked and has its plan: nobody ever sees a journal without an owner.
            let (new, path) = (store.operations().join(format!("{id}.new")), store.journal_path(&id));
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&new)
                .map_err(|e| file_error("create", &new, e))?;
            file.lock()
                .and_then(|()| file.write_all(&line))
                .and_then(|()| file.sync_all())
                .map_err(|e| file_error("write", &new, e))?;
            let linked = fs::hard_link(&new, &path).map_err(|e| match e.kind() {
                io::ErrorKind::AlreadyExists => taken(&id),
                _ => file_error("create", &path, e),
            });
            fs::remove_file(&new).map_err(|e| file_error("delete", &new, e))?;
            linked?;
            sync_dir(&store.operations())?;
            Ok(Box::new(FileJournal { store, id, file: Some(file) }) as Box<dyn Journal>)
        })
        .await
    }

    async fn take_over(&self, id: &OpId) -> Result<(OpView, Box<dyn Journal>)> {
        let id = id.clone();
        self.blocking(move |store| {
            let path = store.journal_path(&id);
            let mut file = open_journal(&path, &id)?;
            // A shared lock is had exactly when no owner lives; the exclusive one then waits for passing readers only.
            match file.try_lock_shared() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::new(ErrorKind::Busy, format!("operation {id} is running"))
                        .on(Resource::Operation(id.to_string())));
                }
                Err(TryLockError::Error(e)) => return Err(file_error("lock", &path, e)),
            }
            file.lock().map_err(|e| file_error("lock", &path, e))?;
            let entries = cut_torn_tail(&mut file, &path)?;
            let view = OpView::replay(&entries, false).map_err(|e| e.on(Resource::Operation(id.to_string())))?;
            Ok((view, Box::new(FileJournal { store, id, file: Some(file) }) as Box<dyn Journal>))
        })
        .await
    }

    async fn view(&self, id: &OpId) -> Result<OpView> {
        let id = id.clone();
        self.blocking(move |store| {
            let finished = store.finished_dir().join(format!("{id}.jsonl"));
            match read_view(&store.journal_path(&id)) {
                Err(e) if e.kind() == ErrorKind::NotFound => read_view(&finished).map_err(|e| match e.kind() {
                    ErrorKind::NotFound => missing(&id),
                    _ => e,
                }),
                other => other,
            }
        })
        .await
    }

    async fn unfinished(&self) -> Result<Vec<OpView>> {
        self.blocking(|store| {
            let mut views = Self::views_in(&store.operations())?;
            views.retain(|view| view.status.is_open());
            Ok(views)
        })
        .await
    }

    async fn finished(&self) -> Result<Vec<OpView>> {
        self.blocking(|store| {
            // An owner may die between the last line of its journal and filing it.
            let mut views = Self::views_in(&store.operations())?;
            views.retain(|view| !view.status.is_open());
            let filed = Self::views_in(&store.finished_dir())?;
            views.retain(|view| filed.iter().all(|other| other.header.id != view.header.id));
            views.extend(filed);
            views.sort_by_key(|v| v.started);
            Ok(views)
        })
        .await
    }

    async fn lock(&self, key: &LockKey, owner: &OpId) -> Result<Box<dyn LockGuard>> {
        let (key, owner) = (key.clone(), owner.clone());
        self.blocking(move |store| {
            let path = store.locks().join(key.file_name());
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .mode(0o600)
                .open(&path)
                .map_err(|e| file_error("open", &path, e))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    let _unreadable_is_unnamed = file.read_to_string(&mut holder);
                    let holder = holder.split_whitespace().next().unwrap_or("unknown").to_owned();
                    return Err(Error::new(ErrorKind::Busy, "another operation works on this VM")
                        .on(Resource::Vm(key.vm.to_string()))
                        .with_detail(format!("operation {holder} holds the lock")));
                }
                Err(TryLockError::Error(e)) => return Err(file_error("lock", &path, e)),
            }
            let note = format!("{owner} {key}\n");
            file.set_len(0)
                .and_then(|()| file.write_all(note.as_bytes()))
                .map_err(|e| file_error("write", &path, e))?;
            Ok(Box::new(FileLock { _file: file }) as Box<dyn LockGuard>)
        })
        .await
    }

    async fn request_cancel(&self, id: &OpId) -> Result<()> {
        let id = id.clone();
        self.blocking(move |store| {
            if !store.journal_path(&id).exists() {
                return Err(missing(&id));
            }
            let path = store.cancel_path(&id);
            File::create(&path).map(drop).map_err(|e| file_error("create", &path, e))
        })
        .await
    }

    async fn cancel_requested(&self, id: &OpId) -> Result<bool> {
        let path = self.cancel_path(id);
        self.blocking(move |_| Ok(path.exists())).await
    }
}

/// Nothing but the open file, whose lock ends with it.
#[derive(Debug)]
struct FileLock {
    _file: File,
}

impl LockGuard for FileLock {}

#[derive(Debug)]
struct FileJournal {
    store: FileStore,
    id: OpId,
    /// `None` only while a blocking call has it.
    file: Option<File>,
}

#[async_trait]
impl Journal for FileJournal {
    async fn append(&mut self, entry: &Entry) -> Result<()> {
        let path = self.store.journal_path(&self.id);
        let line = line_of(entry)?;
        let mut file = self.file.take().ok_or_else(|| Error::internal("the journal was lost by an earlier error"))?;
        let file = self
            .store
            .blocking(move |_| {
                // One write, so that a torn line can only be the last one.
                file.write_all(&line).and_then(|()| file.sync_data()).map_err(|e| file_error("write", &path, e))?;
                Ok(file)
            })
            .await?;
        self.file = Some(file);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        let Self { store, id, file } = *self;
        store
            .blocking(move |store| {
                let (from, to) = (store.journal_path(&id), store.finished_dir().join(format!("{id}.jsonl")));
                fs::rename(&from, &to).map_err(|e| file_error("move", &from, e))?;
                sync_dir(&store.operations())?;
                sync_dir(&store.finished_dir())?;
                match fs::remove_file(store.cancel_path(&id)) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => {
                        return Err(file_error("delete", &store.cancel_path(&id), e));
                    }
                    _ => {}
                }
                drop(file);
                prune(&store.finished_dir())
            })
            .await
    }
}

fn line_of(entry: &Entry) -> Result<Vec<u8>> {
    let mut line =
        serde_json::to_vec(entry).map_err(|e| Error::internal("a journal entry has no JSON form").with_source(e))?;
    line.push(b'\n');
    Ok(line)
}

/// Deletes the oldest finished journals beyond [`KEPT`].
fn prune(dir: &Path) -> Result<()> {
    let mut files = Vec::new();
    for file in fs::read_dir(dir).map_err(|e| file_error("list", dir, e))?.flatten() {
        // One that another process pruned meanwhile is not there to be dated.
        if let Ok(modified) = file.metadata().and_then(|m| m.modified()) {
            files.push((modified, file.path()));
        }
    }
    if files.len() > KEPT {
        files.sort();
        let surplus = files.len() - KEPT;
        for (_, path) in files.into_iter().take(surplus) {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(file_error("delete", &path, e)),
                _ => {}
            }
        }
    }
    Ok(())
}

fn open_journal(path: &Path, id: &OpId) -> Result<File> {
    OpenOptions::new().read(true).append(true).open(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => missing(id),
        _ => file_error("open", path, e),
    })
}

fn read_view(path: &Path) -> Result<OpView> {
    let mut file = File::open(path).map_err(|e| file_error("open", path, e))?;
    // A living owner holds an exclusive lock; a shared one is only had when there is none.
    let owned = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    let (entries, _) = read_entries(&mut file, path)?;
    OpView::replay(&entries, owned).map_err(|e| e.on(Resource::File(path.display().to_string())))
}

/// Reads all whole lines, and says how many bytes they are. What follows the last newline was cut off by a crash
/// before it was promised, and counts as never written.
fn read_entries(file: &mut File, path: &Path) -> Result<(Vec<Entry>, u64)> {
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut text)).map_err(|e| file_error("read", path, e))?;
    let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    let mut entries = Vec::new();
    for line in text[..whole].split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        entries.push(serde_json::from_slice(line).map_err(|e| {
            Error::new(ErrorKind::Corrupt, "the journal has a line that cannot be read")
                .on(Resource::File(path.display().to_string()))
                .with_source(e)
        })?);
    }
    Ok((entries, whole as u64))
}

/// As [`read_entries`], and takes the torn rest away so that the next line begins on its own.
fn cut_torn_tail(file: &mut File, path: &Path) -> Result<Vec<Entry>> {
    let (entries, whole) = read_entries(file, path)?;
    file.set_len(whole).and_then(|()| file.sync_data()).map_err(|e| file_error("repair", path, e))?;
    Ok(entries)
}

fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| file_error("sync", dir, e))
}

fn taken(id: &OpId) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("there is an operation {id} already"))
}

fn missing(id: &OpId) -> Error {
    Error::new(ErrorKind::NotFound, format!("no operation {id}")).on(Resource::Operation(id.to_string()))
}

fn file_error(verb: &'static str, path: &Path, source: io::Error) -> Error {
    let kind = match source.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, format!("cannot {verb} {}", path.display()))
        .on(Resource::File(path.display().to_string()))
        .with_source(source)
}
