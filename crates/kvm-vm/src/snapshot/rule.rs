//! What may be deleted or gone back to without losing another snapshot. Pure: it sees the records alone.

use kvm_core::{DiskPath, SnapshotDisk, SnapshotInfo, SnapshotKind, SnapshotName};
use kvm_xml::value::DiskName;

/// Why a snapshot cannot be deleted and its data merged, while these are there, itself included.
pub(super) fn against_delete(snapshot: &SnapshotInfo, all: &[SnapshotInfo], now: &[Now]) -> Option<String> {
    if snapshot.kind() == SnapshotKind::Internal {
        return None;
    }
    let children: Vec<_> = all.iter().filter(|other| other.parent.as_ref() == Some(&snapshot.name)).collect();
    let names = super::listed(children.iter().map(|child| &child.name));
    let parent = all.iter().find(|other| Some(&other.name) == snapshot.parent.as_ref());
    if let Some(parent) = parent.filter(|parent| parent.kind() == SnapshotKind::Internal) {
        return Some(format!("the one before it, {}, is internal; delete that first", parent.name));
    }
    if snapshot.current && !children.is_empty() {
        return Some(format!("the VM goes on from it, and so do {names}; delete those first"));
    }
    if children.len() > 1 {
        return Some(format!("several go on from it: {names}; delete all but one of them first"));
    }
    if !children.is_empty() && !is_before_current(snapshot, all) {
        return Some(format!("{names} goes on from it, where the VM is not now; delete that first"));
    }
    let goes = goes_away(snapshot, all, now);
    inside(&goes, snapshot, all).map(|other| {
        format!("the image {} goes with it, and snapshot {} is inside; delete that first", path_of(&goes), other.name)
    })
}

/// The disk whose state an internal snapshot keeps in an image that a machine has left: a hypervisor that runs the machine
/// does not reach it there.
pub(super) fn left_behind<'a>(snapshot: &'a SnapshotInfo, now: &[Now]) -> Option<&'a DiskName> {
    let is_left = |disk: &&SnapshotDisk| {
        let image = now.iter().find(|(name, _)| *name == disk.disk).map(|(_, path)| path);
        disk.kind == SnapshotKind::Internal && disk.image.as_ref() != image
    };
    snapshot.disks.iter().find(is_left).map(|disk| &disk.disk)
}

/// Why the machine cannot go back to a snapshot while these are there, itself included.
pub(super) fn against_revert(snapshot: &SnapshotInfo, all: &[SnapshotInfo]) -> Option<String> {
    let rewritten: Vec<_> = snapshot
        .disks
        .iter()
        .filter(|disk| disk.kind == SnapshotKind::Internal)
        .filter_map(|disk| disk.image.as_ref())
        .collect();
    let lies_upon = |other: &&SnapshotInfo| {
        let mut images = other.disks.iter().filter(|disk| disk.kind == SnapshotKind::External);
        other.name != snapshot.name && images.any(|disk| disk.image.as_ref().is_some_and(|i| rewritten.contains(&i)))
    };
    let lost: Vec<_> = all.iter().filter(lies_upon).map(|other| &other.name).collect();
    (!lost.is_empty()).then(|| {
        format!(
            "it is inside an image that is the state of {}, which would be lost; delete that first",
            super::listed(lost)
        )
    })
}

/// The names of a snapshot's descendants, and its own, children before parents.
pub(super) fn branch(root: &SnapshotName, all: &[SnapshotInfo]) -> Vec<SnapshotName> {
    let mut names = vec![root.clone()];
    // Parents are listed before their children.
    for snapshot in all {
        if snapshot.parent.as_ref().is_some_and(|parent| names.contains(parent)) && !names.contains(&snapshot.name) {
            names.push(snapshot.name.clone());
        }
    }
    names.reverse();
    names
}

