//! What every case works with: the host, and short words for what cases do all the time.

use std::time::Duration;

use futures_util::StreamExt as _;
use kvm_core::{
    Clock, Error, ErrorKind, Event, EventStream, Existing, Host, Hypervisor, HypervisorExt as _, NetworkName, Networks,
    PoolName, PowerAction, Result, SnapshotName, Storage, VmChange, VmFilter, VmId, VmName, VmRef, VmState, VmSummary,
    VolumeInfo, VolumeName,
};
use kvm_xml::Domain;
use kvm_xml::domain::{Devices, Disk, DiskBus, DiskDevice, DiskDriver, DiskFormat, DiskSource, DiskTarget, DiskType};
use kvm_xml::value::Size;
use kvm_xml::volume::{StorageVolume, VolumeFormat, VolumeFormatType, VolumeTarget};
use uuid::Uuid;

use crate::case::Failure;
use crate::rig::Bench;

/// After this time a guest that did not shut down is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// A case's view of its host.
pub(crate) struct Cx {
    bench: Box<dyn Bench>,
    planted: Vec<String>,
}

impl Cx {
    pub(crate) fn new(bench: Box<dyn Bench>, planted: Vec<String>) -> Self {
        Self { bench, planted }
    }

    pub(crate) async fn finish(self) -> Result<()> {
        self.bench.finish().await
    }

    pub(crate) fn bench(&self) -> &dyn Bench {
        &*self.bench
    }

    pub(crate) fn host(&self) -> &Host {
        self.bench.host()
    }

    /// Another host of the same backend.
    pub(crate) async fn peer(&self) -> Result<Host> {
        self.bench.peer().await
    }

    pub(crate) fn hypervisor(&self) -> &dyn Hypervisor {
        &*self.host().hypervisor
    }

    pub(crate) fn storage(&self) -> &dyn Storage {
        &*self.host().storage
    }

    pub(crate) fn networks(&self) -> &dyn Networks {
        &*self.host().networks
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.bench.clock()
    }

    pub(crate) fn patience(&self) -> Duration {
        self.bench.patience()
    }

    /// The names that somebody else defined machines under.
    pub(crate) fn planted(&self) -> &[String] {
        &self.planted
    }

    pub(crate) fn vm_name(&self, word: &str) -> Result<VmName> {
        VmName::parse(&self.word(word))
    }

    pub(crate) fn pool_name(&self, word: &str) -> Result<PoolName> {
        PoolName::parse(&self.word(word))
    }

    pub(crate) fn network_name(&self, word: &str) -> Result<NetworkName> {
        NetworkName::parse(&self.word(word))
    }

    fn word(&self, word: &str) -> String {
        format!("{}{word}", self.bench.prefix())
    }

    /// The id that belongs to a word, always the same in one case.
    pub(crate) fn id(&self, word: &str) -> VmId {
        VmId::from(Uuid::new_v5(&Uuid::NAMESPACE_OID, self.word(word).as_bytes()))
    }

    /// A document for a machine under that word, not defined yet.
    pub(crate) fn document(&self, word: &str) -> Result<Domain> {
        Ok(self.bench.machine(&self.vm_name(word)?, &self.id(word)))
    }

    /// A machine that is off.
    pub(crate) async fn defined(&self, word: &str) -> Result<VmId> {
        self.hypervisor().define(&self.document(word)?, Existing::Reject).await
    }

    /// A machine that runs.
    pub(crate) async fn running(&self, word: &str) -> Result<VmId> {
        let id = self.defined(word).await?;
        self.power(&id, PowerAction::Start).await?;
        Ok(id)
    }

    /// A machine that was brought into this state. The states that a host can be asked for.
    pub(crate) async fn in_state(&self, word: &str, state: VmState) -> Result<VmId> {
        let id = self.defined(word).await?;
        let actions: &[PowerAction] = match state {
            VmState::Off => &[],
            VmState::Running => &[PowerAction::Start],
            VmState::Paused => &[PowerAction::Start, PowerAction::Suspend],
            VmState::Saved => &[PowerAction::Start, PowerAction::Save],
            other => return Err(Error::internal(format!("no way to {other}"))),
        };
        for action in actions {
            self.power(&id, *action).await?;
        }
        Ok(id)
    }

    pub(crate) async fn power(&self, id: &VmId, action: PowerAction) -> Result<()> {
        self.hypervisor().power(id, action).await
    }

    pub(crate) async fn find(&self, id: &VmId) -> Result<VmSummary> {
        self.hypervisor().find(&VmRef::Id(*id)).await
    }

    pub(crate) async fn state(&self, id: &VmId) -> Result<VmState> {
        Ok(self.find(id).await?.state)
    }

