//! Mediated devices: parts of a device that guests get on their own.

use kvm_xml::NodeDevice;
use kvm_xml::node_device::{Capability, CapabilityType, DeviceType, MdevType, NodeParent};

use crate::text::{printable_within, refused};
use crate::{Error, ErrorKind, HostDeviceName, MdevId, Resource, Result};

/// The longest name of a type.
const LONGEST: usize = 128;

/// A mediated device that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MdevSpec {
    parent: HostDeviceName,
    kind: String,
    id: MdevId,
}

impl MdevSpec {
    /// A device of this type, out of this parent. `InvalidInput` when the type is not of letters, digits, `-`, `_` and `.`:
    /// it becomes a part of a path below `/sys`.
    pub fn new(parent: HostDeviceName, kind: &str, id: MdevId) -> Result<Self> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if kind.is_empty() || kind.len() > LONGEST || kind.starts_with('.') || !kind.chars().all(is_word) {
            let why = "is not of letters, digits, '-', '_' and '.'; write it as its parent tells it, like nvidia-222";
            return Err(refused("type", "type of mediated device", kind, why));
        }
        Ok(Self { parent, kind: kind.to_owned(), id })
    }

    /// The device that it is made out of.
    #[must_use]
    pub fn parent(&self) -> &HostDeviceName {
        &self.parent
    }

    /// What is made of it, in the vendor's words.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The uuid that the device gets.
    #[must_use]
    pub fn id(&self) -> MdevId {
        self.id
    }

    /// Whether the parent can make it, by the parent's document. `InvalidInput` when it makes none of this type,
    /// `InvalidState` when it has made all that it can.
    pub fn check(&self, parent: &NodeDevice) -> Result<()> {
        let types: Vec<_> = types(parent).collect();
        let known = types.iter().find(|kind| kind.id.as_deref() == Some(&self.kind));
        let Some(kind) = known else {
            let names: Vec<_> = types.iter().filter_map(|kind| kind.id.as_deref()).collect();
            let text = format!("{} makes no mediated devices of the type {}", self.parent, self.kind);
            return Err(Error::invalid("type", text).with_detail(match names.is_empty() {
                true => "it makes none at all".into(),
                false => format!("it makes {}", printable_within(&names.join(", "), 400)),
            }));
        };
        match kind.available_instances {
            Some(0) => {
                let text = format!("{} has made all devices of the type {} that it can", self.parent, self.kind);
                Err(Error::new(ErrorKind::InvalidState, text).on(Resource::HostDevice(self.parent.as_str().into())))
            }
            _ => Ok(()),
        }
    }

    /// The document that makes it.
    #[must_use]
    pub fn document(&self) -> NodeDevice {
        NodeDevice {
            parent: Some(NodeParent { value: Some(self.parent.as_str().to_owned()), ..NodeParent::default() }),
            capability: vec![Capability {
                r#type: Some(CapabilityType::Mdev),
                type_el: Some(DeviceType { id: Some(self.kind.clone()), ..DeviceType::default() }),
                uuid: Some(self.id.into()),
                ..Capability::default()
            }],
            ..NodeDevice::default()
        }
    }
}

/// What can be made out of a device.
fn types(device: &NodeDevice) -> impl Iterator<Item = &MdevType> {
    device.capability.iter().flat_map(|capability| &capability.capability).flat_map(|nested| &nested.type_el)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_xml::Document as _;

    const PARENT: &str = "<device><name>pci_0000_41_00_0</name><capability type='pci'><capability type='mdev_types'>\
        <type id='a-1'><availableInstances>1</availableInstances></type>\
        <type id='a-2'><availableInstances>0</availableInstances></type></capability></capability></device>";

    fn spec(kind: &str) -> Result<MdevSpec> {
        let parent = HostDeviceName::adopt("pci_0000_41_00_0")?;
        MdevSpec::new(parent, kind, MdevId::parse("83b8f4f2-509f-382f-3c1e-e6bfe0fa1001")?)
    }

    #[test]
    fn a_parent_makes_what_it_names_as_long_as_some_are_left() {
        let parent = NodeDevice::from_xml(PARENT).unwrap();
        assert!(spec("a-1").unwrap().check(&parent).is_ok());
        assert_eq!(spec("a-2").unwrap().check(&parent).unwrap_err().kind(), ErrorKind::InvalidState);
        let e = spec("b-1").unwrap().check(&parent).unwrap_err();
        assert_eq!((e.kind(), e.detail()), (ErrorKind::InvalidInput, Some("it makes a-1, a-2")));
    }

    #[test]
    fn a_hostile_type_is_refused() {
        for kind in ["", "..", "../x", "a b", "a/b", "'/><x", "ä", &"a".repeat(1 << 20)] {
            assert_eq!(spec(kind).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn the_document_is_what_libvirt_makes_devices_of() {
        let xml = spec("a-1").unwrap().document().to_xml();
        let written = "<device>\n  <parent>pci_0000_41_00_0</parent>\n  <capability type='mdev'>\n    <type id='a-1'/>\n    \
             <uuid>83b8f4f2-509f-382f-3c1e-e6bfe0fa1001</uuid>\n  </capability>\n</device>\n";
        assert_eq!(xml, written);
    }
}
