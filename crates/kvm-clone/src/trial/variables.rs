//! The firmware's variables of a trial: a copy, which goes when it is over.

use kvm_core::op::{Peer, PlanLine, Step};
use kvm_core::{Bytes, DiskPath, Host, Result, VmName};
use kvm_xml::Domain;
use serde::{Deserialize, Serialize};

use super::document;
use crate::step::{CopyVariables, Ends, unless_gone};
use crate::survey::has;

/// No firmware has more variables.
const MOST: Bytes = Bytes::from_mib(64);
/// The permission bits of new files; libvirt gives them to whom it wants.
const MODE: u32 = 0o600;

/// The firmware's variables of a trial.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Variables {
    /// Those of the machine; `None` when it never ran: then the trial gets new ones as it would.
    from: Option<DiskPath>,
    pub(crate) to: DiskPath,
}

impl Variables {
    /// Those of a machine's trial; `None` when it has no such firmware. `Unsupported` when they are in no file.
    pub(crate) async fn of(machine: &Domain, host: &Host, trial: &VmName) -> Result<Option<Self>> {
        let Some(from) = document::variables(machine)? else { return Ok(None) };
        let to = beside(&from, trial)?;
        let is_there = has(host, from.as_str()).await?;
        Ok(Some(Self { from: is_there.then_some(from), to }))
    }

    /// What makes the copy: a line of the plan, and its step.
    pub(crate) fn copied(&self, host: &Peer) -> Option<(PlanLine, Box<dyn Step>)> {
        let from = self.from.clone()?;
        let line = PlanLine::new("copy", "nvram", from.as_str()).note("thrown away afterwards");
        let ends = Ends { source: host.clone(), target: host.clone() };
        Some((line, Box::new(CopyVariables { ends, from, to: self.to.clone() })))
    }

    /// Makes the copy anew: an earlier attempt has written to it.
    pub(crate) async fn renew(&self, host: &Host) -> Result<()> {
        self.remove(host).await?;
        let Some(from) = &self.from else { return Ok(()) };
        let bytes = host.transport.read_file(from.as_path(), MOST).await?;
        host.transport.write_file(self.to.as_path(), &bytes, MODE).await
    }

    /// Removes the copy, also one that the hypervisor made where the machine had none.
    pub(crate) async fn remove(&self, host: &Host) -> Result<()> {
        unless_gone(host.transport.remove_file(self.to.as_path()).await)
    }
}

/// Where they go: beside those of the machine, under a name that nobody else gives.
fn beside(variables: &DiskPath, trial: &VmName) -> Result<DiskPath> {
    let directory = variables.as_str().rsplit_once('/').map_or("", |(directory, _)| directory);
    DiskPath::adopt(&format!("{directory}/{}_VARS.fd", trial.as_str()))
}
