//! The life of a virtual machine, on any host and backend.
//!
//! - **Change with a plan**: [`plan_create`], [`plan_import`] and [`plan_delete`] look at the host, refuse what cannot work
//!   before anything is written, and give a plan that an executor carries out and can take back. [`decode`] makes its
//!   steps again after a crash.
//! - **Change what is there**: [`plan_disk_attach`], [`plan_nic_attach`] and their ways back plug devices in and out;
//!   [`insert`], [`eject`], [`set_link`], [`resize_disk`] and [`set_resources`] change them in place; [`pending`] says what
//!   waits for the next start.
//! - **Storage**: [`plan_upload`], [`plan_download`] and [`plan_volume_copy`] bring volumes in, out and into another pool or
//!   format; [`resize_volume`] and [`wipe_volume`] change them where they are,
//!   [`orphans`] finds those that nobody needs. [`plan_pool_create`] and [`plan_pool_delete`] do for pools what their names say,
//!   [`discover_pools`] looks for what could become one.
//! - **Keep a moment**: [`plan_snapshot`], [`plan_revert`] and [`plan_snapshot_delete`] refuse what would lose another
//!   snapshot, another machine's data or an overlay.
//! - **Networks**: [`plan_network_create`] makes one from a [`NetworkSpec`] or a document, [`change_network`] adds to it and takes
//!   from it while guests use it; [`plan_forward_add`] and [`plan_forward_remove`] let ports of the host lead to guests.
//! - **Machines in files**: [`plan_package_export`] writes one with its disks as an appliance (OVA) or as a bundle,
//!   [`plan_package_import`] takes one in from there.
//! - **Find and list**: [`resolve`] takes a name or a uuid as people write it, [`select`] a selector, [`wide`] the columns
//!   that no bulk call gives, [`addresses`] where a guest can be reached, [`inventory()`] everything there is.
//! - **Change images under a guest that runs**: [`plan_disk_commit`], [`plan_disk_pull`] and [`plan_disk_move`].
//! - **Change in one call**: [`change_notes`], [`rename`](rename()), [`shutdown`], [`prepare_edit`].
//! - **See who uses what**: [`disk_graph`] puts all images of a host and all that use them into one graph, which also says
//!   what may be done to an image without hurting anybody.
//! - **Inside the guest** ([`guest`]): programs, files, file systems, users and clock through its agent.
//! - **Move**: [`migrate::preflight`] looks at two hosts and says of each thing that matters whether it is fine; its plan
//!   moves a machine so that one host has it afterwards, and one alone.
//! - **Devices of the host** ([`host_devices`]): what there is, who has it, and what can only be given away together.
//! - **Diagnose**: [`doctor`] says why a host does not work and what to do about it.
//!
//! Nothing here knows a backend, prints, or reads the environment.

#![forbid(unsafe_code)]

mod address;
mod block_job;
mod build;
mod chain;
mod checkpoint;
mod copying;
mod create;
mod delete;
mod device;
pub mod doctor;
mod edit;
mod find;
mod foreign;
pub mod guest;
mod host_device;
mod import;
pub mod inventory;
pub mod migrate;
mod network;
mod notes;
mod package;
mod parallel;
mod pending;
mod place;
mod policy;
mod pool;
mod power;
mod rename;
mod secret;
mod snapshot;
mod socket;
mod spec;
mod start;
mod step;
mod text;
mod topology;
mod usage;
mod volume;
mod walk;
mod wide;

