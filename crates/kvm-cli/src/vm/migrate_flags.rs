//! The flags of `kvmctl vm migrate`.

use std::num::NonZeroU8;
use std::time::Duration;

use clap::ValueEnum;
use kvm_core::{Bandwidth, DefinitionPlace, HostName, MigrationMode, Target, parse_duration};
use kvm_vm::migrate::{AtTimeout, DiskTransfer, Lead, MigrateOptions, MigrationTimeout};
use kvm_xml::value::DiskName;

/// How a VM is moved.
#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// Move it while it runs; what a VM that runs does anyway.
    #[arg(long, conflicts_with = "offline")]
    live: bool,
    /// Move the definition of a VM that is off; what a VM that is off does anyway.
    #[arg(long)]
    offline: bool,
    /// Copy the content of its disks; without it both hosts have the same storage.
    #[arg(long, conflicts_with = "offline")]
    copy_storage: bool,
    /// Copy the content of these disks alone, such as vda.
    #[arg(long, value_name = "DISK", value_delimiter = ',', conflicts_with_all = ["copy_storage", "offline"])]
    copy_disk: Vec<DiskName>,
    /// Leave the definition here: the VM is gone from there when it stops.
    #[arg(long)]
    keep_definition: bool,
    /// Most that is sent per second, such as 100M or 1Gbit/s.
    #[arg(long, value_name = "RATE", value_parser = Bandwidth::parse, help_heading = "Speed")]
    bandwidth: Option<Bandwidth>,
    /// How long it may stand still at the end.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "Speed")]
    max_downtime: Option<Duration>,
    /// Slow virtual CPUs down that dirty memory faster than it is sent.
    #[arg(long, help_heading = "Speed")]
    auto_converge: bool,
    /// So many connections at a time for the memory.
    #[arg(long, value_name = "N", help_heading = "Speed")]
    connections: Option<NonZeroU8>,
    /// So long is not too long; see --at-timeout.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "Speed")]
    timeout: Option<Duration>,
    /// What happens when it takes longer.
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        default_value = "cancel",
        requires = "timeout",
        help_heading = "Speed"
    )]
    at_timeout: At,
    /// Who leads.
    #[arg(long, value_enum, value_name = "WHO", default_value = "auto", help_heading = "Way")]
    lead: Leader,
    /// The destination as the source reaches it, where that differs from how it is reached from here.
    #[arg(long, value_name = "TARGET", value_parser = Target::parse, help_heading = "Way")]
    peer: Option<Target>,
    /// The destination's address for the data; without it the name that it has for itself.
    #[arg(long, value_name = "HOST", value_parser = HostName::parse, help_heading = "Way")]
    data_host: Option<HostName>,
    /// Encrypt memory and disks on their way, with the certificates of both hosts' QEMU.
    #[arg(long, help_heading = "Way")]
    tls: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum At {
    /// It is given up; the VM stays.
    Cancel,
    /// The VM stands still until it is there.
    Suspend,
    /// It runs there at once, and fetches its memory as it needs it.
    PostCopy,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Leader {
    /// This program, which is connected to both hosts anyway.
    Auto,
    /// This program; when it ends before the migration does, the VM stays.
    Client,
    /// The source, which logs in at the destination with its own keys and goes on without this program.
    Source,
    /// The same, with the memory in that connection, too.
    Tunnel,
}

impl Flags {
    pub(super) fn options(self) -> MigrateOptions {
        let then = match self.at_timeout {
            At::Cancel => AtTimeout::Cancel,
            At::Suspend => AtTimeout::Suspend,
            At::PostCopy => AtTimeout::PostCopy,
        };
        MigrateOptions {
            mode: match (self.live, self.offline) {
                (true, _) => Some(MigrationMode::Live),
                (_, true) => Some(MigrationMode::Offline),
                _ => None,
            },
            storage: match (self.copy_storage, self.copy_disk.is_empty()) {
                (true, _) => DiskTransfer::Copy,
                (_, false) => DiskTransfer::CopyOnly(self.copy_disk),
                _ => DiskTransfer::Shared,
            },
            lead: match self.lead {
                Leader::Auto => Lead::Auto,
                Leader::Client => Lead::Client,
                Leader::Source => Lead::Source,
                Leader::Tunnel => Lead::Tunnel,
            },
            peer: self.peer,
            data_host: self.data_host,
            definition: match self.keep_definition {
                true => DefinitionPlace::Source,
                false => DefinitionPlace::Destination,
            },
            tls: self.tls,
            bandwidth: self.bandwidth.unwrap_or(Bandwidth::UNLIMITED),
            max_downtime: self.max_downtime,
            auto_converge: self.auto_converge,
            connections: self.connections,
            timeout: self.timeout.map(|after| MigrationTimeout { after, then }),
        }
    }
}
