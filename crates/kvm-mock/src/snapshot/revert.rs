//! Going back to a snapshot.

use jiff::Timestamp;
use kvm_core::{AfterRevert, ErrorKind, PowerAction, Result, Revert, SnapshotInfo, SnapshotKind, SnapshotName, VmId};

use super::{disks, refuse};
use crate::document;
use crate::image;
use crate::world::World;

impl World {
    pub(super) fn revert(&mut self, vm: &VmId, name: &SnapshotName, how: Revert, now: Timestamp) -> Result<()> {
        let machine = self.machine(vm)?;
        let at = machine.find_snapshot(vm, name)?;
        let info = machine.snapshots[at].info(None)?;
        self.can_go_back(vm, &info)?;
        let snapshot = machine.snapshots[at].clone();
        let (left, was_current) = (machine.images(), machine.current_snapshot.clone());
        let (live, paused) = match how.then {
            AfterRevert::AsItWas => (snapshot.live.is_some(), None),
            AfterRevert::Running => (true, Some(false)),
            AfterRevert::Paused => (true, Some(true)),
        };

        let process = self.counters.process();
        let machine = self.machine_mut(vm)?;
        let document = &snapshot.document;
        if let Some(config) = document.inactive_domain.as_ref().or(document.domain.as_ref()) {
            machine.config = (**config).clone();
            machine.config.id = None;
        }
        let mut memory = snapshot.live.filter(|_| live);
        if let Some(memory) = &mut memory {
            memory.document.id = Some(process);
        }
        let boots = live && memory.is_none();
        let changes = machine.put_to(memory, paused, now);
        machine.current_snapshot = Some(name.clone());
        for disk in info.disks {
            let Some(path) = disk.image.as_ref().map(|path| path.as_str().to_owned()) else { continue };
            match disk.kind {
                SnapshotKind::Internal => {
                    if let Some(file) = self.files.get_mut(&path) {
                        file.put_back(name.as_str());
                    }
                }
                SnapshotKind::External => {
                    let overlay = self.free_overlay(&path, now);
                    self.overlay(vm, disk.disk.as_str(), &overlay)?;
                    // Of the one at the end of its branch this is now where the machine went on.
                    if was_current.as_ref() == Some(name) {
                        self.note_overlay(vm, at, disk.disk.as_str(), &overlay)?;
                    }
                }
            }
        }
        if info.memory != Some(SnapshotKind::Internal) {
            self.drop_unused(vm, &left)?;
        }
        if boots {
            let start = if paused == Some(true) { PowerAction::StartPaused } else { PowerAction::Start };
            let started = self.power(vm, start, false, now)?;
            self.happened(vm, started, now);
        } else if live {
            self.plug_networks(vm, now)?;
        }
        self.happened(vm, changes, now);
        Ok(())
    }

    /// Whether everything that the snapshot kept is there, and nothing watches what would change.
    fn can_go_back(&self, vm: &VmId, info: &SnapshotInfo) -> Result<()> {
        let stop = |kind, why: String| Err(refuse(vm, &info.name, kind, "VM cannot go back to the snapshot", why));
        for disk in &info.disks {
            let Some(path) = &disk.image else { continue };
            let file = self.files.get(path.as_str());
            let is_there = match disk.kind {
                SnapshotKind::Internal => file.is_some_and(|file| file.has_kept(info.name.as_str())),
                SnapshotKind::External => file.is_some(),
            };
            if !is_there {
                return stop(ErrorKind::InvalidState, format!("image {path} does not hold it"));
            }
        }
        match &info.memory_file {
            Some(file) if !self.files.contains_key(file.as_str()) => {
                stop(ErrorKind::InvalidState, format!("there is no file {file}"))
            }
            _ if info.kind() == SnapshotKind::Internal && !self.machine(vm)?.checkpoints.is_empty() => {
                stop(ErrorKind::Unsupported, "checkpoints watch its images".into())
            }
            _ => Ok(()),
        }
    }

    /// A name for the overlay of a revert: libvirt's, with the next second when it is taken.
    fn free_overlay(&self, image: &str, now: Timestamp) -> String {
        let stem = match image.rsplit_once('/') {
            Some((directory, file)) => match file.rsplit_once('.') {
                Some((stem, _)) => format!("{directory}/{stem}"),
                None => image.to_owned(),
            },
            None => image.to_owned(),
        };
        let mut second = now.as_second();
        loop {
            let path = format!("{stem}.{second}");
            if !self.files.contains_key(&path) {
                return path;
            }
            second += 1;
        }
    }

    fn note_overlay(&mut self, vm: &VmId, at: usize, target: &str, overlay: &str) -> Result<()> {
        let machine = self.machine_mut(vm)?;
        let name = machine.snapshots[at].document.name.clone();
        let has_children = machine
            .snapshots
            .iter()
            .any(|other| other.document.parent.as_ref().and_then(|parent| parent.name.as_ref()) == name.as_ref());
        if !has_children {
            for disk in disks(&mut machine.snapshots[at].document).filter(|disk| disk.name.as_deref() == Some(target)) {
                disk.source.get_or_insert_default().file = Some(overlay.to_owned());
            }
        }
        Ok(())
    }

    /// Deletes the overlays that the machine has left, unless something needs them.
    fn drop_unused(&mut self, vm: &VmId, left: &[String]) -> Result<()> {
        for path in left {
            let Some(file) = self.files.get(path) else { continue };
            let is_overlay = image::probe(file).backing.is_some();
            let machine = self.machine(vm)?;
            let infos = machine.snapshot_infos()?;
            let holds = infos
                .iter()
                .flat_map(|info| &info.disks)
                .any(|disk| disk.image.as_ref().is_some_and(|image| image.as_str() == path));
            let below = self.files.values().any(|file| image::probe(file).backing.as_ref() == Some(path));
            let used = self.machines.values().any(|machine| {
                let documents = machine.live.iter().map(|live| &live.document).chain([&machine.config]);
                documents.flat_map(document::disks).any(|disk| disk.path.as_ref() == Some(path))
            });
            if is_overlay && !holds && !below && !used {
                self.files.remove(path);
            }
        }
        Ok(())
    }

    fn plug_networks(&mut self, vm: &VmId, now: Timestamp) -> Result<()> {
        let World { machines, networks, .. } = self;
        let Some(machine) = machines.get(vm) else { return Ok(()) };
        for nic in document::nics(machine.current()) {
            let wanted = machine.guest.addresses.get(&nic.mac).copied();
            if let Some(network) = nic.network.as_ref().and_then(|name| networks.get_mut(name)) {
                network.plug(vm, machine.name.as_str(), nic.mac, wanted, now);
            }
        }
        Ok(())
    }
}
