//! Programs that are run in a guest.

use std::time::Duration;

use data_encoding::BASE64;
use kvm_core::{Bytes, Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::json;

use super::bounded::base64;
use super::{Agent, QUICK, implausible};

/// The most that is sent to a program.
const MOST_INPUT: usize = 40 << 10;
/// Pauses between two looks at a program: short at first, as most end soon.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A program to run in a guest. No shell reads it: each argument arrives as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecSpec {
    program: String,
    arguments: Vec<String>,
    environment: Vec<String>,
    input: Vec<u8>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code: 0 to 255, in Windows any 32 bits.
    Exited(i64),
    /// By this signal, in Windows by this exception.
    Signal(i64),
}

/// What became of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutcome {
    /// How it ended.
    pub end: End,
    /// What it said to standard output.
    pub stdout: Vec<u8>,
    /// What it said to standard error.
    pub stderr: Vec<u8>,
    /// Whether the agent kept the beginning of standard output only.
    pub stdout_truncated: bool,
    /// Whether the agent kept the beginning of standard error only.
    pub stderr_truncated: bool,
}

impl ExecSpec {
    /// A program by its path, or by a name that the guest looks for, with its arguments. `InvalidInput` for an empty
    /// program, and for NULs.
    pub fn new<S: Into<String>>(program: impl Into<String>, arguments: impl IntoIterator<Item = S>) -> Result<Self> {
        let (program, arguments) = (program.into(), arguments.into_iter().map(Into::into).collect::<Vec<_>>());
        if program.is_empty() {
            return Err(Error::invalid("program", "there is no program to run"));
        }
        if [&program].into_iter().chain(&arguments).any(|word| word.contains('\0')) {
            return Err(Error::invalid("program", "a program and its arguments have no NUL"));
        }
        Ok(Self { program, arguments, environment: Vec::new(), input: Vec::new() })
    }

    /// Gives it this environment in place of the agent's: words of the form `NAME=VALUE`. `InvalidInput`.
    pub fn environment<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Result<Self> {
        self.environment = words.into_iter().map(Into::into).collect();
        let is_setting = |word: &String| word.find('=').is_some_and(|at| at > 0) && !word.contains('\0');
        match self.environment.iter().all(is_setting) {
            true => Ok(self),
            false => Err(Error::invalid("env", "the environment is made of NAME=VALUE")),
        }
    }

    /// Gives it this as standard input. `InvalidInput` above 40 KiB.
    pub fn input(mut self, input: Vec<u8>) -> Result<Self> {
        if input.len() > MOST_INPUT {
            let most = Bytes::new(MOST_INPUT as u64);
            return Err(Error::invalid("input", format!("a program in a guest is given {most} at most"))
                .with_detail("write it into a file of the guest first"));
        }
        self.input = input;
        Ok(self)
    }
}

#[derive(Deserialize)]
struct Started {
    pid: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Status {
    exited: bool,
    exitcode: Option<i64>,
    signal: Option<i64>,
    #[serde(default, deserialize_with = "base64")]
    out_data: Vec<u8>,
    #[serde(default, deserialize_with = "base64")]
    err_data: Vec<u8>,
    #[serde(default)]
    out_truncated: bool,
    #[serde(default)]
    err_truncated: bool,
}

impl Agent {
    /// Runs a program in the guest and waits for its end.
    ///
    /// An answer of the agent is 1 MiB at most, so a program that says more than about 700 KiB ends as `Corrupt`: have
    /// it write into a file, and read that. `Timeout` when it has not ended in time: it goes on in the guest, as it does
    /// when the future is dropped; the detail names its number.
    pub async fn exec(&self, spec: &ExecSpec, timeout: Duration) -> Result<ExecOutcome> {
        let mut arguments = json!({ "path": spec.program, "arg": spec.arguments, "capture-output": true });
        if !spec.environment.is_empty() {
            arguments["env"] = json!(spec.environment);
        }
        if !spec.input.is_empty() {
            arguments["input-data"] = json!(BASE64.encode(&spec.input));
        }
        let Started { pid } = self.ask("guest-exec", &arguments, QUICK).await?;
        let deadline = self.clock.sleep(timeout);
        tokio::select! {
            biased;
            ended = self.until_ended(pid) => ended,
            () = deadline => {
                Err(Error::new(ErrorKind::Timeout, "the program has not ended in time").with_detail(format!(
                    "waited {} s; it goes on in the guest as process {pid}", timeout.as_secs()
                )))
            }
        }
    }

    async fn until_ended(&self, pid: i64) -> Result<ExecOutcome> {
        let mut pause = FIRST_PAUSE;
        loop {
            let status: Status = self.ask("guest-exec-status", &json!({ "pid": pid }), QUICK).await?;
            if status.exited {
                return status.outcome();
            }
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

impl Status {
    fn outcome(self) -> Result<ExecOutcome> {
        let end = match (self.exitcode, self.signal) {
            (Some(code), None) if (i32::MIN.into()..=u32::MAX.into()).contains(&code) => End::Exited(code),
            (None, Some(signal)) if (0..=u32::MAX.into()).contains(&signal) => End::Signal(signal),
            _ => return Err(implausible("with no end that a program can have")),
        };
        Ok(ExecOutcome {
            end,
            stdout: self.out_data,
            stderr: self.err_data,
            stdout_truncated: self.out_truncated,
            stderr_truncated: self.err_truncated,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_run_is_refused() {
        let none = Vec::<String>::new();
        assert!(ExecSpec::new("", none.clone()).is_err());
        assert!(ExecSpec::new("a\0b", none.clone()).is_err());
        assert!(ExecSpec::new("a", ["b\0c"]).is_err());
        let spec = ExecSpec::new("a", none).unwrap();
        assert!(spec.clone().environment(["=x"]).is_err());
        assert!(spec.clone().environment(["PATH"]).is_err());
        assert!(spec.clone().environment(["PATH=/bin"]).is_ok());
        assert!(spec.input(vec![0; MOST_INPUT + 1]).is_err());
    }
}
