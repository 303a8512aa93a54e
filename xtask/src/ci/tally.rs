//! How many tests ran, read from what the test runners print.

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

/// Numbers of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
}

impl Tally {
    /// Reads the summary of cargo-nextest, or adds up those of cargo's own runner, of which each binary has one.
    ///
    /// cargo-nextest repeats what a failed test printed, and the end of that is a summary of cargo's own runner, which
    /// is about the same test.
    pub(super) fn read(output: &str) -> Self {
        let summaries = |start: &str| {
            let lines = output.lines().map(str::trim).filter(|line| line.starts_with(start));
            lines.map(Self::of_summary).collect::<Vec<_>>()
        };
        let mut tally = Self::default();
        match summaries("Summary [").as_slice() {
            [] => summaries("test result: ").into_iter().for_each(|summary| tally += summary),
            // At the end; an earlier one was printed by a test.
            [.., last] => tally = *last,
        }
        tally
    }

    fn of_summary(line: &str) -> Self {
        let sum = |words: &[&str]| words.iter().map(|word| before(line, word)).sum();
        Self {
            passed: sum(&["passed"]),
            failed: sum(&["failed", "timed out", "exec failed"]),
            skipped: sum(&["skipped", "ignored"]),
        }
    }

    pub(super) fn ran(&self) -> u64 {
        self.passed + self.failed
    }

    /// One line in the words of cargo's own runner, which people and programs know how to read.
    pub(super) fn summary(&self, good: bool, time: Duration) -> String {
        let Self { passed, failed, skipped } = self;
        let verdict = if good { "ok" } else { "FAILED" };
        let time = time.as_secs_f64();
        format!(
            "test result: {verdict}. {passed} passed; {failed} failed; {skipped} ignored; \
             0 measured; 0 filtered out; finished in {time:.2}s"
        )
    }
}

/// The number in front of a word: 7 in `7 passed`.
fn before(line: &str, word: &str) -> u64 {
    let mut found = line.match_indices(word).filter_map(|(at, _)| {
        let number = line[..at].strip_suffix(' ')?.rsplit(' ').next()?;
        number.parse().ok()
    });
    found.next().unwrap_or(0)
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} skipped", self.passed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u64, failed: u64, skipped: u64) -> Tally {
        Tally { passed, failed, skipped }
    }

    #[test]
    fn the_summary_of_nextest_is_read() {
        let text = "     Summary [   1.2s] 9 tests run: 7 passed (1 slow), 1 failed, \
                    1 timed out, 3 skipped";
        assert_eq!(Tally::read(text), tally(7, 2, 3));
    }

    #[test]
    fn a_test_that_fails_under_nextest_is_counted_once() {
        let text = "        FAIL [   0.005s] kvm-core name::tests::a\n  stdout ───\n\n    running 1 test\n    \
                    test name::tests::a ... FAILED\n\n    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; \
                    80 filtered out; finished in 0.00s\n\n  stderr ───\n     Summary [   0.012s] 81 tests run: 80 passed, \
                    1 failed, 2 skipped\n        FAIL [   0.005s] kvm-core name::tests::a\n";
        assert_eq!(Tally::read(text), tally(80, 1, 2));
    }

    #[test]
    fn the_summaries_of_cargo_test_are_added_up() {
        let text = "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured\nx\n\
                    test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured\n";
        assert_eq!(Tally::read(text), tally(5, 1, 1));
    }

    #[test]
    fn the_printed_summary_can_be_read_again() {
        let counted = tally(5, 1, 2);
        let printed = counted.summary(false, Duration::from_secs(3));
        assert_eq!(Tally::read(&printed), counted);
    }
}
