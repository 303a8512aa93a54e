//! Running programs: an argument list, a deadline, everything that they said.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, timeout};

/// Long enough for everything but a guest's boot on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// A program that is to be run.
#[derive(Clone, Debug)]
pub struct Program {
    argv: Vec<OsString>,
    /// In place of this process's own environment.
    environment: Option<Vec<(OsString, OsString)>>,
    deadline: Duration,
}

/// A program that ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What was run, for messages.
    pub command: String,
    /// Its exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl Program {
    /// A program with its arguments.
    pub fn new<A: AsRef<OsStr>>(argv: impl IntoIterator<Item = A>) -> Self {
        let argv = argv.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        Self { argv, environment: None, deadline: DEADLINE }
    }

    /// With these environment variables and no others.
    #[must_use]
    pub fn with_environment<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let own = |(key, value): (K, V)| (key.as_ref().to_owned(), value.as_ref().to_owned());
        self.environment = Some(variables.into_iter().map(own).collect());
        self
    }

    /// With one more environment variable.
    #[must_use]
    pub fn with_variable(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let more = (key.as_ref().to_owned(), value.as_ref().to_owned());
        self.environment.get_or_insert_default().push(more);
        self
    }

    /// With another deadline than two minutes.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it cannot be started and when it has not ended at its deadline.
    pub async fn run(&self) -> Ended {
        self.start().ended().await
    }

    /// Runs it, and kills it with SIGKILL if it has not ended by then.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn run_and_kill_after(&self, delay: Duration) -> Ended {
        let mut running = self.start();
        if timeout(delay, running.child.wait()).await.is_err() {
            running.signal(Signal::KILL);
        }
        running.ended().await
    }

    /// Starts it, with pipes on all three streams.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(&self) -> Running {
        let command = self.shown();
        let mut child = self.command().spawn().unwrap_or_else(|e| panic!("cannot run {command}: {e}"));
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        Running {
            command,
            begin: Instant::now(),
            deadline: self.deadline,
            child,
            stdin,
            stdout: Said::listen(stdout),
            stderr: Said::listen(stderr),
            told: 0,
        }
    }

    #[expect(clippy::disallowed_methods, reason = "tests of programs run programs")]
    fn command(&self) -> Command {
        let (program, arguments) = self.argv.split_first().unwrap_or_else(|| panic!("no program to run"));
        let mut command = Command::new(program);
        command.args(arguments).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(variables) = &self.environment {
            command.env_clear().envs(variables.iter().map(|(key, value)| (key, value)));
        }
        command
    }

    fn shown(&self) -> String {
        let words = self.argv.iter().map(|word| word.to_string_lossy());
        let text = words.map(|word| kvm_core::text::printable_within(&word, 200).to_string());
        text.collect::<Vec<_>>().join(" ")
    }
}

/// A program that runs; it is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    command: String,
    begin: Instant,
    deadline: Duration,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Said,
    stderr: Said,
    /// How many bytes of its output were given as lines.
    told: usize,
}

impl Running {
    /// Reads its output up to a line that `wanted` likes, and gives that line.
    ///
    /// # Panics
    /// When there is none before the end or the deadline.
    pub async fn line(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = self.deadline;
        let found = timeout(deadline, async {
            while let Some(line) = self.next_line().await {
                if wanted(&line) {
                    return Some(line);
                }
            }
            None
        });
        match found.await {
            Ok(Some(line)) => line,
            _ => panic!("{}: no {what} in its output:\n{}", self.command, self.stdout.text()),
        }
    }

    async fn next_line(&mut self) -> Option<String> {
        loop {
            let rest = &self.stdout.bytes[self.told..];
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&rest[..end]).trim_end_matches('\r').to_owned();
                self.told += end + 1;
                return Some(line);
            }
            if !self.stdout.hear().await {
                return None;
            }
        }
    }

    /// Writes to its standard input.
    ///
    /// # Panics
    /// When it does not take it.
    pub async fn write(&mut self, text: &str) {
        let Some(stdin) = &mut self.stdin else { panic!("{}: its input is closed", self.command) };
        let written = async {
            stdin.write_all(text.as_bytes()).await?;
            stdin.flush().await
        };
        written.await.unwrap_or_else(|e| panic!("{}: {e}", self.command));
    }

    /// Sends it a signal. One that has ended by itself does not mind.
    ///
    /// # Panics
    /// When its end was waited for.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let pid = pid.unwrap_or_else(|| panic!("{} is gone", self.command));
        kill_process(pid, signal).unwrap_or_else(|e| panic!("{}: {e}", self.command));
    }

    /// Closes its input, waits for its end and gives all that it wrote.
    ///
    /// # Panics
    /// When it has not ended at its deadline.
    pub async fn ended(mut self) -> Ended {
        drop(self.stdin.take());
        let status = timeout(self.deadline, async {
            tokio::join!(self.stdout.hear_all(), self.stderr.hear_all());
            self.child.wait().await
        });
        let status = match status.await {
            Ok(Ok(status)) => status,
            Ok(Err(e)) => panic!("{}: {e}", self.command),
            Err(_) => panic!("not ended within {:?}: {}", self.deadline, self.what_it_said(None)),
        };
        self.what_it_said(Some(status))
    }

    fn what_it_said(&self, status: Option<ExitStatus>) -> Ended {
        Ended {
            command: self.command.clone(),
            code: status.and_then(|status| status.code()),
            signal: status.and_then(|status| status.signal()),
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
            took: self.begin.elapsed(),
        }
    }
}

/// One stream of a program, read by a task of its own so that the program never waits for us.
#[derive(Debug)]
struct Said {
    chunks: UnboundedReceiver<Vec<u8>>,
    bytes: Vec<u8>,
}

impl Said {
    fn listen(stream: Option<impl AsyncRead + Send + Unpin + 'static>) -> Self {
        let (heard, chunks) = unbounded_channel();
        tokio::spawn(async move {
            let Some(mut stream) = stream else { return };
            let mut chunk = vec![0; 1 << 16];
            while let Ok(length @ 1..) = stream.read(&mut chunk).await {
                // Nobody listens any more when the test is over.
                let _nobody = heard.send(chunk[..length].to_vec());
            }
        });
        Self { chunks, bytes: Vec::new() }
    }

    /// Waits for more; `false` at the end.
    async fn hear(&mut self) -> bool {
        let chunk = self.chunks.recv().await;
        self.bytes.extend(chunk.iter().flatten());
        chunk.is_some()
    }

    async fn hear_all(&mut self) {
        while self.hear().await {}
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl Ended {
    /// Its output, when it succeeded.
    ///
    /// # Panics
    /// When it did not; with everything that it said.
    #[track_caller]
    pub fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{self}");
        self.stdout
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, code, signal, stdout, stderr, took } = self;
        let end = match (code, signal) {
            (Some(code), _) => format!("ended with status {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => "has not ended".to_owned(),
        };
        write!(f, "{command}\n{end} after {took:.1?}\n--- stdout\n{stdout}--- stderr\n{stderr}---")
    }
}
