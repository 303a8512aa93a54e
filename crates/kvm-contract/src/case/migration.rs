//! Machines that move to another host.

use std::time::Duration;

use kvm_core::{
    Bandwidth, CpuFit, DefinitionPlace, ErrorKind, Existing, Host, HypervisorExt as _, Migration, MigrationJob,
    MigrationSpec, PowerAction, Result, Transfer, View, VmId, VmRef, VmState,
};
use kvm_xml::volume::VolumeFormatType;

use crate::case::{Failure, Outcome, cases, holds, refused, same};
use crate::cx::{Cx, volume};

/// Between two looks at a migration.
const LOOK: Duration = Duration::from_millis(20);

cases! { CASES in "migration" on Cx;
    /// A machine that runs goes on at the other host, with its definition, and is gone here.
    async fn a_running_machine_moves(cx) {
        let (id, there) = (cx.running("a").await?, cx.peer().await?);
        facet(cx)?.migrate(&id, migration(&there)?, &MigrationSpec::live()).await?;
        refused(cx.find(&id).await, ErrorKind::NotFound)?;
        let vm = there.hypervisor.find(&VmRef::Id(id)).await?;
        same("state", vm.state, VmState::Running)?;
        same("name", vm.name, cx.vm_name("a")?)?;
        holds("it is stored there", vm.persistent)
    }

    /// A machine that is paused arrives paused.
    async fn a_paused_machine_stays_paused(cx) {
        let (id, there) = (cx.in_state("a", VmState::Paused).await?, cx.peer().await?);
        facet(cx)?.migrate(&id, migration(&there)?, &MigrationSpec::live()).await?;
        same("state", there.hypervisor.find(&VmRef::Id(id)).await?.state, VmState::Paused)
    }

    /// A definition that is to stay is here afterwards, off; there it is gone when the machine stops.
    async fn a_definition_may_stay(cx) {
        let (id, there) = (cx.running("a").await?, cx.peer().await?);
        let spec = MigrationSpec { definition: DefinitionPlace::Source, ..MigrationSpec::live() };
        facet(cx)?.migrate(&id, migration(&there)?, &spec).await?;
        let here = cx.find(&id).await?;
        same("state here", (here.state, here.persistent), (VmState::Off, true))?;
        let vm = there.hypervisor.find(&VmRef::Id(id)).await?;
        same("state there", (vm.state, vm.persistent), (VmState::Running, false))?;
        there.hypervisor.power(&id, PowerAction::PowerOff).await?;
        refused(there.hypervisor.find(&VmRef::Id(id)).await, ErrorKind::NotFound)
    }

    /// A machine that is off moves its definition.
    async fn a_machine_that_is_off_moves(cx) {
        let (id, there) = (cx.defined("a").await?, cx.peer().await?);
        let before = cx.hypervisor().definition(&id, View::CONFIG).await?;
        facet(cx)?.migrate(&id, migration(&there)?, &MigrationSpec::offline()).await?;
        refused(cx.find(&id).await, ErrorKind::NotFound)?;
        same("state", there.hypervisor.find(&VmRef::Id(id)).await?.state, VmState::Off)?;
        let after = there.hypervisor.definition(&id, View::CONFIG).await?;
        same("network devices", nics(&after), nics(&before))
    }

    /// A disk is copied into the empty image that waits for it.
    async fn a_disk_is_copied(cx) {
        let (id, there) = (cx.with_disk("a").await?.0, cx.peer().await?);
        empty_copy(cx, &there).await?;
        cx.power(&id, PowerAction::Start).await?;
        let spec = MigrationSpec { copy: vec!["vda".parse()?], ..MigrationSpec::live() };
        facet(cx)?.migrate(&id, migration(&there)?, &spec).await?;
        same("state", there.hypervisor.find(&VmRef::Id(id)).await?.state, VmState::Running)?;
        let took = migration(&there)?.outcome(&id).await?;
        holds("what was copied is told", took.is_some_and(|took| took.memory != Transfer::default()))
    }

    /// A machine is not moved to where its uuid or name is taken, and goes on.
    async fn a_taken_name_is_refused(cx) {
        let (id, there) = (cx.running("a").await?, cx.peer().await?);
        for taken in [cx.id("a"), cx.id("other")] {
            let mut document = cx.document(if taken == id { "other" } else { "a" })?;
            document.uuid = Some(taken.into());
            there.hypervisor.define(&document, Existing::Reject).await?;
            let moved = facet(cx)?.migrate(&id, migration(&there)?, &MigrationSpec::live()).await;
            refused(moved, ErrorKind::AlreadyExists)?;
            there.hypervisor.undefine(&taken, kvm_core::Keep::NOTHING).await?;
        }
        same("state", cx.state(&id).await?, VmState::Running)
    }

    /// A live migration wants a machine that runs, an offline one a machine that is off.
    async fn the_state_has_to_fit(cx) {
        let (off, there) = (cx.defined("a").await?, cx.peer().await?);
        let live = facet(cx)?.migrate(&off, migration(&there)?, &MigrationSpec::live()).await;
        refused(live, ErrorKind::InvalidState)?;
        let running = cx.running("b").await?;
        let offline = facet(cx)?.migrate(&running, migration(&there)?, &MigrationSpec::offline()).await;
        refused(offline, ErrorKind::InvalidState)
    }

    /// A migration that is cancelled leaves the machine running here, and nothing there.
    async fn a_cancelled_migration_leaves_the_machine_here(cx) {
        let (id, there) = (cx.running("a").await?, cx.peer().await?);
        let spec = MigrationSpec { bandwidth: Bandwidth::parse("1M")?, ..MigrationSpec::live() };
        let moving = facet(cx)?.migrate(&id, migration(&there)?, &spec);
        let cancelling = async {
            under_way(cx, &id).await?;
            Ok::<_, Failure>(facet(cx)?.cancel(&id).await?)
        };
        let (moved, cancelled) = tokio::join!(moving, cancelling);
        cancelled?;
        refused(moved, ErrorKind::Cancelled)?;
        same("state", cx.state(&id).await?, VmState::Running)?;
        same("job", facet(cx)?.job(&id).await?, None)?;
        refused(there.hypervisor.find(&VmRef::Id(id)).await, ErrorKind::NotFound)
    }

    /// A migration says how far it is.
    async fn progress_is_told(cx) {
        let (id, there) = (cx.running("a").await?, cx.peer().await?);
        let spec = MigrationSpec { bandwidth: Bandwidth::parse("1M")?, ..MigrationSpec::live() };
        let moving = facet(cx)?.migrate(&id, migration(&there)?, &spec);
        let looking = async {
            let job = loop {
                let job = under_way(cx, &id).await?;
                if job.memory.done.get() > 0 {
                    break job;
                }
                cx.clock().sleep(LOOK).await;
            };
            facet(cx)?.cancel(&id).await?;
            holds("there is memory to be sent", job.memory.total.get() > 0)?;
            holds("time passes", job.elapsed.is_some_and(|elapsed| !elapsed.is_zero()))
        };
        let (moved, looked) = tokio::join!(moving, looking);
        looked?;
        refused(moved, ErrorKind::Cancelled)
    }

    /// A migration that allows it goes on with post-copy.
    async fn post_copy_brings_it_to_an_end(cx) {
        let (id, there) = (cx.running("a").await?, cx.peer().await?);
        let spec = MigrationSpec { bandwidth: Bandwidth::parse("8M")?, post_copy: true, ..MigrationSpec::live() };
        let moving = facet(cx)?.migrate(&id, migration(&there)?, &spec);
        let switching = async {
            under_way(cx, &id).await?;
            switch(cx, &id).await
        };
        let (moved, switched) = tokio::join!(moving, switching);
        switched?;
        moved?;
        same("state", there.hypervisor.find(&VmRef::Id(id)).await?.state, VmState::Running)?;
        refused(cx.find(&id).await, ErrorKind::NotFound)
    }

    /// Where nothing moves there is no job, and nothing to cancel or to switch.
    async fn what_does_not_move_has_no_job(cx) {
        let id = cx.running("a").await?;
        same("job", facet(cx)?.job(&id).await?, None)?;
        refused(facet(cx)?.cancel(&id).await, ErrorKind::InvalidState)?;
        refused(facet(cx)?.start_post_copy(&id).await, ErrorKind::InvalidState)?;
        cx.hypervisor().wait_for(&id, &[VmState::Running], cx.patience(), cx.clock()).await?;
        Ok(())
    }

    /// A machine that is not there cannot move.
    async fn a_machine_that_is_not_there_is_not_found(cx) {
        let (id, there) = (cx.id("absent"), cx.peer().await?);
        refused(facet(cx)?.migrate(&id, migration(&there)?, &MigrationSpec::live()).await, ErrorKind::NotFound)?;
        refused(facet(cx)?.job(&id).await, ErrorKind::NotFound)?;
        refused(facet(cx)?.outcome(&id).await, ErrorKind::NotFound)?;
        refused(facet(cx)?.cancel(&id).await, ErrorKind::NotFound)?;
        refused(facet(cx)?.start_post_copy(&id).await, ErrorKind::NotFound)
    }

    /// A machine without wishes of its own has a CPU that its host has.
    async fn a_cpu_that_is_not_named_fits(cx) {
        let document = kvm_xml::Domain { cpu: None, ..cx.document("a")? };
        same("the CPU", facet(cx)?.compare_cpu(&document).await?, CpuFit::Fits)
    }
}

