//! Where backups are: stores, the directories of machines in them, and points in time.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::fmt::strtime;
use kvm_core::text::printable_within;
use kvm_core::{DiskRoot, Error, Result, VmId, VmName};
use kvm_wire::FileRef;
use serde::{Deserialize, Serialize};

/// So much of a wrong text is shown.
const SHOWN: usize = 64;
/// The ends of names that stand for what is not finished.
const ENDS: [&str; 4] = [".partial", ".sync", UNFINISHED, DELETED];
const UNFINISHED: &str = ".unfinished";
const DELETED: &str = ".deleted";

/// A directory of backups and the host that has it, as somebody writes it: `DIR` or `HOST:DIR`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorePlace {
    /// The host; `None` for the one that the command is about.
    pub host: Option<String>,
    /// The directory there.
    pub directory: StoreDir,
}

impl FromStr for StorePlace {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // A target has colons of its own, and a directory may have some.
        let (host, directory) = match text.starts_with('/') {
            true => (None, text),
            false => match text.rfind(":/") {
                Some(at) if at > 0 && !text[at..].starts_with("://") => (Some(&text[..at]), &text[at + 1..]),
                _ => {
                    let shown = printable_within(text, SHOWN);
                    return Err(Error::invalid("store", format!("\"{shown}\" is neither /DIR nor HOST:/DIR")));
                }
            },
        };
        Ok(Self { host: host.map(str::to_owned), directory: directory.parse()? })
    }
}

/// A directory that holds backups: absolute and normalised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StoreDir(String);

impl StoreDir {
    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Something in it.
    pub(crate) fn file(&self, name: impl Into<String>) -> FileRef {
        FileRef::new(&*self.0, name)
    }
}

impl FromStr for StoreDir {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match DiskRoot::parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(e) => Err(Error::invalid("store", e.message().to_owned())),
        }
    }
}

