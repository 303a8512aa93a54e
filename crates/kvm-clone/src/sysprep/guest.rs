//! The changes inside, through the guest's agent. Each can be made again, and then comes to the same.

use kvm_core::{Error, ErrorKind, Result};
use kvm_vm::guest::Agent;

use super::program::{Files, Told, Trouble, delete, empty, find, is_there, read, run, write};
use super::{Identity, Outcome, Part, PartDone};

/// Commands of the agent that the work needs.
const NEEDED: &[&str] = &["guest-exec", "guest-exec-status", "guest-file-open", "guest-file-read", "guest-file-write"];
const SSH_KEYS: Files = Files::named(&["ssh_host_*_key*"]).below(&["/etc/ssh"]).deep(1);
/// Leases, and what a client makes its identifiers from: ISC's, dhcpcd's and NetworkManager's.
const DHCP: Files = Files::named(&["*.lease*", "duid", "secret_key"]).below(&[
    "/var/lib/dhcp",
    "/var/lib/dhclient",
    "/var/lib/dhcpcd",
    "/var/lib/NetworkManager",
]);
const NET_RULES: Files = Files::named(&["*-persistent-net.rules"]).below(&["/etc/udev/rules.d"]);
/// What nobody writes to any more, and journals, which cannot be emptied under the hands of their daemon.
const OLD_LOGS: Files = Files::named(&["*.?", "*.old", "*.gz", "*.xz", "*.zst", "*.journal", "*.journal~"]).below(LOGS);
const LOGS: &[&str] = &["/var/log"];
const HISTORY: Files = Files::named(&[".*_history", ".lesshst"]).below(&["/root", "/home"]).deep(2);
/// The copy that D-Bus has of the machine's id in older guests; in newer ones it is a link.
const BUS_ID: Files = Files::named(&["machine-id"]).below(&["/var/lib/dbus"]).deep(1);

/// Makes each part of a guest's identity another one, but for those that are kept.
///
/// `Unsupported` for a guest that is not Linux, and for an agent that may not do it: nothing is changed then. Errors of the way to
/// the agent: what was changed before stays so.
pub(super) async fn prepare(agent: &Agent, identity: &Identity) -> Result<Vec<PartDone>> {
    check(agent).await?;
    let mut done = Vec::with_capacity(Part::ALL.len());
    for part in Part::ALL {
        let outcome = match identity.keep.contains(&part) {
            true => Ok((Outcome::Kept, "as was asked".to_owned())),
            false => change(agent, part, identity).await,
        };
        let (outcome, what) = match outcome {
            Ok(outcome) => outcome,
            Err(Trouble::Here(why)) => (Outcome::Failed, why),
            Err(Trouble::Everywhere(error)) => return Err(error),
        };
        done.push(PartDone { part, outcome, what });
    }
    Ok(done)
}

async fn check(agent: &Agent) -> Result<()> {
    let refuse =
        |why: &str, fix: &str| Err(Error::new(ErrorKind::Unsupported, why.to_owned()).with_detail(fix.to_owned()));
    if agent.os_info().await?.id.as_deref() == Some("mswindows") {
        return refuse(
            "the guest is Windows, whose identity nobody but its own sysprep makes anew",
            "run sysprep in it",
        );
    }
    let commands = agent.info().await?.commands;
    match NEEDED.iter().find(|needed| commands.binary_search_by(|command| command.as_str().cmp(needed)).is_err()) {
        None => Ok(()),
        Some(blocked) => refuse(
            &format!("the guest's agent does not do {blocked}"),
            "allow it in the guest (/etc/qemu/qemu-ga.conf or /etc/sysconfig/qemu-ga); or run virt-sysprep on its host",
        ),
    }
}

async fn change(agent: &Agent, part: Part, identity: &Identity) -> Told<(Outcome, String)> {
    match part {
        Part::MachineId => machine_id(agent, &identity.machine_id).await,
        Part::HostName => host_name(agent, identity.host_name.as_ref().map_or("", |name| name.as_str())).await,
        Part::SshKeys => ssh_keys(agent).await,
        Part::Dhcp => deleted(delete(agent, &DHCP).await?, "leases and identifiers"),
        Part::NetRules => deleted(delete(agent, &NET_RULES).await?, "rules"),
        Part::Logs => logs(agent).await,
        Part::History => deleted(delete(agent, &HISTORY).await?, "histories"),
    }
}

