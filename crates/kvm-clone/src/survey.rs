//! What is true on both hosts when a copy is planned.

use std::collections::BTreeSet;
use std::path::Path;

use kvm_core::{
    Bytes, Capabilities, CpuFit, Error, ErrorKind, Host, NetworkInfo, PoolInfo, Resource, Result, View, VmFilter,
    VmSummary,
};
use kvm_vm::{DiskGraph, disk_graph};
use kvm_xml::Domain;
use kvm_xml::domain::DiskSource;
use kvm_xml::rewrite::{Place, Uplink, Warning};
use uuid::Uuid;

use crate::spec::UplinkMap;

/// Both hosts, as far as a copy is concerned.
pub(crate) struct Survey<'a> {
    pub(crate) source: &'a Host,
    pub(crate) target: &'a Host,
    pub(crate) here: Capabilities,
    pub(crate) there: Capabilities,
    pub(crate) document: Domain,
    place: Place,
    /// Who has which addresses on either.
    pub(crate) graphs: [DiskGraph; 2],
    /// Names of machines on the target.
    names: BTreeSet<String>,
    pub(crate) pools: Vec<PoolInfo>,
    networks: Vec<NetworkInfo>,
    secrets: BTreeSet<Uuid>,
    /// Files and interfaces that the document names and the target has.
    files: BTreeSet<String>,
    bridges: BTreeSet<String>,
    /// What lies in the pools that take the images.
    pub(crate) volumes: BTreeSet<String>,
}

impl<'a> Survey<'a> {
    pub(crate) async fn of(source: &'a Host, target: &'a Host, vm: &VmSummary, view: View) -> Result<Self> {
        let document = source.hypervisor.definition(&vm.id, view).await?;
        Self::of_document(source, target, document, None).await
    }

    /// The same for a machine that is not on the source, but known by its document: nothing of the target is taken for
    /// granted then.
    pub(crate) async fn arriving(source: &'a Host, target: &'a Host, document: Domain) -> Result<Self> {
        Self::of_document(source, target, document, Some(Place::OtherHost)).await
    }

    async fn of_document(source: &'a Host, target: &'a Host, document: Domain, place: Option<Place>) -> Result<Self> {
        let (here, there) = (source.hypervisor.capabilities().await?, target.hypervisor.capabilities().await?);
        let is_one = here.host_key() == there.host_key();
        let names = target.hypervisor.list(&VmFilter::all()).await?;
        let secrets = match target.storage.secrets() {
            Some(store) => store.list().await?.into_iter().map(|secret| secret.id.into()).collect(),
            None => BTreeSet::new(),
        };
        let mut survey = Self {
            graphs: [disk_graph(source).await?, disk_graph(target).await?],
            names: names.into_iter().map(|vm| vm.name.as_str().to_owned()).collect(),
            pools: target.storage.pools().await?,
            networks: target.networks.list().await?,
            secrets,
            files: BTreeSet::new(),
            bridges: BTreeSet::new(),
            volumes: BTreeSet::new(),
            place: place.unwrap_or(if is_one { Place::SameHost } else { Place::OtherHost }),
            source,
            target,
            here,
            there,
            document,
        };
        survey.look_for_files().await?;
        Ok(survey)
    }

    /// Machine types that the target has for the original's architecture; `None` where that is not known.
    pub(crate) fn machines(&self) -> Option<&[String]> {
        let arch = self.document.os.as_ref()?.r#type.as_ref()?.arch?;
        let guest = self.there.best_guest(arch.as_str())?;
        Some(guest.machines.as_slice()).filter(|machines| !machines.is_empty())
    }

    /// Whether the target can give the machine its CPU. `Unsupported` when it lacks something of it.
    pub(crate) async fn compare_cpu(&self) -> Result<CpuFit> {
        let Some(migration) = self.target.hypervisor.migration().filter(|_| !self.is_same_host()) else {
            return Ok(if self.is_same_host() { CpuFit::Fits } else { CpuFit::Unknown });
        };
        match migration.compare_cpu(&self.document).await? {
            CpuFit::Lacks => {
                Err(Error::new(ErrorKind::Unsupported, format!("{} lacks something of its CPU", self.there.target))
                    .on(Resource::Field("cpu".into()))
                    .with_detail("give the original a CPU model that both hosts have"))
            }
            fit => Ok(fit),
        }
    }

    /// Whether the copy stays on the original's host.
    pub(crate) fn is_same_host(&self) -> bool {
        self.place == Place::SameHost
    }

    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    pub(crate) fn has_secret(&self, secret: Uuid) -> bool {
        self.is_same_host() || self.secrets.contains(&secret)
    }

    pub(crate) fn has_file(&self, path: &str) -> bool {
        self.is_same_host() || self.files.contains(path)
    }

