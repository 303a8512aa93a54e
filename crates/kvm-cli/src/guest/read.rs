//! `kvmctl guest read`.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use kvm_core::{Bytes, Error, ErrorKind, Result};
use kvm_vm::guest::GuestPath;
use serde::Serialize;
use tokio::io::AsyncWrite;

use super::agent;
use super::exec::shown;
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `guest read`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl guest read web /etc/hosts\n  kvmctl guest read web /var/log/syslog --to syslog\n  \
        kvmctl guest cat win 'C:\\Windows\\win.ini'",
    after_long_help = "On a terminal what could act on it is made visible; on a pipe and in a file every byte is as it is in the guest.\n\n\
        Library: kvm_vm::guest::Agent::read_file"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// Where it is in the guest; absolute.
    #[arg(value_name = "PATH")]
    path: GuestPath,
    /// Write it into this new file.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// The most that is taken.
    #[arg(long, value_name = "SIZE", value_parser = kvm_core::parse_size, default_value = "1G")]
    max: Bytes,
}

#[derive(Debug, Serialize)]
struct Saved {
    name: String,
    id: String,
    path: String,
    file: PathBuf,
    size_bytes: Bytes,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (agent, vm) = agent(&args.vm, session).await?;
    let Some(file) = args.to else {
        agent.read_file(&args.path, &mut Shown(printer), args.max).await?;
        return Ok(None);
    };
    let mut to = tokio::fs::OpenOptions::new().write(true).create_new(true).open(&file).await.map_err(|e| {
        let kind = match e.kind() {
            io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
            io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            _ => ErrorKind::InvalidInput,
        };
        Error::new(kind, format!("cannot make {}", file.display())).with_source(e)
    })?;
    let read = agent.read_file(&args.path, &mut to, args.max).await;
    if read.is_err() {
        // Ours, and only a part. That it stays is the smaller problem of the two.
        let _stays = tokio::fs::remove_file(&file).await;
    }
    let size_bytes = read?;
    let path = args.path.as_str().to_owned();
    printer.show(&Saved { id: vm.id.to_string(), name: vm.name.into(), path, file, size_bytes })
}

impl Outcome for Saved {
    fn text(&self, page: &mut Page<'_>) {
        page.done(format_args!(
            "{} of {} saved to {} ({})",
            self.path,
            self.name,
            self.file.display(),
            self.size_bytes
        ));
    }
}

/// Standard output.
struct Shown<'a>(&'a mut Printer);

impl AsyncWrite for Shown<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.raw(&shown(bytes, io::stdout().is_terminal())).map_err(io::Error::other)?;
        // The reader went away, as `head` does.
        Poll::Ready(if self.0.is_closed() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(bytes.len()) })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
