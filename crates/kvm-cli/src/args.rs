//! The command line as a type: global flags, nouns, verbs.

use std::path::PathBuf;

use clap::error::ContextValue;
use clap::{Parser, Subcommand, ValueEnum};
use kvm_core::{Error, ErrorKind, Selector};

use crate::printer::Printer;
use crate::{
    backup, checkpoint, clone, completion, disk, doctor, environment, events, guest, help, host, man, net, nic, op,
    peripheral, pool, relocate, replica, restore, secret, snap, sync, vm, vol,
};

const EXAMPLES: &str = "\
Examples:
  kvmctl vm list                                        what is there
  kvmctl vm create web --disk 20G --iso iso/debian.iso --start
  kvmctl -c mock:///demo vm list                        try it on a simulated host";

const SEE_ALSO: &str = "\
Common to all commands: kvmctl help configuration, exit-codes, selectors, targets.";

/// Virtual machines on libvirt hosts.
#[derive(Debug, Parser)]
#[command(
    name = "kvmctl",
    version,
    before_help = EXAMPLES,
    after_help = SEE_ALSO,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    subcommand_required = true,
    propagate_version = false
)]
pub struct Args {
    /// Flags that every command has.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Args {
    /// Reads the arguments of this process. Ends it with the help that was asked for, or with what is wrong with them:
    /// in JSON, if they ask for JSON.
    #[must_use]
    pub fn of_command_line() -> Self {
        parse_or_exit(Self::try_parse())
    }
}

/// What was read of this process's arguments. Ends it with the help that was asked for, or with what is wrong with them:
/// in JSON, if they ask for JSON.
#[expect(clippy::exit, reason = "the program's first act; nothing is open yet")]
pub(crate) fn parse_or_exit<T>(parsed: Result<T, clap::Error>) -> T {
    parsed.unwrap_or_else(|e| {
        let e = inert(e);
        if !e.use_stderr() || !asks_for_json(std::env::args_os().skip(1).filter_map(|word| word.into_string().ok())) {
            e.exit();
        }
        Printer::of_form(Format::Json).error(&usage(&e));
        std::process::exit(e.exit_code())
    })
}

/// Whether a command line asks for JSON, as far as that can be said of one that cannot be read.
fn asks_for_json(words: impl Iterator<Item = String>) -> bool {
    let mut words = words.take_while(|word| word != "--");
    while let Some(word) = words.next() {
        let form = match word.strip_prefix("--output") {
            Some(rest) => rest.strip_prefix('=').or(rest.is_empty().then_some("")),
            // Behind flags that take no value, in one word with them.
            None => {
                word.strip_prefix('-').and_then(|flags| flags.trim_start_matches(['q', 'v', 'y']).strip_prefix('o'))
            }
        };
        let Some(form) = form else { continue };
        let form = form.strip_prefix('=').unwrap_or(form);
        if form == "json" || (form.is_empty() && words.next().is_some_and(|form| form == "json")) {
            return true;
        }
    }
    false
}

/// What is wrong with a command line, as an error like any other.
fn usage(error: &clap::Error) -> Error {
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Error::new(ErrorKind::InvalidInput, "a command is missing").during("read-arguments");
    }
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    // What follows is how the command is used, which is the hint's.
    let text = text.split("\nUsage: ").next().unwrap_or_default();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("For more"));
    let message = lines.next().unwrap_or("the command line cannot be read").trim_end_matches(':').to_owned();
    let rest: Vec<_> = lines.collect();
    let error = Error::new(ErrorKind::InvalidInput, message).during("read-arguments");
    if rest.is_empty() { error } else { error.with_detail(rest.join("\n")) }
}

/// The same error, with what acts on a terminal made visible in the arguments that it repeats.
fn inert(mut error: clap::Error) -> clap::Error {
    let shown = |text: &String| kvm_core::text::printable(text).to_string();
    let context: Vec<_> = error.context().map(|(kind, value)| (kind, value.clone())).collect();
    for (kind, value) in context {
        let value = match value {
            ContextValue::String(text) => ContextValue::String(shown(&text)),
            ContextValue::Strings(texts) => ContextValue::Strings(texts.iter().map(shown).collect()),
            other => other,
        };
        error.insert(kind, value);
    }
    error
}

