//! Paths of disks on a host, and the directories that may hold them.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::text::{hazards, printable, refused, text_serde};
use crate::{Error, Result};

#[cfg(target_os = "linux")]
mod beneath;

const FIELD: &str = "disk_path";
const NOUN: &str = "disk path";
/// The longest path that Linux opens, less its closing NUL.
const PATH_MAX: usize = 4095;

/// Directories of the system, where no disk of a machine may be asked for by path.
const FORBIDDEN: [&str; 9] = ["/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys"];

/// The path of a disk image or ISO on a host.
///
/// The syntax alone does not make it safe: [`within`](Self::within) says whether it lies in a directory that may hold
/// disks, [`check_beneath`](Self::check_beneath) whether it stays there when symbolic links are followed.
/// `FromStr` is [`parse`](Self::parse); `Deserialize` is [`adopt`](Self::adopt).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiskPath(Box<str>);

impl DiskPath {
    /// Takes a path that somebody asks for: absolute, normalised, the path of a file, not in a directory of the
    /// system. `InvalidInput` says what is wrong; so for QEMU's pseudo paths (`json:…`, `nbd:…`).
    pub fn parse(text: &str) -> Result<Self> {
        check_syntax(text).map_err(|why| refused(FIELD, NOUN, text, why))?;
        if FORBIDDEN.iter().any(|root| below(text, root).is_some()) {
            return Err(refused(FIELD, NOUN, text, "is in a directory of the system; use a storage pool"));
        }
        Ok(Self(text.into()))
    }

    /// Takes a path that a hypervisor already uses: anything absolute without NUL.
    pub fn adopt(text: &str) -> Result<Self> {
        if text.len() > PATH_MAX {
            Err(refused(FIELD, NOUN, text, "is longer than 4095 bytes"))
        } else if !text.starts_with('/') {
            Err(refused(FIELD, NOUN, text, "is not absolute"))
        } else if text.contains('\0') {
            Err(refused(FIELD, NOUN, text, "contains a NUL character"))
        } else {
            Ok(Self(text.into()))
        }
    }

    /// The exact path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path for calls that take one.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(&*self.0)
    }

    /// The last component; empty for a path that was adopted and ends in `/` or `..`.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.as_path().file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Checks that the path lies below one of these directories, component by component. `InvalidInput` listing
    /// them when it does not. Symbolic links are not looked at.
    pub fn within(&self, roots: &[DiskRoot]) -> Result<()> {
        let inside = check_syntax(&self.0).is_ok() && roots.iter().any(|root| below(&self.0, root.as_str()).is_some());
        if inside {
            return Ok(());
        }
        let error = refused(FIELD, NOUN, &self.0, "is in no directory that may hold disks");
        Err(match roots {
            [] => error.with_detail("there is no active pool with a directory and no allowed path"),
            _ => {
                let list: Vec<_> = roots.iter().map(ToString::to_string).collect();
                error.with_detail(format!("allowed: {}", list.join(", ")))
            }
        })
    }

    /// Checks on this machine's file system that the path stays below the directory with no symbolic link on the way,
    /// the last component included. A file that does not exist yet is fine when its directory is.
    ///
    /// This blocks on the file system, and says what is true now: whoever opens the file later by its name trusts that
    /// nobody changes the directories in between. `InvalidInput` for a link or a way out, `NotFound` for a missing
    /// directory, `Denied` where we may not look, `Unsupported` before Linux 5.6. Source: openat2(2).
    #[cfg(target_os = "linux")]
    pub fn check_beneath(&self, root: &DiskRoot) -> Result<()> {
        let inside = below(&self.0, root.as_str()).filter(|_| check_syntax(&self.0).is_ok());
        let relative = inside.ok_or_else(|| refused(FIELD, NOUN, &self.0, format_args!("is not below {root}")))?;
        beneath::check(root.as_path(), Path::new(relative)).map_err(|error| error.on_path(self, root))
    }
}

/// A directory that may hold disks: the target of a pool, or a path that the configuration allows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiskRoot(Box<str>);

impl DiskRoot {
    /// Takes an absolute, normalised directory other than `/`.
    pub fn parse(text: &str) -> Result<Self> {
        check_syntax(text).map(|()| Self(text.into())).map_err(|why| refused("disk_root", "directory", text, why))
    }

    /// The exact path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path for calls that take one.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(&*self.0)
    }
}

/// A directory of a host that a machine shares with it.
///
/// As with a [`DiskPath`], the syntax alone does not make it safe: [`within`](Self::within) says whether somebody allowed it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareDir(Box<str>);

impl ShareDir {
    /// Takes an absolute, normalised directory, neither one of the system nor below one. `InvalidInput` says what is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |why: &str| Err(refused("share", "directory", text, why));
        match check_syntax(text) {
            Err(why) => refuse(why),
            Ok(()) if FORBIDDEN.iter().any(|root| is_or_below(text, root)) => {
                refuse("is a directory of the system; share one of your own")
            }
            Ok(()) => Ok(Self(text.into())),
        }
    }

    /// The exact path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path for calls that take one.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(&*self.0)
    }

    /// Checks that it is one of these directories, or below one. `InvalidInput` listing them when it is not. Symbolic links
    /// are not looked at.
    pub fn within(&self, roots: &[DiskRoot]) -> Result<()> {
        if roots.iter().any(|root| is_or_below(&self.0, root.as_str())) {
            return Ok(());
        }
        let list: Vec<_> = roots.iter().map(ToString::to_string).collect();
        let allowed =
            if list.is_empty() { "there is no allowed path".into() } else { format!("allowed: {}", list.join(", ")) };
        Err(refused("share", "directory", &self.0, "is below no allowed path").with_detail(allowed))
    }

    /// Whether one of the two lies in the other, or they are the same.
    #[must_use]
    pub fn overlaps(&self, root: &DiskRoot) -> bool {
        is_or_below(&self.0, root.as_str()) || is_or_below(root.as_str(), &self.0)
    }
}

