//! Lists of digests: the `.mf` of an appliance and the `SHA256SUMS` of a bundle.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kvm_core::text::printable_within;
use kvm_core::{Error, ErrorKind, Resource, Result};

use crate::archive::MEMBERS_MAX;
use crate::{Algorithm, Digest, MemberName};

/// The digest of each file of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest(BTreeMap<MemberName, Digest>);

impl Manifest {
    /// Reads lines such as `SHA256(disk.vmdk)= 0123…`. `Corrupt` for a line that is none, `InvalidInput` for a name that is
    /// not allowed, for one that comes twice, or for too many of them.
    pub fn parse(text: &str) -> Result<Self> {
        let mut manifest = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let found = line.split_once('(').and_then(|(algorithm, rest)| {
                let (name, digest) = rest.rsplit_once(')')?;
                let digest = digest.trim_start().strip_prefix('=')?;
                Some((Digest::parse(Algorithm::named(algorithm.trim())?, digest)?, name))
            });
            manifest.take(line, found)?;
        }
        Ok(manifest)
    }

    /// Reads the lines that `sha256sum` prints.
    pub(crate) fn parse_sums(text: &str) -> Result<Self> {
        let mut manifest = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let found = line.split_once("  ");
            let found = found.and_then(|(digest, name)| Some((Digest::parse(Algorithm::Sha256, digest)?, name)));
            manifest.take(line, found)?;
        }
        Ok(manifest)
    }

    fn take(&mut self, line: &str, found: Option<(Digest, &str)>) -> Result<()> {
        let (digest, name) = found.ok_or_else(|| {
            let shown = printable_within(line, 80);
            Error::new(ErrorKind::Corrupt, format!("line \"{shown}\" of the manifest is no digest of a file"))
                .on(Resource::Field("manifest".into()))
        })?;
        if self.0.len() >= MEMBERS_MAX {
            return Err(Error::invalid("manifest", format!("the manifest names more than {MEMBERS_MAX} files")));
        }
        let name = MemberName::parse(name)?;
        match self.0.insert(name.clone(), digest) {
            None => Ok(()),
            Some(_) => Err(Error::invalid("manifest", format!("the manifest names {name} twice"))),
        }
    }

    /// Adds a file.
    pub fn insert(&mut self, name: MemberName, digest: Digest) {
        self.0.insert(name, digest);
    }

    /// All files with their digests, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&MemberName, &Digest)> {
        self.0.iter()
    }

    /// The digest of a file.
    #[must_use]
    pub fn get(&self, name: &MemberName) -> Option<&Digest> {
        self.0.get(name)
    }

    /// As the `.mf` of an appliance.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.iter().fold(String::new(), |mut text, (name, digest)| {
            let _infallible = writeln!(text, "{}({name})= {digest}", digest.algorithm().as_str());
            text
        })
    }

    /// As `sha256sum -c` takes it.
    pub(crate) fn to_sums(&self) -> String {
        self.iter().fold(String::new(), |mut text, (name, digest)| {
            let _infallible = writeln!(text, "{digest}  {name}");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";

    #[test]
    fn lines_are_read_as_different_programs_write_them() {
        let text = format!("SHA1(a b.ovf)= {SHA1}\r\nSHA1 (disk(1).vmdk) = {}\n\n", SHA1.to_uppercase());
        let manifest = Manifest::parse(&text).unwrap();
        let names: Vec<_> = manifest.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a b.ovf", "disk(1).vmdk"]);
        assert_eq!(Manifest::parse(&manifest.to_text()).unwrap(), manifest);
    }

    #[test]
    fn what_is_no_digest_or_comes_twice_is_refused() {
        assert_eq!(Manifest::parse("MD5(a)= 00").unwrap_err().kind(), ErrorKind::Corrupt);
        let twice = format!("SHA1(a)= {SHA1}\nSHA1(a)= {SHA1}\n");
        assert_eq!(Manifest::parse(&twice).unwrap_err().kind(), ErrorKind::InvalidInput);
        let elsewhere = format!("SHA1(../a)= {SHA1}\n");
        assert_eq!(Manifest::parse(&elsewhere).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
