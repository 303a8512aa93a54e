//! Documents from outside: taking a machine in, giving one out.

use std::collections::BTreeSet;

use kvm_core::op::{PlanLine, Step};
use kvm_core::{
    Autostart, Bytes, DiskPath, Entropy, Error, ErrorKind, Host, MacAddr, Moving, NetworkName, Replication, Resource,
    Result, Secrets, View, VmId, VmName, VmNotes, check_definition,
};
use kvm_image::Format;
use kvm_xml::value::MacAddr as XmlMac;
use kvm_xml::{Document as _, Domain, Metadata};

use crate::chain::{DiskGraph, disk_graph, normal, path_key};
use crate::create::{CreatePlan, Machine, assemble, check_free_id, check_free_name, free_mac};
use crate::foreign::judge;
use crate::place::{Places, known, volume_name};
use crate::policy::{PlanContext, Policy};
use crate::socket;
use crate::spec::Start;

mod allow;
mod check;

pub(crate) use check::{Refusal, check_numbers, contradictions, refuse, unreadable, untrusted};

/// How far the writer of a document is trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Only what can do the host no harm: elements of a list, disks where images may lie, screens that only the host
    /// sees. Anything unknown is refused.
    #[default]
    Checked,
    /// Anything that the hypervisor takes. Such a document can read and write every file of the host and start
    /// programs on it: only for people who are root there anyway. Names and numbers that would harm the hypervisor
    /// itself are still refused.
    Full,
}

/// What becomes of an imported machine's uuid and MAC addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// They stay: the machine moves.
    #[default]
    Keep,
    /// They are new: the machine is a copy.
    Fresh,
}

/// How a document is imported; the default keeps everything and trusts nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportOptions {
    /// Another name than the document's.
    pub name: Option<VmName>,
    /// What becomes of uuid and MAC addresses.
    pub identity: Identity,
    /// How far the writer is trusted.
    pub trust: Trust,
    /// Whether the host starts the machine at boot.
    pub autostart: Autostart,
    /// Whether the machine is started at once.
    pub start: Start,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            name: None,
            identity: Identity::Keep,
            trust: Trust::Checked,
            autostart: Autostart::Off,
            start: Start::No,
        }
    }
}

/// Plans to take in a machine from its document. Its disks have to be there already.
///
/// What only describes the host that the document comes from is left out: the running number, paths of terminals, names
/// of tap devices, the place of UEFI variables; also channels for whose sockets the name is too long. Our own metadata
/// is read and written anew.
///
/// `InvalidInput` names the element that cannot be read or is not allowed; `AlreadyExists` when the name, the uuid or a
/// MAC address is taken; `NotFound` when a disk, pool or network is not there.
pub async fn plan_import(host: &Host, xml: &str, options: &ImportOptions, cx: &PlanContext<'_>) -> Result<CreatePlan> {
    plan_document(host, read(xml, options.trust)?, None, options, cx, Moved::default()).await
}

/// A machine that comes from somewhere else, made ready for this host by another engine.
#[derive(Debug)]
pub struct Arrival {
    /// Engine and verb of the operation: `clone.vm`.
    pub kind: &'static str,
    /// What happens, in one word: `clone`.
    pub verb: &'static str,
    /// The machine as it is to be defined, with its name, its uuid and its MAC addresses.
    pub document: Domain,
    /// Whether the machine is started at once.
    pub start: Start,
    /// Images that the steps make.
    pub images: Vec<DiskPath>,
    /// What the plan says first.
    pub lines: Vec<PlanLine>,
    /// The steps that come first.
    pub steps: Vec<Box<dyn Step>>,
}

/// Plans to take in a machine that another engine has made ready: its steps come first, then the machine is defined, and
/// started if that is wanted.
///
/// The document is trusted as the host's own are; its name, numbers, identity, networks and disks are checked as
/// [`plan_import`] does. Before the machine starts everything can be taken back.
///
/// `InvalidInput`, `AlreadyExists`, `NotFound` and `InvalidState` as there.
pub async fn plan_arrival(host: &Host, arrival: Arrival, cx: &PlanContext<'_>) -> Result<CreatePlan> {
    plan_arrival_for(host, arrival, None, cx).await
}

