//! Runs programs: the only place of this crate that starts one.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};

/// What a program printed and whether it succeeded.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) succeeded: bool,
    /// Both streams, in the order in which they were written.
    pub(crate) text: String,
}

/// Runs `cargo` with these arguments and extra environment variables in `root`.
///
/// # Errors
/// When cargo cannot be started or its output cannot be read.
pub(crate) fn cargo(root: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> io::Result<Output> {
    let (mut reader, writer) = io::pipe()?;
    let mut command = command(root, arguments);
    command.envs(environment.iter().copied()).stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // The pipe ends when its last writer is gone, and `command` still holds two of them.
    drop(command);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    Ok(Output { succeeded: child.wait()?.success(), text: String::from_utf8_lossy(&bytes).into_owned() })
}

/// Returns what `cargo` prints on standard output.
///
/// # Errors
/// When cargo cannot be started or fails; the message is what it printed on standard error.
pub(crate) fn cargo_stdout(root: &Path, arguments: &[&str]) -> io::Result<Vec<u8>> {
    let output = command(root, arguments).output()?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

/// Whether a cargo subcommand (`cargo nextest`) is installed.
pub(crate) fn has_subcommand(root: &Path, name: &str) -> bool {
    command(root, &[name, "--version"]).output().is_ok_and(|output| output.status.success())
}

#[expect(clippy::disallowed_methods, reason = "a development tool runs cargo on the developer's own machine")]
fn command(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(root);
    command
}
