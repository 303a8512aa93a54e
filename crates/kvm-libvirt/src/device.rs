//! Devices that come and go, virtual CPUs and memory.

use async_trait::async_trait;
use kvm_core::{
    Bytes, CpuLimits, Device, DeviceRef, Devices, DiskLimits, Error, ErrorKind, Impact, IoThread, IoThreadChange,
    MemoryPlacement, Result, VcpuCount, VmId, VmThread, Which,
};
use kvm_xml::domain::{Interface, InterfaceSource, NumatuneMode};
use kvm_xml::value::{CpuSet, DiskName};
use kvm_xml::{Document as _, Domain};
use virt::domain::{NUMAParameters, SchedBandwidth, SchedulerInfo};
use virt::sys;

use crate::document::{self, looked_again};
use crate::error::LibvirtError;
use crate::ffi::block_job::text;
use crate::ffi::io_tune;
use crate::ffi::pin::{add_iothread, pin_iothread, remove_iothread};
use crate::libvirt::{Libvirt, vm_resource};
use crate::machine::Machine;
use crate::task::{Failure, Task};

#[async_trait]
impl Devices for Libvirt {
    async fn attach(&self, vm: &VmId, device: &Device, impact: Impact) -> Result<()> {
        let (id, key, xml) = (*vm, device.key()?, device.to_xml());
        self.work("attach a device to", vm_resource(&id), move |task| {
            let machine = task.machine(&id)?;
            let check = || {
                let taken = documents(task, &machine, impact)?.iter().any(|document| key.find(document).is_some());
                let message = || format!("{} has {key} already", task.resource());
                if taken { Err(task.error(ErrorKind::AlreadyExists, message()).into()) } else { Ok(()) }
            };
            check()?;
            let attached = machine.domain.attach_device_flags(&xml, flags(impact));
            attached.map_err(|e| looked_again(e, check, |e| refused(task, e)))
        })
        .await
    }

    async fn detach(&self, vm: &VmId, device: &DeviceRef, impact: Impact) -> Result<()> {
        let (id, key) = (*vm, device.clone());
        self.work("detach a device from", vm_resource(&id), move |task| {
            let machine = task.machine(&id)?;
            let check = || find(task, &machine, &key, impact);
            let present = check()?;
            let detached = machine.domain.detach_device_flags(&pointer(present), flags(impact));
            let kept = |e: LibvirtError| match e.is(sys::VIR_ERR_OPERATION_FAILED) && !task.session().is_lost() {
                // It was asked, and has answered before libvirt did.
                true => task.invalid_state(format!("does not give up {key}")).with_source(e).into(),
                false => refused(task, e),
            };
            detached.map_err(|e| looked_again(e, || check().map(drop), kept))
        })
        .await
    }

    async fn update(&self, vm: &VmId, device: &Device, impact: Impact) -> Result<()> {
        let (id, key, xml, device) = (*vm, device.key()?, device.to_xml(), device.clone());
        self.work("update a device of", vm_resource(&id), move |task| {
            let machine = task.machine(&id)?;
            let check = || {
                find(task, &machine, &key, impact)?;
                can_have_password(task, &machine, &device, impact)
            };
            check()?;
            let updated = machine.domain.update_device_flags(&xml, flags(impact));
            updated.map_err(|e| looked_again(e, check, |e| refused(task, e)))
        })
        .await
    }

    async fn set_vcpus(&self, vm: &VmId, count: VcpuCount, impact: Impact) -> Result<()> {
        let id = *vm;
        self.work("set the virtual CPUs of", vm_resource(&id), move |task| {
            let machine = task.machine(&id)?;
            let check = || {
                let most = documents(task, &machine, impact)?.iter().filter_map(most_vcpus).min();
                match most.filter(|most| count.get() > *most) {
                    Some(most) => {
                        Err(Error::invalid("vcpus", format!("more than the {most} that there can be")).into())
                    }
                    None => Ok(()),
                }
            };
            check()?;
            let set = |impact| machine.domain.set_vcpus_flags(count.get(), flags(impact)).map_err(LibvirtError::from);
            match (set(impact), impact) {
                // The guest was asked, and does what it likes. The configuration has to wait no longer.
                (Err(e), Impact::Both) if e.is(sys::VIR_ERR_OPERATION_TIMEOUT) => Ok(set(Impact::Config)?),
                (Err(e), _) if e.is(sys::VIR_ERR_OPERATION_TIMEOUT) => Ok(()),
                (set, _) => set.map_err(|e| looked_again(e, check, |e| refused(task, e))),
            }
        })
        .await
    }