/// What the records are after one of them is gone.
pub(super) fn without(name: &SnapshotName, all: &[SnapshotInfo], now: &mut [Now]) -> Vec<SnapshotInfo> {
    let gone = all.iter().find(|snapshot| snapshot.name == *name);
    let mut rest: Vec<_> = all.iter().filter(|snapshot| snapshot.name != *name).cloned().collect();
    let Some(gone) = gone else { return rest };
    for other in &mut rest {
        if other.parent.as_ref() == Some(name) {
            other.parent.clone_from(&gone.parent);
        }
        if gone.current && gone.parent.as_ref() == Some(&other.name) {
            other.current = true;
        }
    }
    // What is merged lies in the image below from then on.
    for was in gone.disks.iter().filter(|_| is_before_current(gone, all)) {
        let (Some(above), Some(below)) = (overlay(gone, was, all, now), &was.image) else { continue };
        let images = rest.iter_mut().flat_map(|other| &mut other.disks).filter_map(|disk| disk.image.as_mut());
        let merged = images.chain(now.iter_mut().map(|(_, path)| path)).filter(|path| **path == above);
        merged.for_each(|path| path.clone_from(below));
    }
    rest
}

/// Whether the machine's present state descends from a snapshot.
pub(super) fn is_before_current(snapshot: &SnapshotInfo, all: &[SnapshotInfo]) -> bool {
    let mut at = all.iter().find(|other| other.current);
    // Records that somebody broke may form a circle.
    for _ in 0..=all.len() {
        match at {
            Some(found) if found.name == snapshot.name => return true,
            Some(found) => at = all.iter().find(|other| Some(&other.name) == found.parent.as_ref()),
            None => return false,
        }
    }
    false
}

/// A disk and the image that the machine writes to now.
pub(super) type Now = (DiskName, DiskPath);

/// The image in which a disk went on from a snapshot that the machine's present state descends from.
pub(super) fn overlay(
    snapshot: &SnapshotInfo,
    disk: &SnapshotDisk,
    all: &[SnapshotInfo],
    now: &[Now],
) -> Option<DiskPath> {
    if snapshot.current {
        let image = now.iter().find(|(name, _)| *name == disk.disk).map(|(_, path)| path.clone());
        // Back in the image below, it was merged by an attempt that its hypervisor did not survive.
        return if image == disk.image { disk.overlay.clone() } else { image };
    }
    // Reverts give overlays new names, of which the next snapshot knows the right one.
    let next = all.iter().find(|other| other.parent.as_ref() == Some(&snapshot.name) && is_before_current(other, all));
    let next = next.and_then(|next| next.disks.iter().find(|other| other.disk == disk.disk));
    next.and_then(|next| next.image.clone()).or_else(|| disk.overlay.clone())
}

/// The images that are gone after a snapshot is deleted: overlays that were merged, or states at the end of a branch.
pub(super) fn goes_away(snapshot: &SnapshotInfo, all: &[SnapshotInfo], now: &[Now]) -> Vec<DiskPath> {
    let external = snapshot.disks.iter().filter(|disk| disk.kind == SnapshotKind::External);
    match is_before_current(snapshot, all) {
        true => external.filter_map(|disk| overlay(snapshot, disk, all, now)).collect(),
        false => {
            let is_free = |image: &DiskPath| {
                let others = all.iter().filter(|other| other.name != snapshot.name).flat_map(|other| &other.disks);
                others.into_iter().all(|disk| disk.image.as_ref() != Some(image))
            };
            external.filter_map(|disk| disk.image.clone()).filter(is_free).collect()
        }
    }
}

/// The first other snapshot that is inside one of these images.
fn inside<'a>(images: &[DiskPath], but: &SnapshotInfo, all: &'a [SnapshotInfo]) -> Option<&'a SnapshotInfo> {
    all.iter().find(|other| {
        let mut disks = other.disks.iter().filter(|disk| disk.kind == SnapshotKind::Internal);
        other.name != but.name && disks.any(|disk| disk.image.as_ref().is_some_and(|image| images.contains(image)))
    })
}

