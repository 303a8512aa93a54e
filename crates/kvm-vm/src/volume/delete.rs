//! Deleting volumes with the passphrases that were made for them.

use kvm_core::op::{LockKey, Plan, PlanLine, Step};
use kvm_core::{Error, ErrorKind, Host, Result};

use super::{Uses, resource};
use crate::secret;
use crate::spec::VolumeRef;
use crate::step::DeleteVolume;

/// Plans the end of a volume, and of the secret that was made for it.
///
/// There is no way back. Both are looked at once more right before they go, and stay when somebody uses them by then.
/// `InvalidState` when a machine uses the volume, or others lie upon it; `NotFound`.
pub async fn plan_volume_delete(host: &Host, volume: &VolumeRef) -> Result<Plan> {
    let about = host.storage.find_volume(&volume.pool, &volume.volume).await?;
    let uses = Uses::read(host, &about).await?;
    uses.refuse_change(volume, "delete")?;
    if let Some(objection) = uses.users.objection() {
        return Err(Error::new(ErrorKind::InvalidState, format!("cannot delete volume {volume}"))
            .on(resource(volume))
            .with_detail(objection));
    }
    let mut lines =
        vec![PlanLine::new("remove", "volume", volume.as_text()).note(format!("{} on disk", about.allocation))];
    let forget = secret::forget(host, &about).await?;
    let (pool, name, path, size) = (about.pool.clone(), about.name.clone(), about.path.clone(), about.capacity);
    let mut steps: Vec<Box<dyn Step>> = vec![Box::new(DeleteVolume { pool, volume: name, path, size, vm: None })];
    if let Some((line, step)) = forget {
        lines.push(line);
        steps.push(Box::new(step));
    }
    let info = host.hypervisor.capabilities().await?;
    Ok(Plan {
        kind: "vol.delete",
        title: format!("delete volume {volume} on {}", info.target),
        target: info.target.clone(),
        locks: vec![LockKey::volume(info.host_key(), &volume.pool, &volume.volume)],
        lines,
        steps,
        reversible: 0,
    })
}