    async fn set_memory(&self, vm: &VmId, memory: Bytes, impact: Impact) -> Result<()> {
        let id = *vm;
        self.work("set the memory of", vm_resource(&id), move |task| {
            let machine = task.machine(&id)?;
            let check = || {
                let most = documents(task, &machine, impact)?.iter().filter_map(most_memory).min();
                let fits = memory.kib() > 0 && most.is_none_or(|most| memory <= most);
                let message =
                    || most.map_or_else(|| "too little".to_owned(), |most| format!("not from 1 KiB to {most}"));
                if fits { Ok(()) } else { Err(Error::invalid("memory", message()).into()) }
            };
            check()?;
            let set = machine.domain.set_memory_flags(memory.kib(), flags(impact));
            set.map_err(|e| looked_again(e, check, |e| refused(task, e)))
        })
        .await
    }

    async fn resize_disk(&self, vm: &VmId, disk: &DiskName, size: Bytes) -> Result<()> {
        let (id, disk) = (*vm, disk.clone());
        self.work("resize a disk of", vm_resource(&id), move |task| {
            let machine = task.machine(&id)?;
            find_disk(task, &machine, &disk)?;
            let present = Bytes::new(machine.domain.block_info(disk.as_str(), 0)?.capacity);
            if size <= present {
                let message = format!("disk {disk} has {present} already, and only grows");
                return Err(Error::invalid("size", message).into());
            }
            let resized = machine.domain.block_resize(disk.as_str(), size.get(), sys::VIR_DOMAIN_BLOCK_RESIZE_BYTES);
            resized.map_err(|e| looked_again(e, || find_disk(task, &machine, &disk), |e| refused(task, e)))
        })
        .await
    }

    async fn pin(&self, vm: &VmId, thread: VmThread, cpus: &CpuSet, impact: Impact) -> Result<()> {
        let (id, cpus) = (*vm, cpus.clone());
        self.work("pin a thread of", vm_resource(&id), move |task| {
            let machine = task.machine(&id)?;
            let host_cpus = task.connection().node_info()?.cpus;
            let check = || -> Result<(), Failure> {
                for document in documents(task, &machine, impact)? {
                    thread.check_pin(&document, &cpus, host_cpus)?;
                }
                Ok(())
            };
            check()?;
            let (map, domain) = (cpu_map(&cpus, host_cpus), &machine.domain);
            let pinned = match thread {
                VmThread::Vcpu(number) => domain.pin_vcpu_flags(number, &map, flags(impact)).map_err(Into::into),
                VmThread::Emulator => domain.pin_emulator(&map, flags(impact)).map_err(Into::into),
                VmThread::IoThread(number) => pin_iothread(domain, number, &map, flags(impact)),
            };
            pinned.map_err(|e: LibvirtError| looked_again(e, check, |e| refused(task, e)))
        })
        .await
    }

    async fn limit_cpu(&self, vm: &VmId, limits: &CpuLimits, impact: Impact) -> Result<()> {
        let (id, limits) = (*vm, *limits);
        self.work("limit the CPU time of", vm_resource(&id), move |task| {
            let machine = task.machine(&id)?;
            let check = || documents(task, &machine, impact).map(drop);
            check()?;
            let set = machine.domain.set_scheduler_parameters_flags(&parameters(&limits), flags(impact));
            set.map_err(|e| {
                looked_again(e, check, |e| match e {
                    // The host's control groups say which numbers they take.
                    e if e.is(sys::VIR_ERR_INVALID_ARG) || e.os_error() == Some(libc::EINVAL) => {
                        Error::invalid("cpu", "this host does not take these shares, this period or this quota")
                            .with_source(e)
                            .into()
                    }
                    e => refused(task, e),
                })
            })
        })
        .await
    }

    async fn place_memory(&self, vm: &VmId, placement: &MemoryPlacement, impact: Impact) -> Result<()> {
        let (id, placement) = (*vm, placement.clone());
        self.work("place the memory of", vm_resource(&id), move |task| {
            let machine = task.machine(&id)?;
            let host = crate::capability::read(task)?.numa;
            let check = || -> Result<(), Failure> {
                for (document, which) in documents(task, &machine, impact)?.iter().zip(impact.documents()) {
                    placement.check(document, *which, &host)?;
                }
                Ok(())
            };
            check()?;
            let set = machine.domain.set_numa_parameters(numa_parameters(&placement), flags(impact));
            set.map_err(|e| looked_again(e, check, |e| refused(task, e)))
        })
        .await
    }

