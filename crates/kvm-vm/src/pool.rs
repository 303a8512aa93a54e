//! Pools: made of many things, taken down with their data or without.

use kvm_core::op::{LockKey, Plan, PlanLine, Step};
use kvm_core::{
    Autostart, Build, Error, ErrorKind, Host, PoolInfo, PoolName, PoolSetup, Resource, Result, VmId, VolumeInfo,
};
use kvm_xml::Document as _;
use kvm_xml::pool::{PoolHost, PoolSource};
use uuid::Uuid;

use crate::chain::{disk_graph, volume_key};
use crate::place::volume_name;
use crate::secret;
use crate::spec::{InitiatorName, PoolKind, PoolSpec, SourceHost};
use crate::step::{AutostartPool, BuildPool, DefinePool, DeleteVolume, DestroyPool, StartPool, StopPool, UndefinePool};

/// What becomes of a pool's data when the pool goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolData {
    /// It stays.
    Keep,
    /// The volumes are deleted, and what they were in: the directory, the volume group.
    Destroy,
}

/// Plans a new pool: its definition, what it needs on its devices, and its start.
///
/// Undoing takes the definition back. What is built is not unbuilt: once a device was formatted there is no way back.
/// `InvalidInput` names the word that is missing or too much; `AlreadyExists`, `Unsupported`.
pub async fn plan_pool_create(
    host: &Host,
    spec: &PoolSpec,
    build: Option<Build>,
    autostart: Autostart,
) -> Result<Plan> {
    setup(host)?;
    let document = spec.document()?;
    let name = &spec.name;
    let has_format = matches!(spec.kind, PoolKind::Fs | PoolKind::Logical | PoolKind::Disk);
    if !has_format && matches!(build, Some(Build::Format | Build::Overwrite)) {
        return Err(Error::invalid("format", format!("a pool of type {} has nothing to format", spec.kind)));
    }
    if host.storage.pools().await?.iter().any(|pool| pool.name == *name) {
        return Err(Error::new(ErrorKind::AlreadyExists, format!("there is a pool {name} already")).on(resource(name)));
    }
    let mut lines = vec![PlanLine::new("define", "pool", name.as_str()).note(spec.kind.as_str())];
    let mut steps: Vec<Box<dyn Step>> = vec![Box::new(DefinePool { pool: name.clone(), document: document.to_xml() })];
    let mut reversible = None;
    if let Some(build) = build {
        let on = spec.devices.first().map_or_else(|| spec.kind.to_string(), ToString::to_string);
        lines.push(match build {
            Build::Place => PlanLine::new("make", "place", on),
            Build::Format => PlanLine::new("format", "device", on).note("unless there is something on it"),
            Build::Overwrite => PlanLine::new("format", "device", on).note("what is on it is lost"),
        });
        reversible = (build != Build::Place).then_some(steps.len());
        steps.push(Box::new(BuildPool { pool: name.clone(), build }));
    }
    lines.push(PlanLine::new("start", "pool", name.as_str()));
    steps.push(Box::new(StartPool { pool: name.clone() }));
    if autostart == Autostart::On {
        lines.push(PlanLine::new("enable", "autostart", name.as_str()));
        steps.push(Box::new(AutostartPool { pool: name.clone() }));
    }
    let reversible = reversible.unwrap_or(steps.len());
    plan(host, "vol.create-pool", format!("create pool {name}"), name, (lines, steps), reversible).await
}

/// Plans the end of a pool.
///
/// Without its data only the definition goes, of a pool that is not active (`InvalidState`). With its data each volume
/// goes first, and none goes that a machine uses or that a volume elsewhere lies upon: then nothing is done
/// (`InvalidState`, with the first of them). The secrets that were made for them go with them. What is reached over the
/// network is not deleted (`Unsupported`). There is no way back.
pub async fn plan_pool_delete(host: &Host, pool: &PoolName, data: PoolData) -> Result<Plan> {
    setup(host)?;
    let about = host.storage.find_pool(pool).await?;
    if about.active && data == PoolData::Keep {
        return Err(Error::new(ErrorKind::InvalidState, format!("pool {pool} is active")).on(resource(pool)));
    }
    let mut lines = Vec::new();
    let mut steps: Vec<Box<dyn Step>> = Vec::new();
    if data == PoolData::Destroy {
        for volume in doomed(host, &about).await? {
            let name = volume_name(&volume);
            lines.push(PlanLine::new("remove", "volume", name).note(format!("{} on disk", volume.allocation)));
            let forget = secret::forget(host, &volume).await?;
            let (size, path) = (volume.capacity, volume.path);
            steps.push(Box::new(DeleteVolume { pool: volume.pool, volume: volume.name, path, size, vm: None }));
            if let Some((line, step)) = forget {
                lines.push(line);
                steps.push(Box::new(step));
            }
        }
    }
    if about.active {
        lines.push(PlanLine::new("stop", "pool", pool.as_str()));
        steps.push(Box::new(StopPool { pool: pool.clone() }));
    }
    let place = about.target.as_ref().map_or_else(|| about.kind.clone(), |target| target.as_str().to_owned());
    match data {
        PoolData::Destroy => {
            lines.push(PlanLine::new("remove", "data", place));
            steps.push(Box::new(DestroyPool { pool: pool.clone() }));
        }
        PoolData::Keep => lines.push(PlanLine::new("keep", "data", place)),
    }
    // One that is transient is gone when it has stopped.
    if about.persistent {
        lines.push(PlanLine::new("remove", "definition", pool.as_str()));
        steps.push(Box::new(UndefinePool { pool: pool.clone() }));
    }
    plan(host, "vol.delete-pool", format!("delete pool {pool}"), pool, (lines, steps), 0).await
}

