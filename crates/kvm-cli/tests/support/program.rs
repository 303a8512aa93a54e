//! The programs, as every test of them starts them.

use std::path::Path;
use std::process::Command;

/// Where a build that measures coverage has its processes write what they ran through.
const COVERAGE: &str = "LLVM_PROFILE_FILE";

/// `kvmctl` with an environment that is the same wherever the tests run: this home and a UTF-8 locale.
pub(crate) fn kvmctl(home: &Path) -> Command {
    program(env!("CARGO_BIN_EXE_kvmctl"), home)
}

/// `kvm-clone` likewise.
#[allow(dead_code, reason = "not every test that includes this file starts it")]
pub(crate) fn kvm_clone(home: &Path) -> Command {
    program(env!("CARGO_BIN_EXE_kvm-clone"), home)
}

#[expect(clippy::disallowed_methods, reason = "a test of the program starts it, and reads how it was started itself")]
fn program(path: &str, home: &Path) -> Command {
    let mut command = Command::new(path);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", home).env("LANG", "C.UTF-8").env("TMPDIR", home);
    if let Some(file) = std::env::var_os(COVERAGE) {
        command.env(COVERAGE, file);
    }
    command
}
