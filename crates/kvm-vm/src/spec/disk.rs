//! Disks and images of a specification.

use std::fmt;
use std::str::FromStr;

use kvm_core::text::strict;
use kvm_core::{Bandwidth, Bytes, DiskLimits, DiskPath, Error, IoThread, Iops, PoolName, Result, VolumeName};
use serde::{Deserialize, Serialize};

use super::nic::rate;
use super::{CacheMode, DiskBus, VolumeEncryption, VolumeFormat, pairs};
use crate::text::{choices, refused, scalar, size, text_serde, words};

/// A disk of a new machine.
///
/// In files one of `{size, pool?, name?, format?, encrypt?}` for a new volume, `{volume: pool/name}` for an existing one and
/// `{path, format?}` for a file; each with `bus?`, `cache?` and the [options](DiskOptions). On a command line the same as `size=20G,pool=fast`,
/// where `20G` alone means `size=20G`, and `encrypt` alone `encrypt=luks`.
///
/// ```
/// use kvm_vm::{DiskSource, DiskSpec};
/// let disk: DiskSpec = "20G,format=raw".parse()?;
/// assert!(matches!(disk.source, DiskSource::New { pool: None, .. }));
/// assert!("volume=default/a.qcow2,size=1G".parse::<DiskSpec>().is_err());
/// # Ok::<(), kvm_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "File", into = "File")]
pub struct DiskSpec {
    /// What holds its data.
    pub source: DiskSource,
    /// How it is plugged in; what suits the system if left out.
    pub bus: Option<DiskBus>,
    /// How the host caches it; the hypervisor's choice if left out.
    pub cache: Option<CacheMode>,
    /// What else is said of it.
    pub options: DiskOptions,
}

/// What a disk is told beside what holds its data and how it is plugged in.
///
/// In files and on a command line `serial=A1`, `io=native`, `discard=ignore`, `iothread=1`, `boot=2`, and limits each second:
/// `read_bytes=50MiB`, `total_iops=500`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskOptions {
    /// What the guest reads as its serial number.
    pub serial: Option<DiskSerial>,
    /// How the host does its input and output; the hypervisor's choice if left out.
    pub io: Option<IoMode>,
    /// What becomes of what the guest trims; given back to the host if left out.
    pub discard: Option<Discard>,
    /// The I/O thread that serves it, on the virtio bus; the machine gets it if it has none of this number.
    pub iothread: Option<IoThread>,
    /// Its turn when the machine boots, of a disk that is plugged into a machine; a new machine says its whole order.
    pub boot: Option<u32>,
    /// How fast it may be used.
    pub limits: DiskLimits,
}

impl DiskOptions {
    fn check(&self, bus: Option<DiskBus>, cache: Option<CacheMode>) -> Result<()> {
        self.limits.check()?;
        if self.io == Some(IoMode::Native) && !matches!(cache, Some(CacheMode::None | CacheMode::Directsync)) {
            return Err(Error::invalid(
                "io",
                "io=native goes past the host's cache; say cache=none or cache=directsync",
            ));
        }
        if self.iothread.is_some() && !matches!(bus, None | Some(DiskBus::Virtio)) {
            return Err(Error::invalid("iothread", "an I/O thread serves a disk on the virtio bus; leave it out"));
        }
        Ok(())
    }
}

choices! {
    /// How the host does a disk's input and output.
    IoMode: "io" {
        /// By threads that wait.
        Threads = "threads",
        /// By Linux's own asynchronous calls, past the host's cache.
        Native = "native",
        /// By a ring of requests that the host's kernel shares.
        IoUring = "io_uring",
    }

    /// What becomes of what the guest trims.
    Discard: "discard" {
        /// It goes back to the host.
        Unmap = "unmap",
        /// It stays.
        Ignore = "ignore",
    }
}

words! {
    /// What a guest reads as the serial number of a disk; virtio has room for 20 characters.
    DiskSerial: "serial", 20;
}

