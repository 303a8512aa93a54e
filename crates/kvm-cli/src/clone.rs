//! `kvmctl clone`.

use kvm_clone::{
    AfterReplacing, ClonePlan, CloneSpec, Compress, Parallel, ProveSpec, Replace, TpmState, UplinkMap, WhileRunning,
    plan_clone, plan_linked_clone,
};
use kvm_core::{Bandwidth, ErrorKind, PoolName, Result, VmId, VmName};
use kvm_vm::Start;
use kvm_xml::Document as _;
use serde::Serialize;

use crate::operation::{DoneForm, PlanView, Rewritten, agree};
use crate::printer::{Failure, Outcome, Page, Printer};
use crate::prove::{Proof, Prove, announce, prove_copy};
use crate::session::{Connection, Session};
use crate::sysprep::{self, Inside, Prepared, Sysprep, prepare_copy};
use crate::vms::One;

/// Arguments of `clone`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl clone web --name web2\n  kvmctl clone web lab2 --start\n  \
        kvmctl clone web lab2 --sysprep --start\n  kvmctl clone web lab2 --prove --until 'login:'\n  \
        kvmctl clone lab1/web lab2 --pool fast --network lan=default --dry-run",
    after_long_help = "The clone is another VM with the same content: it has a name, a uuid, MAC addresses and UEFI variables of its own, \
        and an empty TPM; with --copy-tpm it has what the original has sealed in its TPM, and the same TPM identity. Both hosts are looked at first; what cannot work is refused before anything is written.\n\
        Images go through this program, so that the hosts need no keys for each other. Holes stay holes, an overlay becomes whole, and \
        what has arrived is read once more and compared; on one host the host copies by itself. Where both hosts can run kvm-helper it \
        is put into the login's .cache there, also for --dry-run; else libvirt carries the images, which is slower. The VM is defined last: there is never half a clone.\n\
        A VM that runs goes on meanwhile. Its disks are held at one moment by a snapshot, with its file systems in order where its guest \
        agent answers, and the snapshot is merged afterwards.\n\
        Inside the guest it is the original still: machine-id, SSH host keys, host name. With --sysprep it gets its own, as kvmctl vm sysprep does \
        it, before it is started; where that fails the clone stays, is not started, and the exit code is not 0.\n\
        With --linked nothing is copied: original and clone, on one host, go on in overlays of the images that the original has now, which nobody \
        writes to any more. It takes a moment and no room, also while the original runs; either can be deleted. Each makes the original's chain \
        one image longer; kvmctl disk pull makes a disk whole again.\n\
        With --replace a VM of that name, which has to be off, is renamed to NAME.replaced-TIME right before the clone is defined, and deleted with its \
        disks when the clone stands; undone, it is what it was.\n\
        --prove starts the clone once where it can change nothing and reach nobody, as kvmctl replica prove does; one that does not come \
        up stays, and the exit code is 10.\n\
        Ctrl-C takes everything back; while the clone is prepared or proved, only that.\n\n\
        Library: kvm_clone::plan_clone, kvm_clone::plan_linked_clone, kvm_clone::plan_sysprep, kvm_clone::plan_prove, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// The host of the clone, a target or an alias of hosts.toml; that of the original if left out.
    #[arg(value_name = "DEST")]
    destination: Option<String>,
    /// Its name; NAME-clone if left out.
    #[arg(long, value_name = "NAME")]
    name: Option<VmName>,
    /// Copy nothing: have it lie upon the present images of the original, on the same host.
    #[arg(long, conflicts_with_all = ["destination", "replace", "keep_replaced", "bandwidth", "no_compress", "parallel"])]
    linked: bool,
    /// Put it in the place of a VM of that name, which is deleted when the clone stands.
    #[arg(long, requires = "name")]
    replace: bool,
    /// Keep the VM that is replaced, as NAME.replaced-TIME.
    #[arg(long, requires = "replace")]
    keep_replaced: bool,
    /// Where its images go; the pool in the same directory, or the default one, if left out.
    #[arg(long, value_name = "POOL")]
    pool: Option<PoolName>,
    /// What a network or a bridge of the original is called there; may be repeated.
    #[arg(long, value_name = "OLD=NEW")]
    network: Vec<UplinkMap>,
    /// Keep the MAC addresses.
    #[arg(long)]
    preserve_mac: bool,
    /// Leave devices of the source's hardware out.
    #[arg(long)]
    drop_hostdev: bool,
    /// Keep the passwords of its screens.
    #[arg(long)]
    keep_passwords: bool,
    /// Copy the state of its emulated TPM too, with its identity; the VM has to be off.
    #[arg(long)]
    copy_tpm: bool,
    /// Refuse to copy a VM that runs.
    #[arg(long)]
    only_off: bool,
    /// Most that is sent per second, such as 100M or 1Gbit/s.
    #[arg(long, value_name = "RATE", value_parser = Bandwidth::parse)]
    bandwidth: Option<Bandwidth>,
    /// Send everything as it is; without it what a sample shows to shrink is compressed.
    #[arg(long)]
    no_compress: bool,
    /// How many disks are sent at a time where helpers carry them, from 1 to 8; 1 if left out.
    #[arg(long, value_name = "N")]
    parallel: Option<Parallel>,
    /// Start it.
    #[arg(long, conflicts_with_all = ["prove", "until", "timeout"])]
    start: bool,
    #[command(flatten)]
    sysprep: Sysprep,
    #[command(flatten)]
    prove: Prove,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the XML that would be defined and do nothing.
    #[arg(long, conflicts_with = "dry_run")]
    print_xml: bool,
}

