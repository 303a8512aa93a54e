//! What a new pool is made of: which kind needs which words, checked before the host sees any of it.

use std::fmt;
use std::str::FromStr;

use kvm_core::{DiskPath, DiskRoot, Error, HostName, PoolName, Port, Result};
use kvm_xml::common::{Initiator, Named};
use kvm_xml::pool::{
    PoolAuth, PoolAuthType, PoolDevice, PoolDir, PoolFormat, PoolHost, PoolSecret, PoolSource, PoolTarget, PoolType,
};
use kvm_xml::{StoragePool, pool};

use crate::text::{choices, refused};

choices! {
    /// What backs a pool.
    PoolKind: "type" {
        /// A directory.
        Dir = "dir",
        /// A file system on a device.
        Fs = "fs",
        /// A directory of a server: NFS, CIFS, GlusterFS.
        Netfs = "netfs",
        /// A volume group of LVM.
        Logical = "logical",
        /// A disk with a partition table.
        Disk = "disk",
        /// A target of iSCSI that the host's kernel logs in to.
        Iscsi = "iscsi",
        /// A target of iSCSI that QEMU reaches by itself.
        IscsiDirect = "iscsi-direct",
        /// A pool of a Ceph cluster.
        Rbd = "rbd",
        /// A pool of ZFS.
        Zfs = "zfs",
    }
}

/// One of the words that describe a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Target,
    Device,
    Host,
    Dir,
    Name,
    Format,
    Initiator,
    Auth,
}

impl Word {
    const ALL: [Self; 8] =
        [Self::Target, Self::Device, Self::Host, Self::Dir, Self::Name, Self::Format, Self::Initiator, Self::Auth];

    /// The field, and what it says.
    fn about(self) -> (&'static str, &'static str) {
        match self {
            Self::Target => ("target", "where the volumes are on the host"),
            Self::Device => ("source_device", "which device it is on"),
            Self::Host => ("source_host", "which server it is on"),
            Self::Dir => ("source_dir", "which directory of the server it is"),
            Self::Name => ("source_name", "which volume group or pool it is"),
            Self::Format => ("source_format", "what is on the device"),
            Self::Initiator => ("initiator", "which name the host has for the target"),
            Self::Auth => ("auth", "who logs in"),
        }
    }
}

impl PoolKind {
    /// What it needs, and what it takes besides.
    fn words(self) -> (&'static [Word], &'static [Word]) {
        use Word::{Auth, Device, Dir, Format, Host, Initiator, Name, Target};
        match self {
            Self::Dir => (&[Target], &[]),
            Self::Fs => (&[Target, Device], &[Format]),
            Self::Netfs => (&[Target, Host, Dir], &[Format]),
            Self::Logical => (&[Name], &[Device, Format, Target]),
            Self::Disk => (&[Device], &[Format, Target]),
            Self::Iscsi => (&[Host, Device], &[Target, Initiator, Auth]),
            Self::IscsiDirect => (&[Host, Device, Initiator], &[Auth]),
            Self::Rbd => (&[Host, Name], &[Auth]),
            Self::Zfs => (&[Name], &[Device]),
        }
    }

    /// Formats of the source that this kind knows.
    fn formats(self) -> &'static [&'static str] {
        match self {
            Self::Fs => &[
                "auto", "ext2", "ext3", "ext4", "xfs", "ufs", "iso9660", "udf", "gfs", "gfs2", "vfat", "hfs+", "ocfs2",
                "vmfs",
            ],
            Self::Netfs => &["auto", "nfs", "glusterfs", "cifs"],
            Self::Logical => &["lvm2"],
            Self::Disk => &["dos", "dvh", "gpt", "mac", "bsd", "pc98", "sun", "lvm2"],
            _ => &[],
        }
    }

    /// How many devices it stands on at most; how many servers.
    fn most(self) -> (usize, usize) {
        match self {
            Self::Logical | Self::Zfs => (64, 0),
            Self::Rbd => (0, 64),
            _ => (1, 1),
        }
    }

    fn is_iscsi(self) -> bool {
        matches!(self, Self::Iscsi | Self::IscsiDirect)
    }

    /// Where libvirt puts the volumes of kinds that leave no choice, or have a usual place.
    fn usual_target(self, name: Option<&SourceName>) -> Option<String> {
        match self {
            Self::Logical => Some(format!("/dev/{}", name?.as_str())),
            Self::Disk => Some("/dev".into()),
            Self::Iscsi => Some("/dev/disk/by-path".into()),
            _ => None,
        }
    }
}