/// The same, where the steps that come first take the name from a machine that has it now.
pub async fn plan_arrival_for(
    host: &Host,
    arrival: Arrival,
    instead: Option<VmId>,
    cx: &PlanContext<'_>,
) -> Result<CreatePlan> {
    let Arrival { kind, verb, document, start, images, lines, steps } = arrival;
    let options = ImportOptions { trust: Trust::Full, start, ..ImportOptions::default() };
    let VmNotes { replication, moving, .. } = VmNotes::of(&document);
    let moved = Moved { origin: Some((kind, verb)), paths: images, lines, steps, replication, moving, instead };
    plan_document(host, document, None, &options, cx, moved).await
}

/// What comes with a document: volumes that the plan makes first.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    /// Kind and verb of the operation, where it is no import.
    pub(crate) origin: Option<(&'static str, &'static str)>,
    /// Where they will be.
    pub(crate) paths: Vec<DiskPath>,
    /// What the plan says first.
    pub(crate) lines: Vec<PlanLine>,
    /// The steps that make them.
    pub(crate) steps: Vec<Box<dyn Step>>,
    /// What is noted about where the machine comes from.
    pub(crate) replication: Option<Replication>,
    /// The move that brings it.
    pub(crate) moving: Option<Moving>,
    /// The machine from which the steps take the name.
    pub(crate) instead: Option<VmId>,
}

/// Plans to take in a machine from a document that was read. `judged` is what a stranger wrote of it, if not all is.
pub(crate) async fn plan_document(
    host: &Host,
    mut document: Domain,
    judged: Option<&Domain>,
    options: &ImportOptions,
    cx: &PlanContext<'_>,
    moved: Moved,
) -> Result<CreatePlan> {
    let host_info = host.hypervisor.capabilities().await?;
    let places = Places::read(host, &cx.policy.allowed_paths).await?;
    if options.trust == Trust::Checked {
        let mut judged = judged.unwrap_or(&document).clone();
        forget_origin(&mut judged);
        refuse(&untrusted(&judged, &host_info, &places).await?)?;
        forget_origin(&mut document);
        refuse(&contradictions(&document))?;
        if let Some(os) = &mut document.os {
            // Checked above; the host has a place of its own for them.
            os.nvram = None;
        }
    }
    document.id = None;
    if let Some(name) = &options.name {
        document.name = Some(name.as_str().to_owned());
    }
    let name = check::check_new(&document)?;
    check_numbers(&document, &host_info, cx.policy)?;
    match (check_free_name(host, &name).await, moved.instead) {
        (Err(e), Some(old)) if e.kind() == ErrorKind::AlreadyExists => {
            let has_it = host.hypervisor.find(&kvm_core::VmRef::Name(name.clone())).await?.id == old;
            if !has_it {
                return Err(e);
            }
        }
        (free, _) => free?,
    }
    socket::check_name(&name, &host_info)?;
    let id = identity(host, &mut document, options.identity, cx.entropy).await?;
    let usage = disk_graph(host).await?;
    addresses(&mut document, options.identity, &usage, cx.entropy)?;
    rewrite_notes(&mut document, (moved.replication, moved.moving))?;
    let left_out = socket::leave_out_channels(&mut document, &name, &host_info);
    check_definition(&document)?;

    if options.trust == Trust::Checked {
        judge_disks(host, &document, (&places, &usage), &moved.paths, cx.policy).await?;
    }
    let mut lines = moved.lines;
    lines.extend(disks(host, &document, &usage, &moved.paths).await?);
    let memory = document.memory.as_ref().and_then(kvm_xml::domain::DomainMemory::bytes).unwrap_or_default();
    let vcpus = document.vcpu.as_ref().and_then(|v| v.value).unwrap_or(1);
    let shape = format!("{vcpus} vCPUs, {}", Bytes::new(memory));
    lines.push(PlanLine::new("define", "domain", name.as_str()).note(shape));
    lines.extend(networks(host, &document, options.start).await?);
    lines.extend(left_out);
    let machine = Machine { id, name: &name, autostart: options.autostart, start: options.start };
    let (kind, verb) = moved.origin.unwrap_or(("vm.import", "import"));
    let plan = assemble(kind, verb, &host_info, &machine, &document, (lines, moved.steps));
    Ok(CreatePlan { plan, document, id })
}

