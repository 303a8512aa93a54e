//! What must hold.

use kvm_xml::{Document, ParseOptions, XmlError, diff};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

/// Whatever all kinds of document are.
pub trait Subject: Document + Clone + PartialEq + Debug + Serialize + DeserializeOwned {}

impl<T: Document + Clone + PartialEq + Debug + Serialize + DeserializeOwned> Subject for T {}

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

/// A model comes back from XML and from JSON as it is, and what is written does not change any more.
pub fn stable<T: Subject>(model: &T) {
    let text = model.to_xml();
    let options = ParseOptions { max_bytes: usize::MAX, ..ParseOptions::LENIENT };
    let again = T::from_xml_with(&text, &options).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(again.to_xml(), text);
    assert_eq!(again, *model, "{text}");
    assert_eq!(diff(&again, model), [], "{text}");
    let json = serde_json::to_value(model).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let back: T = serde_json::from_value(json).unwrap_or_else(|error| panic!("{error}\n{text}"));
    // Not the same text: the order of unknown attributes means nothing, and a map has none.
    assert_eq!(back, *model, "{text}");
    let _shown = format!("{:?}", model.redacted());
}

fn one_line(error: &XmlError) {
    let line = error.to_string();
    assert!(line.len() < 3000 && !line.chars().any(char::is_control), "{line:?}");
}
