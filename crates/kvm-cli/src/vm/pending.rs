//! `kvmctl vm pending`.

use kvm_core::Result;
use kvm_xml::Change;
use serde::Serialize;

use crate::printer::{Outcome, Page};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `vm pending`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm pending web\n  kvmctl vm pending web -o json",
    after_long_help = "How the configuration differs from what runs. A shutdown and a start bring it about; a reboot of the guest does \
        not.\n\nLibrary: kvm_vm::pending"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
}

#[derive(Debug, Serialize)]
pub(super) struct Pending {
    name: String,
    id: String,
    changes: Vec<Difference>,
    #[serde(skip)]
    lines: Vec<String>,
}

/// A difference; `null` where there is nothing.
#[derive(Debug, Serialize)]
struct Difference {
    path: String,
    live: Option<String>,
    config: Option<String>,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Pending> {
    let (connection, vm) = args.vm.find(session).await?;
    let changes = kvm_vm::pending(&connection.host, &vm).await?;
    let lines = changes.iter().map(ToString::to_string).collect();
    let difference = |Change { path, before, after }| Difference { path, live: before, config: after };
    let changes = changes.into_iter().map(difference).collect();
    Ok(Pending { id: vm.id.to_string(), name: vm.name.into(), changes, lines })
}

impl Outcome for Pending {
    fn text(&self, page: &mut Page<'_>) {
        if self.lines.is_empty() {
            page.line(format_args!("nothing waits for the next start of {}", self.name));
        }
        for line in &self.lines {
            page.line(line);
        }
    }
}
