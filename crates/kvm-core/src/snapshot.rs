//! Snapshots: a machine as it was at one moment, to which it can go back.

use std::collections::BTreeSet;
use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use kvm_xml::domain::{Disk, DiskDevice, DiskFormat, DiskSnapshot, DiskSource, DiskType, ImageFormat};
use kvm_xml::snapshot::{SnapshotDisks, SnapshotMemory, SnapshotMemoryMode, SnapshotState};
use kvm_xml::value::DiskName;
use kvm_xml::{Domain, DomainSnapshot};
use serde::{Deserialize, Serialize};

use crate::{BlockJob, Description, DiskPath, Error, Result, SnapshotName, VmId, VmState};

/// Snapshots of machines.
///
/// A snapshot is *internal* when the images themselves hold it, or *external* when the images stay as they are and the
/// machine goes on in an overlay of each. Every method gives `NotFound` when there is no such machine or snapshot.
#[async_trait]
pub trait Snapshots: fmt::Debug + Send + Sync {
    /// Lists the snapshots of a machine, parents before children.
    async fn list(&self, vm: &VmId) -> Result<Vec<SnapshotInfo>>;

    /// Gives a snapshot's document, with the machine as it was, without secrets.
    async fn definition(&self, vm: &VmId, name: &SnapshotName) -> Result<DomainSnapshot>;

    /// Takes a snapshot of the machine as it is. It becomes the current one, the child of the one before.
    ///
    /// `InvalidInput` as [`SnapshotSpec::check`] says. `AlreadyExists` when the name is taken or a new file is there already, `NotFound` for a disk that the machine does
    /// not have, `Unsupported` when the machine's disks or firmware do not allow it. `InvalidState` when the memory of a
    /// machine that is off is to be kept, or its guest is to be quiet; `Unavailable` when the guest's agent does not
    /// answer.
    async fn create(&self, vm: &VmId, spec: &SnapshotSpec) -> Result<()>;

    /// Puts the machine back: the disks that took part, its definition, and its memory where the snapshot has it. What
    /// happened since is lost. The snapshot is the current one afterwards.
    ///
    /// `InvalidState` when an image or a memory file is not there, or with [`Risk::Refuse`] when the hypervisor cannot
    /// promise that the guest finds the same machine; `Unsupported` when the machine's images do not allow it, for
    /// instance while checkpoints watch them.
    async fn revert(&self, vm: &VmId, name: &SnapshotName, how: Revert) -> Result<()>;

    /// Deletes a snapshot; the machine stays as it is. Its children become its parent's, and when it was the current one
    /// its parent is. What was written since an external one goes into the image that held its state.
    ///
    /// `Unsupported` when the hypervisor cannot take it out from between the others: an external one at which several
    /// branches begin, that has children in a branch that the machine is not in, or whose parent is internal; or an internal one of
    /// a running machine that goes on in another image by now.
    async fn delete(&self, vm: &VmId, name: &SnapshotName, what: Remove) -> Result<()>;

    /// Looks at the images that the process of a running machine has open.
    ///
    /// The documents say that, too, unless the hypervisor died while it changed them. Ask only then: libvirt marks a
    /// machine whose process was asked directly. `InvalidState` when the machine is off; `Busy` while the hypervisor is
    /// at work on it, after which the documents may say something else; `Unsupported` when the backend cannot ask.
    async fn open_images(&self, vm: &VmId) -> Result<OpenImages>;

    /// Takes a running machine out of an overlay that its document does not name: one into which a snapshot has put it
    /// whose hypervisor died before it wrote that down. What the guest wrote there goes into the image below, in which
    /// the machine goes on, as its document says.
    ///
    /// Does what can be done now and says what is under way; to be called again until that is `None`: the machine does not
    /// have the overlay open. One that it has open without being in it is closed, whatever the document names. `InvalidState`
    /// when the machine is in it as its document says, or the document's image is not the one below it, or the merge failed:
    /// the machine stays where it is then. Else as [`open_images`](Self::open_images).
    async fn leave_overlay(&self, vm: &VmId, overlay: &DiskPath) -> Result<Option<BlockJob>>;
}

/// What a new snapshot is to be like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotSpec {
    /// Unique within the machine.
    pub name: SnapshotName,
    /// What people say about it.
    pub description: Option<Description>,
    /// Where the state is kept.
    pub place: SnapshotPlace,
    /// Whether the guest brings its file systems in order first.
    pub quiesce: Quiesce,
}

