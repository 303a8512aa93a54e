//! Logging in: in which order, with what, and what is told when nothing helps.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kvm_core::{ErrorKind, Transport as _};
use kvm_ssh::{AgentKeys, Asked, LocalTransport, NoPrompt};
use russh::MethodKind::{KeyboardInteractive, Password, PublicKey};
use russh::keys::ssh_key::LineEnding;
use tokio::net::UnixStream;

use crate::fake::{Fake, Manner, Script, key, transport};
use crate::sshd::{Sshd, keygen, program, write_private};

const LONG: Duration = Duration::from_secs(60);

/// Writes a new key, and says its name.
fn identity(dir: &Path, name: &str) -> std::path::PathBuf {
    let path = dir.join(name);
    write_private(&path, key().to_openssh(LineEnding::LF).unwrap().as_bytes());
    path
}

#[tokio::test]
async fn keys_are_tried_before_questions_and_questions_before_passwords() {
    let ways = vec![Password, KeyboardInteractive, PublicKey];
    let fake = Fake::start(Manner { ways, enough: vec![Password], password: "right", ..Manner::default() }).await;
    let mut options = fake.options();
    options.identities = vec![identity(fake.dir.path(), "one"), fake.dir.path().join("absent")];
    let script = Script::new(&["wrong", "1", "wrong", "2", "wrong", "3", "bad", "right"]);
    let asked = Arc::clone(&script.asked);
    transport(&options, script).connect().await.unwrap();
    assert_eq!(
        fake.seen.all(),
        [
            "connection",
            "none",
            "key ssh-ed25519",
            "questions",
            "answers wrong,1",
            "questions",
            "answers wrong,2",
            "questions",
            "answers wrong,3",
            "password alice bad",
            "password alice right",
            "in",
        ]
    );
    let asked = asked.lock().unwrap();
    assert_eq!(asked.last(), Some(&Asked::Password));
    let Asked::Host { instructions, text } = &asked[0] else { panic!("{asked:?}") };
    assert_eq!(text, "Password: ");
    assert!(!instructions.contains('\u{1b}'), "what the host says is safe to show: {instructions:?}");
}

#[tokio::test]
async fn the_questions_of_a_host_are_answered_round_by_round() {
    let ways = vec![KeyboardInteractive];
    let fake = Fake::start(Manner { ways: ways.clone(), enough: ways, ..Manner::default() }).await;
    transport(&fake.options(), Script::new(&["secret", "123", "yes"])).connect().await.unwrap();
    assert_eq!(fake.seen.all()[2..], ["questions", "answers secret,123", "answers yes", "in"]);
}

#[tokio::test]
async fn a_host_that_asks_without_end_is_corrupt() {
    let ways = vec![KeyboardInteractive];
    let fake = Fake::start(Manner { ways: ways.clone(), enough: ways, ..Manner::default() }).await;
    let e = transport(&fake.options(), Script::new(&["endless", "1"])).connect().await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_host_that_wants_two_proofs_gets_both() {
    let ways = vec![PublicKey];
    let enough = vec![PublicKey, Password];
    let fake = Fake::start(Manner { ways, enough, password: "right", ..Manner::default() }).await;
    let mut options = fake.options();
    options.identities = vec![identity(fake.dir.path(), "one")];
    transport(&options, Script::new(&["right"])).connect().await.unwrap();
    assert_eq!(fake.seen.all()[2..], ["key ssh-ed25519", "password alice right", "in"]);
}

#[tokio::test]
async fn a_login_that_is_refused_is_denied_once_and_says_what_was_tried() {
    let ways = vec![PublicKey, Password];
    let fake = Fake::start(Manner { ways, ..Manner::default() }).await;
    let mut options = fake.options();
    options.retries = 5;
    options.identities = vec![identity(fake.dir.path(), "one")];
    options.agent = Some(fake.dir.path().join("no-agent"));
    let e = transport(&options, NoPrompt).connect().await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Denied);
    let detail = e.detail().unwrap();
    for part in ["publickey, password", "/one: refused", "the SSH agent", "no password was given"] {
        assert!(detail.contains(part), "{detail}");
    }
    assert_eq!(fake.seen.all().iter().filter(|seen| *seen == "connection").count(), 1, "not tried again");
}

