//! Every document of a corpus of real files comes out with the same tree as it went in.
//!
//! The folder is named by the environment variable `KVM_XML_CORPUS`; documents are searched in it by the name of the
//! folder that they are in (`domain`, `network`, ...).

use kvm_xml::{
    Capabilities, Document, Domain, DomainBackup, DomainCapabilities, DomainCheckpoint, DomainSnapshot, Network,
    NetworkFilter, NodeDevice, Secret, StoragePool, StorageVolume, diff,
};
use quick_xml::NsReader;
use quick_xml::events::Event;
use quick_xml::name::{QName, ResolveResult};
use serde_core::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;
use std::io::Write;
use std::path::{Path, PathBuf};

#[test]
#[expect(clippy::disallowed_methods, reason = "where the files are is the business of whoever runs the tests")]
fn real_documents_keep_their_tree() {
    let Some(root) = std::env::var_os("KVM_XML_CORPUS") else {
        // Not through the test's own output, which is only shown when it fails.
        let _ = writeln!(std::io::stderr(), "KVM_XML_CORPUS is not set: no real documents were read");
        return;
    };
    let mut files = Vec::new();
    collect(Path::new(&root), &mut files);
    let mut read = 0;
    for file in files {
        let folder = file.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
        match folder {
            "domain" => check::<Domain>(&file),
            "capabilities" => check::<Capabilities>(&file),
            "domaincapabilities" => check::<DomainCapabilities>(&file),
            "pool" => check::<StoragePool>(&file),
            "volume" => check::<StorageVolume>(&file),
            "network" => check::<Network>(&file),
            "snapshot" => check::<DomainSnapshot>(&file),
            "checkpoint" => check::<DomainCheckpoint>(&file),
            "backup" => check::<DomainBackup>(&file),
            "secret" => check::<Secret>(&file),
            "nwfilter" => check::<NetworkFilter>(&file),
            "nodedev" => check::<NodeDevice>(&file),
            _ => continue,
        }
        read += 1;
    }
    assert!(read > 0, "no documents in {}", Path::new(&root).display());
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

fn check<T: Document + PartialEq + Debug + Serialize + DeserializeOwned>(file: &Path) {
    let text = std::fs::read_to_string(file).expect("a text");
    let model = T::from_xml(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let written = model.to_xml();
    assert_eq!(tree(&text), tree(&written), "{}", file.display());
    let again = T::from_xml(&written).expect("what was written can be read");
    assert_eq!(again, model, "{}", file.display());
    assert_eq!(again.to_xml(), written, "{}", file.display());
    let form = model.canonical();
    let canonical = T::from_xml(&form).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert_eq!(canonical.canonical(), form, "{}", file.display());
    assert_eq!(diff(&canonical, &model), [], "{}", file.display());
    let json = serde_json::to_string(&model).expect("serialises");
    let back: T = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert_eq!(tree(&back.to_xml()), tree(&text), "{} through JSON", file.display());
}

/// The document as a list of steps, without what carries no meaning: order of attributes, places of namespace
/// declarations and the prefixes they give, indentation, comments.
fn tree(text: &str) -> Vec<String> {
    let mut steps: Vec<String> = Vec::new();
    let mut reader = NsReader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut words = String::new();
    loop {
        let event = reader.read_event().expect("well-formed");
        match &event {
            Event::Text(part) => words.push_str(part),
            Event::CData(part) => words.push_str(&quick_xml::escape::escape(&**part)),
            Event::GeneralRef(name) => words.push_str(&format!("&{};", &**name)),
            Event::Start(_) | Event::End(_) | Event::Eof => {
                let said = unescaped(&words);
                if !said.trim().is_empty() {
                    steps.push(said.split_whitespace().collect::<Vec<_>>().join(" "));
                }
                words.clear();
            }
            _ => {}
        }
        match event {
            Event::Start(tag) => {
                let found = tag.attributes().map(|attribute| attribute.expect("well-formed"));
                let found = found.filter(|attribute| !attribute.key.0.starts_with("xmlns"));
                let mut attributes: Vec<String> = found
                    .map(|attribute| {
                        format!("{}={:?}", name(&reader, attribute.key, false), unescaped(&attribute.value))
                    })
                    .collect();
                attributes.sort();
                steps.push(format!("<{} {}>", name(&reader, tag.name(), true), attributes.join(" ")));
            }
            Event::End(tag) => steps.push(format!("</{}>", name(&reader, tag.name(), true))),
            Event::Eof => return steps,
            _ => {}
        }
    }
}

/// The name with its namespace in place of the prefix.
fn name(reader: &NsReader<&[u8]>, name: QName<'_>, is_element: bool) -> String {
    match reader.resolver().resolve(name, is_element) {
        (ResolveResult::Bound(namespace), local) => format!("{{{}}}{}", namespace.0, local.into_inner()),
        _ => name.0.to_owned(),
    }
}

fn unescaped(text: &str) -> String {
    quick_xml::escape::unescape(text).expect("known references").into_owned()
}
