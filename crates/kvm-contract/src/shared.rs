//! One host that all cases share, and that is left as it was found.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kvm_core::{
    Clock, ErrorKind, Host, Keep, NetworkName, PoolName, PowerAction, Result, SystemClock, VmFilter, VmId, VmName,
    VmRef,
};
use kvm_xml::network::{Dhcp, DhcpRange, NetworkIp};
use kvm_xml::pool::{PoolTarget, PoolType};
use kvm_xml::{Domain, Network, StoragePool};
use tokio::sync::{Mutex, OnceCell, OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use uuid::Uuid;

use crate::rig::{Bench, Rig, Setup, Time};

/// A real host, to be shared by all cases. What they make has names that begin with `kvmc`.
#[async_trait]
pub trait SharedHost: Send + Sync + 'static {
    /// Connects; called once for each case, in the case's own runtime.
    async fn connect(&self) -> Result<Host>;

    /// As [`Bench::machine`].
    fn machine(&self, name: &VmName, id: &VmId) -> Domain;

    /// A directory on the host, below which pools are made. The hypervisor has to reach it, and it should have the
    /// host to itself.
    fn pools(&self) -> &Path;

    /// As [`Bench::actions`].
    fn actions(&self) -> Vec<PowerAction>;

    /// As [`Bench::sequences`].
    fn sequences(&self) -> u32;

    /// As [`Bench::patience`].
    fn patience(&self) -> Duration;

    /// Defines a machine past every check of ours, by the hypervisor's own means.
    async fn plant(&self, host: &Host, document: &Domain) -> Result<()>;

    /// As [`Bench::interrupt`].
    async fn interrupt(&self, host: &Host) -> Result<()>;

    /// As [`Bench::peer`]; what cases leave there is removed.
    async fn peer(&self) -> Result<Host>;
}

/// A rig that has all cases share one host. Cases run side by side under names of their own; those that plant names,
/// which cannot be their own, take turns, and one that breaks the connection has the host to itself.
pub fn on_shared(host: impl SharedHost) -> impl Rig {
    SharedRig { host: Arc::new(host), turn: Arc::default(), presence: Arc::default() }
}

struct SharedRig {
    host: Arc<dyn SharedHost>,
    turn: Arc<Mutex<()>>,
    presence: Arc<RwLock<()>>,
}

