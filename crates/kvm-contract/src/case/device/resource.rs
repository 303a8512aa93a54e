//! How much a machine gets: virtual CPUs and where they run, time, memory, I/O threads and the speed of its disks.

use kvm_core::{
    Bandwidth, Bytes, CpuLimits, CpuPeriod, CpuQuota, CpuShares, Device, DiskLimits, Error, ErrorKind, Impact,
    IoThread, IoThreadChange, Iops, PowerAction, VcpuCount, View, VmId, VmThread,
};
use kvm_xml::Domain;

use super::{cpus, disk_name, disk_ref, document, facet, off_with_spare, running_with_spare, with_two_vcpus};
use crate::case::{cases, holds, refused, same};
use crate::cx::Cx;

cases! { CASES in "devices" on Cx;
    /// Virtual CPUs of a machine that is off are set in its document; more than it can have are refused.
    async fn virtual_cpus_are_set_in_the_configuration(cx) {
        let id = with_two_vcpus(cx).await?;
        facet(cx)?.set_vcpus(&id, VcpuCount::new(2)?, Impact::Config).await?;
        same("virtual CPUs", plugged(&document(cx, &id, View::CONFIG).await?), Some(2))?;
        refused(facet(cx)?.set_vcpus(&id, VcpuCount::new(3)?, Impact::Config).await, ErrorKind::InvalidInput)?;
        same("virtual CPUs", plugged(&document(cx, &id, View::CONFIG).await?), Some(2))
    }

    /// A virtual CPU is plugged into a running machine.
    async fn a_virtual_cpu_is_plugged_in_live(cx) {
        let id = with_two_vcpus(cx).await?;
        cx.power(&id, PowerAction::Start).await?;
        facet(cx)?.set_vcpus(&id, VcpuCount::new(2)?, Impact::Live).await?;
        same("live virtual CPUs", plugged(&document(cx, &id, View::LIVE).await?), Some(2))?;
        same("stored virtual CPUs", plugged(&document(cx, &id, View::CONFIG).await?), Some(1))?;
        refused(facet(cx)?.set_vcpus(&id, VcpuCount::new(3)?, Impact::Both).await, ErrorKind::InvalidInput)
    }

    /// A virtual CPU and the emulator are pinned to CPUs of the host in the documents that are meant, and no others.
    async fn threads_are_pinned_where_it_is_meant(cx) {
        let id = with_two_vcpus(cx).await?;
        facet(cx)?.pin(&id, VmThread::Vcpu(1), &cpus("0")?, Impact::Config).await?;
        facet(cx)?.pin(&id, VmThread::Emulator, &cpus("0")?, Impact::Config).await?;
        same("stored pin", pinned(&document(cx, &id, View::CONFIG).await?, 1), Some("0".to_owned()))?;
        same("stored pin of another", pinned(&document(cx, &id, View::CONFIG).await?, 0), None)?;
        cx.power(&id, PowerAction::Start).await?;
        facet(cx)?.pin(&id, VmThread::Vcpu(0), &cpus("0")?, Impact::Live).await?;
        same("live pin", pinned(&document(cx, &id, View::LIVE).await?, 0), Some("0".to_owned()))?;
        same("stored pin", pinned(&document(cx, &id, View::CONFIG).await?, 0), None)?;
        let tune = document(cx, &id, View::CONFIG).await?.cputune;
        holds("the emulator stays pinned", tune.is_some_and(|tune| tune.emulatorpin.is_some()))
    }

    /// Threads that a machine does not have and CPUs that the host does not have are refused, and nothing changes.
    async fn what_cannot_be_pinned_is_refused(cx) {
        let id = with_two_vcpus(cx).await?;
        let host_cpus = cx.hypervisor().capabilities().await?.cpus.unwrap_or(1);
        for (thread, set) in [
            (VmThread::Vcpu(2), "0".to_owned()),
            (VmThread::IoThread(1), "0".to_owned()),
            (VmThread::Vcpu(0), host_cpus.to_string()),
            (VmThread::Emulator, "0-4294967295".to_owned()),
            (VmThread::Emulator, "0,^0".to_owned()),
        ] {
            refused(facet(cx)?.pin(&id, thread, &cpus(&set)?, Impact::Config).await, ErrorKind::InvalidInput)?;
        }
        holds("nothing is pinned", document(cx, &id, View::CONFIG).await?.cputune.is_none())?;
        let absent = facet(cx)?.pin(&cx.id("absent"), VmThread::Emulator, &cpus("0")?, Impact::Config).await;
        refused(absent, ErrorKind::NotFound)?;
        let off = facet(cx)?.pin(&id, VmThread::Emulator, &cpus("0")?, Impact::Live).await;
        refused(off, ErrorKind::InvalidState)
    }

    /// Shares, period and quota are set in the documents that are meant; what is left out stays.
    async fn cpu_time_is_limited(cx) {
        let id = with_two_vcpus(cx).await?;
        let shares = CpuLimits { shares: Some(CpuShares::new(512)?), ..CpuLimits::default() };
        facet(cx)?.limit_cpu(&id, &shares, Impact::Config).await?;
        cx.power(&id, PowerAction::Start).await?;
        let (period, quota) = (CpuPeriod::parse("100ms")?, CpuQuota::parse("50ms")?);
        let time = CpuLimits { period: Some(period), quota: Some(quota), ..CpuLimits::default() };
        facet(cx)?.limit_cpu(&id, &time, Impact::Both).await?;
        for view in [View::LIVE, View::CONFIG] {
            let tune = document(cx, &id, view).await?.cputune.unwrap_or_default();
            same("shares, period, quota", (tune.shares, tune.period, tune.quota), (Some(512), Some(100_000), Some(50_000)))?;
        }
        let none = CpuLimits { quota: Some(CpuQuota::NONE), ..CpuLimits::default() };
        facet(cx)?.limit_cpu(&id, &none, Impact::Live).await?;
        let quotas = (document(cx, &id, View::LIVE).await?.cputune, document(cx, &id, View::CONFIG).await?.cputune);
        holds("nothing limits it live", quotas.0.is_none_or(|tune| tune.quota.is_none_or(|quota| quota <= 0)))?;
        same("stored quota", quotas.1.and_then(|tune| tune.quota), Some(50_000))
    }

    /// How fast a disk may be used is set in the configuration, in place of what was set before; a total goes without its
    /// parts.
    async fn a_disk_is_limited_in_the_configuration(cx) {
        let (id, _) = off_with_spare(cx).await?;
        let (facet, vda) = (facet(cx)?, disk_name("vda")?);
        let reading = DiskLimits { read_bytes: Some(Bandwidth::parse("10MiB")?), ..DiskLimits::NONE };
        facet.limit_disk(&id, &vda, &reading, Impact::Config).await?;
        same("limits", limits(cx, &id, View::CONFIG).await?, (Some(10 << 20), None))?;
        let operations = DiskLimits { total_iops: Some(Iops::parse("500")?), ..DiskLimits::NONE };
        facet.limit_disk(&id, &vda, &operations, Impact::Config).await?;
        same("limits", limits(cx, &id, View::CONFIG).await?, (None, Some(500)))?;
        let both = DiskLimits { read_iops: Some(Iops::parse("5")?), ..operations };
        refused(facet.limit_disk(&id, &vda, &both, Impact::Config).await, ErrorKind::InvalidInput)?;
        refused(facet.limit_disk(&id, &disk_name("vdx")?, &reading, Impact::Config).await, ErrorKind::NotFound)?;
        refused(facet.limit_disk(&id, &vda, &reading, Impact::Live).await, ErrorKind::InvalidState)?;
        refused(facet.limit_disk(&cx.id("absent"), &vda, &reading, Impact::Config).await, ErrorKind::NotFound)?;
        facet.limit_disk(&id, &vda, &DiskLimits::NONE, Impact::Config).await?;
        same("limits", limits(cx, &id, View::CONFIG).await?, (None, None))
    }

    /// How fast a disk may be used changes while its machine runs, in the documents that are meant.
    async fn a_disk_is_limited_while_it_runs(cx) {
        let (id, _) = running_with_spare(cx).await?;
        let (facet, vda) = (facet(cx)?, disk_name("vda")?);
        let reading = DiskLimits { read_bytes: Some(Bandwidth::parse("10MiB")?), ..DiskLimits::NONE };
        facet.limit_disk(&id, &vda, &reading, Impact::Live).await?;
        same("live limits", limits(cx, &id, View::LIVE).await?, (Some(10 << 20), None))?;
        same("stored limits", limits(cx, &id, View::CONFIG).await?, (None, None))?;
        let operations = DiskLimits { total_iops: Some(Iops::parse("500")?), ..DiskLimits::NONE };
        facet.limit_disk(&id, &vda, &operations, Impact::Both).await?;
        for view in [View::LIVE, View::CONFIG] {
            same("limits", limits(cx, &id, view).await?, (None, Some(500)))?;
        }
        facet.limit_disk(&id, &vda, &DiskLimits::NONE, Impact::Live).await?;
        same("live limits", limits(cx, &id, View::LIVE).await?, (None, None))
    }

    /// An I/O thread comes and goes in the documents that are meant; its number is taken once.
    async fn an_io_thread_comes_and_goes(cx) {
        let id = cx.defined("a").await?;
        let (facet, thread) = (facet(cx)?, IoThread::parse("2")?);
        facet.change_iothread(&id, thread, IoThreadChange::Add, Impact::Config).await?;
        holds("it is there", thread.is_in(&document(cx, &id, View::CONFIG).await?))?;
        refused(facet.change_iothread(&id, thread, IoThreadChange::Add, Impact::Config).await, ErrorKind::AlreadyExists)?;
        cx.power(&id, PowerAction::Start).await?;
        facet.change_iothread(&id, thread, IoThreadChange::Remove, Impact::Live).await?;
        holds("it is gone", !thread.is_in(&document(cx, &id, View::LIVE).await?))?;
        holds("it is stored", thread.is_in(&document(cx, &id, View::CONFIG).await?))?;
        let other = IoThread::parse("3")?;
        facet.change_iothread(&id, other, IoThreadChange::Add, Impact::Both).await?;
        for view in [View::LIVE, View::CONFIG] {
            holds("the other is there", other.is_in(&document(cx, &id, view).await?))?;
        }
        refused(facet.change_iothread(&id, thread, IoThreadChange::Remove, Impact::Both).await, ErrorKind::NotFound)
    }

    /// Memory of a machine that is off is set in its document; more than it can have is refused.
    async fn memory_is_set_in_the_configuration(cx) {
        let id = cx.defined("a").await?;
        let most = cx.find(&id).await?.max_memory.unwrap_or_default();
        let half = Bytes::new(most.get() / 2);
        facet(cx)?.set_memory(&id, half, Impact::Config).await?;
        same("memory", memory(&document(cx, &id, View::CONFIG).await?), Some(half))?;
        for wrong in [Bytes::ZERO, most.saturating_add(Bytes::from_mib(1))] {
            refused(facet(cx)?.set_memory(&id, wrong, Impact::Config).await, ErrorKind::InvalidInput)?;
        }
        same("memory", memory(&document(cx, &id, View::CONFIG).await?), Some(half))
    }

    /// More memory than a running machine can have is refused.
    async fn more_memory_than_there_can_be_is_refused_live(cx) {
        let id = cx.running("a").await?;
        let most = cx.find(&id).await?.max_memory.unwrap_or_default();
        let set = facet(cx)?.set_memory(&id, most.saturating_add(Bytes::from_mib(1)), Impact::Live).await;
        refused(set, ErrorKind::InvalidInput)
    }
}

