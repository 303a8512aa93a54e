//! Who uses an image: by what every machine's documents mention, and by the backing files of all volumes.
//!
//! This decides what may be deleted, so it errs on one side: a machine uses an image when any value of its document
//! mentions the image's path, in whatever element and spelling, or another name of the same file.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::FutureExt as _;
use kvm_core::{
    DiskPath, ErrorKind, Host, MacAddr, PoolInfo, Result, View, VmFilter, VmId, VmName, VmSummary, VolumeInfo,
};
use kvm_xml::Domain;
use kvm_xml::element::{Element, Item};
use kvm_xml::leaf::Scalar;

use crate::parallel;
use crate::place::{Places, volume_name};
use crate::walk::{Found, walk};

/// What only people read: a path there is not a use.
const PROSE: [&str; 3] = ["domain/title", "domain/description", "domain/metadata"];

/// How many paths one look at the file system takes.
const PATHS_AT_ONCE: usize = 500;

/// How long such a look may take.
const LOOK: Duration = Duration::from_secs(30);

/// What the machines and volumes of a host use.
#[derive(Debug)]
pub(crate) struct Usage {
    machines: Vec<Machine>,
    volumes: Vec<VolumeInfo>,
    /// Pools that are not active; what in them uses an image is not known.
    pub(crate) unknown: Vec<PoolInfo>,
    files: Files,
}

/// What one machine uses.
#[derive(Debug)]
struct Machine {
    id: VmId,
    name: VmName,
    mentions: Mentions,
}

/// Who else uses an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Users {
    /// Machines.
    pub(crate) machines: Vec<VmName>,
    /// Volumes that are overlays of it, written `pool/name`.
    pub(crate) overlays: Vec<String>,
}

