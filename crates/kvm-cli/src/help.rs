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
    /// A command, or exit-codes, selectors, targets.
    #[arg(value_name = "COMMAND|TOPIC")]
    words: Vec<String>,
}

const TOPICS: [(&str, &str); 3] = [("exit-codes", EXIT_CODES), ("selectors", SELECTORS), ("targets", TARGETS)];

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
   10  corrupt: data is not what was written
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
