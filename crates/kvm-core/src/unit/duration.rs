//! Durations as people write them on a command line.

use std::time::Duration;

use jiff::SignedDuration;

use crate::Result;
use crate::text::refused;

/// The longest time that anybody waits for: a year.
const MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Reads a duration of hours, minutes, seconds and milliseconds, largest first: `90s`, `5m`, `1h30m`, `250ms`.
///
/// Whole numbers only, each with its unit, no sign and no spaces, at most a year.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let refuse = |why| refused("duration", "duration", text, why);
    // The library reads far more: words, commas, fractions, signs, ISO 8601.
    let is_strict = text.len() <= 32
        && text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'h' | b'm' | b's'));
    if !is_strict {
        return Err(refuse("is not a duration; write it like 90s, 5m or 1h30m"));
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refuse("has no unit; add h, m, s or ms"));
    }
    let parsed = text
        .parse::<SignedDuration>()
        .map_err(|e| refuse("is not a duration; write each unit once, the largest first, like 1h30m").with_source(e))?;
    match Duration::try_from(parsed) {
        Ok(duration) if duration <= MAX => Ok(duration),
        _ => Err(refuse("is more than a year")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit_once_largest_first() {
        for (text, millis) in [("60s", 60_000), ("5m", 300_000), ("1h30m", 5_400_000), ("250ms", 250), ("0s", 0)] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
    }

    #[test]
    fn what_is_not_plain_is_refused() {
        for text in [
            "",
            "60",
            "-5s",
            "5 s",
            "1.5h",
            "PT1H",
            "5 minutes ago",
            "30m1h",
            "1m1m",
            "1d",
            "s",
            "1hs",
            "9000h",
            "99999999999999999999s",
            "５m",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