    /// Whether the target reaches the same bytes: a file or device of that path. Nobody here can see it of servers.
    pub(crate) fn reaches(&self, source: &DiskSource) -> bool {
        let path = source.file.as_deref().or(source.dev.as_deref());
        self.is_same_host() || path.is_some_and(|path| self.files.contains(path))
    }

    /// What the target calls a network or a bridge.
    pub(crate) fn uplink(&self, uplink: Uplink<'_>, maps: &[UplinkMap]) -> Option<String> {
        let mapped = maps.iter().find(|map| map.from == uplink.name());
        let name = mapped.map_or(uplink.name(), |map| &map.to);
        let is_there = match uplink {
            Uplink::Network(_) => self.networks.iter().any(|network| network.name.as_str() == name),
            Uplink::Bridge(_) | Uplink::Device(_) => {
                mapped.is_some() || self.is_same_host() || self.bridges.contains(name)
            }
        };
        is_there.then(|| name.to_owned())
    }

    /// Whether both machines hear each other: on one host always, elsewhere unless it is a network of libvirt's own.
    pub(crate) fn shares(&self, uplink: Uplink<'_>) -> bool {
        self.is_same_host() || !matches!(uplink, Uplink::Network(_))
    }

    /// Notes what lies in a pool of the target, after it has looked again.
    pub(crate) async fn look_into(&mut self, pool: &PoolInfo) -> Result<()> {
        self.target.storage.refresh_pool(&pool.name).await?;
        let volumes = self.target.storage.volumes(&pool.name).await?;
        self.volumes.extend(volumes.iter().filter_map(|volume| Some(volume.place()?.to_owned())));
        Ok(())
    }

    async fn look_for_files(&mut self) -> Result<()> {
        if self.is_same_host() {
            return Ok(());
        }
        for path in named_files(&self.document) {
            if self.target_has(&path).await? {
                self.files.insert(path);
            }
        }
        let interfaces = self.document.devices.iter().flat_map(|devices| &devices.interface);
        let sources = interfaces.filter_map(|interface| interface.source.as_ref());
        let names: Vec<_> = sources.flat_map(|source| [source.bridge.clone(), source.dev.clone()]).flatten().collect();
        for name in names {
            // A name that is no single part of a path is none of an interface.
            let is_plain = !name.contains('/') && name != "." && name != "..";
            if is_plain && self.target_has(&format!("/sys/class/net/{name}/type")).await? {
                self.bridges.insert(name);
            }
        }
        Ok(())
    }

    /// Whether the target has a file. What cannot be seen is not there for a copy.
    async fn target_has(&self, path: &str) -> Result<bool> {
        match has(self.target, path).await {
            Err(e) if matches!(e.kind(), ErrorKind::Denied | ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
                Ok(false)
            }
            seen => seen,
        }
    }
}

/// Files of the host that a machine needs and that are not its own: media, shared disks, firmware, kernels.
fn named_files(document: &Domain) -> BTreeSet<String> {
    let disks = document.devices.iter().flat_map(|devices| &devices.disk);
    let sources = disks.filter_map(|disk| disk.source.as_ref());
    let mut files: BTreeSet<String> =
        sources.flat_map(|source| [&source.file, &source.dev]).flatten().cloned().collect();
    if let Some(os) = &document.os {
        files.extend([&os.kernel, &os.initrd, &os.dtb].into_iter().flatten().cloned());
        files.extend(os.loader.iter().filter_map(|loader| loader.value.clone()));
    }
    files.retain(|path| path.starts_with('/'));
    files
}

/// Takes back that nobody has looked at the CPU, where the target was asked: the rewriting itself knows no capabilities.
pub(crate) fn settle_cpu(warnings: &mut Vec<Warning>, fit: CpuFit) {
    let is_cpu = |warning: &Warning| matches!(warning, Warning::Unchecked { path } if path == "cpu");
    warnings.retain(|warning| fit != CpuFit::Fits || !is_cpu(warning));
}

/// Whether a host has a file.
pub(crate) async fn has(host: &Host, path: &str) -> Result<bool> {
    match host.transport.read_part(Path::new(path), 0, Bytes::ZERO).await {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e.on(Resource::File(path.to_owned()))),
    }
}

/// `NoSpace` when a pool has less left than what is going to be written.
pub(crate) fn check_room(pool: &PoolInfo, needed: Bytes) -> Result<()> {
    match pool.available {
        Some(free) if free < needed => {
            Err(Error::new(ErrorKind::NoSpace, format!("not enough space in pool {} for the copy", pool.name))
                .on(Resource::Pool(pool.name.as_str().to_owned()))
                .with_detail(format!("asked {needed}, free {free}"))
                .during("make-copy"))
        }
        _ => Ok(()),
    }
}
