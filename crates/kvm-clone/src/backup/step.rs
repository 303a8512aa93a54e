//! The steps of making and deleting a point.

use kvm_core::op::{Peer, StepContext};
use kvm_core::{ErrorKind, Host, Result};
use kvm_wire::{EntryKind, FileRef, Request};
use serde::{Deserialize, Serialize};

use super::place::{Point, inside};
use crate::step::unless_gone;
use crate::transfer::Session;

mod begin;
mod document;
mod manifest;
mod publish;
mod remove;
mod store;
mod sums;
mod tpm;

pub(crate) use begin::BeginPoint;
pub(crate) use document::{StoreDocument, view};
pub(crate) use manifest::WriteManifest;
pub(crate) use publish::PublishPoint;
pub(crate) use remove::{HidePoint, RemovePoint};
pub(crate) use store::StoreFile;
pub(crate) use sums::WriteSums;
pub(crate) use tpm::StoreTpm;

/// A point, and the host that has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct At {
    pub(crate) store: Peer,
    pub(crate) point: Point,
}

impl At {
    pub(crate) async fn host(&self, cx: &StepContext<'_>) -> Result<Host> {
        cx.peer(&self.store).await
    }

    pub(crate) async fn open(&self, cx: &StepContext<'_>) -> Result<Session> {
        Session::open(&*self.host(cx).await?.transport).await
    }

    /// A file of the point while it is being made.
    pub(crate) fn begun(&self, file: &str) -> FileRef {
        inside(&self.point.unfinished(), file)
    }

    /// Whether the point's directory is there, whole.
    pub(crate) async fn is_whole(&self, session: &mut Session) -> Result<bool> {
        self.has(session, &self.point.whole()).await
    }

    /// Whether the machine's directory has a directory of this name.
    pub(crate) async fn has(&self, session: &mut Session, directory: &FileRef) -> Result<bool> {
        match session.list(self.point.machine()).await {
            Ok(entries) => Ok(entries.iter().any(|entry| {
                entry.kind == EntryKind::Directory
                    && directory.name.strip_prefix(self.point.vm.as_str()).and_then(|rest| rest.strip_prefix('/'))
                        == Some(&*entry.name)
            })),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Removes a file of a point that is being made, and what there is of it when it is not whole.
    pub(crate) async fn forget(&self, cx: &StepContext<'_>, file: &str) -> Result<()> {
        let file = self.begun(file);
        let partial = format!("{}/{}.partial", file.root, file.name);
        self.open(cx).await?.have(Request::Remove { file }).await?;
        unless_gone(self.host(cx).await?.transport.remove_file(partial.as_ref()).await)
    }
}
