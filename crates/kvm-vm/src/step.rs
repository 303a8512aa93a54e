//! The steps of all plans of this engine.

use kvm_core::op::{Peer, Step};
use kvm_core::{Bytes, Error, ErrorKind, Result};
use kvm_xml::{Document, StorageVolume};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::spec::VolumeRef;
use crate::volume::Sharing;

mod block_job;
mod content;
mod device;
mod forward;
mod interrupted;
mod iothread;
mod machine;
mod memory;
mod migrate;
mod network;
mod nvram;
mod package;
mod peer;
mod pool;
mod power;
mod relocate;
mod secret;
mod snapshot;
mod stray;
mod volume;

pub(crate) use block_job::{Mirror, Pivot, Place, PullImage, Subject as StepSubject};
pub(crate) use content::{CopyVolume, DownloadVolume, MakeRoom, PublishFile, ReserveVolume, UploadVolume};
pub(crate) use device::{AttachDevice, DetachDevice};
pub(crate) use forward::{AddNetworkEntry, InstallHook, SetForwards};
pub(crate) use interrupted::{Merge, is_gone};
pub(crate) use iothread::AddIoThread;
pub(crate) use machine::{Define, SetAutostart, Undefine, refuse_protected};
pub(crate) use memory::ShareMemory;
pub(crate) use migrate::{Ends, LeaveSource, Mark, Migrate, ProveShared};
pub(crate) use network::{AutostartNetwork, DefineNetwork, StartNetwork};
pub(crate) use nvram::{ProveApart, RemoveVariables};
pub(crate) use package::{FillVolume, PackedDisk, WritePackage};
pub(crate) use peer::AtPeer;
pub(crate) use pool::{AutostartPool, BuildPool, DefinePool, DestroyPool, StartPool, StopPool, UndefinePool};
pub(crate) use power::{PowerOff, Start};
pub(crate) use relocate::{CopyImage, UseImage};
pub(crate) use secret::{DefineSecret, DeleteSecret, SetSecret};
pub(crate) use snapshot::{CreateSnapshot, DeleteSnapshot, Fingerprint, RevertSnapshot};
pub(crate) use volume::{CreateVolume, DeleteVolume};

/// Makes a step again from its name and its journal form, so that an operation of this engine can be finished after a
/// crash:
///
/// ```
/// let catalogue = kvm_core::op::Catalogue::new()
///     .with("vm.", kvm_vm::decode)
///     .with("vol.", kvm_vm::decode)
///     .with("net.", kvm_vm::decode);
/// ```
///
/// `Unsupported` when no step has this name, `Corrupt` when it is not in this form.
pub fn decode(name: &str, data: &Value) -> Result<Box<dyn Step>> {
    match name {
        CreateVolume::NAME => read::<CreateVolume>(name, data),
        DeleteVolume::NAME => read::<DeleteVolume>(name, data),
        ReserveVolume::NAME => read::<ReserveVolume>(name, data),
        UploadVolume::NAME => read::<UploadVolume>(name, data),
        MakeRoom::NAME => read::<MakeRoom>(name, data),
        DownloadVolume::NAME => read::<DownloadVolume>(name, data),
        PublishFile::NAME => read::<PublishFile>(name, data),
        CopyVolume::NAME => read::<CopyVolume>(name, data),
        DefinePool::NAME => read::<DefinePool>(name, data),
        BuildPool::NAME => read::<BuildPool>(name, data),
        StartPool::NAME => read::<StartPool>(name, data),
        AutostartPool::NAME => read::<AutostartPool>(name, data),
        StopPool::NAME => read::<StopPool>(name, data),
        DestroyPool::NAME => read::<DestroyPool>(name, data),
        UndefinePool::NAME => read::<UndefinePool>(name, data),
        WritePackage::NAME => read::<WritePackage>(name, data),
        FillVolume::NAME => read::<FillVolume>(name, data),
        AttachDevice::NAME => read::<AttachDevice>(name, data),
        DetachDevice::NAME => read::<DetachDevice>(name, data),
        AddIoThread::NAME => read::<AddIoThread>(name, data),
        ShareMemory::NAME => read::<ShareMemory>(name, data),
        Mirror::NAME => read::<Mirror>(name, data),
        Pivot::NAME => read::<Pivot>(name, data),
        PullImage::NAME => read::<PullImage>(name, data),
        CopyImage::NAME => read::<CopyImage>(name, data),
        UseImage::NAME => read::<UseImage>(name, data),
        DefineSecret::NAME => read::<DefineSecret>(name, data),
        SetSecret::NAME => read::<SetSecret>(name, data),
        DeleteSecret::NAME => read::<DeleteSecret>(name, data),
        Define::NAME => read::<Define>(name, data),
        Undefine::NAME => read::<Undefine>(name, data),
        SetAutostart::NAME => read::<SetAutostart>(name, data),
        Start::NAME => read::<Start>(name, data),
        PowerOff::NAME => read::<PowerOff>(name, data),
        AtPeer::NAME => AtPeer::decode(data),
        ProveShared::NAME => read::<ProveShared>(name, data),
        Migrate::NAME => read::<Migrate>(name, data),
        LeaveSource::NAME => read::<LeaveSource>(name, data),
        ProveApart::NAME => read::<ProveApart>(name, data),
        RemoveVariables::NAME => read::<RemoveVariables>(name, data),
        CreateSnapshot::NAME => read::<CreateSnapshot>(name, data),
        RevertSnapshot::NAME => read::<RevertSnapshot>(name, data),
        DeleteSnapshot::NAME => read::<DeleteSnapshot>(name, data),
        DefineNetwork::NAME => read::<DefineNetwork>(name, data),
        AutostartNetwork::NAME => read::<AutostartNetwork>(name, data),
        StartNetwork::NAME => read::<StartNetwork>(name, data),
        InstallHook::NAME => read::<InstallHook>(name, data),
        AddNetworkEntry::NAME => read::<AddNetworkEntry>(name, data),
        SetForwards::NAME => read::<SetForwards>(name, data),
        _ => Err(Error::new(ErrorKind::Unsupported, format!("this version knows no step {name}"))),
    }
}

