//! From what the user said to an open host: the only place that names a backend.

use std::path::Path;
use std::sync::Arc;

use kvm_core::{
    Clock, ConnectOptions, Dial, Entropy, Error, ErrorKind, Host, Resource, Result, Scope, Target, Transport, Via,
};
use kvm_ssh::LocalTransport;

use crate::environment;
#[cfg(feature = "libvirt")]
use crate::prompt::TerminalPrompt;
use crate::settings::Settings;
#[cfg(feature = "libvirt")]
use crate::ssh;

/// Where libvirt's system daemons listen: the modular one, then the old single one.
const SYSTEM_SOCKETS: [&str; 2] = ["/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock"];

/// How long it may take to log in again and open libvirt: what SSH may take to connect and to agree, and some more.
#[cfg(feature = "libvirt")]
const LOGIN: std::time::Duration = std::time::Duration::from_secs(30);

/// Where to connect, and how the user calls it.
#[derive(Clone, Debug)]
pub struct Address {
    /// The alias of `hosts.toml`, where there is one.
    pub alias: Option<String>,
    /// The place.
    pub target: Target,
    /// The settings of its connection.
    pub options: ConnectOptions,
    /// What was tried before this place was chosen; empty when it was asked for.
    pub tried: Vec<String>,
}

impl Address {
    /// How it is called in messages: its alias, or its target.
    #[must_use]
    pub fn label(&self) -> String {
        self.alias.clone().unwrap_or_else(|| self.target.to_string())
    }

    /// Reads a target or an alias. `flags` win over what `hosts.toml` says.
    pub fn parse(text: &str, flags: &ConnectOptions, settings: &Settings) -> Result<Self> {
        if !Target::looks_like_alias(text) {
            return Ok(Self { alias: None, target: Target::parse(text)?, options: flags.clone(), tried: vec![] });
        }
        let Some(entry) = settings.hosts.get(text) else {
            let known: Vec<_> = settings.hosts.keys().map(String::as_str).collect();
            let detail = match known.is_empty() {
                true => "hosts.toml has no hosts".to_owned(),
                false => format!("hosts.toml has {}", known.join(", ")),
            };
            return Err(Error::new(ErrorKind::NotFound, format!("no host with the alias {text}"))
                .on(Resource::Host(text.to_owned()))
                .during("resolve-alias")
                .with_detail(detail));
        };
        let own = entry.options();
        let options = ConnectOptions {
            socket: flags.socket.clone().or(own.socket),
            identity: flags.identity.clone().or(own.identity),
            known_hosts: flags.known_hosts.clone().or(own.known_hosts),
            pki: flags.pki.clone().or(own.pki),
        };
        Ok(Self { alias: Some(text.to_owned()), target: entry.target.clone(), options, tried: vec![] })
    }

    /// Finds where to go when nobody said it: the system's libvirt when its socket answers, else the user's own.
    ///
    /// Never the user's own for root, who has none, nor after permission was refused on the system's socket: then the
    /// machines that the user looks for are there, and an empty list would be a wrong answer.
    pub async fn default(flags: &ConnectOptions) -> Result<Self> {
        let at = |scope, tried| Self {
            alias: None,
            target: Target::Qemu { scope, via: Via::Local },
            options: flags.clone(),
            tried,
        };
        if flags.socket.is_some() {
            return Ok(at(Scope::System, vec![]));
        }
        let mut tried = Vec::new();
        for socket in SYSTEM_SOCKETS {
            match LocalTransport::new().dial(&Dial::Unix(socket.into())).await {
                Ok(_) => return Ok(at(Scope::System, vec![])),
                Err(e) if e.kind() == ErrorKind::Denied => {
                    return Err(Error::new(ErrorKind::Denied, "no permission to connect to qemu:///system")
                        .on(Resource::Host("qemu:///system".into()))
                        .during("connect")
                        .with_detail(format!("{socket} refuses this user"))
                        .with_source(e));
                }
                Err(_) => tried.push(format!("qemu:///system: nobody listens at {socket}")),
            }
        }
        if environment::is_root() {
            tried.push("qemu:///session: root has none".to_owned());
            return Err(nothing_found(&tried));
        }
        Ok(at(Scope::Session, tried))
    }
}

fn nothing_found(tried: &[String]) -> Error {
    Error::new(ErrorKind::Unavailable, "no hypervisor found on this machine")
        .during("find-host")
        .with_detail(format!("tried {}", tried.join("\ntried ")))
}

