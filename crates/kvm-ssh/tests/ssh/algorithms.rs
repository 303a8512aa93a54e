//! What is too weak is refused, against real servers and one that is told to be old.

use kvm_core::ErrorKind;
use kvm_ssh::NoPrompt;
use russh::{MethodKind, cipher, kex};

use crate::fake::{Fake, Manner, key, transport};
use crate::sshd::{Sshd, keygen};

#[tokio::test]
async fn a_server_with_weak_algorithms_only_is_denied() {
    for config in [
        "KexAlgorithms diffie-hellman-group14-sha1",
        "KexAlgorithms diffie-hellman-group-exchange-sha1",
        "Ciphers aes128-cbc,3des-cbc",
        "Ciphers aes128-ctr\nMACs hmac-sha1,hmac-md5,umac-64@openssh.com",
    ] {
        let sshd = Sshd::start(config).await;
        let e = sshd.transport(&sshd.options()).connect().await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Denied, "{config}: {e} {:?}", e.detail());
        assert!(e.detail().unwrap().contains("it offers"), "{:?}", e.detail());
    }
}

#[tokio::test]
async fn an_rsa_host_key_is_taken_with_sha_2_and_refused_with_sha_1() {
    for (algorithms, good) in [("rsa-sha2-256", true), ("rsa-sha2-512", true), ("ssh-rsa", false)] {
        let dir = tempfile::tempdir().unwrap();
        for (key, kind) in [("host_key", "rsa"), ("user_key", "ed25519")] {
            keygen(&["-q", "-t", kind, "-N", "", "-f", dir.path().join(key).to_str().unwrap()]).await;
        }
        let sshd = Sshd::start_in(dir, &format!("HostKeyAlgorithms {algorithms}")).await;
        let connected = sshd.transport(&sshd.options()).connect().await;
        assert_eq!(connected.is_ok(), good, "{algorithms}: {connected:?}");
        if let Err(e) = connected {
            assert_eq!(e.kind(), ErrorKind::Denied);
        }
    }
}

/// Whether a server that does not know strict key exchange is taken with this cipher.
async fn without_strict_kex(name: cipher::Name) -> Result<(), ErrorKind> {
    let manner = Manner { ways: vec![MethodKind::None], enough: vec![MethodKind::None], ..Manner::default() };
    let fake = Fake::start_with(manner, key(), |config| {
        config.preferred.cipher = vec![name].into();
        config.preferred.kex = vec![kex::CURVE25519].into();
    });
    let fake = fake.await;
    let connected = transport(&fake.options(), NoPrompt).connect().await;
    assert_eq!(connected.is_ok(), fake.seen.all().contains(&"in".to_owned()));
    connected.map_err(|e| e.kind())
}

#[tokio::test]
async fn without_strict_key_exchange_only_aes_gcm_is_taken() {
    assert_eq!(without_strict_kex(cipher::AES_256_GCM).await, Ok(()));
    assert_eq!(without_strict_kex(cipher::CHACHA20_POLY1305).await, Err(ErrorKind::Denied));
    assert_eq!(without_strict_kex(cipher::AES_256_CTR).await, Err(ErrorKind::Denied));
}

#[tokio::test]
async fn with_strict_key_exchange_the_others_are_taken_as_well() {
    for ciphers in ["chacha20-poly1305@openssh.com", "aes256-ctr", "aes128-gcm@openssh.com"] {
        let sshd = Sshd::start(&format!("Ciphers {ciphers}")).await;
        sshd.transport(&sshd.options()).connect().await.unwrap();
    }
}
