//! Devices that come and go, virtual CPUs and memory.

use kvm_core::{
    Bandwidth, Bytes, CpuLimits, CpuPeriod, CpuQuota, CpuShares, Device, DeviceRef, Devices, DiskLimits, Error,
    ErrorKind, Existing, HypervisorExt as _, Impact, IoThread, IoThreadChange, Iops, PeripheralKind, PowerAction,
    VcpuCount, View, VmChange, VmId, VmThread, VolumeInfo,
};
use kvm_xml::Domain;
use kvm_xml::domain::{
    Disk, DiskBus, DiskDevice, DiskDriver, DiskFormat, DiskSource, DiskTarget, DiskType, Graphics, GraphicsType,
    Interface, InterfaceMac, Link, LinkState, Vcpu,
};
use kvm_xml::value::{CpuSet, DiskName, MacAddr, YesNo};
use kvm_xml::volume::VolumeFormatType;

use crate::case::{Failure, Outcome, cases, holds, refused, same};
use crate::cx::{Cx, qcow2_disk, volume};

const DISK_BYTES: u64 = 8 << 20;
const MAC: MacAddr = MacAddr([0x52, 0x54, 0x00, 0x0d, 0xe5, 0x01]);

cases! { CASES in "devices" on Cx;
    /// A disk that is attached to the configuration of a machine that is off is in its document.
    async fn a_disk_is_attached_to_the_configuration(cx) {
        let (id, spare) = off_with_spare(cx).await?;
        facet(cx)?.attach(&id, &disk(&spare, "vdb")?, Impact::Config).await?;
        same("targets", targets(cx, &id, View::CONFIG).await?, names(&["vda", "vdb"]))?;
        same("image of the new one", image(cx, &id, View::CONFIG, "vdb").await?, Some(spare.host_path()?.to_string()))
    }

    /// A disk that is attached to a running machine is in its live document, and not in the stored one.
    async fn a_disk_is_attached_live(cx) {
        let (id, spare) = running_with_spare(cx).await?;
        facet(cx)?.attach(&id, &disk(&spare, "vdb")?, Impact::Live).await?;
        same("live targets", targets(cx, &id, View::LIVE).await?, names(&["vda", "vdb"]))?;
        same("stored targets", targets(cx, &id, View::CONFIG).await?, names(&["vda"]))
    }

    /// Attaching to both changes both documents.
    async fn a_disk_is_attached_to_both(cx) {
        let (id, spare) = running_with_spare(cx).await?;
        facet(cx)?.attach(&id, &disk(&spare, "vdb")?, Impact::Both).await?;
        same("live targets", targets(cx, &id, View::LIVE).await?, names(&["vda", "vdb"]))?;
        same("stored targets", targets(cx, &id, View::CONFIG).await?, names(&["vda", "vdb"]))
    }

    /// Attaching to the configuration of a running machine leaves the machine alone.
    async fn a_running_machine_is_left_alone_by_its_configuration(cx) {
        let (id, spare) = running_with_spare(cx).await?;
        facet(cx)?.attach(&id, &disk(&spare, "vdb")?, Impact::Config).await?;
        same("live targets", targets(cx, &id, View::LIVE).await?, names(&["vda"]))?;
        same("stored targets", targets(cx, &id, View::CONFIG).await?, names(&["vda", "vdb"]))
    }

    /// A target that one of the documents has already is refused, and neither changes.
    async fn a_taken_target_is_refused(cx) {
        let (id, spare) = running_with_spare(cx).await?;
        refused(facet(cx)?.attach(&id, &disk(&spare, "vda")?, Impact::Live).await, ErrorKind::AlreadyExists)?;
        facet(cx)?.attach(&id, &disk(&spare, "vdb")?, Impact::Live).await?;
        refused(facet(cx)?.attach(&id, &disk(&spare, "vdb")?, Impact::Both).await, ErrorKind::AlreadyExists)?;
        same("stored targets", targets(cx, &id, View::CONFIG).await?, names(&["vda"]))
    }

    /// A disk whose image is not there cannot be plugged into a running machine.
    async fn a_missing_image_is_refused_live(cx) {
        let (id, spare) = running_with_spare(cx).await?;
        let mut missing = qcow2_disk(spare.host_path()?.as_str(), "vdb")?;
        missing.source.get_or_insert_default().file = Some(format!("{}.missing", spare.host_path()?));
        let attached = facet(cx)?.attach(&id, &Device::Disk(Box::new(missing)), Impact::Live).await;
        refused(attached, ErrorKind::InvalidState)?;
        same("live targets", targets(cx, &id, View::LIVE).await?, names(&["vda"]))
    }

    /// What is off cannot be changed live.
    async fn what_is_off_cannot_be_changed_live(cx) {
        let (id, spare) = off_with_spare(cx).await?;
        let (facet, vda) = (facet(cx)?, disk_ref("vda")?);
        for impact in [Impact::Live, Impact::Both] {
            refused(facet.attach(&id, &disk(&spare, "vdb")?, impact).await, ErrorKind::InvalidState)?;
            refused(facet.detach(&id, &vda, impact).await, ErrorKind::InvalidState)?;
            refused(facet.update(&id, &disk(&spare, "vda")?, impact).await, ErrorKind::InvalidState)?;
            refused(facet.set_vcpus(&id, VcpuCount::new(1)?, impact).await, ErrorKind::InvalidState)?;
            refused(facet.set_memory(&id, Bytes::from_mib(32), impact).await, ErrorKind::InvalidState)?;
        }
        let resized = facet.resize_disk(&id, &disk_name("vda")?, Bytes::from_mib(64)).await;
        refused(resized, ErrorKind::InvalidState)?;
        same("stored targets", targets(cx, &id, View::CONFIG).await?, names(&["vda"]))
    }

    /// A device that one of the documents does not have is not found, and neither changes.
    async fn an_unknown_device_is_not_found(cx) {
        let (id, spare) = running_with_spare(cx).await?;
        let facet = facet(cx)?;
        for impact in [Impact::Live, Impact::Config, Impact::Both] {
            refused(facet.detach(&id, &disk_ref("vdx")?, impact).await, ErrorKind::NotFound)?;
            refused(facet.update(&id, &disk(&spare, "vdx")?, impact).await, ErrorKind::NotFound)?;
        }
        let resized = facet.resize_disk(&id, &disk_name("vdx")?, Bytes::from_mib(64)).await;
        refused(resized, ErrorKind::NotFound)?;
        facet.attach(&id, &disk(&spare, "vdb")?, Impact::Live).await?;
        refused(facet.detach(&id, &disk_ref("vdb")?, Impact::Both).await, ErrorKind::NotFound)?;
        same("live targets", targets(cx, &id, View::LIVE).await?, names(&["vda", "vdb"]))
    }

    /// A machine that is not there is not found.
    async fn what_is_not_there_is_not_found(cx) {
        let (_, spare) = off_with_spare(cx).await?;
        let (facet, absent) = (facet(cx)?, cx.id("absent"));
        refused(facet.attach(&absent, &disk(&spare, "vdb")?, Impact::Config).await, ErrorKind::NotFound)?;
        refused(facet.detach(&absent, &disk_ref("vda")?, Impact::Config).await, ErrorKind::NotFound)?;
        refused(facet.update(&absent, &disk(&spare, "vda")?, Impact::Config).await, ErrorKind::NotFound)?;
        refused(facet.set_vcpus(&absent, VcpuCount::new(1)?, Impact::Config).await, ErrorKind::NotFound)?;
        refused(facet.set_memory(&absent, Bytes::from_mib(32), Impact::Config).await, ErrorKind::NotFound)?;
        let resized = facet.resize_disk(&absent, &disk_name("vda")?, Bytes::from_mib(64)).await;
        refused(resized, ErrorKind::NotFound)
    }

    /// A document that does not say what tells the device apart is refused.
    async fn a_device_without_a_name_is_refused(cx) {
        let id = cx.defined("a").await?;
        let attached = facet(cx)?.attach(&id, &Device::Disk(Box::default()), Impact::Config).await;
        refused(attached, ErrorKind::InvalidInput)?;
        let attached = facet(cx)?.attach(&id, &Device::Interface(Box::default()), Impact::Config).await;
        refused(attached, ErrorKind::InvalidInput)
    }

    /// A disk that is detached from the configuration is gone from it.
    async fn a_disk_is_detached_from_the_configuration(cx) {
        let (id, spare) = off_with_spare(cx).await?;
        facet(cx)?.attach(&id, &disk(&spare, "vdb")?, Impact::Config).await?;
        facet(cx)?.detach(&id, &disk_ref("vdb")?, Impact::Config).await?;
        same("stored targets", targets(cx, &id, View::CONFIG).await?, names(&["vda"]))
    }

    /// A running guest that is up gives up a disk that it is asked for, which is heard; the stored document changes at
    /// once.
    async fn a_guest_gives_up_a_disk(cx) {
        let (id, spare) = off_with_spare(cx).await?;
        booted(cx, &id).await?;
        facet(cx)?.attach(&id, &disk(&spare, "vdb")?, Impact::Both).await?;
        let mut events = cx.hypervisor().events().await?;
        facet(cx)?.detach(&id, &disk_ref("vdb")?, Impact::Both).await?;
        same("stored targets", targets(cx, &id, View::CONFIG).await?, names(&["vda"]))?;
        cx.hypervisor().wait_until_detached(&id, &disk_ref("vdb")?, cx.patience(), cx.clock()).await?;
        same("live targets", targets(cx, &id, View::LIVE).await?, names(&["vda"]))?;
        cx.changes_until(&mut events, &id, VmChange::DeviceRemoved).await.map(drop)
    }

    /// A network device is attached to the configuration and detached again; its address is taken once.
    async fn a_network_device_comes_and_goes(cx) {
        let id = cx.defined("a").await?;
        let nic = nic(cx, None)?;
        let key = nic.key()?;
        facet(cx)?.attach(&id, &nic, Impact::Config).await?;
        holds("it is there", key.find(&document(cx, &id, View::CONFIG).await?).is_some())?;
        refused(facet(cx)?.attach(&id, &nic, Impact::Config).await, ErrorKind::AlreadyExists)?;
        facet(cx)?.detach(&id, &key, Impact::Config).await?;
        holds("it is gone", key.find(&document(cx, &id, View::CONFIG).await?).is_none())
    }

    /// A network device that is attached to a running machine is in its live document.
    async fn a_network_device_is_attached_live(cx) {
        let id = cx.running("a").await?;
        let nic = nic(cx, None)?;
        facet(cx)?.attach(&id, &nic, Impact::Both).await?;
        for view in [View::LIVE, View::CONFIG] {
            holds("it is there", nic.key()?.find(&document(cx, &id, view).await?).is_some())?;
        }
        Ok(())
    }

    /// A device of another kind comes into the configuration and goes again; its name is taken once.
    async fn a_peripheral_comes_and_goes_in_the_configuration(cx) {
        let id = cx.defined("a").await?;
        let device = generator("ua-rng7")?;
        let key = device.key()?;
        facet(cx)?.attach(&id, &device, Impact::Config).await?;
        holds("it is there", key.find(&document(cx, &id, View::CONFIG).await?).is_some())?;
        refused(facet(cx)?.attach(&id, &device, Impact::Config).await, ErrorKind::AlreadyExists)?;
        facet(cx)?.attach(&id, &generator("ua-rng8")?, Impact::Config).await?;
        facet(cx)?.detach(&id, &key, Impact::Config).await?;
        let after = document(cx, &id, View::CONFIG).await?;
        holds("it is gone", key.find(&after).is_none())?;
        holds("the other is there", generator("ua-rng8")?.key()?.find(&after).is_some())?;
        refused(facet(cx)?.detach(&id, &key, Impact::Config).await, ErrorKind::NotFound)
    }

    /// A device of another kind that is plugged into a running machine is found by its name in both documents.
    async fn a_peripheral_is_attached_to_both(cx) {
        let id = cx.running("a").await?;
        let device = generator("ua-rng7")?;
        facet(cx)?.attach(&id, &device, Impact::Both).await?;
        for view in [View::LIVE, View::CONFIG] {
            holds("it is there", device.key()?.find(&document(cx, &id, view).await?).is_some())?;
        }
        refused(facet(cx)?.attach(&id, &device, Impact::Live).await, ErrorKind::AlreadyExists)
    }

    /// What is wired for good when a machine starts is neither plugged in nor taken out while it runs.
    async fn a_sound_card_is_unsupported_live(cx) {
        let id = cx.defined("a").await?;
        let sound = Device::Peripheral(PeripheralKind::Sound.read("<sound model='usb'><alias name='ua-sound1'/></sound>")?);
        facet(cx)?.attach(&id, &sound, Impact::Config).await?;
        cx.power(&id, PowerAction::Start).await?;
        refused(facet(cx)?.detach(&id, &sound.key()?, Impact::Live).await, ErrorKind::Unsupported)?;
        let other = Device::Peripheral(PeripheralKind::Sound.read("<sound model='usb'><alias name='ua-sound2'/></sound>")?);
        refused(facet(cx)?.attach(&id, &other, Impact::Live).await, ErrorKind::Unsupported)?;
        holds("it is there", sound.key()?.find(&document(cx, &id, View::LIVE).await?).is_some())
    }

    /// The link of a network device is taken down and up again while the machine runs.
    async fn a_link_goes_down_and_up(cx) {
        let id = cx.defined("a").await?;
        facet(cx)?.attach(&id, &nic(cx, None)?, Impact::Config).await?;
        cx.power(&id, PowerAction::Start).await?;
        for link in [Link::Down, Link::Up] {
            facet(cx)?.update(&id, &nic(cx, Some(link))?, Impact::Both).await?;
            for view in [View::LIVE, View::CONFIG] {
                let found = nic(cx, None)?.key()?.find(&document(cx, &id, view).await?);
                let Some(Device::Interface(found)) = found else { return Err(Failure::new("the device is gone")) };
                // Up is what a link is when nothing is said of it.
                let state = found.link.and_then(|link| link.state).unwrap_or(Link::Up);
                same("link", state.as_str(), link.as_str())?;
            }
        }
        Ok(())
    }

    /// A drive takes a medium and gives it back while the machine runs.
    async fn a_medium_is_inserted_and_ejected(cx) {
        let (id, _) = off_with_spare(cx).await?;
        let pool = cx.pool_name("a-pool")?;
        let medium = volume("medium.img", VolumeFormatType::Raw, 1 << 20, Some(0));
        let medium = cx.storage().create_volume(&pool, &medium).await?;
        facet(cx)?.attach(&id, &drive(None)?, Impact::Config).await?;
        cx.power(&id, PowerAction::Start).await?;
        same("medium at first", image(cx, &id, View::LIVE, "sda").await?, None)?;
        facet(cx)?.update(&id, &drive(Some(&medium))?, Impact::Both).await?;
        for view in [View::LIVE, View::CONFIG] {
            same("medium", image(cx, &id, view, "sda").await?, Some(medium.host_path()?.to_string()))?;
        }
        facet(cx)?.update(&id, &drive(None)?, Impact::Live).await?;
        same("live medium", image(cx, &id, View::LIVE, "sda").await?, None)?;
        same("stored medium", image(cx, &id, View::CONFIG, "sda").await?, Some(medium.host_path()?.to_string()))
    }

    /// The image of a hard disk cannot change while the machine runs.
    async fn a_hard_disk_keeps_its_image_while_it_runs(cx) {
        let (id, spare) = running_with_spare(cx).await?;
        let before = image(cx, &id, View::LIVE, "vda").await?;
        refused(facet(cx)?.update(&id, &disk(&spare, "vda")?, Impact::Live).await, ErrorKind::Unsupported)?;
        same("image", image(cx, &id, View::LIVE, "vda").await?, before)
    }

    /// A disk on a bus that is wired for good cannot be plugged into a running machine.
    async fn a_bus_without_hotplug_is_unsupported_live(cx) {
        let (id, spare) = running_with_spare(cx).await?;
        let mut wired = qcow2_disk(spare.host_path()?.as_str(), "sda")?;
        wired.target.get_or_insert_default().bus = Some(DiskBus::Sata);
        let attached = facet(cx)?.attach(&id, &Device::Disk(Box::new(wired)), Impact::Live).await;
        refused(attached, ErrorKind::Unsupported)?;
        same("live targets", targets(cx, &id, View::LIVE).await?, names(&["vda"]))
    }

    /// A disk of a running machine becomes larger, together with its volume, and never smaller.
    async fn a_disk_of_a_running_machine_only_grows(cx) {
        let (id, disk) = cx.with_disk("a").await?;
        cx.power(&id, PowerAction::Start).await?;
        let (facet, vda, larger) = (facet(cx)?, disk_name("vda")?, Bytes::new(2 * DISK_BYTES));
        facet.resize_disk(&id, &vda, larger).await?;
        cx.storage().refresh_pool(&disk.pool).await?;
        same("capacity", cx.storage().find_volume(&disk.pool, &disk.name).await?.capacity, larger)?;
        for size in [larger, Bytes::new(DISK_BYTES)] {
            refused(facet.resize_disk(&id, &vda, size).await, ErrorKind::InvalidInput)?;
        }
        Ok(())
    }

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

    /// The password of a screen is set in the configuration, where only who asks for secrets sees it.
    async fn the_password_of_a_screen_is_configured(cx) {
        let id = with_screen(cx, None).await?;
        facet(cx)?.update(&id, &screen(cx, &id, View::CONFIG, "n3w").await?, Impact::Config).await?;
        same("hidden", password(&document(cx, &id, View::CONFIG).await?), None)?;
        same("shown", password(&document(cx, &id, View::CONFIG.with_secrets()).await?), Some("n3w".to_owned()))
    }

    /// A running screen that was started with a password takes another one.
    async fn the_password_of_a_running_screen_changes(cx) {
        let id = with_screen(cx, Some("0ld")).await?;
        cx.power(&id, PowerAction::Start).await?;
        facet(cx)?.update(&id, &screen(cx, &id, View::LIVE, "n3w").await?, Impact::Live).await?;
        same("live", password(&document(cx, &id, View::LIVE.with_secrets()).await?), Some("n3w".to_owned()))?;
        same("stored", password(&document(cx, &id, View::CONFIG.with_secrets()).await?), Some("0ld".to_owned()))
    }

    /// A running screen that was started without a password gets none.
    async fn a_running_screen_without_a_password_gets_none(cx) {
        let id = with_screen(cx, None).await?;
        cx.power(&id, PowerAction::Start).await?;
        let wanted = screen(cx, &id, View::LIVE, "n3w").await?;
        refused(facet(cx)?.update(&id, &wanted, Impact::Live).await, ErrorKind::InvalidState)?;
        same("live", password(&document(cx, &id, View::LIVE.with_secrets()).await?), None)
    }
}

