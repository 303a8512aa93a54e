//! A server of the tests' own, which can do what OpenSSH's does not.
#![allow(dead_code, reason = "each of the test programs uses a part of it")]

use std::borrow::Cow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use kvm_core::{Port, Result, SystemClock, SystemEntropy};
use kvm_ssh::{Asked, Prompt, Question, Secret, SshOptions, SshTransport};
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::{Algorithm, Certificate, PrivateKey, key::safe_rng};
use russh::server::{Auth, Config, Handler, Msg, Response, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, MethodKind, MethodSet};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// How the server treats logins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manner {
    /// The ways that it says it takes.
    pub(crate) ways: Vec<MethodKind>,
    /// The way that lets somebody in; before it those that are a part of the proof.
    pub(crate) enough: Vec<MethodKind>,
    pub(crate) password: &'static str,
    /// Never answers when a channel is opened.
    pub(crate) no_channels: bool,
    /// Prints without end on both streams of a program.
    pub(crate) floods: bool,
    /// Answers requests for files with a frame that would be 4 GiB long.
    pub(crate) huge_files: bool,
    /// Opens channels by itself once somebody is in.
    pub(crate) intrudes: bool,
}

/// What the server has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn add(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

pub(crate) struct Fake {
    pub(crate) port: Port,
    pub(crate) host_key: PrivateKey,
    pub(crate) seen: Seen,
    pub(crate) dir: TempDir,
}

pub(crate) fn key() -> PrivateKey {
    PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap()
}

/// A host certificate for a name.
pub(crate) fn certificate(
    host: &PrivateKey,
    authority: &PrivateKey,
    names: &[&str],
    kind: CertType,
    until: u64,
) -> Certificate {
    let mut builder = Builder::new(vec![7; 16], host.public_key().key_data().clone(), 0, until).unwrap();
    builder.cert_type(kind).unwrap().key_id("host").unwrap().comment("").unwrap();
    if names.is_empty() {
        builder.all_principals_valid().unwrap();
    }
    for name in names {
        builder.valid_principal(*name).unwrap();
    }
    builder.sign(authority).unwrap()
}

impl Fake {
    /// A server with a key of its own.
    pub(crate) async fn start(manner: Manner) -> Self {
        Self::start_with(manner, key(), |_| {}).await
    }

    pub(crate) async fn start_with(manner: Manner, host_key: PrivateKey, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            keys: vec![host_key.clone()],
            methods: MethodSet::from(&manner.ways[..]),
            auth_rejection_time: Duration::ZERO,
            auth_rejection_time_initial: Some(Duration::ZERO),
            ..Config::default()
        };
        change(&mut config);
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().to_string().parse().unwrap();
        let seen = Seen::default();
        let watch = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                watch.add("connection");
                let peer = Peer { manner: manner.clone(), seen: watch.clone(), proved: Vec::new() };
                let config = Arc::clone(&config);
                tokio::spawn(async move {
                    if let Ok(session) = russh::server::run_stream(config, stream, peer).await {
                        // How it ends is seen at the other end.
                        let _ended = session.await;
                    }
                });
            }
        });
        Self { port, host_key, seen, dir: tempfile::tempdir().unwrap() }
    }

    /// A login that knows the host.
    pub(crate) fn options(&self) -> SshOptions {
        self.options_knowing(&format!(
            "[127.0.0.1]:{} {}\n",
            self.port,
            self.host_key.public_key().to_openssh().unwrap()
        ))
    }

    /// A login with this text as its `known_hosts`.
    pub(crate) fn options_knowing(&self, known: &str) -> SshOptions {
        let mut options = SshOptions::new("127.0.0.1".parse().unwrap(), "alice".parse().unwrap());
        options.port = self.port;
        options.retries = 0;
        let file = self.dir.path().join("known_hosts");
        std::fs::write(&file, known).unwrap();
        options.known_hosts = vec![file];
        options
    }
}

pub(crate) fn transport(options: &SshOptions, prompt: impl Prompt) -> SshTransport {
    SshTransport::new(options.clone(), Arc::new(prompt), Arc::new(SystemClock), Arc::new(SystemEntropy))
}