/// The volumes of a pool, if nobody needs one of them: those that others lie upon last.
async fn doomed(host: &Host, pool: &PoolInfo) -> Result<Vec<VolumeInfo>> {
    if !pool.active {
        return Err(Error::new(ErrorKind::InvalidState, format!("pool {} is not active", pool.name))
            .on(resource(&pool.name))
            .with_detail("start it first: nobody knows what is in it, and who uses that"));
    }
    let graph = disk_graph(host).await?;
    let mut volumes = host.storage.volumes(&pool.name).await?;
    let mut last = Vec::new();
    let names: Vec<_> = volumes.iter().map(volume_name).collect();
    for volume in &volumes {
        volume.host_path()?;
        let users = graph.users(&volume_key(volume), None);
        let others = users.overlays.iter().chain(&users.unread).any(|overlay| !names.contains(overlay));
        if !users.machines.is_empty() || others {
            let message = format!("volume {} is {}", volume_name(volume), users.objection().unwrap_or_default());
            return Err(Error::new(ErrorKind::InvalidState, message).on(resource(&pool.name)));
        }
    }
    // Overlays go before what they lie upon.
    while !volumes.is_empty() {
        let needed: Vec<_> = volumes.iter().filter_map(|volume| volume.backing.clone()).collect();
        let (stay, go): (Vec<_>, Vec<_>) =
            volumes.into_iter().partition(|volume| volume.path.as_ref().is_some_and(|path| needed.contains(path)));
        if go.is_empty() {
            last.extend(stay);
            break;
        }
        last.extend(go);
        volumes = stay;
    }
    Ok(last)
}

/// Looks for what could become a pool of this kind: the volume groups of the host, what a server exports.
///
/// `InvalidInput` when the kind has to be told a server; `Unsupported` for kinds that hosts do not look for.
pub async fn discover_pools(
    host: &Host,
    kind: PoolKind,
    at: Option<&SourceHost>,
    initiator: Option<&InitiatorName>,
) -> Result<Vec<PoolSource>> {
    let server = at.map(|at| PoolHost {
        name: Some(at.host.as_str().to_owned()),
        port: at.port.map(|port| i32::from(port.get())),
        ..PoolHost::default()
    });
    let initiator = initiator.map(|name| kvm_xml::common::Initiator {
        iqn: Some(kvm_xml::common::Named { name: Some(name.as_str().to_owned()), ..Default::default() }),
        ..Default::default()
    });
    let place = PoolSource { host: server.into_iter().collect(), initiator, ..PoolSource::default() };
    setup(host)?.find_sources(kind.into(), &place).await
}

pub(crate) fn setup(host: &Host) -> Result<&dyn PoolSetup> {
    host.storage.setup().ok_or_else(|| Error::new(ErrorKind::Unsupported, "this host's pools cannot be changed"))
}

fn resource(pool: &PoolName) -> Resource {
    Resource::Pool(pool.as_str().to_owned())
}

async fn plan(
    host: &Host,
    kind: &'static str,
    title: String,
    pool: &PoolName,
    (lines, steps): (Vec<PlanLine>, Vec<Box<dyn Step>>),
    reversible: usize,
) -> Result<Plan> {
    let info = host.hypervisor.capabilities().await?;
    let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("pool:{}", pool.as_str()).as_bytes());
    Ok(Plan {
        kind,
        title: format!("{title} on {}", info.target),
        target: info.target.clone(),
        locks: vec![LockKey { host: info.host_key(), vm: VmId::from(id) }],
        lines,
        steps,
        reversible,
    })
}