/// A step that makes a volume for another one to fill, and deletes it when it is taken back, unless it is used by then.
#[must_use]
pub fn reserve_volume(volume: VolumeRef, size: Bytes, document: &StorageVolume) -> Box<dyn Step> {
    Box::new(ReserveVolume { volume, size, document: document.to_xml() })
}

/// A step that makes a volume with what another one of the host holds, whole whatever that lies upon, and shares blocks
/// where the file system can; it deletes the volume when it is taken back, unless that is used by then.
#[must_use]
pub fn copy_volume(from: VolumeRef, volume: VolumeRef, size: Bytes, document: &StorageVolume) -> Box<dyn Step> {
    Box::new(CopyVolume { from, volume, size, document: document.to_xml(), sharing: Sharing::Auto })
}

/// A step that starts a machine, and powers it off when it is taken back.
#[must_use]
pub fn start_machine(id: kvm_core::VmId, name: kvm_core::VmName) -> Box<dyn Step> {
    Box::new(Start { id, name, paused: false })
}

/// A step of this engine that happens on another host than the one that the operation changes first.
#[must_use]
pub fn at_peer(peer: Peer, step: Box<dyn Step>) -> Box<dyn Step> {
    Box::new(AtPeer::boxed(peer, step))
}

fn read<T: Step + DeserializeOwned + 'static>(name: &str, data: &Value) -> Result<Box<dyn Step>> {
    let step: T = serde_json::from_value(data.clone()).map_err(|e| {
        Error::new(ErrorKind::Corrupt, format!("the journal's step {name} cannot be read")).with_source(e)
    })?;
    Ok(Box::new(step))
}

/// The journal form of a step.
fn to_json(step: &impl Serialize) -> Result<Value> {
    serde_json::to_value(step).map_err(|e| Error::internal("the step has no JSON form").with_source(e))
}

/// The document that a step carries as text.
fn document<D: Document>(xml: &str) -> Result<D> {
    D::from_xml(xml).map_err(|e| Error::new(ErrorKind::Corrupt, "the step's document cannot be read").with_source(e))
}

