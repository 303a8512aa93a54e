//! The points before and after each line of a journal.

use async_trait::async_trait;
use kvm_core::Result;
use kvm_core::op::{Entry, FileStore, Header, Journal, LockGuard, LockKey, OpId, OpView, Record, Store};

use super::at;

/// The same journals, with points.
pub(crate) fn watched(store: FileStore) -> impl Store {
    Watched(store)
}

#[derive(Debug)]
struct Watched(FileStore);

#[derive(Debug)]
struct WatchedJournal {
    journal: Box<dyn Journal>,
    steps: Vec<String>,
}

impl WatchedJournal {
    fn of(journal: Box<dyn Journal>, header: &Header) -> Box<dyn Journal> {
        let steps = header.steps.iter().map(|step| step.name.clone()).collect();
        Box::new(Self { journal, steps })
    }

    fn point(&self, record: &Record) -> String {
        let of = |what: &str, step: &usize| match self.steps.get(*step) {
            Some(name) => format!("journal.{what}.{name}"),
            None => format!("journal.{what}"),
        };
        match record {
            Record::Opened(_) => "journal.opened".to_owned(),
            Record::Intent { step } => of("intent", step),
            Record::Done { step } => of("done", step),
            Record::Skipped { step } => of("skipped", step),
            Record::Failed { step, .. } => of("failed", step),
            Record::UndoIntent { step } => of("undo-intent", step),
            Record::Undone { step } => of("undone", step),
            Record::UndoFailed { step, .. } => of("undo-failed", step),
            Record::TakenOver { .. } => "journal.taken-over".to_owned(),
            Record::Closed { .. } => "journal.closed".to_owned(),
        }
    }
}

#[async_trait]
impl Journal for WatchedJournal {
    async fn append(&mut self, entry: &Entry) -> Result<()> {
        let point = self.point(&entry.record);
        at(&format!("{point}.before"));
        self.journal.append(entry).await?;
        at(&format!("{point}.after"));
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        at("journal.filed.before");
        self.journal.finish().await?;
        at("journal.filed.after");
        Ok(())
    }
}

#[async_trait]
impl Store for Watched {
    async fn create(&self, first: Entry) -> Result<Box<dyn Journal>> {
        let header = match &first.record {
            Record::Opened(header) => Some(header.clone()),
            _ => None,
        };
        at("journal.opened.before");
        let journal = self.0.create(first).await?;
        at("journal.opened.after");
        Ok(match header {
            Some(header) => WatchedJournal::of(journal, &header),
            None => journal,
        })
    }

    async fn take_over(&self, id: &OpId) -> Result<(OpView, Box<dyn Journal>)> {
        let (view, journal) = self.0.take_over(id).await?;
        let journal = WatchedJournal::of(journal, &view.header);
        Ok((view, journal))
    }

    async fn view(&self, id: &OpId) -> Result<OpView> {
        self.0.view(id).await
    }

    async fn unfinished(&self) -> Result<Vec<OpView>> {
        self.0.unfinished().await
    }

    async fn finished(&self) -> Result<Vec<OpView>> {
        self.0.finished().await
    }

    async fn lock(&self, key: &LockKey, owner: &OpId) -> Result<Box<dyn LockGuard>> {
        self.0.lock(key, owner).await
    }

    async fn request_cancel(&self, id: &OpId) -> Result<()> {
        self.0.request_cancel(id).await
    }

    async fn cancel_requested(&self, id: &OpId) -> Result<bool> {
        self.0.cancel_requested(id).await
    }
}