/// Flags that every command has.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Host to work on: a target such as qemu:///system, or an alias of hosts.toml [env: KVM_CONNECT].
    #[arg(short, long, global = true, value_name = "TARGET")]
    pub connect: Option<String>,

    /// Socket of the libvirt daemon, on this machine or on the host over SSH.
    #[arg(long, global = true, value_name = "PATH", hide_short_help = true)]
    pub socket: Option<PathBuf>,

    /// Private key to log in with, for targets over SSH.
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub identity: Option<PathBuf>,

    /// File of trusted host keys, for targets over SSH.
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub known_hosts: Option<PathBuf>,

    /// Directory of the certificates, for targets over TLS.
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    pub pki: Option<PathBuf>,

    /// Form of the result.
    #[arg(short, long, global = true, value_enum, default_value = "table", value_name = "FORM")]
    pub output: Format,

    /// Say nothing of success and progress.
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// Say more: steps of operations, causes of errors; twice for the log.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Do not ask, go on.
    #[arg(short, long, global = true)]
    pub yes: bool,

    /// Write a structured log to standard error.
    #[arg(long, global = true, value_enum, value_name = "FORM", hide_short_help = true)]
    pub log_format: Option<LogFormat>,

    /// Write the structured log to the end of this file.
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub log_file: Option<PathBuf>,

    /// Directory of config.toml and hosts.toml [env: KVM_CONFIG].
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    pub config: Option<PathBuf>,

    /// Directory of operations, locks and simulated worlds [env: KVM_STATE].
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    pub state: Option<PathBuf>,
}

impl Global {
    /// No flag at all.
    pub(crate) fn silent() -> Self {
        Self {
            connect: None,
            socket: None,
            identity: None,
            known_hosts: None,
            pki: None,
            output: Format::Table,
            quiet: false,
            verbose: 0,
            yes: false,
            log_format: None,
            log_file: None,
            config: None,
            state: None,
        }
    }

    /// The same with what the environment says where no flag does.
    #[must_use]
    pub fn or_environment(self) -> Self {
        let path = |flag: Option<PathBuf>, name| flag.or_else(|| environment::variable(name).map(PathBuf::from));
        Self {
            connect: self.connect.or_else(|| environment::variable("KVM_CONNECT")),
            config: path(self.config, "KVM_CONFIG"),
            state: path(self.state, "KVM_STATE"),
            ..self
        }
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs; stable keys with units.
    Json,
    /// As JSON, easier on the eye.
    Yaml,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line of words.
    Text,
    /// A JSON object per line.
    Json,
}

/// Nouns, and verbs that have none.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Virtual machines.
    #[command(subcommand)]
    Vm(vm::Command),
    /// Disks and drives of VMs.
    #[command(subcommand)]
    Disk(disk::Command),
    /// Network devices of VMs.
    #[command(subcommand)]
    Nic(nic::Command),
    /// Other devices of VMs: shared directories, watchdogs, sound, controllers…
    #[command(subcommand)]
    Device(peripheral::Command),
    /// What runs inside of VMs: programs, files, users, clock.
    #[command(subcommand)]
    Guest(guest::Command),
    /// Snapshots of VMs.
    #[command(subcommand)]
    Snap(snap::Command),
    /// Checkpoints of VMs: what changed since.
    #[command(subcommand)]
    Checkpoint(checkpoint::Command),
    /// Storage pools.
    #[command(subcommand)]
    Pool(pool::Command),
    /// Volumes in storage pools.
    #[command(subcommand)]
    Vol(vol::Command),
    /// Secrets of a host: what opens encrypted volumes.
    #[command(subcommand)]
    Secret(secret::Command),
    /// Virtual networks.
    #[command(subcommand)]
    Net(net::Command),
    /// Copy a VM: another one with the same content, on this host or another.
    Clone(clone::Args),
    /// Move a VM that is off, with its disks, to another host.
    Move(relocate::Args),
    /// Keep a copy of a VM up to date on another host.
    Sync(sync::Args),
    /// Copies of VMs that are kept up to date on other hosts.
    #[command(subcommand)]
    Replica(replica::Command),
    /// Backups of VMs: points in time, in a directory of some host.
    #[command(subcommand)]
    Backup(backup::Command),
    /// Bring a VM back from a backup: under another name, or as itself.
    Restore(restore::Args),
    /// Operations: what changed, what was interrupted.
    #[command(subcommand)]
    Op(op::Command),
    /// Hosts of hosts.toml.
    #[command(subcommand)]
    Host(host::Command),
    /// Follow what happens to VMs.
    Events(events::Args),
    /// Find out why something does not work, and how to mend it.
    Doctor(doctor::Args),
    /// Print a completion script for a shell.
    Completion(completion::Args),
    /// Write the man pages into a directory.
    #[command(hide = true)]
    Man(man::Args),
    /// Explain a command, or a topic: configuration, exit-codes, selectors, targets.
    Help(help::Args),
}

