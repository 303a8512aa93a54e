//! Small forms of text that several verbs use.

use std::time::Duration;

use kvm_core::{Autostart, Bytes, Error, ErrorKind, Resource, Result};

/// A time as people say it: `7 ms`, `0.4 s`, `12 s`, `1 m 04 s`, `3 h 20 m`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 if time < Duration::from_millis(100) => format!("{} ms", time.as_millis()),
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} m", seconds / 3600, seconds / 60 % 60),
    }
}

/// What became of something whose autostart was set.
pub(crate) fn autostart(set: Autostart) -> &'static str {
    match set {
        Autostart::On => "starts with its host",
        Autostart::Off => "does not start with its host",
    }
}

/// The most that is read from a user.
const LIMIT: Bytes = Bytes::new(4 << 20);

/// Reads standard input to its end, at most 4 MiB.
pub(crate) async fn standard_input() -> Result<Vec<u8>> {
    use tokio::io::AsyncReadExt as _;

    let mut bytes = Vec::new();
    let read = tokio::io::stdin().take(LIMIT.get() + 1).read_to_end(&mut bytes).await;
    read.map_err(|e| Error::new(ErrorKind::Unavailable, "cannot read standard input").with_source(e))?;
    if bytes.len() as u64 > LIMIT.get() {
        return Err(Error::invalid("file", format!("standard input is larger than {LIMIT}")));
    }
    Ok(bytes)
}

/// Reads a file of the user, or standard input for `-`, as text of at most 4 MiB.
pub(crate) async fn read_user_file(path: &std::path::Path) -> Result<String> {
    use kvm_core::Transport as _;

    let bytes = if path.as_os_str() == "-" {
        standard_input().await?
    } else {
        kvm_ssh::LocalTransport::new().read_file(path, LIMIT).await?
    };
    String::from_utf8(bytes).map_err(|e| {
        Error::new(ErrorKind::InvalidInput, format!("{} is not UTF-8 text", path.display()))
            .on(Resource::File(path.display().to_string()))
            .with_source(e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_one_form() {
        for (millis, text) in
            [(7, "7 ms"), (400, "0.4 s"), (12_000, "12 s"), (64_000, "1 m 04 s"), (12_000_000, "3 h 20 m")]
        {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }
}
