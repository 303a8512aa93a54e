//! Questions of a login, on the terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};

use async_trait::async_trait;
use kvm_core::{Error, ErrorKind, Result};
use kvm_ssh::{Asked, Echo, Prompt, Question, Secret};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// Asks on the terminal of this process, also where input and output are files. Without one no question has an answer.
#[derive(Debug, Default)]
pub(crate) struct TerminalPrompt {
    /// Two questions at once could not be told apart.
    one_at_a_time: Mutex<()>,
}

#[async_trait]
impl Prompt for TerminalPrompt {
    async fn ask(&self, question: &Question) -> Result<Option<Secret>> {
        let _turn = self.one_at_a_time.lock().await;
        ask(&wording(question), question.echo).await
    }
}

/// Asks for something that is not shown; `None` without a terminal or an answer.
pub(crate) async fn secret(question: &str) -> Result<Option<Secret>> {
    ask(question, Echo::Hidden).await
}

async fn ask(question: &str, echo: Echo) -> Result<Option<Secret>> {
    let Ok(terminal) = OpenOptions::new().read(true).write(true).open("/dev/tty") else { return Ok(None) };
    let lost = |e: io::Error| Error::new(ErrorKind::Unavailable, "the terminal cannot be used").with_source(e);
    (&terminal).write_all(question.as_bytes()).map_err(lost)?;
    let keyboard = terminal.try_clone().map_err(lost)?;
    let hidden = match echo {
        Echo::Shown => None,
        Echo::Hidden => Some(Hidden::on(terminal).map_err(lost)?),
    };
    let read = tokio::task::spawn_blocking(move || read_line(keyboard)).await;
    drop(hidden);
    read.map_err(|e| Error::internal("the question was not answered").with_source(e))?.map_err(lost)
}

/// What is asked, in a line. Text of the host is safe to show already.
fn wording(question: &Question) -> String {
    let login = &question.login;
    match &question.about {
        Asked::Passphrase(file) => {
            format!("Passphrase of {}: ", kvm_core::text::printable(&file.display().to_string()))
        }
        Asked::Password => format!("Password of {login}: "),
        Asked::Host { instructions, text } if instructions.is_empty() => format!("{login} asks: {text} "),
        Asked::Host { instructions, text } => format!("{login} says: {instructions}\nand asks: {text} "),
        _ => format!("{login} asks: "),
    }
}

/// One line; `None` at the end of input, or for one that is not text.
fn read_line(mut keyboard: File) -> io::Result<Option<Secret>> {
    // A terminal gives a line at a time, and never more than this.
    let mut line = Zeroizing::new([0_u8; 4096]);
    let length = keyboard.read(line.as_mut_slice())?;
    let text = std::str::from_utf8(&line[..length]).ok().and_then(|text| text.strip_suffix('\n'));
    Ok(text.map(|text| Secret::from(text.to_owned())))
}

/// A terminal that does not show what is typed, until this is dropped; also when nobody waits for the answer any more.
struct Hidden {
    terminal: File,
    before: Termios,
}

impl Hidden {
    fn on(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // The end of the line was not shown either. A terminal that is gone needs nothing.
        let _gone = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
        let _gone = self.terminal.write_all(b"\n");
    }
}
