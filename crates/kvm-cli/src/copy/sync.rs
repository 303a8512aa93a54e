//! `kvm-clone sync`.

use std::time::Duration;

use clap_complete::engine::ArgValueCandidates;
use kvm_clone::{CloneSpec, SyncSpec, Track, plan_sync};
use kvm_core::{ErrorKind, Result, VmName};

use super::clone::HowSent;
use super::login::Login;
use super::{Context, command_line, limit, refused};
use crate::printer::Printer;
use crate::sync;

/// Arguments of `sync`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvm-clone sync kvm1 kvm2 web --dry-run\n  kvm-clone sync kvm1 kvm2 web --bandwidth-limit 100M\n  \
        kvm-clone sync kvm1 kvm2 web --delta-only --timeout 10m -o json",
    after_long_help = "The first sync makes a replica: the same VM, kept off on the other host. Each later one sends what changed, and applies it when \
        all of it has arrived and was compared. --delta-only refuses a sync that would send an image in whole: the first one, one \
        of a new disk, and one between hosts on which kvm-helper cannot run.\n\
        When --timeout is over, and on Ctrl-C, everything is taken back as long as nothing is applied; else the sync is completed.\n\
        kvmctl replica lists, promotes, pauses and turns round what was made.\n\n\
        Library: kvm_clone::plan_sync, kvm_core::op::Executor::run"
)]
pub struct Args {
    /// The host of the VM.
    #[arg(value_name = "SRC", add = ArgValueCandidates::new(command_line::aliases))]
    source: String,
    /// The host of the replica.
    #[arg(value_name = "DST", add = ArgValueCandidates::new(command_line::aliases))]
    target: String,
    /// Name or uuid of the VM.
    #[arg(value_name = "VM", value_parser = command_line::vm)]
    vm: String,
    /// Name of the replica; that of the VM if left out.
    #[arg(short, long, value_name = "NAME")]
    target_name: Option<VmName>,
    /// Have the VM's qcow2 images remember what is written from now on, by a checkpoint, so that the next copy reads only that.
    #[arg(long)]
    checkpoint: bool,
    /// Refuse to send an image in whole.
    #[arg(long)]
    delta_only: bool,
    /// Show the plan and what would be sent, and do nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    way: HowSent,
    /// Have all of it done in this time, or take it back: seconds, or such as 90s and 2h.
    #[arg(long, value_name = "TIME", value_parser = limit::parse)]
    pub(super) timeout: Option<Duration>,
    #[command(flatten)]
    login: Login,
}

pub(super) async fn run(args: Args, cx: &Context<'_>, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let CloneSpec { uplinks, limit, compression, parallel, .. } = args.way.spec(cx).await?;
    let asked = SyncSpec::at(cx.session.clock.now());
    let track = if args.checkpoint { Track::Yes } else { Track::No };
    let spec = SyncSpec { target_name: args.target_name, uplinks, limit, compression, parallel, track, ..asked };
    let hosts = args.login.open(&[&args.source, &args.target], cx).await?;
    let [source, target] = &hosts[..] else { return Err(kvm_core::Error::internal("two hosts were asked for")) };
    let vm = kvm_vm::resolve(&source.host, &args.vm).await?;
    cx.session.is_about(&args.vm);
    let plan = plan_sync(&source.host, &target.host, &vm, &spec, &cx.session.plan_context()).await?;
    args.way.check(plan.way)?;
    let whole = plan.whole_images();
    if args.delta_only && !whole.is_empty() {
        return Err(refused::whole(&whole));
    }
    match args.dry_run {
        true => sync::preview(&plan, (source, target), printer).await,
        false => sync::carry_out(plan, vm.name.as_str(), (target, None), cx.session, printer).await,
    }
}
