//! The keys of `clone.toml`: what each means, and which values it takes.

use std::fmt;
use std::path::PathBuf;

use kvm_clone::Parallel;
use kvm_core::{Bandwidth, ConnectOptions, Error, Port, Resource, Result};
use toml_edit::Value;

use crate::copy::limit;

/// A key, in its section.
#[derive(Debug)]
pub(in crate::copy) struct Key {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    kind: Kind,
    /// What holds without it; `None` for nothing.
    default: Option<&'static str>,
    pub(super) what: &'static str,
    pub(super) example: &'static str,
}

/// What a value is.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Path,
    Port,
    Flag,
    Rate,
    Time,
    Parallel,
    Word(&'static [&'static str]),
}

const fn key(
    path: (&'static str, &'static str),
    kind: Kind,
    default: Option<&'static str>,
    what: &'static str,
    example: &'static str,
) -> Key {
    Key { section: path.0, name: path.1, kind, default, what, example }
}

#[rustfmt::skip] // a table
pub(super) const KEYS: [Key; 11] = [
    key(("ssh", "key_path"), Kind::Path, None, "Private key to log in with, where hosts.toml names none for a host.", "\"/home/me/.ssh/lab\""),
    key(("ssh", "known_hosts"), Kind::Path, None, "File of trusted host keys, where hosts.toml names none for a host.", "\"/home/me/.ssh/lab_hosts\""),
    key(("ssh", "port"), Kind::Port, None, "Port of the SSH servers, where neither the host nor hosts.toml names one.", "2222"),
    key(("transfer", "bandwidth_limit"), Kind::Rate, None, "Most that is sent per second.", "\"100M\""),
    key(("transfer", "compress"), Kind::Flag, Some("false"), "Whether what is under way is compressed, where helpers carry it.", "true"),
    key(("transfer", "parallel"), Kind::Parallel, Some("1"), "How many images are sent at a time, where helpers carry them.", "4"),
    key(("transfer", "timeout"), Kind::Time, None, "All of a clone or sync is done in this time, or taken back.", "\"2h\""),
    key(("transfer", "verify"), Kind::Flag, Some("false"), "Whether a clone of which nobody compares what has arrived is refused.", "true"),
    key(("logging", "file"), Kind::Path, None, "File to whose end the log is written; else it goes to standard error.", "\"/var/log/kvm-clone.log\""),
    key(("logging", "format"), Kind::Word(&["text", "json"]), Some("text"), "Form of the log.", "\"json\""),
    key(("logging", "level"), Kind::Word(&["debug", "info", "warn", "error"]), None, "From which level on there is a log.", "\"info\""),
];

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.section, self.name)
    }
}

impl Key {
    /// The key of this name. `InvalidInput` with those that there are.
    pub(super) fn named(name: &str) -> Result<&'static Self> {
        let found = KEYS.iter().find(|key| name.split_once('.') == Some((key.section, key.name)));
        found.ok_or_else(|| Self::unknown(name))
    }

    /// The error for a name that is none of a key.
    pub(super) fn unknown(name: &str) -> Error {
        let known: Vec<_> = KEYS.iter().map(ToString::to_string).collect();
        let shown = kvm_core::text::printable_within(name, 100);
        Error::invalid("key", format!("there is no key {shown}")).with_detail(format!("there are {}", known.join(", ")))
    }

    /// What a person wrote, as it stands in the file. `InvalidInput` naming the key.
    pub(super) fn read(&self, text: &str) -> Result<Value> {
        self.kind.read(text).map_err(|e| e.on(Resource::Field(self.to_string())).with_note(&format!("key {self}")))
    }

    /// The same for what stands in the file, where it also has to be of the right type.
    pub(super) fn check(&self, value: &Value) -> Result<()> {
        let wanted = match plain(value) {
            serde_json::Value::String(text) => self.read(&text)?,
            other => self.read(&other.to_string())?,
        };
        match wanted.type_name() == value.type_name() {
            true => Ok(()),
            false => {
                let text = format!("key {self} has {} where {} belongs", value.type_name(), wanted.type_name());
                let example = format!("write it like {} = {}", self.name, self.example);
                Err(Error::invalid("key", text).on(Resource::Field(self.to_string())).with_detail(example))
            }
        }
    }

    /// What holds without it.
    pub(super) fn default_value(&self) -> serde_json::Value {
        let value = self.default.and_then(|text| self.kind.read(text).ok());
        value.map_or(serde_json::Value::Null, |value| plain(&value))
    }
}

impl Kind {
    fn read(self, text: &str) -> Result<Value> {
        match self {
            Self::Path => {
                let known_hosts = Some(PathBuf::from(text));
                ConnectOptions { known_hosts, ..ConnectOptions::default() }.check().map_err(|_| {
                    Error::invalid(
                        "path",
                        "a path is absolute, such as /home/me/.ssh/lab, and has no control characters",
                    )
                })?;
                Ok(text.into())
            }
            Self::Port => Port::parse(text).map(|port| i64::from(port.get()).into()),
            Self::Flag => match text {
                "true" => Ok(true.into()),
                "false" => Ok(false.into()),
                _ => Err(Error::invalid("value", "it is true or false")),
            },
            Self::Rate => Bandwidth::parse(text).map(|_| text.into()),
            Self::Time => limit::parse(text).map(|_| text.into()),
            Self::Parallel => text.parse::<Parallel>().map(|parallel| i64::from(u8::from(parallel)).into()),
            Self::Word(words) if words.contains(&text) => Ok(text.into()),
            Self::Word(words) => Err(Error::invalid("value", format!("it is one of {}", words.join(", ")))),
        }
    }
}

/// A value of the file as data.
pub(super) fn plain(value: &Value) -> serde_json::Value {
    match value {
        Value::String(text) => text.value().as_str().into(),
        Value::Integer(number) => (*number.value()).into(),
        Value::Boolean(is) => (*is.value()).into(),
        other => other.to_string().trim().into(),
    }
}
