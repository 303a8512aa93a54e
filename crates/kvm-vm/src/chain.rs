//! Who uses which image: the graph of a whole host, put together from all that can be known of it.
//!
//! The host's pools say which volumes there are and what they lie upon; the machines' documents, live and stored, which
//! images they use, by whatever element; snapshots and checkpoints hold on to the images of their machine. Where the
//! transport reaches the files, headers are read by `kvm-image` and are worth more than what a pool remembers of its last
//! look. Nothing is guessed: an image that is recorded as raw has no header.
//!
//! The graph errs on one side. An image of which nobody can say what it lies upon refuses every change.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt as _;
use kvm_core::{
    DiskPath, ErrorKind, Host, MacAddr, PoolInfo, Result, SnapshotInfo, View, VmFilter, VmId, VmName, VmSummary,
    VolumeInfo,
};
use kvm_image::Format;
use kvm_image::graph::{Access, Graph, GraphBuilder, Name, User};
use kvm_xml::Domain;

use crate::parallel;
use crate::place::volume_name;

mod address;
mod document;
mod file;
mod header;
mod mention;

pub(crate) use file::normal;
pub(crate) use header::bases;
pub use header::inspect;

use document::Images;
use file::Files;
use header::Look;
use mention::Mentions;

/// The images of a host and who uses them, at the moment when it was asked.
#[derive(Debug)]
pub struct DiskGraph {
    graph: Graph,
    volumes: Vec<VolumeInfo>,
    machines: Vec<Machine>,
    inactive: Vec<PoolInfo>,
}

/// What one machine says.
#[derive(Debug)]
struct Machine {
    id: VmId,
    name: VmName,
    images: Images,
    mentions: Mentions,
    snapshots: Vec<SnapshotInfo>,
    checkpoints: Vec<String>,
}

/// Reads every machine, pool and header of a host.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kvm_core::Result<()> {
/// # let host = kvm_mock::Mock::demo(std::sync::Arc::new(kvm_core::SystemClock))?.host();
/// let graph = kvm_vm::disk_graph(&host).await?;
/// assert!(graph.graph().images().iter().any(|image| !image.users.is_empty()));
/// # Ok(())
/// # }
/// ```
pub async fn disk_graph(host: &Host) -> Result<DiskGraph> {
    let vms = host.hypervisor.list(&VmFilter::all()).await?;
    let mut machines = Vec::new();
    for read in parallel::for_each(&vms, |vm| machine(host, vm).boxed()).await {
        machines.extend(read?);
    }
    let (active, inactive): (Vec<_>, Vec<_>) = host.storage.pools().await?.into_iter().partition(|pool| pool.active);
    let mut volumes = Vec::new();
    for pool in &active {
        volumes.extend(host.storage.volumes(&pool.name).await?);
    }
    let mut draft = Draft::default();
    let kind = |volume: &VolumeInfo| active.iter().find(|pool| pool.name == volume.pool).map_or("", |pool| &pool.kind);
    volumes.iter().for_each(|volume| draft.volume(volume, kind(volume)));
    machines.iter().for_each(|machine| draft.images(machine));
    draft.headers(host).await;
    draft.same_files(host, &machines).await;
    machines.iter().for_each(|machine| draft.mentions(machine, &volumes));
    Ok(DiskGraph { graph: draft.builder.build(), volumes, machines, inactive })
}

impl DiskGraph {
    /// Who lies upon what and who uses what.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Pools that are not active: what in them lies upon an image is not known.
    #[must_use]
    pub fn inactive(&self) -> &[PoolInfo] {
        &self.inactive
    }

    /// Everything through which a machine uses images. Nothing for one that is not there.
    #[must_use]
    pub fn users_of(&self, vm: &VmId) -> BTreeSet<User> {
        let name = self.machines.iter().find(|machine| machine.id == *vm).map(|machine| machine.name.as_str());
        name.map(|name| self.graph.users_of_vm(name)).unwrap_or_default()
    }

    /// The volume that an image of the graph is, if it is one of an active pool.
    #[must_use]
    pub fn volume(&self, image: usize) -> Option<&VolumeInfo> {
        let names = &self.graph.images().get(image)?.names;
        self.volumes.iter().find(|volume| names.contains(&volume_key(volume)))
    }

    /// The volume at exactly this path.
    pub(crate) fn volume_at(&self, path: &str) -> Option<&VolumeInfo> {
        self.volumes.iter().find(|volume| volume.path.as_ref().is_some_and(|at| normal(at.as_str()) == path))
    }

