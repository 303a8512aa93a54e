//! A document while it is rewritten.

use super::Rewritten;
use super::facts::{Content, Facts, Location, Place, Request};
use super::names;
use super::policy::{Files, Policy};
use super::told::{Copy, Edit, How, Reason, Refusal, RewriteError, Warning};
use crate::diff::{self, Change, item_path};
use crate::domain::{Devices, Domain};
use crate::element::Element;
use crate::value::MacAddr;

/// A document while it is rewritten. Rules change `domain` as they like and then say why: [`record`](Self::record)
/// compares with what was there before, so nothing can change in silence.
pub(super) struct Draft<'r, 'f> {
    /// The document as it came.
    pub(super) source: &'r Domain,
    /// The document as it will be.
    pub(super) domain: Domain,
    pub(super) policy: &'r Policy,
    pub(super) facts: &'r mut Facts<'f>,
    pub(super) warnings: Vec<Warning>,
    pub(super) copies: Vec<Copy>,
    pub(super) changes: Vec<Edit>,
    /// The document as of the last record.
    seen: Domain,
}

impl<'r, 'f> Draft<'r, 'f> {
    pub(super) fn new(source: &'r Domain, policy: &'r Policy, facts: &'r mut Facts<'f>) -> Self {
        let (domain, seen) = (source.clone(), source.clone());
        Self { source, domain, policy, facts, warnings: Vec::new(), copies: Vec::new(), changes: Vec::new(), seen }
    }

    /// Takes down what has changed since the last time.
    pub(super) fn record(&mut self, reason: Reason) {
        // Most rules leave most machines alone, and that is quickly seen.
        if self.seen != self.domain {
            let changes = diff::diff(&self.seen, &self.domain);
            self.changes.extend(changes.into_iter().map(|change| Edit { change, reason }));
            self.seen = self.domain.clone();
        }
    }

    /// What has come of it.
    pub(super) fn finish(&mut self) -> Rewritten {
        Rewritten {
            domain: std::mem::take(&mut self.domain),
            changes: std::mem::take(&mut self.changes),
            warnings: std::mem::take(&mut self.warnings),
            copies: std::mem::take(&mut self.copies),
        }
    }

    /// Gives an interface another MAC address. As [`diff`](crate::diff) tells interfaces apart by it, this is said here.
    pub(super) fn set_mac(&mut self, index: usize, mac: Option<MacAddr>) {
        let interface = self.seen.interfaces().get(index);
        let path = interface.map(|interface| item_path("devices.interface", interface, index)).unwrap_or_default();
        let before = interface.and_then(|interface| interface.mac_address()).map(|mac| mac.to_string());
        let after = mac.map(|mac| mac.to_string());
        for domain in [&mut self.domain, &mut self.seen] {
            if let Some(interface) = domain.devices_mut().interface.get_mut(index) {
                interface.mac.get_or_insert_default().address = mac;
                prune(&mut interface.mac);
            }
        }
        let change = Change { path: format!("{path}.mac.address"), before, after };
        self.changes.push(Edit { change, reason: Reason::Identity });
    }

    /// Takes out items of a list. Where they have no name the others count on, so this is said here too.
    pub(super) fn take_out<T: Element>(
        &mut self,
        list: &str,
        items: fn(&mut Devices) -> &mut Vec<T>,
        gone: &[usize],
        reason: Reason,
    ) {
        if gone.is_empty() {
            return;
        }
        self.record(reason);
        for (index, item) in items(self.seen.devices_mut()).iter().enumerate().filter(|(index, _)| gone.contains(index))
        {
            let change = diff::removal(item_path(list, item, index), item);
            self.changes.push(Edit { change, reason });
        }
        for domain in [&mut self.domain, &mut self.seen] {
            let mut index = 0..;
            items(domain.devices_mut()).retain(|_| index.next().is_some_and(|index| !gone.contains(&index)));
        }
    }

    /// The names of the original and of the copy.
    pub(super) fn names(&self) -> Names {
        let name = |domain: &Domain| domain.name.clone().unwrap_or_default();
        Names { old: name(self.source), new: name(&self.domain) }
    }

