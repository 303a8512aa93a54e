//! Devices that come and go, virtual CPUs and memory.

use async_trait::async_trait;
use jiff::Timestamp;
use kvm_core::{
    Bytes, CpuLimits, Device, DeviceRef, Devices, DiskLimits, Error, ErrorKind, HostDeviceRef, Impact, IoThread,
    IoThreadChange, MemoryPlacement, Peripheral, Resource, Result, VcpuCount, VmChange, VmId, VmThread, Which,
};
use kvm_xml::Domain;
use kvm_xml::domain::{
    ControllerType, Disk, DiskBus, DiskDevice, InterfaceTarget, Iothread, IothreadIds, IothreadPin, VcpuPin,
    WatchdogModel,
};
use kvm_xml::value::{CpuSet, DiskName, Memory, Unit};

use crate::capability;
use crate::document;
use crate::fault::Method;
use crate::image;
use crate::machine::Machine;
use crate::mock::Mock;
use crate::world::World;

#[async_trait]
impl Devices for Mock {
    async fn attach(&self, vm: &VmId, device: &Device, impact: Impact) -> Result<()> {
        let key = device.key()?;
        self.change(Method::AttachDevice, vm, |world, now| {
            let machine = world.machine(vm)?;
            for document in documents(machine, impact)? {
                if key.find(document).is_some() {
                    return Err(Error::new(ErrorKind::AlreadyExists, format!("VM has {key} already")).on(on(vm)));
                }
            }
            if impact.reaches(Which::Live) {
                can_plug(device)?;
                world.can_reach(vm, device)?;
            }
            world.plug(vm, device, impact, now)
        })
        .await
    }

    async fn detach(&self, vm: &VmId, device: &DeviceRef, impact: Impact) -> Result<()> {
        self.change(Method::DetachDevice, vm, |world, now| {
            for present in find(world.machine(vm)?, vm, device, impact)? {
                if impact.reaches(Which::Live) && is_wired(&present) {
                    let text = "this device cannot be taken out of a running machine";
                    return Err(Error::new(ErrorKind::Unsupported, text).on(on(vm)));
                }
            }
            let machine = world.machine_mut(vm)?;
            if impact.reaches(Which::Config) {
                device.take_out(machine.document_mut(Which::Config)?);
            }
            if impact.reaches(Which::Live) {
                let changes = machine.unplug(device, now);
                world.happened(vm, changes, now);
            }
            Ok(())
        })
        .await
    }

    async fn update(&self, vm: &VmId, device: &Device, impact: Impact) -> Result<()> {
        let key = device.key()?;
        self.change(Method::UpdateDevice, vm, |world, _| {
            let present = find(world.machine(vm)?, vm, &key, impact)?;
            if impact.reaches(Which::Live) {
                for present in &present {
                    can_change(present, device)?;
                }
                world.can_reach(vm, device)?;
            }
            let machine = world.machine_mut(vm)?;
            for which in impact.documents() {
                let document = machine.document_mut(*which)?;
                let Some(present) = key.find(document) else { continue };
                in_place_of(&present, device).put_into(document)?;
            }
            Ok(())
        })
        .await
    }

    async fn set_vcpus(&self, vm: &VmId, count: VcpuCount, impact: Impact) -> Result<()> {
        self.change(Method::SetVcpus, vm, |world, _| {
            for document in documents(world.machine(vm)?, impact)? {
                let most = document::max_vcpus(document);
                if count.get() > most {
                    return Err(Error::invalid("vcpus", format!("VM has {most} virtual CPUs at most")).on(on(vm)));
                }
            }
            change(world.machine_mut(vm)?, impact, |document| {
                let vcpu = document.vcpu.get_or_insert_default();
                let count = u16::try_from(count.get()).ok();
                vcpu.current = count.filter(|_| vcpu.value != count);
            })
        })
        .await
    }

