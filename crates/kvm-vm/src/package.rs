//! Machines in files: appliances that other programs read and write, and bundles that keep everything.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use kvm_archive::{MemberName, Package};
use kvm_core::{Autostart, Bytes, Error, PoolName, Result, Secrets, VmName};
use kvm_image::Format;
use serde::{Deserialize, Serialize};

use crate::import::Identity;
use crate::spec::{DiskBus, NicLink, NicSpec, Start, VolumeFormat, VolumeRef};
use crate::step::{CreateVolume, FillVolume, ReserveVolume};
use crate::text::{choices, refused};

mod appliance;
mod bundle;
mod export;
mod import;
mod told;

pub(crate) use appliance::describe;
pub use export::plan_package_export;
pub(crate) use export::refuse_used;
pub(crate) use import::judge;
pub use import::plan_package_import;
pub(crate) use told::told;

choices! {
    /// The form of a package.
    PackageForm: "form" {
        /// An OVF document with VMDK disks in a tar archive, for VMware, VirtualBox and all others.
        Ova = "ova",
        /// The machine's own document with qcow2 disks in a compressed tar archive; nothing that a document says is lost.
        Bundle = "bundle",
    }
}

/// What a machine is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageExport {
    /// The file, which is not there yet. Beside it there has to be room for the disks, twice while they are written.
    pub file: PathBuf,
    /// Its form.
    pub form: PackageForm,
    /// Whether passwords are part of it; then it is itself a secret.
    pub secrets: Secrets,
}

/// What a machine is made of, and what becomes of it here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageImport {
    /// An OVA, an OVF document beside its disks, or a bundle.
    pub file: PathBuf,
    /// A directory with room for the disks of a bundle.
    pub staging: PathBuf,
    /// Another name than the package says.
    pub name: Option<VmName>,
    /// Where its disks go; the default pool if left out.
    pub pool: Option<PoolName>,
    /// The form of its disks; what suits the pool if left out.
    pub format: Option<VolumeFormat>,
    /// How disks of an appliance are plugged in; what suits them if left out.
    pub bus: Option<DiskBus>,
    /// Which networks of the package are which of the host. One that is not said keeps its name where the host has such a
    /// network, and is the default network otherwise.
    pub networks: Vec<NetworkMap>,
    /// What becomes of uuid and MAC addresses of a bundle; an appliance has none.
    pub identity: Identity,
    /// Whether the host starts it at boot.
    pub autostart: Autostart,
    /// Whether it is started at once.
    pub start: Start,
    /// Whether its disks may be larger than what their pool has left.
    pub allow_overcommit: bool,
}

impl PackageImport {
    /// A machine that is off, with defaults for all that can be left out.
    #[must_use]
    pub fn new(file: PathBuf, staging: PathBuf) -> Self {
        Self {
            file,
            staging,
            name: None,
            pool: None,
            format: None,
            bus: None,
            networks: Vec::new(),
            identity: Identity::Keep,
            autostart: Autostart::Off,
            start: Start::No,
            allow_overcommit: false,
        }
    }

    /// What a network of the package is here, as far as it is said.
    fn mapped(&self, network: &str) -> Option<&NicLink> {
        let exact = self.networks.iter().find(|map| map.from.as_deref() == Some(network));
        exact.or_else(|| self.networks.iter().find(|map| map.from.is_none())).map(|map| &map.to)
    }
}

/// What a network of a package is on this host: `VM Network=default`, `lan=bridge=br0`, or `default` for all of them.
///
/// ```
/// use kvm_vm::{NetworkMap, NicLink};
/// let map: NetworkMap = "VM Network=user".parse()?;
/// assert_eq!((map.from.as_deref(), map.to), (Some("VM Network"), NicLink::User));
/// # Ok::<(), kvm_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkMap {
    /// Its name in the package; all that nothing else is said of if left out.
    pub from: Option<String>,
    /// What it is here.
    pub to: NicLink,
}

impl FromStr for NetworkMap {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (from, to) = match text.split_once('=') {
            None | Some(("network" | "bridge", _)) => (None, text),
            Some((from, to)) => (Some(from.to_owned()), to),
        };
        let nic: NicSpec = to.parse()?;
        match (nic.model, nic.mac) {
            (None, None) => Ok(Self { from, to: nic.link }),
            _ => Err(refused("network", text, "says more than which network it is; write NAME=NETWORK")),
        }
    }
}

/// What a new volume is filled with.
#[derive(Clone, Debug)]
pub(crate) struct Filling {
    pub(crate) source: Source,
    /// The file in the package.
    pub(crate) member: MemberName,
    pub(crate) format: Format,
    /// The size of the disk.
    pub(crate) size: Bytes,
}

/// A package, and how it is opened again after a crash.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Source {
    pub(crate) file: PathBuf,
    pub(crate) staging: PathBuf,
    /// Open already when the plan was made.
    #[serde(skip)]
    pub(crate) open: Option<Arc<Package>>,
}

impl Filling {
    /// The steps that make and fill a volume.
    pub(crate) fn steps(&self, new: CreateVolume, to: VolumeFormat) -> [Box<dyn kvm_core::op::Step>; 2] {
        let volume = VolumeRef { pool: new.pool, volume: new.volume };
        let fill = FillVolume {
            volume: volume.clone(),
            size: new.size,
            grows: new.grows,
            to,
            source: self.source.clone(),
            member: self.member.as_str().to_owned(),
            from: self.format,
        };
        [Box::new(ReserveVolume { volume, size: new.size, document: new.document }), Box::new(fill)]
    }
}
