//! What is offered to a server: nothing that is weak, and nothing that a man in the middle can cut short.

use std::borrow::Cow;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Names, Preferred, cipher, compression, kex, mac};

/// Key exchanges. Without the two markers at the end the server would not know that strict key exchange is wanted.
const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_G16_SHA512,
    kex::DH_G18_SHA512,
    kex::DH_G14_SHA256,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
];

/// AES-GCM first: with the processor's help it is twice as fast as ChaCha20, and it resists cutting by itself.
const CIPHERS: &[cipher::Name] = &[
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

const MACS: &[mac::Name] = &[mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM, mac::HMAC_SHA512, mac::HMAC_SHA256];

/// Host keys. RSA with SHA-2 only.
const KEYS: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// The offer to a host of which keys of these types are known, and perhaps an authority.
///
/// The known types come first: a server with several keys shows the one that can be checked.
pub(super) fn offer(known: &[&str], has_authority: bool) -> Preferred {
    let mut keys = KEYS.to_vec();
    keys.sort_by_key(|algorithm| !known.contains(&key_type(algorithm)));
    Preferred {
        kex: Cow::Borrowed(KEX),
        key: Cow::Owned(keys),
        // A server that is asked for a certificate shows it in place of its key.
        host_key_certificates: if has_authority { Cow::Owned(KEYS.to_vec()) } else { Cow::Borrowed(&[]) },
        cipher: Cow::Borrowed(CIPHERS),
        mac: Cow::Borrowed(MACS),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

/// The same for one type of key after the other, to see all keys that a host has.
pub(super) fn offers_of_one_type() -> impl Iterator<Item = Preferred> {
    let (elliptic, rsa) = KEYS[1..].split_at(3);
    [&KEYS[..1], elliptic, rsa]
        .into_iter()
        .map(|keys| Preferred { key: Cow::Owned(keys.to_vec()), ..offer(&[], false) })
}

/// The type under which keys for this algorithm stand in files: RSA keys have one for all digests.
fn key_type(algorithm: &Algorithm) -> &str {
    match algorithm {
        Algorithm::Rsa { .. } => "ssh-rsa",
        other => other.as_str(),
    }
}

/// Whether messages could be cut away at the beginning unseen (the Terrapin attack, CVE-2023-48795): only where the
/// server does not know strict key exchange, and the cipher is not AES-GCM.
pub(super) fn can_be_cut(names: &Names) -> bool {
    !names.strict_kex() && names.cipher != cipher::AES_256_GCM && names.cipher != cipher::AES_128_GCM
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_weak_is_offered() {
        let offer = offer(&[], true);
        let names: Vec<String> = (offer.kex.iter().map(|n| n.as_ref().to_owned()))
            .chain(offer.cipher.iter().map(|n| n.as_ref().to_owned()))
            .chain(offer.mac.iter().map(|n| n.as_ref().to_owned()))
            .chain(offer.key.iter().map(|n| n.as_str().to_owned()))
            .chain(offer.host_key_certificates.iter().map(|n| n.as_str().to_owned()))
            .collect();
        for name in &names {
            let weak = ["sha1", "cbc", "arcfour", "none", "dss", "3des", "group1-", "ssh-rsa", "umac-64", "md5"];
            assert!(!weak.iter().any(|w| name.contains(w)), "{name}");
        }
        assert!(names.contains(&"kex-strict-c-v00@openssh.com".to_owned()), "{names:?}");
        assert_eq!(offer.cipher[0].as_ref(), "aes256-gcm@openssh.com");
        assert_eq!(offer.compression.len(), 1);
    }

    #[test]
    fn together_the_offers_of_one_type_have_all_keys() {
        let all: Vec<_> = offers_of_one_type().flat_map(|offer| offer.key.into_owned()).collect();
        assert_eq!(all, KEYS);
        for offer in offers_of_one_type() {
            let families: std::collections::BTreeSet<_> = offer.key.iter().map(key_family).collect();
            assert_eq!(families.len(), 1, "{families:?}");
        }
    }

    fn key_family(algorithm: &Algorithm) -> String {
        key_type(algorithm).split("-nistp").next().unwrap_or_default().to_owned()
    }

    #[test]
    fn types_of_key_that_are_known_of_the_host_come_first() {
        let offer = offer(&["ssh-rsa"], false);
        assert_eq!(offer.key[0], Algorithm::Rsa { hash: Some(HashAlg::Sha512) });
        assert_eq!(offer.key.len(), KEYS.len());
        assert!(offer.host_key_certificates.is_empty());
    }
}