    async fn limit_disk(&self, vm: &VmId, disk: &DiskName, limits: &DiskLimits, impact: Impact) -> Result<()> {
        limits.check()?;
        let (id, disk, limits) = (*vm, disk.clone(), disk_limits(limits));
        self.work("limit a disk of", vm_resource(&id), move |task| {
            let machine = task.machine(&id)?;
            let check = || find(task, &machine, &DeviceRef::Disk(disk.clone()), impact).map(drop);
            check()?;
            let set = io_tune::set(&machine.domain, &text(disk.as_str()), &limits, flags(impact));
            set.map_err(|e| looked_again(e, check, |e| refused(task, e)))
        })
        .await
    }

    async fn change_iothread(&self, vm: &VmId, thread: IoThread, change: IoThreadChange, impact: Impact) -> Result<()> {
        let id = *vm;
        self.work("change the I/O threads of", vm_resource(&id), move |task| {
            let machine = task.machine(&id)?;
            let check = || -> Result<(), Failure> {
                let documents = documents(task, &machine, impact)?;
                Ok(documents.iter().try_for_each(|document| change.check(thread, document))?)
            };
            check()?;
            let changed = match change {
                IoThreadChange::Add => add_iothread(&machine.domain, thread.get(), flags(impact)),
                IoThreadChange::Remove => remove_iothread(&machine.domain, thread.get(), flags(impact)),
            };
            changed.map_err(|e| looked_again(e, check, |e| refused(task, e)))
        })
        .await
    }
}

/// All limits of a disk: what is not named keeps what it had, so bursts end together with what they exceed.
fn disk_limits(limits: &DiskLimits) -> Vec<(&'static str, u64)> {
    const BURSTS: [&str; 6] = [
        "total_bytes_sec_max",
        "read_bytes_sec_max",
        "write_bytes_sec_max",
        "total_iops_sec_max",
        "read_iops_sec_max",
        "write_iops_sec_max",
    ];
    limits.named().into_iter().chain(BURSTS.map(|burst| (burst, 0))).collect()
}

/// A bit for each of the host's CPUs, as libvirt wants them.
fn cpu_map(cpus: &CpuSet, host_cpus: u32) -> Vec<u8> {
    let mut map = vec![0_u8; host_cpus.div_ceil(8) as usize];
    for cpu in cpus.iter(host_cpus) {
        if let Some(byte) = map.get_mut(cpu as usize / 8) {
            *byte |= 1 << (cpu % 8);
        }
    }
    map
}

/// The limits under libvirt's names; what is left out stays.
fn parameters(limits: &CpuLimits) -> SchedulerInfo {
    let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    // Any negative number lifts the limit.
    let quota =
        |quota: kvm_core::CpuQuota| quota.get().map_or(-1, |time| i64::try_from(micros(time)).unwrap_or(i64::MAX));
    SchedulerInfo {
        cpu_shares: limits.shares.map(|shares| shares.get().into()),
        vcpu_bw: SchedBandwidth {
            period: limits.period.map(|period| micros(period.get())),
            quota: limits.quota.map(quota),
        },
        ..SchedulerInfo::default()
    }
}

/// The placement under libvirt's names; what is left out stays.
fn numa_parameters(placement: &MemoryPlacement) -> NUMAParameters {
    let mode = |mode| match mode {
        NumatuneMode::Strict => sys::VIR_DOMAIN_NUMATUNE_MEM_STRICT,
        NumatuneMode::Preferred => sys::VIR_DOMAIN_NUMATUNE_MEM_PREFERRED,
        NumatuneMode::Interleave => sys::VIR_DOMAIN_NUMATUNE_MEM_INTERLEAVE,
        NumatuneMode::Restrictive => sys::VIR_DOMAIN_NUMATUNE_MEM_RESTRICTIVE,
    };
    NUMAParameters {
        node_set: placement.nodes.as_ref().map(|nodes| nodes.as_str().to_owned()),
        mode: placement.mode.map(mode).and_then(|mode| i32::try_from(mode).ok()),
    }
}

/// libvirt's flags of `virDomainDeviceModifyFlags`, `virDomainVcpuFlags` and `virDomainMemoryModFlags` alike.
fn flags(impact: Impact) -> u32 {
    match impact {
        Impact::Live => sys::VIR_DOMAIN_AFFECT_LIVE,
        Impact::Config => sys::VIR_DOMAIN_AFFECT_CONFIG,
        Impact::Both => sys::VIR_DOMAIN_AFFECT_LIVE | sys::VIR_DOMAIN_AFFECT_CONFIG,
    }
}

