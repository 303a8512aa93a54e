//! Backups of domains.

use crate::common::Encryption;
use crate::domain::{DeviceSeclabel, DiskFormat};
use crate::extra::Extra;
use crate::leaf::closed;
use crate::value::{DiskName, YesNo};
use kvm_xml_derive::Xml;

/// A backup job: <https://libvirt.org/formatbackup.html>; since libvirt 6.0.0.
///
/// In push mode the hypervisor writes the backup to `target` of each disk. In pull mode it serves the disks over NBD as
/// they were when the job began, and keeps in `scratch` of each disk what the guest overwrites.
#[derive(Clone, Default, Xml)]
#[xml(root = "domainbackup")]
pub struct DomainBackup {
    pub mode: Option<BackupMode>,
    /// The checkpoint since which changes are backed up; all is, without it.
    #[xml(el)]
    pub incremental: Option<String>,
    pub server: Option<BackupServer>,
    pub disks: Option<BackupDisks>,
    pub _extra: Extra,
}

/// Where the hypervisor serves a backup in pull mode: a TCP port, a UNIX socket, or a socket that was handed over.
#[derive(Clone, Default, Xml)]
pub struct BackupServer {
    pub transport: Option<BackupTransport>,
    pub tls: Option<YesNo>,
    pub name: Option<String>,
    pub port: Option<u32>,
    pub socket: Option<String>,
    pub fdgroup: Option<String>,
    pub _extra: Extra,
}

/// Which disks are backed up; all of them if there is no such element.
#[derive(Clone, Default, Xml)]
pub struct BackupDisks {
    pub disk: Vec<BackupDisk>,
    pub _extra: Extra,
}

/// How one disk is backed up; `name` is its target, such as `vda`.
#[derive(Clone, Default, Xml)]
#[xml(key = "name")]
pub struct BackupDisk {
    pub name: Option<DiskName>,
    pub backup: Option<YesNo>,
    pub r#type: Option<BackupDiskType>,
    pub backupmode: Option<BackupDiskMode>,
    /// The checkpoint since which changes of this disk are backed up.
    pub incremental: Option<String>,
    /// The name of the NBD export, in pull mode; the disk's target unless given.
    pub exportname: Option<String>,
    /// The name under which the export shows what has changed, in pull mode.
    pub exportbitmap: Option<String>,
    /// libvirt's own number for the image, in the description of a running job.
    pub index: Option<u32>,
    pub driver: Option<BackupDriver>,
    pub target: Option<BackupStore>,
    pub scratch: Option<BackupStore>,
    pub _extra: Extra,
}

/// The format of a backup or of a scratch image; `qcow2` unless given.
#[derive(Clone, Default, Xml)]
pub struct BackupDriver {
    pub r#type: Option<DiskFormat>,
    pub _extra: Extra,
}

/// A file or a block device that a backup job writes to.
#[derive(Clone, Default, Xml)]
pub struct BackupStore {
    pub file: Option<String>,
    pub dev: Option<String>,
    pub encryption: Option<Encryption>,
    pub seclabel: Vec<DeviceSeclabel>,
    pub _extra: Extra,
}

closed! {
    /// What `mode` of [`DomainBackup`] can be.
    pub enum BackupMode {
        Push = "push", Pull = "pull",
    }
    /// What `transport` of [`BackupServer`] can be.
    pub enum BackupTransport {
        Tcp = "tcp", Unix = "unix", Fd = "fd",
    }
    /// What `type` of [`BackupDisk`] can be.
    pub enum BackupDiskType {
        File = "file", Block = "block",
    }
    /// What `backupmode` of [`BackupDisk`] can be.
    pub enum BackupDiskMode {
        Full = "full", Incremental = "incremental",
    }
}
