//! What goes wrong, and when: faults that a test or a scenario asks for, and the record of the calls that were made.

use std::collections::VecDeque;
use std::fmt;

use kvm_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// So many of the latest calls are remembered; a dashboard polls a simulated host for days.
const REMEMBERED: usize = 10_000;

/// Defines [`Method`] with its names, so that neither list can miss one.
macro_rules! methods {
    ($($(#[$doc:meta])* $method:ident = $name:literal;)*) => {
        /// A method of the traits, under the name by which faults and the record of calls speak of it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Method {
            $($(#[$doc])* $method,)*
        }

        impl Method {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$method),*];

            /// The name in scenario files and messages.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$method => $name,)*
                }
            }
        }
    };
}

methods! {
    /// `Hypervisor::capabilities`.
    Capabilities = "capabilities";
    /// `Hypervisor::list`.
    List = "list";
    /// `Hypervisor::find`.
    Find = "find";
    /// `Hypervisor::definition`.
    Definition = "definition";
    /// `Hypervisor::define`.
    Define = "define";
    /// `Hypervisor::start_transient`.
    StartTransient = "start_transient";
    /// `Hypervisor::undefine`.
    Undefine = "undefine";
    /// `Hypervisor::power`.
    Power = "power";
    /// `Hypervisor::rename`.
    Rename = "rename";
    /// `Hypervisor::set_autostart`.
    SetAutostart = "set_autostart";
    /// `Hypervisor::set_notes`.
    SetNotes = "set_notes";
    /// `Hypervisor::stats`.
    Stats = "stats";
    /// `Hypervisor::events`.
    Events = "events";
    /// `Devices::attach`.
    AttachDevice = "attach_device";
    /// `Devices::detach`.
    DetachDevice = "detach_device";
    /// `Devices::update`.
    UpdateDevice = "update_device";
    /// `Devices::set_vcpus`.
    SetVcpus = "set_vcpus";
    /// `Devices::set_memory`.
    SetMemory = "set_memory";
    /// `Devices::resize_disk`.
    ResizeDisk = "resize_disk";
    /// `Devices::pin`.
    Pin = "pin";
    /// `Devices::limit_cpu`.
    LimitCpu = "limit_cpu";
    /// `Devices::place_memory`.
    PlaceMemory = "place_memory";
    /// `Devices::limit_disk`.
    LimitDisk = "limit_disk";
    /// `Devices::change_iothread`.
    ChangeIothread = "change_iothread";
    /// `Guest::addresses`.
    Addresses = "addresses";
    /// `Guest::ping_agent`.
    PingAgent = "ping_agent";
    /// `Guest::ask_agent`.
    AskAgent = "ask_agent";
    /// `Console::open_serial`.
    OpenSerial = "open_serial";
    /// `Console::screenshot`.
    Screenshot = "screenshot";
    /// `Snapshots::list`.
    ListSnapshots = "list_snapshots";
    /// `Snapshots::create`.
    CreateSnapshot = "create_snapshot";
    /// `Snapshots::definition`.
    SnapshotDefinition = "snapshot_definition";
    /// `Snapshots::revert`.
    RevertSnapshot = "revert_snapshot";
    /// `Snapshots::delete`.
    DeleteSnapshot = "delete_snapshot";
    /// `Snapshots::open_images`.
    OpenImages = "open_images";
    /// `Snapshots::leave_overlay`.
    LeaveOverlay = "leave_overlay";
    /// `Checkpoints::list`.
    ListCheckpoints = "list_checkpoints";
    /// `Checkpoints::create`.
    CreateCheckpoint = "create_checkpoint";
    /// `Checkpoints::delete`.
    DeleteCheckpoint = "delete_checkpoint";
    /// `Checkpoints::changes`.
    CheckpointChanges = "checkpoint_changes";
    /// `BlockJobs::job`.
    BlockJob = "block_job";
    /// `BlockJobs::commit`.
    BlockCommit = "block_commit";
    /// `BlockJobs::pull`.
    BlockPull = "block_pull";
    /// `BlockJobs::copy`.
    BlockCopy = "block_copy";
    /// `BlockJobs::pivot`.
    BlockPivot = "block_pivot";
    /// `BlockJobs::abort`.
    BlockAbort = "block_abort";
    /// `Migration::migrate`, where the machine is.
    Migrate = "migrate";
    /// The part of `Migration::migrate` in which the other host says whether it would take the machine.
    PrepareMigration = "prepare_migration";
    /// The part in which the other host takes it.
    FinishMigration = "finish_migration";
    /// The part in which the first host lets go of it.
    ConfirmMigration = "confirm_migration";
    /// `Migration::job`.
    MigrationJob = "migration_job";
    /// `Migration::outcome`.
    MigrationOutcome = "migration_outcome";
    /// `Migration::cancel`.
    CancelMigration = "cancel_migration";
    /// `Migration::start_post_copy`.
    StartPostCopy = "start_post_copy";
    /// `Migration::compare_cpu`.
    CompareCpu = "compare_cpu";
    /// `HostDevices::list`.
    ListHostDevices = "list_host_devices";
    /// `HostDevices::find`.
    FindHostDevice = "find_host_device";
    /// `HostDevices::create`.
    CreateHostDevice = "create_host_device";
    /// `HostDevices::delete`.
    DeleteHostDevice = "delete_host_device";
    /// `Storage::pools`.
    Pools = "pools";
    /// `Storage::find_pool`.
    FindPool = "find_pool";
    /// `Storage::create_pool`.
    CreatePool = "create_pool";
    /// `Storage::start_pool`.
    StartPool = "start_pool";
    /// `Storage::stop_pool`.
    StopPool = "stop_pool";
    /// `Storage::refresh_pool`.
    RefreshPool = "refresh_pool";
    /// `Storage::undefine_pool`.
    UndefinePool = "undefine_pool";
    /// `Storage::set_pool_autostart`.
    SetPoolAutostart = "set_pool_autostart";
    /// `Storage::volumes`.
    Volumes = "volumes";
    /// `Storage::find_volume`.
    FindVolume = "find_volume";
    /// `Storage::volume_at`.
    VolumeAt = "volume_at";
    /// `Storage::create_volume`.
    CreateVolume = "create_volume";
    /// `Storage::delete_volume`.
    DeleteVolume = "delete_volume";
    /// `PoolSetup::define`.
    DefinePool = "define_pool";
    /// `PoolSetup::definition`.
    PoolDefinition = "pool_definition";
    /// `PoolSetup::build`.
    BuildPool = "build_pool";
    /// `PoolSetup::destroy_data`.
    DestroyPoolData = "destroy_pool_data";
    /// `PoolSetup::find_sources`.
    FindPoolSources = "find_pool_sources";
    /// `VolumeContent::download`, and each piece that is read.
    DownloadVolume = "download_volume";
    /// `VolumeContent::upload`, and each piece that is written.
    UploadVolume = "upload_volume";
    /// `VolumeContent::resize`.
    ResizeVolume = "resize_volume";
    /// `VolumeContent::wipe`.
    WipeVolume = "wipe_volume";
    /// `VolumeContent::copy`.
    CopyVolume = "copy_volume";
    /// `VolumeContent::create_preallocated`.
    CreatePreallocated = "create_preallocated";
    /// `VolumeContent::definition`.
    VolumeDefinition = "volume_definition";
    /// `Networks::list`.
    ListNetworks = "list_networks";
    /// `Networks::find`.
    FindNetwork = "find_network";
    /// `Networks::definition`.
    NetworkDefinition = "network_definition";
    /// `Networks::configuration`.
    NetworkConfiguration = "network_configuration";
    /// `Networks::redefine`.
    RedefineNetwork = "redefine_network";
    /// `Networks::update`.
    UpdateNetwork = "update_network";
    /// `Networks::define`.
    DefineNetwork = "define_network";
    /// `Networks::undefine`.
    UndefineNetwork = "undefine_network";
    /// `Networks::start`.
    StartNetwork = "start_network";
    /// `Networks::stop`.
    StopNetwork = "stop_network";
    /// `Networks::set_autostart`.
    SetNetworkAutostart = "set_network_autostart";
    /// `Networks::leases`.
    Leases = "leases";
    /// `Filters::list`.
    ListFilters = "list_filters";
    /// `Filters::definition`.
    FilterDefinition = "filter_definition";
    /// `Filters::define`.
    DefineFilter = "define_filter";
    /// `Filters::undefine`.
    UndefineFilter = "undefine_filter";
    /// `SecretStore::list`.
    ListSecrets = "list_secrets";
    /// `SecretStore::define`.
    DefineSecret = "define_secret";
    /// `SecretStore::set_value`.
    SetSecretValue = "set_secret_value";
    /// `SecretStore::undefine`.
    UndefineSecret = "undefine_secret";
    /// `Transport::run`.
    Run = "run";
    /// `Transport::dial`.
    Dial = "dial";
    /// `Transport::helper`, and each request to it.
    Helper = "helper";
    /// `Transport::read_file`.
    ReadFile = "read_file";
    /// `Transport::read_part`.
    ReadPart = "read_part";
    /// `Transport::write_file`.
    WriteFile = "write_file";
    /// `Transport::remove_file`.
    RemoveFile = "remove_file";
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One call that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which.
    pub method: Method,
    /// On what: a name, a uuid, a path; empty when the method takes none.
    pub subject: String,
}