impl SnapshotSpec {
    /// An internal snapshot.
    #[must_use]
    pub fn internal(name: SnapshotName) -> Self {
        Self { name, description: None, place: SnapshotPlace::Internal, quiesce: Quiesce::No }
    }

    /// Refuses what contradicts itself: memory holds what a guest has not written yet, so a guest is quiet only while its
    /// disks alone are kept. Backends call it first.
    pub fn check(&self) -> Result<()> {
        let disks_alone = matches!(self.place, SnapshotPlace::External { memory: None, .. });
        match self.quiesce == Quiesce::No || disks_alone {
            true => Ok(()),
            false => {
                Err(Error::invalid("quiesce", "a guest can be quiet only for an external snapshot of its disks alone"))
            }
        }
    }

    /// The document that asks a hypervisor for it, given the machine as it is.
    #[must_use]
    pub fn document(&self, machine: &Domain) -> DomainSnapshot {
        let mut document = DomainSnapshot {
            name: Some(self.name.as_str().to_owned()),
            description: self.description.as_ref().map(|text| text.as_str().to_owned()),
            ..DomainSnapshot::default()
        };
        if let SnapshotPlace::External { overlays, memory } = &self.place {
            let mode = if memory.is_some() { SnapshotMemoryMode::External } else { SnapshotMemoryMode::No };
            document.memory = Some(SnapshotMemory {
                snapshot: Some(mode),
                file: memory.as_ref().map(|path| path.as_str().to_owned()),
                ..SnapshotMemory::default()
            });
            let overlay = |name: &DiskName| overlays.iter().find(|overlay| overlay.disk == *name);
            // A disk that is not named would take part.
            let disks = disks(machine).map(|(name, _)| match overlay(name) {
                Some(overlay) => overlay.document(),
                None => disk(name, DiskSnapshot::No),
            });
            document.disks = Some(SnapshotDisks { disk: disks.collect(), ..SnapshotDisks::default() });
        }
        document
    }
}

/// Where a snapshot's state is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotPlace {
    /// In the images of all disks that can be written, which have to be qcow2; the memory of a running machine, too.
    Internal,
    /// In the images as they are: the machine goes on in overlays.
    External {
        /// The disks that take part, each with its new image.
        overlays: Vec<Overlay>,
        /// The file for the memory of a running machine; without it only the disks are kept.
        memory: Option<DiskPath>,
    },
}

/// The images that the process of a machine has open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenImages {
    /// All of them, also those below others, and those that are left over.
    pub all: BTreeSet<DiskPath>,
    /// Those that the machine's disks are in.
    pub used: BTreeSet<DiskPath>,
}

/// The new image of a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// Which disk.
    #[serde(with = "disk_name")]
    pub disk: DiskName,
    /// Where; a qcow2 file that is not there yet.
    pub path: DiskPath,
}

impl Overlay {
    fn document(&self) -> kvm_xml::snapshot::SnapshotDisk {
        let file = Some(self.path.as_str().to_owned());
        kvm_xml::snapshot::SnapshotDisk {
            r#type: Some(DiskType::File),
            driver: Some(ImageFormat { r#type: Some(DiskFormat::Qcow2), ..ImageFormat::default() }),
            source: Some(DiskSource { file, ..DiskSource::default() }),
            ..disk(&self.disk, DiskSnapshot::External)
        }
    }
}

fn disk(name: &DiskName, mode: DiskSnapshot) -> kvm_xml::snapshot::SnapshotDisk {
    kvm_xml::snapshot::SnapshotDisk {
        name: Some(name.as_str().to_owned()),
        snapshot: Some(mode),
        ..kvm_xml::snapshot::SnapshotDisk::default()
    }
}

/// Whether a guest brings its file systems in order before a snapshot, which its agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quiesce {
    /// No: as after a power cut.
    No,
    /// Yes; it writes nothing until the snapshot is there.
    Yes,
}

/// How a machine goes back to a snapshot; the default is as it was then, without risk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revert {
    /// What it does afterwards.
    pub then: AfterRevert,
    /// What happens when it is not certain that the guest finds the same machine.
    pub risk: Risk,
}

/// What a machine does after it went back to a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AfterRevert {
    /// What it did then: [`SnapshotInfo::state`].
    #[default]
    AsItWas,
    /// It runs: from its memory, or from a boot where the snapshot has none.
    Running,
    /// It is paused.
    Paused,
}

/// What happens when a hypervisor cannot promise that the guest finds the same machine after a revert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// It is refused.
    #[default]
    Refuse,
    /// It is taken.
    Take,
}