impl Args {
    fn spec(&self, session: &Session) -> CloneSpec {
        CloneSpec {
            name: self.name.clone(),
            pool: self.pool.clone(),
            uplinks: self.network.clone(),
            preserve_mac: self.preserve_mac,
            drop_hostdev: self.drop_hostdev,
            keep_passwords: self.keep_passwords,
            tpm: if self.copy_tpm { TpmState::Copy } else { TpmState::Fresh },
            running: if self.only_off { WhileRunning::Refuse } else { WhileRunning::Snapshot },
            limit: self.bandwidth.unwrap_or(Bandwidth::UNLIMITED),
            compression: if self.no_compress { Compress::Never } else { Compress::Auto },
            parallel: self.parallel.unwrap_or_default(),
            // Not before it is another one inside.
            start: if self.start && !self.sysprep.sysprep { Start::Yes } else { Start::No },
            replace: replace(self.replace, self.keep_replaced, session),
        }
    }
}

/// What becomes of a VM that has the name already.
pub(crate) fn replace(is_wanted: bool, keeps: bool, session: &Session) -> Option<Replace> {
    let then = if keeps { AfterReplacing::Keep } else { AfterReplacing::Delete };
    is_wanted.then(|| Replace { at: session.clock.now(), then })
}

pub(crate) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    args.prove.check_replacing(args.replace && !args.keep_replaced)?;
    let spec = args.spec(session);
    let (source, vm) = args.vm.find(session).await?;
    let target = match &args.destination {
        Some(destination) => session.at(Some(destination)).await?,
        None => source.clone(),
    };
    let cx = session.plan_context();
    let mut clone = match args.linked {
        true => plan_linked_clone(&source.host, &vm, &spec, &cx).await?,
        false => plan_clone(&source.host, &target.host, &vm, &spec, &cx).await?,
    };
    if args.print_xml {
        printer.raw(clone.document.to_xml().as_bytes())?;
        return Ok(None);
    }
    let inside = args.sysprep.wanted(&clone.document)?.map(|spec| Inside { spec, start: args.start });
    let prove = args.prove.wanted(&clone.document, session)?;
    sysprep::announce(inside.as_ref(), &mut clone.plan, clone.name.as_str());
    announce(prove.as_ref(), &mut clone.plan, clone.name.as_str());
    if args.dry_run {
        return preview(&clone, printer);
    }
    if clone.replaced.is_some() {
        agree(&clone.plan, session, printer).await?;
    }
    let then = Then { keep_replaced: args.keep_replaced, inside, prove };
    carry_out(clone, vm.name.as_str(), then, &target, session, printer).await
}

/// Shows a plan.
pub(crate) fn preview(clone: &ClonePlan, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let changes = clone.changes.iter().map(ToString::to_string).collect();
    printer.show(&Rewritten { plan: PlanView::of(&clone.plan), changes })
}

/// What comes when a clone stands.
#[derive(Default)]
pub(crate) struct Then {
    /// What had its name before stays.
    keep_replaced: bool,
    /// It becomes another one inside as well.
    inside: Option<Inside>,
    /// It is tried.
    prove: Option<ProveSpec>,
}

/// Carries a clone out, and says what came of it.
pub(crate) async fn carry_out(
    clone: ClonePlan,
    original: &str,
    then: Then,
    target: &Connection,
    session: &Session,
    printer: &mut Printer,
) -> Result<Option<ErrorKind>> {
    let changes = clone.changes.iter().map(ToString::to_string).collect();
    let warnings: Vec<_> = clone.warnings.iter().map(ToString::to_string).collect();
    for warning in &warnings {
        printer.note(warning);
    }
    let done = session.carry_out(target, clone.plan).await?;
    let prepared = prepare_copy(then.inside.as_ref(), target, clone.id, session, printer).await?;
    let proof = prove_copy(then.prove.as_ref(), target, clone.id, session).await?;
    let kept = clone.replaced.filter(|_| then.keep_replaced).map(|name| name.as_str().to_owned());
    if let Some(aside) = &kept {
        printer.note(&format!("what had the name is {aside} now: kvmctl vm delete when all is well"));
    }
    let (name, id, host) = (clone.name.as_str().to_owned(), clone.id, target.label());
    let original = original.to_owned();
    printer.show(&Cloned {
        name,
        id,
        host,
        original,
        done: DoneForm::of(&done),
        prepared,
        proof,
        warnings,
        changes,
        kept_as: kept,
    })
}

/// A VM that was cloned.
#[derive(Serialize)]
struct Cloned {
    name: String,
    id: VmId,
    host: String,
    original: String,
    #[serde(flatten)]
    done: DoneForm,
    #[serde(flatten)]
    prepared: Option<Prepared>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<Proof>,
    warnings: Vec<String>,
    changes: Vec<String>,
    /// What a VM is called that had the name before, and stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_as: Option<String>,
}

impl Outcome for Cloned {
    fn text(&self, page: &mut Page<'_>) {
        self.done.text(&format!("{} cloned to {} on {}", self.original, self.name, self.host), page);
        self.prepared.iter().for_each(|prepared| prepared.text(page));
        self.proof.iter().for_each(|proof| proof.text(page));
    }

    fn failures(&self) -> Vec<Failure<'_>> {
        let prepared = self.prepared.iter().flat_map(Prepared::failures);
        prepared.chain(self.proof.iter().flat_map(Proof::failures)).collect()
    }
}
