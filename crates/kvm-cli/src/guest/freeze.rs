//! `kvmctl guest freeze`.

use std::time::Duration;

use kvm_core::{ErrorKind, Result};
use kvm_vm::guest::FreezeState;
use serde::Serialize;

use super::agent;
use crate::interrupt::Requests;
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;
use crate::text;
use crate::vms::One;

/// By how much the library's own deadline lies behind ours: it is for what went wrong.
const MARGIN: Duration = Duration::from_secs(5);

/// Arguments of `guest freeze`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl guest freeze web                 until Ctrl-C, 30 seconds at most\n  \
        kvmctl guest freeze web --for 5m\n  kvmctl guest freeze web --leave; lvcreate …; kvmctl guest thaw web",
    after_long_help = "The guest writes down what it holds, and writes wait until the file systems go on: a copy of its disks made \
        meanwhile is of one moment. They go on when the time is over, after Ctrl-C, and when the agent's answer is lost. With --leave \
        nothing but kvmctl guest thaw lets them go on.\n\nLibrary: kvm_vm::guest::Agent::freeze"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// How long they stand still, such as 90s or 5m.
    #[arg(long = "for", value_name = "TIME", value_parser = kvm_core::parse_duration, default_value = "30s")]
    time: Duration,
    /// Do not wait; they stand still until kvmctl guest thaw.
    #[arg(long, conflicts_with = "time")]
    leave: bool,
}

#[derive(Debug, Serialize)]
struct Freeze {
    name: String,
    id: String,
    file_systems: u64,
    state: FreezeState,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (agent, vm) = agent(&args.vm, session).await?;
    let (name, id) = (String::from(vm.name), vm.id.to_string());
    if args.leave {
        let file_systems = agent.freeze_without_end().await?;
        return printer.show(&Freeze { name, id, file_systems, state: FreezeState::Frozen });
    }
    // From here on Ctrl-C thaws, in place of ending the program.
    let _ours = session.leave_signals_to_child();
    let mut requests = Requests::listen()?;
    let frozen = agent.freeze(args.time.saturating_add(MARGIN)).await?;
    let file_systems = frozen.count();
    printer.note(&format!(
        "file systems of {name} stand still ({file_systems}) for {}; Ctrl-C lets them go on",
        text::duration(args.time)
    ));
    tokio::select! {
        () = requests.next() => {}
        () = session.clock.sleep(args.time) => {}
    }
    frozen.thaw().await?;
    printer.show(&Freeze { name, id, file_systems, state: FreezeState::Thawed })
}

impl Outcome for Freeze {
    fn text(&self, page: &mut Page<'_>) {
        let (n, name) = (self.file_systems, &self.name);
        match self.state {
            FreezeState::Frozen => {
                page.done(format_args!("file systems of {name} stand still ({n}) until: kvmctl guest thaw {name}"));
            }
            FreezeState::Thawed => page.done(format_args!("file systems of {name} go on")),
        }
    }
}
