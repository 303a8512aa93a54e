//! The user's configuration: `config.toml` and the hosts of `hosts.toml`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use kvm_core::{ConnectOptions, Error, ErrorKind, Resource, Result, Target};
use kvm_vm::Policy;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Everything that the user configured.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `config.toml`.
    pub config: Config,
    /// `hosts.toml`, by alias.
    pub hosts: BTreeMap<String, HostEntry>,
}

/// `config.toml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The target or alias to connect to when nothing else says one.
    pub connect: Option<String>,
    /// What may be created, and from where.
    pub policy: Policy,
}

/// One host of `hosts.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HostEntry {
    /// Where to connect.
    pub target: Target,
    /// The libvirt daemon's socket, for local targets and on hosts over SSH.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    /// The private key, for SSH.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<PathBuf>,
    /// The file of trusted host keys, for SSH.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<PathBuf>,
    /// The directory of certificates, for TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pki: Option<PathBuf>,
}

impl HostEntry {
    /// The settings of its connection.
    #[must_use]
    pub fn options(&self) -> ConnectOptions {
        ConnectOptions {
            socket: self.socket.clone(),
            identity: self.identity.clone(),
            known_hosts: self.known_hosts.clone(),
            pki: self.pki.clone(),
        }
    }
}

impl Settings {
    /// Reads both files of a directory. One that is not there is empty; an unknown key is `InvalidInput` naming the
    /// key and the file.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("config.toml");
        let config = read(&path)?.map(|text| parse(&text, &path)).transpose()?.unwrap_or_default();
        let path = dir.join("hosts.toml");
        let hosts = read(&path)?.map(|text| hosts_of(&text, &path)).transpose()?.unwrap_or_default();
        Ok(Self { config, hosts })
    }
}

/// The hosts that a text says, which is or shall be in this file.
pub(crate) fn hosts_of(text: &str, path: &Path) -> Result<BTreeMap<String, HostEntry>> {
    let hosts: BTreeMap<String, HostEntry> = parse(text, path)?;
    for (alias, host) in &hosts {
        if !Target::looks_like_alias(alias) {
            let why = format!("host alias {:?} is not 1 to 63 letters, digits, '.', '-' and '_'", alias);
            return Err(in_file(Error::invalid("alias", why), path));
        }
        host.options().check().map_err(|e| in_file(e, path).with_note(&format!("host {alias}")))?;
    }
    Ok(hosts)
}

/// The text of a file; `None` where none is.
pub(crate) fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => {
            let kind = match e.kind() {
                io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                _ => ErrorKind::InvalidInput,
            };
            Err(in_file(Error::new(kind, format!("cannot read {}", path.display())).with_source(e), path))
        }
    }
}

fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T> {
    toml::from_str(text).map_err(|e| {
        let line = e.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        // Only the first line: the library goes on with a drawing of the place.
        let what = e.message().lines().next().unwrap_or_default().to_owned();
        in_file(Error::new(ErrorKind::InvalidInput, format!("{}: {what}", path.display())), path)
            .with_detail(format!("line {line}"))
    })
}

fn in_file(error: Error, path: &Path) -> Error {
    error.on(Resource::File(path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_both(config: &str, hosts: &str) -> Result<Settings> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.toml"), config).unwrap();
        fs::write(dir.path().join("hosts.toml"), hosts).unwrap();
        Settings::read(dir.path())
    }

    #[test]
    fn no_files_are_empty_settings() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::read(dir.path()).unwrap();
        assert!(settings.config.connect.is_none() && settings.hosts.is_empty());
    }

    #[test]
    fn both_files_are_read() {
        let settings = read_both(
            "connect = 'lab'\n[policy]\nallowed_paths = ['/srv/images']\n",
            "[lab]\ntarget = 'qemu+ssh://root@kvm1/system'\nidentity = '/home/a/.ssh/lab'\n",
        )
        .unwrap();
        assert_eq!(settings.config.connect.as_deref(), Some("lab"));
        assert_eq!(settings.config.policy.allowed_paths.len(), 1);
        assert_eq!(settings.hosts["lab"].options().identity, Some("/home/a/.ssh/lab".into()));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_file_and_line() {
        for (config, hosts, key, file, line) in [
            ("conect = 'x'\n", "", "`conect`", "config.toml", "line 1"),
            ("\n[policy]\nalowed_paths = []\n", "", "`alowed_paths`", "config.toml", "line 3"),
            ("", "[lab]\ntarget = 'mock:///demo'\ncommand = '/bin/x'\n", "`command`", "hosts.toml", "line 3"),
        ] {
            let e = read_both(config, hosts).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::InvalidInput);
            assert!(e.message().contains(key) && e.message().contains(file), "{e}");
            assert_eq!(e.detail(), Some(line));
        }
    }

    #[test]
    fn a_target_with_a_query_and_a_relative_path_are_refused() {
        let e = read_both("", "[lab]\ntarget = 'qemu+ssh://kvm1/system?command=/tmp/x'\n").unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput);
        let e = read_both("", "[lab]\ntarget = 'qemu:///system'\nsocket = 'sock'\n").unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput);
        assert!(e.message().contains("socket"), "{e}");
    }
}
