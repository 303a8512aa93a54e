//! Making machines.

use kvm_core::op::{LockKey, Plan, PlanLine, Step};
use kvm_core::{
    Autostart, Capabilities, Device, DeviceRef, Error, ErrorKind, Feature, GuestKind, Host, Keep, MemoryPlacement,
    Peripheral, Resource, Result, VcpuCount, VmId, VmName, VmNotes, VmRef, check_definition,
};
use kvm_xml::{Document as _, Domain};

use crate::build::peripheral::{peripheral, share_memory, taken};
use crate::build::{Blueprint, build};
use crate::chain::disk_graph;
use crate::device::about;
use crate::host_device::assign;
use crate::package::Filling;
use crate::place::{Places, known};
use crate::policy::PlanContext;
use crate::secret::NewSecret;
use crate::socket;
use crate::spec::{Arch, CpuMode, CpuTopology, CreateSpec, DeviceSpec, Firmware, Start, check_cells, check_nodes};
use crate::step::{Define, SetAutostart, Start as StartStep};

pub(crate) mod disk;
mod kernel;
pub(crate) mod nic;

pub(crate) use disk::Disk;
pub use nic::unused_mac;
pub(crate) use nic::{Nic, free_mac};

/// A machine that could be made.
#[derive(Debug)]
pub struct CreatePlan {
    /// What would happen; its `Display` is the dry run.
    pub plan: Plan,
    /// The machine's document.
    pub document: Domain,
    /// The machine's uuid.
    pub id: VmId,
}

/// Plans a new machine: its volumes, its definition, and whether it starts.
///
/// Everything that can be checked is checked before anything is written: that the name and the uuid are free, that the
/// host has the virtual CPUs and the memory, that pools are active and have room, that names of volumes are free, that
/// images lie where images may lie, that networks exist, that no other machine has the MAC address, that the name has
/// room in the paths of libvirt's sockets. Undoing takes everything back that the operation made, and nothing else.
///
/// `InvalidInput` names the field; `AlreadyExists`, `NotFound`, `InvalidState` and `NoSpace` name what is taken,
/// missing, not active or full; `Unsupported` what the host cannot do.
///
/// ```no_run
/// # async fn example(host: &kvm_core::Host) -> kvm_core::Result<()> {
/// use kvm_core::SystemEntropy;
/// use kvm_vm::{CreateSpec, PlanContext, Policy, plan_create};
///
/// let spec = CreateSpec::new("web01".parse()?);
/// let cx = PlanContext { policy: &Policy::default(), entropy: &SystemEntropy };
/// let create = plan_create(host, &spec, &cx).await?;
/// assert!(create.plan.to_string().starts_with("create web01 on "));
/// # Ok(())
/// # }
/// ```
pub async fn plan_create(host: &Host, spec: &CreateSpec, cx: &PlanContext<'_>) -> Result<CreatePlan> {
    let new = NewMachine { kind: "vm.create", verb: "create", lines: Vec::new(), fillings: Vec::new() };
    plan_new(host, spec, cx, new).await
}

/// Where a new machine comes from.
pub(crate) struct NewMachine {
    pub(crate) kind: &'static str,
    pub(crate) verb: &'static str,
    /// What the plan says first.
    pub(crate) lines: Vec<PlanLine>,
    /// What each of its disks is filled with.
    pub(crate) fillings: Vec<Option<Filling>>,
}

