//! The `known_hosts` files: which key a host must show.
//!
//! The format is that of OpenSSH (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): plain, hashed and `[host]:port` names,
//! wildcards, negation, `@revoked` and `@cert-authority`. Keys are compared as bytes, so that a line with a type of key
//! that nobody here can read still revokes it. A line that cannot be read gives no trust.

use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use kvm_core::{Bytes, ErrorKind, Result};
use sha1::Sha1;
use wildmatch::WildMatch;

use crate::local::file;

/// The largest file that is read.
const LARGEST: Bytes = Bytes::from_mib(16);

/// What all files together say.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownHosts {
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    marker: Marker,
    hosts: String,
    /// The name of the key's type as it stands in the line.
    algorithm: String,
    key: Vec<u8>,
    file: PathBuf,
    number: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    Key,
    Authority,
    Revoked,
}

/// What the files say of a host that shows a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The key is the host's.
    Known,
    /// Nothing is known of this host with a key of this type.
    Unknown,
    /// The host had other keys of this type: each with the place where it stands.
    Changed(Vec<Recorded>),
    /// The key must not be trusted: the place that says so.
    Revoked(String),
}

/// A key as a file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recorded {
    /// The key's bytes.
    pub(super) key: Vec<u8>,
    /// File and line.
    pub(super) place: String,
}

/// The name under which a host stands in the files.
pub(super) fn entry_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

impl KnownHosts {
    /// Reads these files; one that is not there is empty. `Denied` and others when a file that is there cannot be read.
    pub(super) async fn read(files: &[PathBuf]) -> Result<Self> {
        let mut known = Self::default();
        for path in files {
            match file::read(path, LARGEST).await {
                Ok(text) => known.add(path, &String::from_utf8_lossy(&text)),
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(known)
    }

    pub(super) fn add(&mut self, path: &Path, text: &str) {
        let lines = text.lines().enumerate();
        self.lines.extend(lines.filter_map(|(index, line)| Line::parse(line, path, index + 1)));
    }

    /// What is said of a host that shows this key.
    pub(super) fn standing(&self, name: &str, algorithm: &str, key: &[u8]) -> Standing {
        if let Some(place) = self.revoked(name, key) {
            return Standing::Revoked(place);
        }
        let recorded: Vec<_> = self.of(name, Marker::Key).collect();
        if recorded.iter().any(|line| line.key == key) {
            return Standing::Known;
        }
        let others = recorded.into_iter().filter(|line| line.algorithm == algorithm);
        let others: Vec<_> = others.map(|line| Recorded { key: line.key.clone(), place: line.place() }).collect();
        if others.is_empty() { Standing::Unknown } else { Standing::Changed(others) }
    }

    /// The place that revokes this key for the host, if there is one.
    pub(super) fn revoked(&self, name: &str, key: &[u8]) -> Option<String> {
        self.of(name, Marker::Revoked).find(|line| line.key == key).map(Line::place)
    }

    /// Whether this key may sign certificates for the host.
    pub(super) fn is_authority(&self, name: &str, key: &[u8]) -> bool {
        self.of(name, Marker::Authority).any(|line| line.key == key)
    }

    /// Whether any key may sign certificates for the host.
    pub(super) fn has_authority(&self, name: &str) -> bool {
        self.of(name, Marker::Authority).next().is_some()
    }

    /// The types of keys that are known of the host.
    pub(super) fn algorithms(&self, name: &str) -> Vec<&str> {
        self.of(name, Marker::Key).map(|line| line.algorithm.as_str()).collect()
    }

    fn of(&self, name: &str, marker: Marker) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |line| line.marker == marker && is_of(&line.hosts, name))
    }
}

impl Line {
    fn parse(text: &str, file: &Path, number: usize) -> Option<Self> {
        let mut words = text.split([' ', '\t', '\r']).filter(|word| !word.is_empty());
        let mut first = words.next().filter(|word| !word.starts_with('#'))?;
        let marker = match first {
            "@cert-authority" => Marker::Authority,
            "@revoked" => Marker::Revoked,
            word if word.starts_with('@') => return None,
            _ => Marker::Key,
        };
        if marker != Marker::Key {
            first = words.next()?;
        }
        let algorithm = words.next()?.to_owned();
        let key = BASE64.decode(words.next()?.as_bytes()).ok()?;
        Some(Self { marker, hosts: first.to_owned(), algorithm, key, file: file.to_owned(), number })
    }

    fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.number)
    }
}

/// Whether a line's first field names this host.
fn is_of(hosts: &str, name: &str) -> bool {
    if let Some(hashed) = hosts.strip_prefix("|1|") {
        return is_hash_of(hashed, name).unwrap_or(false);
    }
    matches_list(hosts.split(','), name)
}

fn is_hash_of(hashed: &str, name: &str) -> Option<bool> {
    let (salt, hash) = hashed.split_once('|')?;
    let (salt, hash) = (BASE64.decode(salt.as_bytes()).ok()?, BASE64.decode(hash.as_bytes()).ok()?);
    let mac = Hmac::<Sha1>::new_from_slice(&salt).ok()?.chain_update(name);
    Some(mac.verify_slice(&hash).is_ok())
}

/// Whether one of the patterns matches and none of those with a `!` does.
pub(super) fn matches_list<'a>(patterns: impl Iterator<Item = &'a str>, name: &str) -> bool {
    let mut found = false;
    for pattern in patterns {
        let (negated, pattern) = pattern.strip_prefix('!').map_or((false, pattern), |rest| (true, rest));
        if WildMatch::new(&pattern.to_ascii_lowercase()).matches(name) {
            if negated {
                return false;
            }
            found = true;
        }
    }
    found
}

#[cfg(test)]
mod tests;
