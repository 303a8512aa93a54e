//! Where images may lie: volumes of active pools, and files below the paths that the policy allows.

use std::fmt;
use std::time::Duration;

use kvm_core::{
    DiskPath, DiskRoot, Error, ErrorKind, Host, PoolInfo, Resource, Result, ShareDir, VolumeInfo, VolumeName,
};
use kvm_image::graph::Name;

use crate::chain::{path_key, volume_key};
use crate::spec::{ImageRef, VolumeRef};

/// What was under way when a path lay nowhere where images may lie, so that a surface can say how to allow it.
pub(crate) const CHECK_PLACE: &str = "check-place";
/// How long a look at one path may take.
const LOOK: Duration = Duration::from_secs(10);

/// Where a machine finds an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// In a file of the host.
    File(DiskPath),
    /// On a device of the host.
    Device(DiskPath),
    /// On another machine, at the address that the volume's pool has.
    Network(VolumeInfo),
}

impl Location {
    /// `Unsupported` for what is reached over the network.
    pub(crate) fn host_path(&self) -> Result<&DiskPath> {
        match self {
            Self::File(path) | Self::Device(path) => Ok(path),
            Self::Network(volume) => volume.host_path(),
        }
    }

    /// How the graph of images calls it.
    pub(crate) fn key(&self) -> Name {
        match self {
            Self::File(path) | Self::Device(path) => path_key(path),
            Self::Network(volume) => volume_key(volume),
        }
    }

    pub(crate) fn is_device(&self) -> bool {
        matches!(self, Self::Device(_))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Device(path) => path.fmt(f),
            Self::Network(volume) => write!(f, "{}/{}", volume.pool, volume.name),
        }
    }
}

/// An image that is there and may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// Where a machine finds it.
    pub(crate) at: Location,
    /// What the host knows of it, when it is a volume.
    pub(crate) volume: Option<VolumeInfo>,
}

impl Image {
    /// How a plan calls it.
    pub(crate) fn name(&self) -> String {
        match &self.volume {
            Some(volume) => volume_name(volume),
            None => match &self.at {
                Location::File(path) | Location::Device(path) => path.as_str().to_owned(),
                Location::Network(volume) => volume_name(volume),
            },
        }
    }
}

/// How a plan calls a volume: `pool/name`, exact; plans show it safely.
pub(crate) fn volume_name(volume: &VolumeInfo) -> String {
    VolumeRef { pool: volume.pool.clone(), volume: volume.name.clone() }.as_text()
}

/// The storage of a host, as far as it decides where images may lie.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    host: &'a Host,
    pools: Vec<PoolInfo>,
    allowed: &'a [DiskRoot],
}

impl<'a> Places<'a> {
    pub(crate) async fn read(host: &'a Host, allowed: &'a [DiskRoot]) -> Result<Self> {
        Ok(Self { host, pools: host.storage.pools().await?, allowed })
    }

    /// A pool that is active. `NotFound` lists the others, `InvalidState` when it is not active.
    pub(crate) fn pool(&self, name: &str) -> Result<&PoolInfo> {
        let on = || Resource::Pool(name.to_owned());
        let Some(pool) = self.pools.iter().find(|p| p.name == *name) else {
            let shown = kvm_core::text::printable_within(name, 48);
            return Err(Error::new(ErrorKind::NotFound, format!("no pool named {shown}"))
                .on(on())
                .with_detail(known("pools", self.pools.iter().map(|p| p.name.to_string()))));
        };
        if !pool.active {
            return Err(Error::new(ErrorKind::InvalidState, format!("pool {} is not active", pool.name)).on(on()));
        }
        Ok(pool)
    }

    /// Active pools.
    pub(crate) fn active(&self) -> impl Iterator<Item = &PoolInfo> {
        self.pools.iter().filter(|p| p.active)
    }

    /// Where a volume of this name would be in a pool, for pools whose kind says so before it is made.
    pub(crate) fn path_in(pool: &PoolInfo, name: &VolumeName) -> Result<DiskPath> {
        match (&pool.target, pool.kind.as_str()) {
            (Some(target), "dir" | "fs" | "netfs" | "logical") => {
                DiskPath::adopt(&format!("{}/{}", target.as_str().trim_end_matches('/'), name.as_str()))
            }
            (_, kind) => Err(Error::new(
                ErrorKind::Unsupported,
                format!("new volumes cannot be made in pool {}, which is of type {kind}", pool.name),
            )
            .on(Resource::Pool(pool.name.as_str().to_owned()))
            .with_detail("make the volume there first, and name it as volume=pool/name")),
        }
    }

    /// Where a machine finds what is at this path.
    pub(crate) fn location(path: &DiskPath, is_block: bool) -> Location {
        if is_block { Location::Device(path.clone()) } else { Location::File(path.clone()) }
    }

    /// Whether the volumes of a pool are devices.
    pub(crate) fn is_block(pool: &PoolInfo) -> bool {
        matches!(pool.kind.as_str(), "logical" | "disk" | "iscsi" | "scsi" | "mpath" | "zfs")
    }