/// Absolute, normalised, no characters that hide or fake: the syntax that disks and their directories share.
fn check_syntax(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    if text.len() > PATH_MAX {
        return Err("is longer than 4095 bytes");
    }
    let Some(rest) = text.strip_prefix('/') else {
        return Err(match text.split_once(':') {
            Some((scheme, _)) if !scheme.contains('/') => "is not a path; protocols and pseudo paths are not taken",
            _ => "is not absolute; start with '/'",
        });
    };
    if rest.is_empty() {
        return Err("is the root directory");
    }
    if rest.ends_with('/') {
        return Err("ends in '/'; leave it out");
    }
    if rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("has '//', '.' or '..' in it; write the plain path");
    }
    if hazards(text).any(|(_, _, hazard)| hazard.is_some()) {
        return Err("contains a control, direction or invisible character; rename the file");
    }
    Ok(())
}

/// What follows the directory, when the path is below it by whole components.
fn below<'a>(path: &'a str, root: &str) -> Option<&'a str> {
    path.strip_prefix(root)?.strip_prefix('/').filter(|rest| !rest.is_empty())
}

fn is_or_below(path: &str, root: &str) -> bool {
    path == root || below(path, root).is_some()
}

macro_rules! paths {
    ($($name:ident, $expecting:literal, $read:path;)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                printable(&self.0).fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Self::parse(text)
            }
        }

        impl AsRef<Path> for $name {
            fn as_ref(&self) -> &Path {
                self.as_path()
            }
        }

        text_serde!($name, $expecting, $read, |path| path.as_str());
    )*};
}

paths! {
    DiskPath, "an absolute path", DiskPath::adopt;
    DiskRoot, "an absolute directory", DiskRoot::parse;
    ShareDir, "an absolute directory", ShareDir::parse;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(texts: &[&str]) -> Vec<DiskRoot> {
        texts.iter().map(|t| DiskRoot::parse(t).unwrap()).collect()
    }

    #[test]
    fn a_root_holds_whole_components_only() {
        let roots = roots(&["/var/lib/libvirt/images", "/srv/vm images"]);
        assert!(DiskPath::parse("/srv/vm images/a b.qcow2").unwrap().within(&roots).is_ok());
        for text in ["/var/lib/libvirt/images-evil/a", "/var/lib/libvirt/images", "/srv/other/a"] {
            let e = DiskPath::parse(text).unwrap().within(&roots).unwrap_err();
            assert_eq!(e.resource(), Some(&crate::Resource::Field("disk_path".into())));
            assert!(e.detail().unwrap().contains("/srv/vm images"), "{e:?}");
        }
    }

    #[test]
    fn an_adopted_path_that_leaves_its_root_is_not_within() {
        let path = DiskPath::adopt("/srv/images/../../etc/shadow").unwrap();
        assert!(path.within(&roots(&["/srv/images"])).is_err());
    }

    #[test]
    fn directories_of_the_system_hold_no_disks() {
        for text in ["/etc/shadow", "/dev/sda", "/proc/1/fd/0"] {
            assert!(DiskPath::parse(text).is_err(), "{text}");
        }
        for text in ["/etcetera/a", "/home/u/dev/a.img"] {
            assert!(DiskPath::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn the_file_name_is_the_last_component() {
        assert_eq!(DiskPath::parse("/a/b.img").unwrap().file_name(), "b.img");
        assert_eq!(DiskPath::adopt("/").unwrap().file_name(), "");
    }

    #[test]
    fn a_shared_directory_is_nobody_elses() {
        for text in ["/srv/data", "/home/u/a b", "/etcetera"] {
            assert_eq!(ShareDir::parse(text).unwrap().as_str(), text);
        }
        for text in [
            "",
            "/",
            "srv",
            "/etc",
            "/etc/ssh",
            "/proc",
            "/srv/../etc",
            "/srv/",
            "/srv//a",
            "/srv/a\nb",
            "json:{}",
            "/a\u{202e}b",
        ] {
            let e = ShareDir::parse(text).unwrap_err();
            assert_eq!(e.resource(), Some(&crate::Resource::Field("share".into())), "{text:?}");
        }
        let (share, roots) = (ShareDir::parse("/srv/data").unwrap(), roots(&["/srv/data", "/srv/da"]));
        assert!(share.within(&roots[..1]).is_ok() && share.within(&roots[1..]).is_err() && share.within(&[]).is_err());
        for (root, overlaps) in [("/srv", true), ("/srv/data", true), ("/srv/data/a", true), ("/srv/database", false)] {
            assert_eq!(share.overlaps(&DiskRoot::parse(root).unwrap()), overlaps, "{root}");
        }
    }
}
