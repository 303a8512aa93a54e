//! Checkpoints.

use kvm_core::{CheckpointInfo, CheckpointSpec, Checkpoints, ErrorKind, PowerAction, Remove, VmId};

use crate::case::{Failure, cases, refused, same};
use crate::cx::Cx;

cases! { CASES in "checkpoints" on Cx;
    /// A machine of which nobody made a checkpoint has none.
    async fn there_are_none_at_first(cx) {
        let id = cx.defined("a").await?;
        same("checkpoints", facet(cx)?.list(&id).await?, vec![])
    }

    /// A machine that is not there has no checkpoints.
    async fn a_machine_that_is_not_there_is_not_found(cx) {
        let (id, name) = (cx.id("absent"), cx.snapshot_name("first")?);
        refused(facet(cx)?.list(&id).await, ErrorKind::NotFound)?;
        refused(facet(cx)?.create(&id, &CheckpointSpec::new(name.clone())).await, ErrorKind::NotFound)?;
        refused(facet(cx)?.changes(&id, &name).await, ErrorKind::NotFound)?;
        refused(facet(cx)?.delete(&id, &name, Remove::Everything).await, ErrorKind::NotFound)
    }

    /// Each checkpoint is the child of the one before, and names the disks that take part.
    async fn checkpoints_form_a_chain(cx) {
        let id = chain(cx).await?;
        let all = facet(cx)?.list(&id).await?;
        same("names and parents", shape(&all), vec![("c", None), ("b", Some("c")), ("a", Some("b"))])?;
        same("disks", all[0].disks.clone(), vec!["vda".to_owned()])
    }

    /// A name is taken once.
    async fn a_taken_name_is_refused(cx) {
        let id = chain(cx).await?;
        let spec = CheckpointSpec::new(cx.snapshot_name("b")?);
        refused(facet(cx)?.create(&id, &spec).await, ErrorKind::AlreadyExists)?;
        same("how many there are", facet(cx)?.list(&id).await?.len(), 3)
    }

    /// Deleting a checkpoint gives its children to its parent.
    async fn a_deleted_checkpoint_leaves_its_children_to_its_parent(cx) {
        let id = chain(cx).await?;
        facet(cx)?.delete(&id, &cx.snapshot_name("b")?, Remove::Everything).await?;
        let all = facet(cx)?.list(&id).await?;
        same("names and parents", shape(&all), vec![("c", None), ("a", Some("c"))])
    }

    /// A checkpoint that is not there is neither deleted nor measured.
    async fn what_is_not_there_is_not_found(cx) {
        let (id, name) = (chain(cx).await?, cx.snapshot_name("absent")?);
        refused(facet(cx)?.delete(&id, &name, Remove::Everything).await, ErrorKind::NotFound)?;
        refused(facet(cx)?.changes(&id, &name).await, ErrorKind::NotFound)
    }

    /// How much was written since a checkpoint is told for each disk.
    async fn changes_are_told_for_each_disk(cx) {
        let id = chain(cx).await?;
        let changes = facet(cx)?.changes(&id, &cx.snapshot_name("c")?).await?;
        same("disks", changes.iter().map(|change| change.disk.as_str()).collect(), vec!["vda"])
    }

    /// Only a running machine has its images remember, forget and tell; a record goes in any state.
    async fn a_machine_that_is_off_remembers_nothing_new(cx) {
        let id = chain(cx).await?;
        cx.power(&id, PowerAction::PowerOff).await?;
        let (facet, name) = (facet(cx)?, cx.snapshot_name("a")?);
        let spec = CheckpointSpec::new(cx.snapshot_name("d")?);
        refused(facet.create(&id, &spec).await, ErrorKind::InvalidState)?;
        refused(facet.changes(&id, &name).await, ErrorKind::InvalidState)?;
        refused(facet.delete(&id, &name, Remove::Everything).await, ErrorKind::InvalidState)?;
        facet.delete(&id, &name, Remove::Record).await?;
        same("names and parents", shape(&facet.list(&id).await?), vec![("c", None), ("b", Some("c"))])
    }

    /// A machine whose disks cannot remember gets no checkpoint.
    async fn disks_that_cannot_remember_are_unsupported(cx) {
        let id = cx.running("a").await?;
        let spec = CheckpointSpec::new(cx.snapshot_name("first")?);
        refused(facet(cx)?.create(&id, &spec).await, ErrorKind::Unsupported)?;
        same("checkpoints", facet(cx)?.list(&id).await?, vec![])
    }
}

fn facet(cx: &Cx) -> kvm_core::Result<&dyn Checkpoints> {
    cx.family("checkpoints", cx.hypervisor().checkpoints())
}

/// A running machine with three checkpoints, in an order that is not that of their names.
async fn chain(cx: &Cx) -> Result<VmId, Failure> {
    let id = cx.with_disk("a").await?.0;
    cx.power(&id, PowerAction::Start).await?;
    for word in ["c", "b", "a"] {
        facet(cx)?.create(&id, &CheckpointSpec::new(cx.snapshot_name(word)?)).await?;
    }
    Ok(id)
}

fn shape(all: &[CheckpointInfo]) -> Vec<(&str, Option<&str>)> {
    all.iter().map(|one| (one.name.as_str(), one.parent.as_ref().map(|parent| parent.as_str()))).collect()
}
