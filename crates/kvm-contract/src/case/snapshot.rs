//! Snapshots.

use std::collections::BTreeSet;

use kvm_core::{
    AfterRevert, Description, DiskPath, ErrorKind, OpenImages, Overlay, PowerAction, Quiesce, Remove,
    Result as CoreResult, Revert, Risk, SnapshotInfo, SnapshotKind, SnapshotPlace, SnapshotSpec, Snapshots, View, VmId,
    VmNotes, VmState, VolumeInfo,
};

use crate::case::{Failure, cases, holds, refused, same};
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
        let spec = SnapshotSpec { description: Some(description.clone()), ..internal(cx, "first")? };
        facet(cx)?.create(&id, &spec).await?;
        let all = facet(cx)?.list(&id).await?;
        same("names and parents", shape(&all), vec![("first", None, true)])?;
        same("description", all[0].description.as_deref(), Some(description.as_str()))?;
        holds("it says when it was made", all[0].created.is_some())?;
        same("state", all[0].state, VmState::Off)?;
        same("memory", all[0].memory, None)
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
        let spec = internal(cx, "first")?;
        facet(cx)?.create(&id, &spec).await?;
        refused(facet(cx)?.create(&id, &spec).await, ErrorKind::AlreadyExists)?;
        same("how many there are", facet(cx)?.list(&id).await?.len(), 1)
    }

    /// Deleting a snapshot gives its children to its parent.
    async fn a_deleted_snapshot_leaves_its_children_to_its_parent(cx) {
        let id = chain(cx).await?;
        facet(cx)?.delete(&id, &cx.snapshot_name("b")?, Remove::Everything).await?;
        let all = facet(cx)?.list(&id).await?;
        same("names and parents", shape(&all), vec![("c", None, false), ("a", Some("c"), true)])
    }

    /// Deleting the current snapshot makes its parent the current one.
    async fn a_deleted_current_snapshot_leaves_its_place_to_its_parent(cx) {
        let id = chain(cx).await?;
        facet(cx)?.delete(&id, &cx.snapshot_name("a")?, Remove::Everything).await?;
        let all = facet(cx)?.list(&id).await?;
        same("names and parents", shape(&all), vec![("c", None, false), ("b", Some("c"), true)])
    }

    /// A snapshot that is not there is not deleted, not gone back to and has no document.
    async fn what_is_not_there_is_not_found(cx) {
        let (id, name) = (cx.defined("a").await?, cx.snapshot_name("absent")?);
        refused(facet(cx)?.delete(&id, &name, Remove::Everything).await, ErrorKind::NotFound)?;
        refused(facet(cx)?.revert(&id, &name, Revert::default()).await, ErrorKind::NotFound)?;
        refused(facet(cx)?.definition(&id, &name).await.map(drop), ErrorKind::NotFound)
    }

    /// A machine that is not there has no snapshots.
    async fn a_machine_that_is_not_there_is_not_found(cx) {
        let (id, name) = (cx.id("absent"), cx.snapshot_name("first")?);
        refused(facet(cx)?.list(&id).await, ErrorKind::NotFound)?;
        refused(facet(cx)?.definition(&id, &name).await.map(drop), ErrorKind::NotFound)?;
        refused(facet(cx)?.create(&id, &SnapshotSpec::internal(name.clone())).await, ErrorKind::NotFound)?;
        refused(facet(cx)?.revert(&id, &name, Revert::default()).await, ErrorKind::NotFound)?;
        refused(facet(cx)?.delete(&id, &name, Remove::Everything).await, ErrorKind::NotFound)
    }

    /// A running machine has its snapshot taken and goes on.
    async fn a_running_machine_goes_on(cx) {
        let id = cx.with_disk("a").await?.0;
        cx.power(&id, PowerAction::Start).await?;
        facet(cx)?.create(&id, &internal(cx, "first")?).await?;
        same("state", cx.state(&id).await?, VmState::Running)?;
        same("how many there are", facet(cx)?.list(&id).await?.len(), 1)
    }

    /// A machine whose disks cannot hold a snapshot gets none.
    async fn disks_that_cannot_hold_one_are_unsupported(cx) {
        let id = cx.defined("a").await?;
        refused(facet(cx)?.create(&id, &internal(cx, "first")?).await, ErrorKind::Unsupported)?;
        same("snapshots", facet(cx)?.list(&id).await?, vec![])
    }

    /// A snapshot's document has the machine as it was.
    async fn a_document_has_the_machine(cx) {
        let id = cx.with_disk("a").await?.0;
        facet(cx)?.create(&id, &internal(cx, "first")?).await?;
        let document = facet(cx)?.definition(&id, &cx.snapshot_name("first")?).await?;
        same("name", document.name.as_deref(), Some("first"))?;
        same("the machine's id", document.domain.and_then(|domain| domain.uuid).map(VmId::from), Some(id))
    }

    /// A machine that goes back has the definition that it had, and the snapshot is the current one.
    async fn a_revert_brings_the_definition_back(cx) {
        let id = chain(cx).await?;
        let notes = VmNotes { description: Some(Description::parse("later")?), ..VmNotes::default() };
        cx.hypervisor().set_notes(&id, &notes).await?;
        facet(cx)?.revert(&id, &cx.snapshot_name("b")?, Revert::default()).await?;
        let now = VmNotes::of(&cx.hypervisor().definition(&id, View::CONFIG).await?);
        same("description", now.description.is_none_or(|text| text.is_empty()), true)?;
        let all = facet(cx)?.list(&id).await?;
        let wanted = vec![("c", None, false), ("b", Some("c"), true), ("a", Some("b"), false)];
        same("names and parents", shape(&all), wanted)
    }

    /// What is taken after a revert begins a branch.
    async fn a_branch_begins_where_the_machine_went_back_to(cx) {
        let id = chain(cx).await?;
        facet(cx)?.revert(&id, &cx.snapshot_name("b")?, Revert::default()).await?;
        facet(cx)?.create(&id, &internal(cx, "d")?).await?;
        let all = facet(cx)?.list(&id).await?;
        let of_b = all.iter().filter(|one| one.parent.as_ref().is_some_and(|parent| *parent == "b"));
        same("children of b", of_b.map(|one| one.name.as_str()).collect(), vec!["a", "d"])
    }

    /// A snapshot of a running machine has its memory: going back, it runs, whatever it does now.
    async fn memory_is_kept_and_runs_again(cx) {
        let id = cx.with_disk("a").await?.0;
        cx.power(&id, PowerAction::Start).await?;
        facet(cx)?.create(&id, &internal(cx, "first")?).await?;
        same("state in the list", facet(cx)?.list(&id).await?.iter().map(|one| one.state).collect(), vec![VmState::Running])?;
        cx.power(&id, PowerAction::PowerOff).await?;
        facet(cx)?.revert(&id, &cx.snapshot_name("first")?, Revert::default()).await?;
        same("state", cx.state(&id).await?, VmState::Running)
    }

    /// A snapshot without memory leaves the machine off, unless it is to run or to be paused.
    async fn the_state_after_a_revert_can_be_chosen(cx) {
        let id = cx.with_disk("a").await?.0;
        facet(cx)?.create(&id, &internal(cx, "first")?).await?;
        cx.power(&id, PowerAction::Start).await?;
        let name = cx.snapshot_name("first")?;
        for (then, state) in [
            (AfterRevert::AsItWas, VmState::Off),
            (AfterRevert::Running, VmState::Running),
            (AfterRevert::Paused, VmState::Paused),
        ] {
            facet(cx)?.revert(&id, &name, Revert { then, risk: Risk::Refuse }).await?;
            same("state", cx.state(&id).await?, state)?;
        }
        Ok(())
    }

    /// An external snapshot leaves the image as it is: the machine goes on in an overlay.
    async fn an_external_one_lets_the_machine_go_on_in_an_overlay(cx) {
        let (id, disk) = cx.with_disk("a").await?;
        let overlay = take_external(cx, &id, &disk, "first").await?;
        same("image", image(cx, &id).await?, overlay.clone())?;
        let all = facet(cx)?.list(&id).await?;
        same("kind", all[0].kind(), SnapshotKind::External)?;
        same("state of the disk", all[0].disks[0].image.clone(), disk.path)?;
        same("overlay", all[0].disks[0].overlay.clone(), Some(overlay))
    }

    /// Deleting an external snapshot merges its overlay: the machine is back on its image, and the overlay is gone.
    async fn a_deleted_external_one_is_merged(cx) {
        let (id, disk) = cx.with_disk("a").await?;
        let overlay = take_external(cx, &id, &disk, "first").await?;
        facet(cx)?.delete(&id, &cx.snapshot_name("first")?, Remove::Everything).await?;
        same("image", image(cx, &id).await?, disk.host_path()?.clone())?;
        is_gone(cx, &disk, &overlay).await
    }

    /// External snapshots are deleted in any order, with those around them keeping what they have.
    async fn one_between_others_is_deleted(cx) {
        let (id, disk) = cx.with_disk("a").await?;
        let mut overlays = Vec::new();
        for word in ["c", "b", "a"] {
            overlays.push(take_external(cx, &id, &disk, word).await?);
        }
        facet(cx)?.delete(&id, &cx.snapshot_name("b")?, Remove::Everything).await?;
        is_gone(cx, &disk, &overlays[1]).await?;
        facet(cx)?.delete(&id, &cx.snapshot_name("c")?, Remove::Everything).await?;
        is_gone(cx, &disk, &overlays[0]).await?;
        let all = facet(cx)?.list(&id).await?;
        same("names and parents", shape(&all), vec![("a", None, true)])?;
        same("state of the disk", all[0].disks[0].image.clone(), disk.path)?;
        same("image", image(cx, &id).await?, overlays[2].clone())
    }

    /// Going back to an external snapshot puts a new overlay upon its state; the one that the machine leaves is gone.
    async fn a_revert_to_an_external_one_begins_a_new_overlay(cx) {
        let (id, disk) = cx.with_disk("a").await?;
        let overlay = take_external(cx, &id, &disk, "first").await?;
        facet(cx)?.revert(&id, &cx.snapshot_name("first")?, Revert::default()).await?;
        let now = image(cx, &id).await?;
        holds("the machine is in another overlay", now != overlay && now != *disk.host_path()?)?;
        is_gone(cx, &disk, &overlay).await?;
        facet(cx)?.delete(&id, &cx.snapshot_name("first")?, Remove::Everything).await?;
        same("image", image(cx, &id).await?, disk.host_path()?.clone())?;
        is_gone(cx, &disk, &now).await
    }

    /// An external snapshot from which others and the machine go on is not deleted before them.
    async fn one_at_which_branches_begin_stays(cx) {
        let (id, disk) = cx.with_disk("a").await?;
        take_external(cx, &id, &disk, "first").await?;
        take_external(cx, &id, &disk, "second").await?;
        let (first, second) = (cx.snapshot_name("first")?, cx.snapshot_name("second")?);
        facet(cx)?.revert(&id, &first, Revert::default()).await?;
        refused(facet(cx)?.delete(&id, &first, Remove::Everything).await, ErrorKind::Unsupported)?;
        facet(cx)?.delete(&id, &second, Remove::Everything).await?;
        facet(cx)?.delete(&id, &first, Remove::Everything).await?;
        same("image", image(cx, &id).await?, disk.host_path()?.clone())
    }

    /// An internal snapshot in an image that the machine has left is deleted while the machine is off.
    async fn one_inside_an_image_below_waits_until_the_machine_is_off(cx) {
        let (id, disk) = cx.with_disk("a").await?;
        facet(cx)?.create(&id, &internal(cx, "first")?).await?;
        take_external(cx, &id, &disk, "second").await?;
        cx.power(&id, PowerAction::Start).await?;
        let first = cx.snapshot_name("first")?;
        refused(facet(cx)?.delete(&id, &first, Remove::Everything).await, ErrorKind::Unsupported)?;
        cx.power(&id, PowerAction::PowerOff).await?;
        facet(cx)?.delete(&id, &first, Remove::Everything).await?;
        let all = facet(cx)?.list(&id).await?;
        same("names and parents", shape(&all), vec![("second", None, true)])
    }

    /// A snapshot of a running machine's disks alone has no memory, and the machine goes on.
    async fn the_disks_alone_are_kept(cx) {
        let (id, disk) = cx.with_disk("a").await?;
        cx.power(&id, PowerAction::Start).await?;
        take_external(cx, &id, &disk, "first").await?;
        same("state", cx.state(&id).await?, VmState::Running)?;
        let all = facet(cx)?.list(&id).await?;
        same("memory", all[0].memory, None)?;
        same("state after a revert", all[0].state, VmState::Off)
    }

    /// The memory of a running machine goes into a file, which goes with the snapshot.
    async fn memory_in_a_file_runs_again(cx) {
        let (id, disk) = cx.with_disk("a").await?;
        cx.power(&id, PowerAction::Start).await?;
        let file = beside(&disk, "mem")?;
        let spec = external(cx, &disk, "first", Some(file.clone()))?;
        facet(cx)?.create(&id, &spec).await?;
        same("state", cx.state(&id).await?, VmState::Running)?;
        let all = facet(cx)?.list(&id).await?;
        same("memory", (all[0].memory, all[0].memory_file.clone()), (Some(SnapshotKind::External), Some(file.clone())))?;
        cx.power(&id, PowerAction::PowerOff).await?;
        facet(cx)?.revert(&id, &spec.name, Revert::default()).await?;
        same("state", cx.state(&id).await?, VmState::Running)?;
        facet(cx)?.delete(&id, &spec.name, Remove::Everything).await?;
        is_gone(cx, &disk, &file).await
    }

    /// What is off has no memory to keep, and no guest to be quiet.
    async fn what_is_off_has_no_memory(cx) {
        let (id, disk) = cx.with_disk("a").await?;
        let spec = external(cx, &disk, "first", Some(beside(&disk, "mem")?))?;
        refused(facet(cx)?.create(&id, &spec).await, ErrorKind::InvalidState)?;
        let spec = SnapshotSpec { quiesce: Quiesce::Yes, ..external(cx, &disk, "first", None)? };
        refused(facet(cx)?.create(&id, &spec).await, ErrorKind::InvalidState)?;
        same("image", image(cx, &id).await?, disk.host_path()?.clone())
    }

    /// A guest that has not booted yet, and whose agent is silent therefore, cannot be quiet.
    async fn a_silent_agent_is_unavailable(cx) {
        let (id, disk) = cx.with_disk("a").await?;
        cx.power(&id, PowerAction::Start).await?;
        let spec = SnapshotSpec { quiesce: Quiesce::Yes, ..external(cx, &disk, "first", None)? };
        refused(facet(cx)?.create(&id, &spec).await, ErrorKind::Unavailable)?;
        same("snapshots", facet(cx)?.list(&id).await?, vec![])
    }

    /// A guest is quiet only while its disks alone are kept.
    async fn memory_of_a_quiet_guest_is_refused(cx) {
        let (id, disk) = cx.with_disk("a").await?;
        cx.power(&id, PowerAction::Start).await?;
        for spec in [internal(cx, "first")?, external(cx, &disk, "first", Some(beside(&disk, "mem")?))?] {
            let spec = SnapshotSpec { quiesce: Quiesce::Yes, ..spec };
            refused(facet(cx)?.create(&id, &spec).await, ErrorKind::InvalidInput)?;
        }
        Ok(())
    }

    /// A file that is there is not made an overlay.
    async fn a_file_that_is_there_is_left_alone(cx) {
        let (id, disk) = cx.with_disk("a").await?;
        let other = cx.thin_volume(&disk.pool, "other.qcow2", 8 << 20).await?;
        let overlays = vec![Overlay { disk: "vda".parse()?, path: other.host_path()?.clone() }];
        let spec = SnapshotSpec { place: SnapshotPlace::External { overlays, memory: None }, ..internal(cx, "first")? };
        refused(facet(cx)?.create(&id, &spec).await, ErrorKind::AlreadyExists)?;
        same("image", image(cx, &id).await?, disk.host_path()?.clone())
    }

    /// A disk that the machine does not have is not found.
    async fn a_disk_that_is_not_there_is_not_found(cx) {
        let (id, disk) = cx.with_disk("a").await?;
        let overlays = vec![Overlay { disk: "vdz".parse()?, path: beside(&disk, "first")? }];
        let spec = SnapshotSpec { place: SnapshotPlace::External { overlays, memory: None }, ..internal(cx, "first")? };
        refused(facet(cx)?.create(&id, &spec).await, ErrorKind::NotFound)
    }

    /// A record alone can go: the machine goes on in its overlay.
    async fn a_record_goes_alone(cx) {
        let (id, disk) = cx.with_disk("a").await?;
        let overlay = take_external(cx, &id, &disk, "first").await?;
        facet(cx)?.delete(&id, &cx.snapshot_name("first")?, Remove::Record).await?;
        same("snapshots", facet(cx)?.list(&id).await?, vec![])?;
        same("image", image(cx, &id).await?, overlay)
    }

    /// A running machine has the image open that it writes to, and those below.
    async fn a_running_machine_has_its_images_open(cx) {
        let (id, disk) = cx.with_disk("a").await?;
        cx.power(&id, PowerAction::Start).await?;
        let base = disk.host_path()?.clone();
        let images = |all, used| OpenImages { all: BTreeSet::from_iter(all), used: BTreeSet::from([used]) };
        same("images", facet(cx)?.open_images(&id).await?, images(vec![base.clone()], base.clone()))?;
        let overlay = take_external(cx, &id, &disk, "first").await?;
        same("images", facet(cx)?.open_images(&id).await?, images(vec![base, overlay.clone()], overlay))
    }

    /// An overlay that a machine does not have open needs not be left.
    async fn an_overlay_that_is_not_open_is_left_already(cx) {
        let (id, disk) = cx.with_disk("a").await?;
        cx.power(&id, PowerAction::Start).await?;
        same("what is under way", facet(cx)?.leave_overlay(&id, &beside(&disk, "absent")?).await?, None)?;
        same("images", facet(cx)?.open_images(&id).await?.all, BTreeSet::from([disk.host_path()?.clone()]))
    }

    /// A machine stays in the overlays that its document names.
    async fn an_overlay_of_the_document_is_not_left(cx) {
        let (id, disk) = cx.with_disk("a").await?;
        cx.power(&id, PowerAction::Start).await?;
        let overlays = [take_external(cx, &id, &disk, "first").await?, take_external(cx, &id, &disk, "second").await?];
        for overlay in &overlays {
            refused(facet(cx)?.leave_overlay(&id, overlay).await, ErrorKind::InvalidState)?;
        }
        same("image", image(cx, &id).await?, overlays[1].clone())
    }

    /// What is off, or not there, has nothing open.
    async fn what_is_off_has_no_images_open(cx) {
        let (id, disk) = cx.with_disk("a").await?;
        let (absent, overlay) = (cx.id("absent"), beside(&disk, "first")?);
        refused(facet(cx)?.open_images(&id).await.map(drop), ErrorKind::InvalidState)?;
        refused(facet(cx)?.leave_overlay(&id, &overlay).await, ErrorKind::InvalidState)?;
        refused(facet(cx)?.open_images(&absent).await.map(drop), ErrorKind::NotFound)?;
        refused(facet(cx)?.leave_overlay(&absent, &overlay).await, ErrorKind::NotFound)
    }
}