impl From<PoolKind> for PoolType {
    fn from(kind: PoolKind) -> Self {
        match kind {
            PoolKind::Dir => Self::Dir,
            PoolKind::Fs => Self::Fs,
            PoolKind::Netfs => Self::Netfs,
            PoolKind::Logical => Self::Logical,
            PoolKind::Disk => Self::Disk,
            PoolKind::Iscsi => Self::Iscsi,
            PoolKind::IscsiDirect => Self::IscsiDirect,
            PoolKind::Rbd => Self::Rbd,
            PoolKind::Zfs => Self::Zfs,
        }
    }
}

/// Defines a word of a restricted form.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident: $field:literal, $check:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(Box<str>);

        impl $name {
            /// Takes the word; `InvalidInput` says what is wrong with it.
            pub fn parse(text: &str) -> Result<Self> {
                let check: fn(&str) -> Result<(), &'static str> = $check;
                check(text).map_err(|why| refused($field, text, why))?;
                Ok(Self(text.into()))
            }

            /// The exact word.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Self::parse(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    )*};
}

words! {
    /// A device that a pool stands on: a path below `/dev`, or the qualified name of an iSCSI target (`iqn.…`).
    SourceDevice: "source_device", |text| match text.strip_prefix("/dev/") {
        Some(rest) if rest.split('/').all(is_file_name) => Ok(()),
        Some(_) => Err("is not the plain path of a device"),
        None => check_iqn(text).map_err(|_| "is neither a path below /dev nor the name of an iSCSI target (iqn.…)"),
    };

    /// The qualified name of an iSCSI initiator.
    InitiatorName: "initiator", check_iqn;

    /// The name of a volume group, of a Ceph pool, or of a ZFS pool or file system in it.
    SourceName: "source_name", |text| {
        if text.len() <= 255 && text.split('/').all(is_file_name) { Ok(()) } else {
            Err("has other characters than letters, digits and . _ + -, or begins with one of these")
        }
    };

    /// A directory of a server: absolute and plain; of a CIFS server also the name of a share.
    SourceDir: "source_dir", |text| {
        let rest = text.strip_prefix('/').unwrap_or(text);
        let plain = |part: &str| {
            !matches!(part, "" | "." | "..") && !part.starts_with('-') && !part.chars().any(char::is_control)
        };
        if text.len() <= 4095 && (text == "/" || rest.split('/').all(plain)) { Ok(()) } else {
            Err("is not a plain directory such as /export/vm")
        }
    };
}

/// Letters, digits and a few signs: nothing that a program could take for an option or another place.
fn is_file_name(text: &str) -> bool {
    let first = text.bytes().next();
    first.is_some_and(|c| c.is_ascii_alphanumeric() || c == b'_')
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'+' | b'-' | b':' | b'@'))
}

fn check_iqn(text: &str) -> Result<(), &'static str> {
    let known = ["iqn.", "eui.", "naa."].iter().any(|prefix| text.len() > prefix.len() && text.starts_with(prefix));
    let plain = text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b':' | b'-' | b'_'));
    match known && plain && text.len() <= 223 {
        true => Ok(()),
        false => Err("is not a qualified name such as iqn.2024-01.org.example:storage"),
    }
}

/// A server, and the port if it is not the usual one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceHost {
    /// A name or an address.
    pub host: HostName,
    /// The protocol's own if left out.
    pub port: Option<Port>,
}

