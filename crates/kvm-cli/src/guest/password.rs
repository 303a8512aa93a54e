//! `kvmctl guest password`.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use kvm_core::{Error, ErrorKind, Result};
use kvm_vm::guest::{GuestUser, PasswordForm};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde::Serialize;

use super::agent;
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;
use crate::vms::One;

/// The longest line that is read.
const LONGEST: u64 = 4096;

/// Arguments of `guest password`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl guest password web root\n  kvmctl guest password web root < password\n  \
        kvmctl guest password web erika --crypted < hash",
    after_long_help = "The password is asked for on a terminal, and else the first line of standard input; never an argument, which everybody \
        on this computer could see.\n\nLibrary: kvm_vm::guest::Agent::set_password"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// The user.
    #[arg(value_name = "USER")]
    user: GuestUser,
    /// It is given as the guest stores it, in the form of crypt(3).
    #[arg(long)]
    crypted: bool,
}

#[derive(Debug, Serialize)]
struct Set {
    name: String,
    id: String,
    user: String,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (agent, vm) = agent(&args.vm, session).await?;
    let password = match io::stdin().is_terminal() {
        true => asked(&format!("new password of {} in {}:", args.user, vm.name), printer).await?,
        false => line().await?,
    };
    let form = if args.crypted { PasswordForm::Crypted } else { PasswordForm::Plain };
    agent.set_password(&args.user, &password, form).await?;
    printer.show(&Set { id: vm.id.to_string(), name: vm.name.into(), user: args.user.as_str().to_owned() })
}

/// A password from the terminal, typed twice, unseen.
async fn asked(question: &str, printer: &mut Printer) -> Result<String> {
    let _hidden = HiddenTyping::begin()?;
    printer.preview(question);
    let first = line().await?;
    printer.preview("and once more:");
    match line().await? == first {
        true => Ok(first),
        false => Err(Error::invalid("password", "was typed differently the second time")),
    }
}

/// One line of standard input, without its end.
async fn line() -> Result<String> {
    let unread = |e: io::Error| Error::new(ErrorKind::Cancelled, "no password was given").with_source(e);
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().lock().take(LONGEST).read_line(&mut line).map(|_| line)
    });
    let line = read.await.map_err(|e| Error::internal("no password was read").with_source(e))?.map_err(unread)?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// A terminal that does not show what is typed, until this is dropped.
struct HiddenTyping(Termios);

impl HiddenTyping {
    fn begin() -> Result<Self> {
        let refused =
            |e: rustix::io::Errno| Error::new(ErrorKind::Unavailable, "the terminal cannot be used").with_source(e);
        let before = tcgetattr(rustix::stdio::stdin()).map_err(refused)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &hidden).map_err(refused)?;
        Ok(Self(before))
    }
}

impl Drop for HiddenTyping {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _gone = tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &self.0);
    }
}

impl Outcome for Set {
    fn text(&self, page: &mut Page<'_>) {
        page.done(format_args!("password of {} in {} set", self.user, self.name));
    }
}
