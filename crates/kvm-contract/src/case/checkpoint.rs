//! Checkpoint records.

use kvm_core::ErrorKind;

use crate::case::{cases, refused, same};
use crate::cx::Cx;

cases! { CASES in "checkpoints" on Cx;
    /// A machine of which nobody made a checkpoint has none.
    async fn there_are_none_at_first(cx) {
        let checkpoints = cx.family("checkpoints", cx.hypervisor().checkpoints())?;
        let id = cx.defined("a").await?;
        same("checkpoints", checkpoints.list(&id).await?, vec![])
    }

    /// A machine that is not there has no checkpoints.
    async fn a_machine_that_is_not_there_is_not_found(cx) {
        let checkpoints = cx.family("checkpoints", cx.hypervisor().checkpoints())?;
        refused(checkpoints.list(&cx.id("absent")).await, ErrorKind::NotFound)
    }
}