impl Users {
    /// In words: `used by db and web`, `backing file of a/b.qcow2`.
    pub(crate) fn describe(&self) -> Option<String> {
        let machines: Vec<_> = self.machines.iter().map(ToString::to_string).collect();
        let used = (!machines.is_empty()).then(|| format!("used by {}", listed(&machines)));
        let below = (!self.overlays.is_empty()).then(|| format!("backing file of {}", listed(&self.overlays)));
        let parts: Vec<_> = used.into_iter().chain(below).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
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

impl Usage {
    /// Looks at every machine, in both its documents, and at every volume of every active pool.
    pub(crate) async fn read(host: &Host, places: &Places<'_>) -> Result<Self> {
        let vms = host.hypervisor.list(&VmFilter::all()).await?;
        let mut machines = Vec::new();
        for read in parallel::for_each(&vms, |vm| machine(host, vm).boxed()).await {
            machines.extend(read?);
        }
        let mut volumes = Vec::new();
        let pools: Vec<_> = places.active().collect();
        for pool in pools {
            volumes.extend(host.storage.volumes(&pool.name).await?);
        }
        let paths = machines.iter().flat_map(|m: &Machine| m.mentions.paths.iter().cloned());
        let images = volumes.iter().flat_map(|v| [Some(&v.path), v.backing.as_ref()]).flatten();
        let files = Files::read(host, paths.chain(images.map(|p| normal(p.as_str()))).collect()).await;
        Ok(Self { machines, volumes, unknown: places.inactive().cloned().collect(), files })
    }

    /// Who uses the image at this path, other than this machine.
    pub(crate) fn of(&self, path: &DiskPath, except: Option<&VmId>) -> Users {
        let names = self.names(path);
        let volumes: Vec<_> = self.volumes.iter().filter(|v| names.contains(&normal(v.path.as_str()))).collect();
        let uses = |machine: &&Machine| {
            names.iter().any(|name| machine.mentions.mention(name))
                || volumes.iter().any(|v| machine.mentions.volumes.contains(&volume_name(v)))
        };
        let below = |v: &&VolumeInfo| v.backing.as_ref().is_some_and(|b| names.contains(&normal(b.as_str())));
        Users {
            machines: self
                .machines
                .iter()
                .filter(|m| Some(&m.id) != except)
                .filter(uses)
                .map(|m| m.name.clone())
                .collect(),
            overlays: self.volumes.iter().filter(below).map(volume_name).collect(),
        }
    }

    /// Whether another machine has this hardware address.
    pub(crate) fn owner_of(&self, mac: &MacAddr, except: Option<&VmId>) -> Option<&VmName> {
        let text = mac.to_string();
        let other = |m: &&Machine| Some(&m.id) != except && m.mentions.macs.contains(&text);
        self.machines.iter().find(other).map(|m| &m.name)
    }

    /// The path and every other path that is known to lead to the same file.
    fn names(&self, path: &DiskPath) -> BTreeSet<String> {
        let path = normal(path.as_str());
        let mut names: BTreeSet<_> = self.files.same_as(&path).map(ToOwned::to_owned).collect();
        names.insert(path);
        names
    }
}

async fn machine(host: &Host, vm: &VmSummary) -> Result<Option<Machine>> {
    let mut mentions = Mentions::default();
    let views = if vm.state.is_active() { vec![View::CONFIG, View::LIVE] } else { vec![View::CONFIG] };
    for view in views {
        match host.hypervisor.definition(&vm.id, view).await {
            Ok(document) => mentions.read(&document),
            // It went away while we looked.
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        }
    }
    Ok(Some(Machine { id: vm.id, name: vm.name.clone(), mentions }))
}

/// What a machine's documents mention.
#[derive(Debug, Default)]
struct Mentions {
    /// Absolute paths, normalised.
    paths: BTreeSet<String>,
    /// Directories that the guest sees as a whole.
    shared: BTreeSet<String>,
    /// Volumes, written `pool/name`.
    volumes: BTreeSet<String>,
    /// Other text with a slash in it: arguments, unknown elements.
    texts: Vec<String>,
    /// Hardware addresses, in lower case.
    macs: BTreeSet<String>,
}

impl Mentions {
    fn read(&mut self, document: &Domain) {
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

    fn mention(&self, path: &str) -> bool {
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

/// The path without `//`, `/.` and a slash at the end. `..` stays: where it leads depends on links.
pub(crate) fn normal(path: &str) -> String {
    let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    format!("/{}", parts.join("/"))
}

/// Which paths lead to one file, by device and inode: through links, symbolic or hard, and through `..`.
#[derive(Debug, Default)]
struct Files {
    identity: BTreeMap<String, String>,
}

impl Files {
    /// Asks the host's file system. Paths that are not there, and a host that cannot be asked, are left out: then
    /// equal spelling is all that is known.
    async fn read(host: &Host, paths: BTreeSet<String>) -> Self {
        let paths: Vec<_> = paths.into_iter().collect();
        let mut identity = BTreeMap::new();
        for chunk in paths.chunks(PATHS_AT_ONCE) {
            let mut argv = vec!["stat", "--dereference", "--printf=%d:%i:%n\\0", "--"];
            argv.extend(chunk.iter().map(String::as_str));
            let output = match host.transport.run(&argv, LOOK).await {
                Ok(output) => output,
                Err(e) => {
                    tracing::debug!(error = %e, "links between images cannot be seen");
                    return Self::default();
                }
            };
            identity.extend(parse_stat(&output.stdout));
        }
        Self { identity }
    }

    fn same_as<'a>(&'a self, path: &str) -> impl Iterator<Item = &'a str> {
        let file = self.identity.get(path);
        self.identity.iter().filter(move |(_, other)| Some(*other) == file).map(|(name, _)| name.as_str())
    }
}

/// Reads `device:inode:path`, each ended by a NUL.
fn parse_stat(output: &[u8]) -> impl Iterator<Item = (String, String)> {
    output.split(|b| *b == 0).filter_map(|line| {
        let line = std::str::from_utf8(line).ok()?;
        let (at, _) = line.match_indices(':').nth(1)?;
        Some((line.get(at + 1..)?.to_owned(), line[..at].to_owned()))
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

    #[test]
    fn the_file_system_says_which_names_are_one_file() {
        let files = Files { identity: parse_stat(b"1:2:/a\x001:2:/with:colon\x001:3:/b\0").collect() };
        assert_eq!(files.same_as("/a").collect::<Vec<_>>(), ["/a", "/with:colon"]);
        assert_eq!(files.same_as("/b").collect::<Vec<_>>(), ["/b"]);
        assert_eq!(files.same_as("/unknown").count(), 0);
    }

    #[test]
    fn users_are_described_shortly() {
        let users = Users {
            machines: ["a", "b"].map(|n| VmName::parse(n).unwrap()).into(),
            overlays: ["p/1", "p/2", "p/3"].map(String::from).into(),
        };
        assert_eq!(users.describe().as_deref(), Some("used by a and b, backing file of 3 others"));
        assert_eq!(Users::default().describe(), None);
    }
}
