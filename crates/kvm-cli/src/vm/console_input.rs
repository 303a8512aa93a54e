//! The keyboard's side of a console: the raw terminal, the key that leaves, the text that is waited for.

use std::fmt;
use std::str::FromStr;

use kvm_core::{Error, ErrorKind, Result};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// A terminal that hands on every key as it is; as it was before when this is dropped.
pub(super) struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    /// Takes the terminal of standard input.
    pub(super) fn enter() -> Result<Self> {
        let refused =
            |e: rustix::io::Errno| Error::new(ErrorKind::Unavailable, "the terminal cannot be used").with_source(e);
        let stdin = rustix::stdio::stdin();
        let before = tcgetattr(stdin).map_err(refused)?;
        let mut raw = before.clone();
        raw.make_raw();
        // Not flushed: what was typed ahead is meant for the guest.
        tcsetattr(stdin, OptionalActions::Now, &raw).map_err(refused)?;
        Ok(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // Flushed: what was typed for the guest must not be run by the shell. A terminal that is gone needs nothing.
        let _gone = tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &self.before);
    }
}

/// A control key, such as `^]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Escape(u8);

impl Escape {
    /// What stands before the key, and whether the key was pressed.
    pub(super) fn split(self, typed: &[u8]) -> (&[u8], bool) {
        match typed.iter().position(|byte| *byte == self.0) {
            Some(at) => (&typed[..at], true),
            None => (typed, false),
        }
    }
}

impl FromStr for Escape {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.as_bytes() {
            [b'^', key @ (b'@'..=b'_' | b'a'..=b'z')] => Ok(Self(key.to_ascii_uppercase() & 0x1f)),
            _ => Err(Error::invalid("escape", "an escape key is ^ and a letter or one of @ [ \\ ] ^ _, such as ^]")),
        }
    }
}

impl fmt::Display for Escape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ctrl-{}", char::from(self.0 | 0x40))
    }
}

/// Looks for a text in a stream that comes in pieces.
pub(super) struct Watch {
    wanted: Vec<u8>,
    /// The end of what was seen, in which the text may have begun.
    tail: Vec<u8>,
}

impl Watch {
    /// Waits for this text.
    pub(super) fn new(text: &str) -> Self {
        Self { wanted: text.as_bytes().to_vec(), tail: Vec::new() }
    }

    /// Whether the text is there with this piece.
    pub(super) fn sees(&mut self, piece: &[u8]) -> bool {
        self.tail.extend_from_slice(piece);
        if self.wanted.is_empty() || self.tail.windows(self.wanted.len()).any(|window| window == self.wanted) {
            return true;
        }
        let surplus = self.tail.len().saturating_sub(self.wanted.len() - 1);
        self.tail.drain(..surplus);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_escape_key_is_a_control_key_and_what_was_typed_before_it_is_sent() {
        let escape: Escape = "^]".parse().unwrap();
        assert_eq!(escape, Escape(0x1d));
        assert_eq!(escape.to_string(), "Ctrl-]");
        assert_eq!("^a".parse::<Escape>().unwrap(), "^A".parse().unwrap());
        assert_eq!(escape.split(b"ls\x1dxx"), (&b"ls"[..], true));
        assert_eq!(escape.split(b"ls\n"), (&b"ls\n"[..], false));
        for bad in ["", "]", "^", "^^^", "^1", "x"] {
            assert!(bad.parse::<Escape>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_text_is_found_across_pieces() {
        let mut watch = Watch::new("login:");
        assert!(!watch.sees(b"Debian log"));
        assert!(!watch.sees(b"i"));
        assert!(watch.sees(b"n: "));
        let mut watch = Watch::new("aab");
        assert!(!watch.sees(b"aa") && !watch.sees(b"a"));
        assert!(watch.sees(b"b"));
    }
}
