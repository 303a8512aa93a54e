//! Programs: an argument list, a cleared environment, a deadline, and an end of the whole process group.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};
use std::time::Duration;

use kvm_core::{ByteStream, Error, ErrorKind, Output, Resource, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Where programs are looked for, whatever the caller's own environment says.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The most that a program may print on one stream.
const MOST: u64 = 16 << 20;

pub(super) async fn run(argv: &[&str], timeout: Duration) -> Result<Output> {
    let (program, args) = argv.split_first().ok_or_else(|| Error::invalid("argv", "there is no program to run"))?;
    let mut child = spawn(program, args)?;
    // From here on the group dies with this future: on time-out, too much output, or when nobody waits any more.
    let group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
    match tokio::time::timeout(timeout, collect(&mut child)).await {
        Ok(Ok(output)) => {
            group.ended();
            Ok(output)
        }
        Ok(Err(e)) => Err(e.on(Resource::Field((*program).to_owned()))),
        Err(_) => Err(Error::new(ErrorKind::Timeout, format!("{program} has not ended after {timeout:?}"))),
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the transport through which everybody else runs programs")]
fn spawn(program: &str, args: &[&str]) -> Result<Child> {
    Command::new(program)
        .args(args)
        .env_clear()
        .env("PATH", PATH)
        .env("LANG", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| {
            let kind = match e.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                io::ErrorKind::InvalidInput | io::ErrorKind::ArgumentListTooLong => ErrorKind::InvalidInput,
                _ => ErrorKind::Unavailable,
            };
            let shown = kvm_core::text::printable(program);
            Error::new(kind, format!("cannot run {shown}")).with_source(e)
        })
}

/// Starts a program that is spoken to over its standard streams. It is killed when the stream is dropped.
#[expect(clippy::disallowed_methods, reason = "a program that is a conversation has neither arguments nor a deadline")]
pub(super) fn converse(program: &Path) -> Result<Box<dyn ByteStream>> {
    let spawned = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut child = spawned.map_err(|e| {
        let text = format!("cannot run {}", kvm_core::text::printable(&program.display().to_string()));
        Error::new(ErrorKind::Unsupported, text).with_source(e)
    })?;
    let (Some(output), input) = (child.stdout.take(), child.stdin.take()) else {
        return Err(Error::internal("the program has no standard streams"));
    };
    Ok(Box::new(Conversation { input, output, _child: child }))
}

/// The streams of a program, and the program, which ends with them.
struct Conversation {
    input: Option<ChildStdin>,
    output: ChildStdout,
    _child: Child,
}

impl Conversation {
    fn input(&mut self) -> io::Result<Pin<&mut ChildStdin>> {
        self.input.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl AsyncRead for Conversation {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Conversation {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.input()?.poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input()?.poll_flush(cx)
    }

    /// The program sees the end of its input.
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input = None;
        Poll::Ready(Ok(()))
    }
}

async fn collect(child: &mut Child) -> Result<Output> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    // The child is waited for last: until then its process id, which is also the group's, belongs to nobody else.
    let (stdout, stderr) = tokio::try_join!(read(stdout), read(stderr))?;
    let status = child.wait().await.map_err(lost)?;
    Ok(Output { status: status.code(), stdout, stderr })
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    if let Some(stream) = stream {
        stream.take(MOST + 1).read_to_end(&mut data).await.map_err(lost)?;
    }
    if data.len() as u64 > MOST {
        return Err(Error::new(ErrorKind::Corrupt, format!("the program printed more than {} MiB", MOST >> 20)));
    }
    Ok(data)
}

fn lost(e: io::Error) -> Error {
    Error::internal("the program's output was lost").with_source(e)
}

/// Kills the process group when it is dropped before the program [`ended`](Self::ended) by itself.
struct Group(Option<Pid>);

impl Group {
    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Nobody is left to be killed: that is what was wanted.
            let _gone = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn arguments_arrive_as_they_are_and_no_shell_reads_them() {
        let output = run(&["printf", "%s|", "a b", "$HOME", "; false", "*", ""], LONG).await.unwrap();
        assert_eq!(output.stdout, b"a b|$HOME|; false|*||");
        assert!(output.success());
    }

    #[tokio::test]
    async fn the_environment_holds_path_and_lang_alone_and_input_is_empty() {
        let output = run(&["env"], LONG).await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["LANG=C", &format!("PATH={PATH}")]);
        assert_eq!(run(&["cat"], LONG).await.unwrap().stdout, b"");
    }

    #[tokio::test]
    async fn an_exit_status_is_no_error_and_a_signal_has_none() {
        let output = run(&["ls", "/nonexistent"], LONG).await.unwrap();
        assert_eq!((output.status, output.success()), (Some(2), false));
        assert!(!output.stderr.is_empty());
        let output = run(&["sh", "-c", "kill -9 $$"], LONG).await.unwrap();
        assert_eq!(output.status, None);
    }

    #[tokio::test]
    async fn programs_that_cannot_start_say_why_by_kind() {
        for (argv, kind) in [
            (&["kvm-no-such-program"][..], ErrorKind::NotFound),
            (&["/etc/passwd"], ErrorKind::Denied),
            (&["echo", "a\0b"], ErrorKind::InvalidInput),
            (&[], ErrorKind::InvalidInput),
        ] {
            assert_eq!(run(argv, LONG).await.unwrap_err().kind(), kind, "{argv:?}");
        }
    }

    #[tokio::test]
    async fn at_the_deadline_the_program_is_ended() {
        let e = run(&["sleep", "1000"], Duration::from_millis(20)).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Timeout);
    }

    #[tokio::test]
    async fn when_nobody_waits_any_more_the_program_dies_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("alive");
        let mode = rustix::fs::Mode::from(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        // The grandchild holds the only writing end, so the FIFO ends when it is dead.
        let script = format!("(echo up; exec sleep 1000) > '{}' & wait", fifo.display());
        let (up, is_up) = tokio::sync::oneshot::channel();
        let reader = tokio::task::spawn_blocking(move || {
            let mut fifo = std::fs::File::open(fifo).unwrap();
            let mut line = [0; 3];
            io::Read::read_exact(&mut fifo, &mut line).unwrap();
            up.send(line).unwrap();
            io::Read::read_to_end(&mut fifo, &mut Vec::new()).unwrap()
        });
        let argv = ["sh", "-c", &script];
        tokio::select! {
            ended = run(&argv, LONG) => panic!("the program ended: {ended:?}"),
            line = is_up => assert_eq!(&line.unwrap(), b"up\n"),
        }
        assert_eq!(reader.await.unwrap(), 0);
    }

    #[tokio::test]
    async fn more_output_than_allowed_is_corrupt_and_ends_the_program() {
        let e = run(&["yes"], LONG).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Corrupt);
        let output = run(&["head", "-c", "16777216", "/dev/zero"], LONG).await.unwrap();
        assert_eq!(output.stdout.len() as u64, MOST);
    }
}
