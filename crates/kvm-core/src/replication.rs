//! What a machine has to do with copies of itself on other hosts, as its own document says it.

use std::fmt;

use jiff::Timestamp;
use kvm_xml::Fragment;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{DiskPath, HostKey, VmName};

/// The name of our element.
const ELEMENT: &str = "replication";

/// What a machine has to do with copies of itself on other hosts.
///
/// It stands in the machine's metadata, within the element of the [notes](crate::VmNotes):
///
/// ```xml
/// <kvmm:replication role="replica" state="current" source="qemu+ssh://root@kvm1/system" host="…" vm="web" …>
///   <image disk="vda" path="/var/lib/libvirt/images/web.qcow2" root="…"/>
/// </kvmm:replication>
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "kebab-case")]
pub enum Replication {
    /// Replicas of it are kept on other hosts.
    Source {
        /// Where.
        replicas: Vec<Elsewhere>,
    },
    /// It is a replica of a machine on another host, or was one.
    Replica(Replica),
}

/// A host, as a machine of another one knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// How whoever set it up reached it.
    pub target: String,
    /// Which host it is.
    pub host: HostKey,
}

/// A copy of a machine that is kept up to date on another host, until it is promoted there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// What may be done with it.
    pub state: ReplicaState,
    /// The host of its source.
    pub source: Elsewhere,
    /// The name of its source there. Its uuid is the replica's own.
    pub vm: VmName,
    /// Its source is in it as it was then, or a little later.
    pub synced: Timestamp,
    /// In what order the file systems in it are.
    pub consistency: Consistency,
    /// Which sync brought it there.
    pub sync: Uuid,
    /// When it was promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<Timestamp>,
    /// Its images.
    pub images: Vec<ReplicaImage>,
}

/// An image of a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaImage {
    /// The disk's name in the guest: `vda`.
    pub disk: String,
    /// Where it lies.
    pub path: DiskPath,
    /// The digest of all of it after the last sync, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
}

macro_rules! words {
    ($type:ident { $($variant:ident = $word:literal),+ }) => {
        impl $type {
            /// The word for it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            fn named(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(crate) use words;

/// What may be done with a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplicaState {
    /// It is whole, and the next sync may come.
    Current,
    /// It is whole, and somebody sends what changed: another sync has to wait.
    Receiving,
    /// A sync has arrived and is being applied: its images are in between until that is finished.
    Applying,
    /// It is whole, and is tried on an overlay: a sync has to wait.
    Proving,
    /// It is whole, and somebody wants no syncs for now.
    Paused,
    /// It is a machine of its own now, and takes no syncs any more.
    Promoted,
}

words!(ReplicaState {
    Current = "current",
    Receiving = "receiving",
    Applying = "applying",
    Proving = "proving",
    Paused = "paused",
    Promoted = "promoted"
});

/// In what order the file systems of a copy are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consistency {
    /// The machine was off.
    Off,
    /// The guest's agent had brought them in order.
    Application,
    /// As after a power cut.
    Crash,
}

words!(Consistency { Off = "off", Application = "application", Crash = "crash" });

impl Replication {
    /// Reads the element; `None` when it is another one, or one that this version cannot read.
    pub(crate) fn of(element: &Fragment) -> Option<Self> {
        if local(element.name()?) != ELEMENT {
            return None;
        }
        let children = element.children();
        let named = |name: &'static str| children.iter().filter(move |child| child.name().map(local) == Some(name));
        match element.attribute("role")?.as_str() {
            "source" => Some(Self::Source { replicas: named("replica").map(elsewhere).collect::<Option<_>>()? }),
            "replica" => Some(Self::Replica(Replica {
                state: ReplicaState::named(&element.attribute("state")?)?,
                source: elsewhere(element)?,
                vm: VmName::adopt(&element.attribute("vm")?).ok()?,
                synced: element.attribute("synced")?.parse().ok()?,
                consistency: Consistency::named(&element.attribute("consistency")?)?,
                sync: element.attribute("sync")?.parse().ok()?,
                promoted: element
                    .attribute("promoted")
                    .map(|at| at.parse().ok())
                    .map_or(Some(None), |at| at.map(Some))?,
                images: named("image").map(image).collect::<Option<_>>()?,
            })),
            _ => None,
        }
    }

    /// The element, in the namespace that this prefix stands for where there is one.
    pub(crate) fn to_xml(&self, prefix: Option<&str>) -> String {
        let name = |name: &str| prefix.map_or_else(|| name.to_owned(), |prefix| format!("{prefix}:{name}"));
        let (attributes, children): (Vec<(&str, String)>, Vec<String>) = match self {
            Self::Source { replicas } => (
                vec![("role", "source".to_owned())],
                replicas.iter().map(|replica| tag(&name("replica"), &replica.attributes(), &[])).collect(),
            ),
            Self::Replica(replica) => {
                let mut attributes = vec![("role", "replica".to_owned()), ("state", replica.state.to_string())];
                attributes.extend(replica.source.attributes());
                attributes.extend([
                    ("vm", replica.vm.as_str().to_owned()),
                    ("synced", replica.synced.to_string()),
                    ("consistency", replica.consistency.to_string()),
                    ("sync", replica.sync.to_string()),
                ]);
                attributes.extend(replica.promoted.map(|at| ("promoted", at.to_string())));
                let image = |image: &ReplicaImage| {
                    let mut attributes = vec![("disk", image.disk.clone()), ("path", image.path.as_str().to_owned())];
                    attributes.extend(image.root.clone().map(|root| ("root", root)));
                    tag(&name("image"), &attributes, &[])
                };
                (attributes, replica.images.iter().map(image).collect())
            }
        };
        tag(&name(ELEMENT), &attributes, &children)
    }
}

impl Elsewhere {
    pub(crate) fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("target", self.target.clone()), ("host", self.host.as_str().to_owned())]
    }
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.target)
    }
}

