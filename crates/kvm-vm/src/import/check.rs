//! What a document asks for, held against its host and against what strangers may ask.

use std::collections::BTreeSet;

use kvm_core::text::printable_within;
use kvm_core::{
    Bytes, Capabilities, Description, DiskPath, Error, ErrorKind, Resource, Result, Title, VcpuCount, VmId, VmName,
};
use kvm_xml::domain as xml;
use kvm_xml::{Domain, Severity, not_looked};

use super::allow::is_allowed;
use crate::place::Places;
use crate::policy::Policy;
use crate::spec::{BridgeName, ImageRef, KernelCmdline, VolumeRef};
use crate::walk::{Found, walk};

/// The most I/O threads, NUMA cells and devices of a stranger's machine: libvirt takes any number.
const MOST: usize = 64;

/// One thing that a stranger's document must not have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Refusal {
    /// Where it stands.
    path: String,
    /// What is wrong with it.
    why: String,
    /// What was under way when that was found.
    during: Option<&'static str>,
}

impl Refusal {
    fn new(path: &str, why: impl Into<String>) -> Self {
        Self { path: path.to_owned(), why: why.into(), during: None }
    }
}

/// One error for all that is refused: the first is the message, the others follow.
pub(crate) fn refuse(refusals: &[Refusal]) -> Result<()> {
    let Some((first, rest)) = refusals.split_first() else { return Ok(()) };
    let error = Error::invalid(&first.path, format!("{} {}", first.path, first.why));
    let error = match first.during {
        Some(operation) => error.during(operation),
        None => error,
    };
    if rest.is_empty() {
        return Err(error);
    }
    let rest: Vec<_> = rest.iter().take(10).map(|r| format!("{} {}", r.path, r.why)).collect();
    Err(error.with_detail(format!("also: {}", rest.join("; "))))
}

/// Where the document contradicts itself, so that libvirt would refuse it or the hypervisor not start it.
pub(crate) fn contradictions(document: &Domain) -> Vec<Refusal> {
    let problems = document.validate(&not_looked).into_iter();
    let errors = problems.filter(|problem| problem.severity == Severity::Error);
    errors.map(|problem| Refusal::new(&problem.path, format!("is wrong: {}", problem.message))).collect()
}

/// What everybody's document has to respect: names, notes, numbers.
pub(crate) fn check_numbers(document: &Domain, host: &Capabilities, policy: &Policy) -> Result<()> {
    let vcpu = document.vcpu.as_ref().and_then(|v| v.value).map_or(1, u32::from);
    let guest = guest_kind(document, host)?;
    let vcpus = VcpuCount::new(vcpu)?;
    if let Some(max) = guest.max_vcpus {
        vcpus.within(max)?;
    }
    let memory = [
        document.memory.as_ref().and_then(xml::DomainMemory::bytes),
        document.max_memory.as_ref().and_then(xml::MaxMemory::bytes),
        document.current_memory.as_ref().and_then(kvm_xml::value::Memory::bytes),
    ];
    let most = memory.into_iter().flatten().max().unwrap_or_default();
    if Bytes::new(most) < Bytes::MEMORY_MIN {
        return Err(Error::invalid(
            "memory",
            format!("{} are less than 16 MiB, with which nothing boots", Bytes::new(most)),
        ));
    }
    policy.check_memory(Bytes::new(most), host)
}

/// The strict rules for a document that is new on its host.
pub(crate) fn check_new(document: &Domain) -> Result<VmName> {
    let name = document.name.as_deref().ok_or_else(|| Error::invalid("name", "the document has no name"))?;
    let name = VmName::parse(name)?;
    if let Some(uuid) = document.uuid {
        VmId::parse(&uuid.hyphenated().to_string())?;
    }
    document.title.as_deref().map_or(Ok(()), |t| Title::parse(t).map(drop))?;
    document.description.as_deref().map_or(Ok(()), |d| Description::parse(d).map(drop))?;
    Ok(name)
}

