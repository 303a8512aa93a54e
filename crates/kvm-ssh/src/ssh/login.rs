//! Proving to a host who we are: keys of the agent, key files, what the host asks, a password.

use std::time::Duration;

use kvm_core::text::{printable_lines, printable_within};
use kvm_core::{ErrorKind, Result};
use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse as Interactive};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};
use russh::{MethodKind, MethodSet, Signer};

use super::client::Client;
use super::error::{SHOWN, host_error, ssh_error};
use super::identity::{self, FileSigner, Identity, SignError};
use super::options::{AgentKeys, SshOptions};
use super::prompt::{Answers, Asked, Echo, Question, Secret};

/// Ways to log in, in the order in which they are tried.
const ORDER: [MethodKind; 3] = [MethodKind::PublicKey, MethodKind::KeyboardInteractive, MethodKind::Password];
/// How often a person may answer wrongly.
const TRIES: usize = 3;
/// How many steps a host may ask for, one after the other; and how many rounds of questions within one.
const STEPS: usize = 8;
/// The most questions that a host may ask at once.
const QUESTIONS: usize = 16;
/// How long one attempt may take, with the person who types or touches a token in it: as long as servers wait.
const ATTEMPT: Duration = Duration::from_secs(120);

/// How one way ended.
enum Outcome {
    In,
    /// The host wants another proof besides, by one of these ways.
    More(MethodSet),
    Refused,
}

/// Logs in. `Denied` when the host takes nothing that there is; the detail says what was tried.
pub(super) async fn log_in(handle: &mut Handle<Client>, options: &SshOptions, answers: &Answers) -> Result<()> {
    let shown = options.shown();
    let mut login = Login { handle, options, answers, shown, tried: Vec::new(), notes: Vec::new() };
    login.run().await
}

struct Login<'a> {
    handle: &'a mut Handle<Client>,
    options: &'a SshOptions,
    answers: &'a Answers,
    shown: String,
    /// The keys that the host has refused or taken already.
    tried: Vec<PublicKey>,
    notes: Vec<String>,
}