pub(super) fn facet(cx: &Cx) -> kvm_core::Result<&dyn Devices> {
    cx.family("devices", cx.hypervisor().devices())
}

/// A machine that is off, with a disk, and a volume beside it that nobody uses.
async fn off_with_spare(cx: &Cx) -> kvm_core::Result<(VmId, VolumeInfo)> {
    let (id, disk) = cx.with_disk("a").await?;
    let spare = cx.thin_volume(&disk.pool, "spare.qcow2", DISK_BYTES).await?;
    Ok((id, spare))
}

async fn running_with_spare(cx: &Cx) -> kvm_core::Result<(VmId, VolumeInfo)> {
    let (id, spare) = off_with_spare(cx).await?;
    cx.power(&id, PowerAction::Start).await?;
    Ok((id, spare))
}

/// A machine that is off, with a screen.
async fn with_screen(cx: &Cx, passwd: Option<&str>) -> kvm_core::Result<VmId> {
    let mut document = cx.document("a")?;
    let screen = Graphics {
        r#type: Some(GraphicsType::Vnc),
        autoport: Some(YesNo::Yes),
        passwd: passwd.map(ToOwned::to_owned),
        ..Graphics::default()
    };
    document.devices.get_or_insert_default().graphics = vec![screen];
    cx.hypervisor().define(&document, Existing::Reject).await
}