    /// Finds an image that may be used. `NotFound`; `InvalidInput` when its path lies nowhere where images may lie.
    pub(crate) async fn image(&self, image: &ImageRef) -> Result<Image> {
        match image {
            ImageRef::Volume(volume) => {
                let pool = self.pool(volume.pool.as_str())?;
                let info = self.host.storage.find_volume(&volume.pool, &volume.volume).await?;
                self.check_backing(&info).await?;
                let at = match &info.path {
                    Some(path) => Self::location(path, Self::is_block(pool)),
                    None => Location::Network(info.clone()),
                };
                Ok(Image { at, volume: Some(info) })
            }
            ImageRef::Path(path) => self.at(path).await,
        }
    }

    /// The same for a path.
    pub(crate) async fn at(&self, path: &DiskPath) -> Result<Image> {
        match self.host.storage.volume_at(path).await {
            Ok(info) => {
                self.check_backing(&info).await?;
                let is_block = self.pools.iter().any(|p| p.name == info.pool && Self::is_block(p));
                Ok(Image { at: Self::location(path, is_block), volume: Some(info) })
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {
                self.check_allowed(path).await?;
                Ok(Image { at: Location::File(path.clone()), volume: None })
            }
            Err(e) => Err(e),
        }
    }

    /// An overlay reads whatever its header names, so what is below it has to be allowed, too. A header that a guest
    /// wrote into a raw volume is caught here when it names a file of the host.
    async fn check_backing(&self, volume: &VolumeInfo) -> Result<()> {
        let mut below = volume.backing.clone();
        let mut seen: Vec<_> = volume.path.iter().cloned().collect();
        while let Some(path) = below {
            if seen.contains(&path) {
                let message = format!("the backing files of volume {} form a circle", volume.name);
                return Err(Error::new(ErrorKind::Corrupt, message).on(Resource::Volume(volume_name(volume))));
            }
            below = match self.host.storage.volume_at(&path).await {
                Ok(info) => info.backing,
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    self.check_allowed(&path).await.map_err(|e| {
                        let message = format!("volume {} is an overlay of a file that is not allowed", volume.name);
                        let error =
                            Error::new(ErrorKind::InvalidInput, message).on(Resource::Volume(volume_name(volume)));
                        match e.operation() {
                            Some(operation) => error.during(operation),
                            None => error,
                        }
                        .with_source(e)
                    })?;
                    None
                }
                Err(e) => return Err(e),
            };
            seen.push(path);
        }
        Ok(())
    }

    /// Refuses a path that is neither a volume nor below an allowed directory, or that leads elsewhere by a link.
    async fn check_allowed(&self, path: &DiskPath) -> Result<()> {
        if self.allowed.is_empty() || path.within(self.allowed).is_err() {
            let pools: Vec<_> = self
                .active()
                .filter_map(|p| DiskRoot::parse(p.target.as_ref()?.as_str().trim_end_matches('/')).ok())
                .collect();
            if path.within(&pools).is_ok() {
                return Err(Error::new(ErrorKind::NotFound, format!("no pool knows a volume at {path}"))
                    .on(Resource::Volume(path.as_str().to_owned()))
                    .with_detail("if the file is there, refresh its pool"));
            }
            let roots: Vec<_> = self.allowed.iter().cloned().chain(pools).collect();
            return path.within(&roots).map_err(|e| e.during(CHECK_PLACE));
        }
        self.check_real(path.as_str(), "disk_path", "disk path").await
    }

    /// A directory that may be shared with a machine. `InvalidInput` when nobody allowed it, when a link leads there, or
    /// when a pool keeps its volumes there: whoever writes there changes other machines.
    pub(crate) async fn share(&self, dir: &ShareDir) -> Result<()> {
        dir.within(self.allowed).map_err(|e| e.during(CHECK_PLACE))?;
        let keeps = |pool: &&PoolInfo| {
            let target = pool.target.as_ref().and_then(|t| DiskRoot::parse(t.as_str().trim_end_matches('/')).ok());
            target.is_some_and(|target| dir.overlaps(&target))
        };
        if let Some(pool) = self.pools.iter().find(keeps) {
            let message =
                format!("directory \"{dir}\" is where pool {} keeps its volumes; share another one", pool.name);
            return Err(Error::invalid("share", message));
        }
        self.check_real(dir.as_str(), "share", "directory").await
    }

    /// Refuses a path that is not there, or that leads elsewhere by a link.
    async fn check_real(&self, path: &str, field: &str, noun: &str) -> Result<()> {
        let shown = kvm_core::text::printable(path);
        let argv = ["realpath", "--canonicalize-existing", "--zero", "--", path];
        let output = self.host.transport.run(&argv, LOOK).await.map_err(|e| {
            Error::new(e.kind(), format!("it cannot be seen where {shown} leads"))
                .on(Resource::File(path.to_owned()))
                .with_source(e)
        })?;
        if !output.success() {
            return Err(Error::new(ErrorKind::NotFound, format!("no file {shown}")).on(Resource::File(path.to_owned())));
        }
        let real = output.stdout.strip_suffix(b"\0").unwrap_or(&output.stdout);
        if real != path.as_bytes() {
            let message = format!("{noun} \"{shown}\" goes through a symbolic link; name what it leads to");
            return Err(Error::invalid(field, message));
        }
        Ok(())
    }
}

/// The detail of a `NotFound`: what there is instead.
pub(crate) fn known(what: &str, names: impl Iterator<Item = String>) -> String {
    let names: Vec<_> = names.collect();
    if names.is_empty() { format!("there are no {what}") } else { format!("{what} there are: {}", names.join(", ")) }
}
