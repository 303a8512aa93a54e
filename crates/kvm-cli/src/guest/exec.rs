//! `kvmctl guest exec`.

use std::io::IsTerminal as _;
use std::time::Duration;

use data_encoding::BASE64;
use kvm_core::Result;
use kvm_vm::guest::{End, ExecOutcome, ExecSpec};
use serde::Serialize;

use super::agent;
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;
use crate::text;
use crate::vms::One;

/// Arguments of `guest exec`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl guest exec web -- systemctl restart nginx\n  \
        kvmctl guest exec web --timeout 10m -- apt-get -y upgrade\n  kvmctl guest exec web --stdin -- tee /etc/motd < motd",
    after_long_help = "No shell reads the words behind --: each arrives as it is. Output comes when the program has ended, standard error \
        apart from standard output; for more than 700 KiB have it write into a file, and take that with kvmctl guest read. The exit code \
        is the program's, and 128 and the number of the signal that ended it; codes of kvmctl itself come with a message (see kvmctl help \
        exit-codes). Ctrl-C stops waiting, not the program.\n\nLibrary: kvm_vm::guest::Agent::exec"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// How long to wait for its end, such as 90s or 5m.
    #[arg(long, value_name = "TIME", value_parser = kvm_core::parse_duration, default_value = "60s")]
    timeout: Duration,
    /// Give it the standard input of kvmctl, 40 KiB at most.
    #[arg(long)]
    stdin: bool,
    /// Environment in place of the agent's; several times.
    #[arg(long = "env", value_name = "NAME=VALUE")]
    environment: Vec<String>,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What a program said and how it ended. Output that is no text is in base64.
#[derive(Debug, Serialize)]
struct Ended {
    exit_code: Option<i64>,
    signal: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout_base64: Option<String>,
    stdout_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr_base64: Option<String>,
    stderr_truncated: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<u8> {
    let mut words = args.command.into_iter();
    let mut spec = ExecSpec::new(words.next().unwrap_or_default(), words)?.environment(args.environment)?;
    if args.stdin {
        spec = spec.input(text::standard_input().await?)?;
    }
    let (agent, _) = agent(&args.vm, session).await?;
    let outcome = agent.exec(&spec, args.timeout).await?;
    match printer.format() {
        crate::args::Format::Table => {
            printer.raw(&shown(&outcome.stdout, std::io::stdout().is_terminal()))?;
            printer.raw_error(&shown(&outcome.stderr, std::io::stderr().is_terminal()));
            for (name, truncated) in [("output", outcome.stdout_truncated), ("error", outcome.stderr_truncated)] {
                if truncated {
                    printer.note(&format!("the agent kept the beginning of its standard {name} only"));
                }
            }
        }
        _ => {
            printer.show(&Ended::from(&outcome))?;
        }
    }
    Ok(match outcome.end {
        End::Exited(code) => u8::try_from(code).unwrap_or(u8::MAX),
        End::Signal(signal) => u8::try_from(signal).unwrap_or(u8::MAX).saturating_add(128),
    })
}

/// What a guest said: as it is on a pipe, and unable to act on a terminal.
pub(super) fn shown(said: &[u8], is_terminal: bool) -> std::borrow::Cow<'_, [u8]> {
    if !is_terminal {
        return said.into();
    }
    let text = String::from_utf8_lossy(said).replace("\r\n", "\n");
    kvm_core::text::printable_lines(&text).to_string().into_bytes().into()
}

impl From<&ExecOutcome> for Ended {
    fn from(outcome: &ExecOutcome) -> Self {
        let (exit_code, signal) = match outcome.end {
            End::Exited(code) => (Some(code), None),
            End::Signal(signal) => (None, Some(signal)),
        };
        let form = |bytes: &[u8]| match std::str::from_utf8(bytes) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(BASE64.encode(bytes))),
        };
        let ((stdout, stdout_base64), (stderr, stderr_base64)) = (form(&outcome.stdout), form(&outcome.stderr));
        let (stdout_truncated, stderr_truncated) = (outcome.stdout_truncated, outcome.stderr_truncated);
        Self { exit_code, signal, stdout, stdout_base64, stdout_truncated, stderr, stderr_base64, stderr_truncated }
    }
}

impl Outcome for Ended {
    // Never asked for: what a program says is no page of ours.
    fn text(&self, _: &mut Page<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_cannot_act_on_the_terminal() {
        assert_eq!(&*shown(b"a\x1b[2Jb\r\n\xff", true), "a\\u{1b}[2Jb\n\u{fffd}".as_bytes());
        assert_eq!(&*shown(b"a\x1b[2J\xff", false), b"a\x1b[2J\xff");
    }
}
