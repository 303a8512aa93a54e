//! From a specification to a machine's document: pure, no host is asked.

use kvm_core::{Bytes, GuestKind, IoThread, Result, VcpuCount, VmId};
use kvm_xml::Domain;
use kvm_xml::common::Arch;
use kvm_xml::domain as xml;
use kvm_xml::domain::{Devices, DomainMemory};
use kvm_xml::value::{Memory, Unit, YesNo};

use crate::create::{Disk, Nic};
use crate::place::Image;
use crate::spec::{
    BootDevice, CpuMode, CpuTopology, CreateSpec, Firmware, HugePages, NumaCell, NumaMode, NumaNodes, OsHint,
    RngSource, all_in_one,
};

pub(crate) mod device;
pub(crate) mod peripheral;
mod system;

/// What a document is built from, beside its specification: everything that was looked up or chosen.
#[derive(Debug)]
pub(crate) struct Blueprint<'a> {
    pub(crate) id: VmId,
    pub(crate) guest: &'a GuestKind,
    pub(crate) vcpus: VcpuCount,
    pub(crate) max_vcpus: VcpuCount,
    pub(crate) max_memory: Bytes,
    pub(crate) disks: &'a [Disk],
    pub(crate) iso: Option<&'a Image>,
    pub(crate) nics: &'a [Nic],
}

/// What decides about many devices at once.
#[derive(Clone, Copy, Debug)]
struct Platform<'a> {
    guest: &'a GuestKind,
    os: OsHint,
    machine: Option<&'a str>,
    firmware: Firmware,
}

impl<'a> Platform<'a> {
    fn new(spec: &'a CreateSpec, guest: &'a GuestKind) -> Self {
        let machine = spec.machine.as_ref().map(crate::spec::MachineType::as_str).or_else(|| preferred(guest));
        let is_x86 = matches!(guest.arch.as_str(), "x86_64" | "i686");
        let firmware = spec.firmware.unwrap_or(if is_x86 { Firmware::Bios } else { Firmware::Uefi });
        Self { guest, os: spec.os, machine, firmware }
    }

    fn is_x86(&self) -> bool {
        matches!(self.guest.arch.as_str(), "x86_64" | "i686")
    }

    fn is_q35(&self) -> bool {
        self.machine.is_some_and(|m| m.contains("q35"))
    }

    /// Whether devices are plugged into ports of PCI express.
    fn has_pcie_ports(&self) -> bool {
        self.is_q35() || self.machine.is_some_and(|machine| machine == "virt" || machine.starts_with("virt-"))
    }

    fn is_kvm(&self) -> bool {
        self.guest.virt_type == "kvm"
    }

    /// Whether the guest has drivers for virtio from the start.
    fn speaks_virtio(&self) -> bool {
        self.os == OsHint::Linux || !self.is_x86()
    }
}

/// The machine type that is best for new machines, if the host has it.
fn preferred(guest: &GuestKind) -> Option<&'static str> {
    let best = match guest.arch.as_str() {
        "x86_64" | "i686" => "q35",
        "aarch64" | "armv7l" | "riscv64" | "riscv32" | "loongarch64" => "virt",
        _ => return None,
    };
    guest.machines.iter().any(|m| m == best).then_some(best)
}

