//! The formats.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A format of disk images. In text and JSON it is the name that libvirt and QEMU use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Format {
    /// The bytes of the disk and nothing else.
    Raw,
    /// QEMU's own, version 2 or 3.
    Qcow2,
    /// QEMU's enhanced disk, long out of use.
    Qed,
    /// VMware's, one file or a descriptor with extents.
    Vmdk,
    /// Hyper-V's.
    Vhdx,
    /// Virtual PC's and Azure's, `.vhd`.
    Vpc,
    /// VirtualBox's.
    Vdi,
    /// An optical disc, ISO 9660 or UDF. Virtual machines read it as raw.
    Iso,
    /// A LUKS container that QEMU itself decrypts.
    Luks,
}

impl Format {
    /// The name, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Qed => "qed",
            Self::Vmdk => "vmdk",
            Self::Vhdx => "vhdx",
            Self::Vpc => "vpc",
            Self::Vdi => "vdi",
            Self::Iso => "iso",
            Self::Luks => "luks",
        }
    }

    /// The name by which QEMU and a domain's `<driver type='…'>` open it: a disc is raw to them.
    #[must_use]
    pub fn driver(self) -> &'static str {
        match self {
            Self::Iso => "raw",
            other => other.as_str(),
        }
    }

    /// The format of this name, as headers, pools and people write it: `vhd` is `vpc`.
    ///
    /// ```
    /// use kvm_image::Format;
    /// assert_eq!(Format::named("qcow2"), Some(Format::Qcow2));
    /// assert_eq!(Format::named("vhd"), Some(Format::Vpc));
    /// assert_eq!(Format::named("host_device"), None);
    /// ```
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "raw" => Self::Raw,
            "qcow2" => Self::Qcow2,
            "qed" => Self::Qed,
            "vmdk" => Self::Vmdk,
            "vhdx" => Self::Vhdx,
            "vpc" | "vhd" => Self::Vpc,
            "vdi" => Self::Vdi,
            "iso" => Self::Iso,
            "luks" => Self::Luks,
            _ => return None,
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
