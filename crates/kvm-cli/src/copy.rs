//! The program `kvm-clone`: another command line for the same work.
//!
//! Only the words are its own: hosts are found, plans carried out, journals kept and results printed by what `kvmctl`
//! has. Each flag does what it says or is refused (docs/decisions/0009-kvm-clone.md).

use kvm_core::{ErrorKind, Result};

use crate::environment::{self, Directories};
use crate::interrupt::Requests;
use crate::printer::{Failure, Printer};
use crate::session::Session;
use crate::{args, exit, log};

mod clone;
mod command_line;
mod config;
mod limit;
mod list;
mod login;
mod networks;
mod refused;
mod status;
mod sync;

pub use command_line::{Args, Command, answer_completion};

use config::Config;

/// What a command works with.
struct Context<'a> {
    session: &'a Session,
    config: &'a Config,
}

/// Does what was asked, prints what came of it, and gives the exit code.
pub async fn run(args: Args, printer: &mut Printer) -> u8 {
    match start(args, printer).await {
        Ok(code) => code,
        Err(e) => {
            printer.error(&e);
            exit::exit_code(e.kind())
        }
    }
}

async fn start(args: Args, printer: &mut Printer) -> Result<u8> {
    if let Command::Completion(completion) = &args.command {
        return command_line::completion(completion, printer).map(code);
    }
    let global = args::Global { quiet: args.quiet, verbose: args.verbose, ..args::Global::silent() }.or_environment();
    let directories = Directories::new(global.config.clone(), global.state.clone())?;
    let file = match args.config {
        Some(file) => environment::absolute(file)?,
        None => directories.config.join(config::FILE),
    };
    // What edits the file works also where it says something that nothing understands.
    let command = match args.command {
        Command::Config(verb) => return config::run(verb, file, printer).await.map(code),
        command => command,
    };
    let config = Config::read(&file)?;
    log::write(config.log(args.log_level, args.verbose))?;
    let session = Session::new(&global, printer.progress())?;
    let requests = Requests::listen()?;
    let cx = Context { session: &session, config: &config };
    let result = tokio::select! {
        biased;
        done = carry_out(command, &cx, printer) => done,
        stopped = requests.forced(&session) => Err(stopped),
    };
    session.progress.over();
    Ok(result.map_or_else(
        |error| {
            printer.failure(&Failure { subject: session.subject(), error: &error });
            exit::exit_code(error.kind())
        },
        code,
    ))
}

async fn carry_out(command: Command, cx: &Context<'_>, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    match command {
        Command::Clone(args) => {
            let limit = cx.config.timeout(args.timeout)?;
            limit::within(limit, cx.session, clone::run(args, cx, printer)).await
        }
        Command::Sync(args) => {
            let limit = cx.config.timeout(args.timeout)?;
            limit::within(limit, cx.session, sync::run(args, cx, printer)).await
        }
        Command::List(args) => list::run(args, cx, printer).await,
        Command::Status(args) => status::run(args, cx.session, printer).await,
        // Both were answered before anything was opened.
        Command::Config(_) | Command::Completion(_) => Ok(None),
    }
}

fn code(worst: Option<ErrorKind>) -> u8 {
    worst.map_or(exit::SUCCESS, exit::exit_code)
}
