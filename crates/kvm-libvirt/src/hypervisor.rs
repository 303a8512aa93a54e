//! Machines: listed, found, measured.

use std::collections::HashSet;

use async_trait::async_trait;
use kvm_core::{
    Autostart, BlockJobs, Capabilities, Checkpoints, Console, Devices, EventStream, Existing, Guest, HostDevices,
    Hypervisor, Keep, Migration, PowerAction, Resource, Result, Secrets, Snapshots, View, VmFilter, VmId, VmName,
    VmNotes, VmRef, VmState, VmStats, VmSummary, Which,
};
use uuid::Uuid;
use virt::domain::Domain;
use virt::sys;

use crate::capability;
use crate::config::Kind;
use crate::document;
use crate::error::{LibvirtError, optional};
use crate::ffi::stats::{Record, all_domains};
use crate::libvirt::{Libvirt, vm_resource};
use crate::machine::{Machine, state_of};
use crate::stats;
use crate::task::{Failure, Task};

#[async_trait]
impl Hypervisor for Libvirt {
    async fn capabilities(&self) -> Result<Capabilities> {
        self.ask("read the capabilities of", self.host(), capability::read).await
    }

    async fn list(&self, filter: &VmFilter) -> Result<Vec<VmSummary>> {
        let filter = filter.clone();
        self.ask("list the VMs of", self.host(), move |task| list(task, &filter)).await
    }

    async fn find(&self, vm: &VmRef) -> Result<VmSummary> {
        let (vm, resource) = (vm.clone(), Resource::Vm(vm.to_string()));
        self.ask("find", resource, move |task| summary(task, &find(task, &vm)?)).await
    }

    async fn definition(&self, id: &VmId, view: View) -> Result<kvm_xml::Domain> {
        let id = *id;
        self.ask("read the definition of", vm_resource(&id), move |task| definition(task, &id, view)).await
    }

    async fn define(&self, doc: &kvm_xml::Domain, existing: Existing) -> Result<VmId> {
        self.store_definition(doc, existing).await
    }

    async fn start_transient(&self, doc: &kvm_xml::Domain) -> Result<VmId> {
        self.begin_transient(doc).await
    }

    async fn undefine(&self, id: &VmId, keep: Keep) -> Result<()> {
        self.forget_definition(id, keep).await
    }

    async fn power(&self, id: &VmId, action: PowerAction) -> Result<()> {
        self.change_power(id, action).await
    }

    async fn rename(&self, id: &VmId, name: &VmName) -> Result<()> {
        self.change_name(id, name).await
    }

    async fn set_autostart(&self, id: &VmId, autostart: Autostart) -> Result<()> {
        let id = *id;
        self.ask("set the autostart of", vm_resource(&id), move |task| {
            Ok(task.machine(&id)?.domain.set_autostart(autostart == Autostart::On)?)
        })
        .await
    }

    async fn set_notes(&self, id: &VmId, notes: &VmNotes) -> Result<()> {
        self.write_notes(id, notes).await
    }

    async fn stats(&self, filter: &VmFilter) -> Result<Vec<VmStats>> {
        let filter = filter.clone();
        self.ask("measure the VMs of", self.host(), move |task| measure(task, &filter)).await
    }

    async fn events(&self) -> Result<EventStream> {
        self.ask("watch the VMs of", self.host(), |task| Ok(task.session().watch()?)).await?;
        let (subscription, must_keep) = self.hub.subscribe();
        if must_keep {
            self.keep_connected();
        }
        Ok(Box::pin(subscription))
    }

    fn devices(&self) -> Option<&dyn Devices> {
        Some(self)
    }

    fn guest(&self) -> Option<&dyn Guest> {
        Some(self)
    }

