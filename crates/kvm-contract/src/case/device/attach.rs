//! Disks that come and go, and what is refused of all devices.

use kvm_core::{Bytes, Device, ErrorKind, HypervisorExt as _, Impact, PowerAction, VcpuCount, View, VmChange, VmId};

use super::{disk, disk_name, disk_ref, facet, image, names, off_with_spare, running_with_spare, targets};
use crate::case::{Outcome, cases, refused, same};
use crate::cx::{Cx, qcow2_disk};

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
}

/// Starts a machine and waits until its guest is up: one that is not hears no request.
async fn booted(cx: &Cx, id: &VmId) -> Outcome {
    let mut events = cx.hypervisor().events().await?;
    cx.power(id, PowerAction::Start).await?;
    cx.changes_until(&mut events, id, VmChange::AgentConnected).await.map(drop)
}
