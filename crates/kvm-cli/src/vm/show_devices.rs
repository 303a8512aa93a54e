//! The devices of a VM as `vm show` and the lists of devices tell them.

use std::fmt;

use kvm_core::{Bytes, DiskPath, Host, Peripheral, PeripheralRef, PoolName, VolumeInfo, VolumeName};
use kvm_xml::Domain;
use kvm_xml::domain::{ControllerType, DiskSource};
use serde::Serialize;

/// A disk or drive.
#[derive(Debug, Serialize)]
pub(crate) struct Disk {
    pub(crate) target: Option<String>,
    pub(crate) bus: Option<&'static str>,
    pub(crate) device: &'static str,
    pub(crate) source: Option<String>,
    pub(crate) format: Option<&'static str>,
    pub(crate) capacity_bytes: Option<Bytes>,
    pub(crate) allocation_bytes: Option<Bytes>,
    pub(crate) read_only: bool,
}

impl Disk {
    /// All disks of a document; sizes are those of their volumes, where they are volumes.
    pub(crate) async fn of(host: &Host, document: &Domain) -> Vec<Self> {
        let mut disks = Vec::new();
        for disk in document.devices.iter().flat_map(|devices| &devices.disk) {
            let source = disk.source.as_ref();
            let path = source.and_then(|s| s.file.clone().or_else(|| s.dev.clone()));
            let volume = match path.as_deref().map(DiskPath::adopt) {
                Some(Ok(path)) => host.storage.volume_at(&path).await.ok(),
                _ => in_pool(host, source).await,
            };
            let in_pool = source.and_then(|s| Some(format!("{}/{}", s.pool.as_ref()?, s.volume.as_ref()?)));
            let on_network =
                source.and_then(|s| Some(format!("{}:{}", s.protocol?, s.name.as_deref().unwrap_or_default())));
            disks.push(Self {
                target: disk.target.as_ref().and_then(|t| t.dev.as_ref()).map(ToString::to_string),
                bus: disk.target.as_ref().and_then(|t| t.bus).map(|bus| bus.as_str()),
                device: disk.device.map_or("disk", |device| device.as_str()),
                source: path.or(in_pool).or(on_network),
                format: disk.driver.as_ref().and_then(|d| d.r#type).map(|format| format.as_str()),
                capacity_bytes: volume.as_ref().map(|v| v.capacity),
                allocation_bytes: volume.as_ref().map(|v| v.allocation),
                read_only: disk.readonly,
            });
        }
        disks
    }
}

/// The volume that a document names by its pool.
async fn in_pool(host: &Host, source: Option<&DiskSource>) -> Option<VolumeInfo> {
    let source = source?;
    let (pool, volume) = (source.pool.as_deref()?, source.volume.as_deref()?);
    let (pool, volume) = (PoolName::adopt(pool).ok()?, VolumeName::adopt(volume).ok()?);
    host.storage.find_volume(&pool, &volume).await.ok()
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.target.as_deref().unwrap_or("?"), self.source.as_deref().unwrap_or("(empty)"))?;
        let mut notes: Vec<String> = Vec::new();
        if self.device != "disk" {
            notes.push(self.device.to_owned());
        }
        notes.extend(self.format.map(ToOwned::to_owned));
        match (self.capacity_bytes, self.allocation_bytes) {
            (Some(capacity), Some(allocation)) => notes.push(format!("{capacity}, {allocation} on disk")),
            (Some(capacity), None) => notes.push(capacity.to_string()),
            _ => {}
        }
        if self.read_only && self.device == "disk" {
            notes.push("read-only".to_owned());
        }
        if notes.is_empty() { Ok(()) } else { write!(f, "  ({})", notes.join(", ")) }
    }
}

/// A network device.
#[derive(Debug, Serialize)]
pub(crate) struct Nic {
    pub(crate) mac: Option<String>,
    pub(crate) model: Option<String>,
    /// `network`, `bridge`, `user`…
    pub(crate) kind: Option<&'static str>,
    pub(crate) source: Option<String>,
    /// The host's device.
    pub(crate) device: Option<String>,
}

impl Nic {
    /// All network devices of a document.
    pub(crate) fn of(document: &Domain) -> Vec<Self> {
        let nics = document.devices.iter().flat_map(|devices| &devices.interface);
        nics.map(|nic| Self {
            mac: nic.mac.as_ref().and_then(|m| m.address).map(|a| a.to_string()),
            model: nic.model.as_ref().and_then(|m| m.r#type.clone()),
            kind: nic.r#type.map(|kind| kind.as_str()),
            source: nic
                .source
                .as_ref()
                .and_then(|s| s.network.clone().or_else(|| s.bridge.clone()).or_else(|| s.dev.clone())),
            device: nic.target.as_ref().and_then(|t| t.dev.clone()),
        })
        .collect()
    }
}

impl fmt::Display for Nic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.mac.as_deref().unwrap_or("?"), self.kind.unwrap_or("?"))?;
        if let Some(source) = &self.source {
            write!(f, " {source}")?;
        }
        let notes: Vec<&str> = [&self.model, &self.device].into_iter().flatten().map(String::as_str).collect();
        if notes.is_empty() { Ok(()) } else { write!(f, "  ({})", notes.join(", ")) }
    }
}

