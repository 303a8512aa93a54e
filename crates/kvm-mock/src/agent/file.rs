//! Files in a simulated guest, as the agent opens them.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{AgentSession, Answer, GuestFiles, Refusal, bytes, missing, text};

/// The most that a simulated guest keeps in one file.
const LARGEST: usize = 16 << 20;

/// An open file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Handle {
    path: String,
    at: usize,
    writes: bool,
}

pub(super) fn open(session: &mut AgentSession, disk: &mut GuestFiles, arguments: &Value) -> Answer {
    let (path, mode) = (text(arguments, "path")?.to_owned(), arguments["mode"].as_str().unwrap_or("r"));
    let refuse = |why: &str| Refusal::generic(format!("failed to open file '{path}' (mode: '{mode}'): {why}"));
    let there = disk.files.get(&path).map(Vec::len);
    let (at, writes) = match (mode.trim_end_matches('b'), there) {
        ("r", None) => return Err(refuse("No such file or directory")),
        ("r", Some(_)) => (0, false),
        ("w", _) => {
            disk.files.insert(path.clone(), Vec::new());
            (0, true)
        }
        ("a", length) => {
            disk.files.entry(path.clone()).or_default();
            (length.unwrap_or(0), true)
        }
        _ => return Err(refuse("Invalid argument")),
    };
    let number = session.number();
    session.handles.insert(number, Handle { path, at, writes });
    Ok(json!(number))
}

fn handle<'a>(session: &'a mut AgentSession, arguments: &Value) -> Result<&'a mut Handle, Refusal> {
    let number = arguments["handle"].as_i64().ok_or_else(|| missing("handle"))?;
    session.handles.get_mut(&number).ok_or_else(|| Refusal::generic(format!("handle '{number}' has not been found")))
}

pub(super) fn close(session: &mut AgentSession, arguments: &Value) -> Answer {
    handle(session, arguments)?;
    session.handles.remove(&arguments["handle"].as_i64().unwrap_or_default());
    Ok(json!({}))
}

pub(super) fn read(session: &mut AgentSession, disk: &GuestFiles, arguments: &Value) -> Answer {
    let handle = handle(session, arguments)?;
    let count = arguments["count"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(4096);
    let content = disk.files.get(&handle.path).map(Vec::as_slice).unwrap_or_default();
    let rest = content.get(handle.at..).unwrap_or_default();
    let piece = &rest[..rest.len().min(count)];
    handle.at += piece.len();
    Ok(json!({ "count": piece.len(), "buf-b64": BASE64.encode(piece), "eof": piece.len() < count }))
}

pub(super) fn write(session: &mut AgentSession, disk: &mut GuestFiles, arguments: &Value) -> Answer {
    let data = bytes(arguments, "buf-b64")?;
    let handle = handle(session, arguments)?;
    let content = disk.files.entry(handle.path.clone()).or_default();
    if !handle.writes {
        return Err(Refusal::generic("failed to write to file: Bad file descriptor"));
    }
    if content.len() + data.len() > LARGEST {
        return Err(Refusal::generic("failed to write to file: No space left on device"));
    }
    content.truncate(handle.at);
    content.extend_from_slice(&data);
    handle.at += data.len();
    Ok(json!({ "count": data.len(), "eof": false }))
}
