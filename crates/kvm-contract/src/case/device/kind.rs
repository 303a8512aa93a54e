//! What one kind of device can and another cannot: network devices, peripherals, drives, and disks while they are in use.

use kvm_core::{Bytes, Device, Error, ErrorKind, Impact, PeripheralKind, PowerAction, View, VolumeInfo};
use kvm_xml::domain::{
    Disk, DiskBus, DiskDevice, DiskDriver, DiskFormat, DiskSource, DiskTarget, DiskType, Interface, InterfaceMac, Link,
    LinkState,
};
use kvm_xml::value::MacAddr;
use kvm_xml::volume::VolumeFormatType;

use super::{DISK_BYTES, disk, disk_name, document, facet, image, names, off_with_spare, running_with_spare, targets};
use crate::case::{Failure, cases, holds, refused, same};
use crate::cx::{Cx, qcow2_disk, volume};

const MAC: MacAddr = MacAddr([0x52, 0x54, 0x00, 0x0d, 0xe5, 0x01]);

cases! { CASES in "devices" on Cx;
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
