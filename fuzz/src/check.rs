//! What must hold.

use kvm_xml::rewrite::{Facts, Policy, rewrite};
use kvm_xml::value::MacAddr;
use kvm_xml::{Document, Domain, Network, ParseOptions, Presence, StoragePool, XmlError, diff};
use serde::{Serialize, de::DeserializeOwned};
use std::any::Any;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hasher};

/// Whatever all kinds of document are.
pub trait Subject: Document + Clone + PartialEq + Debug + Serialize + DeserializeOwned + 'static {}

impl<T: Document + Clone + PartialEq + Debug + Serialize + DeserializeOwned + 'static> Subject for T {}

/// Reads `text` with both parsers: what is refused is refused with one harmless line, what is read is [`stable`].
pub fn reads<T: Subject>(text: &str) -> Option<T> {
    let lenient = T::from_xml(text);
    match (&lenient, T::from_xml_strict(text)) {
        (Ok(lenient), Ok(strict)) => assert_eq!(*lenient, strict, "both parsers read the same"),
        (Ok(_), Err(error)) => one_line(&error),
        (Err(error), Err(strict)) => [error, &strict].into_iter().for_each(one_line),
        (Err(error), Ok(_)) => panic!("only the strict parser reads it: {error}"),
    }
    lenient.inspect(stable).ok()
}

/// A model comes back from XML and from JSON as it is, what is written does not change any more, and whatever else there
/// is to do with a model does it no harm.
pub fn stable<T: Subject>(model: &T) {
    let text = model.to_xml();
    let again: T = read_back(&text);
    assert_eq!(again.to_xml(), text);
    assert_eq!(again, *model, "{text}");
    assert_eq!(diff(&again, model), [], "{text}");
    let json = serde_json::to_value(model).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let back: T = serde_json::from_value(json).unwrap_or_else(|error| panic!("{error}\n{text}"));
    // Not the same text: the order of unknown attributes means nothing, and a map has none.
    assert_eq!(back, *model, "{text}");
    let canonical = model.canonical();
    assert_eq!(read_back::<T>(&canonical).canonical(), canonical, "{text}");
    assert_eq!(again.digest(), model.digest(), "{text}");
    let redacted = model.redacted();
    assert_eq!(read_back::<T>(&redacted.to_xml()), redacted, "{text}");
    let _shown = format!("{model:?}");
    special(model, &text);
}

fn read_back<T: Subject>(text: &str) -> T {
    let options = ParseOptions { max_bytes: usize::MAX, ..ParseOptions::LENIENT };
    T::from_xml_with(text, &options).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What only some kinds of document have: checks of their meaning, and copies of a machine.
fn special<T: Subject>(model: &T, text: &str) {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    // Something to choose by that is the same whenever the document is.
    let choice = hasher.finish();
    let model: &dyn Any = model;
    let problems = if let Some(domain) = model.downcast_ref::<Domain>() {
        copy(domain, choice);
        let answers = [Presence::There, Presence::Absent, Presence::NotLooked];
        domain.validate(&|_| answers[choice as usize % answers.len()])
    } else if let Some(network) = model.downcast_ref::<Network>() {
        network.validate()
    } else if let Some(pool) = model.downcast_ref::<StoragePool>() {
        pool.validate()
    } else {
        return;
    };
    problems.iter().for_each(|problem| assert!(!problem.to_string().chars().any(char::is_control), "{problem:?}"));
}

/// Makes the document of a copy: it is refused, or it is a document.
fn copy(domain: &Domain, choice: u64) {
    let policies = [Policy::KEEP, Policy::CLONE, Policy::REPLICA, Policy::RESTORE, Policy::MOVE, Policy::TEMPLATE];
    let policy = policies[choice as usize % policies.len()];
    let mut last = 0_u8;
    let uuid = "0a4e7c52-9f1d-4d0e-8c35-51b0c9d1a1c4".parse().ok();
    let host = if choice & 64 == 0 { Facts::default() } else { Facts::other_host() };
    let mac = || {
        last = last.checked_add(1)?;
        Some(MacAddr([0x52, 0x54, 0, 0, 0, last]))
    };
    let lineage = (choice & 128 == 0).then(|| "<kvmm:clone of='web'/>".to_owned());
    let mut facts = Facts { uuid, genid: uuid, lineage, mac: Box::new(mac), ..host };
    match rewrite(domain, &policy, &mut facts) {
        Ok(copy) => {
            let text = copy.domain.to_xml();
            assert_eq!(read_back::<Domain>(&text), copy.domain, "{text}");
            assert_eq!(copy.domain == *domain, copy.changes.is_empty(), "{text}");
        }
        Err(error) => assert!(!error.to_string().chars().any(char::is_control), "{error:?}"),
    }
}

fn one_line(error: &XmlError) {
    let line = error.to_string();
    assert!(line.len() < 3000 && !line.chars().any(char::is_control), "{line:?}");
}