/// One call that is to fail. It fails once and is then forgotten.
///
/// ```
/// use kvm_core::ErrorKind;
/// use kvm_mock::{Fault, Method};
/// let full = Fault::next(Method::CreateVolume, ErrorKind::NoSpace);
/// let third_call_answers_too_late = Fault::nth(3, ErrorKind::Timeout).after_effect();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Only calls of this method count; `None` counts every call.
    method: Option<Method>,
    /// How many calls that count are still to come before it, and itself.
    countdown: u64,
    kind: ErrorKind,
    moment: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    BeforeEffect,
    AfterEffect,
}

impl Fault {
    /// The next call of this method fails with an error of this kind and does nothing.
    #[must_use]
    pub fn next(method: Method, kind: ErrorKind) -> Self {
        Self { method: Some(method), countdown: 1, kind, moment: Moment::BeforeEffect }
    }

    /// The `n`th call from now, whichever it is, fails with an error of this kind and does nothing; 1 is the next.
    #[must_use]
    pub fn nth(n: u64, kind: ErrorKind) -> Self {
        Self { method: None, countdown: n.max(1), kind, moment: Moment::BeforeEffect }
    }

    /// The call does its work all the same, and only its answer is lost.
    #[must_use]
    pub fn after_effect(mut self) -> Self {
        self.moment = Moment::AfterEffect;
        self
    }

