//! Confinement and memory encryption.

use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{OnOff, YesNo};
use kvm_xml_derive::Xml;

/// How the guest is confined: <https://libvirt.org/formatdomain.html#security-label>.
#[derive(Clone, Default, Xml)]
pub struct Seclabel {
    pub r#type: Option<SeclabelType>,
    pub model: Option<String>,
    pub relabel: Option<YesNo>,
    #[xml(el)]
    pub label: Option<String>,
    #[xml(el)]
    pub imagelabel: Option<String>,
    #[xml(el)]
    pub baselabel: Option<String>,
    pub _extra: Extra,
}

/// Which s390 key wrapping operations the guest may use.
#[derive(Clone, Default, Xml)]
pub struct Keywrap {
    pub cipher: Vec<KeywrapCipher>,
    pub _extra: Extra,
}

/// Memory encryption of the guest: <https://libvirt.org/formatdomain.html#launch-security>.
#[derive(Clone, Default, Xml)]
pub struct LaunchSecurity {
    pub r#type: Option<LaunchSecurityType>,
    #[xml("kernelHashes")]
    pub kernel_hashes: Option<YesNo>,
    #[xml("authorKey")]
    pub author_key: Option<YesNo>,
    pub vcek: Option<YesNo>,
    #[xml(el)]
    pub cbitpos: Option<u32>,
    #[xml("reducedPhysBits", el)]
    pub reduced_phys_bits: Option<u32>,
    #[xml(el, base16 = 4)]
    pub policy: Option<u64>,
    #[xml(el)]
    pub handle: Option<u32>,
    #[xml("dhCert", el)]
    pub dh_cert: Option<String>,
    #[xml(el)]
    pub session: Option<String>,
    #[xml("guestVisibleWorkarounds", el)]
    pub guest_visible_workarounds: Option<String>,
    #[xml("idBlock", el)]
    pub id_block: Option<String>,
    #[xml("idAuth", el)]
    pub id_auth: Option<String>,
    #[xml("hostData", el)]
    pub host_data: Option<String>,
    pub _extra: Extra,
}

/// One key wrapping algorithm.
#[derive(Clone, Default, Xml)]
pub struct KeywrapCipher {
    pub name: Option<KeywrapCipherName>,
    pub state: Option<OnOff>,
    pub _extra: Extra,
}

/// Whether and how libvirt labels one source.
#[derive(Clone, Default, Xml)]
pub struct DeviceSeclabel {
    pub model: Option<String>,
    pub relabel: Option<YesNo>,
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
