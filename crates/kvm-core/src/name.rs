//! Names of things on a host, and the notes people attach to them.
//!
//! Each name has two doors. `parse` is for a name that somebody chooses now: create, rename, clone, import. `adopt` is
//! for a name that a hypervisor already holds: whatever can be spoken of safely is taken, so that it can be listed,
//! shown, started and deleted. What neither door takes must never reach a hypervisor: libvirt deletes other machines'
//! files when a domain is called `..`.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use crate::text::{printable, text_serde};
use crate::{Error, Result};

mod note;
mod policy;
mod tag;

pub use note::{Description, Title};
pub use tag::Tag;

use policy::{Policy, Scripts};

/// Defines one newtype per kind of name; the rules are in [`policy`].
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $policy:path;)*) => {$(
        $(#[$doc])*
        ///
        /// `Display` makes characters visible that could deceive; [`as_str`](Self::as_str) is the exact name.
        /// `FromStr` is [`parse`](Self::parse); `Deserialize` is [`adopt`](Self::adopt), see
        /// [`text::strict`](crate::text::strict) for fields that name something new.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Takes a name for something new. `InvalidInput` says what is wrong and how to mend it.
            pub fn parse(text: &str) -> Result<Self> {
                $policy.parse(text, Scripts::OnePerWord).map(|()| Self(text.into()))
            }

            /// As [`parse`](Self::parse), but a word may mix scripts, for a person who said that this is wanted.
            pub fn parse_mixed_script(text: &str) -> Result<Self> {
                $policy.parse(text, Scripts::Mixed).map(|()| Self(text.into()))
            }

            /// Takes a name that exists already, byte for byte. `InvalidInput` when it may never reach a hypervisor.
            pub fn adopt(text: &str) -> Result<Self> {
                $policy.adopt(text).map(|()| Self(text.into()))
            }

            /// The exact name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                printable(&self.0).fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Self::parse(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.into()
            }
        }

        text_serde!($name, "a name", $name::adopt, |name| name.as_str());
    )*};
}

names! {
    /// Name of a virtual machine.
    ///
    /// ```
    /// use kvm_core::VmName;
    /// assert_eq!(VmName::parse("db.prod")?.as_str(), "db.prod");
    /// assert!(VmName::parse("-rf").is_err());      // an option to any program that is handed it
    /// assert!(VmName::adopt("-rf").is_ok());       // but libvirt takes it, so it may exist
    /// assert!(VmName::adopt("..").is_err());       // libvirt would delete files of other machines
    /// # Ok::<(), kvm_core::Error>(())
    /// ```
    VmName: Policy::VM;
    /// Name of a storage pool.
    PoolName: Policy::POOL;
    /// Name of a volume in its pool, most often a file name.
    ///
    /// Beyond the rules for all names, no `:` (QEMU reads what stands before it as a protocol), no `*`, no `~` at the
    /// start. `*.partial` and `.kvmm-*` are names of files this program makes itself.
    VolumeName: Policy::VOLUME;
    /// Name of a virtual network.
    NetworkName: Policy::NETWORK;
    /// Name of a network filter.
    FilterName: Policy::FILTER;
    /// Name of a device of the host, which the host gives it: `pci_0000_01_00_0`.
    HostDeviceName: Policy::HOST_DEVICE;
    /// Name of a snapshot of one machine. `current` is a word of the command line, not a name.
    SnapshotName: Policy::SNAPSHOT;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_refuses_the_decomposed_twin_and_shows_the_composed_one() {
        let e = VmName::parse("cafe\u{301}").unwrap_err();
        assert_eq!(e.kind(), crate::ErrorKind::InvalidInput);
        assert!(e.message().contains("\"caf\u{e9}\""), "{e}");
        assert_eq!(VmName::adopt("cafe\u{301}").unwrap().as_str(), "cafe\u{301}");
    }

    #[test]
    fn mixed_scripts_need_their_own_door() {
        assert!(VmName::parse("\u{430}pple").is_err());
        assert_eq!(VmName::parse_mixed_script("\u{430}pple").unwrap().as_str(), "\u{430}pple");
        assert!(VmName::parse_mixed_script("a\u{202e}b").is_err());
    }

    #[test]
    fn a_megabyte_is_refused_with_a_short_message() {
        let long = "a".repeat(1 << 20);
        for e in [VmName::parse(&long).unwrap_err(), VmName::adopt(&long).unwrap_err()] {
            assert!(e.message().len() < 300, "{e}");
        }
    }

    #[test]
    fn display_is_safe_and_as_str_is_exact() {
        let name = VmName::adopt("a\u{202e}b\tc").unwrap();
        assert_eq!(name.to_string(), "a\\u{202e}b\\tc");
        assert_eq!(name.as_str(), "a\u{202e}b\tc");
    }

    #[test]
    fn json_adopts_and_keeps_every_byte() {
        let name: SnapshotName = serde_json::from_str("\"a\\nb\"").unwrap();
        assert_eq!(name, "a\nb");
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"a\\nb\"");
        assert!(serde_json::from_str::<VmName>("\"..\"").is_err());
    }

    #[test]
    fn volumes_and_snapshots_have_rules_of_their_own() {
        for text in ["a:b.img", "*", "~root", "8fbf2b8e3b3c4b1e9a51000000000001"] {
            assert!(VolumeName::parse(text).is_err(), "{text}");
            assert!(VolumeName::adopt(text).is_ok(), "{text}");
        }
        for text in ["x.partial", ".kvmm-journal"] {
            assert!(VolumeName::adopt(text).is_err(), "{text}");
        }
        assert!(SnapshotName::adopt("current").is_err());
        assert!(SnapshotName::parse("currently").is_ok());
    }
}
