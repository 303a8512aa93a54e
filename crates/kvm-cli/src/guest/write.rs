//! `kvmctl guest write`.

use std::path::PathBuf;

use kvm_core::{Bytes, Error, ErrorKind, Result};
use kvm_vm::guest::{GuestPath, OpenMode};
use serde::Serialize;
use tokio::io::AsyncRead;

use super::agent;
use crate::printer::{Outcome, Page};
use crate::session::Session;
use crate::vms::One;

/// The most that goes into a file of a guest at once.
const LIMIT: Bytes = Bytes::new(1 << 30);

/// Arguments of `guest write`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl guest write web /etc/motd < motd\n  \
        kvmctl guest write web /etc/nginx/nginx.conf --from nginx.conf --overwrite\n  kvmctl guest write web /var/log/notes --append < note",
    after_long_help = "A file that is there is refused without --overwrite or --append. When it fails in the middle, a part is there: what a \
        program of the guest may read meanwhile is better written beside it, and renamed with kvmctl guest exec.\n\n\
        Library: kvm_vm::guest::Agent::write_file"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// Where it goes in the guest; absolute.
    #[arg(value_name = "PATH")]
    path: GuestPath,
    /// What goes there; standard input unless told otherwise.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Replace what is in the file.
    #[arg(long, conflicts_with = "append")]
    overwrite: bool,
    /// Write behind its end.
    #[arg(long)]
    append: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Written {
    name: String,
    id: String,
    path: String,
    written_bytes: Bytes,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Written> {
    let (agent, vm) = agent(&args.vm, session).await?;
    let path = args.path.as_str().to_owned();
    let mut from: Box<dyn AsyncRead + Send + Unpin> = match &args.from {
        Some(file) => Box::new(tokio::fs::File::open(file).await.map_err(|e| {
            let kind = if e.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Denied };
            Error::new(kind, format!("cannot open {}", file.display())).with_source(e)
        })?),
        None => Box::new(tokio::io::stdin()),
    };
    if !args.overwrite && !args.append {
        // An agent knows no other way to ask.
        match agent.open(&args.path, OpenMode::Read).await {
            Ok(there) => {
                there.close().await?;
                return Err(Error::new(ErrorKind::AlreadyExists, format!("there is a file {path} in the guest"))
                    .with_detail("--overwrite replaces what is in it, --append writes behind its end"));
            }
            Err(e) if e.kind() == ErrorKind::InvalidState => {}
            Err(e) => return Err(e),
        }
    }
    let mode = if args.append { OpenMode::Append } else { OpenMode::Overwrite };
    let written_bytes = agent.write_file(&args.path, mode, &mut from, LIMIT).await?;
    Ok(Written { id: vm.id.to_string(), name: vm.name.into(), path, written_bytes })
}

impl Outcome for Written {
    fn text(&self, page: &mut Page<'_>) {
        page.done(format_args!("{} written to {} of {}", self.written_bytes, self.path, self.name));
    }
}
