//! Whether a host is who it says: unknown, changed, revoked keys, certificates, and how a key becomes known.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use kvm_core::{Error, ErrorKind, SystemClock};
use kvm_ssh::{NoPrompt, SshOptions, host_key, host_keys, trust_host_key};
use russh::MethodKind;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{HashAlg, PrivateKey};

use crate::fake::{Fake, Manner, certificate, key, transport};
use crate::sshd::{Sshd, program};

const FOREVER: u64 = i64::MAX as u64;

fn open() -> Manner {
    Manner { ways: vec![MethodKind::None], enough: vec![MethodKind::None], ..Manner::default() }
}

async fn connect(options: &SshOptions) -> Result<(), Error> {
    transport(options, NoPrompt).connect().await
}

/// The error of a host that may not be logged in to, and that saw no try to.
async fn denied(fake: &Fake, known: &str) -> Error {
    let e = connect(&fake.options_knowing(known)).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Denied, "{e}");
    assert_eq!(fake.seen.all(), ["connection"], "nothing was said to it, and it was not tried again");
    e
}

fn fingerprint(key: &PrivateKey) -> String {
    key.public_key().fingerprint(HashAlg::Sha256).to_string()
}

fn openssh(key: &PrivateKey) -> String {
    key.public_key().to_openssh().unwrap()
}

#[tokio::test]
async fn a_known_host_is_taken() {
    let fake = Fake::start(open()).await;
    connect(&fake.options()).await.unwrap();
}

#[tokio::test]
async fn an_unknown_key_is_denied_with_its_type_and_fingerprint() {
    let fake = Fake::start(open()).await;
    let e = denied(&fake, "").await;
    let detail = e.detail().unwrap();
    assert!(detail.contains("ssh-ed25519") && detail.contains(&fingerprint(&fake.host_key)), "{detail}");
}

#[tokio::test]
async fn the_key_of_another_host_is_unknown_here() {
    let fake = Fake::start(open()).await;
    denied(&fake, &format!("127.0.0.1,[127.0.0.2]:{} {}", fake.port, openssh(&fake.host_key))).await;
}

#[tokio::test]
async fn a_changed_key_is_denied_with_both_fingerprints() {
    let fake = Fake::start(open()).await;
    let old = key();
    let e = denied(&fake, &format!("[127.0.0.1]:{} {}", fake.port, openssh(&old))).await;
    let detail = e.detail().unwrap();
    assert!(detail.contains(&fingerprint(&old)) && detail.contains(&fingerprint(&fake.host_key)), "{detail}");
    assert!(detail.contains("known_hosts:1"), "{detail}");
}

#[tokio::test]
async fn a_revoked_key_is_denied_although_it_is_known() {
    let fake = Fake::start(open()).await;
    let key = openssh(&fake.host_key);
    denied(&fake, &format!("[127.0.0.1]:{} {key}\n@revoked * {key}", fake.port)).await;
}

struct Certified {
    fake: Fake,
    authority: PrivateKey,
}

impl Certified {
    async fn start(names: &[&str], kind: CertType, until: u64) -> Self {
        let (host, authority) = (key(), key());
        let shown = certificate(&host, &authority, names, kind, until);
        let fake = Fake::start_with(open(), host, |config| config.certificates = vec![shown]).await;
        Self { fake, authority }
    }

    fn trusts(&self, hosts: &str) -> String {
        format!("@cert-authority {hosts} {}\n", openssh(&self.authority))
    }
}