/// The screen of a document, with another password.
async fn screen(cx: &Cx, id: &VmId, view: View, passwd: &str) -> kvm_core::Result<Device> {
    match DeviceRef::Graphics(GraphicsType::Vnc).find(&document(cx, id, view).await?) {
        Some(Device::Graphics(mut screen)) => {
            screen.passwd = Some(passwd.to_owned());
            Ok(Device::Graphics(screen))
        }
        _ => Err(Error::internal("there is no screen")),
    }
}

fn password(document: &Domain) -> Option<String> {
    document.devices.as_ref()?.graphics.iter().find_map(|screen| screen.passwd.clone())
}

/// A machine that is off, with one of two virtual CPUs plugged in.
pub(super) async fn with_two_vcpus(cx: &Cx) -> kvm_core::Result<VmId> {
    let mut document = cx.document("a")?;
    document.vcpu = Some(Vcpu { current: Some(1), value: Some(2), ..Vcpu::default() });
    cx.hypervisor().define(&document, Existing::Reject).await
}

/// Starts a machine and waits until its guest is up: one that is not hears no request.
async fn booted(cx: &Cx, id: &VmId) -> Outcome {
    let mut events = cx.hypervisor().events().await?;
    cx.power(id, PowerAction::Start).await?;
    cx.changes_until(&mut events, id, VmChange::AgentConnected).await.map(drop)
}

