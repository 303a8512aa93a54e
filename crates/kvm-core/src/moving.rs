//! What a machine's own document says while it moves to another host.

use kvm_xml::Fragment;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Elsewhere;
use crate::replication::{elsewhere, local, tag};

/// The name of our element.
const ELEMENT: &str = "moving";

/// A machine that moves to another host, as long as both hosts may have its definition: neither of them starts it then.
///
/// It stands in the machine's metadata, within the element of the [notes](crate::VmNotes):
///
/// ```xml
/// <kvmm:moving way="leaving" target="qemu+ssh://root@kvm2/system" host="…" move="…"/>
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moving {
    /// Which of the two hosts has this document.
    pub way: Way,
    /// The other host.
    pub other: Elsewhere,
    /// Which move it is: both hosts say the same.
    #[serde(rename = "move")]
    pub id: Uuid,
}

/// Which of the two hosts of a move has a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// The one that the machine was on.
    Leaving,
    /// The one that it goes to.
    Arriving,
}

impl Way {
    fn as_str(self) -> &'static str {
        match self {
            Self::Leaving => "leaving",
            Self::Arriving => "arriving",
        }
    }
}

impl Moving {
    /// Reads the element; `None` when it is another one, or one that this version cannot read.
    pub(crate) fn of(element: &Fragment) -> Option<Self> {
        if local(element.name()?) != ELEMENT {
            return None;
        }
        let way = element.attribute("way")?;
        let way = [Way::Leaving, Way::Arriving].into_iter().find(|known| known.as_str() == way)?;
        Some(Self { way, other: elsewhere(element)?, id: element.attribute("move")?.parse().ok()? })
    }

    /// The element, in the namespace that this prefix stands for where there is one.
    pub(crate) fn to_xml(&self, prefix: Option<&str>) -> String {
        let name = prefix.map_or_else(|| ELEMENT.to_owned(), |prefix| format!("{prefix}:{ELEMENT}"));
        let mut attributes = vec![("way", self.way.as_str().to_owned())];
        attributes.extend(self.other.attributes());
        attributes.push(("move", self.id.to_string()));
        tag(&name, &attributes, &[])
    }
}

#[cfg(test)]
mod tests {
    use kvm_xml::{Document as _, Domain};

    use super::*;
    use crate::{HostKey, Replication, VmNotes};

    #[test]
    fn a_move_is_noted_beside_replicas_and_goes_again() {
        let there = || Elsewhere { target: "mock:///b".to_owned(), host: HostKey("b & <c>".to_owned()) };
        let moving = Moving { way: Way::Arriving, other: there(), id: Uuid::from_u128(7) };
        let replication = Replication::Source { replicas: vec![there()] };
        let mut document = Domain::from_xml("<domain><name>a</name></domain>").unwrap();
        let notes = VmNotes { moving: Some(moving), replication: Some(replication), ..VmNotes::default() };
        notes.apply_to(&mut document).unwrap();
        let again = Domain::from_xml(&document.to_xml()).unwrap();
        assert_eq!(VmNotes::of(&again), notes, "{}", again.to_xml());
        let bare = notes.bare_metadata_xml(None).unwrap().unwrap();
        let without = VmNotes { moving: None, ..notes };
        let left = without.bare_metadata_xml(Some(&bare)).unwrap().unwrap();
        assert_eq!(Some(left), without.bare_metadata_xml(None).unwrap());
        VmNotes::default().apply_to(&mut document).unwrap();
        assert_eq!(document.to_xml(), Domain::from_xml("<domain><name>a</name></domain>").unwrap().to_xml());
    }
}
