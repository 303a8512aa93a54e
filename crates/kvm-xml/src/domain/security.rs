//! Confinement and memory encryption.

use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{OnOff, YesNo};
use kvm_xml_derive::Xml;

/// How the guest is confined: <https://libvirt.org/formatdomain.html#security-label>.
#[derive(Clone, Default, Xml)]
#[xml(key = "model")]
pub struct Seclabel {
    /// `Dynamic`: libvirt makes a label for this guest alone. `Static`: `label`. `None`: not confined.
    pub r#type: Option<SeclabelType>,
    /// `selinux`, `apparmor` or `dac`.
    pub model: Option<String>,
    /// Whether libvirt labels the guest's files too; always with `Dynamic`, default no with `Static`.
    pub relabel: Option<YesNo>,
    /// `Static`: an SELinux context, an AppArmor profile, or owner and group with a colon, numbers after `+`. Otherwise
    /// set by libvirt.
    #[xml(el)]
    pub label: Option<String>,
    /// Set by libvirt.
    #[xml(el)]
    pub imagelabel: Option<String>,
    /// `Dynamic`: what the label is made from.
    #[xml(el)]
    pub baselabel: Option<String>,
    pub _extra: Extra,
}

/// Which s390 key wrapping operations the guest may use: <https://libvirt.org/formatdomain.html#key-wrap>.
///
/// All are allowed without this element.
#[derive(Clone, Default, Xml)]
pub struct Keywrap {
    pub cipher: Vec<KeywrapCipher>,
    pub _extra: Extra,
}

/// Memory encryption of the guest: <https://libvirt.org/formatdomain.html#launch-security>.
///
/// For AMD's SEV, `cbitpos` and `reduced_phys_bits` are those of the domain capabilities.
#[derive(Clone, Default, Xml)]
pub struct LaunchSecurity {
    /// `Sev` since 4.4.0, `S390Pv` since 7.6.0, `SevSnp` since 10.5.0.
    pub r#type: Option<LaunchSecurityType>,
    /// Direct kernel boot: kernel, initrd and command line are measured too. Since 8.0.0.
    #[xml("kernelHashes")]
    pub kernel_hashes: Option<YesNo>,
    /// `SevSnp`: `id_auth` has an author key.
    #[xml("authorKey")]
    pub author_key: Option<YesNo>,
    /// `SevSnp`: whether the guest may use the chip's own key.
    pub vcek: Option<YesNo>,
    #[xml(el)]
    pub cbitpos: Option<u32>,
    #[xml("reducedPhysBits", el)]
    pub reduced_phys_bits: Option<u32>,
    /// Needed for SEV. Of `Sev`: bit 0 forbids debugging, 1 shared keys, 3 to 5 migration; bit 2 asks for SEV-ES.
    #[xml(el, base16 = 4)]
    pub policy: Option<u64>,
    /// Set by libvirt.
    #[xml(el)]
    pub handle: Option<u32>,
    /// `Sev`: the owner's Diffie-Hellman key, base64.
    #[xml("dhCert", el)]
    pub dh_cert: Option<String>,
    /// `Sev`: the owner's session, base64.
    #[xml(el)]
    pub session: Option<String>,
    /// `SevSnp`: workarounds that the guest is told of, base64.
    #[xml("guestVisibleWorkarounds", el)]
    pub guest_visible_workarounds: Option<String>,
    /// `SevSnp`: what the guest must measure as, base64.
    #[xml("idBlock", el)]
    pub id_block: Option<String>,
    /// `SevSnp`: the signature of `id_block`, base64.
    #[xml("idAuth", el)]
    pub id_auth: Option<String>,
    /// `SevSnp`: passed into the attestation report, base64.
    #[xml("hostData", el)]
    pub host_data: Option<String>,
    pub _extra: Extra,
}

/// One key wrapping algorithm: <https://libvirt.org/formatdomain.html#key-wrap>.
#[derive(Clone, Default, Xml)]
pub struct KeywrapCipher {
    pub name: Option<KeywrapCipherName>,
    pub state: Option<OnOff>,
    pub _extra: Extra,
}

/// Whether and how libvirt labels one source: <https://libvirt.org/formatdomain.html#security-label>.
#[derive(Clone, Default, Xml)]
#[xml(key = "model")]
pub struct DeviceSeclabel {
    pub model: Option<String>,
    /// No leaves the file as it is, which shared storage may need. Since 0.9.9.
    pub relabel: Option<YesNo>,
    /// Set by libvirt: the filesystem has no labels. Since 1.1.2.
    pub labelskip: Option<YesNo>,
    pub label: Vec<String>,
    pub _extra: Extra,
}

closed! {
    /// What `type` of [`Seclabel`] can be.
    pub enum SeclabelType {
        Dynamic = "dynamic", Static = "static", None = "none",
    }
    /// What `type` of [`LaunchSecurity`] can be.
    pub enum LaunchSecurityType {
        Sev = "sev", SevSnp = "sev-snp", S390Pv = "s390-pv",
    }
    /// What `name` of [`KeywrapCipher`] can be.
    pub enum KeywrapCipherName {
        Aes = "aes", Dea = "dea",
    }
}
