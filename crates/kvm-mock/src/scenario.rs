//! Scenario files: what a simulated host is made of, in YAML. Their form is shown in `docs/scenarios.md`.

mod device;
mod format;
mod machine;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use jiff::Timestamp;
use kvm_core::{Autostart, Bytes, Error, ErrorKind, MockWorld, PoolName, Resource, Result};
use kvm_xml::StoragePool;
use kvm_xml::common::{Initiator, Named};
use kvm_xml::network::{Bridge, Dhcp, DhcpRange, Forward, NetworkIp};
use kvm_xml::pool::{PoolDevice, PoolHost, PoolSource, PoolTarget, PoolType};
use uuid::Uuid;

use crate::demo;
use crate::file::SparseFile;
use crate::image;
use crate::storage::{known, refresh};
use crate::transport::Programs;
use crate::world::{Beginning, EventLog, HostFacts, ScenarioTime, World};
use format::{FaultEntry, NetworkEntry, PoolEntry, ScenarioFile, TargetEntry, VolumeEntry, VolumeFormat};

/// A scenario file is never larger.
const LARGEST: u64 = 1 << 20;

/// A scenario that was read and makes sense as far as its form goes.
#[derive(Debug)]
pub(crate) struct Scenario {
    file: ScenarioFile,
    /// Under which name a world made from it is kept.
    state_name: String,
    /// Tells this text from its other versions.
    origin: String,
}

impl Scenario {
    /// Reads the scenario of a target.
    pub(crate) fn of(world: &MockWorld) -> Result<Self> {
        match world {
            MockWorld::Demo => Self::read("demo".into(), demo::DEMO),
            MockWorld::Empty => Self::read("empty".into(), demo::EMPTY),
            MockWorld::File(path) => {
                let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("scenario");
                let place = Uuid::new_v5(&Uuid::NAMESPACE_URL, path.as_os_str().as_encoded_bytes());
                Self::read(format!("{stem}-{}", place.simple()), &text_of(path)?)
                    .map_err(|e| e.on(Resource::File(path.display().to_string())))
            }
        }
    }

    fn read(state_name: String, text: &str) -> Result<Self> {
        let file = serde_saphyr::from_str(text)
            .map_err(|e| Error::new(ErrorKind::InvalidInput, "the scenario does not make sense").with_source(e))?;
        let origin = Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()).to_string();
        Ok(Self { file, state_name, origin })
    }

    pub(crate) fn state_name(&self) -> &str {
        &self.state_name
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    pub(crate) fn programs(&self) -> Programs {
        Programs::new(self.file.programs.iter().map(|program| program.script()).collect())
    }

    /// Makes the world as it is when it begins.
    pub(crate) fn begin(&self, clock: Timestamp) -> Result<Beginning> {
        let file = &self.file;
        let mut world = World::new(HostFacts {
            name: file.host.name.clone(),
            cpus: file.host.cpus,
            memory: file.host.memory,
            numa_nodes: file.host.numa_nodes,
            helper: file.host.helper,
        });
        world.time = file.clock.as_ref().map(|clock| ScenarioTime { now: clock.start, step: clock.step });
        let now = file.clock.as_ref().map_or(clock, |clock| clock.start);
        for pool in &file.pools {
            add_pool(&mut world, pool).map_err(|e| e.during("pools"))?;
        }
        for network in &file.networks {
            add_network(&mut world, network).map_err(|e| e.during("networks"))?;
        }
        for document in device::documents(&file.devices).map_err(|e| e.during("devices"))? {
            world.plant_device(document)?;
        }
        for entry in &file.machines {
            machine::add(&mut world, entry, now).map_err(|e| e.during("machines"))?;
        }
        // What happened before the beginning is not news.
        world.events = EventLog::default();
        let faults = file.faults.iter().map(FaultEntry::fault).collect::<Result<_>>()?;
        Ok(Beginning { world, faults, latency: file.latency })
    }
}