    async fn set_memory(&self, vm: &VmId, memory: Bytes, impact: Impact) -> Result<()> {
        self.change(Method::SetMemory, vm, |world, now| {
            for document in documents(world.machine(vm)?, impact)? {
                let most = document::max_memory(document).unwrap_or_default();
                if memory > most || memory.kib() == 0 {
                    return Err(Error::invalid("memory", format!("VM has from 1 KiB to {most}")).on(on(vm)));
                }
            }
            change(world.machine_mut(vm)?, impact, |document| {
                document.current_memory = Some(Memory::new(memory.kib(), Unit::KiB));
            })?;
            if impact.reaches(Which::Live) {
                world.happened(vm, [VmChange::BalloonChanged], now);
            }
            Ok(())
        })
        .await
    }

    async fn resize_disk(&self, vm: &VmId, disk: &DiskName, size: Bytes) -> Result<()> {
        self.change(Method::ResizeDisk, vm, |world, _| {
            let live = world.machine(vm)?.document(Which::Live)?;
            let key = DeviceRef::Disk(disk.clone());
            let found = document::disks(live).into_iter().find(|found| found.target == disk.as_str());
            let found = found.ok_or_else(|| missing(vm, &key))?;
            let file = found.path.and_then(|path| world.files.get_mut(&path));
            let file = file.ok_or_else(|| {
                Error::new(ErrorKind::InvalidState, format!("there is no image behind {key}")).on(on(vm))
            })?;
            let present = Bytes::new(image::probe(file).capacity);
            if size <= present {
                return Err(Error::invalid("size", format!("{key} has {present} already, and only grows")));
            }
            image::grow(file, size.get());
            Ok(())
        })
        .await
    }

    async fn pin(&self, vm: &VmId, thread: VmThread, cpus: &CpuSet, impact: Impact) -> Result<()> {
        self.change(Method::Pin, vm, |world, _| {
            for document in documents(world.machine(vm)?, impact)? {
                thread.check_pin(document, cpus, world.host.cpus).map_err(|e| e.on(on(vm)))?;
            }
            change(world.machine_mut(vm)?, impact, |document| pin(document, thread, cpus))
        })
        .await
    }

    async fn limit_cpu(&self, vm: &VmId, limits: &CpuLimits, impact: Impact) -> Result<()> {
        self.change(Method::LimitCpu, vm, |world, _| {
            documents(world.machine(vm)?, impact)?;
            change(world.machine_mut(vm)?, impact, |document| limit(document, limits))
        })
        .await
    }

    async fn place_memory(&self, vm: &VmId, placement: &MemoryPlacement, impact: Impact) -> Result<()> {
        self.change(Method::PlaceMemory, vm, |world, _| {
            let host = capability::numa(&world.host);
            for (document, which) in documents(world.machine(vm)?, impact)?.into_iter().zip(impact.documents()) {
                placement.check(document, *which, &host).map_err(|e| e.on(on(vm)))?;
            }
            change(world.machine_mut(vm)?, impact, |document| placement.put_into(document))
        })
        .await
    }

    async fn change_iothread(&self, vm: &VmId, thread: IoThread, wanted: IoThreadChange, impact: Impact) -> Result<()> {
        self.change(Method::ChangeIothread, vm, |world, _| {
            for document in documents(world.machine(vm)?, impact)? {
                wanted.check(thread, document).map_err(|e| e.on(on(vm)))?;
            }
            change(world.machine_mut(vm)?, impact, |document| change_thread(document, thread, wanted))
        })
        .await
    }

    async fn limit_disk(&self, vm: &VmId, disk: &DiskName, limits: &DiskLimits, impact: Impact) -> Result<()> {
        limits.check()?;
        let key = DeviceRef::Disk(disk.clone());
        self.change(Method::LimitDisk, vm, |world, _| {
            find(world.machine(vm)?, vm, &key, impact)?;
            let machine = world.machine_mut(vm)?;
            for which in impact.documents() {
                let document = machine.document_mut(*which)?;
                let Some(Device::Disk(mut disk)) = key.find(document) else { continue };
                disk.iotune = limits.document();
                Device::Disk(disk).put_into(document)?;
            }
            Ok(())
        })
        .await
    }
}

