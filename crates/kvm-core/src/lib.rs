//! Vocabulary of KVM Manager: parsed names and units, one error type, the traits that every backend implements, and
//! operations that survive a crash.
//!
//! - **What comes from outside becomes a type at the edge, once**: [`VmName`], [`Bytes`], [`Target`], [`DiskPath`]…
//! - **Backends implement small traits**: [`Hypervisor`] with its facets, [`Storage`], [`Networks`], [`Transport`];
//!   a [`Host`] bundles them. The real ones are in `kvm-libvirt` and `kvm-ssh`, a simulated world in `kvm-mock`.
//! - **Every change of more than one step is an operation** ([`op`]): a plan that can be shown, a journal entry on
//!   disk before the first side effect, an undo for each step.
//! - **One error** ([`Error`]): a kind to act on, what it is about, and the chain of causes.
//!
//! Nothing here prints, reads the environment, or knows a backend.

#![forbid(unsafe_code)]

mod agent;
mod block_job;
mod capability;
mod checkpoint;
mod clock;
mod console;
mod device;
mod error;
mod event;
mod ext;
mod filter;
mod guard;
mod guest;
mod host;
mod host_device;
mod hypervisor;
mod id;
#[cfg(feature = "test-inputs")]
pub mod inputs;
mod io_thread;
mod migration;
mod moving;
mod name;
mod net;
mod network;
mod notes;
pub mod op;
mod path;
mod proof;
mod replication;
mod report;
mod secret;
mod select;
mod snapshot;
mod storage;
mod target;
pub mod text;
mod throttle;
mod transport;
mod tuning;
mod unit;

pub use agent::{AgentCommand, AgentReply};
pub use block_job::{BlockJob, BlockJobKind, BlockJobs};
pub use capability::{Capabilities, Feature, GuestKind, HostKey, NumaNode, ProcessUser};
pub use checkpoint::{CheckpointInfo, CheckpointSpec, Checkpoints, DiskChange};
pub use clock::{Clock, Entropy, SeededEntropy, SystemClock, SystemEntropy};
pub use console::{ByteStream, Console, ConsoleAccess, Screenshot, ScreenshotFormat};
pub use device::{Device, DeviceRef, Devices, Impact, Peripheral, PeripheralKind, PeripheralName, PeripheralRef};
pub use error::{Error, ErrorKind, Resource, Result};
pub use event::{Event, EventStream, VmChange, VmEvent};
pub use ext::{HypervisorExt, NetworksExt};
pub use filter::Filters;
pub use guard::{check_definition, check_network, check_pool, check_volume};
pub use guest::{AddressSource, Guest, GuestAddress};
pub use host::Host;
pub use host_device::{HostDeviceRef, HostDevices, MdevId, MdevSpec, PciAddress, UsbAddress, UsbId};
pub use hypervisor::{
    Autostart, DiskStats, Existing, Hypervisor, Keep, NicStats, PowerAction, Secrets, View, VmFilter, VmState, VmStats,
    VmSummary, Which,
};
pub use id::{VmId, VmRef};
pub use io_thread::{IoThread, IoThreadChange};
pub use migration::{CpuFit, DefinitionPlace, Migration, MigrationJob, MigrationMode, MigrationSpec, Route, Transfer};
pub use moving::{Moving, Way};
pub use name::{
    Description, FilterName, HostDeviceName, NetworkName, PoolName, SnapshotName, Tag, Title, VmName, VolumeName,
};
pub use net::{AddressRange, DnsName, HostName, MacAddr, Port, SshUser, Subnet};
pub use network::{Lease, NetworkEntry, NetworkInfo, NetworkUpdate, Networks};
pub use notes::{METADATA_NAMESPACE, Protection, VmNotes};
pub use path::{DiskPath, DiskRoot, ShareDir};
pub use proof::{ProofKind, ProofResult, ProofVersions, ProvedImage, Receipt};
pub use replication::{Consistency, Elsewhere, Replica, ReplicaImage, ReplicaState, Replication};
pub use report::{OnProgress, Progress, Reporter, Silent, StepOutcome};
pub use secret::{Passphrase, SecretId, SecretInfo, SecretStore};
pub use select::Selector;
pub use snapshot::{
    AfterRevert, OpenImages, Overlay, Quiesce, Remove, Revert, Risk, SnapshotDisk, SnapshotInfo, SnapshotKind,
    SnapshotPlace, SnapshotSpec, Snapshots, disks_to_keep,
};
pub use storage::{
    Blocks, Build, Holes, Piece, PoolInfo, PoolSetup, Resize, Storage, VolumeContent, VolumeInfo, VolumeReader,
    VolumeWriter, WipePattern,
};
pub use target::{ConnectOptions, MockWorld, Scope, Target, TestNode, Via};
pub use throttle::{DiskLimits, Iops};
pub use transport::{Dial, Endpoint, FilePart, Output, Transport};
pub use tuning::{CpuLimits, CpuPeriod, CpuQuota, CpuShares, MemoryPlacement, VmThread};
pub use unit::{Bandwidth, Bytes, MemoryUnit, VcpuCount, parse_duration, parse_memory, parse_memory_with, parse_size};
