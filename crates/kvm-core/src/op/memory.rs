//! Journals and locks in memory: for tests, and for embedders that keep none.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{Entry, Journal, LockGuard, LockKey, OpId, OpView, Record, Store};
use crate::{Error, ErrorKind, Resource, Result};

/// A [`Store`] in memory. Clones share it; dropping a journal without finishing it is what a crash is to a file.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    journals: BTreeMap<OpId, Kept>,
    order: Vec<OpId>,
    locks: BTreeMap<LockKey, OpId>,
    cancels: BTreeSet<OpId>,
}

struct Kept {
    entries: Vec<Entry>,
    owned: bool,
    finished: bool,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn views(&self, finished: bool) -> Result<Vec<OpView>> {
        let state = self.state();
        let kept = state.order.iter().filter_map(|id| state.journals.get(id));
        let views = kept.map(|k| OpView::replay(&k.entries, k.owned));
        views.filter(|view| view.as_ref().map_or(true, |view| view.status.is_open() != finished)).collect()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryStore({} journals)", self.state().journals.len())
    }
}

fn missing(id: &OpId) -> Error {
    Error::new(ErrorKind::NotFound, format!("no operation {id}")).on(Resource::Operation(id.to_string()))
}

#[async_trait]
impl Store for MemoryStore {
    async fn create(&self, first: Entry) -> Result<Box<dyn Journal>> {
        let Record::Opened(header) = &first.record else {
            return Err(Error::internal("a journal begins with its plan"));
        };
        let id = header.id.clone();
        let mut state = self.state();
        if state.journals.contains_key(&id) {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("there is an operation {id} already")));
        }
        state.journals.insert(id.clone(), Kept { entries: vec![first], owned: true, finished: false });
        state.order.push(id.clone());
        Ok(Box::new(MemoryJournal { store: self.clone(), id }))
    }

    async fn take_over(&self, id: &OpId) -> Result<(OpView, Box<dyn Journal>)> {
        let mut state = self.state();
        let kept = state.journals.get_mut(id).ok_or_else(|| missing(id))?;
        if kept.owned {
            return Err(Error::new(ErrorKind::Busy, format!("operation {id} is running")));
        }
        let view = OpView::replay(&kept.entries, false)?;
        kept.owned = true;
        Ok((view, Box::new(MemoryJournal { store: self.clone(), id: id.clone() })))
    }

    async fn view(&self, id: &OpId) -> Result<OpView> {
        let state = self.state();
        let kept = state.journals.get(id).ok_or_else(|| missing(id))?;
        OpView::replay(&kept.entries, kept.owned)
    }

    async fn unfinished(&self) -> Result<Vec<OpView>> {
        self.views(false)
    }

    async fn finished(&self) -> Result<Vec<OpView>> {
        self.views(true)
    }

    async fn lock(&self, key: &LockKey, owner: &OpId) -> Result<Box<dyn LockGuard>> {
        let mut state = self.state();
        if let Some(holder) = state.locks.get(key) {
            return Err(Error::new(ErrorKind::Busy, "another operation works on this VM")
                .on(Resource::Vm(key.vm.to_string()))
                .with_detail(format!("operation {holder} holds the lock")));
        }
        state.locks.insert(key.clone(), owner.clone());
        Ok(Box::new(MemoryLock { store: self.clone(), key: key.clone() }))
    }

    async fn request_cancel(&self, id: &OpId) -> Result<()> {
        let mut state = self.state();
        if state.journals.get(id).is_none_or(|k| k.finished) {
            return Err(missing(id));
        }
        state.cancels.insert(id.clone());
        Ok(())
    }

    async fn cancel_requested(&self, id: &OpId) -> Result<bool> {
        Ok(self.state().cancels.contains(id))
    }
}

#[derive(Debug)]
struct MemoryJournal {
    store: MemoryStore,
    id: OpId,
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn append(&mut self, entry: &Entry) -> Result<()> {
        let mut state = self.store.state();
        let kept = state.journals.get_mut(&self.id).ok_or_else(|| missing(&self.id))?;
        kept.entries.push(entry.clone());
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        let mut state = self.store.state();
        state.cancels.remove(&self.id);
        state.journals.get_mut(&self.id).ok_or_else(|| missing(&self.id))?.finished = true;
        Ok(())
    }
}

impl Drop for MemoryJournal {
    fn drop(&mut self) {
        if let Some(kept) = self.store.state().journals.get_mut(&self.id) {
            kept.owned = false;
        }
    }
}

#[derive(Debug)]
struct MemoryLock {
    store: MemoryStore,
    key: LockKey,
}

impl LockGuard for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.store.state().locks.remove(&self.key);
    }
}
