//! The only door to standard output and standard error.
//!
//! Nobody has to read to the end (`cargo xtask tidy | head`): a closed pipe is no reason to stop, and
//! the exit status still tells how it went. Hence the ignored results.

use std::fmt;
use std::io::{self, Write as _};

/// A broken rule, or something worth a look, at one place of the tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Path from the root of the repository.
    pub(crate) path: String,
    /// Line, counted from one; zero when the finding is about the whole file.
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl Finding {
    pub(crate) fn new(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.text),
            line => write!(f, "{}:{line}: {}", self.path, self.text),
        }
    }
}

/// Prints one line of result.
pub(crate) fn line(text: impl fmt::Display) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Prints the start of a line that [`line()`] completes.
pub(crate) fn begin(text: impl fmt::Display) {
    let mut out = io::stdout();
    // A terminal shows an unfinished line only when it is flushed.
    let _ = write!(out, "{text}").and_then(|()| out.flush());
}

/// Prints a message about wrong use.
pub(crate) fn error(text: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints text indented, so that no line of it can be taken for a line of ours.
pub(crate) fn indented(text: &str) {
    text.lines().for_each(|text| line(format_args!("    {text}")));
}
