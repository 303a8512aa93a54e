//! Which hosts are meant, and how to log in there.

use std::path::PathBuf;
use std::sync::Arc;

use kvm_core::{Error, Port, Resource, Result, Target, Via};

use super::Context;
use super::config::Config;
use crate::connect::Address;
use crate::environment;
use crate::session::Connection;

/// Flags of all commands that log in somewhere.
#[derive(Debug, clap::Args)]
pub(super) struct Login {
    /// Private key to log in with, at each host over SSH.
    #[arg(short = 'k', long, value_name = "FILE")]
    ssh_key: Option<PathBuf>,
    /// Port of the SSH servers.
    #[arg(long, value_name = "PORT", value_parser = Port::parse)]
    ssh_port: Option<Port>,
}

impl Login {
    /// Opens hosts in the order of their names. `InvalidInput` for flags of logins where nobody logs in anywhere.
    pub(super) async fn open(&self, names: &[&str], cx: &Context<'_>) -> Result<Vec<Arc<Connection>>> {
        let mut hosts = Vec::new();
        for address in self.addresses(names, cx)? {
            hosts.push(cx.session.reach(address).await?);
        }
        Ok(hosts)
    }

    /// Where the hosts are.
    pub(super) fn addresses(&self, names: &[&str], cx: &Context<'_>) -> Result<Vec<Address>> {
        let addresses = names.iter().map(|name| cx.session.ssh_place(name));
        let addresses = addresses.collect::<Result<Vec<_>>>()?;
        self.check(&addresses)?;
        addresses.into_iter().map(|address| self.apply(address, cx.config)).collect()
    }

    /// The host that is meant when none is named.
    pub(super) async fn usual(&self, cx: &Context<'_>) -> Result<Address> {
        let address = cx.session.address().await?;
        self.check(std::slice::from_ref(&address))?;
        self.apply(address, cx.config)
    }

    fn check(&self, addresses: &[Address]) -> Result<()> {
        let flag = match self {
            Self { ssh_key: Some(_), .. } => "ssh-key",
            Self { ssh_port: Some(_), .. } => "ssh-port",
            _ => return Ok(()),
        };
        if addresses.iter().any(|address| port(&address.target).is_some()) {
            return Ok(());
        }
        let names: Vec<_> = addresses.iter().map(Address::label).collect();
        let text = format!("--{flag}: no login over SSH at {}", names.join(" and "));
        Err(Error::invalid(flag, text).on(Resource::Field(flag.to_owned())).with_detail("leave it out"))
    }

    /// The command line first, then what is known of the host, then the configuration.
    fn apply(&self, mut address: Address, config: &Config) -> Result<Address> {
        let Some(own) = port(&address.target) else { return Ok(address) };
        let key = self.ssh_key.clone().map(environment::absolute).transpose()?;
        let options = &mut address.options;
        options.identity = key.or(options.identity.take()).or(config.path("ssh.key_path"));
        options.known_hosts = options.known_hosts.take().or(config.path("ssh.known_hosts"));
        options.check()?;
        // Who wrote a port into the command line meant it.
        if let (Some(asked), Some(own), None) = (self.ssh_port, own, &address.alias)
            && asked != own
        {
            let text = format!("{} names another port than --ssh-port {asked}", address.target);
            return Err(Error::invalid("ssh-port", text).with_detail("leave one of them out"));
        }
        let wanted = self.ssh_port.or(own).or(config.port()?);
        if let Target::Qemu { via: Via::Ssh { port, .. }, .. } = &mut address.target {
            *port = wanted;
        }
        Ok(address)
    }
}

/// The port that an SSH target names; `None` for what is no such target.
fn port(target: &Target) -> Option<Option<Port>> {
    match target {
        Target::Qemu { via: Via::Ssh { port, .. }, .. } => Some(*port),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_core::{ConnectOptions, ErrorKind};

    fn login(key: Option<&str>, port: Option<&str>) -> Login {
        Login { ssh_key: key.map(PathBuf::from), ssh_port: port.map(|port| Port::parse(port).unwrap()) }
    }

    fn address(target: &str, alias: Option<&str>, key: Option<&str>) -> Address {
        Address {
            alias: alias.map(ToOwned::to_owned),
            target: Target::parse(target).unwrap(),
            options: ConnectOptions { identity: key.map(PathBuf::from), ..ConnectOptions::default() },
            tried: vec![],
        }
    }

    #[test]
    fn flags_win_over_what_is_known_of_a_host_and_that_over_the_configuration() {
        let config = Config::of("[ssh]\nport = 2022\nkey_path = '/k/config'\n").unwrap();
        let bare = || address("qemu+ssh://root@kvm1/system", None, None);
        let known = || address("qemu+ssh://kvm2:2200/system", Some("two"), Some("/k/two"));
        for (login, address, target, key) in [
            (login(None, None), bare(), "qemu+ssh://root@kvm1:2022/system", "/k/config"),
            (login(Some("/k/flag"), Some("23")), bare(), "qemu+ssh://root@kvm1:23/system", "/k/flag"),
            (login(None, None), known(), "qemu+ssh://kvm2:2200/system", "/k/two"),
            (login(Some("/k/flag"), Some("23")), known(), "qemu+ssh://kvm2:23/system", "/k/flag"),
        ] {
            let applied = login.apply(address, &config).unwrap();
            assert_eq!(applied.target.to_string(), target);
            assert_eq!(applied.options.identity, Some(key.into()));
        }
    }

    #[test]
    fn flags_that_nothing_comes_of_are_refused() {
        let here = || address("qemu:///system", None, None);
        for login in [login(Some("/k"), None), login(None, Some("22"))] {
            let e = login.check(&[here(), address("mock:///demo", None, None)]).unwrap_err();
            assert!(e.kind() == ErrorKind::InvalidInput && e.message().contains("no login over SSH"), "{e}");
            login.check(&[here(), address("qemu+ssh://kvm1/system", None, None)]).unwrap();
        }
        let other = address("qemu+ssh://kvm1:2200/system", None, None);
        let e = login(None, Some("22")).apply(other, &Config::default()).unwrap_err();
        assert!(e.message().contains("another port"), "{e}");
        // A host that is not reached over SSH has neither.
        let config = Config::of("[ssh]\nport = 2022\nkey_path = '/k/config'\n").unwrap();
        assert_eq!(login(None, None).apply(here(), &config).unwrap().options, ConnectOptions::default());
    }
}
