//! The contract of a host's secrets: what opens an encrypted volume, kept where nobody reads it.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::text::refused;
use crate::{Entropy, Error, Result};

/// Secrets that a host keeps for its volumes, pools and machines: a facet of [`Storage`](crate::Storage).
///
/// Values go in and never come out. `Unavailable` and `Timeout` are as in [`Hypervisor`](crate::Hypervisor).
#[async_trait]
pub trait SecretStore: fmt::Debug + Send + Sync {
    /// Lists all secrets without their values, sorted by id.
    async fn list(&self) -> Result<Vec<SecretInfo>>;

    /// Defines a secret, which has no value yet, under the uuid of its document. `AlreadyExists` when the uuid is taken, or
    /// there is a secret for the same use; `InvalidInput` for a document without a uuid. Source: `virSecretDefineXML`.
    async fn define(&self, doc: &kvm_xml::Secret) -> Result<()>;

    /// Gives a secret its value, or another one. `NotFound`. Source: `virSecretSetValue`.
    async fn set_value(&self, secret: &SecretId, value: &Passphrase) -> Result<()>;

    /// Forgets a secret with its value. `NotFound`. Source: `virSecretUndefine`.
    async fn undefine(&self, secret: &SecretId) -> Result<()>;
}

/// The uuid by which a host knows a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretId(Uuid);

impl From<Uuid> for SecretId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl From<SecretId> for Uuid {
    fn from(id: SecretId) -> Self {
        id.0
    }
}

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is known of a secret; never its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecretInfo {
    /// Unique on the host.
    pub id: SecretId,
    /// What kind of thing it is for: `volume`, `ceph`, `iscsi`, `tls`, `vtpm`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// For which of these: the path of a volume, else a name.
    pub usage: Option<String>,
    /// Whether nobody may read its value.
    pub private: bool,
    /// Whether it is kept in memory only.
    pub ephemeral: bool,
    /// In words.
    pub description: Option<String>,
}

impl SecretInfo {
    /// What a document says; `None` for one without a uuid.
    #[must_use]
    pub fn of(document: &kvm_xml::Secret) -> Option<Self> {
        let usage = document.usage.as_ref();
        let is = |flag: Option<kvm_xml::value::YesNo>| flag == Some(kvm_xml::value::YesNo::Yes);
        Some(Self {
            id: document.uuid?.into(),
            kind: usage.and_then(|usage| usage.r#type).map(|kind| kind.to_string()),
            usage: usage
                .and_then(|usage| [&usage.volume, &usage.target, &usage.name].into_iter().flatten().next().cloned()),
            private: is(document.private),
            ephemeral: is(document.ephemeral),
            description: document.description.clone(),
        })
    }
}

/// A passphrase. It is wiped from memory when it is dropped, and has no form in which it could be shown or stored by
/// accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// How many bytes it may have.
    pub const LONGEST: usize = 512;

    /// Takes a passphrase: 1 to 512 bytes on one line. The error never shows it.
    pub fn parse(text: &str) -> Result<Self> {
        let why = match text.len() {
            0 => "is empty",
            1..=Self::LONGEST if text.chars().any(char::is_control) => "has more than one line, or control characters",
            1..=Self::LONGEST => return Ok(Self(Zeroizing::new(text.to_owned()))),
            _ => "is longer than 512 bytes",
        };
        Err(Error::invalid("passphrase", format!("the passphrase {why}")))
    }

    /// A new one, which nobody could guess, from at least 320 random bits.
    #[must_use]
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(Zeroizing::new((0..3).map(|_| entropy.uuid().simple().to_string()).collect()))
    }

    /// The passphrase itself, for whoever hands it to the host.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

impl FromStr for SecretId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let uuid = Uuid::try_parse(text).map_err(|_| refused("secret", "secret", text, "is not a uuid"))?;
        Ok(Self(uuid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededEntropy;

    #[test]
    fn a_passphrase_is_one_line_and_never_shown() {
        let secret = Passphrase::parse("correct horse").unwrap();
        assert_eq!(secret.expose(), "correct horse");
        assert!(!format!("{secret:?}").contains("horse"));
        for text in ["", "two\nlines", "nul\0", &"x".repeat(513)] {
            let e = Passphrase::parse(text).unwrap_err();
            assert_eq!(e.kind(), crate::ErrorKind::InvalidInput);
            assert!(text.is_empty() || !format!("{e:?}").contains(text), "{e:?}");
        }
    }

    #[test]
    fn generated_passphrases_differ() {
        let entropy = SeededEntropy::new(1);
        let (a, b) = (Passphrase::generate(&entropy), Passphrase::generate(&entropy));
        assert!(a != b && Passphrase::parse(a.expose()).is_ok() && a.expose().len() == 96);
    }

    #[test]
    fn a_document_says_what_a_secret_is_for() {
        use kvm_xml::Document as _;
        let xml = "<secret ephemeral='no' private='yes'><uuid>11111111-2222-4333-8444-555555555555</uuid>\
                   <usage type='volume'><volume>/pool/a</volume></usage></secret>";
        let info = SecretInfo::of(&kvm_xml::Secret::from_xml(xml).unwrap()).unwrap();
        assert_eq!((info.kind.as_deref(), info.usage.as_deref()), (Some("volume"), Some("/pool/a")));
        assert!(info.private && !info.ephemeral);
        assert!(SecretInfo::of(&kvm_xml::Secret::default()).is_none());
    }
}