/// Builds the document. `InvalidInput` when the specification contradicts itself.
pub(crate) fn build(spec: &CreateSpec, blueprint: &Blueprint<'_>) -> Result<Domain> {
    let platform = Platform::new(spec, blueprint.guest);
    let boot = BootOrder::of(spec, blueprint)?;
    let devices = Devices {
        emulator: blueprint.guest.emulator.clone(),
        disk: device::disks(&platform, blueprint, &boot),
        controller: device::controllers(&platform, spec, blueprint),
        interface: device::interfaces(&platform, blueprint.nics, &boot),
        serial: vec![device::serial()],
        console: vec![device::console()],
        channel: device::channels(spec.graphics),
        input: device::inputs(&platform, spec.graphics),
        tpm: device::tpm(&platform, spec.tpm),
        graphics: device::graphics(spec.graphics),
        video: device::video(&platform, spec.graphics),
        rng: vec![peripheral::rng(RngSource::Urandom)],
        memballoon: Some(device::balloon()),
        ..Devices::default()
    };
    // libvirt plugs modules into cells alone.
    let cells = match spec.memory_slots {
        Some(_) if spec.numa.is_empty() => vec![all_in_one(blueprint.max_vcpus, spec.memory)?],
        _ => spec.numa.clone(),
    };
    Ok(Domain {
        r#type: Some(parsed(&blueprint.guest.virt_type)?),
        name: Some(spec.name.as_str().to_owned()),
        uuid: Some(blueprint.id.into()),
        memory: Some(DomainMemory::new(blueprint.max_memory.kib(), Unit::KiB)),
        max_memory: spec.memory_slots.map(|slots| xml::MaxMemory {
            slots: Some(slots.get()),
            unit: Some(Unit::KiB),
            value: Some(spec.max_memory.unwrap_or(spec.memory).kib()),
            ..xml::MaxMemory::default()
        }),
        current_memory: Some(Memory::new(spec.memory.kib(), Unit::KiB)),
        memory_backing: spec.hugepages.map(memory_backing),
        vcpu: Some(xml::Vcpu {
            placement: Some(xml::VcpuPlacement::Static),
            current: u16::try_from(blueprint.vcpus.get()).ok().filter(|_| blueprint.vcpus < blueprint.max_vcpus),
            value: u16::try_from(blueprint.max_vcpus.get()).ok(),
            ..xml::Vcpu::default()
        }),
        os: Some(os(spec, &platform)?),
        iothreads: blueprint.disks.iter().filter_map(|disk| disk.options.iothread).max().map(IoThread::get),
        features: Some(system::features(&platform)),
        cpu: celled(arranged(cpu(spec.cpu.as_ref(), &platform), spec.topology), &cells),
        numatune: spec.numa_nodes.as_ref().map(|nodes| numatune(nodes, spec.numa_mode)),
        clock: Some(system::clock(&platform)),
        on_poweroff: Some(xml::LifecycleAction::Destroy),
        on_reboot: Some(xml::LifecycleAction::Restart),
        on_crash: Some(xml::CrashAction::Destroy),
        pm: platform.is_x86().then(system::sleep_states),
        devices: Some(devices),
        ..Domain::default()
    })
}

fn parsed<T: std::str::FromStr<Err = kvm_xml::XmlError>>(word: &str) -> Result<T> {
    word.parse().map_err(|e| {
        let message = format!("the host runs guests of a kind that is not known here: {word}");
        kvm_core::Error::new(kvm_core::ErrorKind::Unsupported, message).with_source(e)
    })
}

fn os(spec: &CreateSpec, platform: &Platform<'_>) -> Result<xml::Os> {
    let arch: Arch = parsed(&platform.guest.arch)?;
    let (firmware, firmware_el) = match platform.firmware {
        Firmware::Bios => (None, None),
        Firmware::Uefi => (Some(xml::OsFirmware::Efi), Some(firmware_features(YesNo::No))),
        Firmware::UefiSecure => (Some(xml::OsFirmware::Efi), Some(firmware_features(YesNo::Yes))),
    };
    let kernel = spec.kernel.as_ref();
    Ok(xml::Os {
        // A kernel that is loaded directly needs no firmware, unless somebody asks for one.
        firmware: firmware.filter(|_| kernel.is_none() || spec.firmware.is_some()),
        firmware_el: firmware_el.filter(|_| (kernel.is_none() || spec.firmware.is_some()) && platform.is_x86()),
        r#type: Some(xml::OsType {
            arch: Some(arch),
            machine: platform.machine.map(ToOwned::to_owned),
            value: Some(xml::OsTypeName::Hvm),
            ..xml::OsType::default()
        }),
        kernel: kernel.map(|k| k.kernel.as_str().to_owned()),
        initrd: kernel.and_then(|k| k.initrd.as_ref()).map(|p| p.as_str().to_owned()),
        cmdline: kernel.and_then(|k| k.cmdline.as_ref()).map(|c| c.as_str().to_owned()),
        bootmenu: spec.boot_menu.then(|| xml::BootMenu {
            enable: Some(YesNo::Yes),
            timeout: Some(3000),
            ..xml::BootMenu::default()
        }),
        ..xml::Os::default()
    })
}

/// Says whether Secure Boot is wanted: left open, the host's first choice may refuse unsigned kernels.
fn firmware_features(secure: YesNo) -> xml::Firmware {
    let feature = |name| xml::FirmwareFeature { enabled: Some(secure), name: Some(name), ..Default::default() };
    xml::Firmware {
        feature: vec![feature(xml::FirmwareFeatureName::EnrolledKeys), feature(xml::FirmwareFeatureName::SecureBoot)],
        ..xml::Firmware::default()
    }
}

/// Large pages of the host.
fn memory_backing(pages: HugePages) -> xml::MemoryBacking {
    let page = match pages {
        HugePages::Default => Vec::new(),
        HugePages::Size(size) => {
            vec![xml::Hugepage { size: Some(size.kib()), unit: Some(Unit::KiB), ..xml::Hugepage::default() }]
        }
    };
    let hugepages = Some(xml::Hugepages { page, ..xml::Hugepages::default() });
    xml::MemoryBacking { hugepages, ..xml::MemoryBacking::default() }
}

