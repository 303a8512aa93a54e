//! The program, as every test of it starts it.

use std::path::Path;
use std::process::Command;

/// Where a build that measures coverage has its processes write what they ran through.
const COVERAGE: &str = "LLVM_PROFILE_FILE";

/// `kvmctl` with an environment that is the same wherever the tests run: this home and a UTF-8 locale.
#[expect(clippy::disallowed_methods, reason = "a test of the program starts it, and reads how it was started itself")]
pub(crate) fn kvmctl(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvmctl"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", home).env("LANG", "C.UTF-8").env("TMPDIR", home);
    if let Some(file) = std::env::var_os(COVERAGE) {
        command.env(COVERAGE, file);
    }
    command
}