    /// Whether the copy is on another host.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.facts.place == Place::OtherHost
    }

    /// Finds the place for the copy of a file and takes down that it has to be copied.
    pub(super) fn place(&mut self, file: &File<'_>) -> Result<Location, RewriteError> {
        let File { content, path, from, files, how } = *file;
        let refuse = |kind, problem: String, fix: &str| Err(RewriteError::new(kind, path, problem, fix));
        let names = self.names();
        let suggested = match files {
            Files::Keep | Files::Place => Some(from.clone()),
            // The name of a block device is that of a device which is there; only a volume's says whose it is.
            Files::Rename
                if matches!(from, Location::Block(_)) && names::named_after(file_name(from), &names.old).is_none() =>
            {
                None
            }
            Files::Rename => Some(self.unused(&from.renamed(|file| match content {
                Content::Nvram => format!("{}_VARS{}", names.new, names::extension(file)),
                _ => names::copy_name(file, &names.old, &names.new),
            }))),
        };
        let asked = (self.facts.locate)(&Request { content, path, from, suggested: suggested.as_ref() });
        let Some(to) = asked.or(suggested) else {
            return refuse(
                Refusal::Facts,
                format!("no place for the copy of {from}"),
                "say which block device, file or volume the copy goes to",
            );
        };
        let name = to.name();
        let absolute = matches!(to, Location::Volume { .. }) || name.starts_with('/');
        if !absolute || name.is_empty() || name.contains(char::is_control) {
            return refuse(
                Refusal::Facts,
                format!("'{to}' is no place for a copy"),
                "give an absolute path or a volume",
            );
        }
        if to == *from && !self.is_elsewhere() {
            if content == Content::Backing {
                return Ok(to);
            }
            return refuse(
                Refusal::LocationTaken,
                format!("the copy would lie where the original is, {from}"),
                "say where the copy goes to",
            );
        }
        let twice = self.copies.iter().any(|copy| copy.to == to);
        if twice || (files == Files::Rename && (self.facts.location_taken)(&to)) {
            return refuse(
                Refusal::LocationTaken,
                format!("something lies at {to}"),
                "say where else the copy goes to",
            );
        }
        self.copies.push(Copy { path: path.to_owned(), content, from: from.clone(), to: to.clone(), how });
        Ok(to)
    }

    /// The location itself, or with the first number that is free.
    fn unused(&self, wanted: &Location) -> Location {
        /// More copies of one name in one folder are somebody's mistake.
        const MOST: usize = 1000;
        let taken = |location: &Location| {
            (self.facts.location_taken)(location) || self.copies.iter().any(|copy| copy.to == *location)
        };
        let numbered = (1..MOST).map(|number| wanted.renamed(|file| names::numbered(file, number)));
        std::iter::once(wanted.clone())
            .chain(numbered)
            .find(|location| !taken(location))
            .unwrap_or_else(|| wanted.clone())
    }
}

/// A file that is copied.
#[derive(Clone, Copy)]
pub(super) struct File<'a> {
    pub(super) content: Content,
    pub(super) path: &'a str,
    pub(super) from: &'a Location,
    pub(super) files: Files,
    pub(super) how: How,
}

/// The names of the original and of the copy.
#[derive(Clone)]
pub(super) struct Names {
    pub(super) old: String,
    pub(super) new: String,
}

impl Names {
    /// A host path under the name of the copy.
    pub(super) fn rename(&self, path: &str) -> String {
        Location::File(path.to_owned()).renamed(|file| names::copy_name(file, &self.old, &self.new)).name().to_owned()
    }
}

fn file_name(location: &Location) -> &str {
    location.name().rsplit('/').next().unwrap_or_default()
}

/// Visits an element and all elements inside it.
pub(super) fn walk(element: &mut dyn Element, visit: &mut dyn FnMut(&mut dyn Element)) {
    visit(element);
    for index in 0..element.shape().fields.len() {
        let items = element.slot(index).count();
        for item in 0..items {
            if let Some(child) = element.slot_mut(index).element_mut(item) {
                walk(child, visit);
            }
        }
    }
}

/// Removes an element in which nothing is left.
pub(super) fn prune<T: Element>(slot: &mut Option<T>) {
    if slot.as_ref().is_some_and(is_bare) {
        *slot = None;
    }
}

fn is_bare<T: Element>(element: &T) -> bool {
    element.extra().is_empty() && (0..element.shape().fields.len()).all(|index| element.slot(index).count() == 0)
}
