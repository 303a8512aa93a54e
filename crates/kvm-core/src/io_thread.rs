//! Threads of a machine's process that serve its disks.

use std::fmt;
use std::str::FromStr;

use kvm_xml::Domain;
use serde::{Deserialize, Serialize};

use crate::text::{refused, text_serde};
use crate::{Error, ErrorKind, Result, VmThread};

/// The number of an I/O thread, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IoThread(u32);

impl IoThread {
    /// Reads a number from 1 to 1024, more than any host has use for.
    pub fn parse(text: &str) -> Result<Self> {
        let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        let number = text.parse::<u32>().ok().filter(|number| is_plain && (1..=1024).contains(number));
        number.map(Self).ok_or_else(|| refused("iothread", "I/O thread", text, "is not a number from 1 to 1024"))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }

    /// Whether the machine's document has it.
    #[must_use]
    pub fn is_in(self, document: &Domain) -> bool {
        VmThread::IoThread(self.0).is_in(document)
    }

    /// Whether a disk or a controller of the machine's document names it.
    fn serves(self, document: &Domain) -> bool {
        let named = |number: Option<u32>| number == Some(self.0);
        document.devices.iter().any(|devices| {
            let disks = devices.disk.iter().filter_map(|disk| disk.driver.as_ref());
            let controllers = devices.controller.iter().filter_map(|controller| controller.driver.as_ref());
            disks.map(|driver| driver.iothread).any(named) || controllers.map(|driver| driver.iothread).any(named)
        })
    }
}

impl fmt::Display for IoThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for IoThread {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

text_serde!(IoThread, "the number of an I/O thread", IoThread::parse, |thread| &thread.to_string());

/// Whether an I/O thread comes or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IoThreadChange {
    /// It comes.
    Add,
    /// It goes.
    Remove,
}

impl IoThreadChange {
    /// Refuses what no backend does: one that is there already (`AlreadyExists`), one that is not (`NotFound`), one that
    /// serves a device (`InvalidState`).
    pub fn check(self, thread: IoThread, document: &Domain) -> Result<()> {
        let refuse = |kind, why: &str| Err(Error::new(kind, format!("the VM {why} I/O thread {thread}")));
        match (self, thread.is_in(document)) {
            (Self::Add, true) => refuse(ErrorKind::AlreadyExists, "has already"),
            (Self::Remove, false) => refuse(ErrorKind::NotFound, "has no"),
            (Self::Remove, true) if thread.serves(document) => {
                refuse(ErrorKind::InvalidState, "has a device that is served by")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_xml::Document as _;

    #[test]
    fn a_thread_is_there_when_it_is_named_or_counted() {
        let read = |xml: &str| Domain::from_xml(&format!("<domain>{xml}</domain>")).unwrap();
        let thread = |number: &str| IoThread::parse(number).unwrap();
        for (xml, there, absent) in [
            ("<iothreads>2</iothreads>", vec!["1", "2"], vec!["3"]),
            ("<iothreadids><iothread id='4'/></iothreadids>", vec!["4"], vec!["1"]),
            ("<iothreads>2</iothreads><iothreadids><iothread id='1'/></iothreadids>", vec!["1", "2"], vec!["3"]),
            ("", vec![], vec!["1"]),
        ] {
            let document = read(xml);
            assert!(there.iter().all(|number| thread(number).is_in(&document)), "{xml}");
            assert!(absent.iter().all(|number| !thread(number).is_in(&document)), "{xml}");
        }
        for text in ["", "0", "-1", "01", "1025", "4294967297", "1 "] {
            assert!(IoThread::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_thread_that_serves_a_disk_stays() {
        let xml = "<domain><iothreads>2</iothreads><devices><disk><driver iothread='1'/></disk></devices></domain>";
        let document = Domain::from_xml(xml).unwrap();
        let kind = |change: IoThreadChange, number: &str| {
            change.check(IoThread::parse(number).unwrap(), &document).map_err(|e| e.kind())
        };
        assert_eq!(kind(IoThreadChange::Remove, "1"), Err(ErrorKind::InvalidState));
        assert_eq!(kind(IoThreadChange::Remove, "2"), Ok(()));
        assert_eq!(kind(IoThreadChange::Remove, "3"), Err(ErrorKind::NotFound));
        assert_eq!(kind(IoThreadChange::Add, "2"), Err(ErrorKind::AlreadyExists));
        assert_eq!(kind(IoThreadChange::Add, "3"), Ok(()));
    }
}