fn path_of(images: &[DiskPath]) -> String {
    images.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use kvm_core::VmState;

    use super::*;

    /// `name parent kind image overlay`, the last one current.
    fn records(lines: &[&str]) -> Vec<SnapshotInfo> {
        let name = |text: &str| SnapshotName::parse(text).unwrap();
        let path = |text: &str| Some(text).filter(|text| *text != "-").map(|t| DiskPath::parse(t).unwrap());
        let mut all: Vec<_> = lines
            .iter()
            .map(|line| {
                let [own, parent, kind, image, overlay] = line.split(' ').collect::<Vec<_>>()[..] else {
                    panic!("{line}")
                };
                let kind = if kind == "internal" { SnapshotKind::Internal } else { SnapshotKind::External };
                SnapshotInfo {
                    name: name(own),
                    parent: Some(parent).filter(|parent| *parent != "-").map(name),
                    current: false,
                    description: None,
                    created: None,
                    state: VmState::Off,
                    memory: None,
                    memory_file: None,
                    disks: vec![SnapshotDisk {
                        disk: "vda".parse().unwrap(),
                        kind,
                        image: path(image),
                        overlay: path(overlay),
                    }],
                }
            })
            .collect();
        all.last_mut().unwrap().current = true;
        all
    }

    /// The machine writes to the last one's overlay, or to its image where it is internal.
    fn now(all: &[SnapshotInfo]) -> Vec<Now> {
        let disk = &all.last().unwrap().disks[0];
        vec![("vda".parse().unwrap(), disk.overlay.clone().or_else(|| disk.image.clone()).unwrap())]
    }

    fn delete(all: &[SnapshotInfo], at: usize) -> String {
        against_delete(&all[at], all, &now(all)).unwrap_or_default()
    }

    fn revert(all: &[SnapshotInfo], at: usize) -> String {
        against_revert(&all[at], all).unwrap_or_default()
    }

    #[test]
    fn a_line_of_external_ones_is_deleted_in_any_order() {
        let all = records(&["a - external /p/0 /p/a", "b a external /p/a /p/b", "c b external /p/b /p/c"]);
        for at in 0..3 {
            assert_eq!(delete(&all, at), "", "{}", all[at].name);
        }
        assert_eq!(goes_away(&all[1], &all, &now(&all)), [DiskPath::parse("/p/b").unwrap()]);
        let rest = without(&all[1].name, &all, &mut now(&all));
        assert_eq!(
            (&rest[1].parent, &rest[1].disks[0].image),
            (&Some(all[0].name.clone()), &DiskPath::parse("/p/a").ok())
        );
    }

    #[test]
    fn one_at_which_branches_begin_waits_for_them() {
        let all = records(&["a - external /p/0 /p/a", "b a external /p/a /p/b", "c a external /p/1 /p/c"]);
        assert!(delete(&all, 0).contains("several go on from it: b, c"));
        assert_eq!(delete(&all, 1), "");
        let mut all = records(&["b a external /p/a /p/b", "a - external /p/0 /p/a"]);
        all.reverse();
        assert!(delete(&all, 0).contains("the VM goes on from it"));
    }

    #[test]
    fn one_inside_an_image_that_goes_is_not_lost() {
        let all = records(&["e - external /p/0 /p/e", "i e internal /p/e -"]);
        assert!(delete(&all, 0).contains("snapshot i is inside"));
        assert_eq!(delete(&all, 1), "");
        assert_eq!(revert(&all, 0), "");
    }

    #[test]
    fn an_image_below_another_snapshot_is_not_rewritten() {
        let all = records(&["i - internal /p/0 -", "e i external /p/0 /p/e"]);
        assert!(revert(&all, 0).contains("the state of e"));
        assert!(delete(&all, 1).contains("is internal"));
        assert_eq!(delete(&all, 0), "");
        assert_eq!(revert(&all, 1), "");
    }

    #[test]
    fn a_branch_ends_with_its_root() {
        let all =
            records(&["a - internal /p/0 -", "b a internal /p/0 -", "x - internal /p/0 -", "c b internal /p/0 -"]);
        let names: Vec<_> = branch(&all[0].name, &all).iter().map(|name| name.as_str().to_owned()).collect();
        assert_eq!(names, ["c", "b", "a"]);
    }

    #[test]
    fn records_in_a_circle_come_to_an_end() {
        let all = records(&["a b external /p/0 /p/a", "b a external /p/a /p/b", "c b external /p/b /p/c"]);
        let stranger = records(&["z - external /p/9 /p/z"]);
        assert!(!is_before_current(&stranger[0], &all));
        assert_eq!(branch(&all[0].name, &all).len(), 3);
    }
}
