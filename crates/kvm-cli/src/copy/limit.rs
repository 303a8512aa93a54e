//! `--timeout`: the time in which all of a command has to be done.

use std::time::Duration;

use kvm_core::{Error, ErrorKind, Progress, Reporter as _, Result};

use crate::session::Session;
use crate::text;

/// A day: the longest limit.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Reads a limit: whole seconds, or a time such as `90s` and `2h`, from one second to a day.
pub(super) fn parse(text: &str) -> Result<Duration> {
    let time = match text.parse() {
        Ok(seconds) if text.bytes().all(|byte| byte.is_ascii_digit()) => Duration::from_secs(seconds),
        _ => kvm_core::parse_duration(text)?,
    };
    match (Duration::from_secs(1)..=LONGEST).contains(&time) {
        true => Ok(time),
        false => Err(Error::invalid("timeout", "a limit is between one second and a day, such as 3600, 90s or 2h")),
    }
}

/// Does the work, and when the limit is over ends it: the operation that runs is cancelled and takes back what it did.
///
/// `Timeout` then. Work that was past its point of no return is completed, and then it is no error.
pub(super) async fn within<T>(
    limit: Option<Duration>,
    session: &Session,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let Some(limit) = limit else { return work.await };
    let mut work = std::pin::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return done,
        () = session.clock.sleep(limit) => {}
    }
    let late = |what: &str| {
        let message = format!("not done within {}: {what}", text::duration(limit));
        Error::new(ErrorKind::Timeout, message).during("timeout")
    };
    let Some(operation) = session.progress.running() else { return Err(late("nothing was begun")) };
    let message = format!("the time is over; cancelling operation {operation}");
    session.progress.report(&Progress::Warning { message });
    session.cancel.cancel();
    match work.await {
        Err(e) if e.kind() == ErrorKind::Cancelled => Err(late("all was taken back").with_source(e)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_seconds_or_times() {
        for (text, seconds) in [("1", 1), ("3600", 3600), ("90s", 90), ("2h", 7200), ("24h", 86_400)] {
            assert_eq!(parse(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for text in ["", "0", "-1", "+5", "1.5", "86401", "25h", "500ms", "99999999999999999999", "soon", "1 h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
