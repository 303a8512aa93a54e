//! The agent in a simulated guest: it keeps files, programs and settings, and answers as QEMU's agent does.

mod file;
mod program;
mod tools;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kvm_core::{AgentCommand, PowerAction};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::clock::elapsed;
use crate::document;
use crate::machine::Machine;
use file::Handle;
use program::Process;

/// The version that the agent says it has.
const VERSION: &str = "10.0.2";
/// The user who is logged in.
const USER: &str = "root";
/// The commands, and whether a guest whose file systems are frozen takes them, too.
const COMMANDS: [(&str, bool); 27] = [
    ("guest-ping", true),
    ("guest-info", true),
    ("guest-fsfreeze-status", true),
    ("guest-fsfreeze-thaw", true),
    ("guest-fsfreeze-freeze", false),
    ("guest-fstrim", false),
    ("guest-get-fsinfo", false),
    ("guest-get-osinfo", false),
    ("guest-get-host-name", false),
    ("guest-get-timezone", false),
    ("guest-get-time", false),
    ("guest-set-time", false),
    ("guest-get-users", false),
    ("guest-set-user-password", false),
    ("guest-ssh-get-authorized-keys", false),
    ("guest-ssh-add-authorized-keys", false),
    ("guest-ssh-remove-authorized-keys", false),
    ("guest-network-get-interfaces", false),
    ("guest-get-vcpus", false),
    ("guest-set-vcpus", false),
    ("guest-shutdown", false),
    ("guest-exec", false),
    ("guest-exec-status", false),
    ("guest-file-open", false),
    ("guest-file-close", false),
    ("guest-file-read", false),
    ("guest-file-write", false),
];

/// What a guest's agent answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AgentAnswer {
    /// The truth.
    #[default]
    Honest,
    /// This text, whatever it is asked.
    Says(String),
    /// Nothing: whoever asks waits until the time is over.
    Nothing,
}

/// What a guest has written, and keeps when it is off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct GuestFiles {
    files: BTreeMap<String, Vec<u8>>,
    keys: BTreeMap<String, Vec<String>>,
    /// How far its clock is ahead of the world's, in nanoseconds.
    clock_ahead: i64,
}

impl Default for GuestFiles {
    fn default() -> Self {
        let files = [
            ("/etc/os-release", "ID=simulated\n"),
            ("/etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
            ("/etc/machine-id", "5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e\n"),
            ("/etc/hostname", "simulated\n"),
            ("/etc/hosts", "127.0.0.1 localhost\n"),
            (tools::KEY_PROGRAM, "a program\n"),
        ];
        let files = files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()));
        Self { files: files.into(), keys: BTreeMap::new(), clock_ahead: 0 }
    }
}

/// What the agent holds until the guest boots again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct AgentSession {
    handles: BTreeMap<i64, Handle>,
    processes: BTreeMap<i64, Process>,
    frozen: bool,
    offline: BTreeSet<u32>,
    numbers: i64,
}

impl AgentSession {
    fn number(&mut self) -> i64 {
        self.numbers += 1;
        self.numbers
    }
}

/// What a command comes to.
pub(crate) enum Deed {
    /// A text to answer with.
    Answer(String),
    /// The guest ends or begins anew.
    Power(PowerAction),
}