fn facet(cx: &Cx) -> Result<&dyn Migration> {
    cx.family("migration", cx.hypervisor().migration())
}

fn migration(host: &Host) -> Result<&dyn Migration> {
    host.hypervisor
        .migration()
        .ok_or_else(|| kvm_core::Error::new(ErrorKind::Unsupported, "the other host has no migration"))
}

fn nics(document: &kvm_xml::Domain) -> usize {
    document.devices.as_ref().map_or(0, |devices| devices.interface.len())
}

/// Makes the pool and the image of [`Cx::with_disk`] on the other host.
async fn empty_copy(cx: &Cx, there: &Host) -> Outcome {
    let pool = cx.pool_name("a-pool")?;
    there.storage.create_pool(&cx.bench().pool(&pool), kvm_core::Autostart::Off).await?;
    there.storage.create_volume(&pool, &volume("disk.qcow2", VolumeFormatType::Qcow2, 8 << 20, Some(0))).await?;
    Ok(())
}

/// Waits until a migration is under way.
async fn under_way(cx: &Cx, id: &VmId) -> Result<MigrationJob, Failure> {
    let looking = async {
        loop {
            if let Some(job) = facet(cx)?.job(id).await? {
                return Ok(job);
            }
            cx.clock().sleep(LOOK).await;
        }
    };
    tokio::select! {
        biased;
        job = looking => job,
        () = cx.clock().sleep(cx.patience()) => Err(Failure::new("no migration under way in time")),
    }
}

/// Switches to post-copy as soon as the migration has come so far that it can.
async fn switch(cx: &Cx, id: &VmId) -> Outcome {
    let switching = async {
        loop {
            match facet(cx)?.start_post_copy(id).await {
                Err(e) if e.kind() == ErrorKind::InvalidState => cx.clock().sleep(LOOK).await,
                other => return Ok(other?),
            }
        }
    };
    tokio::select! {
        biased;
        switched = switching => switched,
        () = cx.clock().sleep(cx.patience()) => Err(Failure::new("no switch to post-copy in time")),
    }
}
