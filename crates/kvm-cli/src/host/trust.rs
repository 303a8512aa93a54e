//! `kvmctl host trust`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kvm_core::{Error, ErrorKind, Resource, Result};
use kvm_ssh::{Fingerprint, HostKey, SshOptions};
use serde::Serialize;

use crate::connect::{Address, not_reached};
use crate::printer::{Outcome, Page, Printer};
use crate::prompt::TerminalPrompt;
use crate::session::Session;
use crate::ssh;

/// Arguments of `host trust`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl host trust lab1\n  kvmctl host trust root@kvm1.example:2222\n  \
        kvmctl host trust kvm1 --fingerprint SHA256:2iVx… -o json",
    after_long_help = "Shows the fingerprint of the key with which the host answers to SSH, and writes the key into known_hosts \
        once you said that it is the host's own: with --known-hosts or the host's known_hosts in hosts.toml into that file, else \
        into the first of your SSH configuration, ~/.ssh/known_hosts. The host's own fingerprints are shown there by: \
        ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub\n\n\
        With --fingerprint nothing is asked: the key that has it is taken, of whatever type, and no other.\n\n\
        A key that another one stands in the place of is never replaced: remove the old line first.\n\n\
        Library: kvm_ssh::host_key, kvm_ssh::trust_host_key"
)]
pub struct Args {
    /// An alias of hosts.toml, a target over SSH, or [USER@]HOST[:PORT].
    #[arg(value_name = "HOST")]
    host: String,
    /// Take the key with this fingerprint, and ask nothing.
    #[arg(long, value_name = "SHA256:…")]
    fingerprint: Option<Fingerprint>,
}

#[derive(Serialize)]
struct Trusted {
    host: String,
    algorithm: String,
    fingerprint: String,
    known_hosts: PathBuf,
    added: bool,
}

/// Does what was asked.
pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let address = session.ssh_place(&args.host)?;
    let login = ssh::login(&address.target, &address.options).await?;
    let known_hosts = login.known_hosts.first().cloned().ok_or_else(|| {
        let text = "the SSH configuration names no known_hosts file to write to; name one with --known-hosts";
        Error::invalid("known_hosts", text)
    })?;
    let key = match &args.fingerprint {
        Some(fingerprint) => key_with(fingerprint, &address, &login, session).await?,
        None => {
            let shown = kvm_ssh::host_key(&login, Arc::new(TerminalPrompt::default()), &*session.clock).await;
            shown.map_err(|e| not_reached(&address, e))?
        }
    };
    let added = !known(&login, &key, &address).await?;
    if added {
        if args.fingerprint.is_none() {
            confirm(&address, &login, &key, &known_hosts, printer).await?;
        }
        kvm_ssh::trust_host_key(&known_hosts, &login, &key).await?;
    }
    printer.show(&Trusted {
        host: address.label(),
        algorithm: key.algorithm().to_owned(),
        fingerprint: key.fingerprint(),
        known_hosts,
        added,
    })
}

/// The key of the host that has this fingerprint.
async fn key_with(wanted: &Fingerprint, address: &Address, login: &SshOptions, session: &Session) -> Result<HostKey> {
    let keys = kvm_ssh::host_keys(login, Arc::new(TerminalPrompt::default()), &*session.clock).await;
    let keys = keys.map_err(|e| not_reached(address, e))?;
    match keys.iter().find(|key| wanted.is_of(key)) {
        Some(key) => Ok(key.clone()),
        None => {
            let shown: Vec<_> = keys.iter().map(|key| format!("it shows {}", line(key))).collect();
            let text = format!("{} has no key with the fingerprint {wanted}", address.label());
            Err(Error::new(ErrorKind::Denied, text)
                .with_detail(shown.join("\n"))
                .on(Resource::Host(address.label()))
                .during("compare-host-key"))
        }
    }
}

async fn known(login: &SshOptions, key: &HostKey, address: &Address) -> Result<bool> {
    kvm_ssh::knows_host_key(login, key).await.map_err(|e| {
        let (kind, text) = (e.kind(), e.message().to_owned());
        let e = match e.detail() {
            Some(detail) => Error::new(kind, text).with_detail(detail),
            None => Error::new(kind, text),
        };
        e.on(Resource::Host(address.label())).during("trust-host-key")
    })
}

/// Asks whether the key is the host's own. Only a person can say so, who may type `yes` or the fingerprint itself.
async fn confirm(
    address: &Address,
    login: &SshOptions,
    key: &HostKey,
    file: &Path,
    printer: &mut Printer,
) -> Result<()> {
    printer.preview(&format!(
        "{} ({}@{}) shows {}\nIt will be trusted from then on, in {}.",
        address.label(),
        login.user,
        login.host,
        line(key),
        file.display()
    ));
    let host = Resource::Host(address.label());
    let answer = printer.ask("Is this the fingerprint of the host? Type yes, or the fingerprint: ").await;
    let answer = answer.map_err(|e| e.on(host.clone()).with_detail(format!("it shows {}", line(key))))?;
    match answer == "yes" || answer == key.fingerprint() {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Cancelled, "the key was not trusted").on(host)),
    }
}

fn line(key: &HostKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint())
}

impl Outcome for Trusted {
    fn text(&self, page: &mut Page<'_>) {
        let file = self.known_hosts.display();
        match self.added {
            true => page.done(format_args!("{} is trusted, by {} in {file}", self.host, self.fingerprint)),
            false => page.line(format_args!("{} is trusted already, by {}", self.host, self.fingerprint)),
        }
    }
}