    /// Asks a guest to shut down until it has done so: one that is not up yet hears nothing.
    pub(crate) async fn shut_down(&self, id: &VmId) -> Result<VmSummary> {
        let mut left = self.patience();
        loop {
            match self.power(id, PowerAction::Shutdown).await {
                // It has begun, or is over by now.
                Err(e) if e.kind() != ErrorKind::InvalidState => return Err(e),
                _ => {}
            }
            let wait = left.min(ASK_AGAIN);
            left -= wait;
            match self.hypervisor().wait_for(id, &[VmState::Off], wait, self.clock()).await {
                Err(e) if e.kind() == ErrorKind::Timeout && !left.is_zero() => {}
                other => return other,
            }
        }
    }

    /// The machines of this case, in the order of the list.
    pub(crate) async fn list(&self, filter: &VmFilter, ours: &[VmId]) -> Result<Vec<VmSummary>> {
        let all = self.hypervisor().list(filter).await?;
        Ok(all.into_iter().filter(|vm| ours.contains(&vm.id)).collect())
    }

    /// An active pool.
    pub(crate) async fn active_pool(&self, word: &str) -> Result<PoolName> {
        let name = self.pool_name(word)?;
        self.storage().create_pool(&self.bench.pool(&name), kvm_core::Autostart::Off).await?;
        Ok(name)
    }

    /// A volume of this size that takes as little as possible.
    pub(crate) async fn thin_volume(&self, pool: &PoolName, name: &str, bytes: u64) -> Result<VolumeInfo> {
        self.storage().create_volume(pool, &volume(name, VolumeFormatType::Qcow2, bytes, Some(0))).await
    }

    /// A machine that is off, with one writable qcow2 disk in a pool of its own.
    pub(crate) async fn with_disk(&self, word: &str) -> Result<(VmId, VolumeInfo)> {
        let pool = self.active_pool(&format!("{word}-pool")).await?;
        let disk = self.thin_volume(&pool, "disk.qcow2", 8 << 20).await?;
        let mut document = self.document(word)?;
        document.devices.get_or_insert_with(Devices::default).disk.push(qcow2_disk(disk.host_path()?.as_str(), "vda")?);
        let id = self.hypervisor().define(&document, Existing::Reject).await?;
        Ok((id, disk))
    }

    pub(crate) fn snapshot_name(&self, word: &str) -> Result<SnapshotName> {
        SnapshotName::parse(word)
    }

    /// Takes events about one machine until one of them is `last`, and gives all of them.
    pub(crate) async fn changes_until(
        &self,
        events: &mut EventStream,
        vm: &VmId,
        last: VmChange,
    ) -> Result<Vec<VmChange>, Failure> {
        let mut seen = Vec::new();
        while seen.last() != Some(&last) {
            match self.next_event(events).await {
                Ok(Event::Vm(event)) if event.vm == *vm => seen.push(event.what),
                Ok(_) => {}
                Err(Failure { .. }) => {
                    return Err(Failure::new(format_args!("no event {last:?} in time; before it came {seen:?}")));
                }
            }
        }
        Ok(seen)
    }

    /// The next event, as long as they may take.
    pub(crate) async fn next_event(&self, events: &mut EventStream) -> Result<Event, Failure> {
        tokio::select! {
            biased;
            event = events.next() => event.ok_or_else(|| Failure::new("the stream of events has ended")),
            () = self.clock().sleep(self.patience()) => Err(Failure::new("no event in time")),
        }
    }

    /// `Err` with a message when the host has no such family.
    pub(crate) fn family<'a, T: ?Sized>(&self, what: &str, facet: Option<&'a T>) -> Result<&'a T> {
        facet.ok_or_else(|| Error::new(ErrorKind::Unsupported, format!("the backend has no {what}")))
    }
}

/// A document for a volume.
pub(crate) fn volume(name: &str, format: VolumeFormatType, capacity: u64, allocation: Option<u64>) -> StorageVolume {
    StorageVolume {
        name: Some(name.to_owned()),
        capacity: Some(Size::from_bytes(capacity)),
        allocation: allocation.map(Size::from_bytes),
        target: Some(VolumeTarget {
            format: Some(VolumeFormat { r#type: Some(format), ..VolumeFormat::default() }),
            ..VolumeTarget::default()
        }),
        ..StorageVolume::default()
    }
}

pub(crate) fn volume_name(word: &str) -> Result<VolumeName> {
    VolumeName::parse(word)
}

/// A virtio disk of a machine.
pub(crate) fn qcow2_disk(path: &str, target: &str) -> Result<Disk> {
    let target = target.parse().map_err(|e: kvm_xml::XmlError| Error::internal("no disk name").with_source(e))?;
    Ok(Disk {
        r#type: Some(DiskType::File),
        device: Some(DiskDevice::Disk),
        driver: Some(DiskDriver {
            name: Some("qemu".into()),
            r#type: Some(DiskFormat::Qcow2),
            ..DiskDriver::default()
        }),
        source: Some(DiskSource { file: Some(path.to_owned()), ..DiskSource::default() }),
        target: Some(DiskTarget { dev: Some(target), bus: Some(DiskBus::Virtio), ..DiskTarget::default() }),
        ..Disk::default()
    })
}
