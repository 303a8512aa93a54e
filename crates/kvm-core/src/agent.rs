//! What goes to a guest's agent and what comes back, held within bounds: guests are not trusted.

use std::fmt;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::text::printable_within;
use crate::{Bytes, Error, ErrorKind, Result};

/// So much of an agent's own words is repeated in an error.
const SHOWN: usize = 300;

/// One command of QEMU's guest agent protocol.
///
/// Its `Debug` shows the name alone: arguments may be passwords.
#[derive(Clone, PartialEq)]
pub struct AgentCommand {
    name: String,
    arguments: Value,
}

impl AgentCommand {
    /// The longest command that is sent, as JSON. The channel into a guest stalls on one that is longer than its buffer
    /// of 64 KiB.
    pub const LARGEST: Bytes = Bytes::new(60 << 10);

    /// A command with its arguments, which become a JSON object; `()` for none.
    ///
    /// `InvalidInput` when the name is none, when the arguments are no object, and when both are larger than
    /// [`LARGEST`](Self::LARGEST).
    pub fn new(name: &str, arguments: &impl Serialize) -> Result<Self> {
        let is_name = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if name.is_empty() || name.len() > 64 || !is_name {
            return Err(Error::invalid("command", "a command of the agent is lower-case letters, digits and hyphens"));
        }
        let arguments = serde_json::to_value(arguments)
            .map_err(|e| Error::invalid("arguments", "the arguments are no JSON").with_source(e))?;
        if !matches!(arguments, Value::Object(_) | Value::Null) {
            return Err(Error::invalid("arguments", "the arguments of a command are an object"));
        }
        let command = Self { name: name.to_owned(), arguments };
        if command.to_json().len() as u64 > Self::LARGEST.get() {
            return Err(Error::invalid("arguments", format!("a command to the agent has {} at most", Self::LARGEST)));
        }
        Ok(command)
    }

    /// Its name, such as `guest-ping`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its arguments: an object, or null.
    #[must_use]
    pub fn arguments(&self) -> &Value {
        &self.arguments
    }

    /// Whether the agent takes this command now, as it says itself in its answer to `guest-info`.
    pub fn is_taken(&self, info: &AgentReply) -> Result<bool> {
        let Taken { supported_commands } = info.read()?;
        Ok(supported_commands.iter().any(|command| command.enabled && command.name == self.name))
    }

    /// The command as the agent reads it.
    #[must_use]
    pub fn to_json(&self) -> String {
        match &self.arguments {
            Value::Null => serde_json::json!({ "execute": self.name }),
            arguments => serde_json::json!({ "execute": self.name, "arguments": arguments }),
        }
        .to_string()
    }
}

impl fmt::Debug for AgentCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentCommand").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a guest's agent answered, within bounds: no larger than [`LARGEST`](Self::LARGEST), no deeper than
/// [`DEEPEST`](Self::DEEPEST), an object that returns something.
#[derive(Clone, PartialEq, Eq)]
pub struct AgentReply(String);

#[derive(Deserialize)]
struct Form<T> {
    #[serde(rename = "return")]
    returned: Option<T>,
    error: Option<Refusal>,
}

/// An answer that was looked at before, for what it returns alone.
#[derive(Deserialize)]
struct Returned<T> {
    #[serde(rename = "return")]
    returned: T,
}

/// The part of an answer to `guest-info` that matters here.
#[derive(Deserialize)]
struct Taken {
    supported_commands: Vec<TakenCommand>,
}

#[derive(Deserialize)]
struct TakenCommand {
    name: String,
    enabled: bool,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    class: String,
    #[serde(default)]
    desc: String,
}

impl AgentReply {
    /// The longest answer that is looked at.
    pub const LARGEST: Bytes = Bytes::new(1 << 20);
    /// How deep lists and objects of an answer may lie in each other.
    pub const DEEPEST: usize = 64;

    /// Takes an answer as it came from the guest.
    ///
    /// `Corrupt` when it is out of bounds or makes no sense. When the agent says that it could not do it:
    /// `Unsupported` if it does not know the command, or was told to refuse it; `InvalidState` otherwise, with its own
    /// words as the detail.
    pub fn parse(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        if text.len() as u64 > Self::LARGEST.get() {
            return Err(hostile(format!("is larger than {}", Self::LARGEST)));
        }
        if depth(&text) > Self::DEEPEST {
            return Err(hostile(format!("is deeper than {} levels", Self::DEEPEST)));
        }
        let form: Form<IgnoredAny> =
            serde_json::from_str(&text).map_err(|e| hostile("makes no sense").with_source(e))?;
        match form {
            Form { returned: Some(_), error: None } => Ok(Self(text)),
            Form { returned: None, error: Some(refusal) } => Err(refusal.into()),
            _ => Err(hostile("neither returns anything nor says why not")),
        }
    }

