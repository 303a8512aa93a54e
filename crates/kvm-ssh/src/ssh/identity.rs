//! Key files of the user, and signatures with them.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use kvm_core::{Bytes, Error, ErrorKind, Resource, Result};
use russh::Signer;
use russh::keys::agent::AgentIdentity;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode as _;
use russh::keys::ssh_key::Signature;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{Certificate, HashAlg, PrivateKey, PublicKey, decode_secret_key};
use zeroize::Zeroizing;

use super::options::SshOptions;
use super::prompt::{Answers, Asked, Echo, Question};
use crate::local::file;

/// The largest key file that is read.
const LARGEST: Bytes = Bytes::from_mib(1);
/// How often a passphrase is asked for.
const TRIES: usize = 3;

/// A key file that can be used, perhaps after its passphrase was given.
pub(super) struct Identity {
    pub(super) path: PathBuf,
    pub(super) public: PublicKey,
    pub(super) certificate: Option<Certificate>,
    text: Zeroizing<String>,
}

/// The identities of these options, and a note for each that is there but cannot be used.
pub(super) async fn read(options: &SshOptions) -> (Vec<Identity>, Vec<String>) {
    let (mut found, mut notes) = (Vec::new(), Vec::new());
    for path in &options.identities {
        match Identity::read(path, options.certificate.as_deref()).await {
            Ok(identity) => found.extend(identity),
            Err(e) => notes.push(format!("{}: {}", path.display(), e.message())),
        }
    }
    (found, notes)
}

impl Identity {
    /// `None` when there is no such file.
    async fn read(path: &Path, certificate: Option<&Path>) -> Result<Option<Self>> {
        let Some(text) = read_text(path).await? else { return Ok(None) };
        let mode = std::fs::metadata(path).map_err(|e| unusable("cannot be read").with_source(e))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(unusable("others can read this key; take their permissions away (chmod 600)"));
        }
        let public = match PrivateKey::from_openssh(text.as_str()) {
            // Also one that is encrypted shows its public half.
            Ok(key) => key.public_key().clone(),
            Err(_) => match decode_secret_key(&text, None) {
                Ok(key) => key.public_key().clone(),
                Err(russh::keys::Error::KeyIsEncrypted) => {
                    return Err(unusable("this encrypted key has an old format; convert it with ssh-keygen -p -f"));
                }
                Err(e) => return Err(unusable("this is no private key").with_source(e)),
            },
        };
        let mut beside = path.as_os_str().to_owned();
        beside.push("-cert.pub");
        let mut own = None;
        for path in [certificate, Some(Path::new(&beside))].into_iter().flatten() {
            let Some(text) = read_text(path).await? else { continue };
            let read = Certificate::from_openssh(text.trim());
            let read = read.map_err(|e| unusable("its certificate is not well formed").with_source(e))?;
            if read.public_key() == public.key_data() {
                own = Some(read);
                break;
            }
        }
        Ok(Some(Self { path: path.to_owned(), public, certificate: own, text }))
    }

    /// The private half; asks for the passphrase when there is one. `None` when nobody gives the right one.
    async fn unlock(&self, login: &str, answers: &Answers) -> Result<Option<PrivateKey>> {
        if let Ok(key) = decode_secret_key(&self.text, None) {
            return Ok(Some(key));
        }
        let about = Asked::Passphrase(self.path.clone());
        let question = Question { login: login.to_owned(), about, echo: Echo::Hidden };
        for _ in 0..TRIES {
            let Some(secret) = answers.ask(&question).await? else { break };
            let (text, passphrase) = (self.text.clone(), secret.clone());
            // The derivation is slow on purpose.
            let unlocked =
                tokio::task::spawn_blocking(move || decode_secret_key(&text, Some(passphrase.expose()))).await;
            if let Ok(Ok(key)) = unlocked {
                answers.keep(&question, secret);
                return Ok(Some(key));
            }
            answers.forget(&question);
        }
        Ok(None)
    }
}

async fn read_text(path: &Path) -> Result<Option<Zeroizing<String>>> {
    match file::read(path, LARGEST).await {
        Ok(data) => {
            let text = String::from_utf8(data).map_err(|_| unusable("this is no text"))?;
            Ok(Some(Zeroizing::new(text)))
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn unusable(text: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, text).on(Resource::Field("identity".into()))
}

/// Signs with a key file, which is unlocked only when the host has said that it would take the key.
pub(super) struct FileSigner<'a> {
    pub(super) identity: &'a Identity,
    pub(super) login: &'a str,
    pub(super) answers: &'a Answers,
}

/// Why a key did not sign.
#[derive(Debug)]
pub(super) enum SignError {
    /// The connection is gone.
    Lost,
    /// It stays locked, or is not good for a signature.
    Unusable(String),
    /// The answer could not be asked for.
    Ours(Error),
}

impl From<russh::SendError> for SignError {
    fn from(_: russh::SendError) -> Self {
        Self::Lost
    }
}

impl From<russh::AgentAuthError> for SignError {
    fn from(e: russh::AgentAuthError) -> Self {
        match e {
            russh::AgentAuthError::Send(_) => Self::Lost,
            russh::AgentAuthError::Key(e) => Self::Unusable(format!("the agent did not sign: {e}")),
        }
    }
}

impl Signer for FileSigner<'_> {
    type Error = SignError;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        hash: Option<HashAlg>,
        mut data: Vec<u8>,
    ) -> Result<Vec<u8>, SignError> {
        let key = self.identity.unlock(self.login, self.answers).await.map_err(SignError::Ours)?;
        let key = key.ok_or_else(|| SignError::Unusable("no right passphrase was given".to_owned()))?;
        let signature: Result<Signature, _> = match key.key_data() {
            KeypairData::Rsa(key) => (key, hash).try_sign(&data),
            key => key.try_sign(&data),
        };
        let signature = signature.map_err(io::Error::other).and_then(|s| s.encode_vec().map_err(io::Error::other));
        let encoded = signature.and_then(|s| s.encode(&mut data).map_err(io::Error::other));
        encoded.map_err(|e| SignError::Unusable(format!("the key does not sign: {e}")))?;
        Ok(data)
    }
}
