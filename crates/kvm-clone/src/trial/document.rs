//! The document of a trial: the machine as it is, but for all by which it could change anything outside of itself.

use std::collections::BTreeMap;

use kvm_core::{DiskPath, Error, ErrorKind, Resource, Result, VmId, VmName};
use kvm_xml::Domain;
use kvm_xml::domain::{
    Audio, AudioType, Channel, CharType, CrashAction, Devices, Disk, DiskDevice, DiskDriver, DiskFormat, DiskSource,
    DiskType, Graphics, GraphicsType, InputType, Interface, InterfaceSourceMode, InterfaceType, LifecycleAction, Link,
    LinkState, Listen, ListenType, MemoryDeviceModel, RngBackendModel, Serial, SystemEntryName, WatchdogAction,
};
use kvm_xml::value::YesNo;

/// The name of the channel that a guest's agent has.
const AGENT: &str = "org.qemu.guest_agent.0";

/// What a trial has in place of what is the machine's.
#[derive(Debug)]
pub(crate) struct Instead<'a> {
    pub(crate) name: &'a VmName,
    pub(crate) id: VmId,
    /// What it is for, in words that the machine's name completes: `a trial start of`.
    pub(crate) purpose: &'a str,
    /// What is written to.
    pub(crate) written: Written<'a>,
    /// A copy of the firmware's variables.
    pub(crate) variables: Option<&'a DiskPath>,
    /// Media that the host has.
    pub(crate) media: &'a [String],
}

/// What a trial writes to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Written<'a> {
    /// This in place of each image, by the disk's name in the guest.
    Overlays(&'a BTreeMap<String, DiskPath>),
    /// The machine's own images.
    Images,
}

/// A trial's document.
#[derive(Debug)]
pub(crate) struct TrialDocument {
    pub(crate) domain: Domain,
    /// What the machine has and the trial has not, in words.
    pub(crate) left_out: Vec<String>,
}

/// Makes it. `Unsupported` for a machine that would write to something of its own that has no overlay.
pub(crate) fn trial(machine: &Domain, instead: &Instead<'_>) -> Result<TrialDocument> {
    let mut domain = machine.clone();
    let mut left_out = Vec::new();
    domain.id = None;
    domain.name = Some(instead.name.as_str().to_owned());
    domain.uuid = Some(instead.id.into());
    let of = machine.name.as_deref().unwrap_or("a VM");
    domain.title = Some(format!("{} {of}, gone when it is over", instead.purpose));
    domain.description = None;
    // Neither its tags nor whose replica it is.
    domain.metadata = None;
    for system in domain.sysinfo.iter_mut().filter_map(|sysinfo| sysinfo.system.as_mut()) {
        // libvirt demands that it is the machine's.
        let uuid = |entry: &&mut kvm_xml::domain::SystemEntry| entry.name == Some(SystemEntryName::Uuid);
        system.entry.iter_mut().filter(uuid).for_each(|entry| entry.value = Some(instead.id.to_string()));
    }
    domain.seclabel.clear();
    domain.on_poweroff = Some(LifecycleAction::Destroy);
    // Firmware and first boots start anew by themselves; one that does nothing else is ended by the time.
    domain.on_reboot = Some(LifecycleAction::Restart);
    domain.on_crash = Some(CrashAction::Destroy);
    if domain.qemu_commandline.take().is_some() {
        left_out.push("arguments of its own for QEMU".to_owned());
    }
    firmware(&mut domain, instead.variables)?;
    if let Some(devices) = &mut domain.devices {
        disks(devices, instead, &mut left_out)?;
        networks(devices, &mut left_out);
        host(devices, &mut left_out);
        screens(devices);
        lines(devices, &mut left_out);
    }
    Ok(TrialDocument { domain, left_out })
}

/// Whether a machine has a line on which an agent could answer.
pub(crate) fn has_agent(machine: &Domain) -> bool {
    machine.devices.iter().flat_map(|devices| &devices.channel).any(is_agent)
}

/// The file of the firmware's variables. `Unsupported` when they are somewhere else.
pub(crate) fn variables(machine: &Domain) -> Result<Option<DiskPath>> {
    let Some(nvram) = machine.os.as_ref().and_then(|os| os.nvram.as_ref()) else { return Ok(None) };
    let file = nvram.value.as_ref().or_else(|| nvram.source.as_ref().and_then(|source| source.file.as_ref()));
    match (file, &nvram.source) {
        (Some(file), _) => DiskPath::adopt(file).map(Some),
        (None, None) => Ok(None),
        (None, Some(_)) => {
            Err(refused("nvram", "its UEFI variables are not in a file", "only those in a file are tried"))
        }
    }
}

