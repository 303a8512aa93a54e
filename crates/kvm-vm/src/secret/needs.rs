//! Which secrets a host has, and what needs them.

use futures_util::FutureExt as _;
use kvm_core::op::{LockKey, Plan, PlanLine};
use kvm_core::{
    Bytes, DiskPath, DiskRoot, Error, ErrorKind, Host, PoolInfo, PoolName, Resource, Result, SecretId, SecretInfo,
    View, VmFilter, VmId, VmName, VmSummary,
};
use kvm_xml::element::Element;
use kvm_xml::{Domain, StoragePool};
use serde::Serialize;
use uuid::Uuid;

use super::{facet, volume_path};
use crate::parallel;
use crate::place::volume_name;
use crate::step::DeleteSecret;
use crate::walk::{Found, walk};

/// A secret of a host, never its value, with what needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecretUse {
    /// What is known of it.
    #[serde(flatten)]
    pub info: SecretInfo,
    /// The volume that it is for, where there is one: `pool/volume`, or the path of a file in no active pool.
    pub volume: Option<String>,
    /// Machines whose documents name it.
    pub vms: Vec<VmName>,
    /// Pools that log in with it.
    pub pools: Vec<PoolName>,
}

/// Lists the secrets of a host with what needs them. `Unsupported` when it keeps none.
pub async fn secrets(host: &Host) -> Result<Vec<SecretUse>> {
    let infos = facet(host)?.list().await?;
    let documents = Documents::read(host).await?;
    let mut uses = Vec::new();
    for info in infos {
        uses.push(documents.uses(host, info).await?);
    }
    Ok(uses)
}

/// Plans the end of a secret that nothing needs: no volume or file at the path that it is for, no machine and no pool. It is
/// looked at once more right before it goes. There is no way back, because nobody can read what it holds.
///
/// `InvalidState` says what needs it, also when a pool that is not active may have its volume; `NotFound`.
pub async fn plan_secret_delete(host: &Host, id: &SecretId) -> Result<Plan> {
    let info = facet(host)?.list().await?.into_iter().find(|secret| secret.id == *id).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("no secret {id}")).on(Resource::Secret(id.to_string()))
    })?;
    let note = match (&info.kind, &info.usage) {
        (Some(kind), Some(usage)) => format!("{kind} {}", kvm_core::text::printable(usage)),
        _ => "for nothing in particular".to_owned(),
    };
    if let Some(why) = needed(host, info).await? {
        return Err(Error::new(ErrorKind::InvalidState, format!("secret {id} is needed: {why}"))
            .on(Resource::Secret(id.to_string()))
            .with_detail("without it nobody ever reads what it opens"));
    }
    let host = host.hypervisor.capabilities().await?;
    let lock = Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("secret:{id}").as_bytes());
    Ok(Plan {
        kind: "vol.delete-secret",
        title: format!("delete secret {id} on {}", host.target),
        target: host.target.clone(),
        locks: vec![LockKey { host: host.host_key(), vm: VmId::from(lock) }],
        lines: vec![PlanLine::new("remove", "secret", id.to_string()).note(note)],
        steps: vec![Box::new(DeleteSecret { id: *id })],
        reversible: 0,
    })
}

/// What needs a secret, or may; `None` when nothing does.
pub(crate) async fn needed(host: &Host, info: SecretInfo) -> Result<Option<String>> {
    let documents = Documents::read(host).await?;
    let uses = documents.uses(host, info).await?;
    if let Some(volume) = &uses.volume {
        return Ok(Some(format!("there is a volume {}", kvm_core::text::printable(volume))));
    }
    if let Some(vm) = uses.vms.first() {
        return Ok(Some(format!("VM {vm} names it")));
    }
    if let Some(pool) = uses.pools.first() {
        return Ok(Some(format!("pool {pool} names it")));
    }
    let hidden = volume_path(&uses.info).and_then(|path| documents.hidden(&path));
    Ok(hidden.map(|pool| format!("pool {pool} is not active, and its volume may be there")))
}

/// The documents of a host that can name secrets.
struct Documents {
    vms: Vec<(VmName, Vec<Domain>)>,
    pools: Vec<(PoolInfo, Option<StoragePool>)>,
}

impl Documents {
    async fn read(host: &Host) -> Result<Self> {
        let vms = host.hypervisor.list(&VmFilter::all()).await?;
        let vms = parallel::for_each(&vms, |vm| machine(host, vm).boxed()).await.into_iter().collect::<Result<_>>()?;
        let mut pools = Vec::new();
        for pool in host.storage.pools().await? {
            let document = match host.storage.setup() {
                Some(setup) => unless_gone(setup.definition(&pool.name).await)?,
                None => None,
            };
            pools.push((pool, document));
        }
        Ok(Self { vms, pools })
    }

