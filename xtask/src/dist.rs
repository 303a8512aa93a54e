//! The programs as they are handed out: `kvmctl`, `kvm-clone`, and the helper, which must run on hosts that we know nothing about.

use std::io;
use std::path::{Path, PathBuf};

use crate::{program, report, workspace};

/// Linked in whole, so that it needs no library of the host. Only for the target: what runs while it is built cannot be.
const STATIC: (&str, &str) = ("RUSTFLAGS", "-C target-feature=+crt-static");

/// Builds them, and says where they are and whether that worked.
pub(crate) fn run() -> bool {
    match build(&workspace::root()) {
        Ok(programs) => {
            programs.iter().for_each(|path| report::line(path.display()));
            true
        }
        Err(e) => {
            report::error(e);
            false
        }
    }
}

fn build(root: &Path) -> io::Result<[PathBuf; 3]> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let built = workspace::target_directory(root)?;
    let dist = built.join("dist");
    std::fs::create_dir_all(&dist)?;
    cargo(root, &["build", "--release", "--package", "kvm-cli"], &[])?;
    cargo(root, &["build", "--release", "--package", "kvm-helper", "--target", &target], &[STATIC])?;
    let [kvmctl, copier, helper] = ["kvmctl", "kvm-clone", "kvm-helper"].map(|program| dist.join(program));
    std::fs::copy(built.join("release/kvmctl"), &kvmctl)?;
    std::fs::copy(built.join("release/kvm-clone"), &copier)?;
    std::fs::copy(built.join(&target).join("release/kvm-helper"), &helper)?;
    match needs_a_loader(&std::fs::read(&helper)?) {
        Some(false) => Ok([kvmctl, copier, helper]),
        _ => Err(io::Error::other(format!("{} is not static", helper.display()))),
    }
}

fn cargo(root: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> io::Result<()> {
    let output = program::cargo(root, arguments, environment)?;
    match output.succeeded {
        true => Ok(()),
        false => Err(io::Error::other(output.text)),
    }
}

/// Whether a program names another one that loads its libraries; `None` when it is no 64-bit ELF file.
fn needs_a_loader(program: &[u8]) -> Option<bool> {
    /// `PT_INTERP`
    const LOADER: [u8; 4] = [3, 0, 0, 0];
    let number = |at: usize| Some(usize::from(u16::from_le_bytes(*program.get(at..)?.first_chunk()?)));
    if !program.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let start = u64::from_le_bytes(*program.get(32..)?.first_chunk()?);
    let (size, count) = (number(54)?, number(56)?);
    let start = usize::try_from(start).ok()?;
    let mut headers = (0..count).map(|index| program.get(start + index * size..));
    headers.try_fold(false, |found, header| Some(found || header?.starts_with(&LOADER)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_needs_a_loader_is_told_from_one_that_does_not() {
        let program = |kinds: &[u8]| {
            let mut bytes = b"\x7fELF\x02\x01".to_vec();
            bytes.resize(64, 0);
            bytes[32] = 64;
            bytes[54] = 56;
            bytes[56] = u8::try_from(kinds.len()).unwrap();
            kinds.iter().for_each(|kind| bytes.extend([*kind].into_iter().chain([0; 55])));
            bytes
        };
        assert_eq!(needs_a_loader(&program(&[6, 3, 1])), Some(true));
        assert_eq!(needs_a_loader(&program(&[6, 1, 2])), Some(false));
        assert_eq!(needs_a_loader(b"#!/bin/sh"), None);
        assert_eq!(needs_a_loader(&program(&[1, 3])[..100]), None);
    }
}
