//! What a process says at its end: one number per kind of error, the same for every verb.

use kvm_core::ErrorKind;

/// Exit code of success.
pub const SUCCESS: u8 = 0;

/// Exit code of a check that found something: `doctor` with a failed check.
pub const FOUND: u8 = 1;

/// The exit code of an error of this kind. Usage errors are [`ErrorKind::InvalidInput`], too.
#[must_use]
pub fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::InvalidInput => 2,
        ErrorKind::NotFound => 3,
        ErrorKind::AlreadyExists => 4,
        ErrorKind::InvalidState => 5,
        ErrorKind::Denied => 6,
        ErrorKind::Unsupported => 7,
        ErrorKind::Unavailable | ErrorKind::Timeout => 8,
        ErrorKind::NoSpace => 9,
        ErrorKind::Corrupt => 10,
        ErrorKind::Busy => 75,
        ErrorKind::Cancelled => 130,
        // A kind that was added since is a bug here until this table knows it.
        _ => 70,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_documented_code() {
        let table = [
            (ErrorKind::AlreadyExists, 4),
            (ErrorKind::Busy, 75),
            (ErrorKind::Cancelled, 130),
            (ErrorKind::Corrupt, 10),
            (ErrorKind::Denied, 6),
            (ErrorKind::Internal, 70),
            (ErrorKind::InvalidInput, 2),
            (ErrorKind::InvalidState, 5),
            (ErrorKind::NoSpace, 9),
            (ErrorKind::NotFound, 3),
            (ErrorKind::Timeout, 8),
            (ErrorKind::Unavailable, 8),
            (ErrorKind::Unsupported, 7),
        ];
        for (kind, code) in table {
            assert_eq!(exit_code(kind), code, "{kind}");
            let documented = crate::help::EXIT_CODES
                .lines()
                .any(|line| line.trim_start().starts_with(&format!("{code} ")) && line.contains(kind.as_str()));
            assert!(documented, "`kvmctl help exit-codes` does not say {code} {kind}");
        }
    }
}
