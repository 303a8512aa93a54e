//! Programs on the host: a command line that no shell can misread, a bound on what is printed, an end at the deadline.

use std::sync::Arc;
use std::time::Duration;

use kvm_core::text::printable_within;
use kvm_core::{Error, ErrorKind, Output, Resource, Result};
use russh::client::Msg;
use russh::{Channel, ChannelMsg, Sig};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::client::Connection;
use super::error::{SHOWN, host_error};
use super::quote;

/// The most that a program may print on one stream.
const MOST: usize = 16 << 20;
/// What `env` and `timeout` end with when they cannot run a program, and when there is none.
const CANNOT_RUN: i32 = 126;
const NO_PROGRAM: i32 = 127;
/// How long after its deadline a program may take to be gone, before it is given up.
const GRACE: Duration = Duration::from_secs(5);

pub(super) async fn run(connection: Arc<Connection>, argv: &[&str], timeout: Duration) -> Result<Output> {
    let line = quote::command_line(argv, timeout)?;
    let program = argv.first().copied().unwrap_or_default();
    let channel = connection.session().await?;
    // The program has its own task, so that it is killed also when nobody waits for it any more.
    let (waiting, gone) = oneshot::channel();
    let started = Started { connection, channel, line };
    let running = tokio::spawn(started.finish(timeout, gone));
    let ended = running.await.map_err(|e| Error::internal("the program's output was lost").with_source(e))?;
    drop::<oneshot::Sender<()>>(waiting);
    let output = ended.map_err(|e| e.on(Resource::Field(program.to_owned())))?;
    let Some(kind) = never_ran(&output) else { return Ok(output) };
    let why = String::from_utf8_lossy(&output.stderr);
    let text = match kind {
        ErrorKind::Unsupported => {
            "the host has no program \"timeout\" (coreutils), which ends others in time".to_owned()
        }
        _ => format!("cannot run {}", printable_within(program, SHOWN)),
    };
    Err(Error::new(kind, text).with_detail(printable_within(why.trim(), SHOWN).to_string()))
}

/// Whether these are the words of `env` or `timeout` because the program could not be started, and why.
fn never_ran(output: &Output) -> Option<ErrorKind> {
    let says = |name: &[u8]| output.stdout.is_empty() && output.stderr.starts_with(name);
    match output.status {
        Some(NO_PROGRAM) if says(b"env: ") => Some(ErrorKind::Unsupported),
        Some(NO_PROGRAM) if says(b"timeout: ") => Some(ErrorKind::NotFound),
        Some(CANNOT_RUN) if says(b"timeout: ") => Some(ErrorKind::Denied),
        _ => None,
    }
}

struct Started {
    connection: Arc<Connection>,
    channel: Channel<Msg>,
    line: String,
}

impl Started {
    async fn finish(mut self, timeout: Duration, mut gone: oneshot::Receiver<()>) -> Result<Output> {
        let began = Instant::now();
        let ended = tokio::select! {
            ended = tokio::time::timeout(timeout, self.collect()) => ended.unwrap_or_else(|_| Err(late(timeout))),
            _ = &mut gone => Err(Error::new(ErrorKind::Cancelled, "nobody waits for the program any more")),
        };
        if let Err(e) = &ended {
            // Whoever has lost the connection cannot send it; the host's own deadline is left.
            let _killed = tokio::time::timeout(self.connection.stall(), self.channel.signal(Sig::KILL)).await;
            if e.kind() == ErrorKind::Timeout {
                // Until it is gone. Where no signal was taken, the host ends it on the next full second.
                let rest = Duration::from_secs(quote::whole_seconds(timeout)).saturating_sub(timeout) + GRACE;
                let gone = async { while !matches!(self.channel.wait().await, None | Some(ChannelMsg::Close)) {} };
                let _gone = tokio::time::timeout(rest, gone).await;
            }
        }
        let _closed = tokio::time::timeout(self.connection.stall(), self.channel.close()).await;
        match ended {
            // The host was first.
            Ok(output) if output.status.is_none() && began.elapsed() >= timeout => Err(late(timeout)),
            ended => ended,
        }
    }

    async fn collect(&mut self) -> Result<Output> {
        let shown = self.connection.shown();
        self.connection.answer(self.channel.exec(true, self.line.as_str())).await?;
        let _no_input = self.connection.answer(self.channel.eof()).await;
        let mut output = Output { status: None, stdout: Vec::new(), stderr: Vec::new() };
        let mut ended = false;
        while let Some(message) = self.channel.wait().await {
            match message {
                ChannelMsg::Data { data } => add(&mut output.stdout, &data)?,
                ChannelMsg::ExtendedData { data, ext: 1 } => add(&mut output.stderr, &data)?,
                ChannelMsg::ExitStatus { exit_status } => {
                    output.status = Some(exit_status.cast_signed());
                    ended = true;
                }
                ChannelMsg::ExitSignal { .. } => ended = true,
                ChannelMsg::Failure => {
                    return Err(host_error(ErrorKind::Denied, shown, "runs no programs for this login"));
                }
                ChannelMsg::Close => break,
                _ => {}
            }
        }
        if ended { Ok(output) } else { Err(host_error(ErrorKind::Unavailable, shown, "was lost while a program ran")) }
    }
}

fn late(timeout: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("the program has not ended after {timeout:?}"))
}

fn add(all: &mut Vec<u8>, data: &[u8]) -> Result<()> {
    if all.len() + data.len() > MOST {
        return Err(Error::new(ErrorKind::Corrupt, format!("the program printed more than {} MiB", MOST >> 20)));
    }
    all.extend_from_slice(data);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_complaint_of_what_starts_it_means_that_a_program_never_ran() {
        let ended = |status, stdout: &str, stderr: &str| {
            never_ran(&Output { status: Some(status), stdout: stdout.into(), stderr: stderr.into() })
        };
        let missing = "timeout: failed to run command 'x': No such file or directory\n";
        assert_eq!(ended(127, "", missing), Some(ErrorKind::NotFound));
        assert_eq!(ended(126, "", "timeout: failed to run command 'x': Permission denied"), Some(ErrorKind::Denied));
        assert_eq!(ended(127, "", "env: 'timeout': No such file or directory"), Some(ErrorKind::Unsupported));
        assert_eq!(ended(127, "", "my own complaint"), None);
        assert_eq!(ended(127, "printed", missing), None);
        assert_eq!(ended(1, "", "timeout: "), None);
    }
}