fn text_of(path: &Path) -> Result<String> {
    let refuse = |kind, why: &str| Error::new(kind, why).on(Resource::File(path.display().to_string()));
    let file = File::open(path).map_err(|e| {
        let kind = match e.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            _ => ErrorKind::Internal,
        };
        refuse(kind, "cannot open the scenario").with_source(e)
    })?;
    // A pipe or a device would hold the reader for ever.
    if !file.metadata().is_ok_and(|meta| meta.is_file()) {
        return Err(refuse(ErrorKind::InvalidInput, "the scenario is not a regular file"));
    }
    let mut text = String::new();
    let read = file.take(LARGEST + 1).read_to_string(&mut text);
    read.map_err(|e| refuse(ErrorKind::InvalidInput, "the scenario is not text").with_source(e))?;
    if text.len() as u64 > LARGEST {
        return Err(refuse(ErrorKind::InvalidInput, "the scenario is larger than 1 MiB"));
    }
    Ok(text)
}

fn add_pool(world: &mut World, entry: &PoolEntry) -> Result<()> {
    let name = Some(entry.name.as_str().to_owned());
    let doc = match (&entry.path, &entry.iscsi) {
        (Some(path), None) if entry.capacity > Bytes::ZERO => StoragePool {
            r#type: Some(PoolType::Dir),
            name,
            target: Some(PoolTarget { path: Some(path.as_str().to_owned()), ..PoolTarget::default() }),
            ..StoragePool::default()
        },
        (None, Some(target)) if entry.capacity == Bytes::ZERO => StoragePool {
            r#type: Some(PoolType::IscsiDirect),
            name,
            source: Some(source(target)),
            ..StoragePool::default()
        },
        _ => return Err(Error::invalid("pools", "a pool has a path and a capacity, or iscsi alone")),
    };
    let name = world.create_pool(&doc, entry.capacity, autostart(entry.autostart))?;
    for volume in &entry.volumes {
        add_volume(world, &name, volume)?;
    }
    refresh(world, &name)?;
    if !entry.active
        && let Some(pool) = world.pools.get_mut(&name)
    {
        pool.deactivate();
    }
    Ok(())
}

fn source(entry: &TargetEntry) -> PoolSource {
    let named = |name: &str| Named { name: Some(name.to_owned()), ..Named::default() };
    PoolSource {
        host: vec![PoolHost { name: Some(entry.host.as_str().to_owned()), ..PoolHost::default() }],
        device: vec![PoolDevice { path: Some(entry.target.clone()), ..PoolDevice::default() }],
        initiator: Some(Initiator { iqn: Some(named("iqn.2030-01.example:host")), ..Initiator::default() }),
        ..PoolSource::default()
    }
}

fn add_volume(world: &mut World, pool: &PoolName, entry: &VolumeEntry) -> Result<()> {
    let found = known(world, pool)?;
    let (capacity, used) = (entry.capacity.get(), entry.used.get());
    let file = match entry.format {
        // What is on a target has no format that the host knows.
        _ if found.directory().is_none() => SparseFile::hole(capacity),
        VolumeFormat::Qcow2 => image::qcow2(capacity, entry.backing.as_ref().map(|path| path.as_str())),
        VolumeFormat::Raw => SparseFile::hole(capacity),
        VolumeFormat::Iso => image::iso(capacity),
    };
    let path = found.place_for(&entry.name)?;
    world.files.insert(path, file.reserving(used));
    Ok(())
}

fn add_network(world: &mut World, entry: &NetworkEntry) -> Result<()> {
    let dhcp = entry.dhcp.map(|[start, end]| Dhcp {
        range: vec![DhcpRange { start: Some(start.into()), end: Some(end.into()), ..DhcpRange::default() }],
        ..Dhcp::default()
    });
    let ip = entry.address.map(|address| NetworkIp {
        address: Some(address.into()),
        prefix: Some(u32::from(entry.prefix)),
        dhcp,
        ..NetworkIp::default()
    });
    let doc = kvm_xml::Network {
        name: Some(entry.name.as_str().to_owned()),
        forward: entry.forward.map(|mode| Forward { mode: Some(mode), ..Forward::default() }),
        bridge: entry.bridge.clone().map(|name| Bridge { name: Some(name), ..Bridge::default() }),
        ip: ip.into_iter().collect(),
        ..kvm_xml::Network::default()
    };
    let name = world.define_network(&doc)?;
    if let Some(network) = world.networks.get_mut(&name) {
        network.active = entry.active;
        network.autostart = entry.autostart;
    }
    Ok(())
}

fn autostart(on: bool) -> Autostart {
    if on { Autostart::On } else { Autostart::Off }
}