/// The documents that a change is to reach; `InvalidState` when one is not there.
fn documents(task: &Task<'_>, machine: &Machine, impact: Impact) -> Result<Vec<Domain>, Failure> {
    if impact.reaches(Which::Live) && !machine.domain.is_active()? {
        return Err(task.not_running().into());
    }
    if impact.reaches(Which::Config) && !machine.domain.is_persistent()? {
        return Err(task.invalid_state("is transient and has no configuration").into());
    }
    let read = |which: &Which| {
        let flags = if *which == Which::Config { sys::VIR_DOMAIN_XML_INACTIVE } else { 0 };
        document::read(task, &machine.domain.xml_desc(flags)?)
    };
    impact.documents().iter().map(read).collect()
}

/// The device in the last of the documents; `NotFound` when one of them does not have it.
fn find(task: &Task<'_>, machine: &Machine, key: &DeviceRef, impact: Impact) -> Result<Device, Failure> {
    let missing = || task.error(ErrorKind::NotFound, format!("{} has no {key}", task.resource()));
    let mut last = Err(missing().into());
    for document in documents(task, machine, impact)? {
        last = Ok(key.find(&document).ok_or_else(missing)?);
    }
    last
}

/// `InvalidState` for the password of a screen that QEMU was started to show without one: libvirt has no number for that.
fn can_have_password(task: &Task<'_>, machine: &Machine, device: &Device, impact: Impact) -> Result<(), Failure> {
    let Device::Graphics(wanted) = device else { return Ok(()) };
    if wanted.passwd.is_none() || !impact.reaches(Which::Live) {
        return Ok(());
    }
    let live = document::read::<Domain>(task, &machine.domain.xml_desc(sys::VIR_DOMAIN_XML_SECURE)?)?;
    let screens = live.devices.iter().flat_map(|devices| &devices.graphics);
    match screens.filter(|screen| screen.r#type == wanted.r#type).any(|screen| screen.passwd.is_some()) {
        true => Ok(()),
        false => Err(task.invalid_state("was started without a password for its screen").into()),
    }
}

fn find_disk(task: &Task<'_>, machine: &Machine, disk: &DiskName) -> Result<(), Failure> {
    find(task, machine, &DeviceRef::Disk(disk.clone()), Impact::Live).map(drop)
}

/// A document that points at a device in both documents. A network device is told by its address alone: what else the
/// live document says of it (where it is plugged in, what the host calls it) need not be so in the stored one.
fn pointer(present: Device) -> String {
    match present {
        Device::Interface(interface) => {
            let source = interface.source.map(|source| InterfaceSource {
                network: source.network,
                bridge: source.bridge,
                dev: source.dev,
                ..InterfaceSource::default()
            });
            let (r#type, mac) = (interface.r#type, interface.mac);
            Interface { r#type, mac, source, ..Interface::default() }.to_xml()
        }
        device => device.to_xml(),
    }
}

fn most_vcpus(document: &Domain) -> Option<u32> {
    document.vcpu.as_ref()?.value.map(u32::from)
}

fn most_memory(document: &Domain) -> Option<Bytes> {
    document.memory.as_ref()?.bytes().map(Bytes::new)
}

/// What it means that libvirt did not do it, after looking again found no other reason: a file that is not there, a
/// document that is wrong, or a machine and a host that cannot do it as they are. libvirt has no number for the last.
fn refused(task: &Task<'_>, e: LibvirtError) -> Failure {
    match (e.os_error(), e.kind()) {
        _ if task.session().is_lost() => e.into(),
        (Some(libc::ENOENT | libc::ENOTDIR | libc::EISDIR), _) => {
            task.invalid_state("cannot reach the file behind the device").with_source(e).into()
        }
        // Of a request whose document and numbers are in order, it is the flags that this driver does not know.
        _ if e.is(sys::VIR_ERR_INVALID_ARG) => {
            task.error(ErrorKind::Unsupported, "the driver of this host cannot do that").with_source(e).into()
        }
        (_, Some(ErrorKind::InvalidInput)) => document::refused(task, e),
        (_, Some(_)) => e.into(),
        (_, None) => task.invalid_state("cannot do that as it is").with_source(e).into(),
    }
}
