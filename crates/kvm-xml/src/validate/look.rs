//! Looking at devices of all kinds alike, through their tables.

use super::{Presence, ProblemKind, Problems, Reference};
use crate::common::{Auth, Encryption};
use crate::diff::{join, label};
use crate::domain::Domain;
use crate::element::{Element, Item};
use crate::leaf::{Format, Scalar};
use std::collections::HashMap;
use std::hash::Hash;
use uuid::Uuid;

/// A device, with the path that leads to it.
pub(super) struct Device<'a> {
    pub(super) path: String,
    /// The name of its element.
    pub(super) kind: &'static str,
    pub(super) element: &'a dyn Element,
}

/// The path of an item of a list of devices.
pub(super) fn path(list: &str, element: &dyn Element, position: usize) -> String {
    format!("devices.{list}[{}]", label(Item::Element(element), position))
}

/// All devices, in the order of the table.
pub(super) fn devices(domain: &Domain) -> Vec<Device<'_>> {
    let mut found = Vec::new();
    let Some(devices) = &domain.devices else { return found };
    for (index, field) in devices.shape().fields.iter().enumerate() {
        for (position, item) in devices.slot(index).items().enumerate() {
            if let Item::Element(element) = item {
                let path = join("devices", field.key);
                let path = if field.many { format!("{path}[{}]", label(item, position)) } else { path };
                found.push(Device { path, kind: field.key, element });
            }
        }
    }
    found
}

/// The child element of this name.
pub(super) fn child<'a>(element: &'a dyn Element, key: &str) -> Option<&'a dyn Element> {
    match element.slot(element.shape().position(key)?).item(0)? {
        Item::Element(child) => Some(child),
        Item::Leaf(_) | Item::Flag => None,
    }
}

/// The value of this name, as text.
pub(super) fn word(element: &dyn Element, key: &str) -> Option<String> {
    match element.slot(element.shape().position(key)?).item(0)? {
        Item::Leaf(leaf) => Some(crate::diff::text(&leaf.scalar(), Format::PLAIN)),
        Item::Element(_) | Item::Flag => None,
    }
}

/// The number of this name.
pub(super) fn number(element: &dyn Element, key: &str) -> Option<u64> {
    match element.slot(element.shape().position(key)?).item(0)? {
        Item::Leaf(leaf) => match leaf.scalar() {
            Scalar::Unsigned(number) => Some(number),
            _ => None,
        },
        Item::Element(_) | Item::Flag => None,
    }
}

/// Who had a value first.
pub(super) struct Owners<K>(HashMap<K, String>);

impl<K: Eq + Hash> Owners<K> {
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    /// Notes that `path` has `value`; the path of the one that had it before.
    pub(super) fn take(&mut self, value: K, path: &str) -> Option<String> {
        if let Some(owner) = self.0.get(&value) {
            return Some(owner.clone());
        }
        self.0.insert(value, path.to_owned());
        None
    }
}

/// Another item, or the same path once more when the items cannot be told apart by it.
pub(super) fn other(owner: &str, path: &str, what: &str) -> String {
    if owner == path { format!("another {what}") } else { owner.to_owned() }
}

/// Asks about all that the document names and does not contain.
pub(super) fn references(domain: &Domain, look: &dyn Fn(Reference<'_>) -> Presence, problems: &mut Problems) {
    let mut ask = |path: String, reference, what: &str, mend: &str| {
        let presence = look(reference);
        if presence == Presence::Absent {
            problems.error(path, ProblemKind::Unknown, format!("the host has no {what}; {mend}"));
        }
        presence
    };
    for (position, disk) in domain.disks().iter().enumerate() {
        let path = self::path("disk", disk, position);
        let Some(source) = &disk.source else { continue };
        if let (Some(pool), Some(volume)) = (source.pool.as_deref(), source.volume.as_deref()) {
            let at = format!("{path}.source.pool");
            if ask(at, Reference::Pool(pool), &format!("pool '{pool}'"), "define it, or name another")
                == Presence::There
            {
                let (at, what) = (format!("{path}.source.volume"), format!("volume '{volume}' in pool '{pool}'"));
                ask(at, Reference::Volume { pool, volume }, &what, "create it, or name another");
            }
        }
        let auths = [("auth", &disk.auth), ("source.auth", &source.auth)];
        let auths = auths.into_iter().filter_map(|(name, auth)| Some((name, of_auth(auth.as_ref()?)?)));
        let encryptions = [("encryption", &disk.encryption), ("source.encryption", &source.encryption)];
        let encryptions = encryptions
            .into_iter()
            .flat_map(|(name, encryption)| encryption.iter().flat_map(of_encryption).map(move |secret| (name, secret)));
        for (name, (secret, what)) in auths.chain(encryptions) {
            ask(format!("{path}.{name}.secret"), secret, &what, "define it and set its value");
        }
    }
    for (position, tpm) in domain.devices.iter().flat_map(|devices| &devices.tpm).enumerate() {
        let encryption = tpm.backend.as_ref().and_then(|backend| backend.encryption.as_ref());
        if let Some((secret, what)) = encryption.and_then(|encryption| of_secret(encryption.secret, None)) {
            ask(format!("devices.tpm[{position}].backend.encryption"), secret, &what, "define it and set its value");
        }
    }
    for (position, interface) in domain.interfaces().iter().enumerate() {
        let path = self::path("interface", interface, position);
        if let Some(network) = interface.source.as_ref().and_then(|source| source.network.as_deref()) {
            let at = format!("{path}.source.network");
            ask(at, Reference::Network(network), &format!("network '{network}'"), "define it, or name another");
        }
        if let Some(filter) = interface.filterref.as_ref().and_then(|filter| filter.filter.as_deref()) {
            let at = format!("{path}.filterref.filter");
            ask(at, Reference::Filter(filter), &format!("network filter '{filter}'"), "define it, or name another");
        }
    }
}

fn of_auth(auth: &Auth) -> Option<(Reference<'_>, String)> {
    let secret = auth.secret.as_ref()?;
    of_secret(secret.uuid, secret.usage.as_deref())
}

fn of_encryption(encryption: &Encryption) -> impl Iterator<Item = (Reference<'_>, String)> {
    encryption.secret.iter().filter_map(|secret| of_secret(secret.uuid, secret.usage.as_deref()))
}

fn of_secret(uuid: Option<Uuid>, usage: Option<&str>) -> Option<(Reference<'_>, String)> {
    let by_usage = || usage.map(|usage| (Reference::SecretUsage(usage), format!("secret for '{usage}'")));
    uuid.map(|uuid| (Reference::Secret(uuid), format!("secret {uuid}"))).or_else(by_usage)
}