/// A machine's stored document, to be kept or imported elsewhere. With [`Secrets::Show`] it is itself a secret.
/// `NotFound`.
pub async fn export(host: &Host, id: &VmId, secrets: Secrets) -> Result<String> {
    Ok(host.hypervisor.definition(id, View { secrets, ..View::CONFIG }).await?.to_xml())
}

fn read(xml: &str, trust: Trust) -> Result<Domain> {
    match trust {
        Trust::Checked => Domain::from_xml_strict(xml),
        Trust::Full => Domain::from_xml(xml),
    }
    .map_err(|e| unreadable(&e))
}

/// Takes out what only says how things were on another host.
fn forget_origin(document: &mut Domain) {
    let Some(devices) = &mut document.devices else { return };
    let ports = [&mut devices.serial, &mut devices.parallel, &mut devices.console];
    for port in ports.into_iter().flatten() {
        if port.r#type == Some(kvm_xml::domain::CharType::Pty) {
            port.tty = None;
            port.source.clear();
        }
    }
    for interface in &mut devices.interface {
        let is_tap = |t: &kvm_xml::domain::InterfaceTarget| t.dev.as_deref().is_some_and(|d| d.starts_with("vnet"));
        interface.target = interface.target.take().filter(|t| !is_tap(t));
    }
}

async fn identity(host: &Host, document: &mut Domain, identity: Identity, entropy: &dyn Entropy) -> Result<VmId> {
    let id = match (identity, document.uuid) {
        (Identity::Keep, Some(uuid)) => {
            check_free_id(host, uuid.into()).await.map_err(|e| e.during("keep-identity"))?
        }
        (Identity::Keep, None) | (Identity::Fresh, _) => entropy.uuid().into(),
    };
    document.uuid = Some(id.into());
    if identity == Identity::Fresh {
        // Both say the same thing to the guest, and libvirt refuses a contradiction.
        if let Some(genid) = &mut document.genid {
            genid.value = Some(entropy.uuid());
        }
        for system in document.sysinfo.iter_mut().filter_map(|s| s.system.as_mut()) {
            system.entry.retain(|e| e.name != Some(kvm_xml::domain::SystemEntryName::Uuid));
        }
    }
    Ok(id)
}

/// Gives every interface an address that nobody else on the host has.
fn addresses(document: &mut Domain, identity: Identity, usage: &DiskGraph, entropy: &dyn Entropy) -> Result<()> {
    let mut taken = BTreeSet::new();
    for interface in document.devices.iter_mut().flat_map(|d| &mut d.interface) {
        let mac = interface.mac.get_or_insert_default();
        let address = match (identity, mac.address) {
            (Identity::Keep, Some(address)) => {
                let address = MacAddr::from_octets(address.0)?;
                if let Some(owner) = usage.owner_of(&address) {
                    let message = format!("VM {owner} has the MAC address {address} already");
                    return Err(Error::new(ErrorKind::AlreadyExists, message)
                        .on(Resource::Field("mac".into()))
                        .during("keep-identity"));
                }
                if !taken.insert(address) {
                    let message = format!("two network devices have the MAC address {address}");
                    return Err(Error::invalid("mac", message));
                }
                address
            }
            _ => free_mac(entropy, usage, &mut taken),
        };
        mac.address = Some(XmlMac(address.octets()));
    }
    Ok(())
}