fn guest_kind<'a>(document: &Domain, host: &'a Capabilities) -> Result<&'a kvm_core::GuestKind> {
    let virt = document.r#type.map_or("", xml::DomainType::as_str);
    let os_type = document.os.as_ref().and_then(|os| os.r#type.as_ref());
    let arch = os_type.and_then(|t| t.arch).map(kvm_xml::common::Arch::as_str);
    let fits = |g: &&kvm_core::GuestKind| g.virt_type == virt && arch.is_none_or(|arch| g.arch == arch);
    host.guests.iter().find(fits).ok_or_else(|| {
        let kinds: BTreeSet<_> = host.guests.iter().map(|g| format!("{}/{}", g.virt_type, g.arch)).collect();
        let kinds: Vec<_> = kinds.into_iter().collect();
        let asked = format!("{virt}{}{}", if arch.is_some() { "/" } else { "" }, arch.unwrap_or_default());
        Error::invalid("type", format!("this host runs no guests of type {asked}"))
            .with_detail(format!("it runs {}", kinds.join(", ")))
    })
}

/// What a stranger's document must not have. Empty means that it may be used.
///
/// `NotFound` and the like when a disk or a pool that it may have is not there.
pub(crate) async fn untrusted(document: &Domain, host: &Capabilities, places: &Places<'_>) -> Result<Vec<Refusal>> {
    let mut refusals = elements(document);
    values(document, host, &mut refusals);
    for (path, image) in images(document, &mut refusals) {
        let found = match image {
            Ok(image) => places.image(&image).await.map(drop),
            Err(e) => Err(e),
        };
        match found {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::InvalidInput => {
                refusals.push(Refusal { during: e.operation(), ..Refusal::new(&path, format!("is refused: {e}")) })
            }
            Err(e) => return Err(e),
        }
    }
    refusals.sort();
    refusals.dedup();
    Ok(refusals)
}

/// Elements and attributes that are not on the list.
fn elements(document: &Domain) -> Vec<Refusal> {
    let mut refusals: Vec<Refusal> = Vec::new();
    walk(document, "domain", &mut |path, found| {
        let known = refusals.last().is_some_and(|r| path.starts_with(r.path.as_str()));
        // The metadata of other programs means nothing to the hypervisor, comments and prefixes to nobody.
        let inert = path.starts_with("domain/metadata") || path.ends_with("/#text") || path.contains("/@xmlns");
        let unknown = matches!(found, Found::Unknown(_));
        if !known && !inert && (unknown || !is_allowed(path)) {
            refusals.push(Refusal::new(path, "is not allowed in a document that is not trusted"));
        }
    });
    refusals
}