/// Plans a new machine whose new disks may be filled.
pub(crate) async fn plan_new(
    host: &Host,
    spec: &CreateSpec,
    cx: &PlanContext<'_>,
    new: NewMachine,
) -> Result<CreatePlan> {
    let host_info = host.hypervisor.capabilities().await?;
    check_free_name(host, &spec.name).await?;
    socket::check_name(&spec.name, &host_info)?;
    let id = match spec.uuid {
        Some(id) => check_free_id(host, id).await?,
        None => VmId::from(cx.entropy.uuid()),
    };
    let guest = choose_guest(&host_info, spec.arch.as_ref())?;
    let (vcpus, max_vcpus) = check_vcpus(spec, guest)?;
    let most = spec.max_memory.unwrap_or(spec.memory);
    if most < spec.memory {
        return Err(Error::invalid("max-memory", format!("is less than the {} that it begins with", spec.memory)));
    }
    if spec.memory_slots.is_some() && most == spec.memory {
        return Err(Error::invalid("memory-slots", "modules need room: say with max-memory how much there can be"));
    }
    // What comes with modules is not there for the balloon.
    let max_memory = if spec.memory_slots.is_some() { spec.memory } else { most };
    check_cells(&spec.numa, max_vcpus, max_memory)?;
    check_nodes(spec.numa_nodes.as_ref(), spec.numa_mode)?;
    spec.numa_nodes.iter().try_for_each(|nodes| MemoryPlacement::check_nodes(nodes.as_set(), &host_info.numa))?;
    cx.policy.check_memory(most, &host_info)?;
    check_choices(spec, &host_info, guest)?;

    let places = Places::read(host, &cx.policy.allowed_paths).await?;
    let usage = disk_graph(host).await?;
    let disks = disk::resolve(host, &disk::Wanted::of(spec, &usage, cx.entropy), &places, cx.policy).await?;
    let iso = match &spec.iso {
        Some(iso) => {
            let iso = places.image(iso).await?;
            iso.at.host_path()?;
            Some(iso)
        }
        None => None,
    };
    let kernel = kernel::resolve(spec.kernel.as_ref(), &places).await?;
    let nics = nic::resolve(host, spec.nics.as_deref(), spec.start, &usage, cx).await?;

    let blueprint =
        Blueprint { id, guest, vcpus, max_vcpus, max_memory, disks: &disks, iso: iso.as_ref(), nics: &nics };
    let mut document = build(spec, &blueprint)?;
    let peripherals = peripherals(host, &id, spec, &mut document, &places).await?;
    let left_out = socket::leave_out_channels(&mut document, &spec.name, &host_info);
    notes(spec).apply_to(&mut document)?;
    check_definition(&document)?;

    let mut lines = new.lines;
    for disk in &disks {
        lines.extend(disk.new_secret().map(NewSecret::line));
        lines.push(disk.line(&usage));
    }
    lines.extend(iso.iter().map(|iso| PlanLine::new("use", "volume", iso.name()).note("CD-ROM, read-only")));
    lines.extend(kernel.iter().map(|image| PlanLine::new("use", "kernel", image.name())));
    let shape = format!("{vcpus} vCPUs, {}, {} ({})", spec.memory, guest.arch, guest.virt_type);
    lines.push(PlanLine::new("define", "domain", spec.name.as_str()).note(shape));
    lines.extend(nics.iter().map(nic::Nic::line));
    lines.extend(peripherals);
    lines.extend(left_out);
    let mut steps: Vec<Box<dyn Step>> = Vec::new();
    let mut fillings = new.fillings.into_iter();
    for disk in &disks {
        steps.extend(disk.new_secret().into_iter().flat_map(NewSecret::steps));
        match (disk.new_volume(), fillings.next().flatten()) {
            (Some(volume), Some(filling)) => steps.extend(filling.steps(volume, disk.volume_format())),
            (Some(volume), None) => steps.push(Box::new(volume)),
            (None, _) => {}
        }
    }
    let machine = Machine { id, name: &spec.name, autostart: spec.autostart, start: spec.start };
    let plan = assemble(new.kind, new.verb, &host_info, &machine, &document, (lines, steps));
    Ok(CreatePlan { plan, document, id })
}

