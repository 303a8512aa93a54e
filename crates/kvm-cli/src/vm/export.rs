//! `kvmctl vm export`.

use std::path::PathBuf;

use kvm_core::{ErrorKind, Result, Secrets, Transport as _};
use kvm_ssh::LocalTransport;
use serde::Serialize;

use crate::environment;
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `vm export`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm export web > web.xml\n  kvmctl vm export web --file web.xml --secrets",
    after_long_help = "The definition as libvirt has it for the next start, elements of other programs included.\n\nLibrary: kvm_vm::export"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// Include passwords; the result is then itself a secret.
    #[arg(long)]
    secrets: bool,
    /// Write to this file, which only its owner can read.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Serialize)]
struct Exported {
    name: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    xml: Option<String>,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    let secrets = if args.secrets { Secrets::Show } else { Secrets::Hide };
    let xml = kvm_vm::export(&connection.host, &vm.id, secrets).await?;
    let (name, id) = (vm.name.as_str().to_owned(), vm.id.to_string());
    match args.file {
        Some(file) => {
            let file = environment::absolute(file)?;
            LocalTransport::new().write_file(&file, xml.as_bytes(), 0o600).await?;
            printer.show(&Exported { name, id, file: Some(file), xml: None })
        }
        None if printer.format() == crate::args::Format::Table => printer.raw(xml.as_bytes()).map(|()| None),
        None => printer.show(&Exported { name, id, file: None, xml: Some(xml) }),
    }
}

impl Outcome for Exported {
    fn text(&self, page: &mut Page<'_>) {
        if let Some(file) = &self.file {
            page.done(format_args!("{} exported to {}", self.name, file.display()));
        }
    }
}
