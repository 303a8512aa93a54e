//! `kvmctl events`.

use std::time::Duration;

use futures_util::StreamExt as _;
use kvm_core::{Error, ErrorKind, Event, Result};
use serde::Serialize;

use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;

/// Arguments of `events`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl events\n  kvmctl events -o json | jq -r 'select(.type == \"vm\") | .name'\n  kvmctl events --vm web --count 1 --timeout 60s",
    after_long_help = "Runs until Ctrl-C. After a lost connection `resynced` says that what happened meanwhile is found by listing.\n\n\
        Library: kvm_core::Hypervisor::events"
)]
pub struct Args {
    /// Go on until Ctrl-C; this is so anyway.
    #[arg(short, long)]
    follow: bool,
    /// Only what happens to this VM.
    #[arg(long, value_name = "NAME")]
    vm: Option<String>,
    /// End after this many.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End after this time; an error if --count was waited for.
    #[arg(long, value_name = "TIME", value_parser = kvm_core::parse_duration, conflicts_with = "follow")]
    timeout: Option<Duration>,
}

/// An event with the time at which it was heard.
#[derive(Debug, Serialize)]
struct Heard {
    at: String,
    #[serde(flatten)]
    event: Event,
}

impl Outcome for Heard {
    fn text(&self, page: &mut Page<'_>) {
        let at = &self.at;
        match &self.event {
            Event::Vm(vm) => page.line(format_args!("{at}  {:<22}  {}", vm.what.as_str(), vm.name)),
            Event::Disconnected => page.line(format_args!("{at}  {:<22}  events are not seen now", "disconnected")),
            Event::Resynced => page.line(format_args!("{at}  {:<22}  list again to see what changed", "resynced")),
            Event::Lagged { missed } => page.line(format_args!("{at}  {:<22}  {missed} events were dropped", "lagged")),
            other => page.line(format_args!("{at}  {other:?}")),
        }
    }
}

/// Prints events as they come.
pub(crate) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let connection = session.host().await?;
    let hypervisor = &connection.host.hypervisor;
    let only = match &args.vm {
        Some(text) => Some(kvm_vm::resolve(&connection.host, text).await?.id),
        None => None,
    };
    let mut events = hypervisor.events().await?;
    printer.explain(&format!("following {}", connection.label()));
    let follow = async {
        let mut left = args.count.unwrap_or(u64::MAX);
        while left > 0 && !printer.is_closed() {
            let Some(event) = events.next().await else { return Ok(()) };
            match (&event, only) {
                (Event::Vm(vm), Some(only)) if vm.vm != only => continue,
                _ => {}
            }
            let at = format!("{:.3}", session.clock.now());
            printer.item(&Heard { at, event })?;
            left -= 1;
        }
        Ok(())
    };
    let Some(timeout) = args.timeout else { return follow.await.map(|()| None) };
    tokio::select! {
        biased;
        done = follow => done.map(|()| None),
        () = session.clock.sleep(timeout) => match args.count {
            None => Ok(None),
            Some(count) => Err(Error::new(ErrorKind::Timeout, format!("fewer than {count} events in time"))),
        },
    }
}