fn firmware(domain: &mut Domain, variables: Option<&DiskPath>) -> Result<()> {
    let Some(os) = &mut domain.os else { return Ok(()) };
    let is_written = |readonly: Option<YesNo>| readonly == Some(YesNo::No);
    if os.loader.as_ref().is_some_and(|loader| loader.r#type.is_some() && is_written(loader.readonly)) {
        let fix = "let it have its variables in a file of their own: <loader readonly='yes'> and <nvram>";
        return Err(refused("os.loader", "its firmware writes to the file that it is in", fix));
    }
    if let (Some(nvram), Some(path)) = (&mut os.nvram, variables) {
        (nvram.value, nvram.source, nvram.r#type) = (Some(path.as_str().to_owned()), None, None);
    }
    Ok(())
}

fn disks(devices: &mut Devices, instead: &Instead<'_>, left_out: &mut Vec<String>) -> Result<()> {
    let mut kept = Vec::new();
    for mut disk in std::mem::take(&mut devices.disk) {
        let name = disk.target.as_ref().and_then(|target| target.dev.as_ref()).map(ToString::to_string);
        let name = name.unwrap_or_default();
        disk.mirror = None;
        match disk.device {
            Some(DiskDevice::Cdrom) => {
                let file = disk.source.as_ref().and_then(|source| source.file.as_ref());
                if disk.source.is_some() && !file.is_some_and(|file| instead.media.contains(file)) {
                    left_out.push(format!("the medium in {name}"));
                    eject(&mut disk);
                }
            }
            Some(DiskDevice::Floppy) => {
                if disk.source.is_some() {
                    left_out.push(format!("the floppy in {name}"));
                    eject(&mut disk);
                }
            }
            _ if disk.readonly => {}
            _ if disk.shareable => {
                left_out.push(format!("disk {name}, to which others write"));
                continue;
            }
            _ => match instead.written {
                Written::Images if disk.transient.is_none() => {}
                Written::Images => {
                    let problem = format!("disk {name} forgets what is written to it");
                    return Err(refused("disk", &problem, "take <transient/> out of its definition first"));
                }
                Written::Overlays(overlays) if overlays.contains_key(&name) => redirect(&mut disk, &overlays[&name]),
                Written::Overlays(_) => {
                    let problem = format!("disk {name} can have no overlay, and a trial would write to it");
                    return Err(refused(
                        "disk",
                        &problem,
                        "only files and devices of pools are tried; detach it, or start the VM by hand",
                    ));
                }
            },
        }
        kept.push(disk);
    }
    devices.disk = kept;
    Ok(())
}

fn eject(disk: &mut Disk) {
    (disk.source, disk.r#type, disk.backing_store) = (None, Some(DiskType::File), None);
}

/// Has all that is written go into the overlay.
fn redirect(disk: &mut Disk, overlay: &DiskPath) {
    disk.r#type = Some(DiskType::File);
    disk.device = Some(DiskDevice::Disk);
    (disk.rawio, disk.sgio, disk.snapshot, disk.auth) = (None, None, None, None);
    disk.transient = None;
    // What lies below is in the overlay's own header, with its format.
    disk.backing_store = None;
    disk.source = Some(DiskSource { file: Some(overlay.as_str().to_owned()), ..DiskSource::default() });
    let driver = disk.driver.take().unwrap_or_default();
    disk.driver = Some(DiskDriver { name: Some("qemu".to_owned()), r#type: Some(DiskFormat::Qcow2), ..driver });
}

/// No card has a link; those that are more than a card go.
fn networks(devices: &mut Devices, left_out: &mut Vec<String>) {
    use InterfaceType as T;
    let takes_all = |nic: &Interface| {
        let mode = nic.source.as_ref().and_then(|source| source.mode);
        nic.r#type == Some(T::Direct) && mode == Some(InterfaceSourceMode::Passthrough)
    };
    let is_card = |nic: &Interface| {
        matches!(nic.r#type, None | Some(T::Network | T::Bridge | T::Direct | T::User | T::Null)) && !takes_all(nic)
    };
    let address = |nic: &Interface| nic.mac.as_ref().and_then(|mac| mac.address).map(|mac| mac.to_string());
    let others = devices.interface.iter().filter(|nic| !is_card(nic));
    left_out.extend(others.map(|nic| format!("network device {}", address(nic).unwrap_or_default())));
    devices.interface.retain(is_card);
    for nic in &mut devices.interface {
        nic.link = Some(LinkState { state: Some(Link::Down), ..LinkState::default() });
        // Names, programs and ports of the host.
        (nic.target, nic.script, nic.downscript, nic.teaming) = (None, None, None, None);
        nic.port_forward.clear();
        if let Some(backend) = &mut nic.backend {
            backend.log_file = None;
        }
    }
}

/// Nothing of the host, and nothing that is kept.
fn host(devices: &mut Devices, left_out: &mut Vec<String>) {
    let mut without = |count: usize, what: &str| {
        if count > 0 {
            left_out.push(what.to_owned());
        }
    };
    without(devices.hostdev.len(), "devices of the host");
    without(devices.redirdev.len() + devices.smartcard.len(), "redirected USB devices and smartcards");
    without(devices.tpm.len(), "its TPM, whose state would change");
    without(devices.filesystem.len(), "shared directories");
    without(devices.shmem.len(), "memory that others share");
    without(devices.lease.len(), "leases");
    without(devices.parallel.len(), "parallel ports");
    devices.hostdev.clear();
    devices.redirdev.clear();
    devices.redirfilter.clear();
    devices.smartcard.clear();
    devices.tpm.clear();
    devices.filesystem.clear();
    devices.shmem.clear();
    devices.lease.clear();
    devices.parallel.clear();
    let in_a_file = |model: Option<MemoryDeviceModel>| {
        matches!(model, Some(MemoryDeviceModel::Nvdimm | MemoryDeviceModel::VirtioPmem))
    };
    without(devices.memory.iter().filter(|module| in_a_file(module.model)).count(), "memory that lies in files");
    devices.memory.retain(|module| !in_a_file(module.model));
    without(usize::from(devices.pstore.is_some()), "its persistent store");
    devices.pstore = None;
    devices.input.retain(|input| !matches!(input.r#type, Some(InputType::Passthrough | InputType::Evdev)));
    devices.rng.retain(|rng| rng.backend.as_ref().and_then(|backend| backend.model) != Some(RngBackendModel::Egd));
    for watchdog in devices.watchdog.iter_mut().filter(|watchdog| watchdog.action == Some(WatchdogAction::Dump)) {
        watchdog.action = Some(WatchdogAction::Poweroff);
    }
    if let Some(vsock) = &mut devices.vsock {
        let cid = vsock.cid.get_or_insert_default();
        (cid.auto, cid.address) = (Some(YesNo::Yes), None);
    }
    // What this version does not know may reach anywhere.
    devices._extra = kvm_xml::Extra::NONE;
}

/// Screens that nobody reaches: a guest may need its graphics card.
fn screens(devices: &mut Devices) {
    devices.graphics.retain(|screen| matches!(screen.r#type, Some(GraphicsType::Vnc | GraphicsType::Spice)));
    for screen in &mut devices.graphics {
        let Graphics { r#type, keymap, mouse, gl, audio, .. } = std::mem::take(screen);
        let nowhere = Listen { r#type: Some(ListenType::None), ..Listen::default() };
        *screen = Graphics { r#type, keymap, mouse, gl, audio, listen_el: vec![nowhere], ..Graphics::default() };
    }
    for audio in devices.audio.iter_mut().filter(|audio| audio.r#type != Some(AudioType::Spice)) {
        *audio = Audio { id: audio.id, r#type: Some(AudioType::None), ..Audio::default() };
    }
}

/// One console to listen to and the agent's line; nothing that leads into files and sockets of the host.
fn lines(devices: &mut Devices, left_out: &mut Vec<String>) {
    let has_spice = devices.graphics.iter().any(|screen| screen.r#type == Some(GraphicsType::Spice));
    let stays = |channel: &Channel| {
        is_agent(channel)
            || channel.r#type == Some(CharType::QemuVdagent)
            || (has_spice && channel.r#type == Some(CharType::Spicevmc))
    };
    let name = |channel: &Channel| channel.target.as_ref().and_then(|target| target.name.clone()).unwrap_or_default();
    let others = devices.channel.iter().filter(|channel| !stays(channel));
    left_out.extend(others.map(|channel| format!("channel {}", name(channel))));
    devices.channel.retain(stays);
    for channel in &mut devices.channel {
        (channel.protocol, channel.log) = (None, None);
        if is_agent(channel) {
            channel.r#type = Some(CharType::Unix);
            // Where libvirt puts it.
            channel.source.clear();
        }
    }
    for line in devices.serial.iter_mut().chain(&mut devices.console) {
        line.r#type = Some(CharType::Pty);
        line.source.clear();
        (line.tty, line.protocol, line.log) = (None, None, None);
    }
    if devices.serial.is_empty() && devices.console.is_empty() {
        devices.console.push(Serial { r#type: Some(CharType::Pty), ..Serial::default() });
    }
}

fn is_agent(channel: &Channel) -> bool {
    channel.target.as_ref().is_some_and(|target| target.name.as_deref() == Some(AGENT))
}

fn refused(field: &str, problem: &str, fix: &str) -> Error {
    Error::new(ErrorKind::Unsupported, problem).on(Resource::Field(field.to_owned())).with_detail(fix.to_owned())
}

#[cfg(test)]
mod tests;
