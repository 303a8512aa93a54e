//! The command line of `kvm-clone` as a type.

use std::path::PathBuf;

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::engine::CompletionCandidate;
use kvm_core::{ErrorKind, Result};

use super::{clone, config, list, status, sync};
use crate::args::{self, Format};
use crate::completion::{self, Program, Shell};
use crate::environment::{self, Directories};
use crate::printer::Printer;
use crate::settings::Settings;

const EXAMPLES: &str = "\
Examples:
  kvm-clone clone kvm1 kvm2 web --new-name web-test
  kvm-clone sync root@kvm1.example root@kvm2.example web --bandwidth-limit 100M
  kvm-clone status --follow";

const SEE_ALSO: &str = "\
Hosts are aliases of hosts.toml, targets such as qemu:///system, or [USER@]HOST[:PORT]: kvmctl help targets.
Exit codes: kvmctl help exit-codes. What is kept up to date is promoted, paused and turned round by kvmctl replica.";

/// Virtual machines copied from host to host over SSH.
#[derive(Debug, Parser)]
#[command(
    name = "kvm-clone",
    version,
    before_help = EXAMPLES,
    after_help = SEE_ALSO,
    arg_required_else_help = true,
    subcommand_required = true,
    propagate_version = false
)]
pub struct Args {
    /// The configuration [default: clone.toml beside hosts.toml].
    #[arg(short, long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Form of the result.
    #[arg(short, long, global = true, value_enum, default_value = "text", value_name = "FORM")]
    pub output: Form,

    /// Say nothing of success and progress.
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// Say more: steps of operations, causes of errors.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Write a structured log of this and worse to standard error, or to logging.file of the configuration.
    #[arg(long, global = true, value_enum, ignore_case = true, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Copy a VM: another one with the same content and an identity of its own.
    Clone(clone::Args),
    /// Make a replica of a VM on another host, or bring it up to date.
    Sync(sync::Args),
    /// List the VMs of hosts.
    List(list::Args),
    /// Show clones and syncs: those that run, ended, or were interrupted.
    Status(status::Args),
    /// Show and change what holds where the command line says nothing.
    #[command(subcommand)]
    Config(config::Command),
    /// Print a completion script for a shell.
    Completion(CompletionArgs),
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people.
    Text,
    /// For programs; stable keys with units.
    Json,
    /// As JSON, easier on the eye.
    Yaml,
}

/// From which level on something is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// All that helps to find a mistake.
    Debug,
    /// Each step of an operation.
    Info,
    /// What is odd.
    Warn,
    /// What went wrong.
    Error,
}

impl From<Form> for Format {
    fn from(form: Form) -> Self {
        match form {
            Form::Text => Self::Table,
            Form::Json => Self::Json,
            Form::Yaml => Self::Yaml,
        }
    }
}

/// Arguments of `completion`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  source <(kvm-clone completion bash)\n  kvm-clone completion zsh > ~/.zfunc/_kvm-clone",
    after_long_help = "Library: clap_complete, from the same definitions as the command line"
)]
pub struct CompletionArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Args {
    /// Reads the arguments of this process. Ends it with the help that was asked for, or with what is wrong with them:
    /// in JSON, if they ask for JSON.
    #[must_use]
    pub fn of_command_line() -> Self {
        args::parse_or_exit(Self::try_parse())
    }

    /// A printer in the form that was asked for.
    #[must_use]
    pub fn printer(&self) -> Printer {
        // `list --format json` is the same wish.
        let is_json = matches!(&self.command, Command::List(list) if list.wants_json());
        let output = if is_json { Format::Json } else { self.output.into() };
        let global = args::Global { output, quiet: self.quiet, verbose: self.verbose, ..args::Global::silent() };
        Printer::new(&global)
    }
}

const PROGRAM: Program = Program { name: "kvm-clone", variable: "KVM_CLONE_COMPLETE" };

/// Prints the script.
pub(super) fn completion(args: &CompletionArgs, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    completion::register(PROGRAM, args.shell, printer)?;
    Ok(None)
}

/// Answers a completion script and gives `true`, when that is who started the program.
#[must_use]
pub fn answer_completion() -> bool {
    completion::answer(PROGRAM, Args::command)
}

/// Reads how a person points at a VM: its name or uuid.
pub(super) fn vm(text: &str) -> Result<String> {
    kvm_core::VmRef::candidates(text)?;
    Ok(text.to_owned())
}

/// The aliases of `hosts.toml`.
pub(super) fn aliases() -> Vec<CompletionCandidate> {
    let read = || {
        let config = environment::variable("KVM_CONFIG").map(PathBuf::from);
        let state = environment::variable("KVM_STATE").map(PathBuf::from);
        Settings::read(&Directories::new(config, state).ok()?.config).ok()
    };
    let hosts = read().map(|settings| settings.hosts).unwrap_or_default();
    hosts.into_keys().map(CompletionCandidate::new).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Args::command().debug_assert();
    }

    /// A reader who asks for help sees what to type before what it all means, and what a program would call.
    #[test]
    fn every_command_has_examples_and_names_its_library() {
        for command in super::Args::command().get_subcommands().filter(|command| !command.has_subcommands()) {
            let (before, after) = (command.get_before_help(), command.get_after_long_help());
            assert!(before.is_some_and(|text| text.to_string().contains("kvm-clone ")), "{}", command.get_name());
            assert!(after.is_some_and(|text| text.to_string().contains("Library: ")), "{}", command.get_name());
        }
    }
}
