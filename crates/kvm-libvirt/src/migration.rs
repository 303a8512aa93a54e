//! Machines that move to another host.

use std::any::Any;
use std::time::Duration;

use async_trait::async_trait;
use kvm_core::{
    Bytes, ConnectOptions, CpuFit, DefinitionPlace, Error, ErrorKind, Migration, MigrationJob, MigrationMode,
    MigrationSpec, Result, Route, Transfer, VmId,
};
use kvm_xml::domain::CpuModeName;
use kvm_xml::{Document as _, Domain};
use tokio::time::Instant;
use virt::connect::Connect;
use virt::sys;

use crate::config::Kind;
use crate::document::looked_again;
use crate::error::{LibvirtError, optional};
use crate::ffi::migrate::{self, Params};
use crate::ffi::stats::Record;
use crate::libvirt::{Libvirt, vm_resource};
use crate::machine::Machine;
use crate::task::{Failure, Subject, Task};

/// The longest migration. A host that is gone is noticed long before that, by its silence.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

#[async_trait]
impl Migration for Libvirt {
    async fn migrate(&self, vm: &VmId, to: &dyn Migration, spec: &MigrationSpec) -> Result<()> {
        let destination = to.as_any().downcast_ref::<Self>().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "the other host is not reached through libvirt").on(vm_resource(vm))
        })?;
        let there = destination.jobs.session(Instant::now() + self.config.connect_deadline).await?;
        let peer = match &spec.route {
            Route::Client => None,
            // With the source's own keys and files: ours mean nothing there.
            Route::Source(target) | Route::Tunnel(target) => Some(target.libvirt_uri(&ConnectOptions::default())?),
        };
        let (id, spec) = (*vm, spec.clone());
        self.withdrawn.forget(&id);
        let migrated = self.jobs.call(Subject::new("migrate", vm_resource(&id)), LONGEST, move |task| {
            let machine = task.machine(&id)?;
            let check = || check(task, &machine, there.connection(), &id, spec.mode);
            check()?;
            if let Some(downtime) = spec.max_downtime {
                machine.domain.migrate_set_max_downtime(u64::try_from(downtime.as_millis()).unwrap_or(u64::MAX), 0)?;
            }
            let (params, flags) = (params(&spec)?, flags(&spec));
            let moved = match &peer {
                None => migrate::by_client(&machine.domain, there.connection(), &params, flags),
                Some(uri) => migrate::by_source(&machine.domain, uri, &params, flags),
            };
            moved.map_err(|e| looked_again(e, check, |e| refused(task, e)))
        });
        let migrated = migrated.await;
        let was_withdrawn = self.withdrawn.forget(vm);
        migrated.map_err(|e| match was_withdrawn {
            true => Error::new(ErrorKind::Cancelled, "the migration was cancelled").on(vm_resource(vm)).with_source(e),
            false => e,
        })
    }

    async fn job(&self, vm: &VmId) -> Result<Option<MigrationJob>> {
        let id = *vm;
        self.ask("look at the job of", vm_resource(&id), move |task| {
            let machine = task.machine(&id)?;
            // Of a machine that is off libvirt says that this is not a valid operation.
            if task.address().kind() == Kind::Test || !machine.domain.is_active()? {
                return Ok(None);
            }
            let (kind, record) = migrate::job(&machine.domain, 0)?;
            Ok(is_migration(kind, &record).then(|| job(&record)))
        })
        .await
    }

    async fn outcome(&self, vm: &VmId) -> Result<Option<MigrationJob>> {
        let id = *vm;
        self.ask("look at the last job of", vm_resource(&id), move |task| {
            let machine = task.machine(&id)?;
            if task.address().kind() == Kind::Test || !machine.domain.is_active()? {
                return Ok(None);
            }
            let last = sys::VIR_DOMAIN_JOB_STATS_COMPLETED | sys::VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED;
            let (kind, record) = migrate::job(&machine.domain, last)?;
            let moved_here = operation(&record) == Some(sys::VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN);
            Ok((kind == sys::VIR_DOMAIN_JOB_COMPLETED && moved_here).then(|| job(&record)))
        })
        .await
    }

    async fn cancel(&self, vm: &VmId) -> Result<()> {
        let id = *vm;
        // Noted first: the call that is to end may end before this one.
        self.withdrawn.note(&id);
        let asked = self
            .ask("cancel the migration of", vm_resource(&id), move |task| {
                let machine = task.machine(&id)?;
                let check = || check_job(task, &machine);
                check()?;
                migrate::abort(&machine.domain).map_err(|e| looked_again(e, check, |e| too_late(task, e)))
            })
            .await;
        asked.inspect_err(|_| {
            self.withdrawn.forget(vm);
        })
    }

    async fn start_post_copy(&self, vm: &VmId) -> Result<()> {
        let id = *vm;
        self.ask("switch to post-copy the migration of", vm_resource(&id), move |task| {
            let machine = task.machine(&id)?;
            let check = || check_job(task, &machine);
            check()?;
            migrate::start_post_copy(&machine.domain).map_err(|e| looked_again(e, check, |e| too_late(task, e)))
        })
        .await
    }

    async fn compare_cpu(&self, document: &Domain) -> Result<CpuFit> {
        let Some(cpu) = document.cpu.clone() else { return Ok(CpuFit::Fits) };
        if !matches!(cpu.mode, None | Some(CpuModeName::Custom)) {
            return Ok(CpuFit::Unknown);
        }
        let os = document.os.as_ref().and_then(|os| os.r#type.clone());
        let virt_type = document.r#type.map(|kind| kind.as_str());
        self.ask("compare a CPU with that of", self.host(), move |task| {
            let (arch, machine) =
                (os.as_ref().and_then(|os| os.arch), os.as_ref().and_then(|os| os.machine.as_deref()));
            let arch = arch.map(|arch| arch.to_string());
            let compared = migrate::compare_cpu(task.connection(), arch.as_deref(), machine, virt_type, &cpu.to_xml());
            match compared {
                Ok(sys::VIR_CPU_COMPARE_IDENTICAL | sys::VIR_CPU_COMPARE_SUPERSET) => Ok(CpuFit::Fits),
                Ok(_) => Ok(CpuFit::Lacks),
                Err(e) if e.kind() == Some(ErrorKind::Unsupported) => Ok(CpuFit::Unknown),
                Err(e) => Err(e.into()),
            }
        })
        .await
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Checks what would keep a machine here.
fn check(task: &Task<'_>, machine: &Machine, there: &Connect, id: &VmId, mode: MigrationMode) -> Result<(), Failure> {
    match (mode, machine.domain.is_active()?) {
        (MigrationMode::Live, false) => return Err(task.not_running().into()),
        (MigrationMode::Offline, true) => return Err(task.invalid_state("is running").into()),
        _ => {}
    }
    let name = machine.domain.name()?;
    let taken = |what: &str| Err(task.error(ErrorKind::AlreadyExists, format!("the other host has {what}")).into());
    if optional(there.lookup_domain_by_uuid((*id).into()))?.is_some() {
        return taken("a VM with this uuid");
    }
    if optional(there.lookup_domain_by_name(&name))?.is_some() {
        return taken("a VM of this name");
    }
    Ok(())
}

fn check_job(task: &Task<'_>, machine: &Machine) -> Result<(), Failure> {
    let is_moving = task.address().kind() != Kind::Test && machine.domain.is_active()? && {
        let (kind, record) = migrate::job(&machine.domain, 0)?;
        is_migration(kind, &record)
    };
    if is_moving { Ok(()) } else { Err(task.invalid_state("is not being migrated").into()) }
}

/// libvirt has no number for a request that comes at the wrong moment of a migration.
fn too_late(task: &Task<'_>, e: LibvirtError) -> Failure {
    match e.kind() {
        Some(_) => e.into(),
        None if task.session().is_lost() => e.into(),
        None => task.invalid_state("is at a stage of its migration that does not allow that").with_source(e).into(),
    }
}

/// What it means that libvirt did not do it, when the machine is still where it was and could be moved.
fn refused(task: &Task<'_>, e: LibvirtError) -> Failure {
    let says = e.message().to_owned();
    match e.kind() {
        _ if task.session().is_lost() => e.into(),
        _ if e.is(sys::VIR_ERR_MIGRATE_UNSAFE) => task
            .invalid_state("has a disk that is neither copied nor on storage that both hosts share")
            .with_detail(says)
            .with_source(e)
            .into(),
        Some(ErrorKind::InvalidInput) => {
            task.invalid_state("cannot be moved as it is").with_detail(says).with_source(e).into()
        }
        Some(kind) => task.as_kind(kind, e).with_detail(says).into(),
        None if e.is(sys::VIR_ERR_OPERATION_INVALID) => {
            task.invalid_state("cannot be moved as it is").with_detail(says).with_source(e).into()
        }
        // One of the two hosts, their QEMUs, or what is between them: libvirt tells these by words alone.
        None => {
            let message = format!("the migration of {} did not come to its end", task.resource());
            task.error(ErrorKind::Unavailable, message).with_detail(says).with_source(e).into()
        }
    }
}

fn flags(spec: &MigrationSpec) -> sys::virDomainMigrateFlags {
    let mut flags = match spec.mode {
        // A disk that cannot be written any more ends the migration rather than the guest.
        MigrationMode::Live => sys::VIR_MIGRATE_LIVE | sys::VIR_MIGRATE_ABORT_ON_ERROR,
        MigrationMode::Offline => sys::VIR_MIGRATE_OFFLINE,
    };
    flags |= match spec.route {
        Route::Client => 0,
        Route::Source(_) => sys::VIR_MIGRATE_PEER2PEER,
        Route::Tunnel(_) => sys::VIR_MIGRATE_PEER2PEER | sys::VIR_MIGRATE_TUNNELLED,
    };
    if spec.definition == DefinitionPlace::Destination {
        flags |= sys::VIR_MIGRATE_PERSIST_DEST | sys::VIR_MIGRATE_UNDEFINE_SOURCE;
    }
    // Nobody changes the machine while it moves.
    if spec.mode == MigrationMode::Live && spec.route == Route::Client {
        flags |= sys::VIR_MIGRATE_CHANGE_PROTECTION;
    }
    for (wanted, flag) in [
        (!spec.copy.is_empty(), sys::VIR_MIGRATE_NON_SHARED_DISK),
        (spec.tls, sys::VIR_MIGRATE_TLS),
        (spec.auto_converge, sys::VIR_MIGRATE_AUTO_CONVERGE),
        (spec.post_copy, sys::VIR_MIGRATE_POSTCOPY),
        (spec.connections.is_some(), sys::VIR_MIGRATE_PARALLEL),
    ] {
        if wanted {
            flags |= flag;
        }
    }
    flags
}

fn params(spec: &MigrationSpec) -> Result<Params, LibvirtError> {
    let mut params = Params::new();
    for disk in &spec.copy {
        params.text(sys::VIR_MIGRATE_PARAM_MIGRATE_DISKS, disk.as_str())?;
    }
    if let Some(host) = &spec.data_host {
        params.text(sys::VIR_MIGRATE_PARAM_URI, &format!("tcp://{}", host.to_uri()))?;
    }
    if let Some(rate) = spec.bandwidth.bytes_per_second() {
        params.count(sys::VIR_MIGRATE_PARAM_BANDWIDTH, whole_mib(rate))?;
    }
    if let Some(connections) = spec.connections {
        params.number(sys::VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS, connections.get().into())?;
    }
    Ok(params)
}

/// libvirt limits in MiB per second, and none would be no limit.
fn whole_mib(rate: Bytes) -> u64 {
    (rate.get() >> 20).max(1)
}

fn is_migration(kind: sys::virDomainJobType, record: &Record) -> bool {
    matches!(kind, sys::VIR_DOMAIN_JOB_BOUNDED | sys::VIR_DOMAIN_JOB_UNBOUNDED)
        && operation(record) == Some(sys::VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT)
}

fn operation(record: &Record) -> Option<sys::virDomainJobOperation> {
    record.unsigned("operation").and_then(|number| number.try_into().ok())
}

/// The fields of `virDomainGetJobStats`; times are in milliseconds.
fn job(record: &Record) -> MigrationJob {
    let time = |field| record.unsigned(field).map(Duration::from_millis);
    let bytes = |what: &str, field: &str| Bytes::new(record.unsigned(&format!("{what}_{field}")).unwrap_or_default());
    let transfer = |what| Transfer {
        total: bytes(what, "total"),
        done: bytes(what, "processed"),
        remaining: bytes(what, "remaining"),
    };
    MigrationJob {
        elapsed: time("time_elapsed"),
        memory: transfer("memory"),
        disks: transfer("disk"),
        passes: record.unsigned("memory_iteration"),
        downtime: time("downtime"),
    }
}

#[cfg(test)]
mod tests {
    use kvm_core::{Bandwidth, Target};

    use super::*;

    #[test]
    fn what_is_not_asked_for_is_not_switched_on() {
        let plain = flags(&MigrationSpec::live());
        for flag in [
            sys::VIR_MIGRATE_PEER2PEER,
            sys::VIR_MIGRATE_NON_SHARED_DISK,
            sys::VIR_MIGRATE_UNSAFE,
            sys::VIR_MIGRATE_POSTCOPY,
            sys::VIR_MIGRATE_TLS,
        ] {
            assert_eq!(plain & flag, 0, "{flag}");
        }
        let offline = flags(&MigrationSpec { definition: DefinitionPlace::Source, ..MigrationSpec::offline() });
        assert_eq!(offline, sys::VIR_MIGRATE_OFFLINE);
    }

    #[test]
    fn a_tunnel_is_led_by_the_source() {
        let target = Target::parse("qemu+tls://kvm2/system").unwrap();
        let flags = flags(&MigrationSpec { route: Route::Tunnel(target), ..MigrationSpec::live() });
        assert_ne!(flags & sys::VIR_MIGRATE_PEER2PEER, 0);
        assert_ne!(flags & sys::VIR_MIGRATE_TUNNELLED, 0);
    }

    #[test]
    fn a_slow_limit_is_no_limit_by_no_means() {
        let rate = Bandwidth::parse("64k").unwrap().bytes_per_second().unwrap();
        assert_eq!(whole_mib(rate), 1);
    }
}