fn changed(what: String) -> Told<(Outcome, String)> {
    Ok((Outcome::Changed, what))
}

fn absent(what: &str) -> Told<(Outcome, String)> {
    Ok((Outcome::Absent, format!("the guest has no {what}")))
}

fn deleted(count: usize, what: &str) -> Told<(Outcome, String)> {
    if count == 0 { absent(what) } else { changed(format!("{count} files deleted")) }
}

async fn machine_id(agent: &Agent, id: &str) -> Told<(Outcome, String)> {
    const PATH: &str = "/etc/machine-id";
    if !is_there(agent, PATH).await? {
        return absent(PATH);
    }
    let text = format!("{id}\n");
    write(agent, PATH, &text).await?;
    for copy in find(agent, &BUS_ID).await? {
        write(agent, &copy, &text).await?;
    }
    changed(id.to_owned())
}

async fn host_name(agent: &Agent, name: &str) -> Told<(Outcome, String)> {
    const PATH: &str = "/etc/hostname";
    const HOSTS: &str = "/etc/hosts";
    if !is_there(agent, PATH).await? {
        return absent(PATH);
    }
    let old = agent.host_name().await?;
    write(agent, PATH, &format!("{name}\n")).await?;
    if is_there(agent, HOSTS).await? {
        let before = read(agent, HOSTS).await?;
        let after = renamed(&before, &old, name);
        if after != before {
            write(agent, HOSTS, &after).await?;
        }
    }
    changed(name.to_owned())
}

/// A table of hosts in which a guest's name is another one, with its domain and without.
fn renamed(hosts: &str, old: &str, new: &str) -> String {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let (old_short, new_short) = (short(old), short(new));
    let rename = |word: &str| match word {
        "localhost" | "" => word.to_owned(),
        word if word.eq_ignore_ascii_case(old) => new.to_owned(),
        word if word.eq_ignore_ascii_case(&old_short) => new_short.clone(),
        word => match word.split_once('.') {
            // The domain is in the table alone.
            Some((first, domain)) if first.eq_ignore_ascii_case(&old_short) => format!("{new_short}.{domain}"),
            _ => word.to_owned(),
        },
    };
    let line = |line: &str| {
        let (entry, comment) = line.split_at(line.find('#').unwrap_or(line.len()));
        let words = entry.split_inclusive([' ', '\t', '\n']).map(|word| {
            let bare = word.trim_end_matches([' ', '\t', '\n']);
            rename(bare) + &word[bare.len()..]
        });
        words.collect::<String>() + comment
    };
    hosts.split_inclusive('\n').map(line).collect()
}

/// None are deleted where new ones cannot be made: nobody could log in any more.
async fn ssh_keys(agent: &Agent) -> Told<(Outcome, String)> {
    const SERVER: &str = "/etc/ssh/sshd_config";
    let keys = find(agent, &SSH_KEYS).await?;
    let generate = async || run(agent, "ssh-keygen", &["-A"]).await;
    if keys.is_empty() {
        if !is_there(agent, SERVER).await? {
            return absent("SSH host keys");
        }
        // Whoever was stopped between deleting and making them has left a server without any.
        generate().await?;
        return changed(format!("{} files made", find(agent, &SSH_KEYS).await?.len()));
    }
    let Some(public) = keys.iter().find(|path| path.ends_with(".pub")) else {
        return Err(Trouble::Here("no public key is there".into()));
    };
    generate().await.map_err(|trouble| match trouble {
        Trouble::Here(why) => Trouble::Here(format!("they stay, as no new ones can be made: {why}")),
        error @ Trouble::Everywhere(_) => error,
    })?;
    let before = read(agent, public).await?;
    delete(agent, &SSH_KEYS).await?;
    generate().await?;
    match read(agent, public).await? == before {
        false => changed(format!("{} files made anew", find(agent, &SSH_KEYS).await?.len())),
        true => Err(Trouble::Here(format!("{public} is what it was"))),
    }
}

async fn logs(agent: &Agent) -> Told<(Outcome, String)> {
    let gone = delete(agent, &OLD_LOGS).await?;
    let emptied = empty(agent, LOGS).await?;
    match gone + emptied {
        0 => absent("logs"),
        _ => changed(format!("{emptied} files emptied, {gone} deleted")),
    }
}

#[cfg(test)]
mod tests;