/// Values of what is on the list.
fn values(document: &Domain, host: &Capabilities, refusals: &mut Vec<Refusal>) {
    let mut refuse = |path: &str, why: &str| refusals.push(Refusal::new(path, why));
    if let Some(os) = &document.os {
        let loader = os.loader.as_ref().and_then(|l| l.value.as_deref());
        let template = os.nvram.as_ref().and_then(|n| n.template.as_deref());
        for (path, value) in [("domain/os/loader", loader), ("domain/os/nvram/@template", template)] {
            if value.is_some_and(|v| !is_below(v, "/usr/share/")) {
                refuse(path, "is no firmware of the host: it is not below /usr/share");
            }
        }
        let store = os.nvram.as_ref().and_then(|n| n.value.as_deref()).filter(|v| !v.trim().is_empty());
        if store.is_some_and(|v| !v.contains("/libvirt/qemu/nvram/") || !is_below(v, "/")) {
            refuse("domain/os/nvram", "is not where the host keeps such files");
        }
        if os.smbios.as_ref().is_some_and(|s| s.mode == Some(xml::SmbiosMode::Host)) {
            refuse("domain/os/smbios/@mode", "shows the host's serial numbers to the guest");
        }
        if os.cmdline.as_deref().is_some_and(|c| KernelCmdline::parse(c).is_err()) {
            refuse("domain/os/cmdline", "is not one line of at most 2048 bytes");
        }
    }
    let threads = document.iothreads.map_or(0, |n| usize::try_from(n).unwrap_or(usize::MAX));
    if threads.max(document.iothreadids.as_ref().map_or(0, |ids| ids.iothread.len())) > MOST {
        refuse("domain/iothreads", "are more than 64");
    }
    if document.cpu.as_ref().and_then(|c| c.numa.as_ref()).is_some_and(|n| n.cell.len() > MOST) {
        refuse("domain/cpu/numa/cell", "are more than 64");
    }
    let Some(devices) = &document.devices else { return };
    let emulator = devices.emulator.as_deref();
    if emulator.is_some_and(|e| !host.guests.iter().any(|g| g.emulator.as_deref() == Some(e))) {
        refuse("domain/devices/emulator", "is not an emulator of the host");
    }
    for interface in &devices.interface {
        match interface.r#type {
            Some(xml::InterfaceType::Network | xml::InterfaceType::User) => {}
            Some(xml::InterfaceType::Bridge) => {
                let bridge = interface.source.as_ref().and_then(|s| s.bridge.as_deref()).unwrap_or_default();
                if let Err(e) = BridgeName::parse(bridge) {
                    refuse("domain/devices/interface/source/@bridge", &format!("is refused: {e}"));
                }
            }
            _ => refuse("domain/devices/interface/@type", "is not network, bridge or user"),
        }
    }
    characters(devices, &mut refuse);
    screens(devices, &mut refuse);
    let local = ["/dev/urandom", "/dev/random", "/dev/hwrng"];
    for backend in devices.rng.iter().filter_map(|r| r.backend.as_ref()) {
        if backend.value.as_deref().map(str::trim).is_some_and(|v| !v.is_empty() && !local.contains(&v)) {
            refuse("domain/devices/rng/backend", "is no random device of the host");
        }
    }
    let emulated = |t: &xml::Tpm| t.backend.as_ref().is_none_or(|b| b.r#type == Some(xml::TpmBackendType::Emulator));
    if !devices.tpm.iter().all(emulated) {
        refuse("domain/devices/tpm/backend/@type", "hands the host's TPM over");
    }
    let crypto = |c: &xml::Crypto| c.backend.as_ref().is_none_or(|b| b.model == Some(xml::CryptoBackendModel::Builtin));
    if !devices.crypto.iter().all(crypto) {
        refuse("domain/devices/crypto/backend/@model", "is not builtin");
    }
    if devices.disk.len() + devices.interface.len() + devices.controller.len() > 8 * MOST {
        refuse("domain/devices", "are more than 512");
    }
}

