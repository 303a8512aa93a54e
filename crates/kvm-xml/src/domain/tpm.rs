//! Trusted platform modules.

use super::{Address, Alias};
use crate::common::PathElement;
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::YesNo;
use kvm_xml_derive::Xml;
use uuid::Uuid;

/// A trusted platform module: <https://libvirt.org/formatdomain.html#tpm-device>.
#[derive(Clone, Default, Xml)]
#[xml(root = "tpm")]
pub struct Tpm {
    /// `TpmCrb` for TPM 2.0 on x86, `TpmTis` (default) for both versions, `TpmSpapr` on pSeries.
    pub model: Option<TpmModel>,
    pub backend: Option<TpmBackend>,
    pub alias: Option<Alias>,
    pub address: Option<Address>,
    pub _extra: Extra,
}

/// What stands behind a TPM: <https://libvirt.org/formatdomain.html#tpm-device>.
#[derive(Clone, Default, Xml)]
pub struct TpmBackend {
    /// `Emulator` (since 4.5.0) needs swtpm on the host; its state is a secret of the guest. `Passthrough` takes the
    /// host's TPM for this guest alone. `External` (since 9.0.0) is started by someone else.
    pub r#type: Option<TpmBackendType>,
    /// `Emulator`: keep the state when a transient domain ends or a domain is undefined; default no. Since 7.0.0.
    pub persistent_state: Option<YesNo>,
    /// `Emulator`: the level of its log. Since 10.6.0.
    #[xml(hexable)]
    pub debug: Option<u8>,
    /// `Emulator` only; Windows 11 needs 2.0.
    pub version: Option<TpmBackendVersion>,
    /// `Passthrough`: default `/dev/tpm0`.
    pub device: Option<PathElement>,
    /// `Emulator` only. Since 5.6.0.
    pub encryption: Option<TpmEncryption>,
    /// `Emulator` with 2.0: set at each start; absent leaves them as they are. Since 7.10.0.
    pub active_pcr_banks: Option<PcrBanks>,
    /// `External` since 9.0.0, `Emulator` since 10.10.0.
    pub source: Option<TpmSource>,
    /// `Emulator` with 2.0. Since 10.10.0.
    pub profile: Option<TpmProfile>,
    pub _extra: Extra,
}

/// The secret, by uuid, that encrypts an emulated TPM's state: <https://libvirt.org/formatdomain.html#tpm-device>.
#[derive(Clone, Default, Xml)]
pub struct TpmEncryption {
    pub secret: Option<Uuid>,
    pub _extra: Extra,
}

/// The PCR banks that are on: <https://libvirt.org/formatdomain.html#tpm-device>.
#[derive(Clone, Default, Xml)]
pub struct PcrBanks {
    pub sha1: bool,
    pub sha256: bool,
    pub sha384: bool,
    pub sha512: bool,
    pub _extra: Extra,
}

/// Where an emulated TPM keeps its state, or an external one listens: <https://libvirt.org/formatdomain.html#tpm-device>.
#[derive(Clone, Default, Xml)]
pub struct TpmSource {
    /// `Emulator`: `File` or `Dir`. `External`: `Unix`.
    pub r#type: Option<TpmSourceType>,
    pub path: Option<String>,
    /// `External`: may be absent.
    pub mode: Option<TpmSourceMode>,
    pub _extra: Extra,
}

/// The profile of an emulated TPM: <https://libvirt.org/formatdomain.html#tpm-device>.
///
/// It restricts algorithms and is fixed once the TPM is made.
#[derive(Clone, Default, Xml)]
pub struct TpmProfile {
    /// The file's name, with `local:` or `distro:` in front.
    pub source: Option<String>,
    /// `custom` profiles on a FIPS host: `Check` drops what is disabled now, `FipsHost` all that may be.
    #[xml("removeDisabled")]
    pub remove_disabled: Option<RemoveDisabled>,
    /// Set by libvirt.
    pub name: Option<String>,
    pub _extra: Extra,
}

closed! {
    /// What `model` of [`Tpm`] can be.
    pub enum TpmModel {
        TpmTis = "tpm-tis", TpmCrb = "tpm-crb", TpmSpapr = "tpm-spapr", SpaprTpmProxy = "spapr-tpm-proxy",
    }
    /// What `type` of [`TpmBackend`] can be.
    pub enum TpmBackendType {
        Passthrough = "passthrough", Emulator = "emulator", External = "external",
    }
    /// What `version` of [`TpmBackend`] can be.
    pub enum TpmBackendVersion {
        V1_2 = "1.2", V2_0 = "2.0",
    }
    /// What `type` of [`TpmSource`] can be.
    pub enum TpmSourceType {
        File = "file", Dir = "dir", Unix = "unix",
    }
    /// What `mode` of [`TpmSource`] can be.
    pub enum TpmSourceMode {
        Connect = "connect",
    }
    /// What `removeDisabled` of [`TpmProfile`] can be.
    pub enum RemoveDisabled {
        Check = "check", FipsHost = "fips-host",
    }
}