/// Why the agent does not do it: the class and the words of its error.
struct Refusal(&'static str, String);

impl Refusal {
    fn generic(why: impl Into<String>) -> Self {
        Self("GenericError", why.into())
    }
}

type Answer = Result<Value, Refusal>;

/// Does what a command wants in the guest.
pub(crate) fn answer(machine: &mut Machine, command: &AgentCommand, now: Timestamp) -> Deed {
    if command.name() == "guest-shutdown" && !is_frozen(machine, now) {
        let mode = command.arguments()["mode"].as_str();
        return Deed::Power(if mode == Some("reboot") { PowerAction::Reboot } else { PowerAction::Shutdown });
    }
    let reply = match obey(machine, command, now) {
        Ok(returned) => json!({ "return": returned }),
        Err(Refusal(class, desc)) => json!({ "error": { "class": class, "desc": desc } }),
    };
    Deed::Answer(reply.to_string())
}

fn is_frozen(machine: &mut Machine, now: Timestamp) -> bool {
    machine.inside(now).is_some_and(|(session, ..)| session.frozen)
}

fn obey(machine: &mut Machine, command: &AgentCommand, now: Timestamp) -> Answer {
    let (name, arguments) = (command.name(), command.arguments());
    let known = COMMANDS.iter().find(|(known, _)| *known == name);
    let (_, when_frozen) =
        known.ok_or_else(|| Refusal("CommandNotFound", format!("The command {name} has not been found")))?;
    let (host_name, vcpus) = (machine.name.as_str().to_owned(), document::vcpus(machine.current()).unwrap_or(1));
    let nics = interfaces(machine);
    let Some((session, ran, disk)) = machine.inside(now) else {
        return Err(Refusal::generic("The guest is off"));
    };
    if session.frozen && !when_frozen {
        let why = format!("Command {name} has been disabled: the agent is in frozen state");
        return Err(Refusal("CommandNotFound", why));
    }
    let guest_time = i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX);
    Ok(match name {
        "guest-ping" => json!({}),
        "guest-info" => {
            let enabled = |(name, when_frozen): &(&str, bool)| {
                json!({ "name": name, "enabled": !session.frozen || *when_frozen,
                        "success-response": *name != "guest-shutdown" })
            };
            json!({ "version": VERSION, "supported_commands": COMMANDS.iter().map(enabled).collect::<Vec<_>>() })
        }
        "guest-fsfreeze-status" => json!(if session.frozen { "frozen" } else { "thawed" }),
        "guest-fsfreeze-freeze" => {
            session.frozen = true;
            json!(1)
        }
        "guest-fsfreeze-thaw" => json!(u8::from(std::mem::take(&mut session.frozen))),
        "guest-fstrim" => json!({ "paths": [{ "path": "/", "trimmed": 1_048_576, "minimum": 0 }] }),
        "guest-get-fsinfo" => {
            let used: usize = disk.files.values().map(Vec::len).sum();
            json!([{ "name": "vda1", "mountpoint": "/", "type": "ext4", "used-bytes": used,
                     "total-bytes": 8_589_934_592_u64, "disk": [{ "dev": "/dev/vda1", "bus-type": "virtio" }] }])
        }
        "guest-get-osinfo" => {
            json!({ "id": "simulated", "name": "Simulated Linux", "pretty-name": "Simulated Linux 1",
                    "version-id": "1", "kernel-release": "6.12.0", "machine": "x86_64" })
        }
        "guest-get-host-name" => json!({ "host-name": host_name }),
        "guest-get-timezone" => json!({ "zone": "UTC", "offset": 0 }),
        "guest-get-time" => json!(guest_time.saturating_add(disk.clock_ahead)),
        "guest-set-time" => {
            let wanted = arguments["time"].as_i64().unwrap_or(guest_time);
            disk.clock_ahead = wanted.saturating_sub(guest_time);
            json!({})
        }
        "guest-get-users" => {
            let since = elapsed(Timestamp::UNIX_EPOCH, now).saturating_sub(ran).as_secs_f64();
            json!([{ "user": USER, "login-time": since }])
        }
        "guest-set-user-password" => {
            set_password(disk, arguments)?;
            json!({})
        }
        "guest-ssh-get-authorized-keys" => {
            json!({ "keys": disk.keys.get(&user(disk, arguments)?).cloned().unwrap_or_default() })
        }
        "guest-ssh-add-authorized-keys" | "guest-ssh-remove-authorized-keys" => {
            change_keys(disk, arguments, name == "guest-ssh-add-authorized-keys")?;
            json!({})
        }
        "guest-network-get-interfaces" => json!(nics),
        "guest-get-vcpus" => {
            let vcpu = |n| json!({ "logical-id": n, "online": !session.offline.contains(&n), "can-offline": n > 0 });
            (0..vcpus).map(vcpu).collect()
        }
        "guest-set-vcpus" => set_vcpus(session, vcpus, arguments)?,
        "guest-exec" => program::start(session, ran, disk, &host_name, arguments)?,
        "guest-exec-status" => program::status(session, ran, arguments)?,
        "guest-file-open" => file::open(session, disk, arguments)?,
        "guest-file-close" => file::close(session, arguments)?,
        "guest-file-read" => file::read(session, disk, arguments)?,
        "guest-file-write" => file::write(session, disk, arguments)?,
        _ => return Err(Refusal::generic("this command is not simulated")),
    })
}