/// The CPU with its sockets, cores and threads. One that is only arranged is what the hypervisor prefers.
fn arranged(cpu: Option<xml::Cpu>, topology: Option<CpuTopology>) -> Option<xml::Cpu> {
    let Some(CpuTopology { sockets, dies, cores, threads }) = topology else { return cpu };
    let topology = Some(xml::CpuTopology {
        sockets: Some(sockets),
        dies: Some(dies).filter(|dies| *dies > 1),
        cores: Some(cores),
        threads: Some(threads),
        ..xml::CpuTopology::default()
    });
    Some(xml::Cpu { topology, ..cpu.unwrap_or_default() })
}

/// The CPU with the cells of a machine that has some.
fn celled(cpu: Option<xml::Cpu>, cells: &[NumaCell]) -> Option<xml::Cpu> {
    if cells.is_empty() {
        return cpu;
    }
    let cell = |(id, cell): (u32, &NumaCell)| xml::NumaCell {
        id: Some(id),
        cpus: Some(cell.cpus.clone()),
        memory: Some(cell.memory.kib()),
        unit: Some(Unit::KiB),
        ..xml::NumaCell::default()
    };
    let numa = xml::Numa { cell: (0..).zip(cells).map(cell).collect(), ..xml::Numa::default() };
    Some(xml::Cpu { numa: Some(numa), ..cpu.unwrap_or_default() })
}

/// From which nodes of the host memory comes.
fn numatune(nodes: &NumaNodes, mode: Option<NumaMode>) -> xml::Numatune {
    let mode = mode.unwrap_or(NumaMode::Strict).into();
    let memory = xml::NumatuneMemory {
        mode: Some(mode),
        nodeset: Some(nodes.as_set().clone()),
        ..xml::NumatuneMemory::default()
    };
    xml::Numatune { memory: Some(memory), ..xml::Numatune::default() }
}

fn cpu(asked: Option<&CpuMode>, platform: &Platform<'_>) -> Option<xml::Cpu> {
    let default = platform.is_kvm().then_some(&CpuMode::HostPassthrough);
    let mode = |mode| xml::Cpu { mode: Some(mode), ..xml::Cpu::default() };
    Some(match asked.or(default)? {
        CpuMode::HostPassthrough => mode(xml::CpuModeName::HostPassthrough),
        CpuMode::HostModel => mode(xml::CpuModeName::HostModel),
        CpuMode::Maximum => mode(xml::CpuModeName::Maximum),
        CpuMode::Model(model) => xml::Cpu {
            model: Some(xml::CpuModel { value: Some(model.as_str().to_owned()), ..xml::CpuModel::default() }),
            r#match: Some(xml::CpuMatch::Exact),
            ..mode(xml::CpuModeName::Custom)
        },
    })
}

/// From what a machine boots, and when each device has its turn.
#[derive(Debug)]
struct BootOrder {
    disks: Vec<Option<u32>>,
    cdrom: Option<u32>,
    network: Option<u32>,
}

impl BootOrder {
    fn of(spec: &CreateSpec, blueprint: &Blueprint<'_>) -> Result<Self> {
        if blueprint.disks.iter().any(|disk| disk.options.boot.is_some()) {
            let message = "a new machine says its whole order in its own boot; leave it out of its disks";
            return Err(kvm_core::Error::invalid("boot", message));
        }
        let (disks, iso, nics) = (blueprint.disks.len(), blueprint.iso.is_some(), blueprint.nics.len());
        let mut order = Self { disks: vec![None; disks], cdrom: None, network: None };
        let default: Vec<_> = [(disks > 0, BootDevice::Disk), (iso, BootDevice::Cdrom)]
            .into_iter()
            .filter_map(|(is_there, device)| is_there.then_some(device))
            .collect();
        let fallback = [BootDevice::Network];
        let wanted: &[BootDevice] = match (spec.boot.as_slice(), default.as_slice()) {
            // A kernel that is loaded directly comes before all devices.
            ([], _) if spec.kernel.is_some() => &[],
            ([], []) if nics > 0 => &fallback,
            ([], default) => default,
            (wanted, _) => wanted,
        };
        let mut turn = 0;
        let mut next = || {
            turn += 1;
            Some(turn)
        };
        for device in wanted {
            let taken = match device {
                BootDevice::Disk if disks > 0 && order.disks[0].is_none() => {
                    order.disks.iter_mut().for_each(|d| *d = next());
                    true
                }
                BootDevice::Cdrom if iso && order.cdrom.is_none() => {
                    order.cdrom = next();
                    true
                }
                BootDevice::Network if nics > 0 && order.network.is_none() => {
                    order.network = next();
                    true
                }
                _ => false,
            };
            if !taken {
                let message = format!("cannot boot from {device}: there is none, or it is named twice");
                return Err(kvm_core::Error::invalid("boot", message));
            }
        }
        Ok(order)
    }
}
