//! `kvmctl guest`: the system inside a running VM, through its agent.

use std::sync::Arc;

use clap::Subcommand;
use kvm_core::{Result, VmSummary};
use kvm_vm::guest::Agent;

use crate::exit;
use crate::printer::Printer;
use crate::session::Session;
use crate::vms::One;

mod exec;
mod freeze;
mod fs;
mod info;
mod interfaces;
mod password;
mod ping;
mod read;
mod ssh_key;
mod thaw;
mod time;
mod trim;
mod users;
mod write;

/// Verbs for what runs inside of VMs.
#[derive(Debug, Subcommand)]
#[command(
    before_help = "\
Examples:
  kvmctl guest info web
  kvmctl guest exec web -- systemctl restart nginx
  kvmctl guest read web /etc/hosts",
    after_help = "All of these need the QEMU guest agent in the guest (package qemu-guest-agent) and its channel in the VM, which vm create \
        makes."
)]
pub enum Command {
    /// Run a program in the guest.
    Exec(exec::Args),
    /// Keep the file systems of the guest still for a while.
    Freeze(freeze::Args),
    /// List the file systems that the guest has mounted.
    Fs(fs::Args),
    /// Say what the guest and its agent are.
    Info(info::Args),
    /// List the network devices of the guest.
    Interfaces(interfaces::Args),
    /// Set the password of a user of the guest.
    Password(password::Args),
    /// Ask the agent whether it is there.
    Ping(ping::Args),
    /// Print a file of the guest.
    #[command(visible_alias = "cat")]
    Read(read::Args),
    /// SSH keys with which users of the guest can log in.
    #[command(subcommand)]
    SshKey(ssh_key::Command),
    /// Let the file systems of the guest go on.
    Thaw(thaw::Args),
    /// Show or set the clock of the guest.
    Time(time::Args),
    /// Have the guest give back the space that it does not use.
    Trim(trim::Args),
    /// List who is logged in.
    Users(users::Args),
    /// Write a file of the guest.
    Write(write::Args),
}

/// Does what was asked. The exit code is that of the program for `exec`.
pub(crate) async fn run(command: Command, session: &Session, printer: &mut Printer) -> Result<u8> {
    let worst = match command {
        Command::Exec(args) => return exec::run(args, session, printer).await,
        Command::Freeze(args) => freeze::run(args, session, printer).await,
        Command::Fs(args) => printer.show(&fs::run(args, session).await?),
        Command::Info(args) => printer.show(&info::run(args, session).await?),
        Command::Interfaces(args) => printer.show(&interfaces::run(args, session).await?),
        Command::Password(args) => password::run(args, session, printer).await,
        Command::Ping(args) => printer.show(&ping::run(args, session).await?),
        Command::Read(args) => read::run(args, session, printer).await,
        Command::SshKey(verb) => ssh_key::run(verb, session, printer).await,
        Command::Thaw(args) => printer.show(&thaw::run(args, session).await?),
        Command::Time(args) => printer.show(&time::run(args, session).await?),
        Command::Trim(args) => printer.show(&trim::run(args, session).await?),
        Command::Users(args) => printer.show(&users::run(args, session).await?),
        Command::Write(args) => printer.show(&write::run(args, session).await?),
    };
    worst.map(|worst| worst.map_or(exit::SUCCESS, exit::exit_code))
}

/// The VM and its agent.
async fn agent(vm: &One, session: &Session) -> Result<(Agent, VmSummary)> {
    let (connection, vm) = vm.find(session).await?;
    Ok((Agent::new(&connection.host, &vm.id, Arc::clone(&session.clock))?, vm))
}
