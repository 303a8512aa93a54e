//! Flags that are known and cannot do here what they promise: each is refused with what does the same.

use kvm_core::{Error, ErrorKind, Resource};

fn refuse(flag: &str, why: &str, instead: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("--{flag}: {why}"))
        .on(Resource::Field(flag.to_owned()))
        .with_detail(instead.to_owned())
}

/// `--parallel` of more than one, where no helper carries the images.
pub(super) fn parallel() -> Error {
    refuse(
        "parallel",
        "only helpers on two hosts carry several images at a time, and here none does",
        "leave it out, or say 1",
    )
}

/// `--compress` where no helper packs what is sent.
pub(super) fn compress() -> Error {
    refuse("compress", "only helpers on two hosts compress, and here none carries the images", "leave it out")
}

/// `--verify` where nobody compares.
pub(super) fn verify() -> Error {
    refuse(
        "verify",
        "a host that copies by itself does not compare",
        "leave it out, or clone to another host, where all that arrives is read back and compared",
    )
}

/// `--delta-only` where more than changes would be sent.
pub(super) fn whole(disks: &[&str]) -> Error {
    let why = format!("all of {} would be sent, not only what changed", disks.join(", "));
    let error = Error::new(ErrorKind::InvalidState, format!("--delta-only: {why}"));
    error.on(Resource::Field("delta-only".to_owned())).with_detail("leave it out once; --dry-run says how much that is")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_names_its_flag_and_says_what_to_do() {
        let errors =
            [("parallel", parallel()), ("compress", compress()), ("verify", verify()), ("delta-only", whole(&["vda"]))];
        for (flag, e) in errors {
            assert_eq!(e.resource(), Some(&Resource::Field(flag.to_owned())));
            assert!(e.message().starts_with(&format!("--{flag}: ")) && e.detail().is_some(), "{e}");
        }
    }
}
