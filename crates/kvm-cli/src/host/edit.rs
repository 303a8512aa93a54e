//! `kvmctl host add` and `kvmctl host remove`: sections of `hosts.toml`, with all else in the file left as it is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use kvm_core::{Bytes, Error, ErrorKind, Resource, Result, Target, Transport as _};
use kvm_ssh::LocalTransport;
use serde::Serialize;

use crate::printer::{Outcome, Page};
use crate::session::Session;
use crate::settings::{HostEntry, hosts_of};

/// The largest file that is read.
const LARGEST: Bytes = Bytes::from_mib(1);

/// Arguments of `host add`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl host add lab1 qemu+ssh://root@lab1.example/system\n  \
        kvmctl host add lab2 qemu+ssh://lab2/system --identity ~/.ssh/lab --known-hosts ~/.ssh/lab_hosts",
    after_long_help = "Nothing is connected to. --socket, --identity, --known-hosts and --pki are kept with the host.\n\n\
        Library: kvm_cli::Settings::read"
)]
pub struct Add {
    /// How the host is called from now on: 1 to 63 letters, digits, '.', '-' and '_'.
    #[arg(value_name = "ALIAS")]
    alias: String,
    /// Where it is (kvmctl help targets).
    #[arg(value_name = "TARGET", value_parser = Target::parse)]
    target: Target,
}

/// Arguments of `host remove`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Example:\n  kvmctl host remove lab1",
    after_long_help = "The host itself is left alone, and so is its key in known_hosts.\n\nLibrary: kvm_cli::Settings::read"
)]
pub struct Remove {
    /// How the host is called.
    #[arg(value_name = "ALIAS")]
    alias: String,
}

/// What became of a section.
#[derive(Debug, Serialize)]
pub(super) struct Edited {
    alias: String,
    target: Target,
    file: PathBuf,
    #[serde(skip)]
    verb: &'static str,
}

pub(super) async fn add(args: Add, session: &Session) -> Result<Edited> {
    if !Target::looks_like_alias(&args.alias) {
        let shown = kvm_core::text::printable_within(&args.alias, 100).to_string();
        let why = format!("host alias {shown:?} is not 1 to 63 letters, digits, '.', '-' and '_'");
        return Err(Error::invalid("alias", why));
    }
    let options = session.connect_flags();
    options.check_for(&args.target)?;
    if let Some(there) = session.settings.hosts.get(&args.alias) {
        let text = format!("hosts.toml has a host {}", args.alias);
        return Err(Error::new(ErrorKind::AlreadyExists, text).with_detail(format!("it is {}", there.target)));
    }
    let entry = HostEntry {
        target: args.target.clone(),
        socket: options.socket.clone(),
        identity: options.identity.clone(),
        known_hosts: options.known_hosts.clone(),
        pki: options.pki.clone(),
    };
    let file = session.directories.config.join("hosts.toml");
    let mut text = read(&file).await?;
    if !text.is_empty() {
        text.truncate(text.trim_end().len());
        text.push_str("\n\n");
    }
    text.push_str(&section(&args.alias, &entry));
    let mut wanted = session.settings.hosts.clone();
    wanted.insert(args.alias.clone(), entry);
    write(&file, &text, &wanted).await?;
    Ok(Edited { alias: args.alias, target: args.target, file, verb: "added to" })
}

pub(super) async fn remove(args: Remove, session: &Session) -> Result<Edited> {
    let file = session.directories.config.join("hosts.toml");
    let mut wanted = session.settings.hosts.clone();
    let Some(entry) = wanted.remove(&args.alias) else {
        let known: Vec<_> = session.settings.hosts.keys().map(String::as_str).collect();
        let text = format!("no host with the alias {}", kvm_core::text::printable_within(&args.alias, 100));
        return Err(Error::new(ErrorKind::NotFound, text).with_detail(format!("hosts.toml has {}", known.join(", "))));
    };
    let text = without(&read(&file).await?, &args.alias);
    write(&file, &text, &wanted).await?;
    Ok(Edited { alias: args.alias, target: entry.target, file, verb: "removed from" })
}

