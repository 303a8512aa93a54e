//! What holds for every document.

use super::*;
use kvm_xml::element::Element;
use kvm_xml::rewrite::Refusal;
use kvm_xml::rewrite::policy;
use proptest::prelude::*;
use std::io::Write;
use std::path::PathBuf;

/// Facts under which nothing has to be refused for lack of an answer.
fn willing(place: Place) -> Facts<'static> {
    let mut last = 0_u32;
    Facts {
        name: Some("a-name-for-the-copy".into()),
        place,
        mac: Box::new(move || {
            last += 1;
            let [a, b, c, d] = last.to_be_bytes();
            Some(MacAddr([2, 0xfe ^ a, b, c, d, 0xfe]))
        }),
        locate: Box::new(|request| {
            let name: String = request.path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
            Some(kvm_xml::rewrite::Location::File(format!("/copies/{name}-{}", request.from.to_string().len())))
        }),
        ..facts()
    }
}

/// Documents of the test data and, where `KVM_XML_CORPUS` names a folder, all domains in it.
#[expect(clippy::disallowed_methods, reason = "where the files are is the business of whoever runs the tests")]
fn documents() -> Vec<(PathBuf, Domain)> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/xml");
    let mut files = Vec::new();
    collect(&data, &mut files);
    files.retain(|file| std::fs::read_to_string(file).is_ok_and(|text| text.starts_with("<domain ")));
    assert!(files.len() > 20, "{files:?}");
    match std::env::var_os("KVM_XML_CORPUS") {
        Some(root) => {
            let mut found = Vec::new();
            collect(Path::new(&root), &mut found);
            found.retain(|file| file.parent().is_some_and(|folder| folder.ends_with("domain")));
            assert!(!found.is_empty(), "no domains in {}", Path::new(&root).display());
            files.append(&mut found);
        }
        None => {
            let _ = writeln!(std::io::stderr(), "KVM_XML_CORPUS is not set: no real documents were rewritten");
        }
    }
    let read = |file: PathBuf| {
        let text = std::fs::read_to_string(&file).expect("a text");
        let domain = Domain::from_xml(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        (file, domain)
    };
    files.into_iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "xml") {
            files.push(path);
        }
    }
}

/// Attributes and elements that no field stands for.
fn foreign(element: &dyn Element, found: &mut Vec<String>) {
    let extra = element.extra();
    found.extend(
        extra.attributes().iter().filter(|(name, _)| !name.starts_with("xmlns")).map(|pair| format!("{pair:?}")),
    );
    found.extend(extra.nodes().iter().map(ToString::to_string));
    for index in 0..element.shape().fields.len() {
        for item in element.slot(index).items() {
            if let kvm_xml::element::Item::Element(child) = item {
                foreign(child, found);
            }
        }
    }
}

/// All five operations on one document: either a refusal with a field and a fix, or a document that can be read.
fn operate(what: &str, domain: &Domain) -> usize {
    let is_strict = Domain::from_xml_strict(&domain.to_xml()).is_ok();
    let mut done = 0;
    for (name, policy) in OPERATIONS {
        let place = if policy == Policy::RESTORE { Place::SameHost } else { Place::OtherHost };
        let copy = match rewrite(domain, &policy, &mut willing(place)) {
            Ok(copy) => copy,
            Err(error) => {
                let known = [Refusal::TwoWriters, Refusal::Unknown, Refusal::LocationTaken, Refusal::Unreachable];
                assert!(known.contains(&error.kind), "{what}, {name}: {error}");
                assert!(!error.field.is_empty() && !error.fix.is_empty(), "{what}, {name}: {error}");
                continue;
            }
        };
        done += 1;
        told_completely(domain, &copy);
        let text = copy.domain.to_xml();
        let read = Domain::from_xml(&text).unwrap_or_else(|error| panic!("{what}, {name}: {error}\n{text}"));
        assert_eq!(read, copy.domain, "{what}, {name}");
        if is_strict {
            Domain::from_xml_strict(&text).unwrap_or_else(|error| panic!("{what}, {name}: {error}\n{text}"));
        }
        let again = rewrite(domain, &policy, &mut willing(place)).expect("the same arguments give the same answer");
        assert_eq!(again, copy, "{what}, {name}");
    }
    done
}

#[test]
fn every_document_is_rewritten_or_refused_with_a_reason() {
    let documents = documents();
    let done: usize = documents.iter().map(|(file, domain)| operate(&file.display().to_string(), domain)).sum();
    assert!(done * 10 > documents.len() * OPERATIONS.len() * 9, "{done} of {}", documents.len() * OPERATIONS.len());
}

#[test]
fn keeping_everything_changes_nothing() {
    for (file, domain) in documents() {
        let copy = rewrite(&domain, &Policy::KEEP, &mut Facts::default()).expect("nothing is asked");
        assert_eq!((copy.domain.to_xml(), copy.domain), (domain.to_xml(), domain), "{}", file.display());
        assert!(copy.changes.is_empty() && copy.warnings.is_empty() && copy.copies.is_empty(), "{}", file.display());
    }
}

