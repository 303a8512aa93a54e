//! Snapshot records.

use kvm_core::{Description, ErrorKind, PowerAction, SnapshotInfo, Snapshots, VmId, VmState};

use crate::case::{Failure, cases, refused, same};
use crate::cx::Cx;

cases! { CASES in "snapshots" on Cx;
    /// A machine has no snapshots until one is taken.
    async fn there_are_none_at_first(cx) {
        let id = cx.defined("a").await?;
        same("snapshots", facet(cx)?.list(&id).await?, vec![])
    }

    /// A snapshot is listed with its description, and becomes the current one.
    async fn a_snapshot_is_listed(cx) {
        let id = cx.with_disk("a").await?.0;
        let description = Description::parse("before & <after>\nsecond line")?;
        facet(cx)?.create(&id, &cx.snapshot_name("first")?, Some(&description)).await?;
        same("snapshots", facet(cx)?.list(&id).await?, vec![SnapshotInfo {
            name: cx.snapshot_name("first")?,
            parent: None,
            current: true,
            description: Some(description.as_str().to_owned()),
        }])
    }

    /// Each snapshot is the child of the one before; parents are listed before children, and one is current.
    async fn snapshots_form_a_chain(cx) {
        let id = chain(cx).await?;
        let all = facet(cx)?.list(&id).await?;
        let wanted = vec![("c", None, false), ("b", Some("c"), false), ("a", Some("b"), true)];
        same("names and parents", shape(&all), wanted)
    }

    /// A name is taken once.
    async fn a_taken_name_is_refused(cx) {
        let id = cx.with_disk("a").await?.0;
        let name = cx.snapshot_name("first")?;
        facet(cx)?.create(&id, &name, None).await?;
        refused(facet(cx)?.create(&id, &name, None).await, ErrorKind::AlreadyExists)?;
        same("how many there are", facet(cx)?.list(&id).await?.len(), 1)
    }

    /// Deleting a snapshot gives its children to its parent.
    async fn a_deleted_snapshot_leaves_its_children_to_its_parent(cx) {
        let id = chain(cx).await?;
        facet(cx)?.delete(&id, &cx.snapshot_name("b")?).await?;
        let all = facet(cx)?.list(&id).await?;
        same("names and parents", shape(&all), vec![("c", None, false), ("a", Some("c"), true)])
    }

    /// Deleting the current snapshot makes its parent the current one.
    async fn a_deleted_current_snapshot_leaves_its_place_to_its_parent(cx) {
        let id = chain(cx).await?;
        facet(cx)?.delete(&id, &cx.snapshot_name("a")?).await?;
        let all = facet(cx)?.list(&id).await?;
        same("names and parents", shape(&all), vec![("c", None, false), ("b", Some("c"), true)])
    }

    /// A snapshot that is not there cannot be deleted.
    async fn what_is_not_there_is_not_deleted(cx) {
        let id = cx.defined("a").await?;
        refused(facet(cx)?.delete(&id, &cx.snapshot_name("absent")?).await, ErrorKind::NotFound)
    }

    /// A machine that is not there has no snapshots.
    async fn a_machine_that_is_not_there_is_not_found(cx) {
        let (id, name) = (cx.id("absent"), cx.snapshot_name("first")?);
        refused(facet(cx)?.list(&id).await, ErrorKind::NotFound)?;
        refused(facet(cx)?.create(&id, &name, None).await, ErrorKind::NotFound)?;
        refused(facet(cx)?.delete(&id, &name).await, ErrorKind::NotFound)
    }

    /// A running machine has its snapshot taken and goes on.
    async fn a_running_machine_goes_on(cx) {
        let id = cx.with_disk("a").await?.0;
        cx.power(&id, PowerAction::Start).await?;
        facet(cx)?.create(&id, &cx.snapshot_name("first")?, None).await?;
        same("state", cx.state(&id).await?, VmState::Running)?;
        same("how many there are", facet(cx)?.list(&id).await?.len(), 1)
    }

    /// A machine whose disks cannot hold a snapshot gets none.
    async fn disks_that_cannot_hold_one_are_unsupported(cx) {
        let id = cx.defined("a").await?;
        refused(facet(cx)?.create(&id, &cx.snapshot_name("first")?, None).await, ErrorKind::Unsupported)?;
        same("snapshots", facet(cx)?.list(&id).await?, vec![])
    }
}

fn facet(cx: &Cx) -> kvm_core::Result<&dyn Snapshots> {
    cx.family("snapshots", cx.hypervisor().snapshots())
}

/// A machine with three snapshots, in an order that is not that of their names.
async fn chain(cx: &Cx) -> Result<VmId, Failure> {
    let id = cx.with_disk("a").await?.0;
    for word in ["c", "b", "a"] {
        facet(cx)?.create(&id, &cx.snapshot_name(word)?, None).await?;
    }
    Ok(id)
}

fn shape(all: &[SnapshotInfo]) -> Vec<(&str, Option<&str>, bool)> {
    all.iter().map(|s| (s.name.as_str(), s.parent.as_ref().map(|parent| parent.as_str()), s.current)).collect()
}