fn plugged(document: &Domain) -> Option<u16> {
    let vcpu = document.vcpu.as_ref()?;
    vcpu.current.or(vcpu.value)
}

/// The host's CPUs that a virtual CPU is pinned to.
fn pinned(document: &Domain, vcpu: u16) -> Option<String> {
    let pins = &document.cputune.as_ref()?.vcpupin;
    pins.iter().find(|pin| pin.vcpu == Some(vcpu))?.cpuset.as_ref().map(|set| set.as_str().to_owned())
}

fn memory(document: &Domain) -> Option<Bytes> {
    document.current_memory.as_ref()?.bytes().map(Bytes::new)
}

/// The limits of the first disk that the cases set: bytes read and operations per second.
async fn limits(cx: &Cx, id: &VmId, view: View) -> kvm_core::Result<(Option<u64>, Option<u64>)> {
    let found = disk_ref("vda")?.find(&document(cx, id, view).await?);
    let Some(Device::Disk(disk)) = found else { return Err(Error::internal("there is no disk vda")) };
    // A document may say 0 where nothing is limited.
    let limit = |limit: Option<u64>| limit.filter(|limit| *limit > 0);
    Ok(disk.iotune.map_or((None, None), |tune| (limit(tune.read_bytes_sec), limit(tune.total_iops_sec))))
}
