//! Every path, volume and address that a machine's document mentions, in whatever element and spelling.

use std::collections::BTreeSet;

use kvm_xml::Domain;
use kvm_xml::element::{Element, Item};
use kvm_xml::leaf::Scalar;

use super::normal;
use crate::walk::{Found, walk};

/// What only people read: a path there is not a use.
const PROSE: [&str; 3] = ["domain/title", "domain/description", "domain/metadata"];

/// What a machine's documents mention.
#[derive(Debug, Default)]
pub(super) struct Mentions {
    /// Absolute paths, normalised.
    pub(super) paths: BTreeSet<String>,
    /// Directories that the guest sees as a whole.
    shared: BTreeSet<String>,
    /// Volumes, written `pool/name`.
    pub(super) volumes: BTreeSet<String>,
    /// Other text with a slash in it: arguments, unknown elements.
    texts: Vec<String>,
    /// Hardware addresses, in lower case.
    pub(super) macs: BTreeSet<String>,
}

impl Mentions {
    pub(super) fn read(&mut self, document: &Domain) {
        walk(document, "domain", &mut |path, found| {
            if PROSE.iter().any(|prose| path.starts_with(prose)) {
                return;
            }
            match found {
                Found::Element(element) => self.volumes.extend(volume_of(element)),
                Found::Value(text) if path.ends_with("interface/mac/@address") => {
                    self.macs.insert(text.to_ascii_lowercase());
                }
                Found::Value(text) if text.starts_with('/') => {
                    if path.ends_with("filesystem/source/@dir") {
                        self.shared.insert(normal(text));
                    }
                    self.paths.insert(normal(text));
                }
                Found::Value(text) if text.contains('/') => self.texts.push(text.to_owned()),
                Found::Unknown(text) if text.contains('/') => self.texts.push(unescaped(text)),
                Found::Value(_) | Found::Unknown(_) => {}
            }
        });
    }

    pub(super) fn mention(&self, path: &str) -> bool {
        self.paths.contains(path)
            || self.shared.iter().any(|dir| path.strip_prefix(dir.as_str()).is_some_and(|rest| rest.starts_with('/')))
            || self.texts.iter().any(|text| contains_path(text, path))
    }
}

/// The volume that a `<source pool= volume=>` names.
fn volume_of(element: &dyn Element) -> Option<String> {
    let text = |key: &str| {
        let slot = element.slot(element.shape().position(key)?);
        let Item::Leaf(leaf) = slot.item(0)? else { return None };
        match leaf.scalar() {
            Scalar::Str(text) => Some(text.to_owned()),
            _ => None,
        }
    };
    Some(format!("{}/{}", text("pool")?, text("volume")?))
}

/// XML as the text that it stands for, as far as paths may have it.
fn unescaped(xml: &str) -> String {
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    entities.iter().fold(xml.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

/// Whether a text has the path in it and not only the beginning of a longer one.
fn contains_path(text: &str, path: &str) -> bool {
    text.match_indices(path).any(|(at, _)| {
        let next = text[at + path.len()..].chars().next();
        next.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_xml::Document as _;

    fn mentions(devices: &str) -> Mentions {
        let xml = format!(
            "<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>a</name>\
             <description>see /pool/prose.img</description>{devices}</domain>"
        );
        let mut mentions = Mentions::default();
        mentions.read(&Domain::from_xml(&xml).unwrap());
        mentions
    }

    #[test]
    fn a_path_is_found_in_any_element_and_spelling() {
        let m = mentions(
            "<os><kernel>/pool/vmlinuz</kernel></os><devices>\
             <disk><source file='//pool/./a.img'/><mirror file='/pool/m.img'/></disk>\
             <disk><source dev='/dev/vg/lv'><dataStore><source file='/pool/data.raw'/></dataStore></source></disk>\
             <filesystem><source dir='/shared'/></filesystem><thing image='/pool/t&amp;u.img'/></devices>\
             <qemu:commandline><qemu:arg value='file=/pool/q.img,if=none'/></qemu:commandline>",
        );
        for used in [
            "/pool/vmlinuz",
            "/pool/a.img",
            "/pool/m.img",
            "/dev/vg/lv",
            "/pool/data.raw",
            "/shared/x/y.img",
            "/pool/t&u.img",
            "/pool/q.img",
        ] {
            assert!(m.mention(used), "{used} in {m:?}");
        }
        for unused in ["/pool/prose.img", "/pool/a.im", "/pool/q", "/shared-not/a", "/pool/q.img.bak", "/pool"] {
            assert!(!m.mention(unused), "{unused} in {m:?}");
        }
    }

    #[test]
    fn a_volume_is_found_by_its_pool_and_name() {
        let m = mentions("<devices><disk type='volume'><source pool='p' volume='v.img'/></disk></devices>");
        assert!(m.volumes.contains("p/v.img"));
    }
}
