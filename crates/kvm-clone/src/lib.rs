//! Copies of virtual machines, on one host or between two that share nothing.
//!
//! [`plan_clone`] looks at both hosts, refuses what cannot work before anything is written, and gives a plan: its
//! `Display` is the dry run, an executor carries it out and can take it back, and [`decode`] makes its steps again after
//! a crash. Nothing half-made is ever a machine: the definition comes last, when all images have arrived and were read
//! once more.
//!
//! [`plan_sync`] makes a replica of a machine on another host, and brings it up to date from then on: only what changed
//! is sent, and nothing of it is applied before all has arrived. [`plan_promote`] makes a machine of its own of it, on
//! its host alone.
//!
//! [`plan_backup`] puts a point in time of a machine into a directory of some host, and [`plan_restore`] brings it back:
//! under another name, or in its own place.
//!
//! Nothing here knows a backend, prints, or reads the environment.

#![forbid(unsafe_code)]

mod backup;
mod clone;
mod moment;
mod place;
mod replica;
mod restore;
mod spec;
mod step;
mod survey;
mod sync;
mod tally;
mod transfer;

pub use backup::{
    BackupPlan, BackupSpec, Base, FileVerdict, Manifest, PointId, PointRef, PointSummary, StoreDir, StorePlace,
    StoredDisk, StoredFile, StoredFormat, Verdict, VmDir, backup_point, backups, plan_backup, plan_backup_delete,
    plan_backup_prune, verify_backup,
};
pub use clone::{ClonePlan, plan_clone};
pub use replica::{
    PromotePlan, PromoteSpec, ReplicaInfo, SourceSeen, pause_replica, plan_promote, replica_of, replicas,
    resume_replica, see_source,
};
pub use restore::{RestorePlan, RestoreSpec, Restored, plan_restore};
pub use spec::{CloneSpec, Compress, SyncSpec, UplinkMap, WhileRunning};
pub use step::decode;
pub use sync::{SyncPlan, plan_sync};
pub use tally::{Moved, SyncedImage, Tally};
pub use transfer::{ImageTransfer, ImageUpdate, Transferred, Updated, Watch};
