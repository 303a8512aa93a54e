//! What a trial start of a machine has shown, as the machine's own document keeps it.

use std::fmt;

use jiff::Timestamp;
use kvm_xml::Fragment;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::replication::{local, tag, words};
use crate::text::printable_within;
use crate::{DiskPath, HostKey, VmId, VmName};

/// The name of our element.
const ELEMENT: &str = "proof";

/// Most characters of a text that a receipt keeps: it stands in a machine's document, and guests can say anything.
const MOST: usize = 320;

/// What a trial start of a machine has shown.
///
/// It stands in the machine's metadata, within the element of the [notes](crate::VmNotes), until another trial, or whatever
/// gives the machine other images, takes its place. It is about the machine with this uuid, on this host, with images of
/// these digests: a document that was carried elsewhere by hand shows by them that its receipt is about another machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// What came out.
    pub result: ProofResult,
    /// The machine.
    pub vm: VmName,
    /// Its uuid.
    pub id: VmId,
    /// Its host.
    pub host: HostKey,
    /// When the trial was asked for.
    pub at: Timestamp,
    /// Which trial it was.
    pub trial: Uuid,
    /// What was waited for.
    pub by: ProofKind,
    /// The line of the console that was waited for; at most 320 characters of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// How many seconds it ran until what was waited for came, or until it was given up.
    pub after_seconds: u64,
    /// Where it was not proved: why, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Where it was not proved: what the guest said last on its console, printable, at most 320 characters. Guests can lie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// With what it ran.
    pub versions: ProofVersions,
    /// The images that were read.
    pub images: Vec<ProvedImage>,
}

/// With what a trial ran. What the host does not say is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofVersions {
    /// The management daemon's library, `11.3.0`.
    pub libvirt: Option<String>,
    /// The hypervisor, `10.0.2`.
    pub qemu: Option<String>,
    /// The machine type, `pc-q35-10.0`.
    pub machine: Option<String>,
    /// This program.
    pub kvm_manager: Option<String>,
}

/// An image of a machine that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvedImage {
    /// The disk's name in the guest: `vda`.
    pub disk: String,
    /// Where it lies.
    pub path: DiskPath,
    /// The digest of all of it when the trial began; `None` where the host has no helper to tell.
    pub root: Option<String>,
}

/// What came out of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProofResult {
    /// What was waited for came.
    Proved,
    /// It did not come.
    NotProved,
}

words!(ProofResult { Proved = "proved", NotProved = "not-proved" });

/// What a trial waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProofKind {
    /// The guest's agent answers.
    Agent,
    /// A text on the serial console.
    Console,
}

words!(ProofKind { Agent = "agent", Console = "console" });

impl Receipt {
    /// Whether the machine came up.
    #[must_use]
    pub fn is_proved(&self) -> bool {
        self.result == ProofResult::Proved
    }

    /// A text as a receipt keeps it: printable, and no longer than it may be.
    #[must_use]
    pub fn bounded(text: &str) -> String {
        printable_within(text, MOST).to_string()
    }

    /// Reads the element; `None` when it is another one, or one that this version cannot read.
    pub(crate) fn of(element: &Fragment) -> Option<Self> {
        if local(element.name()?) != ELEMENT {
            return None;
        }
        let text = |name: &str| element.attribute(name).map(|text| Self::bounded(&text));
        let images = element.children();
        let images = images.iter().filter(|child| child.name().map(local) == Some("image"));
        Some(Self {
            result: ProofResult::named(&element.attribute("result")?)?,
            vm: VmName::adopt(&element.attribute("vm")?).ok()?,
            id: VmId::adopt(&element.attribute("id")?).ok()?,
            host: HostKey(element.attribute("host")?),
            at: element.attribute("at")?.parse().ok()?,
            trial: element.attribute("trial")?.parse().ok()?,
            by: ProofKind::named(&element.attribute("by")?)?,
            until: text("until"),
            after_seconds: element.attribute("seconds")?.parse().ok()?,
            why: text("why"),
            seen: text("seen"),
            versions: ProofVersions {
                libvirt: text("libvirt"),
                qemu: text("qemu"),
                machine: text("machine"),
                kvm_manager: text("kvm-manager"),
            },
            images: images.map(image).collect::<Option<_>>()?,
        })
    }

    /// The element, in the namespace that this prefix stands for where there is one.
    pub(crate) fn to_xml(&self, prefix: Option<&str>) -> String {
        let name = |name: &str| prefix.map_or_else(|| name.to_owned(), |prefix| format!("{prefix}:{name}"));
        let mut attributes = vec![
            ("result", self.result.to_string()),
            ("vm", self.vm.as_str().to_owned()),
            ("id", self.id.to_string()),
            ("host", self.host.as_str().to_owned()),
            ("at", self.at.to_string()),
            ("trial", self.trial.to_string()),
            ("by", self.by.to_string()),
            ("seconds", self.after_seconds.to_string()),
        ];
        let ProofVersions { libvirt, qemu, machine, kvm_manager } = &self.versions;
        let texts = [
            ("until", &self.until),
            ("why", &self.why),
            ("seen", &self.seen),
            ("libvirt", libvirt),
            ("qemu", qemu),
            ("machine", machine),
            ("kvm-manager", kvm_manager),
        ];
        attributes.extend(texts.into_iter().filter_map(|(name, text)| Some((name, Self::bounded(text.as_deref()?)))));
        let image = |image: &ProvedImage| {
            let mut attributes = vec![("disk", image.disk.clone()), ("path", image.path.as_str().to_owned())];
            attributes.extend(image.root.clone().map(|root| ("root", root)));
            tag(&name("image"), &attributes, &[])
        };
        tag(&name(ELEMENT), &attributes, &self.images.iter().map(image).collect::<Vec<_>>())
    }
}

