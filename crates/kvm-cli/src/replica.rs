//! `kvmctl replica`: copies of VMs that are kept up to date on other hosts.

use std::time::Duration;

use clap::Subcommand;
use kvm_clone::{ReplicaInfo, SourceSeen, see_source};
use kvm_core::{ErrorKind, Receipt, Replica, ReplicaState, Replication, Result, VmId, VmState, VmSummary};
use serde::Serialize;

use crate::op;
use crate::printer::Printer;
use crate::session::Session;

mod invert;
mod list;
mod pause;
mod promote;
mod prove;
mod show;

/// For so long the host of a source is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Verbs for replicas.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvmctl replica list lab1 lab2
  kvmctl replica promote lab2/web --start
  kvmctl replica prove lab2/web
  kvmctl replica invert lab2/web lab1")]
pub enum Command {
    /// List replicas and their sources, and how far they are behind.
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Show all that is known of a replica, and whether its source runs.
    Show(show::Args),
    /// Make a VM of its own of a replica; its source is not needed.
    Promote(promote::Args),
    /// Have a replica take no syncs for now.
    Pause(pause::PauseArgs),
    /// Have a replica take syncs again.
    Resume(pause::ResumeArgs),
    /// Start a replica, or any VM that is off, once on throw-away overlays, and note on it whether it came up.
    Prove(prove::Args),
    /// Turn a promoted replica and its old source round.
    Invert(invert::Args),
}

/// Does what was asked.
pub(crate) async fn run(command: Command, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    match command {
        Command::List(args) => op::answer(&list::run(args, session).await?, session, printer).await,
        Command::Show(args) => op::answer(&show::run(args, session, printer).await?, session, printer).await,
        Command::Promote(args) => promote::run(args, session, printer).await,
        Command::Pause(args) => pause::pause(args, session, printer).await,
        Command::Resume(args) => pause::resume(args, session, printer).await,
        Command::Prove(args) => prove::run(args, session, printer).await,
        Command::Invert(args) => invert::run(args, session, printer).await,
    }
}

/// A VM as lists and pages show it.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    id: VmId,
    host: String,
    vm_state: VmState,
    /// `source`, `replica` or nothing.
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    replication: Option<Replication>,
    lag_seconds: Option<u64>,
    /// What the last trial start of it has shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<Receipt>,
}

impl Row {
    fn of(info: ReplicaInfo, host: String, session: &Session) -> Self {
        let lag_seconds = info.lag(session.clock.now()).map(|lag| lag.as_secs());
        let ReplicaInfo { vm, replication, proof } = info;
        Self { name: vm.name.as_str().to_owned(), id: vm.id, host, vm_state: vm.state, replication, lag_seconds, proof }
    }

    fn replica(&self) -> Option<&Replica> {
        match &self.replication {
            Some(Replication::Replica(replica)) => Some(replica),
            _ => None,
        }
    }

    fn role(&self) -> &'static str {
        self.replication.as_ref().map_or("", role)
    }

    /// The other hosts.
    fn peers(&self) -> String {
        match &self.replication {
            None => String::new(),
            Some(Replication::Replica(replica)) => replica.source.to_string(),
            Some(Replication::Source { replicas }) => {
                replicas.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            }
        }
    }
}

/// What a VM is to others.
pub(crate) fn role(replication: &Replication) -> &'static str {
    match replication {
        Replication::Source { .. } => "source",
        Replication::Replica(replica) if replica.state == ReplicaState::Promoted => "promoted",
        Replication::Replica(_) => "replica",
    }
}

/// What can be seen of a replica's source from here, in a time that somebody waits for.
async fn source_of(replica: &Replica, vm: &VmSummary, session: &Session) -> SourceSeen {
    let look = async {
        match session.at_target(&replica.source.target).await {
            Ok(source) => see_source(&source.host, vm).await,
            Err(e) => SourceSeen::Unreachable(e.to_string()),
        }
    };
    let late = |_| SourceSeen::Unreachable(format!("{} did not answer in {} s", replica.source, PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(late)
}

/// The same in words.
fn in_words(seen: &SourceSeen) -> String {
    match seen {
        SourceSeen::Unreachable(why) => format!("not reached: {why}"),
        SourceSeen::Gone => "not there any more".to_owned(),
        SourceSeen::There(state) => state.to_string(),
    }
}
