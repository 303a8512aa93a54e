//! `kvmctl guest time`.

use jiff::Timestamp;
use kvm_core::{Error, Result};
use serde::Serialize;

use super::agent;
use crate::printer::{Outcome, Page};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `guest time`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl guest time web\n  kvmctl guest time web --set now\n  \
        kvmctl guest time web --set 2030-01-01T00:00:00Z",
    after_long_help = "AHEAD is measured against the clock of this computer, and contains the way there and back.\n\n\
        Library: kvm_vm::guest::Agent::time, ::set_time"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// Set the clock: now (of this computer), hardware (of the VM), or a time such as 2030-01-01T00:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = Wanted::parse)]
    set: Option<Wanted>,
}

#[derive(Clone, Copy, Debug)]
enum Wanted {
    Now,
    Hardware,
    At(Timestamp),
}

impl Wanted {
    fn parse(text: &str) -> Result<Self> {
        match text {
            "now" => Ok(Self::Now),
            "hardware" => Ok(Self::Hardware),
            time => time
                .parse()
                .map(Self::At)
                .map_err(|_| Error::invalid("set", "is now, hardware, or a time such as 2030-01-01T00:00:00Z")),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Time {
    name: String,
    id: String,
    time: Timestamp,
    ahead_seconds: f64,
    set: bool,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Time> {
    let (agent, vm) = agent(&args.vm, session).await?;
    match args.set {
        Some(Wanted::Now) => agent.set_time(Some(session.clock.now())).await?,
        Some(Wanted::Hardware) => agent.set_time(None).await?,
        Some(Wanted::At(time)) => agent.set_time(Some(time)).await?,
        None => {}
    }
    let time = agent.time().await?;
    // The result of dividing milliseconds: more digits would only be the way of the question.
    let ahead_seconds = (time.as_millisecond() - session.clock.now().as_millisecond()) as f64 / 1000.0;
    Ok(Time { id: vm.id.to_string(), name: vm.name.into(), time, ahead_seconds, set: args.set.is_some() })
}

impl Outcome for Time {
    fn text(&self, page: &mut Page<'_>) {
        if self.set {
            page.done(format_args!("clock of {} set", self.name));
        }
        page.fields(&[("time", Some(self.time.to_string())), ("ahead", Some(format!("{:+.1} s", self.ahead_seconds)))]);
    }
}