pub(super) async fn document(cx: &Cx, id: &VmId, view: View) -> kvm_core::Result<Domain> {
    cx.hypervisor().definition(id, view).await
}

/// The targets of the disks, sorted.
async fn targets(cx: &Cx, id: &VmId, view: View) -> kvm_core::Result<Vec<String>> {
    let document = document(cx, id, view).await?;
    let disks = document.devices.iter().flat_map(|devices| &devices.disk);
    let name = |disk: &Disk| Some(disk.target.as_ref()?.dev.as_ref()?.as_str().to_owned());
    let mut targets: Vec<_> = disks.filter_map(name).collect();
    targets.sort();
    Ok(targets)
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// The file behind a disk.
async fn image(cx: &Cx, id: &VmId, view: View, target: &str) -> kvm_core::Result<Option<String>> {
    let found = disk_ref(target)?.find(&document(cx, id, view).await?);
    let Some(Device::Disk(disk)) = found else { return Err(Error::internal(format!("there is no disk {target}"))) };
    Ok(disk.source.and_then(|source| source.file))
}

fn plugged(document: &Domain) -> Option<u16> {
    let vcpu = document.vcpu.as_ref()?;
    vcpu.current.or(vcpu.value)
}

fn memory(document: &Domain) -> Option<Bytes> {
    document.current_memory.as_ref()?.bytes().map(Bytes::new)
}

fn disk_name(name: &str) -> kvm_core::Result<DiskName> {
    name.parse().map_err(|e: kvm_xml::XmlError| Error::internal("no disk name").with_source(e))
}

fn disk_ref(name: &str) -> kvm_core::Result<DeviceRef> {
    disk_name(name).map(DeviceRef::Disk)
}

fn disk(volume: &VolumeInfo, target: &str) -> kvm_core::Result<Device> {
    Ok(Device::Disk(Box::new(qcow2_disk(volume.host_path()?.as_str(), target)?)))
}

/// The limits of the first disk that the cases set: bytes read and operations per second.
async fn limits(cx: &Cx, id: &VmId, view: View) -> kvm_core::Result<(Option<u64>, Option<u64>)> {
    let found = disk_ref("vda")?.find(&document(cx, id, view).await?);
    let Some(Device::Disk(disk)) = found else { return Err(Error::internal("there is no disk vda")) };
    // A document may say 0 where nothing is limited.
    let limit = |limit: Option<u64>| limit.filter(|limit| *limit > 0);
    Ok(disk.iotune.map_or((None, None), |tune| (limit(tune.read_bytes_sec), limit(tune.total_iops_sec))))
}

/// A CD-ROM drive with this medium, or an empty one.
fn drive(medium: Option<&VolumeInfo>) -> kvm_core::Result<Device> {
    let file = medium.map(VolumeInfo::host_path).transpose()?.map(ToString::to_string);
    Ok(Device::Disk(Box::new(Disk {
        r#type: Some(DiskType::File),
        device: Some(DiskDevice::Cdrom),
        driver: Some(DiskDriver { name: Some("qemu".into()), r#type: Some(DiskFormat::Raw), ..DiskDriver::default() }),
        source: file.map(|file| DiskSource { file: Some(file), ..DiskSource::default() }),
        target: Some(DiskTarget { dev: Some(disk_name("sda")?), bus: Some(DiskBus::Sata), ..DiskTarget::default() }),
        readonly: true,
        ..Disk::default()
    })))
}

/// A second network device like the machine's first, with a link in this state.
fn nic(cx: &Cx, link: Option<Link>) -> kvm_core::Result<Device> {
    let first = cx.document("a")?.devices.and_then(|devices| devices.interface.into_iter().next());
    let mut nic = first.ok_or_else(|| Error::internal("the machines of this host have no network device"))?;
    nic.mac = Some(InterfaceMac { address: Some(MAC), ..InterfaceMac::default() });
    nic.link = link.map(|state| LinkState { state: Some(state), ..LinkState::default() });
    Ok(Device::Interface(Box::new(Interface { alias: None, address: None, target: None, ..nic })))
}

/// A random number generator with this alias.
fn generator(alias: &str) -> kvm_core::Result<Device> {
    let xml =
        format!("<rng model='virtio'><backend model='random'>/dev/urandom</backend><alias name='{alias}'/></rng>");
    PeripheralKind::Rng.read(&xml).map(Device::Peripheral)
}

pub(super) fn cpus(text: &str) -> Result<CpuSet, Failure> {
    Ok(text.parse::<CpuSet>()?)
}

/// The host's CPUs that a virtual CPU is pinned to.
fn pinned(document: &Domain, vcpu: u16) -> Option<String> {
    let pins = &document.cputune.as_ref()?.vcpupin;
    pins.iter().find(|pin| pin.vcpu == Some(vcpu))?.cpuset.as_ref().map(|set| set.as_str().to_owned())
}