/// `NotFound` is good news for whoever removes something.
pub(crate) fn unless_gone(result: Result<()>) -> Result<()> {
    match result {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_core::{VmId, VmName};

    fn round_trip(step: &dyn Step) {
        let json = step.to_json().unwrap();
        let again = decode(step.name(), &json).unwrap();
        assert_eq!(again.to_json().unwrap(), json);
        assert_eq!(again.title(), step.title());
    }

    #[test]
    fn every_step_is_made_again_from_its_journal() {
        let (id, name) = (VmId::from_entropy([7; 16]), VmName::parse("web").unwrap());
        let (pool, volume) = ("default".parse().unwrap(), "web.qcow2".parse().unwrap());
        let path = kvm_core::DiskPath::parse("/pool/web.qcow2").unwrap();
        round_trip(&CreateVolume {
            pool,
            volume,
            path: path.clone(),
            size: Bytes::GIB,
            grows: true,
            document: "<volume/>".into(),
            is_copy: true,
        });
        round_trip(&DeleteVolume {
            pool: "default".parse().unwrap(),
            volume: "web.qcow2".parse().unwrap(),
            path: Some(path),
            size: Bytes::GIB,
            vm: Some(id),
        });
        let volume: crate::VolumeRef = "default/web.qcow2".parse().unwrap();
        let (holes, verify, sharing) = (kvm_core::Holes::Keep, crate::Verify::Count, crate::Sharing::Auto);
        let (file, partial) = (std::path::PathBuf::from("/tmp/a"), std::path::PathBuf::from("/tmp/.a.partial"));
        round_trip(&ReserveVolume { volume: volume.clone(), size: Bytes::GIB, document: "<volume/>".into() });
        round_trip(&UploadVolume {
            volume: volume.clone(),
            file: file.clone(),
            length: Bytes::GIB,
            modified: 1,
            holes,
            verify,
        });
        let path = kvm_core::DiskPath::parse("/pool/web.qcow2").unwrap();
        round_trip(&MakeRoom { volume: volume.clone(), path: Some(path), size: Bytes::GIB });
        round_trip(&DownloadVolume {
            volume: volume.clone(),
            partial: partial.clone(),
            file: file.clone(),
            holes,
            verify,
        });
        round_trip(&PublishFile { partial, file, replace: true });
        let (from, document) = (volume.clone(), "<volume/>".into());
        round_trip(&CopyVolume { from, volume, size: Bytes::GIB, document, sharing });
        let pool: kvm_core::PoolName = "default".parse().unwrap();
        round_trip(&DefinePool { pool: pool.clone(), document: "<pool/>".into() });
        round_trip(&BuildPool { pool: pool.clone(), build: kvm_core::Build::Overwrite });
        round_trip(&StartPool { pool: pool.clone() });
        round_trip(&AutostartPool { pool: pool.clone() });
        round_trip(&StopPool { pool: pool.clone() });
        round_trip(&DestroyPool { pool: pool.clone() });
        round_trip(&UndefinePool { pool });
        let (file, at) = (std::path::PathBuf::from("/tmp/web.ova"), "default/web.qcow2".parse().unwrap());
        let source = crate::package::Source { file: file.clone(), staging: "/tmp".into(), open: None };
        let (to, from) = (crate::VolumeFormat::Qcow2, kvm_image::Format::Vmdk);
        round_trip(&FillVolume {
            volume: at,
            size: Bytes::GIB,
            grows: true,
            to,
            source,
            member: "d.vmdk".into(),
            from,
        });
        let (form, partial, scratch) = (crate::PackageForm::Ova, file.clone(), file);
        round_trip(&WritePackage {
            id,
            name: name.clone(),
            form,
            partial,
            scratch,
            shows_secrets: false,
            disks: vec![],
        });
        let device = kvm_core::DeviceRef::Disk("vdb".parse().unwrap());
        round_trip(&AttachDevice {
            id,
            name: name.clone(),
            device: device.clone(),
            document: "<disk/>".into(),
            impact: kvm_core::Impact::Both,
        });
        round_trip(&DetachDevice {
            id,
            name: name.clone(),
            device,
            live: Some("<disk/>".into()),
            config: None,
            timeout: std::time::Duration::from_secs(60),
        });
        let thread = kvm_core::IoThread::parse("2").unwrap();
        round_trip(&AddIoThread { id, name: name.clone(), thread, impact: kvm_core::Impact::Both });
        let none = kvm_xml::Domain::default();
        round_trip(&ShareMemory::new(id, name.clone(), &none, &none));
        let disk = StepSubject { id, name: name.clone(), device: kvm_core::DeviceRef::Disk("vda".parse().unwrap()) };
        let image = kvm_core::DiskPath::parse("/pool/a.qcow2").unwrap();
        let to = Place { path: image.clone(), format: "qcow2".into(), is_block: false };
        let speed = kvm_core::Bandwidth::parse("1M").unwrap();
        round_trip(&Mirror { disk: disk.clone(), from: image.clone(), to: to.clone(), is_commit: true, speed });
        round_trip(&Pivot { disk: disk.clone(), from: image.clone(), to: to.clone() });
        let (from, volume): (crate::VolumeRef, _) =
            ("default/a.qcow2".parse().unwrap(), "fast/a.qcow2".parse().unwrap());
        let copy = CopyVolume { from, volume, size: Bytes::GIB, document: "<volume/>".into(), sharing };
        let (original, new) = (copy.from.clone(), copy.volume.clone());
        round_trip(&CopyImage { disk: disk.clone(), copy });
        round_trip(&UseImage { disk: disk.clone(), original, from: image.clone(), copy: new, to });
        let merge = Merge { disk: disk.clone(), overlay: image.clone(), base: image.clone() };
        round_trip(&PullImage { disk, image: image.clone(), base: Some(image.clone()), speed });
        round_trip(&Define { id, name: name.clone(), document: "<domain/>".into(), keep: kvm_core::Keep::STATE });
        round_trip(&Undefine { id, name: name.clone() });
        round_trip(&SetAutostart { id, name: name.clone() });
        round_trip(&Start { id, name: name.clone(), paused: true });
        round_trip(&PowerOff { id, name: name.clone() });
        let (snapshot, pools): (kvm_core::SnapshotName, _) = ("s".parse().unwrap(), vec!["default".parse().unwrap()]);
        let spec = kvm_core::SnapshotSpec::internal(snapshot.clone());
        round_trip(&CreateSnapshot { id, name: name.clone(), spec, pools });
        let what = kvm_core::Remove::Everything;
        let (merges, memory) = (vec![merge], Some(image));
        round_trip(&DeleteSnapshot { id, name, snapshot, what, pools: vec![], merges, memory });
        let (name, uuid) = (kvm_core::NetworkName::parse("lab").unwrap(), uuid::Uuid::from_u128(7));
        round_trip(&DefineNetwork { name: name.clone(), uuid, document: "<network/>".into() });
        round_trip(&AutostartNetwork { name: name.clone() });
        round_trip(&StartNetwork { name: name.clone() });
        let forward: crate::PortForward = "tcp * 8080 192.168.122.50 80 52:54:00:12:34:56".parse().unwrap();
        round_trip(&InstallHook { before: None });
        let lease: crate::StaticLease = "52:54:00:12:34:56=192.168.122.50".parse().unwrap();
        let (entry, impact) = (lease.entry(), kvm_core::Impact::Both);
        round_trip(&AddNetworkEntry { network: name.clone(), entry, impact });
        round_trip(&SetForwards { network: name, before: vec![], after: vec![forward] });
    }

    #[test]
    fn a_passphrase_is_in_no_journal() {
        let (id, volume): (_, crate::VolumeRef) = (uuid::Uuid::from_u128(7).into(), "default/a".parse().unwrap());
        let passphrase = kvm_core::Passphrase::parse("correct horse").unwrap();
        let set = SetSecret { id, volume: volume.clone(), passphrase: Some(passphrase) };
        round_trip(&set);
        assert!(!set.to_json().unwrap().to_string().contains("horse") && !format!("{set:?}").contains("horse"));
        round_trip(&DefineSecret { id, volume, document: "<secret/>".into() });
        round_trip(&DeleteSecret { id });
    }

    #[test]
    fn every_step_between_two_hosts_is_made_again_from_its_journal() {
        use crate::migrate::{AtTimeout, MigrationTimeout};
        let peer = |target: &str| kvm_core::op::Peer {
            target: target.into(),
            host: serde_json::from_value(target.into()).unwrap(),
        };
        let ends = Ends { source: peer("mock:///a.yaml"), destination: peer("mock:///b.yaml") };
        let (id, name) = (VmId::from_entropy([7; 16]), VmName::parse("web").unwrap());
        let volume = CreateVolume {
            pool: "default".parse().unwrap(),
            volume: "web.qcow2".parse().unwrap(),
            path: kvm_core::DiskPath::parse("/pool/web.qcow2").unwrap(),
            size: Bytes::GIB,
            grows: true,
            document: "<volume/>".into(),
            is_copy: true,
        };
        round_trip(&AtPeer::new(ends.destination.clone(), volume));
        let (pool, marker) = ("default".parse().unwrap(), "marker".parse().unwrap());
        round_trip(&Mark { pool, peer_pool: "nas".parse().unwrap(), marker }.between(ends.clone()));
        let spec = kvm_core::MigrationSpec { copy: vec!["vda".parse().unwrap()], ..kvm_core::MigrationSpec::live() };
        let timeout =
            Some(MigrationTimeout { after: std::time::Duration::from_millis(1500), then: AtTimeout::PostCopy });
        round_trip(&Migrate { ends: ends.clone(), id, name: name.clone(), spec, timeout });
        let path = kvm_core::DiskPath::parse("/nvram/web_VARS.fd").unwrap();
        round_trip(&ProveApart { ends: ends.clone(), path: path.clone() });
        round_trip(&RemoveVariables { ends: ends.clone(), id, name: name.clone(), path });
        round_trip(&LeaveSource { ends, id, name, place: kvm_core::DefinitionPlace::Destination });
    }

    #[test]
    fn what_is_no_step_of_ours_is_refused() {
        assert_eq!(decode("copy", &Value::Null).unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(decode("define", &Value::Null).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