/// What goes when a snapshot or checkpoint is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remove {
    /// The record and what it kept.
    Everything,
    /// The record alone: what is in images and files stays.
    Record,
}

/// What is known of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// Unique within the machine.
    pub name: SnapshotName,
    /// The snapshot before it.
    pub parent: Option<SnapshotName>,
    /// Whether it is the one that the machine was last put to.
    pub current: bool,
    /// What was said when it was made.
    pub description: Option<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// What the machine is after a revert that asks for nothing else; off when the snapshot has no memory.
    pub state: VmState,
    /// How the memory is kept; `None` when it is not.
    pub memory: Option<SnapshotKind>,
    /// The file with the memory of an external one.
    pub memory_file: Option<DiskPath>,
    /// The disks that take part.
    pub disks: Vec<SnapshotDisk>,
}

/// Where the state of one disk is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotDisk {
    /// Which disk.
    #[serde(with = "disk_name")]
    pub disk: DiskName,
    /// How its state is kept.
    pub kind: SnapshotKind,
    /// The image that holds the state: the one that the machine had then. `None` for one that is no file or device.
    pub image: Option<DiskPath>,
    /// Of an external one, the image in which the machine went on.
    pub overlay: Option<DiskPath>,
}

/// Who holds a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotKind {
    /// The image that is written on.
    Internal,
    /// A file that is not written any more.
    External,
}

impl SnapshotKind {
    /// The word in plans, tables and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::External => "external",
        }
    }
}

impl fmt::Display for SnapshotKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl SnapshotInfo {
    /// What a hypervisor's document says. `InvalidInput` when its name, or its parent's, may not be spoken.
    pub fn read(document: &DomainSnapshot, current: bool) -> Result<Self> {
        let parent = document.parent.as_ref().and_then(|parent| parent.name.as_deref());
        let memory = document.memory.as_ref();
        let mode = memory.and_then(|memory| memory.snapshot);
        let state = match document.state {
            Some(SnapshotState::Running | SnapshotState::Blocked) => VmState::Running,
            Some(SnapshotState::Paused) => VmState::Paused,
            Some(SnapshotState::Crashed) => VmState::Crashed,
            Some(SnapshotState::Shutdown) => VmState::ShuttingDown,
            Some(SnapshotState::Shutoff | SnapshotState::DiskSnapshot) => VmState::Off,
            None => VmState::Unknown,
        };
        Ok(Self {
            name: SnapshotName::adopt(document.name.as_deref().unwrap_or_default())?,
            parent: parent.map(SnapshotName::adopt).transpose()?,
            current,
            description: document.description.clone().filter(|text| !text.is_empty()),
            created: document.creation_time.and_then(|seconds| Timestamp::from_second(seconds).ok()),
            state,
            memory: match mode {
                Some(SnapshotMemoryMode::Internal) => Some(SnapshotKind::Internal),
                Some(SnapshotMemoryMode::External) => Some(SnapshotKind::External),
                Some(SnapshotMemoryMode::No) | None => None,
            },
            memory_file: memory.and_then(|memory| path(memory.file.as_deref())),
            disks: snapshot_disks(document),
        })
    }

    /// External as soon as a part of it is.
    #[must_use]
    pub fn kind(&self) -> SnapshotKind {
        let kinds = self.disks.iter().map(|disk| disk.kind).chain(self.memory);
        match kinds.into_iter().any(|kind| kind == SnapshotKind::External) {
            true => SnapshotKind::External,
            false => SnapshotKind::Internal,
        }
    }
}

fn snapshot_disks(document: &DomainSnapshot) -> Vec<SnapshotDisk> {
    let all = document.disks.iter().flat_map(|disks| &disks.disk);
    let image = |wanted: &str| {
        let machine = document.domain.as_deref()?;
        let (_, disk) = disks(machine).find(|(name, _)| name.as_str() == wanted)?;
        source(disk.source.as_ref())
    };
    let read = |disk: &kvm_xml::snapshot::SnapshotDisk| {
        let name = disk.name.as_deref()?;
        let kind = match disk.snapshot? {
            DiskSnapshot::Internal => SnapshotKind::Internal,
            DiskSnapshot::External | DiskSnapshot::Manual => SnapshotKind::External,
            DiskSnapshot::No => return None,
        };
        let overlay = source(disk.source.as_ref()).filter(|_| kind == SnapshotKind::External);
        Some(SnapshotDisk { disk: name.parse().ok()?, kind, image: image(name), overlay })
    };
    all.filter_map(read).collect()
}