    async fn uses(&self, host: &Host, info: SecretInfo) -> Result<SecretUse> {
        let names = |document: &Domain| mentions(document, "domain", &info);
        let vms = self.vms.iter().filter(|(_, documents)| documents.iter().any(names));
        let vms = vms.map(|(name, _)| name.clone()).collect();
        let names = |document: &StoragePool| mentions(document, "pool", &info);
        let pools = self.pools.iter().filter(|(_, document)| document.as_ref().is_some_and(names));
        let pools = pools.map(|(pool, _)| pool.name.clone()).collect();
        let volume = match volume_path(&info) {
            Some(path) => volume(host, &path).await?,
            None => None,
        };
        Ok(SecretUse { info, volume, vms, pools })
    }

    /// The pool that is not active and in whose directory this path is.
    fn hidden(&self, path: &DiskPath) -> Option<&PoolName> {
        let is_there = |pool: &PoolInfo| {
            let root = pool.target.as_ref().and_then(|target| DiskRoot::parse(target.as_str()).ok());
            !pool.active && root.is_some_and(|root| path.within(&[root]).is_ok())
        };
        self.pools.iter().map(|(pool, _)| pool).find(|pool| is_there(pool)).map(|pool| &pool.name)
    }
}

async fn machine(host: &Host, vm: &VmSummary) -> Result<(VmName, Vec<Domain>)> {
    let views = if vm.state.is_active() { &[View::CONFIG, View::LIVE][..] } else { &[View::CONFIG] };
    let mut documents = Vec::new();
    for view in views {
        documents.extend(unless_gone(host.hypervisor.definition(&vm.id, *view).await)?);
    }
    Ok((vm.name.clone(), documents))
}

/// What went away while we looked names nothing any more.
fn unless_gone<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// What is at this path, as a pool or the host's file system knows it.
async fn volume(host: &Host, path: &DiskPath) -> Result<Option<String>> {
    if let Some(volume) = unless_gone(host.storage.volume_at(path).await)? {
        return Ok(Some(volume_name(&volume)));
    }
    // Where the host's files cannot be seen, its pools are all that is known.
    let seen = host.transport.read_part(path.as_path(), 0, Bytes::new(1)).await;
    Ok(seen.is_ok().then(|| path.as_str().to_owned()))
}

/// Whether a document names a secret, by its uuid or by what it is for.
fn mentions(document: &dyn Element, root: &str, info: &SecretInfo) -> bool {
    let (id, own) = (info.id.to_string(), format!("{root}/uuid"));
    let mut found = false;
    walk(document, root, &mut |path, value| match value {
        Found::Value(text) => {
            let by_usage = || path.ends_with("secret/@usage") && info.usage.as_deref() == Some(text);
            found |= (path != own && text.eq_ignore_ascii_case(&id)) || by_usage();
        }
        Found::Unknown(text) => found |= text.to_ascii_lowercase().contains(&id),
        Found::Element(_) => {}
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_xml::Document as _;

    const ID: &str = "11111111-2222-4333-8444-555555555555";

    fn info(kind: &str, usage: &str) -> SecretInfo {
        SecretInfo {
            id: ID.parse().unwrap(),
            kind: Some(kind.into()),
            usage: Some(usage.into()),
            private: true,
            ephemeral: false,
            description: None,
        }
    }

    #[test]
    fn a_secret_is_named_by_its_uuid_or_its_use_wherever_a_document_may() {
        let upper = ID.to_uppercase();
        for named in [
            format!("<disk><source file='/a'><encryption format='luks'><secret type='passphrase' uuid='{ID}'/></encryption></source></disk>"),
            format!("<disk><auth username='a'><secret type='ceph' uuid='{upper}'/></auth></disk>"),
            "<disk><source protocol='iscsi'><auth username='a'><secret type='iscsi' usage='there'/></auth></source></disk>".into(),
            format!("<tpm model='tpm-crb'><backend type='emulator'><encryption secret='{ID}'/></backend></tpm>"),
            format!("<future><key>{ID}</key></future>"),
        ] {
            let document = Domain::from_xml(&format!("<domain><devices>{named}</devices></domain>")).unwrap();
            assert!(mentions(&document, "domain", &info("iscsi", "there")), "{named}");
            assert!(!mentions(&document, "domain", &SecretInfo { id: Uuid::nil().into(), ..info("iscsi", "other") }));
        }
        // A machine may have any uuid of its own.
        let same = Domain::from_xml(&format!("<domain><uuid>{ID}</uuid></domain>")).unwrap();
        assert!(!mentions(&same, "domain", &info("iscsi", "there")));
        let pool = format!(
            "<pool type='rbd'><source><auth type='ceph' username='a'><secret uuid='{ID}'/></auth></source></pool>"
        );
        assert!(mentions(&StoragePool::from_xml(&pool).unwrap(), "pool", &info("ceph", "there")));
    }
}
