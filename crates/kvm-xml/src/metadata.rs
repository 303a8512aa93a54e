//! What other programs have written into a document.

use crate::element::{Element, Shape, Slot};
use crate::error::XmlError;
use crate::extra::Extra;
use crate::fragment::Fragment;

/// The `<metadata>` of a document: elements of other programs, one per namespace, kept whole.
///
/// <https://libvirt.org/formatdomain.html#general-metadata>
#[derive(Clone, Default)]
pub struct Metadata {
    /// The elements.
    pub _extra: Extra,
    /// Never set; stands for the fields that this element has not.
    nothing: bool,
}

impl Metadata {
    /// The namespace of KVM Manager's own element. Its attributes are what people note about a machine; its content says
    /// where the machine comes from, and does not go along to a copy.
    pub const NAMESPACE: &'static str = "urn:kvm-manager:metadata:1";
    /// The prefix of KVM Manager's own element.
    pub const PREFIX: &'static str = "kvmm";

    /// The element in the namespace `uri`. It must declare that namespace itself, as libvirt writes it.
    #[must_use]
    pub fn get(&self, uri: &str) -> Option<&Fragment> {
        self._extra.nodes().iter().find(|node| node.namespace().as_deref() == Some(uri))
    }

    /// Replaces the element in the namespace `uri` by `xml`, one element that declares that namespace.
    ///
    /// # Errors
    /// When `xml` is not one well-formed element, or is in another namespace.
    pub fn set(&mut self, uri: &str, xml: &str) -> Result<(), XmlError> {
        let node = Fragment::parse(xml)?;
        if node.namespace().as_deref() != Some(uri) {
            return Err(XmlError::new(format!("the element does not declare the namespace '{uri}'")));
        }
        self.remove(uri);
        self._extra.push_node(node);
        Ok(())
    }

    /// Removes the element in the namespace `uri`.
    pub fn remove(&mut self, uri: &str) {
        self._extra.retain_nodes(|node| node.namespace().as_deref() != Some(uri));
    }
}

impl Element for Metadata {
    fn shape(&self) -> &'static Shape {
        static SHAPE: Shape = Shape { open: true, ..Shape::new("Metadata", "", &[], &[]) };
        &SHAPE
    }
    fn held(&self) -> u128 {
        0
    }
    fn slot(&self, _: usize) -> &dyn Slot {
        &self.nothing
    }
    fn slot_mut(&mut self, _: usize) -> &mut dyn Slot {
        &mut self.nothing
    }
    fn extra(&self) -> &Extra {
        &self._extra
    }
    fn extra_mut(&mut self) -> &mut Extra {
        &mut self._extra
    }
}

impl std::fmt::Debug for Metadata {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        crate::compare::debug(self, f)
    }
}

impl PartialEq for Metadata {
    fn eq(&self, other: &Self) -> bool {
        crate::compare::equal(self, other)
    }
}

#[cfg(feature = "serde")]
impl serde_core::Serialize for Metadata {
    fn serialize<S: serde_core::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::serial::serialize(self, serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde_core::Deserialize<'de> for Metadata {
    fn deserialize<D: serde_core::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut metadata = Self::default();
        crate::serial::deserialize(&mut metadata, deserializer)?;
        Ok(metadata)
    }
}
