//! Backups: points in time of a machine, in a directory of some host.
//!
//! A point is a directory with whole images, the machine's document, what else it has of its own and a manifest with the digests of all of them. It
//! has its name only when all of that is there, compared and durable, and stands for itself: no point needs another one,
//! so each can be deleted, copied elsewhere, and used without this program.

mod create;
mod delete;
mod list;
mod manifest;
mod place;
mod step;
mod verify;

pub use create::{BackupPlan, BackupSpec, Base, plan_backup};
pub use delete::{plan_backup_delete, plan_backup_prune};
pub use list::{PointSummary, backup_point, backups};
pub use manifest::{Manifest, StoredDisk, StoredFile, StoredFormat};
pub use place::{PointId, PointRef, StoreDir, StorePlace, VmDir};
pub use verify::{FileVerdict, Verdict, verify_backup};

pub(crate) use list::{read_manifest, resolve};
pub(crate) use manifest::TPM;
pub(crate) use place::{Point, inside};
pub(crate) use step::{
    BeginPoint, HidePoint, PublishPoint, RemovePoint, StoreDocument, StoreFile, StoreTpm, WriteManifest, WriteSums,
};
