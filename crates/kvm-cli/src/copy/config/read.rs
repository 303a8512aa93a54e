//! `clone.toml` as it is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kvm_clone::Parallel;
use kvm_core::{Bandwidth, Error, Port, Result};
use toml_edit::{DocumentMut, Value};
use tracing_subscriber::filter::LevelFilter;

use super::key::Key;
use crate::args::LogFormat;
use crate::copy::command_line::LogLevel;
use crate::copy::limit;
use crate::log::Log;
use crate::settings;

/// What the file says. Each value was checked.
#[derive(Debug, Default)]
pub(in crate::copy) struct Config {
    values: BTreeMap<String, Value>,
}

impl Config {
    /// Reads the file; one that is not there says nothing. `InvalidInput` naming the file, and the key or the line.
    pub(in crate::copy) fn read(file: &Path) -> Result<Self> {
        let text = settings::read(file)?.unwrap_or_default();
        Self::of(&text).map_err(|e| super::named(e, file))
    }

    pub(in crate::copy) fn of(text: &str) -> Result<Self> {
        let mut values = BTreeMap::new();
        for (section, item) in parse(text)?.iter() {
            let Some(table) = item.as_table_like() else { return Err(Key::unknown(section)) };
            for (name, item) in table.iter() {
                let path = format!("{section}.{name}");
                let key = Key::named(&path)?;
                let Some(value) = item.as_value() else {
                    return Err(Error::invalid("key", format!("key {path} has no value")));
                };
                key.check(value)?;
                values.insert(path, value.clone());
            }
        }
        Ok(Self { values })
    }

    pub(super) fn value(&self, key: &Key) -> Option<&Value> {
        self.values.get(&key.to_string())
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key)?.as_str()
    }

    pub(in crate::copy) fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    pub(in crate::copy) fn flag(&self, key: &str) -> bool {
        self.values.get(key).and_then(Value::as_bool).unwrap_or_default()
    }

    pub(in crate::copy) fn port(&self) -> Result<Option<Port>> {
        let port = self.values.get("ssh.port").and_then(Value::as_integer);
        port.map(|port| Port::parse(&port.to_string())).transpose()
    }

    pub(in crate::copy) fn bandwidth(&self) -> Result<Option<Bandwidth>> {
        self.text("transfer.bandwidth_limit").map(Bandwidth::parse).transpose()
    }

    pub(in crate::copy) fn parallel(&self) -> Result<Option<Parallel>> {
        let count = self.values.get("transfer.parallel").and_then(Value::as_integer);
        count.map(|count| count.to_string().parse()).transpose()
    }

    /// The limit of a command that has or has not one of its own.
    pub(in crate::copy) fn timeout(&self, asked: Option<Duration>) -> Result<Option<Duration>> {
        match asked {
            Some(_) => Ok(asked),
            None => self.text("transfer.timeout").map(limit::parse).transpose(),
        }
    }

    /// The log that is wanted; `None` for none.
    pub(in crate::copy) fn log(&self, asked: Option<LogLevel>, verbose: u8) -> Option<Log> {
        let own = asked.map(|level| match level {
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Error => LevelFilter::ERROR,
        });
        let file = self.path("logging.file");
        let level = own
            .or_else(|| self.text("logging.level")?.parse().ok())
            .or_else(|| (verbose > 1 || file.is_some()).then_some(LevelFilter::INFO))?;
        let format = if self.text("logging.format") == Some("json") { LogFormat::Json } else { LogFormat::Text };
        Some(Log { level, format, file })
    }
}

/// The text with all that it says besides. `InvalidInput` naming the line.
pub(super) fn parse(text: &str) -> Result<DocumentMut> {
    text.parse::<DocumentMut>().map_err(|e| {
        let line = e.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let why = kvm_core::text::printable_within(e.message(), 200).to_string();
        let why = why.lines().next().unwrap_or_default();
        Error::invalid("config", format!("the configuration cannot be read: {why}")).with_detail(format!("line {line}"))
    })
}
