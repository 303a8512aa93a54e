//! `kvmctl help`: commands, and what is common to all.

use clap::CommandFactory as _;
use kvm_core::{Error, ErrorKind, Result};

use crate::printer::Printer;

/// Arguments of `help`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl help vm create\n  kvmctl help exit-codes\n  kvmctl help targets",
    after_long_help = "Library: none, this is all about the command line"
)]
pub struct Args {
    /// A command, or configuration, exit-codes, selectors, targets.
    #[arg(value_name = "COMMAND|TOPIC")]
    words: Vec<String>,
}

const TOPICS: [(&str, &str); 4] =
    [("configuration", CONFIGURATION), ("exit-codes", EXIT_CODES), ("selectors", SELECTORS), ("targets", TARGETS)];

/// The topic `configuration`.
const CONFIGURATION: &str = "\
Configuration is below $XDG_CONFIG_HOME/kvm-manager (~/.config/kvm-manager), or where --config or KVM_CONFIG say.
Every key is optional, and an unknown one is an error.

config.toml:

  connect = \"lab1\"                  # target or alias when nothing else says one

  [policy]                          # what may be created
  allowed_paths = [\"/srv/iso\"]      # files below may be disks, ISOs and kernels, beside volumes of active pools
  memory_percent = 100              # most memory of one VM, in percent of the host's
  default_pool = \"default\"          # where new disks go
  default_network = \"default\"       # where new VMs are plugged in
  foreign_images = \"refuse\"         # existing images with risky headers; or \"accept\"

hosts.toml has a section for each host:

  [lab1]
  target = \"qemu+ssh://root@lab1.example/system\"
  identity = \"/home/me/.ssh/lab\"    # private key, for SSH
  known_hosts = \"/home/me/.ssh/lab_hosts\"
  # socket = \"/run/...\"             # libvirt's socket, here or on the host over SSH
  # pki = \"/home/me/pki\"            # directory of certificates, for TLS

clone.toml beside them is for kvm-clone: kvm-clone config show.

Operations, locks and simulated hosts are below $XDG_STATE_HOME/kvm-manager (~/.local/state/kvm-manager), or where
--state or KVM_STATE say.
";

/// The topic `exit-codes`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes, the same for every command:

    0  success
    1  a check failed (doctor)
    2  invalid_input: the request itself is wrong
    3  not_found: no such VM, pool, volume, network, host or operation
    4  already_exists: the name, uuid or file is taken
    5  invalid_state: the present state does not allow this
    6  denied: permission refused, host key unknown, or nobody confirmed
    7  unsupported: this host, or this build, cannot do that
    8  unavailable: the host or service cannot be reached at the moment
    8  timeout: no answer in time; whether it happened is unknown
    9  no_space: no room on the device or in the pool
   10  corrupt: data is not what was written, or a copy was not proved to boot
   70  internal: a bug; please report it
   75  busy: somebody else works on it; try again later
  130  cancelled: you or somebody else asked to stop

With several VMs each is tried, and the highest code of theirs is given.
With -o json the error is one JSON object on standard error: .error.kind is the word above.
";

/// The topic `selectors`.
const SELECTORS: &str = "\
A selector picks VMs by their properties. Terms are joined by commas, and all have to hold:

  state=running       the state is: running, paused, shutting-down, pm-suspended, crashed, saved, off
  name=db  name~^db   the whole name, or a regular expression found in it
  uuid=…   uuid~^8fb  the same for the uuid
  tag=web             a tag is this one, or has this key
  tag=owner=dba       a tag is this pair
  tag~^own            some tag has a match
  autostart=yes       so too: persistent=no, saved=yes

Put ! before = or ~ for the contrary: state!=off, name!~test, tag!=web.
A comma inside a value is written \\,.

  kvmctl vm list --select state=running,tag=web
  kvmctl vm shutdown --select 'tag=lab,name!~^gw' --timeout 60s --then power-off
";

/// The topic `targets`.
const TARGETS: &str = "\
A target says where the host is:

  qemu:///system                 this machine, libvirt of the system
  qemu:///session                this machine, your own VMs; not for root
  qemu+ssh://USER@HOST/system    another machine, over SSH (also HOST:PORT, /session)
  qemu+tls://HOST/system         another machine, over TLS with certificates
  test:///default                libvirt's test driver; forgets everything at the end of each command
  test:///PATH.xml               the same, from a node file
  mock:///demo                   a simulated host with a dozen VMs; keeps its state between commands
  mock:///empty                  a simulated host with none
  mock:///PATH.yaml              a simulated host from a scenario file
  NAME                           an alias of hosts.toml (kvmctl host list)

Which one is used: --connect, else KVM_CONNECT, else `connect` of config.toml, else qemu:///system when its
socket answers, else qemu:///session.

Over SSH your ~/.ssh/config is read (HostName, User, Port, IdentityFile, ProxyJump and others; no Match, no
ProxyCommand). The key of the host has to be known: kvmctl host trust HOST.

A target has no ?parameters: libvirt would run what some of them say. Use --socket, --identity, --known-hosts and
--pki, or hosts.toml. A VM of another host is written HOST/NAME, where HOST is an alias:

  kvmctl vm show lab1/web
";

/// Prints the help of a command or topic.
pub(crate) fn run(args: &Args, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let text = match args.words.as_slice() {
        [topic] if TOPICS.iter().any(|(name, _)| name == topic) => {
            TOPICS.iter().find(|(name, _)| name == topic).map(|(_, text)| (*text).to_owned()).unwrap_or_default()
        }
        words => of_command(words)?,
    };
    printer.page(&text)?;
    Ok(None)
}

fn of_command(words: &[String]) -> Result<String> {
    let mut command = crate::args::Args::command();
    // So that the usage line names the whole path.
    command.build();
    for word in words {
        let found = command.find_subcommand(word).cloned();
        command = found.ok_or_else(|| {
            let topics: Vec<_> = TOPICS.iter().map(|(name, _)| *name).collect();
            Error::invalid("command", format!("no command or topic {}", kvm_core::text::printable(&words.join(" "))))
                .with_detail(format!("topics: {}; kvmctl --help lists the commands", topics.join(", ")))
        })?;
    }
    Ok(command.render_long_help().ansi().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of the topic that stand between two of its headings.
    fn example(from: &str, to: &str) -> String {
        let text = CONFIGURATION.split(from).nth(1).unwrap();
        text.split(to).next().unwrap().lines().filter(|line| line.starts_with("  ")).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_configuration_that_is_explained_is_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.toml"), example("config.toml:", "hosts.toml has")).unwrap();
        std::fs::write(dir.path().join("hosts.toml"), example("hosts.toml has", "Operations,")).unwrap();
        let settings = crate::Settings::read(dir.path()).unwrap();
        assert_eq!(settings.config.connect.as_deref(), Some("lab1"));
        assert!(settings.config.policy.default_pool.is_some());
        assert!(settings.hosts["lab1"].known_hosts.is_some());
    }
}
