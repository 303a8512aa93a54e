//! `kvmctl vm console`.

use std::io::IsTerminal as _;
use std::time::Duration;

use kvm_core::{ByteStream, ConsoleAccess, Error, ErrorKind, Resource, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::console_input::{Escape, RawTerminal, Watch};
use crate::printer::Printer;
use crate::session::Session;
use crate::vms::One;

/// Arguments of `vm console`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm console web\n  kvmctl vm console web --until 'login:' --timeout 60s < /dev/null\n  \
        kvmctl vm console web --read-only > boot.log",
    after_long_help = "On a terminal every key goes to the guest, but the escape key, which leaves. On a pipe standard input goes to the \
        guest, and what it says to standard output, until the guest closes the line or the time is over.\n\n\
        Library: kvm_core::Console::open_serial"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// Key that leaves the console, such as ^] or ^A.
    #[arg(long, value_name = "KEY", default_value = "^]")]
    escape: Escape,
    /// Send nothing to the guest.
    #[arg(long)]
    read_only: bool,
    /// Disconnect whoever has the console open.
    #[arg(long)]
    take_over: bool,
    /// Leave when the guest says this.
    #[arg(long, value_name = "TEXT")]
    until: Option<String>,
    /// Leave after this time; an error if --until was waited for.
    #[arg(long, value_name = "TIME", value_parser = kvm_core::parse_duration)]
    timeout: Option<Duration>,
}

/// Why the console was left.
enum Left {
    Escape,
    Closed,
    Seen,
    Time,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    let unsupported = || Error::new(ErrorKind::Unsupported, "this host has no serial consoles");
    let console = connection.host.hypervisor.console().ok_or_else(unsupported)?;
    let access = if args.take_over { ConsoleAccess::TakeOver } else { ConsoleAccess::Exclusive };
    let mut stream = console.open_serial(&vm.id, access).await.map_err(|e| e.during("console"))?;
    let terminal = match std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !args.read_only {
        true => {
            printer.note(&format!("connected to {}; {} leaves", vm.name, args.escape));
            Some(RawTerminal::enter()?)
        }
        false => None,
    };
    let escape = terminal.as_ref().map(|_| args.escape);
    let talk = talk(&mut *stream, printer, escape, args.read_only, args.until.as_deref());
    let left = match args.timeout {
        Some(timeout) => tokio::time::timeout(timeout, talk).await.unwrap_or(Ok(Left::Time)),
        None => talk.await,
    };
    let was_terminal = terminal.is_some();
    drop(terminal);
    match (left?, &args.until) {
        (Left::Time, Some(until)) => {
            Err(Error::new(ErrorKind::Timeout, format!("the guest did not say {until:?} in time"))
                .on(Resource::Vm(vm.name.into())))
        }
        (Left::Closed, Some(until)) => {
            Err(Error::new(ErrorKind::Unavailable, format!("the console was closed before the guest said {until:?}"))
                .on(Resource::Vm(vm.name.into())))
        }
        (Left::Escape | Left::Closed, None) if was_terminal => {
            printer.note("left the console");
            Ok(None)
        }
        _ => Ok(None),
    }
}

async fn talk(
    stream: &mut dyn ByteStream,
    printer: &mut Printer,
    escape: Option<Escape>,
    read_only: bool,
    until: Option<&str>,
) -> Result<Left> {
    let lost = |e| Error::new(ErrorKind::Unavailable, "the console was lost").with_source(e);
    let (mut from_guest, mut to_guest) = tokio::io::split(stream);
    let mut keyboard = tokio::io::stdin();
    let mut watch = until.map(Watch::new);
    let (mut said, mut typed) = ([0; 4096], [0; 1024]);
    let mut listening = !read_only;
    loop {
        tokio::select! {
            read = from_guest.read(&mut said) => {
                let said = &said[..read.map_err(lost)?];
                if said.is_empty() {
                    return Ok(Left::Closed);
                }
                printer.raw(said)?;
                if watch.as_mut().is_some_and(|watch| watch.sees(said)) {
                    return Ok(Left::Seen);
                }
                if printer.is_closed() {
                    return Ok(Left::Closed);
                }
            }
            read = keyboard.read(&mut typed), if listening => {
                let typed = &typed[..read.map_err(lost)?];
                // The end of standard input is not the end of what the guest says.
                listening = !typed.is_empty();
                let (send, leave) = match escape {
                    Some(escape) => escape.split(typed),
                    None => (typed, false),
                };
                to_guest.write_all(send).await.map_err(lost)?;
                to_guest.flush().await.map_err(lost)?;
                if leave {
                    return Ok(Left::Escape);
                }
            }
        }
    }
}
