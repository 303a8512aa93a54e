//! Logins over SSH: what the user's flags and files say of them.

use std::path::PathBuf;

use etcetera::home_dir;
use kvm_core::{ConnectOptions, Error, ErrorKind, Result, Target, Via};
use kvm_ssh::{AgentKeys, SshAsker, SshConfig, SshOptions};

use crate::connect::Address;
use crate::environment;
use crate::settings::Settings;

/// The login of a target over SSH, by `~/.ssh/config` and, before it, the settings of the connection.
pub(crate) async fn login(target: &Target, options: &ConnectOptions) -> Result<SshOptions> {
    let Target::Qemu { via: Via::Ssh { user, host, port }, .. } = target else {
        return Err(Error::invalid("host", format!("{target} is not reached over SSH")));
    };
    options.check_for(target)?;
    let home = home_dir().map_err(|e| {
        Error::new(ErrorKind::NotFound, "there is no home directory, where SSH has its files").with_source(e)
    })?;
    let agent = environment::variable("SSH_AUTH_SOCK").map(PathBuf::from).filter(|socket| socket.is_absolute());
    let asker = SshAsker { user: environment::user().parse()?, agent };
    let mut login = SshConfig::read(&home).await?.resolve(host, user.as_ref(), *port, &asker)?;
    if let Some(identity) = &options.identity {
        // This key and no other: an agent with many keys would use up the tries that the host allows.
        login.identities = vec![identity.clone()];
        login.agent_keys = AgentKeys::Listed;
    }
    if let Some(known_hosts) = &options.known_hosts {
        login.known_hosts = vec![known_hosts.clone()];
    }
    Ok(login)
}

/// Reads how a person names a host: an alias of `hosts.toml`, a target, or `[USER@]HOST[:PORT]`.
pub(crate) fn place(text: &str, flags: &ConnectOptions, settings: &Settings) -> Result<Address> {
    if settings.hosts.contains_key(text) || text.contains("://") {
        return Address::parse(text, flags, settings);
    }
    if text.contains(['/', '?', '#']) {
        let text = kvm_core::text::printable_within(text, 100).to_string();
        let why = format!("host {text:?} is neither an alias, nor a target, nor [USER@]HOST[:PORT]");
        return Err(Error::invalid("host", why));
    }
    let target =
        Target::parse(&format!("qemu+ssh://{text}/system")).map_err(|e| Error::invalid("host", e.message()))?;
    Ok(Address { alias: None, target, options: flags.clone(), tried: vec![] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_by_alias_target_or_login() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("hosts.toml"), "[lab]\ntarget = 'qemu+ssh://root@kvm1:2222/system'\n").unwrap();
        let settings = Settings::read(dir.path()).unwrap();
        let flags = ConnectOptions::default();
        for (text, target) in [
            ("lab", "qemu+ssh://root@kvm1:2222/system"),
            ("qemu+ssh://kvm2/session", "qemu+ssh://kvm2/session"),
            ("kvm3", "qemu+ssh://kvm3/system"),
            ("root@[2001:db8::1]:22", "qemu+ssh://root@[2001:db8::1]:22/system"),
        ] {
            assert_eq!(place(text, &flags, &settings).unwrap().target.to_string(), target);
        }
        for text in ["", "kvm3/system", "kvm3?command=x", "-oProxyCommand=id", "a b", "root:secret@kvm3"] {
            let e = place(text, &flags, &settings).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::InvalidInput, "{text}");
        }
    }
}