fn change_thread(document: &mut Domain, thread: IoThread, change: IoThreadChange) {
    let present = (1..=1024).filter(|number| VmThread::IoThread(*number).is_in(document));
    let mut numbers: Vec<u32> = present.collect();
    match change {
        IoThreadChange::Add => numbers.push(thread.get()),
        IoThreadChange::Remove => numbers.retain(|number| *number != thread.get()),
    }
    document.iothreads = u32::try_from(numbers.len()).ok().filter(|count| *count > 0);
    let iothread = numbers.into_iter().map(|id| Iothread { id: Some(id), ..Iothread::default() }).collect();
    document.iothreadids = document.iothreads.map(|_| IothreadIds { iothread, ..IothreadIds::default() });
}

fn pin(document: &mut Domain, thread: VmThread, cpus: &CpuSet) {
    let (tune, cpuset) = (document.cputune.get_or_insert_default(), Some(cpus.clone()));
    match thread {
        VmThread::Vcpu(number) => {
            let vcpu = u16::try_from(number).ok();
            tune.vcpupin.retain(|pin| pin.vcpu != vcpu);
            tune.vcpupin.push(VcpuPin { vcpu, cpuset, ..VcpuPin::default() });
            tune.vcpupin.sort_by_key(|pin| pin.vcpu);
        }
        VmThread::Emulator => tune.emulatorpin.get_or_insert_default().cpuset = cpuset,
        VmThread::IoThread(number) => {
            tune.iothreadpin.retain(|pin| pin.iothread != Some(number));
            tune.iothreadpin.push(IothreadPin { iothread: Some(number), cpuset, ..IothreadPin::default() });
            tune.iothreadpin.sort_by_key(|pin| pin.iothread);
        }
    }
}

fn limit(document: &mut Domain, limits: &CpuLimits) {
    let tune = document.cputune.get_or_insert_default();
    if let Some(shares) = limits.shares {
        tune.shares = Some(shares.get());
    }
    if let Some(period) = limits.period {
        tune.period = u64::try_from(period.get().as_micros()).ok();
    }
    if let Some(quota) = limits.quota {
        tune.quota = Some(quota.get().map_or(-1, |quota| i64::try_from(quota.as_micros()).unwrap_or(i64::MAX)));
    }
}

impl World {
    /// Whether what is behind a device is there.
    fn can_reach(&self, vm: &VmId, device: &Device) -> Result<()> {
        let refuse = |why: String| {
            let error = Error::new(ErrorKind::InvalidState, "the host cannot reach what is behind the device");
            Err(error.on(on(vm)).with_detail(why))
        };
        let mut alone = Domain::default();
        device.put_into(&mut alone)?;
        if let Some(why) = self.missing_image(&alone) {
            return refuse(why);
        }
        if let Device::Peripheral(Peripheral::Hostdev(device)) = device
            && let Some(device) = HostDeviceRef::of(device)
            && let Some(why) = self.cannot_give(vm, device)
        {
            return refuse(why);
        }
        for name in document::nics(&alone).into_iter().filter_map(|nic| nic.network) {
            if !self.networks.get(&name).is_some_and(|network| network.active) {
                return refuse(format!("network {name} is not active"));
            }
        }
        Ok(())
    }

    fn plug(&mut self, vm: &VmId, device: &Device, impact: Impact, now: Timestamp) -> Result<()> {
        let tap = impact.reaches(Which::Live).then(|| self.counters.tap());
        let machine = self.machine_mut(vm)?;
        if impact.reaches(Which::Config) {
            device.put_into(machine.document_mut(Which::Config)?)?;
        }
        let Some(tap) = tap else { return Ok(()) };
        let mut live = device.clone();
        if let Device::Interface(interface) = &mut live {
            interface.target.get_or_insert_with(InterfaceTarget::default).dev.get_or_insert(tap);
        }
        live.put_into(machine.document_mut(Which::Live)?)?;
        let (name, wanted) = (machine.name.as_str().to_owned(), machine.guest.addresses.clone());
        let mut alone = Domain::default();
        live.put_into(&mut alone)?;
        for nic in document::nics(&alone) {
            if let Some(network) = nic.network.as_ref().and_then(|name| self.networks.get_mut(name)) {
                network.plug(vm, &name, nic.mac, wanted.get(&nic.mac).copied(), now);
            }
        }
        self.happened(vm, [VmChange::DeviceAdded], now);
        Ok(())
    }
}