impl FromStr for SourceHost {
    type Err = Error;

    /// Reads `host` or `host:port`; an IPv6 address with a port stands in brackets.
    fn from_str(text: &str) -> Result<Self> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if host.starts_with('[') || !host.contains(':') => (host, Some(port)),
            _ => (text, None),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Ok(Self { host: HostName::parse(host)?, port: port.map(Port::parse).transpose()? })
    }
}

/// Who logs in to the storage server. The password is in a secret of the host's libvirt, never here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceAuth {
    /// The user.
    pub user: InitiatorUser,
    /// The secret.
    pub secret: SecretRef,
}

words! {
    /// The name of a user of a storage server.
    InitiatorUser: "auth_user", |text| {
        let plain = !text.is_empty() && text.len() <= 255 && text.chars().all(|c| !c.is_control() && !c.is_whitespace());
        if plain { Ok(()) } else { Err("is empty, too long, or has white space or control characters in it") }
    };
}

/// A secret of the host's libvirt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// By its uuid.
    Uuid(uuid::Uuid),
    /// By what it says it is for.
    Usage(Box<str>),
}

impl FromStr for SecretRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Ok(uuid) = text.parse() {
            return Ok(Self::Uuid(uuid));
        }
        match !text.is_empty() && text.len() <= 255 && !text.chars().any(char::is_control) {
            true => Ok(Self::Usage(text.into())),
            false => Err(refused("auth_secret", text, "is neither a uuid nor the usage of a secret")),
        }
    }
}

/// A pool that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// Its name, which is new.
    pub name: PoolName,
    /// What backs it.
    pub kind: PoolKind,
    /// Where the volumes are on the host.
    pub target: Option<DiskRoot>,
    /// Devices that it stands on.
    pub devices: Vec<SourceDevice>,
    /// Servers that it is on.
    pub hosts: Vec<SourceHost>,
    /// The directory of the server.
    pub dir: Option<SourceDir>,
    /// The volume group, Ceph pool or ZFS pool.
    pub source_name: Option<SourceName>,
    /// What is on the device: a file system, a partition table.
    pub format: Option<String>,
    /// The host's name for iSCSI targets.
    pub initiator: Option<InitiatorName>,
    /// Who logs in.
    pub auth: Option<SourceAuth>,
}

impl PoolSpec {
    /// A pool of this kind, of which nothing more is said yet.
    #[must_use]
    pub fn new(name: PoolName, kind: PoolKind) -> Self {
        Self {
            name,
            kind,
            target: None,
            devices: Vec::new(),
            hosts: Vec::new(),
            dir: None,
            source_name: None,
            format: None,
            initiator: None,
            auth: None,
        }
    }

    /// The pool's document. `InvalidInput` names what is missing, what this kind does not know, and what there is too much
    /// of.
    pub fn document(&self) -> Result<StoragePool> {
        self.check()?;
        let format = match self.format.as_deref() {
            Some(format) => Some(self.format_of(format)?),
            None => None,
        };
        let kind = self.kind;
        let source = PoolSource {
            host: self.hosts.iter().map(host).collect(),
            device: self.devices.iter().map(device).collect(),
            dir: self.dir.as_ref().map(|dir| PoolDir { path: Some(dir.as_str().into()), ..PoolDir::default() }),
            name: self.source_name.iter().map(|name| name.as_str().to_owned()).collect(),
            format,
            initiator: self.initiator.as_ref().map(|name| Initiator {
                iqn: Some(Named { name: Some(name.as_str().to_owned()), ..Named::default() }),
                ..Initiator::default()
            }),
            auth: self.auth.as_ref().map(|auth| self.auth(auth)),
            ..PoolSource::default()
        };
        let target = self.target.as_ref().map(|target| target.as_str().to_owned());
        let target = target.or_else(|| kind.usual_target(self.source_name.as_ref()));
        Ok(StoragePool {
            r#type: Some(kind.into()),
            name: Some(self.name.as_str().to_owned()),
            source: (kind != PoolKind::Dir).then_some(source),
            target: target.map(|path| PoolTarget { path: Some(path), ..PoolTarget::default() }),
            ..StoragePool::default()
        })
    }

