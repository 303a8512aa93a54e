//! The flags of `vm create` that describe the VM.

use kvm_core::{Autostart, Bytes, Description, DiskPath, Error, Protection, Result, Tag, Title, VcpuCount, VmId};
use kvm_vm::{
    Arch, BootDevice, CpuMode, CpuTopology, CreateSpec, DeviceSpec, DiskSpec, Firmware, Graphics, HugePages, ImageRef,
    KernelCmdline, KernelSpec, MachineType, MemorySlots, NicSpec, NumaCell, NumaMode, NumaNodes, OsHint, Start,
};

use crate::args::one_of;

/// What the VM is to be like. What is left out stays as the file says, or as the default is.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Flags {
    /// Memory; without a unit in MiB.
    #[arg(short, long, value_name = "SIZE", value_parser = kvm_core::parse_memory, help_heading = "Machine")]
    memory: Option<Bytes>,
    /// Virtual CPUs.
    #[arg(long, value_name = "N", value_parser = VcpuCount::parse, help_heading = "Machine")]
    vcpus: Option<VcpuCount>,
    /// The most virtual CPUs that can be plugged in later.
    #[arg(long, value_name = "N", value_parser = VcpuCount::parse, help_heading = "Machine")]
    max_vcpus: Option<VcpuCount>,
    /// The most memory that it can be given later; without a unit in MiB.
    #[arg(long, value_name = "SIZE", value_parser = kvm_core::parse_memory, help_heading = "Machine")]
    max_memory: Option<Bytes>,
    /// How many memory modules can be plugged in later; max-memory is then what they can reach.
    #[arg(long, value_name = "N", requires = "max_memory", help_heading = "Machine")]
    memory_slots: Option<MemorySlots>,
    /// How its virtual CPUs are arranged, such as sockets=2,cores=4,threads=2.
    #[arg(long, value_name = "TOPOLOGY", help_heading = "Machine")]
    topology: Option<CpuTopology>,
    /// Memory in large pages that the host has set aside: default, or their size, such as 2M or 1G.
    #[arg(long, value_name = "SIZE", help_heading = "Machine")]
    hugepages: Option<HugePages>,
    /// NUMA cell of the guest, such as cpus=0-3,memory=4G; may be repeated, and then has every virtual CPU once.
    #[arg(long, value_name = "CELL", help_heading = "Machine")]
    numa: Vec<NumaCell>,
    /// NUMA nodes of the host that its memory comes from, such as 0-1.
    #[arg(long, value_name = "NODES", help_heading = "Machine")]
    numa_nodes: Option<NumaNodes>,
    /// How strictly it does; strict if left out.
    #[arg(long, requires = "numa_nodes", value_parser = one_of!(NumaMode), help_heading = "Machine")]
    numa_mode: Option<NumaMode>,
    /// What it is for; decides the devices it finds.
    #[arg(long, value_parser = one_of!(OsHint), help_heading = "Machine")]
    os: Option<OsHint>,
    /// Firmware.
    #[arg(long, value_parser = one_of!(Firmware), help_heading = "Machine")]
    firmware: Option<Firmware>,
    /// CPU: host-passthrough, host-model, maximum, or a model.
    #[arg(long, value_name = "MODE", help_heading = "Machine")]
    cpu: Option<CpuMode>,
    /// Architecture, such as x86_64.
    #[arg(long, value_name = "ARCH", help_heading = "Machine")]
    arch: Option<Arch>,
    /// Machine type, such as q35.
    #[arg(long, value_name = "TYPE", help_heading = "Machine")]
    machine: Option<MachineType>,
    /// Emulated TPM 2.0.
    #[arg(long, help_heading = "Machine")]
    tpm: bool,
    /// Screen.
    #[arg(long, value_parser = one_of!(Graphics), help_heading = "Machine")]
    graphics: Option<Graphics>,
    /// Uuid; a new one if left out.
    #[arg(long, value_name = "UUID", value_parser = VmId::parse, help_heading = "Machine")]
    uuid: Option<VmId>,

    /// Disk: SIZE[,pool=…][,name=…][,format=qcow2|raw][,encrypt], volume=POOL/NAME, or path=FILE; may be repeated.
    #[arg(long, value_name = "DISK", help_heading = "Storage")]
    disk: Vec<DiskSpec>,
    /// What is in its CD-ROM drive: POOL/VOLUME, or a path.
    #[arg(long, value_name = "IMAGE", help_heading = "Storage")]
    iso: Option<ImageRef>,
    /// Let new volumes be larger than what their pool has left.
    #[arg(long, help_heading = "Storage")]
    allow_overcommit: bool,

    /// Network device: NETWORK, bridge=NAME, user[,model=…][,mac=…], or none; may be repeated.
    #[arg(long, value_name = "NIC", help_heading = "Network", value_parser = nic)]
    network: Vec<Nic>,

    /// Other device: rng, vsock, watchdog, share=DIR,tag=TAG, sound, redirect, clipboard, controller=BUS; may be repeated.
    #[arg(long, value_name = "DEVICE", help_heading = "Devices")]
    device: Vec<DeviceSpec>,

    /// What it boots from, in order.
    #[arg(long, value_name = "DEVICE", value_delimiter = ',', value_parser = one_of!(BootDevice), help_heading = "Boot")]
    boot: Vec<BootDevice>,
    /// Let the firmware wait for a key that opens its boot menu.
    #[arg(long, help_heading = "Boot")]
    boot_menu: bool,
    /// Kernel to load directly.
    #[arg(long, value_name = "PATH", help_heading = "Boot")]
    kernel: Option<DiskPath>,
    /// Its first file system.
    #[arg(long, value_name = "PATH", requires = "kernel", help_heading = "Boot")]
    initrd: Option<DiskPath>,
    /// Its arguments.
    #[arg(long, value_name = "TEXT", requires = "kernel", help_heading = "Boot")]
    cmdline: Option<KernelCmdline>,
    /// Start it when it is made.
    #[arg(long, help_heading = "Boot")]
    start: bool,
    /// Start it, but do not let its CPUs run yet.
    #[arg(long, conflicts_with = "start", help_heading = "Boot")]
    start_paused: bool,
    /// Start it when its host boots.
    #[arg(long, help_heading = "Boot")]
    autostart: bool,

    /// One line about it.
    #[arg(long, value_name = "TEXT", help_heading = "Notes")]
    title: Option<Title>,
    /// Any number of lines about it.
    #[arg(long, value_name = "TEXT", help_heading = "Notes")]
    description: Option<Description>,
    /// Tag: a word or key=value; may be repeated.
    #[arg(long, value_name = "TAG", help_heading = "Notes")]
    tag: Vec<Tag>,
    /// Protect it against deletion.
    #[arg(long, help_heading = "Notes")]
    protect: bool,
}