async fn read(file: &std::path::Path) -> Result<String> {
    match LocalTransport::new().read_file(file, LARGEST).await {
        Ok(bytes) => String::from_utf8(bytes).map_err(|e| by_hand(file).with_source(e)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(e),
    }
}

/// Writes the file, if it then says what it should: a person may have written it in another form than ours.
async fn write(file: &std::path::Path, text: &str, wanted: &BTreeMap<String, HostEntry>) -> Result<()> {
    if hosts_of(text, file).ok().as_ref() != Some(wanted) {
        return Err(by_hand(file));
    }
    if let Some(dir) = file.parent() {
        let trouble =
            |e: std::io::Error| Error::new(ErrorKind::Denied, format!("cannot make {}", dir.display())).with_source(e);
        std::fs::create_dir_all(dir).map_err(trouble)?;
    }
    LocalTransport::new().write_file(file, text.as_bytes(), 0o600).await
}

fn by_hand(file: &std::path::Path) -> Error {
    let text = format!("{} is written in a form that is not changed here; change it in an editor", file.display());
    Error::new(ErrorKind::Unsupported, text).on(Resource::File(file.display().to_string()))
}

/// A section of the file.
fn section(alias: &str, entry: &HostEntry) -> String {
    let mut text = format!("[{}]\ntarget = {}\n", key(alias), quoted(&entry.target.to_string()));
    let paths = [
        ("socket", &entry.socket),
        ("identity", &entry.identity),
        ("known_hosts", &entry.known_hosts),
        ("pki", &entry.pki),
    ];
    for (name, path) in paths.into_iter().filter_map(|(name, path)| Some((name, path.as_ref()?))) {
        // Writing to a string cannot fail.
        let _ok = writeln!(text, "{name} = {}", quoted(&path.to_string_lossy()));
    }
    text
}

/// A key that needs no quotes stands without.
fn key(alias: &str) -> String {
    if alias.contains('.') { quoted(alias) } else { alias.to_owned() }
}

/// A string as TOML and JSON both write it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The text without the lines of a section.
fn without(text: &str, alias: &str) -> String {
    let headers = [format!("[{alias}]"), format!("[\"{alias}\"]"), format!("['{alias}']")];
    let mut inside = false;
    let mut kept = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let bare = line.split('#').next().unwrap_or_default().trim();
        if bare.starts_with('[') {
            inside = headers.iter().any(|header| header == bare);
        }
        if !inside {
            kept.push_str(line);
        }
    }
    kept
}

impl Outcome for Edited {
    fn text(&self, page: &mut Page<'_>) {
        page.done(format_args!("{} ({}) {} {}", self.alias, self.target, self.verb, self.file.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(text: &str) -> BTreeMap<String, HostEntry> {
        hosts_of(text, std::path::Path::new("hosts.toml")).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let entry = HostEntry {
            target: Target::parse("qemu+ssh://root@kvm1/system").unwrap(),
            socket: None,
            identity: Some("/home/me/a \"key\" \\ here".into()),
            known_hosts: Some("/home/mé/hosts".into()),
            pki: None,
        };
        for alias in ["lab", "kvm1.example", "1-2_3"] {
            assert_eq!(hosts(&section(alias, &entry)), BTreeMap::from([(alias.to_owned(), entry.clone())]));
        }
    }

    #[test]
    fn a_section_goes_and_the_others_stay_as_they_are() {
        let text = "# mine\n[a]\ntarget = 'mock:///demo' # one\n\n['b.c'] # two\ntarget = 'mock:///empty'\n";
        assert_eq!(without(text, "a"), "# mine\n['b.c'] # two\ntarget = 'mock:///empty'\n");
        assert_eq!(without(text, "b.c"), "# mine\n[a]\ntarget = 'mock:///demo' # one\n\n");
        assert_eq!(without(text, "b"), text);
    }
}