/// Puts the devices that a specification names into the document; gives what the plan says of them.
async fn peripherals(
    host: &Host,
    id: &VmId,
    spec: &CreateSpec,
    document: &mut Domain,
    places: &Places<'_>,
) -> Result<Vec<PlanLine>> {
    let mut lines = Vec::new();
    for wanted in &spec.devices {
        if let Some((device, scope)) = wanted.of_host() {
            for given in assign(host, id, device, scope).await? {
                let new = Peripheral::of_host(given.device);
                let key = DeviceRef::Peripheral(new.key());
                if key.find(document).is_some() {
                    return Err(taken(&new, spec.name.as_str()));
                }
                Device::Peripheral(new).put_into(document)?;
                lines.push(PlanLine::new("attach", "device", key.to_string()).note(given.about));
            }
            continue;
        }
        let new = peripheral(wanted, &[document])?;
        let key = DeviceRef::Peripheral(new.key());
        match (wanted, key.find(document)) {
            // A SPICE screen brings it along.
            (DeviceSpec::Clipboard(_), Some(_)) => continue,
            (_, Some(_)) => return Err(taken(&new, spec.name.as_str())),
            (DeviceSpec::Dimm(_), None) => {
                return Err(Error::invalid("device", "a new VM has its memory at once; modules are plugged in later"));
            }
            (DeviceSpec::Share(share), None) => {
                places.share(&share.share).await?;
                share_memory(document)?;
            }
            (_, None) => {}
        }
        Device::Peripheral(new).put_into(document)?;
        let (line, about) = (PlanLine::new("attach", "device", key.to_string()), about(wanted));
        lines.push(if about.is_empty() { line } else { line.note(about) });
    }
    Ok(lines)
}

/// What the last steps of a plan need to know of the machine.
pub(crate) struct Machine<'a> {
    pub(crate) id: VmId,
    pub(crate) name: &'a VmName,
    pub(crate) autostart: Autostart,
    pub(crate) start: Start,
}

/// Adds the definition, autostart and start to what comes before them.
pub(crate) fn assemble(
    kind: &'static str,
    verb: &str,
    host: &Capabilities,
    machine: &Machine<'_>,
    document: &Domain,
    (mut lines, mut steps): (Vec<PlanLine>, Vec<Box<dyn Step>>),
) -> Plan {
    let (id, name) = (machine.id, machine.name);
    // A variable store that the document names may have been there before.
    let names_nvram = document.os.as_ref().and_then(|os| os.nvram.as_ref()).is_some_and(|n| n.value.is_some());
    let keep = if names_nvram { Keep { nvram: true, tpm: false } } else { Keep::NOTHING };
    steps.push(Box::new(Define { id, name: name.clone(), document: document.to_xml(), keep }));
    if machine.autostart == Autostart::On {
        lines.push(PlanLine::new("enable", "autostart", name.as_str()));
        steps.push(Box::new(SetAutostart { id, name: name.clone() }));
    }
    if machine.start.is_wanted() {
        let line = PlanLine::new("start", "domain", name.as_str());
        let paused = machine.start == Start::Paused;
        lines.push(if paused { line.note("paused") } else { line });
        steps.push(Box::new(StartStep { id, name: name.clone(), paused }));
    }
    Plan {
        kind,
        title: format!("{verb} {name} on {}", host.target),
        target: host.target.clone(),
        locks: vec![LockKey { host: host.host_key(), vm: id }],
        lines,
        // A machine that has started may have been used: whoever died then, it is not taken away again.
        reversible: steps.len() - usize::from(machine.start.is_wanted()),
        steps,
    }
}

