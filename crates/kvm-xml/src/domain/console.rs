//! Parallel ports and consoles on their own.

use super::Serial;
use crate::document::Document;
use crate::element::{Element, Shape, Slot};
use crate::extra::Extra;

/// Gives a device that is a [`Serial`] inside of a domain the name that it has outside.
macro_rules! named {
    ($($(#[$meta:meta])* $name:ident = $root:literal;)+) => {$(
        $(#[$meta])*
        #[derive(Clone, Default, Debug, PartialEq)]
        pub struct $name(pub Serial);

        impl Element for $name {
            fn shape(&self) -> &'static Shape {
                self.0.shape()
            }
            fn held(&self) -> u128 {
                self.0.held()
            }
            fn slot(&self, index: usize) -> &dyn Slot {
                self.0.slot(index)
            }
            fn slot_mut(&mut self, index: usize) -> &mut dyn Slot {
                self.0.slot_mut(index)
            }
            fn extra(&self) -> &Extra {
                self.0.extra()
            }
            fn extra_mut(&mut self) -> &mut Extra {
                self.0.extra_mut()
            }
        }
        impl Document for $name {
            const ROOT: &'static str = $root;
        }
        #[cfg(feature = "serde")]
        impl serde_core::Serialize for $name {
            fn serialize<S: serde_core::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }
        #[cfg(feature = "serde")]
        impl<'de> serde_core::Deserialize<'de> for $name {
            fn deserialize<D: serde_core::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Serial::deserialize(deserializer).map(Self)
            }
        }
    )+};
}

named! {
    /// A parallel port as a document: `Parallel(port).to_xml()` writes a `<parallel>` where [`Serial`] alone would write
    /// a `<serial>`.
    Parallel = "parallel";
    /// A console as a document: `Console(port).to_xml()` writes a `<console>` where [`Serial`] alone would write a
    /// `<serial>`.
    Console = "console";
}
