//! Errors as people and programs read them.

use std::error::Error as _;
use std::fmt::Write as _;

use kvm_core::text::printable;
use kvm_core::{Error, Resource};
use serde::Serialize;

use super::{json, look};
use crate::hint;

/// Something that went wrong.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// Which of several objects it concerns.
    pub subject: Option<&'a str>,
    /// How.
    pub error: &'a Error,
}

/// An error in JSON.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorForm<'a> {
    kind: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a Resource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
}

impl<'a> From<Failure<'a>> for ErrorForm<'a> {
    fn from(failure: Failure<'a>) -> Self {
        let error = failure.error;
        Self {
            kind: error.kind().as_str(),
            message: error.message(),
            subject: failure.subject,
            detail: error.detail(),
            operation: error.operation(),
            resource: error.resource(),
            hint: hint::of(error),
            causes: causes(error),
        }
    }
}

fn causes(error: &Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    causes
}

impl Failure<'_> {
    /// What the error is about, unless its message says it.
    fn unnamed(&self) -> Option<String> {
        let message = self.error.message();
        if let Some(subject) = self.subject {
            return (!message.contains(subject)).then(|| subject.to_owned());
        }
        match self.error.resource()? {
            Resource::Vm(name) | Resource::Pool(name) | Resource::Volume(name) | Resource::Network(name)
                if message.contains(name.as_str()) =>
            {
                None
            }
            named @ (Resource::Vm(_) | Resource::Pool(_) | Resource::Volume(_) | Resource::Network(_)) => {
                Some(named.to_string())
            }
            Resource::File(path) if !message.contains(path.as_str()) => Some(path.clone()),
            _ => None,
        }
    }

    /// One line of JSON.
    pub(super) fn to_json(self) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            error: ErrorForm<'a>,
        }
        // Strings and lists of strings always have a JSON form.
        json::line(&Line { error: self.into() }).unwrap_or_default()
    }

    /// What, then why, then what to do about it.
    pub(super) fn to_text(self, verbose: bool) -> String {
        let mut text = format!("{0}error:{0:#} ", look::BAD);
        // Writing to a String cannot fail, here and below.
        let _ok = match self.unnamed() {
            Some(object) => writeln!(text, "{}: {}", printable(&object), printable(self.error.message())),
            None => writeln!(text, "{}", printable(self.error.message())),
        };
        for line in self.error.detail().unwrap_or_default().lines() {
            let _ok = writeln!(text, "  {}", printable(line));
        }
        let mut causes = causes(self.error);
        // Without the chain, its head is all that says why.
        if !verbose {
            causes.truncate(usize::from(self.error.detail().is_none()));
        }
        for cause in &causes {
            let mut lines = cause.lines().filter(|line| verbose || !line.trim().is_empty());
            let _ok = writeln!(text, "  cause: {}", printable(lines.next().unwrap_or_default()));
            for line in lines.filter(|_| verbose) {
                let _ok = writeln!(text, "         {}", printable(line));
            }
        }
        if let Some(hint) = hint::of(self.error) {
            for line in hint.lines() {
                let _ok = writeln!(text, "  hint: {line}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_core::ErrorKind;

    fn error() -> Error {
        Error::new(ErrorKind::NoSpace, "not enough space in pool default")
            .with_detail("asked 500 GiB, free 212 GiB")
            .with_source(std::io::Error::other("disk\u{1b} full"))
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn what_why_and_what_to_do_stand_below_each_other() {
        let error = error();
        let text = plain(&Failure { subject: Some("web"), error: &error }.to_text(true));
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("error: web: not enough space in pool default"));
        assert_eq!(lines.next(), Some("  asked 500 GiB, free 212 GiB"));
        assert_eq!(lines.next(), Some("  cause: disk\\u{1b} full"));
        assert!(lines.next().is_some_and(|line| line.starts_with("  hint: ")), "{text}");
    }

    #[test]
    fn json_errors_are_one_line_with_everything() {
        let error = error();
        let text = Failure { subject: None, error: &error }.to_json();
        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["error"]["kind"], "no_space");
        assert_eq!(value["error"]["causes"][0], "disk\u{1b} full");
    }
}