    /// The volume of this pool and name.
    pub(crate) fn volume_named(&self, pool: &str, volume: &str) -> Option<&VolumeInfo> {
        self.volumes.iter().find(|info| info.pool.as_str() == pool && info.name.as_str() == volume)
    }

    /// Whether a machine's definition opens the image as raw, so that whatever its guest wrote there is no header.
    pub(crate) fn is_raw(&self, path: &DiskPath) -> bool {
        let name = path_key(path);
        let mut opened = self.machines.iter().flat_map(|machine| &machine.images.opened);
        opened.any(|opened| opened.image == name && opened.format == Some(Format::Raw))
    }

    /// The machine that has this hardware address.
    #[must_use]
    pub fn owner_of(&self, mac: &MacAddr) -> Option<&VmName> {
        let text = mac.to_string();
        self.machines.iter().find(|machine| machine.mentions.macs.contains(&text)).map(|machine| &machine.name)
    }
}

async fn machine(host: &Host, vm: &VmSummary) -> Result<Option<Machine>> {
    match read_machine(host, vm).await {
        // It went away while we looked.
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

async fn read_machine(host: &Host, vm: &VmSummary) -> Result<Machine> {
    let views = if vm.state.is_active() { &[View::CONFIG, View::LIVE][..] } else { &[View::CONFIG] };
    let (mut images, mut mentions) = (Images::default(), Mentions::default());
    for view in views {
        let document: Domain = host.hypervisor.definition(&vm.id, *view).await?;
        images.read(&document);
        mentions.read(&document);
    }
    let snapshots = match host.hypervisor.snapshots() {
        Some(facet) => facet.list(&vm.id).await?,
        None => Vec::new(),
    };
    let checkpoints = match host.hypervisor.checkpoints() {
        Some(facet) => facet.list(&vm.id).await?.into_iter().map(|checkpoint| checkpoint.name.into()).collect(),
        None => Vec::new(),
    };
    Ok(Machine { id: vm.id, name: vm.name.clone(), images, mentions, snapshots, checkpoints })
}

/// The graph while it is put together.
#[derive(Debug, Default)]
struct Draft {
    builder: GraphBuilder,
    /// What is on record of each path that somebody names.
    paths: BTreeMap<String, Record>,
}

/// What is known of an image without reading it.
#[derive(Clone, Debug, Default)]
struct Record {
    /// By what it is opened; raw as soon as one machine opens it so.
    format: Option<Format>,
    /// What the host says that it lies upon; used unless its header says better.
    told: Vec<Name>,
    /// Whether somebody has said what it lies upon, even if that is nothing.
    is_told: bool,
}

impl Draft {
    fn volume(&mut self, volume: &VolumeInfo, kind: &str) {
        let Some(path) = &volume.path else {
            // Its bytes are its guest's: the hypervisor reads no header in them, and lets it lie upon nothing.
            let address = volume.address.as_deref().and_then(|address| address::of_volume(kind, address));
            self.builder.image(&address.into_iter().chain([volume_key(volume)]).collect::<Vec<_>>());
            return;
        };
        let path = normal(path.as_str());
        self.builder.image(&[Name::path(path.clone()), volume_key(volume)]);
        let record = self.paths.entry(path).or_default();
        record.is_told = true;
        record.format = volume.format.as_deref().map_or(Some(Format::Raw), Format::named);
        record.told.extend(volume.backing.iter().map(|path| Name::path(normal(path.as_str()))));
    }

    fn images(&mut self, machine: &Machine) {
        let vm = machine.name.as_str();
        for usage in &machine.images.uses {
            let user = match usage.is_mirror {
                true => User::Mirror { vm: vm.to_owned(), disk: usage.disk.clone() },
                false => User::vm(vm, usage.disk.as_str()),
            };
            self.builder.usage(user, usage.access, &usage.image);
            if usage.access == Access::Read {
                continue;
            }
            for snapshot in &machine.snapshots {
                self.builder.usage(holder(vm, snapshot), Access::Read, &usage.image);
            }
            for checkpoint in &machine.checkpoints {
                let user = User::Checkpoint { vm: vm.to_owned(), checkpoint: checkpoint.clone() };
                self.builder.usage(user, Access::Read, &usage.image);
            }
        }
        for snapshot in &machine.snapshots {
            let states = snapshot.disks.iter().filter_map(|disk| disk.image.as_ref());
            for path in states.clone() {
                self.paths.entry(normal(path.as_str())).or_default();
            }
            for path in states.chain(&snapshot.memory_file) {
                self.builder.usage(holder(vm, snapshot), Access::Read, &Name::path(normal(path.as_str())));
            }
        }
        for link in &machine.images.links {
            self.builder.backing(&link.overlay, &link.base);
        }
        for opened in &machine.images.opened {
            let Name::Path { path } = &opened.image else { continue };
            let record = self.paths.entry(path.clone()).or_default();
            record.is_told |= opened.is_told;
            if record.format != Some(Format::Raw) {
                record.format = opened.format.or(record.format);
            }
        }
    }

    /// Reads the headers of what is named, then of what these name, until nothing new comes up.
    async fn headers(&mut self, host: &Host) {
        let mut looked = BTreeSet::new();
        loop {
            let next: Vec<_> = self.paths.iter().filter(|(path, _)| !looked.contains(*path)).collect();
            let next: Vec<(String, Option<Format>)> =
                next.into_iter().map(|(path, record)| (path.clone(), record.format)).collect();
            if next.is_empty() {
                return;
            }
            let looks =
                parallel::for_each(&next, |(path, format)| header::look(&*host.transport, path, *format).boxed());
            for ((path, _), look) in next.iter().zip(looks.await) {
                looked.insert(path.clone());
                self.looked(path, look);
            }
        }
    }

    fn looked(&mut self, path: &str, look: Look) {
        let image = Name::path(path);
        let Record { told, is_told, .. } = self.paths.get(path).cloned().unwrap_or_default();
        let (bases, is_sure) = match look {
            Look::Raw => (Vec::new(), false),
            Look::Header { bases, is_sure } => (bases, is_sure),
            Look::Missing => {
                self.builder.missing(std::slice::from_ref(&image));
                (Vec::new(), false)
            }
            Look::Unread { why } => {
                if !is_told {
                    self.builder.unread(std::slice::from_ref(&image), &why);
                }
                (Vec::new(), false)
            }
        };
        // What the host remembers of its last look is as good as it gets where nothing was read.
        let told = told.into_iter().filter(|_| !is_sure).map(|base| (base, None));
        for (base, format) in bases.into_iter().chain(told) {
            self.builder.backing(&image, &base);
            if let Name::Path { path } = base {
                let record = self.paths.entry(path).or_default();
                record.format = record.format.or(format);
            }
        }
    }

    /// Joins the names that lead to one file, through links and `..`.
    async fn same_files(&mut self, host: &Host, machines: &[Machine]) {
        let mentioned: BTreeSet<_> = machines
            .iter()
            .flat_map(|machine| &machine.mentions.paths)
            .filter(|path| !self.paths.contains_key(*path))
            .collect();
        let all = self.paths.keys().chain(mentioned.iter().copied()).cloned().collect();
        let files = Files::read(host, all).await;
        let mut images = BTreeSet::new();
        for path in self.paths.keys() {
            if let Some(inode) = files.inode(path) {
                self.builder.image(&[Name::path(path.as_str()), inode.clone()]);
                images.insert(inode);
            }
        }
        // Of the rest, kernels, sockets and programs, only what is an image by another name.
        for path in mentioned {
            if let Some(inode) = files.inode(path).filter(|inode| images.contains(inode)) {
                self.builder.image(&[Name::path(path.as_str()), inode.clone()]);
                self.paths.entry(path.clone()).or_default();
            }
        }
    }

    /// Adds what a machine's documents say of images outside of its disks.
    fn mentions(&mut self, machine: &Machine, volumes: &[VolumeInfo]) {
        let disks: BTreeSet<&Name> = machine.images.names().collect();
        let user = || User::Definition { vm: machine.name.as_str().to_owned() };
        for path in self.paths.keys().filter(|path| machine.mentions.mention(path)) {
            let name = Name::path(path.as_str());
            if !disks.contains(&name) {
                self.builder.usage(user(), Access::Shared, &name);
            }
        }
        for volume in volumes.iter().filter(|volume| machine.mentions.volumes.contains(&volume_name(volume))) {
            let name = volume_key(volume);
            if !disks.contains(&name) {
                self.builder.usage(user(), Access::Shared, &name);
            }
        }
    }
}

fn holder(vm: &str, snapshot: &SnapshotInfo) -> User {
    User::Snapshot { vm: vm.to_owned(), snapshot: snapshot.name.as_str().to_owned() }
}

/// How the graph calls a volume.
pub(crate) fn volume_key(volume: &VolumeInfo) -> Name {
    Name::volume(volume.pool.as_str(), volume.name.as_str())
}

/// How the graph calls a file or device.
pub(crate) fn path_key(path: &DiskPath) -> Name {
    Name::path(normal(path.as_str()))
}
