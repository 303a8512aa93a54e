//! `kvmctl completion`, and what the scripts ask the program for: commands, flags, words, and the names of what is there.

use clap::{CommandFactory as _, Parser as _, ValueEnum};
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::{Bash, CompleteEnv, EnvCompleter, Fish, Zsh};
use kvm_core::{ErrorKind, Host, Result, VmFilter};

use crate::args::{self, Global};
use crate::connect;
use crate::environment;
use crate::printer::Printer;
use crate::session::Session;

/// A program whose command lines are completed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// By which a script tells the program that it wants candidates.
    pub(crate) variable: &'static str,
}

const PROGRAM: Program = Program { name: "kvmctl", variable: "KVMCTL_COMPLETE" };

/// Arguments of `completion`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  source <(kvmctl completion bash)\n  kvmctl completion zsh > ~/.zfunc/_kvmctl\n  \
        kvmctl completion fish > ~/.config/fish/completions/kvmctl.fish",
    after_long_help = "The script asks kvmctl itself, so that it knows the names of VMs and never gets out of date.\n\n\
        Library: clap_complete, from the same definitions as the command line"
)]
pub struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script.
pub(crate) fn run(args: &Args, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    register(PROGRAM, args.shell, printer)?;
    Ok(None)
}

/// Prints the script of a program.
pub(crate) fn register(program: Program, shell: Shell, printer: &mut Printer) -> Result<()> {
    let completer: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    let (Program { name, variable }, mut script) = (program, Vec::new());
    let written = completer.write_registration(variable, name, name, name, &mut script);
    written.map_err(|e| kvm_core::Error::internal("the script cannot be written").with_source(e))?;
    printer.raw(&script)
}

/// Answers a completion script and gives `true`, when that is who started the program.
#[must_use]
pub fn answer_completion() -> bool {
    answer(PROGRAM, args::Args::command)
}

/// The same for a program with these commands.
pub(crate) fn answer(program: Program, commands: impl Fn() -> clap::Command) -> bool {
    let Program { name, variable } = program;
    if environment::variable(variable).is_none() {
        return false;
    }
    let completion = CompleteEnv::with_factory(commands).var(variable).bin(name);
    // A candidate that cannot be found is no reason to write into the user's command line.
    completion.try_complete(std::env::args_os(), std::path::absolute(".").ok().as_deref()).unwrap_or(true)
}

/// The names of VMs on the host that the command line so far names, or else the usual one.
pub(crate) fn vm_names() -> Vec<CompletionCandidate> {
    candidates(async |host| {
        let vms = host.hypervisor.list(&VmFilter::all()).await?;
        Ok(vms.into_iter().map(|vm| vm.name.into()).collect())
    })
}

/// The names of its pools.
pub(crate) fn pool_names() -> Vec<CompletionCandidate> {
    candidates(async |host| Ok(host.storage.pools().await?.into_iter().map(|pool| pool.name.into()).collect()))
}

/// The names of its networks.
pub(crate) fn network_names() -> Vec<CompletionCandidate> {
    candidates(async |host| Ok(host.networks.list().await?.into_iter().map(|network| network.name.into()).collect()))
}

fn candidates(names: impl AsyncFnOnce(&Host) -> Result<Vec<String>>) -> Vec<CompletionCandidate> {
    on_host(names).unwrap_or_default().into_iter().map(CompletionCandidate::new).collect()
}

fn on_host(names: impl AsyncFnOnce(&Host) -> Result<Vec<String>>) -> Option<Vec<String>> {
    let global = args::Args::try_parse_from([PROGRAM.name, "doctor"]).ok()?.global.or_environment();
    // The words so far stand behind `--`.
    let words = std::env::args_os().filter_map(|word| word.into_string().ok()).skip_while(|word| word != "--").skip(1);
    let asked = connect_flag(words);
    let global = Global { connect: asked.or(global.connect), ..global };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let names = runtime.block_on(async {
        let session = Session::new(&global, Printer::new(&global).progress()).ok()?;
        names(&session.host().await.ok()?.host).await.ok()
    });
    runtime.shutdown_background();
    connect::settle();
    names
}

/// What `--connect` says in a command line that need not be complete.
fn connect_flag(words: impl Iterator<Item = String>) -> Option<String> {
    let mut words = words;
    while let Some(word) = words.next() {
        if word == "-c" || word == "--connect" {
            return words.next();
        }
        if let Some(target) =
            word.strip_prefix("--connect=").or_else(|| word.strip_prefix("-c").filter(|t| !t.is_empty()))
        {
            return Some(target.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_read_from_an_unfinished_command_line() {
        let flag = |line: &str| connect_flag(line.split(' ').map(ToOwned::to_owned));
        assert_eq!(flag("kvmctl -c lab vm show").as_deref(), Some("lab"));
        assert_eq!(flag("kvmctl vm --connect=lab show").as_deref(), Some("lab"));
        assert_eq!(flag("kvmctl vm -clab show").as_deref(), Some("lab"));
        assert_eq!(flag("kvmctl vm show -c"), None);
        assert_eq!(flag("kvmctl vm show"), None);
    }
}
