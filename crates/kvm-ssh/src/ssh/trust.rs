//! Learning a host's key: showing it to a person, and keeping it once that person has said yes.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kvm_core::{Bytes, Clock, Error, ErrorKind, Resource, Result};

use super::algorithms;
use super::client;
use super::host_key::{HostKey, fingerprint};
use super::known_hosts::{KnownHosts, Standing};
use super::options::SshOptions;
use super::prompt::{Answers, Prompt};
use crate::local::file;

/// Asks a host for its key, without logging in there. Jump hosts on the way are logged in to, and checked as always.
///
/// Nothing is said about whether the key is the host's: compare its fingerprint on another way, then
/// [`trust_host_key`].
pub async fn host_key(options: &SshOptions, prompt: Arc<dyn Prompt>, clock: &dyn Clock) -> Result<HostKey> {
    client::shown_key(options, None, &Answers::new(prompt), clock).await
}

/// Asks a host for its key of each type, as [`host_key`] does for the one that a login would be shown. `Denied` when it has
/// none that is strong enough.
pub async fn host_keys(options: &SshOptions, prompt: Arc<dyn Prompt>, clock: &dyn Clock) -> Result<Vec<HostKey>> {
    let answers = Answers::new(prompt);
    let (mut keys, mut refused) = (Vec::new(), None);
    for offer in algorithms::offers_of_one_type() {
        match client::shown_key(options, Some(offer), &answers, clock).await {
            Ok(key) => keys.push(key),
            Err(e) if e.kind() == ErrorKind::Denied => refused = Some(e),
            Err(e) => return Err(e),
        }
    }
    match refused {
        Some(e) if keys.is_empty() => Err(e),
        _ => Ok(keys),
    }
}

/// Writes the key of a host into a `known_hosts` file: atomically, mode 0600, with the directory (0700) if it is not
/// there yet. A key that stands there already is left as it is.
///
/// `AlreadyExists` when another key of the same type stands there or in another file of these options, `Denied` when
/// the key is revoked.
pub async fn trust_host_key(known_hosts: &Path, options: &SshOptions, key: &HostKey) -> Result<()> {
    let mut options = options.clone();
    if !options.known_hosts.iter().any(|file| file == known_hosts) {
        options.known_hosts.push(known_hosts.to_owned());
    }
    match knows_host_key(&options, key).await? {
        true => Ok(()),
        false => write(known_hosts, &options.known_name(), key).await,
    }
}

/// Whether a key stands in the `known_hosts` files as the host's own.
///
/// `AlreadyExists` when another key of the same type stands there, `Denied` when the key is revoked.
pub async fn knows_host_key(options: &SshOptions, key: &HostKey) -> Result<bool> {
    let name = options.known_name();
    match KnownHosts::read(&options.known_hosts).await?.standing(&name, key.algorithm(), key.bytes()) {
        Standing::Known => Ok(true),
        Standing::Unknown => Ok(false),
        Standing::Revoked(place) => {
            let text = format!("the key {} is revoked in {place}", key.fingerprint());
            Err(Error::new(ErrorKind::Denied, text).on(Resource::Host(name)))
        }
        Standing::Changed(recorded) => {
            let old: Vec<_> = recorded.iter().map(|r| format!("{} in {}", fingerprint(&r.key), r.place)).collect();
            let text = format!("another {} key of {name} is known; remove its line first", key.algorithm());
            Err(Error::new(ErrorKind::AlreadyExists, text).with_detail(old.join("\n")).on(Resource::Host(name)))
        }
    }
}

async fn write(known_hosts: &Path, name: &str, key: &HostKey) -> Result<()> {
    let path = known_hosts.to_owned();
    let path = tokio::task::spawn_blocking(move || place(&path));
    let path = path.await.map_err(|e| Error::internal("file work did not finish").with_source(e))?;
    let path = path.map_err(|e| {
        let shown = known_hosts.display().to_string();
        Error::new(ErrorKind::Denied, format!("cannot write {shown}")).on(Resource::File(shown)).with_source(e)
    })?;
    let mut text = match file::read(&path, Bytes::from_mib(16)).await {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(e),
    };
    if text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
    text.extend_from_slice(format!("{name} {}\n", key.to_openssh()).as_bytes());
    file::write(&path, &text, 0o600).await
}

/// Where the file really is: a link to it stays a link.
fn place(path: &Path) -> io::Result<PathBuf> {
    if let Some(dir) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    match fs::canonicalize(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(path.to_owned()),
        real => real,
    }
}