/// Answers with these words, one after the other, and remembers what was asked.
#[derive(Debug, Default)]
pub(crate) struct Script {
    answers: Mutex<Vec<&'static str>>,
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
}

impl Script {
    pub(crate) fn new(answers: &[&'static str]) -> Self {
        Self { answers: Mutex::new(answers.iter().rev().copied().collect()), asked: Arc::default() }
    }
}

#[async_trait]
impl Prompt for Script {
    async fn ask(&self, question: &Question) -> Result<Option<Secret>> {
        self.asked.lock().unwrap().push(question.about.clone());
        Ok(self.answers.lock().unwrap().pop().map(|answer| answer.to_owned().into()))
    }
}

struct Peer {
    manner: Manner,
    seen: Seen,
    proved: Vec<MethodKind>,
}

impl Peer {
    fn proved(&mut self, way: MethodKind) -> Auth {
        if !self.manner.enough.contains(&way) {
            return Auth::reject();
        }
        self.proved.push(way);
        if self.manner.enough.iter().all(|way| self.proved.contains(way)) {
            return Auth::Accept;
        }
        let left: Vec<_> = self.manner.enough.iter().filter(|way| !self.proved.contains(way)).copied().collect();
        Auth::Reject { proceed_with_methods: Some(MethodSet::from(&left[..])), partial_success: true }
    }
}

impl Handler for Peer {
    type Error = russh::Error;

    async fn auth_none(&mut self, _: &str) -> Result<Auth, russh::Error> {
        self.seen.add("none");
        Ok(self.proved(MethodKind::None))
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, russh::Error> {
        self.seen.add(format!("password {user} {password}"));
        Ok(if password == self.manner.password { self.proved(MethodKind::Password) } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, _: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        self.seen.add(format!("key {}", key.algorithm));
        Ok(self.proved(MethodKind::PublicKey))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        let ask = |name, prompts: &[(&'static str, bool)]| Auth::Partial {
            name: Cow::Borrowed(name),
            instructions: Cow::Borrowed("be\u{1b}[31m quick"),
            prompts: Cow::Owned(prompts.iter().map(|(text, echo)| (Cow::Borrowed(*text), *echo)).collect()),
        };
        let Some(response) = response else {
            self.seen.add("questions");
            return Ok(ask("two", &[("Password: ", false), ("Code: ", true)]));
        };
        let answers: Vec<_> = response.map(|a| String::from_utf8_lossy(&a).into_owned()).collect();
        self.seen.add(format!("answers {}", answers.join(",")));
        Ok(match answers.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["secret", "123"] => ask("one more", &[("Sure? ", true)]),
            ["yes"] => self.proved(MethodKind::KeyboardInteractive),
            ["endless", _] => ask("endless", &[]),
            [] => ask("endless", &[]),
            _ => Auth::reject(),
        })
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), russh::Error> {
        self.seen.add("in");
        if self.manner.intrudes {
            session.channel_open_forwarded_tcpip("127.0.0.1", 22, "127.0.0.1", 1)?;
            session.channel_open_agent()?;
            session.channel_open_x11("127.0.0.1", 1)?;
        }
        Ok(())
    }

    async fn channel_open_confirmation(
        &mut self,
        _: ChannelId,
        _: u32,
        _: u32,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.seen.add("a channel of ours was taken");
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: russh::server::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.manner.no_channels {
            // Kept, so that neither answer is ever given.
            std::mem::forget(reply);
        } else {
            reply.accept().await;
        }
        Ok(())
    }

    async fn subsystem_request(&mut self, id: ChannelId, _: &str, session: &mut Session) -> Result<(), russh::Error> {
        session.channel_success(id)?;
        if self.manner.huge_files {
            session.data(id, vec![0xff; 32_768])?;
        }
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, line: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        self.seen.add(String::from_utf8_lossy(line));
        session.channel_success(id)?;
        if self.manner.floods {
            let handle = session.handle();
            tokio::spawn(async move { while handle.extended_data(id, 1, vec![b'x'; 32_768]).await.is_ok() {} });
        } else {
            session.data(id, b"done".to_vec())?;
            session.exit_status_request(id, 0)?;
            session.close(id)?;
        }
        Ok(())
    }
}