pub use address::addresses;
pub use block_job::{DiskCommit, DiskMove, DiskPull, OldImages, plan_disk_commit, plan_disk_move, plan_disk_pull};
pub use chain::{DiskGraph, disk_graph, inspect};
pub use checkpoint::{checkpoints, create_checkpoint, find_checkpoint};
pub use copying::{COPYING, check_not_copied, plan_hold};
pub use create::{CreatePlan, plan_create, unused_mac};
pub use delete::{DeleteOptions, Running, Volumes, plan_delete, plan_images_left};
pub use device::{
    AttachPlan, DETACH_TIMEOUT, DiskAttach, DiskDetach, MediaChange, NicAttach, NicDetach, Resources, eject, insert,
    plan_disk_attach, plan_disk_detach, plan_nic_attach, plan_nic_detach, resize_disk, set_link, set_resources,
};
pub use device::{DetachPlan, DeviceAttach, DeviceDetach, limit_disk, plan_device_attach, plan_device_detach};
pub use device::{ScreenPassword, ScreenPasswordChange, set_screen_password};
pub use edit::{Edit, EditOptions, edit_text, prepare_edit};
pub use find::{resolve, select};
pub use host_device::{
    DeviceClass, DeviceIdentity, DeviceUser, GroupMember, HostAddress, HostDevice, HostDeviceKind, IommuMembers,
    MdevChoice, VirtualFunctions, create_mediated, delete_mediated, find_unused_mediated, host_devices,
};
pub use import::{Arrival, Identity, ImportOptions, Trust, export, plan_arrival, plan_arrival_for, plan_import};
pub use inventory::{Inventory, inventory};
pub use network::{
    DhcpChoice, DnsEntry, ForwardAdd, ForwardInfo, ForwardPlan, ForwardRemove, MacvtapMode, MtuSize, NetworkMode,
    NetworkPlan, NetworkSpec, PortForward, PortGroup, PortGroupName, PortProtocol, StaticLease, Unplugged, VlanId,
    change_network, plan_forward_add, plan_forward_remove, plan_network_create, port_forwards, start_network,
};
pub use notes::{NotesChange, change_notes, notes};
pub use package::{NetworkMap, PackageExport, PackageForm, PackageImport, plan_package_export, plan_package_import};
pub use pending::pending;
pub use policy::{ForeignImages, PlanContext, Policy};
pub use pool::{PoolData, discover_pools, plan_pool_create, plan_pool_delete};
pub use power::{ShutdownOptions, ShutdownOutcome, Then, shutdown};
pub use rename::rename;
pub use secret::{SecretUse, plan_secret_delete, secrets};
pub use snapshot::{
    KeepMemory, SnapshotCreate, SnapshotScope, find_snapshot, plan_revert, plan_snapshot, plan_snapshot_delete,
    snapshots,
};
pub use spec::{
    Arch, BootDevice, BridgeName, CacheMode, CpuMode, CpuModel, CpuTopology, CreateSpec, DiskBus, DiskSource, DiskSpec,
    Firmware, Graphics, HugePages, ImageRef, KernelCmdline, KernelSpec, MachineType, MemorySlots, NicLink, NicModel,
    NicOptions, NicSpec, NumaCell, NumaMode, NumaNodes, OsHint, Start, UserForward, UserForwards, VlanTags,
    VolumeEncryption, VolumeFormat, VolumeRef,
};
pub use spec::{
    Auto, ClipboardSpec, ControllerBus, ControllerSpec, DeviceSpec, DimmSpec, GuestNode, MdevDeviceSpec, PciSpec,
    RedirectSpec, RngSource, RngSpec, ShareSpec, ShareTag, SoundSpec, UsbChoice, UsbSpec, VsockCid, VsockSpec,
    WatchdogSpec,
};
pub use spec::{Discard, DiskOptions, DiskSerial, IoMode};
pub use spec::{
    InitiatorName, InitiatorUser, PoolKind, PoolSpec, SecretRef, SourceAuth, SourceDevice, SourceDir, SourceHost,
    SourceName,
};
pub use start::{check_start, claim};
pub use step::{at_peer, copy_volume, decode, reserve_volume, start_machine};
pub use topology::{Plug, Topology, TopologyBridge, TopologyNetwork, TopologyNic, TopologyVm, topology};
pub use volume::{
    Below, Compat, Download, Encrypted, ImageCheck, InUse, Lazy, Orphans, Preallocation, Qcow2Options, Sharing,
    Subclusters, Upload, Verify, VolumeCopy, VolumeDetails, VolumeSpec, copy_content, create_volume, orphans,
    plan_download, plan_encrypted_volume, plan_upload, plan_volume_copy, plan_volume_delete, resize_volume,
    stored_document, volume_details, volume_document, volume_uses, wipe_volume,
};
pub use wide::{WideColumns, WideRow, wide};
