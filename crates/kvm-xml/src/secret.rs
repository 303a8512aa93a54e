//! Secrets, without their values: those never stand in a document.

use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::YesNo;
use kvm_xml_derive::Xml;
use uuid::Uuid;

/// What libvirt knows about a secret: <https://libvirt.org/formatsecret.html>.
#[derive(Clone, Default, Xml)]
#[xml(root = "secret")]
pub struct Secret {
    /// Whether it is kept in memory only.
    pub ephemeral: Option<YesNo>,
    /// Whether no caller may read its value.
    pub private: Option<YesNo>,
    #[xml(el)]
    pub uuid: Option<Uuid>,
    #[xml(el)]
    pub description: Option<String>,
    pub usage: Option<SecretUsage>,
    pub _extra: Extra,
}

/// What a secret is for, and the name under which other documents refer to it.
///
/// That name is in `volume` for [`Volume`](SecretUsageType::Volume), in `target` for [`Iscsi`](SecretUsageType::Iscsi) and
/// in `name` for the others.
#[derive(Clone, Default, Xml)]
pub struct SecretUsage {
    pub r#type: Option<SecretUsageType>,
    #[xml(el)]
    pub volume: Option<String>,
    #[xml(el)]
    pub name: Option<String>,
    #[xml(el)]
    pub target: Option<String>,
    pub _extra: Extra,
}

closed! {
    /// What `type` of [`SecretUsage`] can be.
    pub enum SecretUsageType {
        /// The passphrase of an encrypted volume.
        Volume = "volume",
        /// A key of Ceph; since libvirt 0.9.7.
        Ceph = "ceph",
        /// A CHAP password; since libvirt 1.0.4.
        Iscsi = "iscsi",
        /// The passphrase of a TLS key; since libvirt 2.3.0.
        Tls = "tls",
        /// The passphrase of an emulated TPM's state; since libvirt 5.6.0.
        Vtpm = "vtpm",
    }
}
