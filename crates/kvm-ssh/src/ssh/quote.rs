//! One command line out of an argument list, for the login shell that an SSH server puts in front of every program.

use std::time::Duration;

use kvm_core::{Error, Result};

/// The longest command line; Linux takes no single argument of 128 KiB, and the shell gets the whole line as one.
const LONGEST: usize = 120_000;

/// A cleared environment.
const ENVIRONMENT: [&str; 4] =
    ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C"];

/// The command line that runs `argv` in a cleared environment for so long at most, whatever shell reads it.
///
/// The host keeps the deadline itself, by `timeout`, which kills the whole process group: it holds also when the
/// connection is lost, and where the server does not pass signals on, as OpenSSH's does not for root.
pub(super) fn command_line(argv: &[&str], deadline: Duration) -> Result<String> {
    if argv.first().is_none_or(|program| program.is_empty()) {
        return Err(Error::invalid("argv", "there is no program to run"));
    }
    if argv.iter().any(|word| word.contains('\0')) {
        return Err(Error::invalid("argv", "an argument contains a NUL character"));
    }
    let seconds = whole_seconds(deadline).to_string();
    let before = ENVIRONMENT.into_iter().chain(["timeout", "-s", "KILL", &seconds]);
    let words: Vec<_> = before.chain(argv.iter().copied()).map(quote).collect();
    let line = words.join(" ");
    if line.len() > LONGEST {
        return Err(Error::invalid(
            "argv",
            format!("the arguments are longer than {LONGEST} bytes; pass them in a file"),
        ));
    }
    Ok(line)
}

/// The command line that starts a program of ours, which needs to know the login's home, in a cleared environment; but only
/// when it has this SHA-256. It says [`STARTS`] right before the program can speak, or [`ABSENT`].
pub(super) fn conversation_line(home: &str, program: &str, digest: &str) -> String {
    let home = format!("HOME={home}");
    let script = format!(
        "if test \"$(sha256sum <\"$0\")\" = \"$1  -\"; then printf %s {STARTS}; exec \"$0\"; else printf %s {ABSENT}; fi"
    );
    let words: Vec<_> = ENVIRONMENT.into_iter().chain([home.as_str(), "sh", "-c", &script, program, digest]).collect();
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// What comes before the program speaks; a login shell may have said anything before.
pub(super) const STARTS: &str = "kvm-manager:starts";
/// What comes when the program is not there as it should be.
pub(super) const ABSENT: &str = "kvm-manager:absent";

/// The deadline as the host keeps it: rounded up, and never 0, which would mean that there is none.
pub(super) fn whole_seconds(deadline: Duration) -> u64 {
    deadline.as_secs().saturating_add(u64::from(deadline.subsec_nanos() > 0)).clamp(1, u64::from(u32::MAX))
}

/// One word of a command line. Quotes and backslashes stand outside of the quotes, each behind a backslash: that is
/// read alike by the shells of POSIX, by fish and by csh.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | ':' | '@' | '%' | '+' | ',');
    // An `=` is quoted in case a shell expands words that begin with it; ours stand behind a variable's name.
    let is_plain = |word: &str| !word.is_empty() && word.chars().all(plain);
    if is_plain(word) {
        return word.to_owned();
    }
    if let Some((name, value)) = word.split_once('=').filter(|(name, value)| is_plain(name) && is_plain(value)) {
        return format!("{name}={value}");
    }
    let mut quoted = String::with_capacity(word.len() + 2);
    quoted.push('\'');
    for c in word.chars() {
        if matches!(c, '\'' | '\\') {
            quoted.extend(["'\\", c.encode_utf8(&mut [0; 4]), "'"]);
        } else {
            quoted.push(c);
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use kvm_core::{ErrorKind, Transport as _, inputs};
    use proptest::prelude::*;

    use super::*;
    use crate::LocalTransport;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn words_without_any_meaning_to_a_shell_stay_legible() {
        assert_eq!(
            command_line(&["qemu-img", "info", "--output=json", "/srv/a b"], Duration::from_millis(1500)).unwrap(),
            "env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C \
             timeout -s KILL 2 qemu-img info --output=json '/srv/a b'"
        );
    }

    #[test]
    fn quotes_and_backslashes_stand_outside_of_the_quotes() {
        assert_eq!(quote(""), "''");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(r"a\b"), r"'a'\\'b'");
        assert_eq!(quote("$(id)\n"), "'$(id)\n'");
        assert_eq!(quote("=cmd"), "'=cmd'");
    }

    #[test]
    fn a_deadline_is_rounded_up_and_never_nothing() {
        let rounded = |millis| whole_seconds(Duration::from_millis(millis));
        assert_eq!([0, 1, 1000, 1001].map(rounded), [1, 1, 1, 2]);
        assert_eq!(whole_seconds(Duration::MAX), u64::from(u32::MAX));
    }

    #[test]
    fn what_cannot_be_a_program_or_an_argument_is_refused() {
        let long = "x".repeat(LONGEST);
        for argv in [&[][..], &[""], &["echo", "a\0b"], &["echo", &long]] {
            assert_eq!(command_line(argv, LONG).unwrap_err().kind(), ErrorKind::InvalidInput, "{argv:.40?}");
        }
    }

    /// What a real shell makes of the words.
    async fn through_a_shell(words: &[&str]) -> Vec<u8> {
        let argv: Vec<_> = ["printf", r"%s\0"].iter().chain(words).copied().collect();
        let line = command_line(&argv, LONG).unwrap();
        let output = LocalTransport::new().run(&["sh", "-c", &line], LONG).await.unwrap();
        assert!(output.success(), "{line}");
        output.stdout
    }

    fn expected(words: &[&str]) -> Vec<u8> {
        words.iter().flat_map(|word| word.bytes().chain([0])).collect()
    }

    #[tokio::test]
    async fn every_hostile_input_reaches_the_program_as_it_is() {
        let rows: Vec<_> = inputs::kinds().into_iter().flat_map(inputs::rows).collect();
        let words: Vec<_> = rows.iter().filter_map(inputs::Row::text).collect();
        let words: Vec<_> = words.into_iter().filter(|w| !w.contains('\0') && w.len() < 10_000).collect();
        assert!(words.len() > 300, "{}", words.len());
        for some in words.chunks(100) {
            assert_eq!(through_a_shell(some).await, expected(some));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_words_reach_the_program_as_they_are(words in proptest::collection::vec("[^\0]{0,12}", 1..20)) {
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            prop_assert_eq!(runtime.block_on(through_a_shell(&words)), expected(&words));
        }
    }
}