/// Reads our metadata strictly and writes it anew, so that nobody smuggles anything in under our name. Whose replica it is
/// says the engine that brings it; what was proved of a machine was proved of another one.
fn rewrite_notes(document: &mut Domain, (replication, moving): (Option<Replication>, Option<Moving>)) -> Result<()> {
    let notes = VmNotes { replication, moving, proof: None, ..VmNotes::of(document) };
    if let Some(metadata) = &mut document.metadata {
        metadata.remove(Metadata::NAMESPACE);
    }
    notes.apply_to(document)
}

/// Looks at the headers of a stranger's disks by the formats that the document gives to them. New ones have none yet.
async fn judge_disks(
    host: &Host,
    document: &Domain,
    known: (&Places<'_>, &DiskGraph),
    new: &[DiskPath],
    policy: &Policy,
) -> Result<()> {
    for disk in document.devices.iter().flat_map(|devices| &devices.disk) {
        let source = disk.source.as_ref();
        let Some(path) = source.and_then(|source| source.file.as_ref().or(source.dev.as_ref())) else { continue };
        let path = DiskPath::adopt(path)?;
        if new.contains(&path) {
            continue;
        }
        // What has no format is opened as raw.
        let format = disk.driver.as_ref().and_then(|driver| driver.r#type).map(|format| format.to_string());
        let format = format.map_or(Some(Format::Raw), |format| Format::named(&format));
        judge(host, known, &path, (format, kvm_image::Secret::Missing), policy).await?;
    }
    Ok(())
}

/// What is said of the disks that are there already.
async fn disks(host: &Host, document: &Domain, usage: &DiskGraph, new: &[DiskPath]) -> Result<Vec<PlanLine>> {
    let mut lines = Vec::new();
    let mut writable = BTreeSet::new();
    let disks: Vec<_> = document.devices.iter().flat_map(|d| &d.disk).collect();
    for disk in disks {
        let Some(source) = &disk.source else { continue };
        let Some(path) = source.file.as_ref().or(source.dev.as_ref()) else {
            if let (Some(pool), Some(volume)) = (&source.pool, &source.volume) {
                lines.push(PlanLine::new("use", "volume", format!("{pool}/{volume}")));
            }
            continue;
        };
        let path = DiskPath::adopt(path)?;
        if new.contains(&path) {
            continue;
        }
        let is_fixed = disk.readonly || disk.device == Some(kvm_xml::domain::DiskDevice::Cdrom);
        if !is_fixed && !writable.insert(normal(path.as_str())) {
            return Err(Error::invalid("disk_path", format!("two disks are {path}")));
        }
        let line = match host.storage.volume_at(&path).await {
            Ok(volume) => PlanLine::new("use", "volume", volume_name(&volume)),
            Err(e) if e.kind() == ErrorKind::NotFound => PlanLine::new("use", "file", path.as_str()),
            Err(e) => return Err(e),
        };
        lines.push(match usage.users(&path_key(&path), None).describe() {
            Some(users) => line.note(format!("also {users}")),
            None => line,
        });
    }
    Ok(lines)
}

async fn networks(host: &Host, document: &Domain, start: Start) -> Result<Vec<PlanLine>> {
    let wanted: Vec<_> =
        document.devices.iter().flat_map(|d| &d.interface).filter_map(|i| i.source.as_ref()?.network.clone()).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let networks = host.networks.list().await?;
    let mut lines = Vec::new();
    for name in wanted {
        let name = NetworkName::adopt(&name)?;
        let on = || Resource::Network(name.as_str().to_owned());
        let network = networks.iter().find(|n| n.name == name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("no network named {name}"))
                .on(on())
                .with_detail(known("networks", networks.iter().map(|n| n.name.to_string())))
        })?;
        if !network.active && start.is_wanted() {
            return Err(Error::new(ErrorKind::InvalidState, format!("network {name} is not active")).on(on()));
        }
        let line = PlanLine::new("connect", "network", name.as_str());
        lines.push(if network.active { line } else { line.note("not active") });
    }
    Ok(lines)
}
