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
    pub model: Option<TpmModel>,
    pub backend: Option<TpmBackend>,
    pub alias: Option<Alias>,
    pub address: Option<Address>,
    pub _extra: Extra,
}

/// What stands behind a TPM.
#[derive(Clone, Default, Xml)]
pub struct TpmBackend {
    pub r#type: Option<TpmBackendType>,
    pub persistent_state: Option<YesNo>,
    #[xml(hexable)]
    pub debug: Option<u8>,
    pub version: Option<TpmBackendVersion>,
    pub device: Option<PathElement>,
    pub encryption: Option<TpmEncryption>,
    pub active_pcr_banks: Option<PcrBanks>,
    pub source: Option<TpmSource>,
    pub profile: Option<TpmProfile>,
    pub _extra: Extra,
}

/// The secret, by uuid, that encrypts an emulated TPM's state.
#[derive(Clone, Default, Xml)]
pub struct TpmEncryption {
    pub secret: Option<Uuid>,
    pub _extra: Extra,
}

/// The PCR banks that are on.
#[derive(Clone, Default, Xml)]
pub struct PcrBanks {
    pub sha1: bool,
    pub sha256: bool,
    pub sha384: bool,
    pub sha512: bool,
    pub _extra: Extra,
}

/// Where an emulated TPM keeps its state, or an external one listens.
#[derive(Clone, Default, Xml)]
pub struct TpmSource {
    pub r#type: Option<TpmSourceType>,
    pub path: Option<String>,
    pub mode: Option<TpmSourceMode>,
    pub _extra: Extra,
}

/// The profile of an emulated TPM.
#[derive(Clone, Default, Xml)]
pub struct TpmProfile {
    pub source: Option<String>,
    #[xml("removeDisabled")]
    pub remove_disabled: Option<RemoveDisabled>,
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
