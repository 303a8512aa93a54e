//! `kvmctl sync`.

use kvm_clone::{
    Compress, Parallel, ProveSpec, SyncPlan, SyncSpec, SyncedImage, Tally, Track, UplinkMap, WhileRunning, plan_sync,
};
use kvm_core::{Bandwidth, Bytes, ErrorKind, PoolName, Result, VmId, VmName};
use serde::Serialize;

use crate::operation::{DoneForm, PlanView};
use crate::printer::{Failure, Outcome, Page, Printer};
use crate::prove::{Proof, Prove, announce, prove_copy};
use crate::session::{Connection, Session};
use crate::vms::One;

/// Arguments of `sync`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl sync web lab2\n  kvmctl sync web lab2 --dry-run\n  kvmctl sync lab1/web lab2 --bandwidth 100M --only-off",
    after_long_help = "The first sync makes a replica: the same VM, with its uuid and MAC addresses, kept off on another host. Each later one \
        finds by digests what changed, sends it, and applies it only when all of it has arrived and was compared; cut short at any \
        moment, the replica is what it was or what it becomes. Its definition goes along.\n\
        A VM that runs goes on meanwhile, as for clone. Where a host has no helper, images are sent in whole and put in place of those \
        that are there. A replica that runs, was promoted or is paused is refused, and what somebody wrote to its images is overwritten \
        and told. --dry-run measures what would be sent.\n\
        --prove starts the replica once where it can change nothing and reach nobody, as kvmctl replica prove does; one that does not \
        come up stays, and the exit code is 10.\n\
        Ctrl-C takes everything back as long as nothing is applied.\n\n\
        Library: kvm_clone::plan_sync, kvm_clone::plan_prove, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// The host of the replica, a target or an alias of hosts.toml.
    #[arg(value_name = "HOST")]
    destination: String,
    #[command(flatten)]
    how: How,
    /// The name of the replica; that of the VM if left out.
    #[arg(long, value_name = "NAME")]
    target_name: Option<VmName>,
}

/// How a sync is done.
#[derive(Debug, clap::Args)]
pub(crate) struct How {
    /// Where new images go; the pool in the same directory, or the default one, if left out.
    #[arg(long, value_name = "POOL")]
    pool: Option<PoolName>,
    /// What a network or a bridge of the VM is called there; may be repeated.
    #[arg(long, value_name = "OLD=NEW")]
    network: Vec<UplinkMap>,
    /// Refuse to copy a VM that runs.
    #[arg(long)]
    only_off: bool,
    /// Most that is sent per second, such as 100M or 1Gbit/s.
    #[arg(long, visible_alias = "bandwidth-limit", value_name = "RATE", value_parser = Bandwidth::parse)]
    bandwidth: Option<Bandwidth>,
    /// Send everything as it is; without it what a sample shows to shrink is compressed.
    #[arg(long)]
    no_compress: bool,
    /// How many disks are sent at a time where helpers carry them, from 1 to 8; 1 if left out.
    #[arg(long, value_name = "N")]
    parallel: Option<Parallel>,
    /// Have the source's qcow2 images remember what is written from now on, so that the next copy reads only that.
    #[arg(long)]
    track: bool,
    #[command(flatten)]
    prove: Prove,
    /// Show the plan and what would be sent, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

impl How {
    pub(crate) fn spec(&self, session: &Session) -> SyncSpec {
        SyncSpec {
            pool: self.pool.clone(),
            uplinks: self.network.clone(),
            running: if self.only_off { WhileRunning::Refuse } else { WhileRunning::Snapshot },
            limit: self.bandwidth.unwrap_or(Bandwidth::UNLIMITED),
            compression: if self.no_compress { Compress::Never } else { Compress::Auto },
            parallel: self.parallel.unwrap_or_default(),
            track: if self.track { Track::Yes } else { Track::No },
            ..SyncSpec::at(session.clock.now())
        }
    }

    /// How the replica is tried afterwards, which its plan says as well.
    pub(crate) fn prove(&self, sync: &mut SyncPlan, session: &Session) -> Result<Option<ProveSpec>> {
        let wanted = self.prove.wanted(&sync.document, session)?;
        announce(wanted.as_ref(), &mut sync.plan, sync.name.as_str());
        Ok(wanted)
    }
}

pub(crate) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (source, vm) = args.vm.find(session).await?;
    let target = session.at(Some(&args.destination)).await?;
    let spec = SyncSpec { target_name: args.target_name, ..args.how.spec(session) };
    let mut sync = plan_sync(&source.host, &target.host, &vm, &spec, &session.plan_context()).await?;
    let prove = args.how.prove(&mut sync, session)?;
    if args.how.dry_run {
        return preview(&sync, (&source, &target), printer).await;
    }
    carry_out(sync, vm.name.as_str(), (&target, prove), session, printer).await
}