/// Character devices may end in the hypervisor itself, never in a file, device or socket of the host.
fn characters(devices: &xml::Devices, refuse: &mut dyn FnMut(&str, &str)) {
    use xml::CharType::{Null, Pty, QemuVdagent, Spiceport, Spicevmc, Unix, Vc};
    let inert =
        |t: Option<xml::CharType>| matches!(t, None | Some(Pty | Null | Vc | Spicevmc | Spiceport | QemuVdagent));
    for (path, all) in [("serial", &devices.serial), ("parallel", &devices.parallel), ("console", &devices.console)] {
        if !all.iter().all(|c| inert(c.r#type)) {
            refuse(&format!("domain/devices/{path}/@type"), "reaches a file, device or socket of the host");
        }
    }
    // A channel's socket is the hypervisor's own when it has no path, which the list sees to.
    if !devices.channel.iter().all(|c| inert(c.r#type) || c.r#type == Some(Unix)) {
        refuse("domain/devices/channel/@type", "reaches a file, device or socket of the host");
    }
    if !devices.redirdev.iter().all(|r| r.r#type == Some(Spicevmc)) {
        refuse("domain/devices/redirdev/@type", "is not spicevmc");
    }
    let plain = |i: &xml::Input| !matches!(i.r#type, Some(xml::InputType::Passthrough | xml::InputType::Evdev));
    if !devices.input.iter().all(plain) {
        refuse("domain/devices/input/@type", "hands a device of the host over");
    }
}

/// Screens are for the host alone, unless they have a password.
fn screens(devices: &xml::Devices, refuse: &mut dyn FnMut(&str, &str)) {
    for graphics in &devices.graphics {
        if !matches!(graphics.r#type, Some(xml::GraphicsType::Vnc | xml::GraphicsType::Spice)) {
            refuse("domain/devices/graphics/@type", "is neither vnc nor spice");
        }
        let own = graphics.listen_el.iter();
        if own.clone().any(|l| matches!(l.r#type, Some(xml::ListenType::Network | xml::ListenType::Socket))) {
            refuse("domain/devices/graphics/listen/@type", "is neither address nor none");
        }
        let mut addresses = graphics.listen.iter().chain(own.filter_map(|l| l.address.as_ref()));
        let protected = graphics.passwd.as_deref().is_some_and(|p| !p.is_empty());
        let open = |a: &String| !a.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if !protected && addresses.any(open) {
            refuse("domain/devices/graphics/@listen", "lets everybody see the screen: give it a password");
        }
    }
    let silent = |a: &xml::Audio| matches!(a.r#type, None | Some(xml::AudioType::None | xml::AudioType::Spice));
    if !devices.audio.iter().all(silent) {
        refuse("domain/devices/audio/@type", "is neither none nor spice");
    }
}

/// Every image that a document names, with its place in it.
fn images(document: &Domain, refusals: &mut Vec<Refusal>) -> Vec<(String, Result<ImageRef>)> {
    let mut images = Vec::new();
    let path = |text: &str| DiskPath::parse(text).map(ImageRef::Path);
    if let Some(os) = &document.os {
        for (name, value) in [("kernel", &os.kernel), ("initrd", &os.initrd), ("dtb", &os.dtb)] {
            images.extend(value.iter().map(|v| (format!("domain/os/{name}"), path(v))));
        }
    }
    for disk in document.devices.iter().flat_map(|d| &d.disk) {
        let place = "domain/devices/disk/source";
        if disk.device == Some(xml::DiskDevice::Lun) {
            refusals.push(Refusal::new("domain/devices/disk/@device", "hands a device of the host over"));
        }
        let Some(source) = &disk.source else { continue };
        images.extend(match disk.r#type {
            Some(xml::DiskType::File) => source.file.iter().map(|f| (format!("{place}/@file"), path(f))).collect(),
            // A device is fine when it is a volume; the strict rules for paths would refuse any below /dev.
            Some(xml::DiskType::Block) => {
                source.dev.iter().map(|d| (format!("{place}/@dev"), DiskPath::adopt(d).map(ImageRef::Path))).collect()
            }
            Some(xml::DiskType::Volume) => {
                let volume = format!(
                    "{}/{}",
                    source.pool.as_deref().unwrap_or_default(),
                    source.volume.as_deref().unwrap_or_default()
                );
                vec![(format!("{place}/@volume"), VolumeRef::parse(&volume).map(ImageRef::Volume))]
            }
            other => {
                let kind = other.map_or("missing", xml::DiskType::as_str);
                refusals.push(Refusal::new(
                    "domain/devices/disk/@type",
                    format!("is {}, not file, block or volume", printable_within(kind, 48)),
                ));
                Vec::new()
            }
        });
        let mut below = disk.backing_store.as_deref();
        while let Some(store) = below {
            let file = store.source.as_ref().and_then(|s| s.file.as_deref());
            images.extend(file.map(|f| ("domain/devices/disk/backingStore/source/@file".to_owned(), path(f))));
            below = store.backing_store.as_deref();
        }
    }
    images
}

/// Whether a path lies below a directory, with nothing in it that could lead out.
fn is_below(path: &str, directory: &str) -> bool {
    path.starts_with(directory) && !path.split('/').any(|part| matches!(part, "." | ".."))
}

/// A document that is not there any more is somebody else's error.
pub(crate) fn unreadable(error: &kvm_xml::XmlError) -> Error {
    let path = error.path();
    let field = if path.is_empty() { "xml".to_owned() } else { path };
    Error::new(ErrorKind::InvalidInput, error.to_string()).on(Resource::Field(field))
}