/// The documents that a change is to reach; all have to be there.
fn documents(machine: &Machine, impact: Impact) -> Result<Vec<&Domain>> {
    impact.documents().iter().map(|which| machine.document(*which)).collect()
}

/// Changes each of the documents.
fn change(machine: &mut Machine, impact: Impact, work: impl Fn(&mut Domain)) -> Result<()> {
    for which in impact.documents() {
        work(machine.document_mut(*which)?);
    }
    Ok(())
}

/// The device in each of the documents.
fn find(machine: &Machine, vm: &VmId, device: &DeviceRef, impact: Impact) -> Result<Vec<Device>> {
    let found = |document: &Domain| device.find(document).ok_or_else(|| missing(vm, device));
    documents(machine, impact)?.into_iter().map(found).collect()
}

/// What QEMU wires for good when it starts.
fn is_wired(device: &Device) -> bool {
    match device {
        Device::Graphics(_) | Device::Peripheral(Peripheral::Sound(_)) => true,
        Device::Peripheral(Peripheral::Controller(controller)) => controller.r#type != Some(ControllerType::Scsi),
        Device::Peripheral(Peripheral::Watchdog(watchdog)) => watchdog.model != Some(WatchdogModel::I6300esb),
        _ => false,
    }
}

/// Whether QEMU plugs such a device into a running machine: some buses are wired for good, and so are some devices.
fn can_plug(device: &Device) -> Result<()> {
    if is_wired(device) {
        return Err(Error::new(ErrorKind::Unsupported, "this device cannot be plugged into a running machine"));
    }
    let Device::Disk(disk) = device else { return Ok(()) };
    match disk.bus() {
        Some(DiskBus::Ide | DiskBus::Sata | DiskBus::Fdc) => {
            Err(Error::new(ErrorKind::Unsupported, "disks on this bus cannot be plugged into a running machine"))
        }
        _ => Ok(()),
    }
}

/// Whether a device may become that while the machine runs: only drives have a medium that changes, and QEMU asks for no
/// password where it did not from the start.
fn can_change(present: &Device, wanted: &Device) -> Result<()> {
    if let (Device::Graphics(present), Device::Graphics(wanted)) = (present, wanted) {
        return match present.passwd.is_none() && wanted.passwd.is_some() {
            true => Err(Error::new(ErrorKind::InvalidState, "the screen was started without a password")),
            false => Ok(()),
        };
    }
    let (Device::Disk(present), Device::Disk(wanted)) = (present, wanted) else { return Ok(()) };
    let is_drive = matches!(present.device, Some(DiskDevice::Cdrom | DiskDevice::Floppy));
    if is_drive || path(present) == path(wanted) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unsupported, "the image of a hard disk cannot change while the machine runs"))
}

fn path(disk: &Disk) -> Option<&str> {
    let source = disk.source.as_ref()?;
    source.file.as_deref().or(source.dev.as_deref())
}

/// The device with what the host has chosen for the one that it replaces.
fn in_place_of(present: &Device, wanted: &Device) -> Device {
    let mut device = wanted.clone();
    match (&mut device, present) {
        (Device::Disk(disk), Device::Disk(present)) => {
            disk.alias.clone_from(&present.alias);
            disk.address.clone_from(&present.address);
        }
        (Device::Interface(interface), Device::Interface(present)) => {
            interface.alias.clone_from(&present.alias);
            interface.address.clone_from(&present.address);
            interface.target.clone_from(&present.target);
        }
        _ => {}
    }
    device
}

fn missing(vm: &VmId, device: &DeviceRef) -> Error {
    Error::new(ErrorKind::NotFound, format!("VM has no {device}")).on(on(vm))
}

fn on(vm: &VmId) -> Resource {
    Resource::Vm(vm.to_string())
}
