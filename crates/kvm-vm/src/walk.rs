//! Everything that a document says, one value after the other, whatever its element is called.

use kvm_core::text::printable_within;
use kvm_xml::element::{Element, Item, Place};

/// One thing in a document.
pub(crate) enum Found<'a> {
    /// An element, before its content.
    Element(&'a dyn Element),
    /// The value of an attribute or the text of an element.
    Value(&'a str),
    /// XML or an attribute's value that no type stands for.
    Unknown(&'a str),
}

/// Shows every element and value of a document with its path: `domain/devices/disk/source/@file`.
///
/// Attributes are written `@name`; an element of one of libvirt's own namespaces has its prefix.
pub(crate) fn walk(document: &dyn Element, root: &str, visit: &mut dyn FnMut(&str, Found<'_>)) {
    let mut path = root.to_owned();
    element(document, &mut path, visit);
}

fn element(node: &dyn Element, path: &mut String, visit: &mut dyn FnMut(&str, Found<'_>)) {
    visit(path, Found::Element(node));
    for (index, field) in node.shape().fields.iter().enumerate() {
        let slot = node.slot(index);
        let end = path.len();
        match field.place {
            Place::Attribute => *path += &format!("/@{}", field.name),
            Place::Text => {}
            Place::Child => {
                let prefix = field.namespace.map_or(String::new(), |ns| format!("{}:", ns.prefix));
                *path += &format!("/{prefix}{}", field.name);
            }
        }
        for item in slot.items() {
            match item {
                Item::Element(child) => element(child, path, visit),
                Item::Flag => visit(path, Found::Value("")),
                Item::Leaf(leaf) => {
                    let mut text = String::new();
                    leaf.scalar().render(field.format_in(node), &mut text);
                    visit(path, Found::Value(&text));
                }
            }
        }
        path.truncate(end);
    }
    let end = path.len();
    for (name, value) in node.extra().attributes() {
        *path += &format!("/@{}", printable_within(name, 48));
        visit(path, Found::Unknown(value));
        path.truncate(end);
    }
    for fragment in node.extra().nodes() {
        *path += &format!("/{}", printable_within(fragment.name().unwrap_or("#text"), 48));
        visit(path, Found::Unknown(fragment.as_str()));
        path.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_xml::{Document as _, Domain};

    #[test]
    fn every_value_is_shown_with_its_path() {
        let domain = Domain::from_xml(
            "<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>a</name><devices>\
             <disk><source file='/a' odd='/b'/><readonly/></disk><new thing='/c'/></devices>\
             <qemu:commandline><qemu:arg value='-x'/></qemu:commandline></domain>",
        )
        .unwrap();
        let mut seen = Vec::new();
        walk(&domain, "domain", &mut |path, found| match found {
            Found::Element(_) => {}
            Found::Value(text) => seen.push(format!("{path}={text}")),
            Found::Unknown(text) => seen.push(format!("{path}?{text}")),
        });
        for wanted in [
            "domain/@type=kvm",
            "domain/name=a",
            "domain/devices/disk/source/@file=/a",
            "domain/devices/disk/source/@odd?/b",
            "domain/devices/disk/readonly=",
            "domain/devices/new?<new thing='/c'/>",
            "domain/qemu:commandline/qemu:arg/@value=-x",
        ] {
            assert!(seen.iter().any(|line| line == wanted), "{wanted} is not in {seen:#?}");
        }
    }
}
