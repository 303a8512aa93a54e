//! Which kinds of document there are.

/// Calls a generic function for the kind of document that a number stands for.
#[macro_export]
macro_rules! for_kind {
    ($number:expr, $function:ident($argument:expr)) => {
        $crate::for_kind! { @call $number, $function, $argument;
            // Twice, as it is the largest by far.
            Domain, Domain, Capabilities, DomainBackup, DomainCapabilities, DomainCheckpoint, DomainSnapshot, HostInterface,
            Network, NetworkFilter, NetworkFilterBinding, NetworkPort, NodeDevice, Secret, StoragePool,
            StoragePoolCapabilities, StorageVolume,
            domain::Audio, domain::Channel, domain::Console, domain::Controller, domain::Cpu, domain::Crypto, domain::Disk,
            domain::Filesystem, domain::Graphics, domain::Hostdev, domain::Hub, domain::Input, domain::Interface,
            domain::Iommu, domain::Lease, domain::Memballoon, domain::MemoryDevice, domain::NvramDevice, domain::Panic,
            domain::Parallel, domain::Pstore, domain::Redirdev, domain::Redirfilter, domain::Rng, domain::Serial,
            domain::Shmem, domain::Smartcard, domain::Sound, domain::Tpm, domain::Video, domain::Vsock, domain::Watchdog,
            capabilities::HostCpu, common::Route, pool::PoolSource, pool::PoolSources,
            network::Bridge, network::DhcpHost, network::DhcpRange, network::DnsHost, network::DnsSrv, network::DnsTxt,
            network::Forward, network::ForwardInterface, network::ForwardPf, network::NetworkDomain, network::NetworkIp,
            network::PortGroup
        }
    };
    (@call $number:expr, $function:ident, $argument:expr; $($($kind:ident)::+),+) => {{
        let kinds = [$($function::<kvm_xml::$($kind)::+> as fn(_)),+];
        kinds[usize::from($number) % kinds.len()]($argument);
    }};
}
