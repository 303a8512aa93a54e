//! Random models go through XML and JSON unchanged; random text never makes the parser panic.

use kvm_xml::element::{Element, Item, Kind, Place};
use kvm_xml::leaf::{Expected, Format};
use kvm_xml::{
    Capabilities, Document, Domain, DomainBackup, DomainCapabilities, DomainCheckpoint, DomainSnapshot, HostInterface,
    Network, NetworkFilter, NetworkFilterBinding, NetworkPort, NodeDevice, ParseOptions, Secret, StoragePool,
    StoragePoolCapabilities, StorageVolume, diff,
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
            if element.shape().fields[index].form.is_some_and(|form| form.check(value).is_err()) {
                continue;
            }
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
    canonical(&model)?;
    let json = serde_json::to_string(&model).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let back: T = serde_json::from_str(&json).map_err(|error| TestCaseError::fail(format!("{error}\n{json}")))?;
    prop_assert_eq!(back.to_xml(), text);
    Ok(())
}

/// A field of a document: the fields and items on the way down to its element, and its own number.
type Spot = (Vec<(usize, usize)>, usize);

/// The fields of `element` and of what is below it that hold something.
fn places(element: &dyn Element, way: &[(usize, usize)], found: &mut Vec<Spot>) {
    for (index, field) in element.shape().fields.iter().enumerate() {
        let slot = element.slot(index);
        if slot.count() == 0 {
            continue;
        }
        found.push((way.to_vec(), index));
        for item in (0..slot.count()).filter(|_| field.kind == Kind::Element) {
            if let Some(Item::Element(child)) = slot.item(item) {
                places(child, &[way, &[(index, item)]].concat(), found);
            }
        }
    }
}

fn descend<'a>(element: &'a mut dyn Element, way: &[(usize, usize)]) -> &'a mut dyn Element {
    let Some(((index, item), rest)) = way.split_first() else { return element };
    descend(element.slot_mut(*index).element_mut(*item).expect("was there"), rest)
}

/// The lines that only one of two texts has.
fn difference<'a>(old: &'a str, new: &'a str) -> (Vec<&'a str>, Vec<&'a str>) {
    let (mut gone, mut come): (Vec<&str>, Vec<&str>) = (old.lines().collect(), Vec::new());
    for line in new.lines() {
        match gone.iter().position(|other| *other == line) {
            Some(same) => drop(gone.remove(same)),
            None => come.push(line),
        }
    }
    (gone, come)
}

/// Changes or removes one thing in a document, and sees that nothing else has changed.
fn edit<T: Document + PartialEq + Debug>(name: &str, choice: usize, value: usize) -> Result<(), TestCaseError> {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/xml").join(name);
    let before = std::fs::read_to_string(&file).map_err(|error| TestCaseError::fail(format!("{name}: {error}")))?;
    let mut model = T::from_xml(&before).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let mut found = Vec::new();
    places(&model, &[], &mut found);
    let (way, index) = found.swap_remove(choice % found.len());
    let element = descend(&mut model, &way);
    let field = &element.shape().fields[index];
    let leaf = field.kind == Kind::Leaf && !field.many;
    let count = element.slot(index).count();
    element.slot_mut(index).clear();
    let changed = leaf && value > 0;
    if changed {
        Choices(vec![u8::try_from(value % 256).unwrap_or_default()].into_iter()).leaf(element, index);
    }
    let after = model.to_xml();
    let (gone, come) = difference(&before, &after);
    let what = format!("{name}: {}.{}: {gone:?} became {come:?}", element_name(&mut model, &way), field.key);
    if changed || field.place == Place::Attribute || field.place == Place::Text {
        // A text with line ends takes more than one.
        prop_assert!(gone.len() <= 1 || gone.concat().contains("Two"), "{what}");
        prop_assert!(come.len() <= 1 || come.concat().contains("two"), "{what}");
    } else if come.is_empty() {
        prop_assert!(gone.iter().filter(|line| line.contains(field.name)).count() >= count, "{what}");
    } else {
        // The last child is gone: the element that was around it closes in one tag.
        prop_assert!(come.len() == 1 && come.concat().ends_with("/>"), "{what}");
    }
    prop_assert_eq!(T::from_xml(&after).map_err(|error| TestCaseError::fail(error.to_string()))?, model);
    Ok(())
}

fn element_name(model: &mut dyn Element, way: &[(usize, usize)]) -> &'static str {
    descend(model, way).shape().name
}

/// The canonical form says what the document says, and has only one form itself.
fn canonical<T: Document + PartialEq + Debug>(model: &T) -> Result<(), TestCaseError> {
    let form = model.canonical();
    let options = ParseOptions { max_bytes: usize::MAX, ..ParseOptions::LENIENT };
    let read = T::from_xml_with(&form, &options).map_err(|error| TestCaseError::fail(format!("{error}\n{form}")))?;
    prop_assert_eq!(&read, model, "{}", form);
    prop_assert_eq!(read.canonical(), form);
    prop_assert_eq!(diff(&read, model), []);
    Ok(())
}

/// Changes the value of one field somewhere in the model; `false` when there is none.
fn change(element: &mut dyn Element, choices: &mut Choices) -> bool {
    let fields = element.shape().fields.len();
    let start = choices.next() * 256 + choices.next();
    for index in (0..fields).map(|offset| (start + offset) % fields) {
        let slot = element.slot_mut(index);
        let count = slot.count();
        for item in 0..count {
            if let Some(child) = slot.element_mut(item)
                && change(child, choices)
            {
                return true;
            }
        }
        if count > 0 {
            slot.clear();
            return true;
        }
    }
    false
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
        check::<HostInterface>(bytes.clone())?;
        check::<NetworkPort>(bytes.clone())?;
        check::<NodeDevice>(bytes.clone())?;
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
    fn an_edit_of_a_domain_changes_its_own_line_only(
        name in prop::sample::select(vec!["boot", "consoles", "disks", "foreign", "network", "tuning"]),
        choice in any::<usize>(),
        value in 0_usize..64,
    ) {
        edit::<Domain>(&format!("domain-{name}.xml"), choice, value)?;
    }

    #[test]
    fn an_edit_of_another_document_changes_its_own_line_only(choice in any::<usize>(), value in 0_usize..64) {
        edit::<Network>("network.xml", choice, value)?;
        edit::<StoragePool>("pool-rbd.xml", choice, value)?;
        edit::<StorageVolume>("volume.xml", choice, value)?;
        edit::<Capabilities>("capabilities.xml", choice, value)?;
        edit::<DomainCapabilities>("domain-capabilities.xml", choice, value)?;
    }

    #[test]
    fn documents_are_equal_when_their_canonical_forms_are(bytes in choices(), choice in choices()) {
        let mut model = Domain::default();
        Choices(bytes.into_iter()).fill(&mut model, 0);
        let mut other = model.clone();
        prop_assert_eq!(model.canonical(), other.canonical());
        if change(&mut other, &mut Choices(choice.into_iter())) {
            prop_assert_ne!(&model, &other);
            prop_assert_ne!(model.canonical(), other.canonical());
            prop_assert_ne!(model.digest(), other.digest());
            prop_assert!(!diff(&model, &other).is_empty());
            prop_assert!(!diff(&other, &model).is_empty());
        }
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
            canonical(&domain)?;
            let json = serde_json::to_string(&domain).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let back: Domain = serde_json::from_str(&json).map_err(|error| TestCaseError::fail(format!("{error}\n{json}")))?;
            prop_assert_eq!(back.to_xml(), written);
        }
    }
}