    /// Reads what it returns. `Corrupt` when that has another form.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        let form: Returned<T> =
            serde_json::from_str(&self.0).map_err(|e| hostile("is not what the command returns").with_source(e))?;
        Ok(form.returned)
    }
}

impl fmt::Debug for AgentReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AgentReply").field(&printable_within(&self.0, SHOWN)).finish()
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let (kind, message) = match refusal.class.as_str() {
            "CommandNotFound" | "CommandDisabled" => {
                (ErrorKind::Unsupported, "the guest agent does not take this command now")
            }
            _ => (ErrorKind::InvalidState, "the guest agent could not do it"),
        };
        Error::new(kind, message).with_detail(printable_within(&refusal.desc, SHOWN).to_string())
    }
}

fn hostile(why: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the answer of the guest agent {why}"))
}

/// How deep the brackets of a JSON text lie in each other at most. Looks at bytes alone, so that no parser has to
/// follow a text that is too deep.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_is_what_the_protocol_wants() {
        assert_eq!(AgentCommand::new("guest-ping", &()).unwrap().to_json(), r#"{"execute":"guest-ping"}"#);
        let trim = AgentCommand::new("guest-fstrim", &json!({"minimum": 0})).unwrap();
        assert_eq!(trim.to_json(), r#"{"arguments":{"minimum":0},"execute":"guest-fstrim"}"#);
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for name in ["", "Guest-ping", "guest ping", "guest-ping\"", "guest-ping\n"] {
            assert_eq!(AgentCommand::new(name, &()).unwrap_err().kind(), ErrorKind::InvalidInput, "{name:?}");
        }
        assert!(AgentCommand::new("guest-ping", &[1]).is_err());
        assert!(AgentCommand::new("guest-exec", &json!({"input-data": "x".repeat(1 << 20)})).is_err());
    }

    #[test]
    fn an_agent_says_which_commands_it_takes() {
        let commands = json!([{"name": "guest-ping", "enabled": true}, {"name": "guest-exec", "enabled": false}]);
        let info = AgentReply::parse(json!({"return": {"version": "7", "supported_commands": commands}}).to_string());
        let info = info.unwrap();
        for (name, is_taken) in [("guest-ping", true), ("guest-exec", false), ("guest-fly", false)] {
            assert_eq!(AgentCommand::new(name, &()).unwrap().is_taken(&info).unwrap(), is_taken, "{name}");
        }
    }

    #[test]
    fn arguments_are_in_no_log() {
        let command = AgentCommand::new("guest-set-user-password", &json!({"password": "secret"})).unwrap();
        assert!(!format!("{command:?}").contains("secret"));
    }

    #[test]
    fn an_answer_is_read_as_what_it_returns() {
        let reply = AgentReply::parse(r#"{"return": {"pid": 7, "more": [1]}}"#).unwrap();
        #[derive(Deserialize)]
        struct Pid {
            pid: i64,
        }
        assert_eq!(reply.read::<Pid>().unwrap().pid, 7);
        assert_eq!(reply.read::<Vec<u8>>().unwrap_err().kind(), ErrorKind::Corrupt);
        AgentReply::parse(r#"{"return": {}}"#).unwrap();
    }

    #[test]
    fn a_refusal_says_whether_the_command_is_known() {
        let refused = |class: &str| {
            let e = AgentReply::parse(json!({"error": {"class": class, "desc": "no\u{1b}[2J"}}).to_string());
            let e = e.unwrap_err();
            (e.kind(), e.detail().unwrap().to_owned())
        };
        assert_eq!(refused("GenericError"), (ErrorKind::InvalidState, "no\\u{1b}[2J".to_owned()));
        assert_eq!(refused("CommandNotFound").0, ErrorKind::Unsupported);
    }

    #[test]
    fn hostile_answers_are_corrupt() {
        let deep = |n: usize| format!(r#"{{"return": {}{}}}"#, "[".repeat(n), "]".repeat(n));
        for text in [
            String::new(),
            "nothing".into(),
            "[]".into(),
            "{}".into(),
            r#"{"return": 1, "error": {}}"#.into(),
            r#"{"return": 1, "return": 2}"#.into(),
            r#"{"return": 1} {"return": 2}"#.into(),
            r#"{"error": {"class": 5}}"#.into(),
            format!(r#"{{"return": "{}"}}"#, "x".repeat(1 << 20)),
            deep(64),
            deep(400_000),
            "[".repeat(1 << 20),
        ] {
            let e = AgentReply::parse(text.clone()).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Corrupt, "{}", printable_within(&text, 60));
        }
        AgentReply::parse(deep(63)).unwrap();
        let brackets = format!(r#"{{"return": "{}\"["}}"#, "[".repeat(100));
        AgentReply::parse(brackets).unwrap();
    }

    proptest! {
        #[test]
        fn no_answer_is_too_much(text in "[\\[\\]{}\",:\\\\a-z0-9 ]{0,200}") {
            if let Ok(reply) = AgentReply::parse(text) {
                let _any = reply.read::<Value>();
            }
        }
    }
}