/// `AlreadyExists` when a machine has this name.
pub(crate) async fn check_free_name(host: &Host, name: &VmName) -> Result<()> {
    match host.hypervisor.find(&VmRef::Name(name.clone())).await {
        Ok(_) => Err(Error::new(ErrorKind::AlreadyExists, format!("there is a VM named {name} already"))
            .on(Resource::Vm(name.as_str().to_owned()))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// `AlreadyExists` when a machine has this uuid.
pub(crate) async fn check_free_id(host: &Host, id: VmId) -> Result<VmId> {
    match host.hypervisor.find(&VmRef::Id(id)).await {
        Ok(vm) => Err(Error::new(ErrorKind::AlreadyExists, format!("VM {} has this uuid already", vm.name))
            .on(Resource::Vm(id.to_string()))
            .with_detail("leave the uuid out to get a new one")),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(id),
        Err(e) => Err(e),
    }
}

/// The kind of guest that runs best for this architecture.
fn choose_guest<'a>(host: &'a Capabilities, arch: Option<&Arch>) -> Result<&'a GuestKind> {
    let asked = arch.map(Arch::as_str).or(host.arch.as_deref());
    let found = match asked {
        Some(asked) => host.best_guest(asked),
        None => host.guests.iter().find(|g| g.os_type == "hvm"),
    };
    found.ok_or_else(|| {
        let asked = asked.unwrap_or("any architecture");
        Error::invalid("arch", format!("this host runs no guests for {asked}"))
            .with_detail(known("architectures", host.guests.iter().map(|g| g.arch.clone())))
    })
}

/// How many virtual CPUs there are at first, and at most.
fn check_vcpus(spec: &CreateSpec, guest: &GuestKind) -> Result<(VcpuCount, VcpuCount)> {
    let arranged = spec.topology.map(CpuTopology::vcpus).transpose()?;
    let vcpus = spec.vcpus.or(arranged).map_or_else(|| VcpuCount::new(2), Ok)?;
    let most = spec.max_vcpus.or(arranged).unwrap_or(vcpus);
    if vcpus > most {
        return Err(Error::invalid("vcpus", format!("{vcpus} are more than the {most} that there can be")));
    }
    if let Some(arranged) = arranged.filter(|arranged| *arranged != most) {
        return Err(Error::invalid("topology", format!("makes {arranged} virtual CPUs, not {most}")));
    }
    Ok((vcpus, guest.max_vcpus.map_or(Ok(most), |max| most.within(max))?))
}

/// Refuses what the host does not have.
fn check_choices(spec: &CreateSpec, host: &Capabilities, guest: &GuestKind) -> Result<()> {
    if let Some(machine) = &spec.machine {
        let machine = machine.as_str();
        if !guest.machines.is_empty() && !guest.machines.iter().any(|m| m == machine) {
            return Err(Error::invalid(
                "machine",
                format!("this host has no machine type {machine} for {}", guest.arch),
            ));
        }
    }
    let need = |field: &str, feature: Feature, what: &str| {
        if host.features.contains(&feature) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unsupported, format!("this host has no {what}")).on(Resource::Field(field.into())))
    };
    if matches!(spec.firmware, Some(Firmware::Uefi | Firmware::UefiSecure)) {
        need("firmware", Feature::Uefi, "UEFI firmware")?;
    }
    if spec.firmware == Some(Firmware::UefiSecure) && spec.machine.as_ref().is_some_and(|m| !m.as_str().contains("q35"))
    {
        return Err(Error::invalid("firmware", "secure boot needs the machine type q35"));
    }
    if spec.tpm {
        need("tpm", Feature::Tpm, "emulated TPM")?;
    }
    if spec.autostart == Autostart::On {
        need("autostart", Feature::Autostart, "autostart of machines")?;
    }
    if spec.cpu == Some(CpuMode::HostPassthrough) && guest.virt_type != "kvm" {
        return Err(Error::invalid("cpu", "host-passthrough needs hardware virtualisation, which this host has not")
            .with_detail("leave cpu out, or name a model"));
    }
    Ok(())
}

fn notes(spec: &CreateSpec) -> VmNotes {
    VmNotes {
        title: spec.title.clone().filter(|t| !t.is_empty()),
        description: spec.description.clone().filter(|d| !d.is_empty()),
        tags: spec.tags.clone(),
        protection: spec.protection,
        replication: None,
        moving: None,
        proof: None,
    }
}