impl Replica {
    /// The image of a disk.
    #[must_use]
    pub fn image(&self, disk: &str) -> Option<&ReplicaImage> {
        self.images.iter().find(|image| image.disk == disk)
    }
}

/// A name without its prefix: libvirt gives elements of ours with one or without.
pub(crate) fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

pub(crate) fn elsewhere(element: &Fragment) -> Option<Elsewhere> {
    Some(Elsewhere { target: element.attribute("target")?, host: HostKey(element.attribute("host")?) })
}

fn image(element: &Fragment) -> Option<ReplicaImage> {
    Some(ReplicaImage {
        disk: element.attribute("disk")?,
        path: DiskPath::adopt(&element.attribute("path")?).ok()?,
        root: element.attribute("root"),
    })
}

pub(crate) fn tag(name: &str, attributes: &[(&str, String)], children: &[String]) -> String {
    let mut text = format!("<{name}");
    for (name, value) in attributes {
        text += &format!(" {name}=\"{}\"", escaped(value));
    }
    match children {
        [] => text + "/>",
        children => format!("{text}>{}</{name}>", children.concat()),
    }
}

fn escaped(value: &str) -> String {
    value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use kvm_xml::{Document as _, Domain};

    use super::*;
    use crate::VmNotes;

    fn elsewhere(target: &str) -> Elsewhere {
        Elsewhere { target: target.to_owned(), host: HostKey("here & <there>".to_owned()) }
    }

    fn replica() -> Replication {
        let image = |disk: &str, root: Option<&str>| ReplicaImage {
            disk: disk.to_owned(),
            path: DiskPath::adopt(&format!("/images/a \"b\" & {disk}")).unwrap(),
            root: root.map(ToOwned::to_owned),
        };
        Replication::Replica(Replica {
            state: ReplicaState::Applying,
            source: elsewhere("qemu+ssh://root@one/system"),
            vm: "web".parse().unwrap(),
            synced: "2030-01-02T03:04:05Z".parse().unwrap(),
            consistency: Consistency::Application,
            sync: "6f1c1a40-5b0e-4c3c-9d3b-0d6f7d1f4b7a".parse().unwrap(),
            promoted: None,
            images: vec![image("vda", Some("00ff")), image("vdb", None)],
        })
    }

    fn domain(metadata: &str) -> Domain {
        Domain::from_xml(&format!("<domain><name>a</name><metadata>{metadata}</metadata></domain>")).unwrap()
    }

    #[test]
    fn what_is_written_into_a_document_is_read_back_and_goes_again() {
        let source = Replication::Source { replicas: vec![elsewhere("mock:///a"), elsewhere("mock:///b")] };
        for replication in [replica(), source] {
            let other = "<k:notes xmlns:k='urn:kvm-manager:metadata:1' tags='ci'><k:clone of='web'/></k:notes>";
            for metadata in ["", other] {
                let mut document = domain(metadata);
                let notes = VmNotes { replication: Some(replication.clone()), ..VmNotes::of(&document) };
                notes.apply_to(&mut document).unwrap();
                let again = Domain::from_xml(&document.to_xml()).unwrap();
                assert_eq!(VmNotes::of(&again), notes, "{}", document.to_xml());
                VmNotes { replication: None, ..notes }.apply_to(&mut document).unwrap();
                assert_eq!(VmNotes::of(&document).replication, None);
                assert_eq!(document.to_xml().contains("of='web'"), !metadata.is_empty(), "{}", document.to_xml());
            }
        }
    }

    #[test]
    fn the_bare_form_that_libvirt_takes_is_read_as_well() {
        let notes = VmNotes { replication: Some(replica()), ..VmNotes::default() };
        let bare = notes.bare_metadata_xml(None).unwrap().unwrap();
        assert!(bare.starts_with("<notes><replication role=\"replica\""), "{bare}");
        let prefixed = bare.replace("</", "</k:").replace('<', "<k:").replace("<k:/k:", "</k:");
        let document = domain(&prefixed.replacen("<k:notes", "<k:notes xmlns:k='urn:kvm-manager:metadata:1'", 1));
        assert_eq!(VmNotes::of(&document), notes);
        // Written back unchanged it is the same text, and without it nothing is left to say.
        assert_eq!(notes.bare_metadata_xml(Some(&bare)).unwrap().as_deref(), Some(&*bare));
        assert_eq!(VmNotes::default().bare_metadata_xml(Some(&bare)).unwrap(), None);
    }

    #[test]
    fn what_a_later_version_wrote_is_nothing_here_and_stays() {
        let text = "<k:notes xmlns:k='urn:kvm-manager:metadata:1'><k:replication role='mirror' of='x'/></k:notes>";
        let mut document = domain(text);
        let notes = VmNotes::of(&document);
        assert_eq!(notes.replication, None);
        notes.apply_to(&mut document).unwrap();
        assert!(document.to_xml().contains("role='mirror'"), "{}", document.to_xml());
    }
}