#[test]
fn what_this_version_does_not_know_is_kept() {
    let text =
        testdata("domain-foreign.xml").replace("<target dev='vdb'/>", "<source file='/b' odd='1'/><target dev='vdb'/>");
    let domain = Domain::from_xml(&text).expect("well-formed");
    let found = |domain: &Domain| {
        let mut found = Vec::new();
        foreign(domain, &mut found);
        found.retain(|part| !part.contains("urn:kvm-manager"));
        found
    };
    assert!(found(&domain).iter().any(|part| part.contains("odd")));
    for (name, policy) in OPERATIONS {
        let copy =
            rewrite(&domain, &policy, &mut willing(Place::OtherHost)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(found(&copy.domain), found(&domain), "{name}");
    }
}

#[test]
fn each_field_of_a_policy_acts_alone() {
    type Override = fn(&mut Policy);
    let fields: [(&str, Override); 12] = [
        ("uuid", |policy| policy.uuid = policy::Identity::New),
        ("genid", |policy| policy.genid = policy::Genid::New),
        (".source", |policy| policy.network = policy::Network::Map),
        (".serial", |policy| policy.serial = policy::Serial::Drop),
        ("devices.disk", |policy| policy.media = policy::Media::Eject),
        ("os.nvram", |policy| policy.nvram = Files::Rename),
        ("devices.tpm", |policy| policy.tpm = policy::Tpm::Fresh),
        ("devices.graphics", |policy| policy.graphics = policy::Graphics::Auto),
        ("passwd", |policy| policy.password = policy::Password::Drop),
        ("devices.vsock", |policy| policy.vsock = policy::Vsock::Auto),
        ("seclabel", |policy| policy.seclabel = policy::Seclabel::Drop),
        ("metadata", |policy| policy.lineage = policy::Lineage::Replace),
    ];
    for (part, change) in fields {
        let policy = only(change);
        let copy = rewrite(&identity(), &policy, &mut Facts { name: Some("other".into()), ..facts() })
            .expect("has all it needs");
        assert!(!copy.changes.is_empty(), "{part}");
        // What follows another field.
        let follows = ["name", "sysinfo", "wwn"];
        let other = copy.changes.iter().map(|edit| &edit.change.path).find(|path| {
            !path.contains(part)
                && !follows.iter().any(|follower| path.starts_with(follower) || path.ends_with(follower))
        });
        assert_eq!(other, None, "{part}");
    }
}

/// Devices of all kinds, well-formed and not very sensible.
fn device() -> impl Strategy<Value = String> {
    let path = prop::sample::select(vec!["/vm/web.img", "/dev/vg/web", "relative", "/a b/ö.img", "/", ""]);
    let kind = prop::sample::select(vec!["file", "block", "volume", "network", "dir", "nvme", "vhostuser", "new"]);
    let end = prop::sample::select(vec!["unix", "file", "pipe", "dev", "tcp", "pty", "spicevmc", "new"]);
    prop_oneof![
        (kind, path.clone(), any::<[bool; 3]>()).prop_map(|(kind, path, [readonly, drive, below])| format!(
            "<disk type='{kind}' device='{}'><source file='{path}' dev='{path}' x='1'/>{}<target dev='vda'/>{}<odd/></disk>",
            if drive { "cdrom" } else { "disk" },
            if below { "<backingStore type='file'><source file='/b'/><backingStore/></backingStore>" } else { "" },
            if readonly { "<readonly/>" } else { "" },
        )),
        (end.clone(), path.clone())
            .prop_map(|(end, path)| format!("<serial type='{end}'><source path='{path}' mode='bind'/><log file='{path}'/></serial>")),
        (end, path).prop_map(|(end, path)| format!(
            "<channel type='{end}'><source path='{path}'/><target type='virtio' name='a'/></channel>"
        )),
        prop::sample::select(vec!["network", "bridge", "direct", "hostdev", "vdpa", "user", "new"]).prop_map(|kind| format!(
            "<interface type='{kind}'><mac address='52:54:00:00:00:07'/><source network='a' bridge='b' dev='c'/><target dev='v' z='1'/></interface>"
        )),
        (-1..3_i32).prop_map(|port| format!("<graphics type='vnc' port='{port}' passwd='x'><listen type='address'/></graphics>")),
        Just("<hostdev type='usb'/><redirdev type='spicevmc'/><redirdev/>".to_owned()),
        Just("<tpm><backend type='emulator'/></tpm><tpm/><vsock/><future a='1'><b/></future>".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_machine_is_rewritten_or_refused(devices in proptest::collection::vec(device(), 0..8)) {
        let text = format!("<domain><name>web</name><devices>{}</devices></domain>", devices.concat());
        let domain = Domain::from_xml(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        operate(&text, &domain);
        let kept = rewrite(&domain, &Policy::KEEP, &mut Facts::default()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(kept.changes.is_empty());
        prop_assert_eq!(kept.domain, domain);
    }
}
