//! Names of all kinds, exactly as they were chosen.

use kvm_core::inputs::{self, Verdict};
use kvm_core::{
    Autostart, Existing, Keep, NetworkName, PoolName, Remove, SnapshotName, SnapshotSpec, View, VmId, VmName, VmRef,
    VolumeName,
};
use kvm_xml::volume::VolumeFormatType;

use crate::case::{Failure, Outcome, cases, holds, same};
use crate::cx::{Cx, volume};

const MIB: u64 = 1 << 20;

cases! { CASES in "names" on Cx;
    /// A machine may have every name that can be chosen, and is found, shown and deleted under it.
    async fn every_name_for_a_machine_works(cx) {
        for text in chosen("vm_name") {
            let (name, id) = (VmName::parse(&text)?, cx.id(&text));
            let outcome = machine(cx, &name, &id).await;
            // Under its own name, nobody sees that it is this case's.
            let gone = cx.hypervisor().undefine(&id, Keep::NOTHING).await;
            outcome.and(gone.map_err(Failure::from)).map_err(|e| e.about(format_args!("{text:?}")))?;
        }
        Ok(())
    }

    /// A volume may have every name that can be chosen or that exists, and is found and deleted under it.
    async fn every_name_for_a_volume_works(cx) {
        let pool = cx.active_pool("a").await?;
        for text in chosen("volume_name").into_iter().chain(existing("volume_name")) {
            let outcome = one_volume(cx, &pool, &VolumeName::adopt(&text)?).await;
            outcome.map_err(|e| e.about(format_args!("{text:?}")))?;
        }
        same("volumes that are left", cx.storage().volumes(&pool).await?, vec![])
    }

    /// A snapshot may have every name that can be chosen, and is listed and deleted under it.
    async fn every_name_for_a_snapshot_works(cx) {
        let snapshots = cx.family("snapshots", cx.hypervisor().snapshots())?;
        let id = cx.with_disk("a").await?.0;
        for text in chosen("snapshot_name") {
            let name = SnapshotName::parse(&text)?;
            snapshots.create(&id, &SnapshotSpec::internal(name.clone())).await?;
            let listed = snapshots.list(&id).await?.into_iter().map(|snapshot| snapshot.name).collect::<Vec<_>>();
            same("listed", listed, vec![name.clone()])?;
            snapshots.delete(&id, &name, Remove::Everything).await?;
        }
        Ok(())
    }

    /// A pool may have every name that can be chosen, and is found under it.
    async fn every_name_for_a_pool_works(cx) {
        for text in chosen("pool_name") {
            let name: PoolName = cx.pool_name(&format!("pool {text}"))?;
            cx.storage().create_pool(&cx.bench().pool(&name), Autostart::Off).await?;
            same("name", &cx.storage().find_pool(&name).await?.name, &name)?;
            cx.storage().stop_pool(&name).await?;
            cx.storage().undefine_pool(&name).await?;
        }
        Ok(())
    }

    /// A network may have every name that can be chosen, and is found and shown under it.
    async fn every_name_for_a_network_works(cx) {
        for text in chosen("network_name") {
            let name: NetworkName = cx.network_name(&format!("net {text}"))?;
            cx.networks().define(&cx.bench().network(&name)).await?;
            same("name", &cx.networks().find(&name).await?.name, &name)?;
            let document = cx.networks().definition(&name).await?;
            same("name in the document", document.name.as_deref(), Some(name.as_str()))?;
            cx.networks().undefine(&name).await?;
        }
        Ok(())
    }
}

fn rows(kind: &str, verdict: Verdict) -> Vec<String> {
    let rows = inputs::rows(kind).into_iter().filter(|row| row.verdict == verdict);
    rows.filter_map(|row| row.text().map(str::to_owned)).collect()
}

/// The names of this kind that may be chosen.
fn chosen(kind: &str) -> Vec<String> {
    rows(kind, Verdict::Accept)
}

/// The names of this kind that may only exist.
fn existing(kind: &str) -> Vec<String> {
    rows(kind, Verdict::Adopt)
}

async fn machine(cx: &Cx, name: &VmName, id: &VmId) -> Outcome {
    cx.hypervisor().define(&cx.bench().machine(name, id), Existing::Reject).await?;
    same("found", cx.hypervisor().find(&VmRef::Name(name.clone())).await?.id, *id)?;
    let document = cx.hypervisor().definition(id, View::CONFIG).await?;
    same("name in the document", document.name.as_deref(), Some(name.as_str()))
}

async fn one_volume(cx: &Cx, pool: &PoolName, name: &VolumeName) -> Outcome {
    let document = volume(name.as_str(), VolumeFormatType::Qcow2, MIB, Some(0));
    let made = cx.storage().create_volume(pool, &document).await?;
    same("name", &made.name, name)?;
    same("found", &cx.storage().find_volume(pool, name).await?, &made)?;
    same("found by its path", &cx.storage().volume_at(made.host_path()?).await?.name, name)?;
    let listed = cx.storage().volumes(pool).await?;
    holds("it is listed", listed.iter().any(|volume| volume.name == *name))?;
    cx.storage().delete_volume(pool, name).await?;
    Ok(())
}
