//! `kvmctl restore`.

use kvm_clone::{Compress, Parallel, RestoreSpec, Restored, TpmState, UplinkMap, plan_restore};
use kvm_core::{Bandwidth, ErrorKind, PoolName, Result, VmId, VmName};
use kvm_vm::Start;
use kvm_xml::Document as _;
use serde::Serialize;

use crate::backup::Which;
use crate::clone::replace;
use crate::operation::{DoneForm, PlanView, Rewritten, agree};
use crate::printer::{Failure, Outcome, Page, Printer};
use crate::prove::{Proof, Prove, announce, prove_copy};
use crate::session::Session;
use crate::sysprep::{self, Inside, Prepared, Sysprep, prepare_copy};

/// What only another machine can be given. Also what needs one of them: clap lets go of a requirement that conflicts.
const AS_ANOTHER: &[&str] = &["start", "sysprep", "hostname", "sysprep_keep", "replace", "keep_replaced", "copy_tpm"];

/// Arguments of `restore`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl restore lab2:/srv/backup web --name web-again\n  \
        kvmctl restore lab2:/srv/backup web/2026-11-22T07-35-00Z --in-place\n  \
        kvmctl restore /srv/backup web --name web2 --host lab2 --start --dry-run",
    after_long_help = "With --name it comes back as another VM: what a clone gets anew it gets as well, with --sysprep also inside its guest. With --in-place it comes back as itself, \
        with its uuid and addresses; where it is there it has to be off and without snapshots, and its present images stay beside the \
        restored ones until you delete them.\n\
        The state of an emulated TPM comes back with a VM that comes back as itself, but where that VM is there what its TPM has stays. \
        Another VM starts with an empty TPM, unless --copy-tpm gives it what was sealed, and the same TPM identity. Where the state is \
        encrypted, HOST needs the same secret.\n\
        Every file is compared with its digest: what differs never gets its name, and nothing that is there is touched before all have come. \
        The definition is changed last. STORE is looked for on HOST where it names no host of its own. --prove starts what came back once \
        where it can change nothing and reach nobody, as kvmctl replica prove does; one that does not come up stays, and the exit code \
        is 10.\n\n\
        Library: kvm_clone::plan_restore, kvm_clone::plan_sysprep, kvm_clone::plan_prove, kvm_core::op::Executor::run"
)]
#[command(group = clap::ArgGroup::new("as_whom").required(true))]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Bring it back as another VM of this name.
    #[arg(long, value_name = "NAME", group = "as_whom")]
    name: Option<VmName>,
    /// Put it in the place of a VM of that name, which is deleted when the restored one stands.
    #[arg(long, requires = "name")]
    replace: bool,
    /// Keep the VM that is replaced, as NAME.replaced-TIME.
    #[arg(long, requires = "replace")]
    keep_replaced: bool,
    /// Bring it back as itself.
    #[arg(long, group = "as_whom", conflicts_with_all = AS_ANOTHER)]
    in_place: bool,
    /// Where it comes back: a target, or an alias of hosts.toml.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Where its images go; the pool in the same directory, or the default one, if left out.
    #[arg(long, value_name = "POOL")]
    pool: Option<PoolName>,
    /// What a network or a bridge of the original is called there; may be repeated.
    #[arg(long, value_name = "OLD=NEW")]
    network: Vec<UplinkMap>,
    /// Give it the state of the emulated TPM in the backup, with its identity.
    #[arg(long)]
    copy_tpm: bool,
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

pub(crate) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    args.prove.check_replacing(args.replace && !args.keep_replaced)?;
    let spec = RestoreSpec {
        identity: args.name.clone().map_or(Restored::InPlace, Restored::New),
        pool: args.pool.clone(),
        uplinks: args.network.clone(),
        tpm: if args.copy_tpm { TpmState::Copy } else { TpmState::Fresh },
        limit: args.bandwidth.unwrap_or(Bandwidth::UNLIMITED),
        compression: if args.no_compress { Compress::Never } else { Compress::Auto },
        parallel: args.parallel.unwrap_or_default(),
        // Not before it is another one inside.
        start: if args.start && !args.sysprep.sysprep { Start::Yes } else { Start::No },
        replace: replace(args.replace, args.keep_replaced, session),
    };
    let Which { store, point } = &args.which;
    let target = session.at(args.host.as_deref()).await?;
    let host = store.open(&target, session).await?;
    let cx = session.plan_context();
    let mut restore = plan_restore(&host.host, store.directory(), point, &target.host, &spec, &cx).await?;
    if args.print_xml {
        printer.raw(restore.document.to_xml().as_bytes())?;
        return Ok(None);
    }
    let inside = args.sysprep.wanted(&restore.document)?.map(|spec| Inside { spec, start: args.start });
    let prove = args.prove.wanted(&restore.document, session)?;
    sysprep::announce(inside.as_ref(), &mut restore.plan, restore.name.as_str());
    announce(prove.as_ref(), &mut restore.plan, restore.name.as_str());
    let changes = restore.changes.iter().map(ToString::to_string).collect();
    if args.dry_run {
        return printer.show(&Rewritten { plan: PlanView::of(&restore.plan), changes });
    }
    // A definition that is there is replaced.
    if !restore.kept.is_empty() || restore.replaced.is_some() {
        agree(&restore.plan, session, printer).await?;
    }
    let warnings: Vec<_> = restore.warnings.iter().map(ToString::to_string).collect();
    for warning in &warnings {
        printer.note(warning);
    }
    let done = session.carry_out(&target, restore.plan).await?;
    for path in &restore.kept {
        printer.note(&format!("{path} stays, and is not used any more: delete it when all is well"));
    }
    let aside = restore.replaced.filter(|_| args.keep_replaced).map(|name| name.as_str().to_owned());
    if let Some(aside) = &aside {
        printer.note(&format!("what had the name is {aside} now: kvmctl vm delete when all is well"));
    }
    let prepared = prepare_copy(inside.as_ref(), &target, restore.id, session, printer).await?;
    let proof = prove_copy(prove.as_ref(), &target, restore.id, session).await?;
    printer.show(&Came {
        name: restore.name.as_str().to_owned(),
        id: restore.id,
        host: target.label(),
        backup: restore.point.to_string(),
        kept: restore.kept,
        kept_as: aside,
        done: DoneForm::of(&done),
        prepared,
        proof,
        warnings,
        changes,
    })
}

/// A VM that came back.
#[derive(Serialize)]
struct Came {
    name: String,
    id: VmId,
    host: String,
    backup: String,
    kept: Vec<String>,
    /// What a VM is called that had the name before, and stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_as: Option<String>,
    #[serde(flatten)]
    done: DoneForm,
    #[serde(flatten)]
    prepared: Option<Prepared>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<Proof>,
    warnings: Vec<String>,
    changes: Vec<String>,
}

impl Outcome for Came {
    fn text(&self, page: &mut Page<'_>) {
        self.done.text(&format!("{} restored as {} on {}", self.backup, self.name, self.host), page);
        self.prepared.iter().for_each(|prepared| prepared.text(page));
        self.proof.iter().for_each(|proof| proof.text(page));
    }

    fn failures(&self) -> Vec<Failure<'_>> {
        let prepared = self.prepared.iter().flat_map(Prepared::failures);
        prepared.chain(self.proof.iter().flat_map(Proof::failures)).collect()
    }
}