/// Shows a plan, and what would be sent.
pub(crate) async fn preview(
    sync: &SyncPlan,
    (source, target): (&Connection, &Connection),
    printer: &mut Printer,
) -> Result<Option<ErrorKind>> {
    let images = sync.measure(&source.host, &target.host).await?;
    let images = images.into_iter().map(|(disk, measured)| Measured { disk, measured: measured.map(|m| m.moved) });
    let changes = sync.changes.iter().map(ToString::to_string).collect();
    printer.show(&Planned { plan: PlanView::of(&sync.plan), first: sync.is_first, images: images.collect(), changes })
}

/// Carries a sync out, and says what it moved.
pub(crate) async fn carry_out(
    sync: SyncPlan,
    source: &str,
    (target, prove): (&Connection, Option<ProveSpec>),
    session: &Session,
    printer: &mut Printer,
) -> Result<Option<ErrorKind>> {
    let SyncPlan { plan, name, id, is_first, changes, warnings, tally, .. } = sync;
    let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    for warning in warnings.iter().filter(|_| is_first) {
        printer.note(warning);
    }
    let done = session.carry_out(target, plan).await?;
    let proof = prove_copy(prove.as_ref(), target, id, session).await?;
    printer.show(&Synced {
        name: name.as_str().to_owned(),
        id,
        host: target.label(),
        source: source.to_owned(),
        first: is_first,
        done: DoneForm::of(&done),
        moved: Sums::of(&tally),
        images: tally.images(),
        proof,
        warnings,
        changes: changes.iter().map(ToString::to_string).collect(),
    })
}

/// What `--dry-run` found.
#[derive(Serialize)]
struct Planned {
    #[serde(flatten)]
    plan: PlanView,
    first: bool,
    images: Vec<Measured>,
    /// In what its document differs.
    changes: Vec<String>,
}

#[derive(Serialize)]
struct Measured {
    disk: String,
    #[serde(flatten)]
    measured: Option<kvm_clone::Moved>,
}

impl Outcome for Planned {
    fn text(&self, page: &mut Page<'_>) {
        self.plan.text(page);
        for Measured { disk, measured } in &self.images {
            match measured {
                Some(m) if m.is_whole => page.line(format_args!("  {disk}: all {} of it would be sent", m.changed)),
                Some(m) => page.line(format_args!("  {disk}: {} of {} would be sent", m.changed, m.length)),
                None => page.line(format_args!("  {disk}: is put together first, so nobody knows yet how much")),
            }
        }
        for change in self.changes.iter().filter(|_| self.first) {
            page.line(format_args!("  {change}"));
        }
    }
}

/// Over all images that were counted.
#[derive(Serialize)]
struct Sums {
    length_bytes: Bytes,
    changed_bytes: Bytes,
    sent_bytes: Bytes,
    spared_bytes: Bytes,
}

impl Sums {
    /// `None` where libvirt carried the images, and nobody counted.
    fn of(tally: &Tally) -> Option<Self> {
        let images = tally.images();
        let sum =
            |of: fn(&SyncedImage) -> Bytes| images.iter().fold(Bytes::ZERO, |sum, image| sum.saturating_add(of(image)));
        let sums = Self {
            length_bytes: sum(|image| image.moved.length),
            changed_bytes: sum(|image| image.moved.changed),
            sent_bytes: sum(|image| image.moved.sent),
            spared_bytes: sum(|image| image.moved.spared),
        };
        (!images.is_empty()).then_some(sums)
    }
}

/// A VM that was synced.
#[derive(Serialize)]
struct Synced {
    name: String,
    id: VmId,
    host: String,
    source: String,
    first: bool,
    #[serde(flatten)]
    done: DoneForm,
    #[serde(flatten)]
    moved: Option<Sums>,
    images: Vec<SyncedImage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<Proof>,
    warnings: Vec<String>,
    changes: Vec<String>,
}

impl Outcome for Synced {
    fn text(&self, page: &mut Page<'_>) {
        let to = match self.name == self.source {
            true => self.host.clone(),
            false => format!("{} on {}", self.name, self.host),
        };
        let moved = match &self.moved {
            Some(Sums { length_bytes, changed_bytes, sent_bytes, spared_bytes }) => {
                let spared = match *spared_bytes {
                    Bytes::ZERO => String::new(),
                    spared => format!(", {spared} known without reading it"),
                };
                format!(", {changed_bytes} of {length_bytes} changed{spared}, {sent_bytes} sent,")
            }
            None => String::new(),
        };
        self.done.text(&format!("{} synced to {to}{moved}", self.source), page);
        self.proof.iter().for_each(|proof| proof.text(page));
    }

    fn failures(&self) -> Vec<Failure<'_>> {
        self.proof.iter().flat_map(Proof::failures).collect()
    }
}
