//! A page of text for people.

use std::fmt::{self, Write as _};

use kvm_core::text::{printable, printable_lines};

use super::look::{self, Look};
use super::table::Table;

/// Collects what a person reads. Text from outside is made visible as it comes in.
#[derive(Debug)]
pub struct Page<'a> {
    look: &'a Look,
    quiet: bool,
    text: String,
}

impl<'a> Page<'a> {
    pub(super) fn new(look: &'a Look, quiet: bool) -> Self {
        Self { look, quiet, text: String::new() }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// One line.
    pub fn line(&mut self, line: impl fmt::Display) {
        let line = line.to_string();
        self.push(format_args!("{}\n", printable(&line)));
    }

    /// Text that has lines of its own.
    pub fn block(&mut self, text: impl fmt::Display) {
        let text = text.to_string();
        self.push(format_args!("{}\n", printable_lines(text.trim_end_matches('\n'))));
    }

    /// A line that says what was done. Silent with `--quiet`.
    pub fn done(&mut self, what: impl fmt::Display) {
        if !self.quiet {
            let (sign, what) = (self.look.done(), what.to_string());
            self.push(format_args!("{0}{sign}{0:#} {1}\n", look::GOOD, printable(&what)));
        }
    }

    /// A table that fits the terminal.
    pub fn table(&mut self, table: &Table) {
        let rendered = table.render(self.look);
        self.push(format_args!("{rendered}"));
    }

    /// Names and values, aligned; an unknown value is shown as such.
    pub fn fields(&mut self, fields: &[(&str, Option<String>)]) {
        let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in fields {
            let value = value.as_deref().unwrap_or(self.look.unknown());
            // The lines of a long value stand below each other.
            let mut lines = value.lines();
            let first = lines.next().unwrap_or_default();
            self.push(format_args!("{name:width$}  {}\n", printable(first)));
            for line in lines {
                self.push(format_args!("{:width$}  {}\n", "", printable(line)));
            }
        }
    }

    fn push(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ok = self.text.write_fmt(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_move_the_cursor() {
        let look = Look::pipe();
        let mut page = Page::new(&look, false);
        page.line("a\u{1b}[2Jb");
        page.fields(&[("name", Some("x\ny\u{202e}".into())), ("id", None)]);
        assert_eq!(page.into_text(), "a\\u{1b}[2Jb\nname  x\n      y\\u{202e}\nid    –\n");
    }

    #[test]
    fn quiet_pages_keep_what_was_asked_for_and_drop_what_was_done() {
        let look = Look::pipe();
        let mut page = Page::new(&look, true);
        page.done("started");
        page.line("answer");
        assert_eq!(page.into_text(), "answer\n");
    }
}
