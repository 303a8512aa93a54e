//! How the terminal wants to be written to: colours, character set, width.

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use kvm_core::VmState;

use crate::environment;

/// What is known of the terminal.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Whether it shows more than ASCII.
    unicode: bool,
    /// Whether the locale asks for plain output.
    plain: bool,
    /// Columns of the terminal; `None` on a pipe, where nothing is cut.
    pub(super) width: Option<usize>,
}

impl Look {
    /// Asks the locale and the terminal behind standard output.
    #[must_use]
    pub fn of_terminal() -> Self {
        let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok();
        Self {
            unicode: environment::is_utf8(),
            plain: environment::is_plain_locale(),
            width: size.map(|size| usize::from(size.ws_col)).filter(|width| *width > 0),
        }
    }

    /// A look for tests: UTF-8, no terminal.
    #[cfg(test)]
    pub(crate) fn pipe() -> Self {
        Self { unicode: true, plain: false, width: None }
    }

    /// The same on a terminal of so many columns.
    #[cfg(test)]
    pub(crate) fn as_wide_as(self, width: usize) -> Self {
        Self { width: Some(width), ..self }
    }

    /// Whether this stream is coloured: on a terminal, unless `NO_COLOR`, `TERM=dumb` or the `C` locale say no.
    pub(super) fn colors<S: anstream::stream::RawStream>(self, stream: &S) -> ColorChoice {
        match self.plain {
            true => ColorChoice::Never,
            false => AutoStream::choice(stream),
        }
    }

    /// The sign of what is done.
    #[must_use]
    pub fn done(&self) -> &'static str {
        if self.unicode { "✓" } else { "ok:" }
    }

    /// The sign of what is not known.
    #[must_use]
    pub fn unknown(&self) -> &'static str {
        if self.unicode { "–" } else { "-" }
    }

    /// The sign of what was cut off.
    #[must_use]
    pub fn ellipsis(&self) -> &'static str {
        if self.unicode { "…" } else { "~" }
    }
}

/// What went well.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// What somebody should look at.
pub(super) const CAREFUL: Style = AnsiColor::Yellow.on_default();
/// What went wrong.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();

/// The colour of a state.
pub(super) fn of_state(state: VmState) -> Style {
    match state {
        VmState::Running => GOOD,
        VmState::Paused | VmState::ShuttingDown | VmState::PmSuspended | VmState::Saved => CAREFUL,
        VmState::Crashed => BAD,
        _ => Style::new(),
    }
}