/// The disks of a machine that have a name.
fn disks(machine: &Domain) -> impl Iterator<Item = (&DiskName, &Disk)> {
    let all = machine.devices.iter().flat_map(|devices| &devices.disk);
    all.filter_map(|disk| Some((disk.target.as_ref()?.dev.as_ref()?, disk)))
}

/// The disks of a machine whose state a snapshot can keep: they can be written, and are no drives for media.
pub fn disks_to_keep(machine: &Domain) -> impl Iterator<Item = (&DiskName, &Disk)> {
    disks(machine).filter(|(_, disk)| {
        !disk.readonly
            && !disk.shareable
            && matches!(disk.device, None | Some(DiskDevice::Disk))
            && disk.source.is_some()
    })
}

fn source(source: Option<&DiskSource>) -> Option<DiskPath> {
    let source = source?;
    path(source.file.as_deref().or(source.dev.as_deref()))
}

fn path(text: Option<&str>) -> Option<DiskPath> {
    text.and_then(|text| DiskPath::adopt(text).ok())
}

/// Names of disks in journals and JSON.
pub(crate) mod disk_name {
    use kvm_xml::value::DiskName;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(name: &DiskName, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name.as_str())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DiskName, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_xml::Document as _;

    const MACHINE: &str = "<domain><devices>\
        <disk type='file' device='disk'><source file='/pool/a.qcow2'/><target dev='vda'/></disk>\
        <disk type='file' device='disk'><source file='/pool/b.qcow2'/><target dev='vdb'/></disk>\
        <disk type='file' device='cdrom'><source file='/iso/c.iso'/><target dev='sda'/><readonly/></disk>\
        </devices></domain>";

    fn spec(place: SnapshotPlace) -> SnapshotSpec {
        SnapshotSpec { place, ..SnapshotSpec::internal(SnapshotName::parse("s").unwrap()) }
    }

    fn path(text: &str) -> DiskPath {
        DiskPath::parse(text).unwrap()
    }

    #[test]
    fn only_the_disks_that_are_named_go_on_in_an_overlay() {
        let machine = Domain::from_xml(MACHINE).unwrap();
        let overlays = vec![Overlay { disk: "vdb".parse().unwrap(), path: path("/pool/b.s.qcow2") }];
        let xml = spec(SnapshotPlace::External { overlays, memory: None }).document(&machine).to_xml();
        let document = DomainSnapshot::from_xml(&xml).unwrap();
        let modes: Vec<_> = document.disks.iter().flat_map(|disks| &disks.disk).map(|disk| disk.snapshot).collect();
        assert_eq!(modes, [Some(DiskSnapshot::No), Some(DiskSnapshot::External), Some(DiskSnapshot::No)]);
        assert!(xml.contains("<memory snapshot=\"no\"/>") || xml.contains("<memory snapshot='no'/>"), "{xml}");
    }

    #[test]
    fn an_internal_one_leaves_everything_to_the_hypervisor() {
        let machine = Domain::from_xml(MACHINE).unwrap();
        let document = spec(SnapshotPlace::Internal).document(&machine);
        assert!(document.disks.is_none() && document.memory.is_none());
    }

    #[test]
    fn a_document_says_where_each_state_is() {
        let xml = format!(
            "<domainsnapshot><name>s</name><state>running</state><creationTime>1</creationTime>\
             <memory snapshot='external' file='/pool/s.mem'/><disks><disk name='vda' snapshot='no'/>\
             <disk name='vdb' snapshot='external' type='file'><source file='/pool/b.s'/></disk></disks>{MACHINE}\
             </domainsnapshot>"
        );
        let info = SnapshotInfo::read(&DomainSnapshot::from_xml(&xml).unwrap(), true).unwrap();
        assert_eq!(
            (info.kind(), info.state, info.memory_file),
            (SnapshotKind::External, VmState::Running, Some(path("/pool/s.mem")))
        );
        let [disk] = info.disks.as_slice() else { panic!("{:?}", info.disks) };
        assert_eq!((&disk.image, &disk.overlay), (&Some(path("/pool/b.qcow2")), &Some(path("/pool/b.s"))));
    }

    #[test]
    fn a_request_survives_a_journal() {
        let overlays = vec![Overlay { disk: "vdb".parse().unwrap(), path: path("/pool/b.s.qcow2") }];
        for place in [SnapshotPlace::Internal, SnapshotPlace::External { overlays, memory: Some(path("/pool/m")) }] {
            let text = serde_json::to_string(&spec(place.clone())).unwrap();
            assert_eq!(serde_json::from_str::<SnapshotSpec>(&text).unwrap(), spec(place), "{text}");
        }
    }
}