/// What holds the data of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskSource {
    /// A new volume.
    New {
        /// Where; the default pool if left out.
        pool: Option<PoolName>,
        /// Its name; made from the machine's if left out.
        name: Option<VolumeName>,
        /// The size that the guest sees.
        size: Bytes,
        /// The form of its content; qcow2 where the pool has formats if left out.
        format: Option<VolumeFormat>,
        /// How its content is encrypted, with a passphrase that the host alone knows; not at all if left out.
        encrypt: Option<VolumeEncryption>,
    },
    /// A volume that is there.
    Volume {
        /// Which.
        volume: VolumeRef,
        /// The form of its content; what the host says if left out.
        format: Option<VolumeFormat>,
    },
    /// A file that is there: a volume of an active pool, or below an allowed path.
    Path {
        /// Which.
        path: DiskPath,
        /// The form of its content; what the host says of a volume, and needed for any other file.
        format: Option<VolumeFormat>,
    },
}

impl DiskSpec {
    /// A new volume of this size with all defaults.
    #[must_use]
    pub fn new(size: Bytes) -> Self {
        Self {
            source: DiskSource::New { pool: None, name: None, size, format: None, encrypt: None },
            bus: None,
            cache: None,
            options: DiskOptions::default(),
        }
    }
}

/// The form in files.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    #[serde(with = "size", skip_serializing_if = "Option::is_none")]
    size: Option<Bytes>,
    #[serde(deserialize_with = "strict::optional", skip_serializing_if = "Option::is_none")]
    pool: Option<PoolName>,
    #[serde(deserialize_with = "strict::optional", skip_serializing_if = "Option::is_none")]
    name: Option<VolumeName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume: Option<VolumeRef>,
    #[serde(deserialize_with = "strict::optional", skip_serializing_if = "Option::is_none")]
    path: Option<DiskPath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<VolumeFormat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encrypt: Option<VolumeEncryption>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bus: Option<DiskBus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<CacheMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<DiskSerial>,
    #[serde(skip_serializing_if = "Option::is_none")]
    io: Option<IoMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discard: Option<Discard>,
    #[serde(deserialize_with = "strict::optional", skip_serializing_if = "Option::is_none")]
    iothread: Option<IoThread>,
    #[serde(with = "count", skip_serializing_if = "Option::is_none")]
    boot: Option<u32>,
    #[serde(with = "rate", skip_serializing_if = "Option::is_none")]
    total_bytes: Option<Bandwidth>,
    #[serde(with = "rate", skip_serializing_if = "Option::is_none")]
    read_bytes: Option<Bandwidth>,
    #[serde(with = "rate", skip_serializing_if = "Option::is_none")]
    write_bytes: Option<Bandwidth>,
    #[serde(with = "iops", skip_serializing_if = "Option::is_none")]
    total_iops: Option<Iops>,
    #[serde(with = "iops", skip_serializing_if = "Option::is_none")]
    read_iops: Option<Iops>,
    #[serde(with = "iops", skip_serializing_if = "Option::is_none")]
    write_iops: Option<Iops>,
}

/// A turn: from 1, and no more than there could be.
mod count {
    use super::{Result, refused, scalar};
    use serde::{Deserializer, Serializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
        scalar(deserializer, |text| {
            let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
            let number = text.parse::<u32>().ok().filter(|number| is_plain && (1..=1024).contains(number));
            number.map(Some).ok_or_else(|| refused("number", text, "is not from 1 to 1024"))
        })
    }

    pub(super) fn serialize<S: Serializer>(number: &Option<u32>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&number.unwrap_or_default())
    }
}

/// Operations per second.
mod iops {
    use super::{Iops, Result, scalar};
    use serde::{Deserializer, Serializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Iops>, D::Error> {
        scalar(deserializer, |text| Iops::parse(text).map(Some))
    }

    pub(super) fn serialize<S: Serializer>(iops: &Option<Iops>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(iops.map_or(0, Iops::get))
    }
}

impl TryFrom<File> for DiskSpec {
    type Error = Error;

