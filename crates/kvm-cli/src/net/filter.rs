//! `kvmctl net filter`.

use std::path::PathBuf;

use clap::Subcommand;
use kvm_core::{Error, ErrorKind, Existing, FilterName, Filters, Host, Result};
use kvm_xml::{Document as _, NetworkFilter};
use serde::Serialize;

use crate::op;
use crate::operation::confirm;
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;
use crate::text;

/// Verbs for network filters: what the devices that name one may send and receive.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvmctl net filter list
  kvmctl net filter define strict.xml
  kvmctl nic attach web default,filter=clean-traffic")]
pub enum Command {
    /// List filters.
    #[command(visible_alias = "ls")]
    List(List),
    /// Print the XML of a filter.
    Show(One),
    /// Store a filter.
    Define(Define),
    /// Forget a filter that no running VM is behind.
    Delete(One),
}

/// Arguments of `net filter list`.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  kvmctl net filter list", after_long_help = "Library: kvm_core::Filters::list")]
pub struct List {}

/// One filter.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl net filter show clean-traffic\n  kvmctl net filter delete strict --yes",
    after_long_help = "Library: kvm_core::Filters::definition, ::undefine"
)]
pub struct One {
    /// Name of the filter.
    #[arg(value_name = "FILTER", value_parser = FilterName::adopt)]
    filter: FilterName,
}

/// Arguments of `net filter define`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl net filter define strict.xml\n  kvmctl net filter define strict.xml --replace",
    after_long_help = "A filter has libvirt's XML: https://libvirt.org/formatnwfilter.html. One that replaces another works at once for all \
        VMs that are behind it.\n\nLibrary: kvm_core::Filters::define"
)]
pub struct Define {
    /// libvirt's XML; - for standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace the filter that has this name.
    #[arg(long)]
    replace: bool,
}

/// Does what was asked.
pub(super) async fn run(command: Command, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let connection = session.host().await?;
    let filters = facet(&connection.host)?;
    match command {
        Command::List(List {}) => op::answer(&Listed { filters: filters.list().await? }, session, printer).await,
        Command::Show(one) => {
            printer.raw(filters.definition(&one.filter).await?.to_xml().as_bytes())?;
            Ok(None)
        }
        Command::Define(args) => {
            let document = NetworkFilter::from_xml_strict(&text::read_user_file(&args.file).await?)
                .map_err(|e| Error::invalid("file", e.to_string()))?;
            // What is new has a name that a person may choose.
            let filter = FilterName::parse(document.name.as_deref().unwrap_or_default())?;
            let existing = if args.replace { Existing::Replace } else { Existing::Reject };
            filters.define(&document, existing).await?;
            printer.show(&Changed { filter, action: "defined" })
        }
        Command::Delete(One { filter }) => {
            // Known to be there before anybody is asked.
            filters.definition(&filter).await?;
            confirm(session, printer, "Type the name to delete it: ", filter.as_str()).await?;
            filters.undefine(&filter).await?;
            printer.show(&Changed { filter, action: "deleted" })
        }
    }
}

fn facet(host: &Host) -> Result<&dyn Filters> {
    let missing = || Error::new(ErrorKind::Unsupported, "this host has no network filters");
    host.networks.filters().ok_or_else(missing)
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Listed {
    filters: Vec<FilterName>,
}

impl Outcome for Listed {
    fn text(&self, page: &mut Page<'_>) {
        let names: Vec<_> = self.filters.iter().map(ToString::to_string).collect();
        page.block(names.join("\n"));
    }
}

/// What became of a filter.
#[derive(Debug, Serialize)]
struct Changed {
    filter: FilterName,
    action: &'static str,
}

impl Outcome for Changed {
    fn text(&self, page: &mut Page<'_>) {
        page.done(format_args!("network filter {} {}", self.filter, self.action));
    }
}