    fn console(&self) -> Option<&dyn Console> {
        Some(self)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn checkpoints(&self) -> Option<&dyn Checkpoints> {
        Some(self)
    }

    fn block_jobs(&self) -> Option<&dyn BlockJobs> {
        Some(self)
    }

    fn migration(&self) -> Option<&dyn Migration> {
        Some(self)
    }

    fn host_devices(&self) -> Option<&dyn HostDevices> {
        Some(self)
    }
}

/// What libvirt tells for all machines at once, but not in their statistics.
struct Marks {
    autostart: HashSet<Uuid>,
    saved: HashSet<Uuid>,
    transient: HashSet<Uuid>,
}

impl Marks {
    fn read(task: &Task<'_>) -> Result<Self, LibvirtError> {
        Ok(Self {
            autostart: marked(task, sys::VIR_CONNECT_LIST_DOMAINS_AUTOSTART)?,
            saved: marked(task, sys::VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE)?,
            transient: marked(task, sys::VIR_CONNECT_LIST_DOMAINS_TRANSIENT)?,
        })
    }
}

/// The machines to which a flag of `virConnectListAllDomains` applies.
fn marked(task: &Task<'_>, flag: sys::virConnectListAllDomainsFlags) -> Result<HashSet<Uuid>, LibvirtError> {
    let mut marked = HashSet::new();
    for domain in task.connection().list_all_domains(flag)? {
        marked.insert(domain.uuid()?);
    }
    Ok(marked)
}

fn list(task: &Task<'_>, filter: &VmFilter) -> Result<Vec<VmSummary>, Failure> {
    let marks = Marks::read(task)?;
    let mut vms: Vec<_> = records(task, filter, stats::LIST)?
        .into_iter()
        .filter_map(|record| {
            let name = name_of(&record)?;
            let (memory, max_memory) = stats::memory(&record);
            Some(VmSummary {
                id: VmId::from(record.uuid),
                name,
                state: stats::state(&record, marks.saved.contains(&record.uuid)),
                vcpus: stats::vcpus(&record),
                memory,
                max_memory,
                persistent: !marks.transient.contains(&record.uuid),
                autostart: Some(marks.autostart.contains(&record.uuid)),
                has_saved_state: marks.saved.contains(&record.uuid),
            })
        })
        .filter(|vm| filter.wants(vm.state))
        .collect();
    vms.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(vms)
}

fn measure(task: &Task<'_>, filter: &VmFilter) -> Result<Vec<VmStats>, Failure> {
    // A running machine has no saved state; no need to ask.
    let saved =
        if only_active(filter) { HashSet::new() } else { marked(task, sys::VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE)? };
    let mut vms: Vec<_> = records(task, filter, stats::MEASURE)?
        .iter()
        .filter_map(|record| Some(stats::measurement(record, name_of(record)?, saved.contains(&record.uuid))))
        .filter(|vm| filter.wants(vm.state))
        .collect();
    vms.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(vms)
}

fn only_active(filter: &VmFilter) -> bool {
    !filter.states.is_empty() && filter.states.iter().all(|state| state.is_active())
}

/// A machine that nobody may name is left out: no command could be given about it.
fn name_of(record: &Record) -> Option<VmName> {
    VmName::adopt(&record.name)
        .inspect_err(|e| tracing::warn!(vm = %record.uuid, error = %e, "left out a machine with an impossible name"))
        .ok()
}

/// One bulk call for all machines. Without waiting for machines that are busy: of those, less is known.
fn records(task: &Task<'_>, filter: &VmFilter, groups: sys::virDomainStatsTypes) -> Result<Vec<Record>, Failure> {
    if task.address().kind() == Kind::Test {
        return Ok(test_records(task)?);
    }
    let mut flags = sys::VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT;
    if only_active(filter) {
        flags |= sys::VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE;
    }
    Ok(all_domains(task.connection(), groups, flags)?)
}

/// The same for the test driver, whose statistics know a state only. Its machines are in this process.
fn test_records(task: &Task<'_>) -> Result<Vec<Record>, LibvirtError> {
    let domains = task.connection().list_all_domains(0)?;
    let mut records = Vec::with_capacity(domains.len());
    for domain in domains {
        // It may have gone in the meantime.
        let Some(info) = optional(domain.info())? else { continue };
        records.push(Record::of_info(domain.uuid()?, domain.name()?, &info));
    }
    Ok(records)
}

fn find(task: &Task<'_>, vm: &VmRef) -> Result<Machine, Failure> {
    let name = match vm {
        VmRef::Id(id) => return task.machine(id),
        VmRef::Name(name) => name,
    };
    match (optional(task.connection().lookup_domain_by_name(name.as_str()))?, VmId::adopt(name.as_str())) {
        (Some(domain), _) => Ok(Machine { domain }),
        (None, Ok(id)) => task.machine(&id),
        (None, Err(_)) => Err(task.not_found().into()),
    }
}

fn summary(task: &Task<'_>, machine: &Machine) -> Result<VmSummary, Failure> {
    let domain: &Domain = &machine.domain;
    let info = domain.info()?;
    let has_saved_state = domain.has_managed_save(0)?;
    let state = match state_of(info.state.to_raw()) {
        VmState::Off if has_saved_state => VmState::Saved,
        state => state,
    };
    let name = domain.name()?;
    task.about(Resource::Vm(name.clone()));
    Ok(VmSummary {
        id: VmId::from(domain.uuid()?),
        name: VmName::adopt(&name)?,
        state,
        vcpus: Some(info.nr_virt_cpu),
        memory: Some(stats::kibibytes(info.memory)),
        max_memory: Some(stats::kibibytes(info.max_mem)),
        persistent: domain.is_persistent()?,
        autostart: Some(domain.autostart()?),
        has_saved_state,
    })
}

fn definition(task: &Task<'_>, id: &VmId, view: View) -> Result<kvm_xml::Domain, Failure> {
    let machine = task.machine(id)?;
    let mut flags = 0;
    if view.secrets == Secrets::Show {
        flags |= sys::VIR_DOMAIN_XML_SECURE;
    }
    // Of a machine that is off, both views give the stored document.
    if view.which == Which::Config || !machine.domain.is_active()? {
        flags |= sys::VIR_DOMAIN_XML_INACTIVE;
    }
    document::read(task, &machine.domain.xml_desc(flags)?)
}

impl Record {
    /// What `virDomainGetInfo` says, under the names of statistics.
    fn of_info(uuid: Uuid, name: String, info: &virt::domain::DomainInfo) -> Self {
        use crate::ffi::stats::Value;
        let fields = [
            ("state.state", u64::from(info.state.to_raw())),
            ("vcpu.current", info.nr_virt_cpu.into()),
            ("balloon.current", info.memory),
            ("balloon.maximum", info.max_mem),
            ("cpu.time", info.cpu_time),
        ];
        let fields = fields.into_iter().map(|(field, n)| (field.to_owned(), Value::Unsigned(n))).collect();
        Self { uuid, name, fields }
    }
}