/// A screen.
#[derive(Debug, Serialize)]
pub(crate) struct Graphics {
    kind: &'static str,
    listen: Option<String>,
    port: Option<i32>,
}

impl Graphics {
    /// All screens of a document.
    pub(crate) fn of(document: &Domain) -> Vec<Self> {
        let screens = document.devices.iter().flat_map(|devices| &devices.graphics);
        screens
            .filter_map(|screen| {
                let listen = screen.listen.clone().or_else(|| screen.listen_el.first().and_then(|l| l.address.clone()));
                // -1 asks for a free port at the next start.
                Some(Self { kind: screen.r#type?.as_str(), listen, port: screen.port.filter(|port| *port > 0) })
            })
            .collect()
    }
}

impl fmt::Display for Graphics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        match (&self.listen, self.port) {
            (Some(listen), Some(port)) => write!(f, "  {listen}:{port}"),
            (None, Some(port)) => write!(f, "  port {port}"),
            _ => Ok(()),
        }
    }
}

/// A device that is neither a disk, nor a network device, nor a screen.
#[derive(Debug, Serialize)]
pub(crate) struct Other {
    /// What tells it apart from the machine's others.
    pub(crate) device: String,
    pub(crate) kind: &'static str,
    pub(crate) model: Option<String>,
    pub(crate) detail: Option<String>,
    #[serde(skip)]
    key: PeripheralRef,
}

impl Other {
    /// Those of a document. Places for PCI devices are no news: each machine has a dozen.
    pub(crate) fn of(document: &Domain) -> Vec<Self> {
        let devices = document.devices.iter().flat_map(Peripheral::of);
        let is_place = |device: &Peripheral| match device {
            Peripheral::Controller(controller) => controller.r#type == Some(ControllerType::Pci),
            _ => false,
        };
        devices.filter(|device| !is_place(device)).map(|device| Self::new(&device)).collect()
    }

    /// Whether both are the same device, in different documents.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.key == other.key
    }

    fn new(device: &Peripheral) -> Self {
        let (model, detail) = match device {
            Peripheral::Channel(channel) => (channel.r#type.map(|kind| kind.to_string()), None),
            Peripheral::Controller(controller) => (controller.model.map(|model| model.to_string()), None),
            Peripheral::Hostdev(device) => (device.r#type.map(|kind| kind.to_string()), None),
            Peripheral::Memory(module) => {
                let size = module.target.as_ref().and_then(|target| target.size.as_ref()?.bytes());
                let size = size.map(|size| kvm_core::Bytes::new(size).to_string());
                (module.model.map(|model| model.to_string()), size)
            }
            Peripheral::Redirect(redirect) => {
                (redirect.bus.map(|bus| bus.to_string()), redirect.r#type.map(|kind| kind.to_string()))
            }
            Peripheral::Rng(rng) => {
                let backend = rng.backend.as_ref();
                let source = backend.and_then(|b| b.value.clone().or_else(|| Some(b.model?.to_string())));
                (rng.model.map(|model| model.to_string()), source)
            }
            Peripheral::Share(share) => {
                let source = share.source.as_ref().and_then(|source| source.dir.clone());
                let detail = source.map(|dir| if share.readonly { format!("{dir}, read-only") } else { dir });
                (share.driver.as_ref().and_then(|d| d.r#type).map(|driver| driver.to_string()), detail)
            }
            Peripheral::Sound(sound) => (sound.model.map(|model| model.to_string()), None),
            Peripheral::Vsock(vsock) => {
                let cid = vsock.cid.as_ref().and_then(|cid| cid.address).map(|address| format!("CID {address}"));
                (vsock.model.map(|model| model.to_string()), cid)
            }
            Peripheral::Watchdog(watchdog) => {
                (watchdog.model.map(|model| model.to_string()), watchdog.action.map(|action| action.to_string()))
            }
            _ => (None, None),
        };
        let key = device.key();
        Self { device: String::from(key.clone()), kind: key.kind.as_str(), model, detail, key }
    }
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.device)?;
        let notes: Vec<&str> = [&self.model, &self.detail].into_iter().flatten().map(String::as_str).collect();
        if notes.is_empty() { Ok(()) } else { write!(f, "  ({})", notes.join(", ")) }
    }
}