fn image(element: &Fragment) -> Option<ProvedImage> {
    Some(ProvedImage {
        disk: element.attribute("disk")?,
        path: DiskPath::adopt(&element.attribute("path")?).ok()?,
        root: element.attribute("root"),
    })
}

#[cfg(test)]
mod tests {
    use kvm_xml::{Document as _, Domain};

    use super::*;
    use crate::{Consistency, Elsewhere, Replica, ReplicaState, Replication, VmNotes};

    fn receipt() -> Receipt {
        Receipt {
            result: ProofResult::NotProved,
            vm: "web".parse().unwrap(),
            id: VmId::adopt("6f1c1a40-5b0e-4c3c-9d3b-0d6f7d1f4b7a").unwrap(),
            host: HostKey("here & <there>".to_owned()),
            at: "2030-01-02T03:04:05Z".parse().unwrap(),
            trial: "0a4e7c52-9f1d-4d0e-8c35-51b0c9d1a1c4".parse().unwrap(),
            by: ProofKind::Console,
            until: Some("\"login:\" & <more>".to_owned()),
            after_seconds: 300,
            why: Some("it did not come".to_owned()),
            seen: None,
            versions: ProofVersions { qemu: Some("10.0.2".to_owned()), ..ProofVersions::default() },
            images: vec![ProvedImage {
                disk: "vda".to_owned(),
                path: DiskPath::adopt("/images/a \"b\" & c").unwrap(),
                root: Some("00ff".to_owned()),
            }],
        }
    }

    fn noted(metadata: &str) -> Domain {
        Domain::from_xml(&format!("<domain><name>a</name><metadata>{metadata}</metadata></domain>")).unwrap()
    }

    #[test]
    fn what_is_written_into_a_document_is_read_back_and_goes_again() {
        let replication = Replication::Replica(Replica {
            state: ReplicaState::Proving,
            source: Elsewhere { target: "mock:///one".to_owned(), host: HostKey("one".to_owned()) },
            vm: "web".parse().unwrap(),
            synced: "2030-01-02T03:04:05Z".parse().unwrap(),
            consistency: Consistency::Off,
            sync: "6f1c1a40-5b0e-4c3c-9d3b-0d6f7d1f4b7a".parse().unwrap(),
            promoted: None,
            images: Vec::new(),
        });
        for replication in [None, Some(replication)] {
            let mut document = noted("<k:notes xmlns:k='urn:kvm-manager:metadata:1'><k:clone of='web'/></k:notes>");
            let notes = VmNotes { proof: Some(receipt()), replication, ..VmNotes::of(&document) };
            notes.apply_to(&mut document).unwrap();
            let again = Domain::from_xml(&document.to_xml()).unwrap();
            assert_eq!(VmNotes::of(&again), notes, "{}", document.to_xml());
            // Each goes without the other.
            VmNotes { proof: None, ..notes.clone() }.apply_to(&mut document).unwrap();
            assert_eq!(VmNotes::of(&document), VmNotes { proof: None, ..notes.clone() });
            VmNotes { replication: None, ..notes }.apply_to(&mut document).unwrap();
            assert_eq!(VmNotes::of(&document).proof, Some(receipt()));
            assert!(document.to_xml().contains("of='web'"), "{}", document.to_xml());
        }
    }

    #[test]
    fn the_bare_form_that_libvirt_takes_is_read_as_well() {
        let notes = VmNotes { proof: Some(receipt()), ..VmNotes::default() };
        let bare = notes.bare_metadata_xml(None).unwrap().unwrap();
        assert!(bare.starts_with("<notes><proof result=\"not-proved\""), "{bare}");
        assert_eq!(notes.bare_metadata_xml(Some(&bare)).unwrap().as_deref(), Some(&*bare));
        assert_eq!(VmNotes::default().bare_metadata_xml(Some(&bare)).unwrap(), None);
    }

    #[test]
    fn what_a_guest_said_is_kept_printable_and_short() {
        let said = format!("\u{1b}[2J{}", "x".repeat(5000));
        let kept = Receipt { seen: Some(said), ..receipt() };
        let mut document = noted("");
        VmNotes { proof: Some(kept), ..VmNotes::default() }.apply_to(&mut document).unwrap();
        let seen = VmNotes::of(&document).proof.unwrap().seen.unwrap();
        assert!(seen.chars().count() <= MOST && !seen.contains('\u{1b}'), "{seen}");
    }

    #[test]
    fn a_receipt_that_this_version_cannot_read_is_none_and_stays() {
        let text = "<k:notes xmlns:k='urn:kvm-manager:metadata:1'><k:proof result='perhaps'/></k:notes>";
        let mut document = noted(text);
        let notes = VmNotes::of(&document);
        assert_eq!(notes.proof, None);
        notes.apply_to(&mut document).unwrap();
        assert!(document.to_xml().contains("perhaps"), "{}", document.to_xml());
    }
}
