//! Programs in a simulated guest: a handful, each of which does what its name says.

use std::time::Duration;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{AgentSession, Answer, GuestFiles, Refusal, bytes, missing, text, tools};

/// A program that was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Process {
    /// It ends when the guest has run for so long.
    ends_at: Duration,
    code: i64,
    out: Vec<u8>,
    err: Vec<u8>,
}

pub(super) fn start(
    session: &mut AgentSession,
    ran: Duration,
    disk: &mut GuestFiles,
    host_name: &str,
    arguments: &Value,
) -> Answer {
    let path = text(arguments, "path")?;
    let words: Vec<_> = arguments["arg"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let input = if arguments["input-data"].is_null() { Vec::new() } else { bytes(arguments, "input-data")? };
    let done = |out: Vec<u8>| Process { ends_at: ran, code: 0, out, err: Vec::new() };
    let failed = |code, why: String| Process { ends_at: ran, code, out: Vec::new(), err: why.into_bytes() };
    let name = path.strip_prefix("/usr").unwrap_or(path);
    let process = match name.strip_prefix("/bin/").unwrap_or(name) {
        "true" => done(Vec::new()),
        "false" => failed(1, String::new()),
        "echo" => done(format!("{}\n", words.join(" ")).into_bytes()),
        "hostname" => done(format!("{host_name}\n").into_bytes()),
        "uname" => done(b"Linux\n".to_vec()),
        "cat" if words.is_empty() => done(input),
        "cat" => words
            .iter()
            .try_fold(Vec::new(), |mut all, path| match disk.files.get(*path) {
                Some(content) => {
                    all.extend_from_slice(content);
                    Ok(all)
                }
                None => Err(failed(1, format!("cat: {path}: No such file or directory\n"))),
            })
            .map_or_else(|failed| failed, done),
        "sync" => done(Vec::new()),
        "find" => done(tools::find(disk, &words).into_bytes()),
        "ssh-keygen" if words == ["-A"] && disk.files.contains_key(tools::KEY_PROGRAM) => {
            // What is another one each time, as a key is.
            tools::make_keys(disk, session.number());
            done(Vec::new())
        }
        "sleep" => match words.first().and_then(|word| word.parse().ok()) {
            Some(seconds) => Process { ends_at: ran + Duration::from_secs(seconds), ..done(Vec::new()) },
            None => failed(1, "sleep: invalid time interval\n".to_owned()),
        },
        _ => {
            let why = format!("Failed to execute child process \u{201c}{path}\u{201d} (No such file or directory)");
            return Err(Refusal::generic(format!("Guest agent command failed, error was '{why}'")));
        }
    };
    let pid = 1000 + session.number();
    session.processes.insert(pid, process);
    Ok(json!({ "pid": pid }))
}

pub(super) fn status(session: &mut AgentSession, ran: Duration, arguments: &Value) -> Answer {
    let pid = arguments["pid"].as_i64().ok_or_else(|| missing("pid"))?;
    let process = session.processes.get(&pid).ok_or_else(|| Refusal::generic("Invalid parameter 'pid'"))?;
    if ran < process.ends_at {
        return Ok(json!({ "exited": false }));
    }
    let mut answer = json!({ "exited": true, "exitcode": process.code });
    for (key, output) in [("out-data", &process.out), ("err-data", &process.err)] {
        if !output.is_empty() {
            answer[key] = json!(BASE64.encode(output));
        }
    }
    // As QEMU's agent does: what was told is forgotten.
    session.processes.remove(&pid);
    Ok(answer)
}
