//! From a parsed command line to an exit code.

use kvm_core::{ErrorKind, Result};

use crate::args::{Args, Command};
use crate::interrupt::Requests;
use crate::printer::{Failure, Printer};
use crate::session::Session;
use crate::{
    backup, checkpoint, clone, completion, disk, doctor, events, exit, guest, help, host, log, man, net, nic, op,
    peripheral, pool, relocate, replica, restore, secret, snap, sync, vm, vol,
};

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
    let code = |worst: Option<ErrorKind>| worst.map_or(exit::SUCCESS, exit::exit_code);
    // What needs neither the user's files nor a host works also where these are broken.
    match &args.command {
        Command::Completion(completion) => return completion::run(completion, printer).map(code),
        Command::Man(man) => return man::run(man, printer).map(code),
        Command::Help(help) => return help::run(help, printer).map(code),
        _ => {}
    }
    let global = args.global.or_environment();
    log::start(&global)?;
    let session = Session::new(&global, printer.progress())?;
    let requests = Requests::listen()?;
    let result = tokio::select! {
        biased;
        done = command(args.command, &session, printer) => done,
        stopped = requests.forced(&session) => Err(stopped),
    };
    session.progress.over();
    Ok(result.unwrap_or_else(|error| {
        printer.failure(&Failure { subject: session.subject(), error: &error });
        exit::exit_code(error.kind())
    }))
}

async fn command(command: Command, session: &Session, printer: &mut Printer) -> Result<u8> {
    let worst = match command {
        Command::Vm(verb) => vm::run(verb, session, printer).await,
        Command::Disk(verb) => disk::run(verb, session, printer).await,
        Command::Nic(verb) => nic::run(verb, session, printer).await,
        Command::Device(verb) => peripheral::run(verb, session, printer).await,
        Command::Guest(verb) => return guest::run(verb, session, printer).await,
        Command::Snap(verb) => snap::run(verb, session, printer).await,
        Command::Checkpoint(verb) => checkpoint::run(verb, session, printer).await,
        Command::Pool(verb) => pool::run(verb, session, printer).await,
        Command::Vol(verb) => vol::run(verb, session, printer).await,
        Command::Secret(verb) => secret::run(verb, session, printer).await,
        Command::Net(verb) => net::run(verb, session, printer).await,
        Command::Clone(args) => clone::run(args, session, printer).await,
        Command::Move(args) => relocate::run(args, session, printer).await,
        Command::Sync(args) => sync::run(args, session, printer).await,
        Command::Replica(verb) => replica::run(verb, session, printer).await,
        Command::Backup(verb) => backup::run(verb, session, printer).await,
        Command::Restore(args) => restore::run(args, session, printer).await,
        Command::Op(verb) => op::run(verb, session, printer).await,
        Command::Host(verb) => host::run(verb, session, printer).await,
        Command::Events(args) => events::run(args, session, printer).await,
        Command::Doctor(args) => return doctor::run(args, session, printer).await,
        Command::Completion(args) => completion::run(&args, printer),
        Command::Man(args) => man::run(&args, printer),
        Command::Help(args) => help::run(&args, printer),
    };
    worst.map(|worst| worst.map_or(exit::SUCCESS, exit::exit_code))
}