/// A network device, or the wish for none.
#[derive(Clone, Debug)]
enum Nic {
    None,
    One(NicSpec),
}

fn nic(text: &str) -> Result<Nic> {
    match text {
        "none" => Ok(Nic::None),
        text => text.parse().map(Nic::One),
    }
}

impl Flags {
    /// Whether it starts with its host.
    pub(super) fn autostart(&self) -> Autostart {
        if self.autostart { Autostart::On } else { Autostart::Off }
    }

    /// Whether it is started at once.
    pub(super) fn start(&self) -> Start {
        match (self.start, self.start_paused) {
            (_, true) => Start::Paused,
            (true, false) => Start::Yes,
            (false, false) => Start::No,
        }
    }

    /// With an XML document only what a document does not say may be said.
    pub(super) fn only_what_xml_does_not_say(&self) -> Result<()> {
        let mut spec = CreateSpec::new("x".parse()?);
        let untouched = spec.clone();
        Self { autostart: false, start: false, start_paused: false, ..self.clone() }.apply_to(&mut spec);
        match spec == untouched {
            true => Ok(()),
            false => Err(Error::invalid(
                "from-xml",
                "the XML says what the VM is like; only --start, --start-paused and --autostart go with it",
            )),
        }
    }

    /// Puts what was said over what a specification says.
    pub(super) fn apply_to(self, spec: &mut CreateSpec) {
        let (autostart, start) = (self.autostart(), self.start());
        set(&mut spec.memory, self.memory);
        set(&mut spec.os, self.os);
        set(&mut spec.graphics, self.graphics);
        set_some(&mut spec.vcpus, self.vcpus);
        set_some(&mut spec.max_vcpus, self.max_vcpus);
        set_some(&mut spec.max_memory, self.max_memory);
        set_some(&mut spec.memory_slots, self.memory_slots);
        set_some(&mut spec.topology, self.topology);
        set_some(&mut spec.hugepages, self.hugepages);
        if !self.numa.is_empty() {
            spec.numa.clone_from(&self.numa);
        }
        set_some(&mut spec.numa_nodes, self.numa_nodes.clone());
        set_some(&mut spec.numa_mode, self.numa_mode);
        set_some(&mut spec.firmware, self.firmware);
        set_some(&mut spec.cpu, self.cpu);
        set_some(&mut spec.arch, self.arch);
        set_some(&mut spec.machine, self.machine);
        set_some(&mut spec.uuid, self.uuid);
        set_some(&mut spec.iso, self.iso);
        set_some(&mut spec.title, self.title);
        set_some(&mut spec.description, self.description);
        spec.tpm |= self.tpm;
        spec.boot_menu |= self.boot_menu;
        spec.allow_overcommit |= self.allow_overcommit;
        spec.disks.extend(self.disk);
        spec.devices.extend(self.device);
        spec.tags.extend(self.tag);
        if !self.boot.is_empty() {
            spec.boot = self.boot;
        }
        if !self.network.is_empty() {
            let nics = self.network.into_iter().filter_map(|nic| match nic {
                Nic::None => None,
                Nic::One(nic) => Some(nic),
            });
            spec.nics = Some(nics.collect());
        }
        if let Some(kernel) = self.kernel {
            spec.kernel = Some(KernelSpec { kernel, initrd: self.initrd, cmdline: self.cmdline });
        }
        if start != Start::No {
            spec.start = start;
        }
        if autostart == Autostart::On {
            spec.autostart = autostart;
        }
        if self.protect {
            spec.protection = Protection::On;
        }
    }
}

fn set<T>(field: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *field = said;
    }
}

fn set_some<T>(field: &mut Option<T>, said: Option<T>) {
    if said.is_some() {
        *field = said;
    }
}