/// A case's share of the host.
enum Presence {
    Among(#[expect(dead_code, reason = "held, not used")] OwnedRwLockReadGuard<()>),
    Alone(#[expect(dead_code, reason = "held, not used")] OwnedRwLockWriteGuard<()>),
}

struct SharedBench {
    shared: Arc<dyn SharedHost>,
    host: Host,
    prefix: String,
    planted: Vec<VmId>,
    pools: PathBuf,
    _turn: Option<OwnedMutexGuard<()>>,
    everybody: Arc<RwLock<()>>,
    presence: Mutex<Option<Presence>>,
    peer: OnceCell<Host>,
}

#[async_trait]
impl Rig for SharedRig {
    fn time(&self) -> Time {
        Time::Real
    }

    fn limit(&self) -> Duration {
        self.host.patience() * 20
    }

    async fn bench(&self, setup: &Setup) -> Result<Box<dyn Bench>> {
        let turn = if setup.planted.is_empty() { None } else { Some(Arc::clone(&self.turn).lock_owned().await) };
        let presence = Presence::Among(Arc::clone(&self.presence).read_owned().await);
        let host = self.host.connect().await?;
        let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{}::{}", setup.group, setup.case).as_bytes());
        let mark = u32::from_be_bytes(std::array::from_fn(|i| digest.as_bytes()[i]));
        let mut bench = SharedBench {
            shared: Arc::clone(&self.host),
            host,
            prefix: format!("kvmc{mark:08x}-"),
            planted: Vec::new(),
            pools: self.host.pools().to_owned(),
            _turn: turn,
            everybody: Arc::clone(&self.presence),
            presence: Mutex::new(Some(presence)),
            peer: OnceCell::new(),
        };
        // What an earlier run left when it was killed.
        bench.sweep(&bench.host).await?;
        for name in &setup.planted {
            let id = VmId::from(Uuid::new_v5(&digest, name.as_bytes()));
            let mut document = self.host.machine(&VmName::parse(&format!("{}planted", bench.prefix))?, &id);
            document.name = Some(name.clone());
            bench.remove(&bench.host, &id).await?;
            bench.planted.push(id);
            self.host.plant(&bench.host, &document).await?;
        }
        Ok(Box::new(bench))
    }
}

impl SharedBench {
    /// Removes everything that is this case's.
    async fn sweep(&self, host: &Host) -> Result<()> {
        let ours = |name: &str| name.starts_with(&self.prefix);
        for vm in host.hypervisor.list(&VmFilter::all()).await? {
            if ours(vm.name.as_str()) || self.planted.contains(&vm.id) {
                self.remove(host, &vm.id).await?;
            }
        }
        for network in host.networks.list().await?.into_iter().filter(|network| ours(network.name.as_str())) {
            if network.active {
                host.networks.stop(&network.name).await?;
            }
            host.networks.undefine(&network.name).await?;
        }
        for pool in host.storage.pools().await?.into_iter().filter(|pool| ours(pool.name.as_str())) {
            let started = match pool.active {
                true => Ok(()),
                false => host.storage.start_pool(&pool.name).await,
            };
            match started {
                Ok(()) => {
                    // Snapshots leave files that no pool was told of.
                    host.storage.refresh_pool(&pool.name).await?;
                    for volume in host.storage.volumes(&pool.name).await? {
                        host.storage.delete_volume(&pool.name, &volume.name).await?;
                    }
                    host.storage.stop_pool(&pool.name).await?;
                }
                // Its directory was never made, or is gone: nothing is left in it.
                Err(e) if e.kind() == ErrorKind::InvalidState => {}
                Err(e) => return Err(e),
            }
            host.storage.undefine_pool(&pool.name).await?;
        }
        Ok(())
    }

    /// Removes a machine, whatever it does; one that is not there is fine.
    async fn remove(&self, host: &Host, id: &VmId) -> Result<()> {
        let hypervisor = &host.hypervisor;
        let found = match hypervisor.find(&VmRef::Id(*id)).await {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            found => found?,
        };
        if found.state.is_active() {
            hypervisor.power(id, PowerAction::PowerOff).await?;
        }
        match found.persistent {
            true => hypervisor.undefine(id, Keep::NOTHING).await,
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Bench for SharedBench {
    fn host(&self) -> &Host {
        &self.host
    }

    fn clock(&self) -> &dyn Clock {
        &SystemClock
    }

    fn patience(&self) -> Duration {
        self.shared.patience()
    }

    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn machine(&self, name: &VmName, id: &VmId) -> Domain {
        self.shared.machine(name, id)
    }

    fn pool(&self, name: &PoolName) -> StoragePool {
        StoragePool {
            r#type: Some(PoolType::Dir),
            name: Some(name.as_str().to_owned()),
            target: Some(PoolTarget {
                path: Some(self.pools.join(name.as_str()).to_string_lossy().into_owned()),
                ..PoolTarget::default()
            }),
            ..StoragePool::default()
        }
    }

    fn network(&self, name: &NetworkName) -> Network {
        // Another one for each name: two networks of a host cannot have the same addresses.
        let [third, ..] = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_str().as_bytes()).into_bytes();
        let address = |last| Some(IpAddr::from([10, 213, third, last]));
        let range = DhcpRange { start: address(2), end: address(99), ..DhcpRange::default() };
        let dhcp = Dhcp { range: vec![range], ..Dhcp::default() };
        let ip = NetworkIp { address: address(1), prefix: Some(24), dhcp: Some(dhcp), ..NetworkIp::default() };
        Network { name: Some(name.as_str().to_owned()), ip: vec![ip], ..Network::default() }
    }

    fn actions(&self) -> Vec<PowerAction> {
        self.shared.actions()
    }

    fn sequences(&self) -> u32 {
        self.shared.sequences()
    }

    async fn interrupt(&self) -> Result<()> {
        let mut presence = self.presence.lock().await;
        // Others leave first, and none comes.
        drop(presence.take());
        *presence = Some(Presence::Alone(Arc::clone(&self.everybody).write_owned().await));
        self.shared.interrupt(&self.host).await
    }

    async fn peer(&self) -> Result<Host> {
        let open = async {
            let peer = self.shared.peer().await?;
            // What an earlier run left when it was killed.
            self.sweep(&peer).await?;
            Ok(peer)
        };
        self.peer.get_or_try_init(|| open).await.cloned()
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        self.sweep(&self.host).await?;
        match self.peer.get() {
            Some(peer) => self.sweep(peer).await,
            None => Ok(()),
        }
    }
}