    fn error(&self, method: Method) -> Error {
        Error::new(self.kind, format!("{method} fails because the test says so"))
    }
}

/// The faults that wait for their call, and the calls so far.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    waiting: Vec<Fault>,
    calls: VecDeque<Call>,
}

impl Faults {
    pub(crate) fn new(waiting: Vec<Fault>) -> Self {
        Self { waiting, calls: VecDeque::new() }
    }

    pub(crate) fn inject(&mut self, fault: Fault) {
        self.waiting.push(fault);
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.iter().cloned().collect()
    }

    pub(crate) fn forget_calls(&mut self) {
        self.calls.clear();
    }

    /// Records a call. `Err` when it fails before it does anything; `Ok(Some)` holds what its answer becomes after it
    /// did its work.
    pub(crate) fn enter(&mut self, method: Method, subject: &str) -> Result<Option<Error>> {
        if self.calls.len() == REMEMBERED {
            self.calls.pop_front();
        }
        self.calls.push_back(Call { method, subject: subject.to_owned() });

        for fault in &mut self.waiting {
            if fault.method.is_none_or(|m| m == method) {
                fault.countdown -= 1;
            }
        }
        // Of several that are due the first one wins; all of them had their call.
        let mut due = self.waiting.extract_if(.., |fault| fault.countdown == 0).collect::<Vec<_>>().into_iter();
        match due.next() {
            None => Ok(None),
            Some(fault) if fault.moment == Moment::BeforeEffect => Err(fault.error(method)),
            Some(fault) => Ok(Some(fault.error(method))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_methods_are_the_serialised_ones() {
        for method in Method::ALL {
            assert_eq!(serde_json::to_value(method).unwrap(), method.as_str());
        }
    }

    #[test]
    fn a_fault_waits_for_its_method_and_strikes_once() {
        let mut faults = Faults::default();
        faults.inject(Fault::next(Method::Define, ErrorKind::Busy));
        assert!(faults.enter(Method::List, "").is_ok());
        assert_eq!(faults.enter(Method::Define, "a").unwrap_err().kind(), ErrorKind::Busy);
        assert!(faults.enter(Method::Define, "a").unwrap().is_none());
        assert_eq!(faults.calls().iter().filter(|c| c.method == Method::Define).count(), 2);
    }

    #[test]
    fn the_nth_call_counts_calls_of_every_method() {
        let mut faults = Faults::default();
        faults.inject(Fault::nth(3, ErrorKind::Unavailable).after_effect());
        assert!(faults.enter(Method::List, "").unwrap().is_none());
        assert!(faults.enter(Method::Define, "a").unwrap().is_none());
        assert_eq!(faults.enter(Method::Find, "a").unwrap().unwrap().kind(), ErrorKind::Unavailable);
    }
}