#[tokio::test]
async fn a_certificate_of_a_trusted_authority_is_taken() {
    for names in [&["127.0.0.1"][..], &["other", "127.0.0.*"]] {
        let host = Certified::start(names, CertType::Host, FOREVER).await;
        connect(&host.fake.options_knowing(&host.trusts("[127.0.0.*]:*"))).await.unwrap();
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_good_for_the_host_is_denied() {
    for (names, kind, until) in [
        (&["127.0.0.2"][..], CertType::Host, FOREVER),
        (&["!127.0.0.1", "*"], CertType::Host, FOREVER),
        (&[], CertType::Host, FOREVER),
        (&["127.0.0.1"], CertType::User, FOREVER),
        (&["127.0.0.1"], CertType::Host, 1_000_000_000),
    ] {
        let host = Certified::start(names, kind, until).await;
        denied(&host.fake, &host.trusts("*")).await;
    }
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_here_vouches_for_nobody() {
    let host = Certified::start(&["127.0.0.1"], CertType::Host, FOREVER).await;
    let other = key();
    denied(&host.fake, &format!("{}@cert-authority * {}", host.trusts("other.example.com"), openssh(&other))).await;
}

#[tokio::test]
async fn a_certificate_by_a_revoked_authority_or_for_a_revoked_key_is_denied() {
    for revoke_the_authority in [true, false] {
        let host = Certified::start(&["127.0.0.1"], CertType::Host, FOREVER).await;
        let revoked = if revoke_the_authority { &host.authority } else { &host.fake.host_key };
        denied(&host.fake, &format!("{}@revoked * {}", host.trusts("*"), openssh(revoked))).await;
    }
}

#[tokio::test]
async fn a_key_that_is_known_is_taken_where_the_certificate_says_nothing() {
    let host = Certified::start(&["127.0.0.1"], CertType::Host, FOREVER).await;
    let known = format!("[127.0.0.1]:{} {}", host.fake.port, openssh(&host.fake.host_key));
    connect(&host.fake.options_knowing(&format!("@cert-authority * {}\n{known}", openssh(&key())))).await.unwrap();
}

#[tokio::test]
async fn a_host_certificate_that_ssh_keygen_made_is_taken_from_a_real_server() {
    let plain = Sshd::start("").await;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for key in ["host_key", "user_key", "authority"] {
        program(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &at(key)]).await;
    }
    program(&["ssh-keygen", "-q", "-s", &at("authority"), "-h", "-I", "h", "-n", "127.0.0.1", &at("host_key.pub")])
        .await;
    let authority = std::fs::read_to_string(at("authority.pub")).unwrap();
    let sshd = Sshd::start_in(dir, "HostCertificate {dir}/host_key-cert.pub").await;
    let mut options = sshd.stranger();
    let known = plain.path("authorities");
    std::fs::write(&known, format!("@cert-authority [127.0.0.1]:* {authority}")).unwrap();
    options.known_hosts = vec![known];
    sshd.transport(&options).connect().await.unwrap();
}

#[tokio::test]
async fn the_type_of_key_that_is_known_is_the_one_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for (key, kind) in [("host_key", "ed25519"), ("user_key", "ed25519"), ("other_key", "ecdsa")] {
        program(&["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", &at(key)]).await;
    }
    let other = std::fs::read_to_string(at("other_key.pub")).unwrap();
    let sshd = Sshd::start_in(dir, "HostKey {dir}/other_key").await;
    let mut options = sshd.stranger();
    options.known_hosts = vec![sshd.path("others")];
    std::fs::write(sshd.path("others"), format!("[127.0.0.1]:{} {other}", sshd.port)).unwrap();
    sshd.transport(&options).connect().await.unwrap();
}

#[tokio::test]
async fn all_keys_of_a_host_are_shown_and_each_has_the_fingerprint_that_ssh_keygen_says() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for (key, kind) in [("host_key", "ed25519"), ("user_key", "ed25519"), ("ecdsa_key", "ecdsa"), ("rsa_key", "rsa")] {
        program(&["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", &at(key)]).await;
    }
    let mut expected = Vec::new();
    for key in ["host_key", "ecdsa_key", "rsa_key"] {
        let said = program(&["ssh-keygen", "-l", "-f", &at(key)]).await;
        expected.push(said.split(' ').nth(1).unwrap().to_owned());
    }
    let sshd = Sshd::start_in(dir, "HostKey {dir}/ecdsa_key\nHostKey {dir}/rsa_key").await;
    let keys = host_keys(&sshd.stranger(), Arc::new(NoPrompt), &SystemClock).await.unwrap();
    assert_eq!(keys.iter().map(|key| key.fingerprint()).collect::<Vec<_>>(), expected);
    let one = Fake::start(open()).await;
    assert_eq!(host_keys(&one.options(), Arc::new(NoPrompt), &SystemClock).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_that_a_person_trusts_is_known_from_then_on() {
    let fake = Fake::start(open()).await;
    let mut options = fake.options_knowing("# no newline at the end");
    let shown = host_key(&options, Arc::new(NoPrompt), &SystemClock).await.unwrap();
    assert_eq!((shown.algorithm(), shown.fingerprint()), ("ssh-ed25519", fingerprint(&fake.host_key)));
    assert_eq!(fake.seen.all(), ["connection"], "nobody logged in");

    let file = fake.dir.path().join("new/.ssh/known_hosts");
    for file in [&options.known_hosts[0].clone(), &file, &file] {
        trust_host_key(file, &options, &shown).await.unwrap();
    }
    options.known_hosts = vec![fake.dir.path().join("known_hosts")];
    let text = std::fs::read_to_string(&options.known_hosts[0]).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    connect(&options).await.unwrap();

    options.known_hosts = vec![file.clone()];
    trust_host_key(&file, &options, &shown).await.unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 1);
    connect(&options).await.unwrap();
}

#[tokio::test]
async fn a_changed_or_revoked_key_does_not_become_known_by_asking() {
    let fake = Fake::start(open()).await;
    let options = fake.options_knowing(&format!("[127.0.0.1]:{} {}", fake.port, openssh(&key())));
    let shown = host_key(&options, Arc::new(NoPrompt), &SystemClock).await.unwrap();
    let file = fake.dir.path().join("another");
    let e = trust_host_key(&file, &options, &shown).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::AlreadyExists);
    let options = fake.options_knowing(&format!("@revoked * {}", openssh(&fake.host_key)));
    assert_eq!(trust_host_key(&file, &options, &shown).await.unwrap_err().kind(), ErrorKind::Denied);
    assert!(!file.exists());
}
