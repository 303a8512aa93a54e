//! Short ways to what people make by hand. Each sets what its name says; the rest is for struct update:
//! `Disk { serial: Some("A1".into()), ..Disk::file(name, "/a.qcow2", DiskFormat::Qcow2) }`.

use super::{
    Channel, ChannelTarget, ChannelTargetType, CharType, DeviceBoot, Disk, DiskBus, DiskDevice, DiskDriver, DiskFormat,
    DiskSource, DiskTarget, DiskType, Domain, DomainMemory, DomainType, Graphics, GraphicsType, Interface,
    InterfaceModel, InterfaceSource, InterfaceType, Os, OsType, OsTypeName, Serial, Vcpu,
};
use crate::value::{DiskName, Memory, YesNo};

impl Domain {
    /// A machine that runs on KVM, for the host's architecture, with libvirt's defaults for all that is not said.
    #[must_use]
    pub fn kvm(name: impl Into<String>) -> Self {
        Self::of_type(DomainType::Kvm, name)
    }

    /// As [`kvm`](Self::kvm), on a hypervisor of another kind.
    #[must_use]
    pub fn of_type(r#type: DomainType, name: impl Into<String>) -> Self {
        let kind = OsType { value: Some(OsTypeName::Hvm), ..OsType::default() };
        Self {
            r#type: Some(r#type),
            name: Some(name.into()),
            os: Some(Os { r#type: Some(kind), ..Os::default() }),
            ..Self::default()
        }
    }

    /// Gives it this much memory.
    #[must_use]
    pub fn memory(self, memory: Memory) -> Self {
        let Memory { unit, value, _extra } = memory;
        Self { memory: Some(DomainMemory { unit, value, dump_core: None, _extra }), ..self }
    }

    /// Gives it this many virtual CPUs.
    #[must_use]
    pub fn vcpus(self, count: u16) -> Self {
        Self { vcpu: Some(Vcpu { value: Some(count), ..Vcpu::default() }), ..self }
    }

    /// Adds a disk behind the others.
    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.devices_mut().disk.push(disk);
        self
    }

    /// Adds a network interface behind the others.
    #[must_use]
    pub fn interface(mut self, interface: Interface) -> Self {
        self.devices_mut().interface.push(interface);
        self
    }
}

impl Disk {
    /// An image file. The bus is libvirt's choice for the name (`vda` is virtio); see [`on`](Self::on).
    #[must_use]
    pub fn file(name: DiskName, path: impl Into<String>, format: DiskFormat) -> Self {
        let source = DiskSource { file: Some(path.into()), ..DiskSource::default() };
        Self { driver: Some(driver(format)), ..Self::of(name, DiskType::File, Some(source)) }
    }

    /// A block device of the host, as it is.
    #[must_use]
    pub fn block(name: DiskName, path: impl Into<String>) -> Self {
        let source = DiskSource { dev: Some(path.into()), ..DiskSource::default() };
        Self { driver: Some(driver(DiskFormat::Raw)), ..Self::of(name, DiskType::Block, Some(source)) }
    }

    /// A volume of a storage pool.
    #[must_use]
    pub fn volume(name: DiskName, pool: impl Into<String>, volume: impl Into<String>, format: DiskFormat) -> Self {
        let source = DiskSource { pool: Some(pool.into()), volume: Some(volume.into()), ..DiskSource::default() };
        Self { driver: Some(driver(format)), ..Self::of(name, DiskType::Volume, Some(source)) }
    }

    /// A CD-ROM drive with this image in it, or an empty one. Not every bus has one: SATA and SCSI do.
    #[must_use]
    pub fn cdrom(name: DiskName, path: Option<String>) -> Self {
        let source = path.map(|path| DiskSource { file: Some(path), ..DiskSource::default() });
        Self {
            device: Some(DiskDevice::Cdrom),
            driver: Some(driver(DiskFormat::Raw)),
            readonly: true,
            ..Self::of(name, DiskType::File, source)
        }
    }

    /// Puts it on this bus.
    #[must_use]
    pub fn on(mut self, bus: DiskBus) -> Self {
        self.target.get_or_insert_default().bus = Some(bus);
        self
    }

    fn of(name: DiskName, r#type: DiskType, source: Option<DiskSource>) -> Self {
        let bus = name.default_bus();
        Self {
            r#type: Some(r#type),
            device: Some(DiskDevice::Disk),
            source,
            target: Some(DiskTarget { dev: Some(name), bus: Some(bus), ..DiskTarget::default() }),
            ..Self::default()
        }
    }
}

fn driver(format: DiskFormat) -> DiskDriver {
    DiskDriver { name: Some("qemu".into()), r#type: Some(format), ..DiskDriver::default() }
}

impl DeviceBoot {
    /// This turn in the boot order, from 1.
    #[must_use]
    pub fn turn(order: u32) -> Self {
        Self { order: Some(order), ..Self::default() }
    }
}

impl Interface {
    /// A virtio interface on a virtual network. libvirt chooses the MAC address.
    #[must_use]
    pub fn network(network: impl Into<String>) -> Self {
        let source = InterfaceSource { network: Some(network.into()), ..InterfaceSource::default() };
        Self::of(InterfaceType::Network, Some(source))
    }

    /// A virtio interface on a bridge of the host. libvirt chooses the MAC address.
    #[must_use]
    pub fn bridge(bridge: impl Into<String>) -> Self {
        let source = InterfaceSource { bridge: Some(bridge.into()), ..InterfaceSource::default() };
        Self::of(InterfaceType::Bridge, Some(source))
    }

    /// A virtio interface that reaches the outside through the host's user space. libvirt chooses the MAC address.
    #[must_use]
    pub fn user() -> Self {
        Self::of(InterfaceType::User, None)
    }

    fn of(r#type: InterfaceType, source: Option<InterfaceSource>) -> Self {
        let model = InterfaceModel { r#type: Some("virtio".into()), ..InterfaceModel::default() };
        Self { r#type: Some(r#type), source, model: Some(model), ..Self::default() }
    }
}

impl Graphics {
    /// A VNC server on a port that libvirt chooses, for the host itself only.
    #[must_use]
    pub fn vnc() -> Self {
        Self {
            r#type: Some(GraphicsType::Vnc),
            autoport: Some(YesNo::Yes),
            listen: Some("127.0.0.1".into()),
            ..Self::default()
        }
    }
}

impl Serial {
    /// A serial port, parallel port or console on a pseudo terminal of the host.
    #[must_use]
    pub fn pty() -> Self {
        Self { r#type: Some(CharType::Pty), ..Self::default() }
    }
}

impl Channel {
    /// The channel of the QEMU guest agent.
    #[must_use]
    pub fn guest_agent() -> Self {
        Self {
            r#type: Some(CharType::Unix),
            target: Some(ChannelTarget {
                r#type: Some(ChannelTargetType::Virtio),
                name: Some("org.qemu.guest_agent.0".into()),
                ..ChannelTarget::default()
            }),
            ..Self::default()
        }
    }
}