    fn try_from(file: File) -> Result<Self> {
        let options = file.options();
        options.check(file.bus, file.cache)?;
        let File { size, pool, name, volume, path, format, encrypt, bus, cache, .. } = file;
        if encrypt.is_some() && size.is_none() {
            return Err(Error::invalid("disks", "encrypt goes with size: what is there is encrypted already, or not"));
        }
        let source = match (size, volume, path) {
            (Some(size), None, None) => DiskSource::New { pool, name, size, format, encrypt },
            (None, Some(volume), None) if pool.is_none() && name.is_none() => DiskSource::Volume { volume, format },
            (None, None, Some(path)) if pool.is_none() && name.is_none() => DiskSource::Path { path, format },
            (None, None, None) => return Err(Error::invalid("disks", "a disk needs one of size, volume and path")),
            _ => {
                return Err(Error::invalid(
                    "disks",
                    "a disk has one of size, volume and path; pool and name go with size",
                ));
            }
        };
        Ok(Self { source, bus, cache, options })
    }
}

impl File {
    fn options(&self) -> DiskOptions {
        let limits = DiskLimits {
            total_bytes: self.total_bytes,
            read_bytes: self.read_bytes,
            write_bytes: self.write_bytes,
            total_iops: self.total_iops,
            read_iops: self.read_iops,
            write_iops: self.write_iops,
        };
        let (iothread, boot) = (self.iothread, self.boot);
        DiskOptions { serial: self.serial.clone(), io: self.io, discard: self.discard, iothread, boot, limits }
    }
}

impl From<DiskSpec> for File {
    fn from(disk: DiskSpec) -> Self {
        let DiskOptions { serial, io, discard, iothread, boot, limits } = disk.options;
        let DiskLimits { total_bytes, read_bytes, write_bytes, total_iops, read_iops, write_iops } = limits;
        let file = Self {
            bus: disk.bus,
            cache: disk.cache,
            serial,
            io,
            discard,
            iothread,
            boot,
            total_bytes,
            read_bytes,
            write_bytes,
            total_iops,
            read_iops,
            write_iops,
            ..Self::default()
        };
        match disk.source {
            DiskSource::New { pool, name, size, format, encrypt } => {
                Self { size: Some(size), pool, name, format, encrypt, ..file }
            }
            DiskSource::Volume { volume, format } => Self { volume: Some(volume), format, ..file },
            DiskSource::Path { path, format } => Self { path: Some(path), format, ..file },
        }
    }
}

impl FromStr for DiskSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        pairs::read_with("disk", text, |i, part| match part {
            "encrypt" if i > 0 => Some((part.to_owned(), VolumeEncryption::Luks.as_str().to_owned())),
            _ => (i == 0).then(|| ("size".to_owned(), part.to_owned())),
        })
    }
}

/// A volume, written `pool/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VolumeRef {
    /// The pool it is in.
    pub pool: PoolName,
    /// Its name there.
    pub volume: VolumeName,
}

impl VolumeRef {
    /// Reads `pool/name`. The volume is there already, so its name is taken as it is.
    pub fn parse(text: &str) -> Result<Self> {
        let (pool, volume) =
            text.split_once('/').ok_or_else(|| refused("volume", text, "is not a volume; write pool/name"))?;
        Ok(Self { pool: PoolName::adopt(pool)?, volume: VolumeName::adopt(volume)? })
    }

    /// Reads `pool/name` of a volume that is to be made: its name keeps to the rules for new ones.
    pub fn parse_new(text: &str) -> Result<Self> {
        let (pool, volume) =
            text.split_once('/').ok_or_else(|| refused("volume", text, "is not a volume; write pool/name"))?;
        Ok(Self { pool: PoolName::adopt(pool)?, volume: VolumeName::parse(volume)? })
    }

    /// The exact `pool/name`.
    #[must_use]
    pub fn as_text(&self) -> String {
        format!("{}/{}", self.pool.as_str(), self.volume.as_str())
    }
}

impl fmt::Display for VolumeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pool, self.volume)
    }
}

impl FromStr for VolumeRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl Serialize for VolumeRef {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.as_text())
    }
}

impl<'de> Deserialize<'de> for VolumeRef {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        strict::deserialize(deserializer)
    }
}

/// An image that is there: `pool/name`, or an absolute path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageRef {
    /// A volume.
    Volume(VolumeRef),
    /// A file: a volume of an active pool, or below an allowed path.
    Path(DiskPath),
}

