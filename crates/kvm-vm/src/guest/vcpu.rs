//! Virtual CPUs, as the guest sees them.

use kvm_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::bounded::Few;
use super::{Agent, QUICK};

/// A virtual CPU in a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "kebab-case"))]
pub struct GuestVcpu {
    /// The guest's number of it.
    #[serde(rename(deserialize = "logical-id"))]
    pub id: u32,
    /// Whether the guest uses it.
    pub online: bool,
    /// Whether the guest could do without it.
    #[serde(default)]
    pub can_offline: bool,
}

impl Agent {
    /// Lists the virtual CPUs that the guest has, in use or not.
    pub async fn vcpus(&self) -> Result<Vec<GuestVcpu>> {
        let all: Few<GuestVcpu, 8192> = self.ask("guest-get-vcpus", &(), QUICK).await?;
        Ok(all.0)
    }

    /// Has the guest use these virtual CPUs, or do without them. The machine keeps them all.
    ///
    /// `InvalidState` when the guest changes none or only some of them; the message says how many.
    pub async fn set_vcpus(&self, vcpus: &[GuestVcpu]) -> Result<()> {
        let wanted: Vec<_> = vcpus.iter().map(|v| json!({ "logical-id": v.id, "online": v.online })).collect();
        let changed: u64 = self.ask("guest-set-vcpus", &json!({ "vcpus": wanted }), QUICK).await?;
        if changed == vcpus.len() as u64 {
            return Ok(());
        }
        let message = format!("the guest changed {changed} of {} virtual CPUs", vcpus.len());
        Err(Error::new(ErrorKind::InvalidState, message))
    }
}
