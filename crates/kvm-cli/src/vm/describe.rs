//! `kvmctl vm describe`.

use std::path::PathBuf;

use kvm_core::{Description, Result, Title, VmNotes};
use kvm_vm::NotesChange;
use serde::Serialize;

use crate::printer::{Outcome, Page};
use crate::session::Session;
use crate::text;
use crate::vms::One;

/// Arguments of `vm describe`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm describe web --title 'Shop front'\n  kvmctl vm describe web --description-file notes.txt\n  kvmctl vm describe web --title ''",
    after_long_help = "Empty text removes what is there.\n\nLibrary: kvm_vm::change_notes"
)]
#[group(id = "what", required = true, multiple = true, args = ["title", "description", "description_file"])]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// One line.
    #[arg(long, value_name = "TEXT")]
    title: Option<Title>,
    /// Any number of lines.
    #[arg(long, value_name = "TEXT", conflicts_with = "description_file")]
    description: Option<Description>,
    /// File with the description; - for standard input.
    #[arg(long, value_name = "FILE")]
    description_file: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
pub(super) struct Described {
    id: String,
    name: String,
    #[serde(flatten)]
    notes: VmNotes,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Described> {
    let description = match &args.description_file {
        Some(path) => Some(Description::parse(text::read_user_file(path).await?.trim_end())?),
        None => args.description,
    };
    let change = NotesChange {
        title: args.title.map(|title| Some(title).filter(|t| !t.is_empty())),
        description: description.map(|text| Some(text).filter(|d| !d.is_empty())),
        ..NotesChange::default()
    };
    let (connection, vm) = args.vm.find(session).await?;
    let notes = kvm_vm::change_notes(&connection.host, &vm.id, &change).await?;
    Ok(Described { id: vm.id.to_string(), name: vm.name.into(), notes })
}

impl Outcome for Described {
    fn text(&self, page: &mut Page<'_>) {
        page.done(format_args!("{} described", self.name));
    }
}
