//! `kvm-clone clone`.

use std::path::PathBuf;
use std::time::Duration;

use clap_complete::engine::ArgValueCandidates;
use kvm_clone::{CloneSpec, Compress, Parallel, Way, plan_clone};
use kvm_core::{Bandwidth, ErrorKind, Result, VmName};

use super::login::Login;
use super::{Context, command_line, limit, networks, refused};
use crate::clone::Then;
use crate::printer::Printer;

/// Arguments of `clone`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvm-clone clone kvm1 kvm2 web --new-name web-test --dry-run\n  \
        kvm-clone clone root@kvm1 root@kvm2 web -k ~/.ssh/lab --compress --timeout 2h\n  \
        kvm-clone clone kvm1 kvm2 web --network-config nets.yaml -o json",
    after_long_help = "The clone is another VM with the same content: it has a name, a uuid and MAC addresses of its own. It may be made while the \
        original runs, is defined when all of it has arrived, and stays off. Between two hosts all that arrives is read back and \
        compared, with --verify or without; --verify refuses the one way in which nobody does, a copy on one host. \
        --compress, --bandwidth-limit and more than one image at a time need kvm-helper on both hosts, and are refused where it \
        cannot run. --bandwidth-limit is one limit, however many images share it.\n\
        --network-config is a file such as: networks: {lan: default, br0: br1}.\n\
        When --timeout is over, and on Ctrl-C, everything is taken back.\n\
        kvmctl clone has more: --pool, --start, --only-off, --print-xml.\n\n\
        Library: kvm_clone::plan_clone, kvm_core::op::Executor::run"
)]
pub struct Args {
    /// The host of the VM.
    #[arg(value_name = "SRC", add = ArgValueCandidates::new(command_line::aliases))]
    source: String,
    /// The host of the clone.
    #[arg(value_name = "DST", add = ArgValueCandidates::new(command_line::aliases))]
    target: String,
    /// Name or uuid of the VM.
    #[arg(value_name = "VM", value_parser = command_line::vm)]
    vm: String,
    /// Name of the clone; VM-clone if left out.
    #[arg(short, long, value_name = "NAME")]
    new_name: Option<VmName>,
    /// Take the place of a VM of that name, which is deleted when the clone stands. Nothing asks again.
    #[arg(short, long)]
    force: bool,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Refuse a copy of which nobody compares what has arrived.
    #[arg(long)]
    verify: bool,
    /// Keep the MAC addresses.
    #[arg(long)]
    preserve_mac: bool,
    #[command(flatten)]
    way: HowSent,
    /// Have all of it done in this time, or take it back: seconds, or such as 90s and 2h.
    #[arg(long, value_name = "TIME", value_parser = limit::parse)]
    pub(super) timeout: Option<Duration>,
    #[command(flatten)]
    login: Login,
}

/// How a VM goes from host to host.
#[derive(Debug, clap::Args)]
pub(super) struct HowSent {
    /// Compress what is under way, where a sample shows that it shrinks.
    #[arg(long)]
    compress: bool,
    /// Most that is sent per second, such as 100M or 1Gbit/s.
    #[arg(short, long, value_name = "RATE", value_parser = Bandwidth::parse)]
    bandwidth_limit: Option<Bandwidth>,
    /// How many images are sent at a time, from 1 to 8; 1 if left out.
    #[arg(short, long, value_name = "N")]
    parallel: Option<Parallel>,
    /// File that says what the target calls the networks and bridges.
    #[arg(long, value_name = "FILE")]
    network_config: Option<PathBuf>,
}

impl HowSent {
    /// Like a clone that is asked for so, with what the configuration says of it.
    pub(super) async fn spec(&self, cx: &Context<'_>) -> Result<CloneSpec> {
        let compress = self.compress || cx.config.flag("transfer.compress");
        Ok(CloneSpec {
            uplinks: networks::read(self.network_config.as_ref()).await?,
            limit: self.bandwidth_limit.or(cx.config.bandwidth()?).unwrap_or(Bandwidth::UNLIMITED),
            compression: if compress { Compress::Auto } else { Compress::Never },
            parallel: self.parallel.or(cx.config.parallel()?).unwrap_or_default(),
            ..CloneSpec::default()
        })
    }

    /// Refuses what was asked for on the command line and does not happen on this way.
    pub(super) fn check(&self, way: Way) -> Result<()> {
        let are_several = self.parallel.is_some_and(|parallel| parallel != Parallel::ONE);
        match way == Way::Helpers {
            false if self.compress => Err(refused::compress()),
            false if are_several => Err(refused::parallel()),
            _ => Ok(()),
        }
    }
}

pub(super) async fn run(args: Args, cx: &Context<'_>, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let spec = CloneSpec {
        name: args.new_name,
        preserve_mac: args.preserve_mac,
        replace: crate::clone::replace(args.force, false, cx.session),
        ..args.way.spec(cx).await?
    };
    let hosts = args.login.open(&[&args.source, &args.target], cx).await?;
    let [source, target] = &hosts[..] else { return Err(kvm_core::Error::internal("two hosts were asked for")) };
    let vm = kvm_vm::resolve(&source.host, &args.vm).await?;
    cx.session.is_about(&args.vm);
    let clone = plan_clone(&source.host, &target.host, &vm, &spec, &cx.session.plan_context()).await?;
    args.way.check(clone.way)?;
    if (args.verify || cx.config.flag("transfer.verify")) && clone.way == Way::SameHost {
        return Err(refused::verify());
    }
    match args.dry_run {
        true => crate::clone::preview(&clone, printer),
        false => crate::clone::carry_out(clone, vm.name.as_str(), Then::default(), target, cx.session, printer).await,
    }
}
