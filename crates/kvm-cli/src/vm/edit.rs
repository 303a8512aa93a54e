//! `kvmctl vm edit`.

use std::fs;
use std::io::IsTerminal as _;
use std::path::Path;

use kvm_core::{Error, ErrorKind, Resource, Result, VmId};
use kvm_vm::{Edit, EditOptions, Trust};
use serde::Serialize;

use crate::child;
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `vm edit`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm edit web\n  EDITOR='code --wait' kvmctl vm edit web",
    after_long_help = "Opens $VISUAL or $EDITOR (else vi), shows what the change means, asks, and defines it. When it is refused the text \
        can be edited again; it is never lost.\n\nLibrary: kvm_vm::edit_text, ::prepare_edit"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// Take everything that the text says, also what `vm import` would refuse without --trust.
    #[arg(long)]
    trust: bool,
}

#[derive(Serialize)]
struct Edited {
    name: String,
    id: VmId,
    changed: bool,
    /// A VM that runs changes when it is started again.
    at_next_start: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    let options = EditOptions { trust: if args.trust { Trust::Full } else { Trust::Checked } };
    let before = kvm_vm::edit_text(&connection.host, &vm.id).await?;
    let file = tempfile::Builder::new()
        .prefix("kvmctl-")
        .suffix(".xml")
        .tempfile()
        .and_then(|file| fs::write(file.path(), &before).map(|()| file))
        .map_err(|e| Error::new(ErrorKind::NoSpace, "there is no room for a temporary file").with_source(e))?;
    let edited = async {
        loop {
            let prepared = async {
                child::edit(session, file.path()).await?;
                let after = read(file.path())?;
                kvm_vm::prepare_edit(
                    &connection.host,
                    &vm.id,
                    &before,
                    &after,
                    &options,
                    &session.settings.config.policy,
                )
                .await
            };
            match prepared.await {
                Ok(edit) => return agree(edit, session, printer).await,
                Err(e) if e.kind() == ErrorKind::InvalidInput && std::io::stdin().is_terminal() => {
                    printer.error(&e);
                    let again = printer.ask("Edit it again? [Y/n] ").await?;
                    if !matches!(again.as_str(), "" | "y" | "Y" | "yes") {
                        return Err(e);
                    }
                }
                Err(e) => return Err(e),
            }
        }
    };
    let applied = match edited.await {
        Ok(None) => Ok((false, false)),
        Ok(Some(edit)) => {
            let live = edit.is_live();
            edit.apply(&connection.host).await.map(|()| (true, live))
        }
        Err(e) => Err(e),
    };
    match applied {
        Ok((changed, live)) => {
            printer.show(&Edited { name: vm.name.into(), id: vm.id, changed, at_next_start: changed && live })
        }
        Err(e) if fs::read_to_string(file.path()).is_ok_and(|after| after == before) => Err(e),
        Err(e) => Err(keep(file, e)),
    }
}

/// Shows what the change means and asks. `None` when there is nothing to change.
async fn agree(edit: Edit, session: &Session, printer: &mut Printer) -> Result<Option<Edit>> {
    if edit.changes().is_empty() {
        return Ok(None);
    }
    if !session.yes {
        printer.preview(&edit.to_string());
        let answer = printer.ask("Define it so? [y/N] ").await?;
        if !matches!(answer.as_str(), "y" | "Y" | "yes") {
            return Err(Error::new(ErrorKind::Cancelled, "nothing was changed"));
        }
    }
    Ok(Some(edit))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|e| {
        Error::new(ErrorKind::InvalidInput, "the edited text cannot be read")
            .on(Resource::File(path.display().to_string()))
            .with_source(e)
    })
}

/// The text outlives the error, so that no work is lost.
fn keep(file: tempfile::NamedTempFile, error: Error) -> Error {
    match file.into_temp_path().keep() {
        Ok(path) => error.with_note(&format!("the text is kept in {}", path.display())),
        Err(_) => error,
    }
}

impl Outcome for Edited {
    fn text(&self, page: &mut Page<'_>) {
        match (self.changed, self.at_next_start) {
            (false, _) => page.line(format_args!("{} is unchanged", self.name)),
            (true, false) => page.done(format_args!("{} changed", self.name)),
            (true, true) => page.done(format_args!("{} changed; it takes effect at its next start", self.name)),
        }
    }
}
