//! `kvm-clone config`: what holds where the command line says nothing.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use kvm_core::{Error, ErrorKind, Resource, Result, Transport as _};
use kvm_ssh::LocalTransport;
use serde::Serialize;

use crate::printer::{Cell, Column, Outcome, Page, Printer, Table};
use crate::settings;

mod edit;
mod key;
mod read;

pub(super) use read::Config;

use key::{KEYS, Key};

/// The file, in the directory of `hosts.toml`.
pub(super) const FILE: &str = "clone.toml";

/// Verbs for the configuration.
#[derive(Debug, Subcommand)]
#[command(before_help = "\
Examples:
  kvm-clone config show
  kvm-clone config set transfer.bandwidth_limit 100M
  kvm-clone config unset transfer.bandwidth_limit")]
pub enum Command {
    /// Show every key, what holds for it, and who says so.
    Show(Show),
    /// Set a key; comments and all else in the file stay.
    Set(Set),
    /// Take a key out of the file.
    Unset(Unset),
    /// Write a file that explains every key and sets none.
    Init(Init),
}

/// Arguments of `config show`.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:\n  kvm-clone config show\n  kvm-clone config show -o json", after_long_help = KEYS_HELP)]
pub struct Show {}

/// Arguments of `config set`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvm-clone config set ssh.key_path ~/.ssh/lab\n  kvm-clone config set transfer.compress true",
    after_long_help = KEYS_HELP
)]
pub struct Set {
    /// Such as transfer.compress.
    #[arg(value_name = "KEY")]
    key: String,
    /// As the flag takes it; true or false for flags that take nothing.
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    value: String,
}

/// Arguments of `config unset`.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  kvm-clone config unset ssh.port", after_long_help = KEYS_HELP)]
pub struct Unset {
    /// Such as transfer.compress; also one that nobody knows, so that it is gone.
    #[arg(value_name = "KEY")]
    key: String,
}

/// Arguments of `config init`.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  kvm-clone config init", after_long_help = KEYS_HELP)]
pub struct Init {}

const KEYS_HELP: &str = "\
The file is clone.toml below $XDG_CONFIG_HOME/kvm-manager (~/.config/kvm-manager) or KVM_CONFIG, or what --config says. The \
command line wins over it, and for SSH so does what hosts.toml says of a host.\n\
Keys: ssh.key_path, ssh.known_hosts, ssh.port, transfer.bandwidth_limit, transfer.compress, transfer.parallel, transfer.timeout, \
transfer.verify, logging.file, logging.format, logging.level.\n\n\
Library: none, this is all about the command line";

/// Does what was asked.
pub(super) async fn run(command: Command, file: PathBuf, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    match command {
        Command::Show(_) => printer.show(&Shown::of(file)?),
        Command::Set(args) => {
            let key = Key::named(&args.key)?;
            let value = key.read(&args.value)?;
            let text = settings::read(&file)?.unwrap_or_default();
            let (text, before) = edit::set(&text, key, value.clone()).map_err(|e| named(e, &file))?;
            // What else is wrong with it would come as a surprise with the next copy.
            Config::of(&text).map_err(|e| named(e, &file))?;
            write(&file, &text).await?;
            printer.show(&Edited { key: key.to_string(), value: Some(key::plain(&value)), before, file })
        }
        Command::Unset(args) => {
            let text = settings::read(&file)?.unwrap_or_default();
            let (text, before) = edit::unset(&text, &args.key).map_err(|e| named(e, &file))?;
            match &before {
                Some(_) => write(&file, &text).await?,
                None => drop(Key::named(&args.key)?),
            }
            printer.show(&Edited { key: args.key, value: None, before, file })
        }
        Command::Init(_) => {
            if settings::read(&file)?.is_some() {
                let text = format!("{} is there already", file.display());
                return Err(Error::new(ErrorKind::AlreadyExists, text)
                    .on(Resource::Field("config".to_owned()))
                    .with_detail("change it with: kvm-clone config set KEY VALUE"));
            }
            write(&file, &edit::template()).await?;
            printer.show(&Made { file })
        }
    }
}

async fn write(file: &Path, text: &str) -> Result<()> {
    if let Some(dir) = file.parent() {
        let trouble =
            |e: std::io::Error| Error::new(ErrorKind::Denied, format!("cannot make {}", dir.display())).with_source(e);
        std::fs::create_dir_all(dir).map_err(trouble)?;
    }
    LocalTransport::new().write_file(file, text.as_bytes(), 0o600).await
}

/// The error with the file that it is about.
fn named(error: Error, file: &Path) -> Error {
    error.with_note(&format!("in {}", file.display()))
}

/// What holds.
#[derive(Serialize)]
struct Shown {
    file: PathBuf,
    exists: bool,
    settings: Vec<Setting>,
}

#[derive(Serialize)]
struct Setting {
    key: String,
    value: serde_json::Value,
    /// `file` or `default`.
    from: &'static str,
}

impl Shown {
    fn of(file: PathBuf) -> Result<Self> {
        let exists = settings::read(&file)?.is_some();
        let config = Config::read(&file)?;
        let setting = |key: &Key| {
            let (value, from) = match config.value(key) {
                Some(value) => (key::plain(value), "file"),
                None => (key.default_value(), "default"),
            };
            Setting { key: key.to_string(), value, from }
        };
        Ok(Self { file, exists, settings: KEYS.iter().map(setting).collect() })
    }
}

impl Outcome for Shown {
    fn text(&self, page: &mut Page<'_>) {
        page.line(match self.exists {
            true => format!("{}", self.file.display()),
            false => format!("{} (not there)", self.file.display()),
        });
        let columns = [Column::left("key", "KEY"), Column::wide("value", "VALUE"), Column::left("from", "FROM")];
        let mut table = Table::new(&columns);
        for Setting { key, value, from } in &self.settings {
            table.row(vec![Cell::new(key), Cell::maybe(shown(value)), Cell::new(from)]);
        }
        page.table(&table);
    }
}

/// A value as people write it; `None` for none.
fn shown(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// A key that was changed.
#[derive(Serialize)]
struct Edited {
    file: PathBuf,
    key: String,
    /// What it is now; nothing when it was taken out.
    value: Option<serde_json::Value>,
    before: Option<serde_json::Value>,
}

impl Outcome for Edited {
    fn text(&self, page: &mut Page<'_>) {
        let (key, file) = (&self.key, self.file.display());
        match (&self.value, &self.before) {
            (Some(value), _) => page.done(format_args!("{key} is {} in {file}", shown(value).unwrap_or_default())),
            (None, Some(_)) => page.done(format_args!("{key} taken out of {file}")),
            (None, None) => page.done(format_args!("{key} is not in {file}")),
        }
    }
}

/// A file that was written.
#[derive(Serialize)]
struct Made {
    file: PathBuf,
}

impl Outcome for Made {
    fn text(&self, page: &mut Page<'_>) {
        page.done(format_args!("{} written; it sets nothing yet", self.file.display()));
    }
}