fn interfaces(machine: &Machine) -> Vec<Value> {
    let addresses = &machine.guest.addresses;
    let nic = |(index, nic): (usize, document::Nic)| {
        let address = addresses.get(&nic.mac).map(|address| {
            json!({ "ip-address": address, "ip-address-type": if address.is_ipv4() { "ipv4" } else { "ipv6" },
                    "prefix": 24 })
        });
        json!({ "name": format!("eth{index}"), "hardware-address": nic.mac.to_string(),
                "ip-addresses": address.into_iter().collect::<Vec<_>>() })
    };
    document::nics(machine.current()).into_iter().enumerate().map(nic).collect()
}

/// What stands for a missing or wrong argument.
fn missing(name: &str) -> Refusal {
    Refusal::generic(format!("Parameter '{name}' is missing"))
}

fn text<'a>(arguments: &'a Value, name: &str) -> Result<&'a str, Refusal> {
    arguments[name].as_str().ok_or_else(|| missing(name))
}

fn bytes(arguments: &Value, name: &str) -> Result<Vec<u8>, Refusal> {
    let text = text(arguments, name)?;
    let decoded = data_encoding::BASE64.decode(text.as_bytes());
    decoded.map_err(|_| Refusal::generic(format!("Invalid base64 in '{name}'")))
}

/// The user that a command names; only those of `/etc/passwd` are there.
fn user(disk: &GuestFiles, arguments: &Value) -> Result<String, Refusal> {
    let name = text(arguments, "username")?;
    let users = disk.files.get("/etc/passwd").map(|text| String::from_utf8_lossy(text)).unwrap_or_default();
    let is_there = users.lines().any(|line| line.split(':').next() == Some(name));
    is_there.then(|| name.to_owned()).ok_or_else(|| Refusal::generic(format!("failed to lookup user '{name}'")))
}

fn set_password(disk: &mut GuestFiles, arguments: &Value) -> Result<(), Refusal> {
    let (user, password) = (user(disk, arguments)?, bytes(arguments, "password")?);
    // As everywhere, a password is kept as what can be compared with, not as it was.
    let kept = Uuid::new_v5(&Uuid::NAMESPACE_OID, &password);
    let shadow = disk.files.entry("/etc/shadow".to_owned()).or_default();
    let others = String::from_utf8_lossy(shadow).into_owned();
    let others = others.lines().filter(|line| line.split(':').next() != Some(&user));
    *shadow = others.map(|line| format!("{line}\n")).chain([format!("{user}:{kept}\n")]).collect::<String>().into();
    Ok(())
}

fn change_keys(disk: &mut GuestFiles, arguments: &Value, add: bool) -> Result<(), Refusal> {
    let user = user(disk, arguments)?;
    let named = arguments["keys"].as_array().ok_or_else(|| missing("keys"))?;
    let named: Vec<_> = named.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect();
    let kept = disk.keys.entry(user).or_default();
    if !add || arguments["reset"] == true {
        kept.retain(|key| !add && !named.contains(key));
    }
    if add {
        kept.extend(named.into_iter().filter(|key| !kept.contains(key)).collect::<Vec<_>>());
    }
    Ok(())
}

fn set_vcpus(session: &mut AgentSession, there: u32, arguments: &Value) -> Answer {
    let vcpus = arguments["vcpus"].as_array().ok_or_else(|| missing("vcpus"))?;
    for vcpu in vcpus {
        let number = vcpu["logical-id"].as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n < there);
        let number = number.ok_or_else(|| Refusal::generic("there is no such vcpu"))?;
        match vcpu["online"].as_bool() {
            Some(true) => session.offline.remove(&number),
            Some(false) if number > 0 => session.offline.insert(number),
            _ => return Err(Refusal::generic(format!("vcpu {number} cannot change"))),
        };
    }
    Ok(json!(vcpus.len()))
}
