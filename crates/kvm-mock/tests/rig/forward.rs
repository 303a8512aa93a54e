//! A decorator that passes everything on, but for what a test puts in its way.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use kvm_core::{
    Autostart, BlockJobs, Capabilities, Checkpoints, Console, Devices, EventStream, Existing, Guest, Host, HostDevices,
    Hypervisor, Keep, Migration, PowerAction, Result, Snapshots, View, VmFilter, VmId, VmName, VmNotes, VmRef, VmStats,
    VmSummary,
};
use kvm_xml::Domain;

/// What becomes of the answer to a power action.
type Twist = fn(PowerAction, Result<()>) -> Result<()>;

/// The decorator. The lint has it fail to compile when the trait grows and this does not.
pub(crate) struct Forward {
    inner: Arc<dyn Hypervisor>,
    twist: Twist,
}

/// Puts the decorator around a host.
pub(crate) fn forward(twist: Twist) -> impl Fn(Host) -> Host {
    move |host| Host { hypervisor: Arc::new(Forward { inner: host.hypervisor.clone(), twist }), ..host }
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Forward").field(&self.inner).finish()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Hypervisor for Forward {
    async fn capabilities(&self) -> Result<Capabilities> {
        self.inner.capabilities().await
    }

    async fn list(&self, filter: &VmFilter) -> Result<Vec<VmSummary>> {
        self.inner.list(filter).await
    }

    async fn find(&self, vm: &VmRef) -> Result<VmSummary> {
        self.inner.find(vm).await
    }

    async fn definition(&self, id: &VmId, view: View) -> Result<Domain> {
        self.inner.definition(id, view).await
    }

    async fn define(&self, doc: &Domain, existing: Existing) -> Result<VmId> {
        self.inner.define(doc, existing).await
    }

    async fn start_transient(&self, doc: &Domain) -> Result<VmId> {
        self.inner.start_transient(doc).await
    }

    async fn undefine(&self, id: &VmId, keep: Keep) -> Result<()> {
        self.inner.undefine(id, keep).await
    }

    async fn power(&self, id: &VmId, action: PowerAction) -> Result<()> {
        (self.twist)(action, self.inner.power(id, action).await)
    }

    async fn rename(&self, id: &VmId, name: &VmName) -> Result<()> {
        self.inner.rename(id, name).await
    }

    async fn set_autostart(&self, id: &VmId, autostart: Autostart) -> Result<()> {
        self.inner.set_autostart(id, autostart).await
    }

    async fn set_notes(&self, id: &VmId, notes: &VmNotes) -> Result<()> {
        self.inner.set_notes(id, notes).await
    }

    async fn stats(&self, filter: &VmFilter) -> Result<Vec<VmStats>> {
        self.inner.stats(filter).await
    }

    async fn events(&self) -> Result<EventStream> {
        self.inner.events().await
    }

    fn devices(&self) -> Option<&dyn Devices> {
        self.inner.devices()
    }

    fn guest(&self) -> Option<&dyn Guest> {
        self.inner.guest()
    }

    fn console(&self) -> Option<&dyn Console> {
        self.inner.console()
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.inner.snapshots()
    }

    fn checkpoints(&self) -> Option<&dyn Checkpoints> {
        self.inner.checkpoints()
    }

    fn block_jobs(&self) -> Option<&dyn BlockJobs> {
        self.inner.block_jobs()
    }

    fn migration(&self) -> Option<&dyn Migration> {
        self.inner.migration()
    }

    fn host_devices(&self) -> Option<&dyn HostDevices> {
        self.inner.host_devices()
    }
}