#[tokio::test]
async fn a_password_is_asked_for_once_although_each_stream_logs_in() {
    let sshd_of = |enough| Manner { ways: vec![Password], enough, password: "right", ..Manner::default() };
    let fake = Fake::start(sshd_of(vec![Password])).await;
    let script = Script::new(&["right"]);
    let asked = Arc::clone(&script.asked);
    let transport = transport(&fake.options(), script);
    transport.connect().await.unwrap();
    // This server opens no such channel, but the login before it is what counts.
    let dialled = transport.dial(&kvm_core::Dial::Unix("/run/x".into())).await;
    assert!(dialled.is_err());
    assert_eq!(fake.seen.all().iter().filter(|seen| *seen == "in").count(), 2);
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_that_never_opens_a_channel_is_a_timeout() {
    let ways = vec![Password];
    let manner = Manner { ways: ways.clone(), enough: ways, password: "x", no_channels: true, ..Manner::default() };
    let fake = Fake::start(manner).await;
    let mut options = fake.options();
    options.timeouts.stall = Duration::from_millis(300);
    let e = transport(&options, Script::new(&["x"])).run(&["true"], LONG).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn a_flood_of_complaints_is_cut_off() {
    let ways = vec![Password];
    let manner = Manner { ways: ways.clone(), enough: ways, password: "x", floods: true, ..Manner::default() };
    let fake = Fake::start(manner).await;
    let e = transport(&fake.options(), Script::new(&["x"])).run(&["true"], LONG).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn channels_that_the_host_opens_by_itself_are_refused() {
    let ways = vec![Password];
    let manner = Manner { ways: ways.clone(), enough: ways, password: "x", intrudes: true, ..Manner::default() };
    let fake = Fake::start(manner).await;
    let transport = transport(&fake.options(), Script::new(&["x"]));
    let output = transport.run(&["true"], LONG).await.unwrap();
    assert_eq!(output.stdout, b"done");
    let seen = fake.seen.all();
    assert!(!seen.contains(&"a channel of ours was taken".to_owned()), "{seen:?}");
}

#[tokio::test]
async fn an_encrypted_key_is_unlocked_when_the_host_wants_it_and_its_passphrase_asked_once() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    keygen(&["-q", "-t", "ed25519", "-N", "", "-f", &at("host_key")]).await;
    keygen(&["-q", "-t", "rsa", "-b", "2048", "-N", "open sesame", "-f", &at("user_key")]).await;
    keygen(&["-q", "-t", "ed25519", "-N", "another", "-f", &at("stranger")]).await;
    let sshd = Sshd::start_in(dir, "").await;
    let mut options = sshd.options();
    options.identities.insert(0, sshd.path("stranger"));
    let script = Script::new(&["wrong", "open sesame"]);
    let asked = Arc::clone(&script.asked);
    let transport = sshd.transport_with(&options, Arc::new(script));
    transport.connect().await.unwrap();
    let to = kvm_core::Dial::Tcp { host: "127.0.0.1".parse().unwrap(), port: sshd.port };
    drop(transport.dial(&to).await.unwrap());
    let passphrase = Asked::Passphrase(sshd.path("user_key"));
    assert_eq!(*asked.lock().unwrap(), [passphrase.clone(), passphrase], "not for the key that the host does not want");
}

#[tokio::test]
async fn a_key_that_others_can_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let sshd = Sshd::start("").await;
    let options = sshd.options();
    std::fs::set_permissions(sshd.path("user_key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let e = sshd.transport(&options).connect().await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Denied);
    assert!(e.detail().unwrap().contains("chmod 600"), "{:?}", e.detail());
}

#[tokio::test]
async fn a_certificate_beside_the_key_logs_in() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for key in ["host_key", "user_key", "authority", "certified"] {
        keygen(&["-q", "-t", "ed25519", "-N", "", "-f", &at(key)]).await;
    }
    let user = program(&["id", "-un"]).await;
    keygen(&["-q", "-s", &at("authority"), "-I", "alice", "-n", &user, &at("certified.pub")]).await;
    let sshd = Sshd::start_in(dir, "TrustedUserCAKeys {dir}/authority.pub").await;
    let mut options = sshd.options();
    options.identities = vec![sshd.path("certified")];
    sshd.transport(&options).connect().await.unwrap();
    std::fs::rename(sshd.path("certified-cert.pub"), sshd.path("elsewhere")).unwrap();
    assert_eq!(sshd.transport(&options).connect().await.unwrap_err().kind(), ErrorKind::Denied);
    options.certificate = Some(sshd.path("elsewhere"));
    sshd.transport(&options).connect().await.unwrap();
}

#[tokio::test]
async fn the_keys_of_an_agent_are_used_and_only_those_listed_when_so_told() {
    let sshd = Sshd::start("").await;
    let socket = sshd.path("agent");
    let name = socket.to_str().unwrap().to_owned();
    let agent = tokio::spawn(async move {
        let ended = LocalTransport::new().run(&["ssh-agent", "-D", "-a", &name], Duration::from_secs(3600)).await;
        panic!("the agent ended: {ended:?}");
    });
    while UnixStream::connect(&socket).await.is_err() {
        assert!(!agent.is_finished());
        tokio::task::yield_now().await;
    }
    let add = ["env", &format!("SSH_AUTH_SOCK={}", socket.display()), "ssh-add", "-q"].map(str::to_owned);
    let key = sshd.path("user_key");
    program(&[&add[0], &add[1], &add[2], &add[3], key.to_str().unwrap()]).await;

    let mut options = sshd.options();
    options.identities.clear();
    assert_eq!(sshd.transport(&options).connect().await.unwrap_err().kind(), ErrorKind::Denied);
    options.agent = Some(socket);
    sshd.transport(&options).connect().await.unwrap();
    options.agent_keys = AgentKeys::Listed;
    assert_eq!(sshd.transport(&options).connect().await.unwrap_err().kind(), ErrorKind::Denied);
    options.identities = vec![key];
    sshd.transport(&options).connect().await.unwrap();
    agent.abort();
}