/// A parser for a flag that takes one of the words of a type.
macro_rules! one_of {
    ($type:ty) => {{
        use clap::builder::TypedValueParser as _;
        clap::builder::PossibleValuesParser::new(<$type>::ALL.iter().map(|word| word.as_str()))
            .try_map(|word| word.parse::<$type>())
    }};
}
pub(crate) use one_of;

/// Reads a selector for a flag. What stands in the second line of its error joins the first: flags have one.
pub(crate) fn selector(text: &str) -> Result<Selector, String> {
    Selector::parse(text).map_err(|e| match e.detail() {
        Some(detail) => format!("{e}; {detail}"),
        None => e.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    #[test]
    fn an_argument_that_is_refused_is_repeated_without_acting_on_the_terminal() {
        for argv in [["kvmctl", "vm", "create", "a\rb"], ["kvmctl", "vm", "show", "\u{9b}31m/\u{fffe}"]] {
            let text = super::inert(super::Args::try_parse_from(argv).unwrap_err()).to_string();
            assert!(text.lines().all(|line| kvm_core::text::printable(line).to_string() == line), "{text:?}");
        }
        let text = super::inert(super::Args::try_parse_from(["kvmctl", "vm", "lisst"]).unwrap_err()).to_string();
        assert!(text.contains("'list'"), "{text}");
    }

    #[test]
    fn a_command_line_that_cannot_be_read_may_ask_for_json() {
        let asks = |line: &str| super::asks_for_json(line.split(' ').map(ToOwned::to_owned));
        for line in ["-o json vm lst", "vm lst --output json", "vm --output=json", "vm -ojson", "-o=json", "-qvo json"]
        {
            assert!(asks(line), "{line}");
        }
        for line in ["vm lst", "vm -o yaml json", "vm create -- -o json", "vm show json", "--outputs=json", "-o"] {
            assert!(!asks(line), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_command_line_is_told_in_a_line_and_details() {
        let said = |argv: &[&str]| super::usage(&super::Args::try_parse_from(argv).unwrap_err());
        let e = said(&["kvmctl", "vm", "list", "--colour"]);
        assert_eq!(e.message(), "unexpected argument '--colour' found");
        assert_eq!(e.detail(), Some("tip: a similar argument exists: '--columns'"));
        let e = said(&["kvmctl", "vm", "show"]);
        assert_eq!((e.message(), e.detail()), ("the following required arguments were not provided", Some("<NAME>")));
        assert_eq!(said(&["kvmctl"]).message(), "a command is missing");
    }

    #[test]
    fn the_command_line_is_consistent() {
        super::Args::command().debug_assert();
    }

    /// A reader who asks for help sees what to type before what it all means.
    #[test]
    fn every_verb_has_examples_and_names_its_library_call() {
        fn look(command: &clap::Command, path: &str) {
            for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
                let path = format!("{path} {}", sub.get_name());
                let before = sub.get_before_help().map(ToString::to_string).unwrap_or_default();
                assert!(before.starts_with("Examples:") || before.starts_with("Example:"), "{path}");
                if sub.has_subcommands() {
                    look(sub, &path);
                } else {
                    let after = sub.get_after_long_help().map(ToString::to_string).unwrap_or_default();
                    assert!(after.contains("Library: "), "{path}");
                }
            }
        }
        look(&super::Args::command(), "kvmctl");
    }
}
