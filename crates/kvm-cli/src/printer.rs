//! The only place that writes to the terminal: results to standard output, everything about them to standard error.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anstream::AutoStream;
use kvm_core::{Error, ErrorKind, Result};
use serde::Serialize;

mod failure;
mod json;
mod look;
mod page;
mod progress;
mod table;

pub use failure::Failure;
pub use look::Look;
pub use page::Page;
pub use progress::ProgressView;
pub(crate) use table::choose;
pub use table::{Align, Cell, Column, Table};

use crate::args::{Format, Global};

/// What a command found or did: data with a form for people.
pub trait Outcome: Serialize {
    /// Writes it as people read it.
    fn text(&self, page: &mut Page<'_>);

    /// What of it went wrong; each is printed as an error, and the worst decides the exit code.
    fn failures(&self) -> Vec<Failure<'_>> {
        Vec::new()
    }
}

/// Prints outcomes, errors and questions in the form that the user asked for.
#[derive(Debug)]
pub struct Printer {
    format: Format,
    quiet: bool,
    verbose: bool,
    look: Look,
    stdout: AutoStream<io::Stdout>,
    stderr: AutoStream<io::Stderr>,
    /// The reader of standard output went away, as `head` does; nothing more is written.
    closed: bool,
}

impl Printer {
    /// A printer on this process's standard streams.
    #[must_use]
    pub fn new(global: &Global) -> Self {
        Self { quiet: global.quiet, verbose: global.verbose > 0, ..Self::of_form(global.output) }
    }

    /// A printer in this form, where no more is known of what the user wants.
    #[must_use]
    pub fn of_form(format: Format) -> Self {
        let look = Look::of_terminal();
        Self {
            format,
            quiet: false,
            verbose: false,
            stdout: AutoStream::new(io::stdout(), look.colors(&io::stdout())),
            stderr: AutoStream::new(io::stderr(), look.colors(&io::stderr())),
            look,
            closed: false,
        }
    }

    /// The form in which results are printed.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether the reader of standard output went away, so that following something is useless.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Prints what a command found or did, and its failures. Gives the worst of these.
    pub fn show(&mut self, outcome: &impl Outcome) -> Result<Option<ErrorKind>> {
        match self.format {
            Format::Table => {
                let mut page = Page::new(&self.look, self.quiet);
                outcome.text(&mut page);
                let text = page.into_text();
                self.write(text.as_bytes())?;
            }
            Format::Json => {
                let text = json::pretty(outcome).map_err(no_form)?;
                self.write(text.as_bytes())?;
            }
            Format::Yaml => {
                let text = serde_saphyr::to_string(outcome).map_err(no_form)?;
                self.write(text.as_bytes())?;
            }
        }
        let failures = outcome.failures();
        for failure in &failures {
            self.failure(failure);
        }
        Ok(failures.iter().map(|f| f.error.kind()).max_by_key(|kind| crate::exit::exit_code(*kind)))
    }

    /// Prints one item of a stream at once: a line of text, or a line of JSON. YAML items are documents of their own.
    pub fn item(&mut self, item: &impl Outcome) -> Result<()> {
        match self.format {
            Format::Json => {
                let text = json::line(item).map_err(no_form)?;
                self.write(text.as_bytes())
            }
            Format::Yaml => {
                let text = serde_saphyr::to_string(item).map_err(no_form)?;
                self.write(format!("---\n{text}").as_bytes())
            }
            Format::Table => self.show(item).map(drop),
        }
    }

    /// Writes text of our own, with its colours where the terminal has them.
    pub fn page(&mut self, text: &str) -> Result<()> {
        self.write(text.as_bytes())
    }

    /// Writes bytes as they are: a document, a completion script, what a guest said.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        // Not through the stream that takes colours away: these bytes are not ours.
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
        self.check(written)
    }

    /// Writes bytes as they are to standard error: what a program in a guest complained about.
    pub fn raw_error(&mut self, bytes: &[u8]) {
        let mut stderr = io::stderr().lock();
        // Where complaints cannot be written there is nobody to hear that.
        let _unheard = stderr.write_all(bytes).and_then(|()| stderr.flush());
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.closed {
            return Ok(());
        }
        let written = self.stdout.write_all(bytes).and_then(|()| self.stdout.flush());
        self.check(written)
    }

    fn check(&mut self, written: io::Result<()>) -> Result<()> {
        match written {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            Err(e) => {
                let kind = match e.kind() {
                    io::ErrorKind::StorageFull => ErrorKind::NoSpace,
                    _ => ErrorKind::Unavailable,
                };
                Err(Error::new(kind, "cannot write to standard output").with_source(e))
            }
            Ok(()) => Ok(()),
        }
    }

    /// Says something beside the result. Silent with `--quiet`.
    pub fn note(&mut self, text: &str) {
        if self.quiet {
            return;
        }
        match self.format {
            Format::Json => self.complain(&format!("{}\n", serde_json::json!({ "note": text }))),
            Format::Table | Format::Yaml => self.complain(&format!("note: {text}\n")),
        }
    }

    /// Says something beside the result that only `-v` asks for.
    pub fn explain(&mut self, text: &str) {
        if self.verbose {
            self.note(text);
        }
    }

    /// Prints an error with its hint; the chain of causes with `-v`.
    pub fn error(&mut self, error: &Error) {
        self.failure(&Failure { subject: None, error });
    }

    /// As [`error`](Self::error), about something that the user has a name for.
    pub fn failure(&mut self, failure: &Failure<'_>) {
        let text = match self.format {
            Format::Json => failure.to_json(),
            Format::Table | Format::Yaml => failure.to_text(self.verbose),
        };
        self.complain(&text);
    }

    fn complain(&mut self, text: &str) {
        // Where complaints cannot be written there is nobody to hear that.
        let _unheard = self.stderr.write_all(text.as_bytes()).and_then(|()| self.stderr.flush());
    }

    /// Who hears of the progress of operations, in the form that suits this printer.
    #[must_use]
    pub fn progress(&self) -> ProgressView {
        ProgressView::new(self.format, self.quiet, self.verbose, self.look)
    }

    /// Asks a question on the terminal and gives the line that was typed, without its end.
    ///
    /// `Denied` when there is no terminal to ask on: what would be asked is then refused, not assumed.
    pub async fn ask(&mut self, question: &str) -> Result<String> {
        if !io::stdin().is_terminal() {
            return Err(Error::new(ErrorKind::Denied, "this needs a confirmation, and there is no terminal to ask on")
                .during("confirm"));
        }
        self.complain(question);
        let read = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().lock().read_line(&mut line).map(|_| line)
        });
        let line = read.await.map_err(|e| Error::internal("the question was not answered").with_source(e))?;
        let unanswered = || Error::new(ErrorKind::Cancelled, "the question was not answered");
        match line {
            // The end of input is no answer, not even an empty one.
            Ok(line) if line.is_empty() => Err(unanswered()),
            Ok(line) => Ok(line.trim().to_owned()),
            Err(e) => Err(unanswered().with_source(e)),
        }
    }

    /// Shows what is about to happen, before a question about it.
    pub fn preview(&mut self, text: &str) {
        self.complain(&format!("{text}\n"));
    }
}

fn no_form(e: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("the result cannot be written in this form").with_source(e)
}