    fn has(&self, word: Word) -> bool {
        match word {
            Word::Target => self.target.is_some(),
            Word::Device => !self.devices.is_empty(),
            Word::Host => !self.hosts.is_empty(),
            Word::Dir => self.dir.is_some(),
            Word::Name => self.source_name.is_some(),
            Word::Format => self.format.is_some(),
            Word::Initiator => self.initiator.is_some(),
            Word::Auth => self.auth.is_some(),
        }
    }

    fn check(&self) -> Result<()> {
        let kind = self.kind;
        let (needed, taken) = kind.words();
        for word in Word::ALL {
            let (field, says) = word.about();
            if needed.contains(&word) && !self.has(word) {
                return Err(Error::invalid(field, format!("a pool of type {kind} needs it: it says {says}")));
            }
            if self.has(word) && !needed.contains(&word) && !taken.contains(&word) {
                return Err(Error::invalid(field, format!("a pool of type {kind} does not know it; leave it out")));
            }
        }
        if matches!(kind, PoolKind::Dir | PoolKind::Fs | PoolKind::Netfs)
            && let Some(target) = &self.target
        {
            // The files in it are to be disks, so it lies where disks may lie.
            DiskPath::parse(&format!("{}/volume", target.as_str()))?;
        }
        let (devices, hosts) = kind.most();
        if self.devices.len() > devices {
            return Err(Error::invalid("source_device", format!("a pool of type {kind} stands on one device")));
        }
        if self.hosts.len() > hosts {
            return Err(Error::invalid("source_host", format!("a pool of type {kind} is on one server")));
        }
        for device in &self.devices {
            if device.as_str().starts_with('/') == kind.is_iscsi() {
                let wanted =
                    if kind.is_iscsi() { "the qualified name of a target (iqn.…)" } else { "a path below /dev" };
                return Err(Error::invalid("source_device", format!("of a pool of type {kind} it is {wanted}")));
            }
        }
        if let Some(name) = self.source_name.as_ref().filter(|name| name.as_str().contains('/'))
            && kind != PoolKind::Zfs
        {
            return Err(Error::invalid("source_name", format!("{name} has a slash in it")));
        }
        Ok(())
    }

    fn format_of(&self, format: &str) -> Result<PoolFormat> {
        let known = self.kind.formats();
        let found = known.iter().find(|known| **known == format).and_then(|known| known.parse().ok());
        let found = found.ok_or_else(|| {
            refused(
                "source_format",
                format,
                format_args!("is not one of {} for a pool of type {}", known.join(", "), self.kind),
            )
        })?;
        Ok(PoolFormat { r#type: Some(found), ..PoolFormat::default() })
    }

    fn auth(&self, auth: &SourceAuth) -> PoolAuth {
        let (uuid, usage) = match &auth.secret {
            SecretRef::Uuid(uuid) => (Some(uuid.to_string()), None),
            SecretRef::Usage(usage) => (None, Some(usage.to_string())),
        };
        PoolAuth {
            r#type: Some(if self.kind == PoolKind::Rbd { PoolAuthType::Ceph } else { PoolAuthType::Chap }),
            username: Some(auth.user.as_str().to_owned()),
            secret: Some(PoolSecret { uuid, usage, ..PoolSecret::default() }),
            ..PoolAuth::default()
        }
    }
}

fn host(host: &SourceHost) -> PoolHost {
    PoolHost {
        name: Some(host.host.as_str().to_owned()),
        port: host.port.map(|port| i32::from(port.get())),
        ..PoolHost::default()
    }
}

fn device(device: &SourceDevice) -> pool::PoolDevice {
    PoolDevice { path: Some(device.as_str().to_owned()), ..PoolDevice::default() }
}