impl Login<'_> {
    async fn run(&mut self) -> Result<()> {
        let none = self.handle.authenticate_none(self.options.user.as_str());
        let none = tokio::time::timeout(self.options.timeouts.stall, none).await;
        let none =
            none.map_err(|_| host_error(ErrorKind::Timeout, &self.shown, "did not answer to the login in time"))?;
        let AuthResult::Failure { remaining_methods: mut allowed, .. } = none.map_err(|e| ssh_error(&self.shown, e))?
        else {
            return Ok(());
        };
        let mut spent = Vec::new();
        for _ in 0..STEPS {
            let Some(method) = ORDER.into_iter().find(|m| allowed.contains(m) && !spent.contains(m)) else { break };
            match self.by(method).await? {
                Outcome::In => return Ok(()),
                Outcome::More(methods) => allowed = methods,
                Outcome::Refused => spent.push(method),
            }
            if self.handle.is_closed() {
                self.notes.push("the host hung up; there may have been too many keys (see IdentitiesOnly)".to_owned());
                break;
            }
        }
        let ways: Vec<_> = allowed.iter().map(String::from).collect();
        let mut detail = format!("the host takes: {}", ways.join(", "));
        for note in &self.notes {
            detail += &format!("\n{note}");
        }
        let e = host_error(ErrorKind::Denied, &self.shown, "took none of the keys and answers that there were");
        Err(e.with_detail(detail).during("login"))
    }

    async fn by(&mut self, method: MethodKind) -> Result<Outcome> {
        match method {
            MethodKind::PublicKey => self.by_key().await,
            MethodKind::KeyboardInteractive => self.by_questions().await,
            _ => self.by_password().await,
        }
    }

    async fn by_key(&mut self) -> Result<Outcome> {
        let (files, notes) = identity::read(self.options).await;
        self.notes.extend(notes.into_iter().filter(|note| !self.notes.contains(note)).collect::<Vec<_>>());
        if let Some(mut agent) = self.agent().await {
            let keys = match tokio::time::timeout(self.options.timeouts.stall, agent.request_identities()).await {
                Ok(Ok(keys)) => keys,
                Ok(Err(e)) => self.without_agent(&e.to_string()),
                Err(_) => self.without_agent("it does not answer"),
            };
            for identity in sorted(keys, &files, self.options.agent_keys) {
                let (key, certificate, comment) = match identity {
                    AgentIdentity::PublicKey { key, comment } => (key, None, comment),
                    AgentIdentity::Certificate { certificate, comment } => {
                        (PublicKey::new(certificate.public_key().clone(), ""), Some(certificate), comment)
                    }
                };
                let name = format!("the agent's key {}", printable_within(&comment, SHOWN));
                match self.offer(&key, certificate, &name, &mut agent).await? {
                    Outcome::Refused => {}
                    other => return Ok(other),
                }
            }
        }
        for file in &files {
            let name = file.path.display().to_string();
            let login = self.shown.clone();
            let mut signer = FileSigner { identity: file, login: &login, answers: self.answers };
            match self.offer(&file.public, file.certificate.clone(), &name, &mut signer).await? {
                Outcome::Refused => {}
                other => return Ok(other),
            }
        }
        Ok(Outcome::Refused)
    }

    async fn agent(&mut self) -> Option<AgentClient<tokio::net::UnixStream>> {
        let socket = self.options.agent.as_ref()?;
        match AgentClient::connect_uds(socket).await {
            Ok(agent) => Some(agent),
            Err(e) => {
                let _none: Vec<AgentIdentity> = self.without_agent(&e.to_string());
                None
            }
        }
    }

    fn without_agent(&mut self, why: &str) -> Vec<AgentIdentity> {
        self.notes.push(format!("the SSH agent has no keys for us: {why}"));
        Vec::new()
    }

    /// Offers one key, by its certificate first if there is one.
    async fn offer<S>(
        &mut self,
        key: &PublicKey,
        certificate: Option<Certificate>,
        name: &str,
        signer: &mut S,
    ) -> Result<Outcome>
    where
        S: Signer,
        SignError: From<S::Error>,
    {
        if self.handle.is_closed()
            || (certificate.is_none() && self.tried.iter().any(|t| t.key_data() == key.key_data()))
        {
            return Ok(Outcome::Refused);
        }
        let Some(hash) = self.hash_for(key).await? else {
            self.notes.push(format!("{name}: the host wants RSA with SHA-1, which is not used"));
            return Ok(Outcome::Refused);
        };
        let user = self.options.user.as_str();
        if let Some(certificate) = certificate {
            let attempt = self.handle.authenticate_certificate_with(user, certificate, hash, signer);
            let result = tokio::time::timeout(ATTEMPT, attempt).await.map(|r| r.map_err(SignError::from));
            match self.outcome(result, &format!("{name} (certificate)"))? {
                Outcome::Refused => {}
                other => return Ok(other),
            }
            if self.tried.iter().any(|t| t.key_data() == key.key_data()) {
                return Ok(Outcome::Refused);
            }
        }
        self.tried.push(key.clone());
        let attempt = self.handle.authenticate_publickey_with(user, key.clone(), hash, signer);
        let result = tokio::time::timeout(ATTEMPT, attempt).await.map(|r| r.map_err(SignError::from));
        self.outcome(result, name)
    }

    fn outcome(
        &mut self,
        result: Result<Result<AuthResult, SignError>, tokio::time::error::Elapsed>,
        name: &str,
    ) -> Result<Outcome> {
        match result {
            Ok(Ok(AuthResult::Success)) => Ok(Outcome::In),
            Ok(Ok(AuthResult::Failure { remaining_methods, partial_success: true })) => {
                Ok(Outcome::More(remaining_methods))
            }
            Ok(Ok(AuthResult::Failure { .. })) => {
                self.notes.push(format!("{name}: refused"));
                Ok(Outcome::Refused)
            }
            Ok(Err(SignError::Unusable(why))) => {
                self.notes.push(format!("{name}: {why}"));
                Ok(Outcome::Refused)
            }
            Ok(Err(SignError::Lost)) => Err(host_error(ErrorKind::Unavailable, &self.shown, "hung up at the login")),
            Ok(Err(SignError::Ours(e))) => Err(e),
            Err(_) => Err(host_error(ErrorKind::Timeout, &self.shown, "did not answer to the login in time")),
        }
    }

    /// The digest to sign with; `None` when the host would take nothing better than SHA-1.
    async fn hash_for(&self, key: &PublicKey) -> Result<Option<Option<HashAlg>>> {
        if !matches!(key.algorithm(), Algorithm::Rsa { .. }) {
            return Ok(Some(None));
        }
        let best = tokio::time::timeout(self.options.timeouts.stall, self.handle.best_supported_rsa_hash()).await;
        Ok(match best {
            Ok(Ok(Some(Some(hash)))) => Some(Some(hash)),
            Ok(Ok(Some(None))) => None,
            // The host has not said. All that are worth a login know this one.
            _ => Some(Some(HashAlg::Sha512)),
        })
    }

    async fn by_questions(&mut self) -> Result<Outcome> {
        for _ in 0..TRIES {
            let user = self.options.user.as_str();
            let start = self.handle.authenticate_keyboard_interactive_start(user, None::<String>);
            let mut reply = within(self.options.timeouts.stall, start, &self.shown).await?;
            let mut answered = false;
            let mut rounds = 0;
            let outcome = loop {
                match reply {
                    Interactive::Success => return Ok(Outcome::In),
                    Interactive::Failure { remaining_methods, partial_success: true } => {
                        break Outcome::More(remaining_methods);
                    }
                    Interactive::Failure { .. } => break Outcome::Refused,
                    Interactive::InfoRequest { name, instructions, prompts } => {
                        rounds += 1;
                        if rounds > STEPS || prompts.len() > QUESTIONS {
                            return Err(host_error(ErrorKind::Corrupt, &self.shown, "asks without end at the login"));
                        }
                        let before = format!("{name}\n{instructions}");
                        let instructions: String = printable_lines(before.trim()).to_string();
                        let mut responses = Vec::new();
                        for prompt in prompts {
                            let about = Asked::Host {
                                instructions: instructions.chars().take(4096).collect(),
                                text: printable_within(&prompt.prompt, SHOWN).to_string(),
                            };
                            let echo = if prompt.echo { Echo::Shown } else { Echo::Hidden };
                            let question = Question { login: self.shown.clone(), about, echo };
                            let Some(secret) = self.answers.ask(&question).await? else {
                                self.notes.push("the host's questions were not answered".to_owned());
                                return Ok(Outcome::Refused);
                            };
                            answered = true;
                            responses.push(secret.expose().to_owned());
                        }
                        let respond = self.handle.authenticate_keyboard_interactive_respond(responses);
                        reply = within(self.options.timeouts.stall, respond, &self.shown).await?;
                    }
                }
            };
            if !matches!(outcome, Outcome::Refused) {
                return Ok(outcome);
            }
            self.notes.push("the answers to the host's questions: refused".to_owned());
            // A host that refuses without a question would do so again.
            if !answered || self.handle.is_closed() {
                break;
            }
        }
        Ok(Outcome::Refused)
    }

    async fn by_password(&mut self) -> Result<Outcome> {
        let question = Question { login: self.shown.clone(), about: Asked::Password, echo: Echo::Hidden };
        for _ in 0..TRIES {
            let Some(secret) = self.answers.ask(&question).await? else {
                self.notes.push("no password was given".to_owned());
                break;
            };
            match self.password(&secret).await? {
                Outcome::Refused => {
                    self.answers.forget(&question);
                    self.notes.push("the password: refused".to_owned());
                }
                other => {
                    self.answers.keep(&question, secret);
                    return Ok(other);
                }
            }
            if self.handle.is_closed() {
                break;
            }
        }
        Ok(Outcome::Refused)
    }

    async fn password(&mut self, secret: &Secret) -> Result<Outcome> {
        let attempt = self.handle.authenticate_password(self.options.user.as_str(), secret.expose());
        Ok(match within(self.options.timeouts.stall, attempt, &self.shown).await? {
            AuthResult::Success => Outcome::In,
            AuthResult::Failure { remaining_methods, partial_success: true } => Outcome::More(remaining_methods),
            AuthResult::Failure { .. } => Outcome::Refused,
        })
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, russh::Error>>, shown: &str) -> Result<T> {
    let done = tokio::time::timeout(limit, work).await;
    let done = done.map_err(|_| host_error(ErrorKind::Timeout, shown, "did not answer to the login in time"))?;
    done.map_err(|e| ssh_error(shown, e))
}

/// The agent's keys: those with a file first, in the order of the files.
fn sorted(keys: Vec<AgentIdentity>, files: &[Identity], which: AgentKeys) -> Vec<AgentIdentity> {
    let place = |identity: &AgentIdentity| {
        let key = identity.public_key();
        files.iter().position(|file| file.public.key_data() == key.key_data())
    };
    let mut keys: Vec<_> = keys.into_iter().map(|key| (place(&key), key)).collect();
    if which == AgentKeys::Listed {
        keys.retain(|(place, _)| place.is_some());
    }
    keys.sort_by_key(|(place, _)| place.unwrap_or(usize::MAX));
    keys.into_iter().map(|(_, key)| key).collect()
}
