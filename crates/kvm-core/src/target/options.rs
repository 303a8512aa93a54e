//! Settings of a connection that come from flags or `hosts.toml`, never from a target's text.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Target, Via};
use crate::text::{hazards, refused};
use crate::{Error, Result};

/// Files and sockets that a connection uses. Each is an absolute path without control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectOptions {
    /// The libvirt daemon's socket (`--socket`): on this machine for local targets, on the host for SSH.
    pub socket: Option<PathBuf>,
    /// The private key to log in with (`--identity`); for SSH.
    pub identity: Option<PathBuf>,
    /// The file of host keys to trust (`--known-hosts`); for SSH.
    pub known_hosts: Option<PathBuf>,
    /// The directory with `cacert.pem`, `clientcert.pem` and `clientkey.pem` (`--pki`); for TLS.
    pub pki: Option<PathBuf>,
}

/// One of the options, with the name that errors give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectOption {
    Socket,
    Identity,
    KnownHosts,
    Pki,
}

impl ConnectOption {
    const ALL: [Self; 4] = [Self::Socket, Self::Identity, Self::KnownHosts, Self::Pki];

    fn field(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Identity => "identity",
            Self::KnownHosts => "known_hosts",
            Self::Pki => "pki",
        }
    }

    /// For which targets it is.
    fn meant_for(self) -> &'static str {
        match self {
            Self::Socket => "local targets and those over SSH",
            Self::Identity | Self::KnownHosts => "targets over SSH",
            Self::Pki => "targets over TLS",
        }
    }
}

impl ConnectOptions {
    /// Checks the syntax of every path that is set. `InvalidInput` naming the option. Whether the files exist is not
    /// looked at.
    pub fn check(&self) -> Result<()> {
        ConnectOption::ALL.into_iter().try_for_each(|option| self.text(option).map(drop))
    }

    /// Checks the syntax of every path, and that none is set which this kind of target does not have. `InvalidInput` naming
    /// the option.
    pub fn check_for(&self, target: &Target) -> Result<()> {
        self.check_only(match target {
            Target::Mock(_) | Target::Test(_) => &[],
            Target::Qemu { via: Via::Local, .. } => &[ConnectOption::Socket],
            Target::Qemu { via: Via::Ssh { .. }, .. } => {
                &[ConnectOption::Socket, ConnectOption::Identity, ConnectOption::KnownHosts]
            }
            Target::Qemu { via: Via::Tls { .. }, .. } => &[ConnectOption::Pki],
        })
    }

    fn check_only(&self, allowed: &[ConnectOption]) -> Result<()> {
        for option in ConnectOption::ALL {
            if self.text(option)?.is_some() && !allowed.contains(&option) {
                let field = option.field();
                return Err(Error::invalid(field, format!("{field} is for {} only", option.meant_for())));
            }
        }
        Ok(())
    }

    /// The path of one option as text.
    pub(super) fn text(&self, option: ConnectOption) -> Result<Option<&str>> {
        let path = match option {
            ConnectOption::Socket => &self.socket,
            ConnectOption::Identity => &self.identity,
            ConnectOption::KnownHosts => &self.known_hosts,
            ConnectOption::Pki => &self.pki,
        };
        path.as_deref().map(|path| check_path(option.field(), path)).transpose()
    }
}

fn check_path<'a>(field: &'static str, path: &'a Path) -> Result<&'a str> {
    let Some(text) = path.to_str() else {
        return Err(refused(field, field, &path.to_string_lossy(), "is not UTF-8; rename the file"));
    };
    if text.len() > 4095 {
        Err(refused(field, field, text, "is longer than 4095 bytes"))
    } else if !text.starts_with('/') {
        Err(refused(field, field, text, "is not absolute; start with '/'"))
    } else if hazards(text).any(|(_, _, hazard)| hazard.is_some()) {
        Err(refused(field, field, text, "contains a control, direction or invisible character; rename the file"))
    } else {
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_plain() {
        for path in ["-oProxyCommand=id", "", "~/.ssh/id", "/a\nb"] {
            let options = ConnectOptions { identity: Some(path.into()), ..Default::default() };
            let e = options.check().unwrap_err();
            assert_eq!(e.resource(), Some(&crate::Resource::Field("identity".into())), "{path:?}");
        }
    }

    #[test]
    fn each_kind_of_target_has_its_own_options() {
        let all = |option: &str| match option {
            "socket" => ConnectOptions { socket: Some("/s".into()), ..Default::default() },
            "identity" => ConnectOptions { identity: Some("/i".into()), ..Default::default() },
            "known_hosts" => ConnectOptions { known_hosts: Some("/k".into()), ..Default::default() },
            _ => ConnectOptions { pki: Some("/p".into()), ..Default::default() },
        };
        for (target, allowed) in [
            ("qemu:///system", &["socket"][..]),
            ("qemu+ssh://h/system", &["socket", "identity", "known_hosts"]),
            ("qemu+tls://h/system", &["pki"]),
            ("test:///default", &[]),
            ("mock:///demo", &[]),
        ] {
            let target = Target::parse(target).unwrap();
            for option in ["socket", "identity", "known_hosts", "pki"] {
                let checked = all(option).check_for(&target);
                assert_eq!(checked.is_ok(), allowed.contains(&option), "{target} {option}");
            }
        }
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let e = serde_json::from_str::<ConnectOptions>(r#"{"command": "/x"}"#).unwrap_err();
        assert!(e.to_string().contains("command"), "{e}");
    }
}
