//! Questions to the person who logs in.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use kvm_core::Result;
use zeroize::Zeroizing;

/// Who answers questions at a login: a terminal, a dialog, or a store of secrets.
#[async_trait]
pub trait Prompt: fmt::Debug + Send + Sync + 'static {
    /// Asks one question. `None` when there is no answer; what it was for is then left out.
    async fn ask(&self, question: &Question) -> Result<Option<Secret>>;
}

/// Nobody is there: no question has an answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPrompt;

#[async_trait]
impl Prompt for NoPrompt {
    async fn ask(&self, _: &Question) -> Result<Option<Secret>> {
        Ok(None)
    }
}

/// A question at a login.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// Who logs in where, as `user@host:port`.
    pub login: String,
    /// What is asked for.
    pub about: Asked,
    /// Whether what is typed may be seen.
    pub echo: Echo,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Asked {
    /// The passphrase of a key file.
    Passphrase(PathBuf),
    /// The user's password on the host.
    Password,
    /// What the host itself asks, made safe to show. It may be a one-time code.
    Host {
        /// What the host says before, perhaps nothing.
        instructions: String,
        /// The question.
        text: String,
    },
}

/// Whether what is typed may be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Echo {
    /// It may.
    Shown,
    /// It is a secret.
    Hidden,
}

/// An answer. It is wiped from memory when it is dropped, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The answers of one transport: passphrases and passwords are asked once, although each stream logs in by itself.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    prompt: Arc<dyn Prompt>,
    kept: Arc<Mutex<HashMap<Question, Secret>>>,
}

impl Answers {
    pub(super) fn new(prompt: Arc<dyn Prompt>) -> Self {
        Self { prompt, kept: Arc::default() }
    }

    /// What was answered before, or else the person's answer.
    pub(super) async fn ask(&self, question: &Question) -> Result<Option<Secret>> {
        let kept = self.lock().get(question).cloned();
        match kept {
            Some(secret) => Ok(Some(secret)),
            None => self.prompt.ask(question).await,
        }
    }

    /// Keeps an answer that was right; not those that a host asked for, which may be good for one time only.
    pub(super) fn keep(&self, question: &Question, secret: Secret) {
        if !matches!(question.about, Asked::Host { .. }) {
            self.lock().insert(question.clone(), secret);
        }
    }

    /// Forgets an answer that was wrong.
    pub(super) fn forget(&self, question: &Question) {
        self.lock().remove(question);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Question, Secret>> {
        // A map is whole at any time, whoever panicked with it.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