impl TryFrom<String> for StoreDir {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<StoreDir> for String {
    fn from(directory: StoreDir) -> Self {
        directory.0
    }
}

impl fmt::Display for StoreDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The directory of a machine's points: its name, or its uuid where the name is none for a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VmDir(String);

impl VmDir {
    pub(crate) fn of(name: &VmName, id: &VmId) -> Self {
        name.as_str().parse().unwrap_or_else(|_| Self(id.to_string()))
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VmDir {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let is_id = text.parse::<VmId>().is_ok_and(|id| id.to_string() == text);
        if !is_id {
            VmName::parse(text).map_err(|e| Error::invalid("vm", e.message().to_owned()))?;
        }
        if let Some(end) = ENDS.iter().find(|end| text.ends_with(**end)) {
            return Err(Error::invalid("vm", format!("\"{}\" ends in {end}", printable_within(text, SHOWN))));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for VmDir {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<VmDir> for String {
    fn from(directory: VmDir) -> Self {
        directory.0
    }
}

impl fmt::Display for VmDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A point in time, to the second, as its directory is called: `2026-11-22T07-35-00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PointId(Timestamp);

impl PointId {
    const FORM: &str = "%Y-%m-%dT%H-%M-%SZ";

    /// The point at this time; what is less than a second is left out.
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        Self(Timestamp::from_second(time.as_second()).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// The point a second later.
    pub(crate) fn next(self) -> Self {
        Self::at(self.0.saturating_add(jiff::SignedDuration::from_secs(1)).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// The time.
    #[must_use]
    pub fn time(self) -> Timestamp {
        self.0
    }
}

impl FromStr for PointId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            let shown = printable_within(text, SHOWN);
            Error::invalid("point", format!("\"{shown}\" is no point in time such as 2026-11-22T07-35-00Z"))
        };
        let civil = strtime::parse(Self::FORM, text).and_then(|parsed| parsed.to_datetime()).map_err(|_| wrong())?;
        let time = civil.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong())?.timestamp();
        // Other ways to write the same time are other names.
        match Self(time) {
            point if point.to_string() == text => Ok(point),
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for PointId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<PointId> for String {
    fn from(point: PointId) -> Self {
        point.to_string()
    }
}

impl fmt::Display for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.strftime(Self::FORM).to_string())
    }
}

/// A point of a machine in a store, as somebody writes it: `web/2026-11-22T07-35-00Z`, or `web` for its newest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointRef {
    /// The machine's directory.
    pub vm: VmDir,
    /// Which of its points; the newest if left out.
    pub point: Option<PointId>,
}

impl FromStr for PointRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('/') {
            Some((vm, point)) => Ok(Self { vm: vm.parse()?, point: Some(point.parse()?) }),
            None => Ok(Self { vm: text.parse()?, point: None }),
        }
    }
}

impl fmt::Display for PointRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.point {
            Some(point) => f.pad(&format!("{}/{point}", self.vm)),
            None => self.vm.fmt(f),
        }
    }
}

/// A point in a store: what its files are called at each time of its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) directory: StoreDir,
    pub(crate) vm: VmDir,
    pub(crate) point: PointId,
}

impl Point {
    /// The directory of the machine.
    pub(crate) fn machine(&self) -> FileRef {
        self.directory.file(self.vm.as_str())
    }

    /// Its directory when it is whole.
    pub(crate) fn whole(&self) -> FileRef {
        self.directory.file(self.to_string())
    }

    /// Its directory while it is being made.
    pub(crate) fn unfinished(&self) -> FileRef {
        self.directory.file(format!("{self}{UNFINISHED}"))
    }

    /// Its directory while it is being deleted.
    pub(crate) fn deleted(&self) -> FileRef {
        self.directory.file(format!("{self}{DELETED}"))
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.vm, self.point)
    }
}

/// A file in a directory of a store.
pub(crate) fn inside(directory: &FileRef, name: &str) -> FileRef {
    FileRef::new(&*directory.root, format!("{}/{name}", directory.name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_store_is_a_directory_of_a_host() {
        let read = |text: &str| text.parse::<StorePlace>().map(|it| (it.host, it.directory.0));
        let at = |host: &str, directory: &str| (Some(host.to_owned()), directory.to_owned());
        assert_eq!(read("/srv/backup").unwrap(), (None, "/srv/backup".to_owned()));
        assert_eq!(read("two:/srv/backup").unwrap(), at("two", "/srv/backup"));
        let target = "qemu+ssh://root@two:2222/system";
        assert_eq!(read(&format!("{target}:/srv/b")).unwrap(), at(target, "/srv/b"));
        assert_eq!(read("mock:///w.yaml:/srv").unwrap(), at("mock:///w.yaml", "/srv"));
        for wrong in ["", "srv", "two:", "two:srv", "/srv/../etc", "two:/srv/", ":/srv", target, "/srv\n", "/a//b"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_point_reads_as_it_is_written_and_nothing_else_is_one() {
        for text in ["2026-11-22T07-35-00Z", "1999-12-31T23-59-59Z"] {
            assert_eq!(text.parse::<PointId>().unwrap().to_string(), text);
        }
        for wrong in [
            "",
            "..",
            "2026-11-22",
            "2026-11-22T07:35:00Z",
            "2026-13-22T07-35-00Z",
            "2026-11-22T07-35-00Z.unfinished",
            "2026-11-22T7-35-00Z",
            " 2026-11-22T07-35-00Z",
            "+2026-11-22T07-35-00Z",
            "2026-11-22T07-35-60Z",
        ] {
            assert!(wrong.parse::<PointId>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_machine_whose_name_is_no_directory_has_its_uuid() {
        let id: VmId = uuid::Uuid::from_u128(7).into();
        let of = |name: &str| VmDir::of(&VmName::adopt(name).unwrap(), &id).0;
        assert_eq!(of("web"), "web");
        for name in ["web.partial", "web.unfinished", "-rf"] {
            assert_eq!(of(name), id.to_string(), "{name}");
        }
        assert_eq!(id.to_string().parse::<VmDir>().unwrap().0, id.to_string());
        for wrong in ["..", ".", "a/b", "", "web.deleted", "a\u{0}"] {
            assert!(wrong.parse::<VmDir>().is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_names_a_place_outside_of_the_store(text in ".{0,40}") {
            if let Ok(point) = text.parse::<PointRef>() {
                let vm = point.vm.as_str();
                prop_assert!(!vm.contains('/') && vm != "." && vm != ".." && !vm.contains('\0'));
                prop_assert_eq!(point.to_string(), text);
            }
        }

        #[test]
        fn every_second_is_a_point(second in 0i64..4_000_000_000) {
            let point = PointId::at(Timestamp::from_second(second).unwrap());
            prop_assert_eq!(point.to_string().parse::<PointId>().unwrap(), point);
        }
    }
}
