//! `kvmctl guest ssh-key`.

use std::path::PathBuf;

use clap::Subcommand;
use kvm_core::{Error, ErrorKind, Result};
use kvm_vm::guest::{AuthorizedKey, GuestUser, Reset};
use serde::Serialize;

use super::agent;
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;
use crate::text::read_user_file;
use crate::vms::One;

/// Verbs for SSH keys of users of a guest.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvmctl guest ssh-key list web root
  kvmctl guest ssh-key add web root ~/.ssh/id_ed25519.pub
  kvmctl guest ssh-key remove web root ~/.ssh/id_ed25519.pub")]
pub enum Command {
    /// Let a user log in with the keys of a file.
    Add(Add),
    /// List the keys with which a user can log in.
    #[command(visible_alias = "ls")]
    List(Whose),
    /// Take the keys of a file from a user.
    #[command(visible_alias = "rm")]
    Remove(Change),
}

/// Arguments of `guest ssh-key list`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl guest ssh-key list web root\n  kvmctl guest ssh-key list web root -o json",
    after_long_help = "Library: kvm_vm::guest::Agent::ssh_keys"
)]
pub struct Whose {
    #[command(flatten)]
    vm: One,
    /// The user.
    #[arg(value_name = "USER")]
    user: GuestUser,
}

/// Arguments of `guest ssh-key remove`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl guest ssh-key remove web root old.pub\n  \
        kvmctl guest ssh-key list web root | grep laptop | kvmctl guest ssh-key remove web root -",
    after_long_help = "Keys are told by their whole lines, as list shows them.\n\nLibrary: kvm_vm::guest::Agent::remove_ssh_keys"
)]
pub struct Change {
    #[command(flatten)]
    whose: Whose,
    /// File of public keys, one in each line; - for standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Arguments of `guest ssh-key add`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl guest ssh-key add web root ~/.ssh/id_ed25519.pub\n  \
        ssh-add -L | kvmctl guest ssh-key add web root -\n  kvmctl guest ssh-key add web root team.pub --replace",
    after_long_help = "Keys that the user has already are not added again.\n\nLibrary: kvm_vm::guest::Agent::add_ssh_keys"
)]
pub struct Add {
    #[command(flatten)]
    change: Change,
    /// Take all other keys from the user.
    #[arg(long)]
    replace: bool,
}

#[derive(Debug, Serialize)]
struct Keys {
    name: String,
    id: String,
    user: String,
    keys: Vec<String>,
    #[serde(skip)]
    done: Option<&'static str>,
}

pub(super) async fn run(command: Command, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (whose, done) = match command {
        Command::List(whose) => (whose, None),
        Command::Add(Add { change: Change { whose, file }, replace }) => {
            let keys = keys(&file).await?;
            let reset = if replace { Reset::Replace } else { Reset::Keep };
            agent(&whose.vm, session).await?.0.add_ssh_keys(&whose.user, &keys, reset).await?;
            (whose, Some("can log in with"))
        }
        Command::Remove(Change { whose, file }) => {
            let keys = keys(&file).await?;
            agent(&whose.vm, session).await?.0.remove_ssh_keys(&whose.user, &keys).await?;
            (whose, Some("can still log in with"))
        }
    };
    let (agent, vm) = agent(&whose.vm, session).await?;
    let keys = agent.ssh_keys(&whose.user).await?;
    let user = whose.user.as_str().to_owned();
    printer.show(&Keys { id: vm.id.to_string(), name: vm.name.into(), user, keys, done })
}

/// The keys of a file, without its comments and empty lines. `InvalidInput` names the line that is none.
async fn keys(file: &std::path::Path) -> Result<Vec<AuthorizedKey>> {
    let text = read_user_file(file).await?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let key = |(index, line)| {
        AuthorizedKey::parse(line)
            .map_err(|e| Error::invalid("key", format!("line {} of {}: {}", index + 1, file.display(), e.message())))
    };
    let keys: Vec<_> = lines.map(key).collect::<Result<_>>()?;
    if keys.is_empty() {
        return Err(Error::invalid("key", format!("there is no key in {}", file.display())));
    }
    Ok(keys)
}

impl Outcome for Keys {
    fn text(&self, page: &mut Page<'_>) {
        if let Some(done) = self.done {
            let keys = match self.keys.len() {
                1 => "1 key".to_owned(),
                n => format!("{n} keys"),
            };
            return page.done(format_args!("{} of {} {done} {keys}", self.user, self.name));
        }
        for key in &self.keys {
            page.line(key);
        }
    }
}
