//! Volumes of a host: what is in them comes, goes, is copied, changes its size.

use kvm_core::{Error, ErrorKind, Host, Resource, Result, VmFilter, VmName, VolumeContent, VolumeInfo};
use serde::{Deserialize, Serialize};

use crate::chain::volume_key;
use crate::spec::VolumeRef;
use crate::usage::{Users, users};

mod between;
mod change;
mod copy;
mod create;
mod delete;
mod digest;
mod download;
pub(crate) mod local;
mod orphan;
pub(crate) mod pump;
mod show;
mod upload;

pub use between::copy_content;
pub use change::{resize_volume, volume_uses, wipe_volume};
pub use copy::{Sharing, VolumeCopy, plan_volume_copy};
pub use create::{
    Compat, Encrypted, Lazy, Preallocation, Qcow2Options, Subclusters, VolumeSpec, create_volume,
    plan_encrypted_volume, volume_document,
};
pub use delete::plan_volume_delete;
pub use download::{Download, InUse, plan_download};
pub use orphan::{Orphans, orphans};
pub use show::{Below, VolumeDetails, volume_details};
pub use upload::{ImageCheck, Upload, plan_upload, stored_document};

/// Whether what has arrived is read once more and compared with what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    /// It is: everything is read twice.
    ReadBack,
    /// It is not. The connection protects what is under way, and both sides count the bytes.
    Count,
}

/// What is in the host's volumes. `Unsupported` when this host cannot tell.
pub(crate) fn content(host: &Host) -> Result<&dyn VolumeContent> {
    let missing = || Error::new(ErrorKind::Unsupported, "this host cannot reach into its volumes");
    host.storage.content().ok_or_else(missing)
}

pub(crate) fn resource(volume: &VolumeRef) -> Resource {
    Resource::Volume(volume.as_text())
}

/// Who has to do with a volume.
pub(crate) struct Uses {
    /// All of them.
    pub(crate) users: Users,
    /// Those of the machines that run, or would go on if they did.
    pub(crate) active: Vec<VmName>,
}

impl Uses {
    pub(crate) async fn read(host: &Host, volume: &VolumeInfo) -> Result<Self> {
        let users = users(host, &volume_key(volume), None).await?;
        let active = match users.machines.is_empty() {
            true => Vec::new(),
            false => {
                let vms = host.hypervisor.list(&VmFilter::all()).await?;
                let active = vms.into_iter().filter(|vm| vm.state.is_active() || vm.has_saved_state);
                active
                    .map(|vm| vm.name)
                    .filter(|name| users.machines.iter().any(|user| user == name.as_str()))
                    .collect()
            }
        };
        Ok(Self { users, active })
    }

    /// Refuses to change what a machine works on at present, or what other volumes lie upon. `verb` completes "cannot".
    pub(crate) fn refuse_change(&self, volume: &VolumeRef, verb: &'static str) -> Result<()> {
        self.refuse_active(volume, verb)?;
        let above = Users { machines: Vec::new(), ..self.users.clone() };
        let Some(objection) = above.objection() else { return Ok(()) };
        Err(Error::new(ErrorKind::InvalidState, format!("cannot {verb} volume {volume}"))
            .on(resource(volume))
            .with_detail(objection))
    }

    /// Refuses what goes wrong while a machine writes.
    pub(crate) fn refuse_active(&self, volume: &VolumeRef, verb: &'static str) -> Result<()> {
        let Some(vm) = self.active.first() else { return Ok(()) };
        Err(Error::new(ErrorKind::InvalidState, format!("cannot {verb} volume {volume} while VM {vm} is active"))
            .on(resource(volume))
            .during(verb))
    }
}

/// A medium, which no machine writes to.
fn is_medium(volume: &VolumeInfo) -> bool {
    volume.format.as_deref() == Some("iso")
}

/// Whether a volume's name is free for what is under way.
async fn check_free(host: &Host, volume: &VolumeRef, operation: &'static str) -> Result<()> {
    match host.storage.find_volume(&volume.pool, &volume.volume).await {
        Ok(_) => Err(Error::new(ErrorKind::AlreadyExists, format!("there is a volume {volume} already"))
            .on(resource(volume))
            .during(operation)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}