fn internal(cx: &Cx, word: &str) -> CoreResult<SnapshotSpec> {
    cx.snapshot_name(word).map(SnapshotSpec::internal)
}

/// A snapshot of disk `vda`, whose overlay lies beside the machine's first image.
fn external(cx: &Cx, disk: &VolumeInfo, word: &str, memory: Option<DiskPath>) -> Result<SnapshotSpec, Failure> {
    let overlays = vec![Overlay { disk: "vda".parse()?, path: beside(disk, word)? }];
    Ok(SnapshotSpec { place: SnapshotPlace::External { overlays, memory }, ..internal(cx, word)? })
}

async fn take_external(cx: &Cx, id: &VmId, disk: &VolumeInfo, word: &str) -> Result<DiskPath, Failure> {
    facet(cx)?.create(id, &external(cx, disk, word, None)?).await?;
    Ok(beside(disk, word)?)
}

fn beside(disk: &VolumeInfo, word: &str) -> CoreResult<DiskPath> {
    DiskPath::adopt(&format!("{}.{word}", disk.host_path()?.as_str()))
}

/// The image that the machine's disk uses now.
async fn image(cx: &Cx, id: &VmId) -> Result<DiskPath, Failure> {
    let document = cx.hypervisor().definition(id, View::LIVE).await?;
    let file = kvm_core::disks_to_keep(&document).next().and_then(|(_, disk)| disk.source.as_ref()?.file.clone());
    Ok(DiskPath::adopt(&file.unwrap_or_default())?)
}

/// Passes when a pool that looks again finds no file there.
async fn is_gone(cx: &Cx, disk: &VolumeInfo, path: &DiskPath) -> Result<(), Failure> {
    cx.storage().refresh_pool(&disk.pool).await?;
    refused(cx.storage().volume_at(path).await, ErrorKind::NotFound)
}

fn facet(cx: &Cx) -> kvm_core::Result<&dyn Snapshots> {
    cx.family("snapshots", cx.hypervisor().snapshots())
}

/// A machine with three snapshots, in an order that is not that of their names.
async fn chain(cx: &Cx) -> Result<VmId, Failure> {
    let id = cx.with_disk("a").await?.0;
    for word in ["c", "b", "a"] {
        facet(cx)?.create(&id, &internal(cx, word)?).await?;
    }
    Ok(id)
}

fn shape(all: &[SnapshotInfo]) -> Vec<(&str, Option<&str>, bool)> {
    all.iter().map(|s| (s.name.as_str(), s.parent.as_ref().map(|parent| parent.as_str()), s.current)).collect()
}