impl ImageRef {
    /// Reads a path, which begins with `/`, or `pool/name`.
    pub fn parse(text: &str) -> Result<Self> {
        // Pool names have no colon-slash forms, so a URL is refused by the path's reader, which says why.
        if text.starts_with('/') || text.contains("://") {
            return DiskPath::parse(text).map(Self::Path);
        }
        VolumeRef::parse(text).map(Self::Volume)
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Volume(volume) => f.write_str(&volume.as_text()),
            Self::Path(path) => f.write_str(path.as_str()),
        }
    }
}

impl FromStr for ImageRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

text_serde!(ImageRef);

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(text: &str) -> Result<DiskSpec> {
        text.parse()
    }

    #[test]
    fn the_line_form_and_the_file_form_say_the_same() {
        for (line, file) in [
            ("20G", r#"{"size":"20GiB"}"#),
            (
                "size=512,pool=fast,name=a.img,format=raw",
                r#"{"size":"512B","pool":"fast","name":"a.img","format":"raw"}"#,
            ),
            ("1G,encrypt", r#"{"size":"1GiB","encrypt":"luks"}"#),
            ("volume=default/a,,b.qcow2,bus=scsi", r#"{"volume":"default/a,b.qcow2","bus":"scsi"}"#),
            (
                "1G,serial=A1,cache=none,io=native,discard=ignore,iothread=2,boot=3,read_bytes=50MiB,total_iops=500",
                r#"{"size":"1GiB","cache":"none","serial":"A1","io":"native","discard":"ignore","iothread":"2","boot":"3","read_bytes":"50MiB/s","total_iops":500}"#,
            ),
            ("path=/srv/a.img,format=raw,cache=none", r#"{"path":"/srv/a.img","format":"raw","cache":"none"}"#),
        ] {
            let spec = disk(line).unwrap();
            assert_eq!(serde_json::to_string(&spec).unwrap(), file);
            assert_eq!(serde_json::from_str::<DiskSpec>(file).unwrap(), spec);
        }
    }

    #[test]
    fn a_bare_size_in_a_file_is_bytes() {
        let spec: DiskSpec = serde_json::from_str(r#"{"size": 1048576}"#).unwrap();
        assert_eq!(spec, DiskSpec::new(Bytes::MIB));
        for bad in ["1e9", "1.5", "-1", "0", "1000", "18446744073709551615"] {
            assert!(serde_json::from_str::<DiskSpec>(&format!(r#"{{"size": {bad}}}"#)).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_source_is_needed_and_only_one_is_taken() {
        for text in [
            "bus=virtio",
            "1G,path=/srv/a",
            "volume=a/b,pool=c",
            "1G,1G=2",
            "size=1G,size=2G",
            "1G,raw",
            "1G,encrypt=aes",
            "volume=a/b,encrypt",
        ] {
            let e = disk(text).unwrap_err();
            assert_eq!(e.kind(), kvm_core::ErrorKind::InvalidInput, "{text}");
        }
        let e = disk("1G,formt=raw").unwrap_err();
        assert!(e.message().contains("formt"), "{e}");
    }

    #[test]
    fn options_that_make_no_sense_are_refused() {
        for text in [
            "serial=-x",
            "serial=012345678901234567890",
            "serial=a b",
            "io=native",
            "io=native,cache=writeback",
            "io=aio",
            "discard=on",
            "iothread=0",
            "iothread=-1",
            "iothread=1,bus=sata",
            "boot=0",
            "boot=1025",
            "read_bytes=1",
            "read_bytes=0",
            "total_bytes=1M,read_bytes=1M",
            "total_iops=0",
            "total_iops=5,write_iops=5",
        ] {
            let e = disk(&format!("1G,{text}")).unwrap_err();
            assert_eq!(e.kind(), kvm_core::ErrorKind::InvalidInput, "{text}");
        }
    }

    #[test]
    fn an_image_is_a_path_or_a_volume_and_never_a_url() {
        assert!(matches!(ImageRef::parse("iso/debian.iso").unwrap(), ImageRef::Volume(_)));
        assert!(matches!(ImageRef::parse("/srv/debian.iso").unwrap(), ImageRef::Path(_)));
        for text in ["http://127.0.0.1/x", "debian.iso", "../x", "a/../b", "/etc/shadow"] {
            assert!(ImageRef::parse(text).is_err(), "{text}");
        }
    }
}
