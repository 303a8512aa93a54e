//! `kvmctl vm tag`.

use std::collections::BTreeSet;

use kvm_core::{ErrorKind, Result, Tag};
use kvm_vm::NotesChange;
use serde::Serialize;

use crate::printer::Printer;
use crate::session::Session;
use crate::vms::{Deed, Several, Would};

/// Arguments of `vm tag`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm tag web db --add prod --add owner=dba\n  kvmctl vm tag web --remove prod\n  kvmctl vm tag --select name~^test --add scratch",
    after_long_help = "A tag is a word or key=value. A key has one value: adding owner=dba replaces owner=ops; removing owner removes it \
        whatever its value.\n\nLibrary: kvm_vm::change_notes"
)]
#[group(id = "what", required = true, multiple = true, args = ["add", "remove"])]
pub struct Args {
    #[command(flatten)]
    vms: Several,
    /// Tag to add; may be repeated.
    #[arg(long, value_name = "TAG")]
    add: Vec<Tag>,
    /// Tag to remove; may be repeated.
    #[arg(long, value_name = "TAG")]
    remove: Vec<Tag>,
}

#[derive(Debug, Serialize)]
struct Tagged {
    tags: BTreeSet<Tag>,
}

impl Deed for Tagged {
    fn words(&self) -> String {
        let tags: Vec<_> = self.tags.iter().map(Tag::as_str).collect();
        match tags.is_empty() {
            true => "has no tags".to_owned(),
            false => format!("tagged {}", tags.join(", ")),
        }
    }
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    if args.vms.dry_run {
        return printer.show(&Would::new("tag", args.vms.find(session).await?));
    }
    let change = NotesChange {
        add_tags: args.add.into_iter().collect(),
        remove_tags: args.remove.into_iter().collect(),
        ..NotesChange::default()
    };
    let batch = args
        .vms
        .each(session, async |connection, vm| {
            let notes = kvm_vm::change_notes(&connection.host, &vm.id, &change).await?;
            Ok(Tagged { tags: notes.tags })
        })
        .await?;
    printer.show(&batch)
}