/// Connects. Simulated hosts keep their state below `state`.
pub(crate) async fn open(
    address: &Address,
    state: &Path,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Host> {
    let opened = match &address.target {
        Target::Mock(world) => {
            if address.options != ConnectOptions::default() {
                let text = "--socket, --identity, --known-hosts and --pki are not for simulated hosts";
                return Err(Error::invalid("target", text));
            }
            kvm_mock::Mock::open(world, Some(state), clock).map(|mock| mock.host())
        }
        Target::Qemu { scope, via: Via::Ssh { .. } } => over_ssh(address, *scope, clock, entropy).await,
        target => libvirt(target, &address.options).await,
    };
    #[cfg(feature = "failpoints")]
    let opened = opened.map(|host| crate::failpoint::watched(host, &address.label()));
    opened.map_err(|e| match address.tried.as_slice() {
        [] => e,
        // The user did not ask for this place, so where it is and what came before is part of the answer.
        tried => {
            let last = format!("{}: {}", address.target, e.message());
            nothing_found(&[tried, &[last]].concat()).with_source(e)
        }
    })
}

/// Lets connections close before the process ends, which may crash otherwise. Not for long: a host that hangs never
/// closes its own.
pub fn settle() {
    #[cfg(feature = "libvirt")]
    kvm_libvirt::settle(std::time::Duration::from_secs(1));
}

/// The host's libvirt and its operating system, both through one way of logging in.
#[cfg(feature = "libvirt")]
async fn over_ssh(address: &Address, scope: Scope, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Result<Host> {
    let mut login = ssh::login(&address.target, &address.options).await?;
    login.helper = environment::helper();
    let prompt = Arc::new(TerminalPrompt::default());
    let transport: Arc<dyn Transport> = Arc::new(kvm_ssh::SshTransport::new(login, prompt, clock, entropy));
    let (socket, parent) = (address.options.socket.as_deref(), environment::runtime_directory());
    let relay = kvm_ssh::relay_libvirt(Arc::clone(&transport), scope, socket, &parent).await;
    let relay = relay.map_err(|e| not_reached(address, e))?;
    // Whenever the connection is opened again, somebody logs in again.
    let config = kvm_libvirt::Config { connect_deadline: LOGIN, ..Default::default() };
    let libvirt = kvm_libvirt::Libvirt::connect_through(&address.target, relay, config).await?;
    Ok(Host { hypervisor: libvirt.clone(), storage: libvirt.clone(), networks: libvirt, transport })
}

#[cfg(not(feature = "libvirt"))]
async fn over_ssh(address: &Address, _: Scope, _: Arc<dyn Clock>, _: Arc<dyn Entropy>) -> Result<Host> {
    libvirt(&address.target, &address.options).await
}

/// The error of a host as the user calls it, and below it what the way there said.
pub(crate) fn not_reached(address: &Address, e: Error) -> Error {
    let (operation, why) = match e.operation() {
        Some(what @ "host-key-unknown") => (what, ": the host key is not known"),
        Some(what @ "host-key-changed") => (what, ": the host key is not the one that is known"),
        Some(what @ "host-key-revoked") => (what, ": the host key is revoked"),
        Some(what @ "login") => (what, ": the login was refused"),
        _ => ("connect", ""),
    };
    let mut detail = e.message().to_owned();
    e.detail().into_iter().flat_map(str::lines).for_each(|line| {
        detail.push('\n');
        detail.push_str(line);
    });
    let label = address.label();
    Error::new(e.kind(), format!("cannot reach {label}{why}"))
        .with_detail(detail)
        .on(Resource::Host(label))
        .during(operation)
        .with_source(e)
}

#[cfg(feature = "libvirt")]
async fn libvirt(target: &Target, options: &ConnectOptions) -> Result<Host> {
    let libvirt = kvm_libvirt::Libvirt::connect(target, options, kvm_libvirt::Config::default()).await?;
    let transport: Arc<dyn Transport> = match target.host() {
        Some(host) => Arc::new(kvm_ssh::NoTransport::to(host)),
        None => Arc::new(environment::helper().map_or_else(LocalTransport::new, LocalTransport::with_helper)),
    };
    Ok(Host { hypervisor: libvirt.clone(), storage: libvirt.clone(), networks: libvirt, transport })
}

#[cfg(not(feature = "libvirt"))]
async fn libvirt(target: &Target, _: &ConnectOptions) -> Result<Host> {
    Err(Error::new(
        ErrorKind::Unsupported,
        format!("this kvmctl was built without libvirt, so it cannot open {target}"),
    )
    .on(Resource::Host(target.to_string()))
    .during("connect"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let dir = tempfile::tempdir().unwrap();
        let hosts = "[lab]\ntarget = 'qemu+ssh://root@kvm1/system'\nidentity = '/k/lab'\nknown_hosts = '/k/known'\n";
        std::fs::write(dir.path().join("hosts.toml"), hosts).unwrap();
        Settings::read(dir.path()).unwrap()
    }

    #[test]
    fn flags_win_over_what_an_alias_says() {
        let flags = ConnectOptions { identity: Some("/k/other".into()), ..ConnectOptions::default() };
        let address = Address::parse("lab", &flags, &settings()).unwrap();
        assert_eq!(address.label(), "lab");
        assert_eq!(address.target.to_string(), "qemu+ssh://root@kvm1/system");
        assert_eq!(address.options.identity, Some("/k/other".into()));
        assert_eq!(address.options.known_hosts, Some("/k/known".into()));
    }

    #[test]
    fn an_unknown_alias_says_which_there_are() {
        let e = Address::parse("lap", &ConnectOptions::default(), &settings()).unwrap_err();
        assert_eq!((e.kind(), e.detail()), (ErrorKind::NotFound, Some("hosts.toml has lab")));
        let e = Address::parse("xen:///x", &ConnectOptions::default(), &settings()).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput);
    }

    #[tokio::test]
    async fn a_simulated_host_takes_no_settings_of_a_connection() {
        let flags = ConnectOptions { identity: Some("/k".into()), ..ConnectOptions::default() };
        let address = Address::parse("mock:///empty", &flags, &Settings::default()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (clock, entropy) = (Arc::new(kvm_core::SystemClock), Arc::new(kvm_core::SystemEntropy));
        let e = open(&address, dir.path(), clock, entropy).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput);
    }
}
