//! Random models go through XML and JSON unchanged; random text never makes the parser panic.

use kvm_xml::element::{Element, Kind};
use kvm_xml::leaf::{Expected, Format};
use kvm_xml::{
    Capabilities, Document, Domain, DomainBackup, DomainCapabilities, DomainCheckpoint, DomainSnapshot, Network,
    NetworkFilter, NetworkFilterBinding, ParseOptions, Secret, StoragePool, StoragePoolCapabilities, StorageVolume,
};
use proptest::prelude::*;
use serde_core::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

/// Values, of which most fields take at least one.
const VALUES: &[&str] = &[
    "1",
    "7",
    "16",
    "yes",
    "vda",
    "/a b/c&d<e>'\".img",
    "52:54:00:00:00:01",
    "192.0.2.1",
    "2001:db8::1",
    "0-3,^2",
    "6f1c1a40-5b0e-4c3c-9d3b-0d6f7d1f4b7a",
    "KiB",
    "0644",
    "5000c50015ea71ad",
    "2030-01-01T00:00:00",
    "1700000000.5",
    "1.1",
    "naa.5000c50015ea71ad",
    "00:04:00:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f",
    "GenuineIntel",
    "llc_occupancy",
    "two\nlines\tand \u{1F600} ",
    "reset",
    "-1",
    "$IP[@1]",
    "root",
    "arp",
    "NEW,RELATED",
    "SYN,ACK/SYN",
    "src,dst",
];

/// Decides by the bytes of a random text what to put where; zeros when they have run out, so it ends.
struct Choices(std::vec::IntoIter<u8>);

impl Choices {
    fn next(&mut self) -> usize {
        usize::from(self.0.next().unwrap_or_default())
    }

    fn fill(&mut self, element: &mut dyn Element, depth: usize) {
        let shape = element.shape();
        for (index, field) in shape.fields.iter().enumerate() {
            let times = match self.next() {
                0..=170 => 0,
                171..=240 => 1,
                _ if field.many => 3,
                _ => 1,
            };
            for _ in 0..times {
                match field.kind {
                    Kind::Element if depth < 8 => {
                        if let Some(child) = element.slot_mut(index).open() {
                            self.fill(child, depth + 1);
                        }
                    }
                    Kind::Element => {}
                    Kind::Flag => {
                        let _ = element.slot_mut(index).read("", Format::PLAIN);
                    }
                    Kind::Leaf => self.leaf(element, index),
                }
            }
        }
    }

    fn leaf(&mut self, element: &mut dyn Element, index: usize) {
        let format = element.shape().fields[index].format;
        let first = self.next();
        for offset in 0..VALUES.len() {
            let value = VALUES[(first + offset) % VALUES.len()];
            match element.slot_mut(index).read(value, format) {
                Err(Expected::OneOf(words)) => {
                    let word = words[first % words.len()];
                    element.slot_mut(index).read(word, format).expect("one of the words");
                    return;
                }
                Err(Expected::Range(least, greatest)) => {
                    let number = if first.is_multiple_of(2) { i128::from(least) } else { i128::from(greatest) };
                    element.slot_mut(index).read(&number.to_string(), format.decimal()).expect("in the range");
                    return;
                }
                Err(Expected::Once) | Ok(_) => return,
                Err(_) => {}
            }
        }
        panic!("no value fits {}.{}", element.shape().name, element.shape().fields[index].key);
    }
}

fn check<T: Document + PartialEq + Debug + Serialize + DeserializeOwned>(bytes: Vec<u8>) -> Result<(), TestCaseError> {
    let mut model = T::default();
    Choices(bytes.into_iter()).fill(&mut model, 0);
    let text = model.to_xml();
    let options = ParseOptions { max_bytes: usize::MAX, ..ParseOptions::STRICT };
    let read = T::from_xml_with(&text, &options).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
    prop_assert_eq!(read.to_xml(), &*text);
    prop_assert_eq!(&read, &model);
    let json = serde_json::to_string(&model).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let back: T = serde_json::from_str(&json).map_err(|error| TestCaseError::fail(format!("{error}\n{json}")))?;
    prop_assert_eq!(back.to_xml(), text);
    Ok(())
}

fn choices() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..4000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_random_domain_goes_through_xml_and_json(bytes in choices()) {
        check::<Domain>(bytes)?;
    }

    #[test]
    fn other_random_documents_go_through_xml_and_json(bytes in choices()) {
        check::<Capabilities>(bytes.clone())?;
        check::<DomainCapabilities>(bytes.clone())?;
        check::<Network>(bytes.clone())?;
        check::<StoragePool>(bytes.clone())?;
        check::<StorageVolume>(bytes.clone())?;
        check::<StoragePoolCapabilities>(bytes.clone())?;
        check::<DomainCheckpoint>(bytes.clone())?;
        check::<DomainBackup>(bytes.clone())?;
        check::<Secret>(bytes.clone())?;
        check::<NetworkFilter>(bytes.clone())?;
        check::<NetworkFilterBinding>(bytes)?;
    }

    #[test]
    fn a_random_snapshot_goes_through_xml_and_json(bytes in choices()) {
        check::<DomainSnapshot>(bytes)?;
    }

    #[test]
    fn random_text_is_read_or_refused(text in "\\PC*") {
        let _ = Domain::from_xml(&text);
    }

    #[test]
    fn random_markup_is_stable_or_refused(
        parts in proptest::collection::vec(prop::sample::select(vec![
            "<name>", "</name>", "<devices>", "</devices>", "<disk type='file'>", "</disk>", "<x a='1'>", "</x>", "<y/>",
            "text", " ", "\n", "&amp;", "&#65;", "<!-- c -->", "<![CDATA[d]]>", "<vcpu>02</vcpu>", "<vcpu/>", "<?p i?>",
            "<target dev='vda' bus='new'/>", "<metadata>", "</metadata>", "<a:b xmlns:a='urn:a'/>", "<a:b/>", "]]>", "&", "<",
            "<os firmware='efi'/>", "<memory unit='k' z='&lt;'> 5 </memory>",
        ]), 0..40)
    ) {
        let text = format!("<domain>{}</domain>", parts.concat());
        if let Ok(domain) = Domain::from_xml(&text) {
            let written = domain.to_xml();
            let again = Domain::from_xml(&written).map_err(|error| TestCaseError::fail(format!("{error}\n{text}\n{written}")))?;
            prop_assert_eq!(again.to_xml(), &*written);
            prop_assert_eq!(&again, &domain);
            let json = serde_json::to_string(&domain).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let back: Domain = serde_json::from_str(&json).map_err(|error| TestCaseError::fail(format!("{error}\n{json}")))?;
            prop_assert_eq!(back.to_xml(), written);
        }
    }
}
