//! Whether the key that a host shows is its own.

use std::sync::Arc;

use data_encoding::{BASE64, BASE64_NOPAD};
use kvm_core::{Error, ErrorKind, Resource};
use russh::keys::ssh_encoding::Encode as _;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKeyOrCertificate};
use sha2::{Digest as _, Sha256};

use super::known_hosts::{KnownHosts, Standing, matches_list};
use super::options::SshOptions;

/// The key of a host, for people to compare and for files to keep.
#[derive(Clone, PartialEq, Eq)]
pub struct HostKey {
    algorithm: String,
    key: Vec<u8>,
}

impl HostKey {
    pub(super) fn of(key: &KeyData) -> Option<Self> {
        let algorithm = match key.algorithm() {
            Algorithm::Rsa { .. } => "ssh-rsa".to_owned(),
            other => other.as_str().to_owned(),
        };
        Some(Self { algorithm, key: key.encode_vec().ok()? })
    }

    /// The type, such as `ssh-ed25519`.
    #[must_use]
    pub fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// The fingerprint as `ssh-keygen -l` shows it: `SHA256:` and 43 characters.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.key)
    }

    /// The key as it stands in files: type and base64.
    #[must_use]
    pub fn to_openssh(&self) -> String {
        format!("{} {}", self.algorithm, BASE64.encode(&self.key))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.key
    }
}

/// A fingerprint of a key, as people compare them: `SHA256:` and 43 characters of base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Whether it is this key's.
    #[must_use]
    pub fn is_of(&self, key: &HostKey) -> bool {
        self.0 == key.fingerprint()
    }
}

impl std::str::FromStr for Fingerprint {
    type Err = Error;

    /// Takes what `ssh-keygen -l` shows. `InvalidInput` for anything else; MD5 proves nothing any more.
    fn from_str(text: &str) -> Result<Self, Error> {
        let digest = text.strip_prefix("SHA256:").map(|digest| digest.trim_end_matches('='));
        let is_whole = |digest: &&str| BASE64_NOPAD.decode(digest.as_bytes()).is_ok_and(|bytes| bytes.len() == 32);
        match digest.filter(is_whole) {
            Some(digest) => Ok(Self(format!("SHA256:{digest}"))),
            None => {
                let text = "a fingerprint is SHA256: and 43 characters of base64, as ssh-keygen -l shows it";
                Err(Error::invalid("fingerprint", text))
            }
        }
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

impl std::fmt::Debug for HostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostKey({} {})", self.algorithm, self.fingerprint())
    }
}

pub(super) fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", BASE64_NOPAD.encode(&Sha256::digest(key)))
}

/// What decides over a host's key.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) known: Arc<KnownHosts>,
    /// The host's name in the files.
    pub(super) name: String,
    /// The host's own name, which certificates are for.
    pub(super) principal: String,
    /// How the host is told to people.
    pub(super) shown: String,
    /// Seconds since 1970.
    pub(super) now: u64,
}

impl Judge {
    pub(super) fn new(options: &SshOptions, known: Arc<KnownHosts>, now: u64) -> Self {
        let principal = options.host_key_alias.as_deref().unwrap_or(options.host.as_str()).to_ascii_lowercase();
        Self { known, name: options.known_name(), principal, shown: options.shown(), now }
    }

    /// `Denied`, with fingerprints in the detail, for every key that is not known to be the host's.
    pub(super) fn check(&self, shown: &PublicKeyOrCertificate) -> Result<(), Error> {
        let data = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.key_data(),
            PublicKeyOrCertificate::Certificate(certificate) => certificate.public_key(),
        };
        let key = HostKey::of(data).ok_or_else(|| self.denied("shows a host key of an unknown kind"))?;
        if let PublicKeyOrCertificate::Certificate(certificate) = shown
            && self.check_certificate(certificate, &key)?
        {
            return Ok(());
        }
        match self.known.standing(&self.name, key.algorithm(), key.bytes()) {
            Standing::Known => Ok(()),
            Standing::Unknown => Err(self.unknown(&key)),
            Standing::Revoked(place) => Err(self.revoked(&key.fingerprint(), &place)),
            Standing::Changed(recorded) => {
                let mut detail = format!("it shows {} {}", key.algorithm(), key.fingerprint());
                for old in recorded {
                    detail += &format!("\nknown is {} in {}", fingerprint(&old.key), old.place);
                }
                detail += "\nsomebody may be listening in; if the key was changed on purpose, remove the old line";
                Err(self.denied("shows another host key than before").with_detail(detail).during("host-key-changed"))
            }
        }
    }

    fn unknown(&self, key: &HostKey) -> Error {
        let mut detail = format!("it shows {} {}; no known_hosts file has it", key.algorithm(), key.fingerprint());
        let known = self.known.algorithms(&self.name);
        if !known.is_empty() {
            detail += &format!("\nknown of it are keys of another type: {}", known.join(", "));
        }
        self.denied("shows a host key that is not known").with_detail(detail).during("host-key-unknown")
    }

    /// Whether an authority that is trusted for this host vouches for the key; `false` when none of ours has signed.
    fn check_certificate(&self, certificate: &Certificate, key: &HostKey) -> Result<bool, Error> {
        let Some(authority) = HostKey::of(certificate.signature_key()) else { return Ok(false) };
        for revocable in [&authority, key] {
            if let Some(place) = self.known.revoked(&self.name, revocable.bytes()) {
                return Err(self.revoked(&revocable.fingerprint(), &place));
            }
        }
        if !self.known.is_authority(&self.name, authority.bytes()) {
            return Ok(false);
        }
        let refused = |why: &str| {
            let detail =
                format!("the certificate {why}\nsigned by {} {}", authority.algorithm, authority.fingerprint());
            Err(self.denied("shows a certificate that is not good for it").with_detail(detail))
        };
        if certificate.cert_type() != CertType::Host {
            return refused("is one of a user, not of a host");
        }
        if certificate.signature().algorithm() == (Algorithm::Rsa { hash: None }) {
            return refused("is signed with SHA-1");
        }
        // There are none for hosts, and what is critical and not understood must be refused.
        if certificate.critical_options().iter().next().is_some() {
            return refused("has critical options, which no host certificate should have");
        }
        // One without names would be good for every host.
        let principals = certificate.valid_principals().iter().map(String::as_str);
        if !matches_list(principals, &self.principal) {
            return refused("is for hosts of other names");
        }
        let trusted = certificate.signature_key().fingerprint(HashAlg::Sha256);
        if certificate.validate_at(self.now, [&trusted]).is_err() {
            return refused("is not valid now, or its signature is wrong");
        }
        Ok(true)
    }

    fn revoked(&self, fingerprint: &str, place: &str) -> Error {
        let e = self.denied("shows a host key that is revoked");
        e.with_detail(format!("{fingerprint} is revoked in {place}")).during("host-key-revoked")
    }

    fn denied(&self, text: &str) -> Error {
        Error::new(ErrorKind::Denied, format!("{} {text}", self.shown)).on(Resource::Host(self.shown.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_sha256_fingerprint_is_one() {
        let text = fingerprint(b"key");
        assert_eq!(text.parse::<Fingerprint>().unwrap().to_string(), text);
        assert_eq!(format!("{text}=").parse::<Fingerprint>().unwrap().to_string(), text);
        for text in [&text[..49], &text[7..], "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48", "", "SHA256:\n"] {
            let e = text.parse::<Fingerprint>().unwrap_err();
            assert_eq!(e.resource(), Some(&Resource::Field("fingerprint".into())), "{text:?}");
        }
    }
}
