//! What a rewriting leaves as it is, and somebody should know of.

use super::draft::Draft;
use super::facts::Attached;
use super::policy::{Beside, Files};
use super::told::Warning;
use crate::common::Encryption;
use crate::diff::item_path;
use crate::domain::{Devices, Disk, Domain, InterfaceType};
use uuid::Uuid;

pub(super) fn remarks(draft: &mut Draft<'_, '_>) {
    let mut found = attached(draft);
    let another = draft.policy.makes_another_machine();
    if another || draft.is_elsewhere() {
        found.extend(raw(&draft.domain));
        found.extend(host_paths(&draft.domain));
    }
    if another {
        found.extend(ports(&draft.domain));
    }
    if draft.is_elsewhere() {
        found.extend(files(draft));
        found.extend(secrets(draft));
        let sealed = draft.domain.launch_security.as_ref();
        if sealed.is_some_and(|sealed| sealed.session.is_some() || sealed.dh_cert.is_some()) {
            found.push(Warning::SealedToHost { path: "launch_security".into() });
        }
    }
    draft.warnings.append(&mut found);
}

/// What is not in the document.
fn attached(draft: &Draft<'_, '_>) -> Vec<Warning> {
    let mut found = Vec::new();
    let Attached { snapshots, checkpoints, internal_snapshots: internal, schedules, starts_with_host } =
        draft.facts.attached;
    if draft.policy.snapshots == Beside::Leave && snapshots + checkpoints + internal > 0 {
        found.push(Warning::SnapshotsLeft { snapshots, checkpoints, internal });
    }
    if draft.policy.autostart == Beside::Leave && starts_with_host {
        found.push(Warning::AutostartOff);
    }
    if draft.policy.schedules == Beside::Leave && schedules > 0 {
        found.push(Warning::SchedulesLeft { count: schedules });
    }
    found
}

fn raw(domain: &Domain) -> Option<Warning> {
    let commandline = domain.qemu_commandline.as_ref()?;
    let any = !commandline.arg.is_empty() || !commandline.env.is_empty();
    any.then(|| Warning::RawArguments { path: "qemu_commandline".into() })
}

/// Folders and sockets that something else on the host serves.
fn host_paths(domain: &Domain) -> Vec<Warning> {
    let Some(devices) = &domain.devices else { return Vec::new() };
    let Devices { filesystem, interface, shmem, disk, .. } = devices;
    let mut found = Vec::new();
    let mut note = |path: String, host_path: Option<&String>| {
        found.extend(host_path.map(|host_path| Warning::HostPath { path, host_path: host_path.clone() }));
    };
    for (index, shared) in filesystem.iter().enumerate() {
        let source = shared.source.as_ref();
        let place = source
            .and_then(|source| [&source.dir, &source.socket, &source.file, &source.dev].into_iter().flatten().next());
        note(item_path("devices.filesystem", shared, index), place);
    }
    for (index, interface) in
        interface.iter().enumerate().filter(|(_, nic)| nic.r#type == Some(InterfaceType::Vhostuser))
    {
        let socket = interface.source.as_ref().and_then(|source| source.path.as_ref());
        note(item_path("devices.interface", interface, index), socket);
    }
    for (index, memory) in shmem.iter().enumerate() {
        note(item_path("devices.shmem", memory, index), memory.server.as_ref().and_then(|server| server.path.as_ref()));
    }
    for (index, disk) in disk.iter().enumerate() {
        note(item_path("devices.disk", disk, index), disk.source.as_ref().and_then(|source| source.dir.as_ref()));
    }
    found
}

/// Ports of the host that are forwarded into the guest.
fn ports(domain: &Domain) -> Vec<Warning> {
    let mut found = Vec::new();
    for (index, interface) in domain.interfaces().iter().enumerate() {
        let ranges = interface.port_forward.iter().flat_map(|forward| &forward.range);
        for start in ranges.filter_map(|range| range.start) {
            found.push(Warning::HostPort {
                path: item_path("devices.interface", interface, index),
                port: start.to_string(),
            });
        }
    }
    found
}

/// Files that the machine starts from and that nobody copies.
fn files(draft: &Draft<'_, '_>) -> Vec<Warning> {
    let mut named = Vec::new();
    if let Some(os) = &draft.domain.os {
        named.extend([
            ("os.kernel", &os.kernel),
            ("os.initrd", &os.initrd),
            ("os.shim", &os.shim),
            ("os.dtb", &os.dtb),
        ]);
        named.extend(os.loader.as_ref().map(|loader| ("os.loader.value", &loader.value)));
        let nvram = os.nvram.as_ref().filter(|_| draft.policy.nvram == Files::Keep);
        named.extend(nvram.map(|nvram| ("os.nvram.template", &nvram.template)));
        let tables = os.acpi.iter().flat_map(|acpi| &acpi.table);
        named.extend(tables.map(|table| ("os.acpi.table", &table.value)));
    }
    let entries = draft.domain.sysinfo.iter().flat_map(|sysinfo| &sysinfo.entry);
    named.extend(entries.map(|entry| ("sysinfo.entry", &entry.file)));
    let roms = draft.domain.interfaces().iter().filter_map(|interface| interface.rom.as_ref());
    named.extend(roms.map(|rom| ("devices.interface.rom.file", &rom.file)));
    let named = named.into_iter().filter_map(|(path, file)| Some((path, file.as_ref()?)));
    named
        .filter(|(_, file)| !(draft.facts.file_exists)(file))
        .map(|(path, file)| Warning::FileMissing { path: path.to_owned(), host_path: file.clone() })
        .collect()
}

/// Secrets that open disks and log in to servers, and encrypt the state of TPMs.
fn secrets(draft: &Draft<'_, '_>) -> Vec<Warning> {
    let Some(devices) = &draft.domain.devices else { return Vec::new() };
    let mut named: Vec<(String, Uuid)> = Vec::new();
    for (index, disk) in devices.disk.iter().enumerate() {
        let path = item_path("devices.disk", disk, index);
        named.extend(secrets_of(disk).map(|secret| (path.clone(), secret)));
    }
    for (index, tpm) in devices.tpm.iter().enumerate() {
        let encryption = tpm.backend.as_ref().and_then(|backend| backend.encryption.as_ref());
        let secret = encryption.and_then(|encryption| encryption.secret);
        named.extend(secret.map(|secret| (item_path("devices.tpm", tpm, index), secret)));
    }
    named.retain(|(_, secret)| !(draft.facts.secret_exists)(*secret));
    named.into_iter().map(|(path, secret)| Warning::SecretMissing { path, secret }).collect()
}

fn secrets_of(disk: &Disk) -> impl Iterator<Item = Uuid> {
    let source = disk.source.as_ref();
    let encryptions = [disk.encryption.as_ref(), source.and_then(|source| source.encryption.as_ref())];
    let opens = encryptions.into_iter().flatten().flat_map(|encryption: &Encryption| &encryption.secret);
    let logins = [disk.auth.as_ref(), source.and_then(|source| source.auth.as_ref())];
    let logs_in = logins.into_iter().flatten().filter_map(|auth| auth.secret.as_ref()?.uuid);
    opens.filter_map(|secret| secret.uuid).chain(logs_in)
}
