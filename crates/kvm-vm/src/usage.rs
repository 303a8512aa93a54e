//! Who else uses an image, in the words of plans.

use std::collections::BTreeSet;

use kvm_core::{Host, Result, VmId};
use kvm_image::graph::{Name, Presence, User};

use crate::chain::{DiskGraph, disk_graph};
use crate::place::volume_name;

/// Who else uses an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Users {
    /// Machines.
    pub(crate) machines: Vec<String>,
    /// Images that are overlays of it; volumes are written `pool/name`.
    pub(crate) overlays: Vec<String>,
    /// Images that may be overlays of it, for all that is known.
    pub(crate) unread: Vec<String>,
}

impl Users {
    /// In words: `used by db and web`, `backing file of a/b.qcow2`.
    pub(crate) fn describe(&self) -> Option<String> {
        let used = (!self.machines.is_empty()).then(|| format!("used by {}", listed(&self.machines)));
        let below = (!self.overlays.is_empty()).then(|| format!("backing file of {}", listed(&self.overlays)));
        let parts: Vec<_> = used.into_iter().chain(below).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// Why it cannot be deleted: somebody uses it, or that nobody does cannot be shown.
    pub(crate) fn objection(&self) -> Option<String> {
        let unread = (!self.unread.is_empty())
            .then(|| format!("perhaps below {}, of which it cannot be read what it lies upon", listed(&self.unread)));
        self.describe().or(unread)
    }
}

/// One or two names, or how many.
fn listed(names: &[String]) -> String {
    match names {
        [one] => one.clone(),
        [one, two] => format!("{one} and {two}"),
        many => format!("{} others", many.len()),
    }
}

/// Who uses an image now, other than this machine.
pub(crate) async fn users(host: &Host, image: &Name, except: Option<&VmId>) -> Result<Users> {
    Ok(disk_graph(host).await?.users(image, except))
}

impl DiskGraph {
    /// Who uses the image of this name, other than this machine.
    pub(crate) fn users(&self, image: &Name, except: Option<&VmId>) -> Users {
        let graph = self.graph();
        let partners = except.map(|vm| self.users_of(vm)).unwrap_or_default();
        let at = graph.find(image);
        let image = at.and_then(|at| graph.images().get(at));
        let mut users: BTreeSet<User> = image.iter().flat_map(|image| image.users.keys().cloned()).collect();
        let mut overlays = Vec::new();
        for &overlay in image.iter().flat_map(|image| &image.overlays) {
            // A file in no pool says little to people; the machines that use it say more.
            let through = if self.volume(overlay).is_some() { BTreeSet::new() } else { graph.users_through(overlay) };
            match through.is_empty() {
                true => overlays.push(self.shown(overlay)),
                false => users.extend(through),
            }
        }
        let mut machines: Vec<_> =
            users.iter().filter(|user| !partners.contains(user)).map(|user| user.owner().to_owned()).collect();
        machines.sort();
        machines.dedup();
        let unread = graph
            .images()
            .iter()
            .enumerate()
            .filter(|(other, image)| Some(*other) != at && matches!(image.presence, Presence::Unread { .. }));
        Users { machines, overlays, unread: unread.map(|(other, _)| self.shown(other)).collect() }
    }

    /// How a plan calls an image.
    fn shown(&self, image: usize) -> String {
        match self.volume(image) {
            Some(volume) => volume_name(volume),
            None => self.graph().images().get(image).map(|image| image.name().to_string()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_described_shortly() {
        let users = Users {
            machines: ["a", "b"].map(String::from).into(),
            overlays: ["p/1", "p/2", "p/3"].map(String::from).into(),
            unread: Vec::new(),
        };
        assert_eq!(users.describe().as_deref(), Some("used by a and b, backing file of 3 others"));
        assert_eq!(Users::default().objection(), None);
        let unread = Users { unread: vec!["/x".into()], ..Users::default() };
        assert_eq!(unread.describe(), None);
        assert!(unread.objection().unwrap().contains("/x"));
    }
}
