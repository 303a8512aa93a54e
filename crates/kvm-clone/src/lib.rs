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
//! [`plan_move`] takes a machine to another host, and away from its own once it stands there.
//!
//! [`plan_prove`] starts a copy once, where it can change nothing and reach nobody, and notes whether it came up.
//!
//! [`plan_sysprep`] gives a clone an identity of its own inside its guest as well.
//!
//! [`plan_backup`] puts a point in time of a machine into a directory of some host, and [`plan_restore`] brings it back:
//! under another name, or in its own place.
//!
//! Nothing here knows a backend, prints, or reads the environment. A whole clone, with a function that hears how far it is:
//!
//! ```
//! use std::sync::Arc;
//!
//! use kvm_core::op::{Catalogue, Executor, FileStore, KnownHosts, RunContext};
//! use kvm_core::{Host, OnProgress, Progress, Result, SystemEntropy, VmName};
//!
//! async fn clone(one: &Host, two: &Host, name: &str, state: &std::path::Path) -> Result<VmName> {
//!     let vm = kvm_vm::resolve(one, name).await?;
//!     let cx = kvm_vm::PlanContext { policy: &kvm_vm::Policy::default(), entropy: &SystemEntropy };
//!     let clone = kvm_clone::plan_clone(one, two, &vm, &kvm_clone::CloneSpec::default(), &cx).await?;
//!     let hosts = Arc::new(KnownHosts::new([one.clone(), two.clone()]));
//!     let catalogue = Catalogue::new().with("clone.", kvm_clone::decode).with("vm.", kvm_vm::decode).reaching(hosts);
//!     let executor = Executor::new(Arc::new(FileStore::open(state)?), catalogue, "me");
//!     let on_progress = OnProgress(|progress: &Progress| println!("{progress:?}"));
//!     let run = RunContext { host: two, reporter: &on_progress, cancel: &Default::default() };
//!     executor.run(clone.plan, run).await?;
//!     Ok(clone.name)
//! }
//! # use kvm_core::{Autostart, MockWorld, SystemClock, VmRef};
//! # use kvm_mock::Mock;
//! # use kvm_xml::Document as _;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! #     let clock = Arc::new(SystemClock);
//! #     let world = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engine/world.yaml");
//! #     let one = Mock::open(&MockWorld::File(world.into()), None, clock.clone())?.host();
//! #     let two = Mock::empty(clock)?.host();
//! #     let pool = "<pool type='dir'><name>default</name><target><path>/var/lib/images</path></target></pool>";
//! #     let network = "<network><name>default</name><bridge name='virbr0'/></network>";
//! #     two.storage.create_pool(&kvm_xml::StoragePool::from_xml(pool).unwrap(), Autostart::On).await?;
//! #     two.networks.define(&kvm_xml::Network::from_xml(network).unwrap()).await?;
//! #     two.networks.start(&"default".parse()?).await?;
//! #     let state = tempfile::tempdir().unwrap();
//! #     let name = clone(&one, &two, "web", state.path()).await?;
//! #     two.hypervisor.find(&VmRef::Name(name)).await.map(drop)
//! # }
//! ```

#![forbid(unsafe_code)]

mod backup;
mod clone;
mod facts;
mod linked;
mod moment;
mod moving;
mod parallel;
mod place;
mod prove;
mod replace;
mod replica;
mod restore;
mod route;
mod spec;
mod step;
mod survey;
mod sync;
mod sysprep;
mod tally;
mod tpm;
mod transfer;
mod trial;
mod work;

pub use backup::{
    BackupPlan, BackupSpec, Base, FileVerdict, Manifest, PointId, PointRef, PointSummary, StoreDir, StorePlace,
    StoredDisk, StoredFile, StoredFormat, Verdict, VmDir, backup_point, backups, plan_backup, plan_backup_delete,
    plan_backup_prune, verify_backup,
};
pub use clone::{ClonePlan, plan_clone};
pub use linked::plan_linked_clone;
pub use moving::{MovePlan, MoveSpec, WhileMoving, plan_move};
pub use parallel::Parallel;
pub use prove::{ProvePlan, ProveSpec, plan_prove, proof_of};
pub use replace::{AfterReplacing, Replace};
pub use replica::{
    PromotePlan, PromoteSpec, ReplicaInfo, SourceSeen, pause_replica, plan_promote, replica_of, replicas,
    resume_replica, see_source,
};
pub use restore::{RestorePlan, RestoreSpec, Restored, plan_restore};
pub use route::Way;
pub use spec::{CloneSpec, Compress, SyncSpec, TpmState, Track, UplinkMap, WhileRunning};
pub use step::decode;
pub use sync::{SyncPlan, plan_sync};
pub use sysprep::{Outcome, Part, PartDone, SysprepPlan, SysprepReport, SysprepSpec, plan_sysprep};
pub use tally::{Moved, SyncedImage, Tally};
pub use transfer::{ImageTransfer, ImageUpdate, Transferred, Updated, Watch};
