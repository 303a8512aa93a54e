//! What libvirt's calls take besides whole documents: devices, sections of a network, CPUs, sources of pools.

use kvm_xml::capabilities::HostCpu;
use kvm_xml::common::Route;
use kvm_xml::domain::{self, Devices};
use kvm_xml::network::{
    Bridge, DhcpHost, DhcpRange, DnsHost, DnsSrv, DnsTxt, Forward, ForwardInterface, ForwardPf, NetworkDomain,
    NetworkIp, PortGroup,
};
use kvm_xml::pool::{PoolSource, PoolSources};
use kvm_xml::{Capabilities, Document, Domain, Network, StoragePool};

/// Checks that `xml` is a document that is written as it was read.
fn alone<T: Document>(xml: &str) -> T {
    let document = T::from_xml_strict(xml).unwrap_or_else(|error| panic!("{error}: {xml}"));
    assert_eq!(document.to_xml().trim_end(), xml);
    document
}

#[test]
fn every_device_of_a_domain_is_a_document_of_its_own() {
    // Reads each device within a domain and alone; both must say the same. All fields of `Devices` are named, so that the
    // compiler notices when a new one has no line here.
    macro_rules! check {
        ($($field:ident: $type:ident $(($wrapped:ident))?, $xml:literal;)+) => {
            let text = concat!("<domain><devices>", $($xml,)+ "</devices></domain>");
            let domain = Domain::from_xml_strict(text).unwrap_or_else(|error| panic!("{error}"));
            let Devices { emulator: _, _extra: _, $($field),+ } = domain.devices.expect("is there");
            $(
                let document = alone::<domain::$type>($xml);
                let inside = $field.into_iter().next().expect(stringify!($field));
                check!(@same document, inside $(, $wrapped)?);
            )+
        };
        (@same $document:ident, $inside:ident) => { assert_eq!($document, $inside); };
        (@same $document:ident, $inside:ident, $wrapped:ident) => {
            let inside: domain::$wrapped = $inside;
            assert_eq!($document.0, inside);
        };
    }
    check! {
        audio: Audio, "<audio id='1' type='none'/>";
        channel: Channel, "<channel type='unix'/>";
        console: Console(Serial), "<console type='pty'/>";
        controller: Controller, "<controller type='usb' index='0'/>";
        crypto: Crypto, "<crypto model='virtio' type='qemu'/>";
        disk: Disk, "<disk type='file' device='disk'/>";
        filesystem: Filesystem, "<filesystem type='mount'/>";
        graphics: Graphics, "<graphics type='vnc'/>";
        hostdev: Hostdev, "<hostdev mode='subsystem' type='pci'/>";
        hub: Hub, "<hub type='usb'/>";
        input: Input, "<input type='tablet' bus='usb'/>";
        interface: Interface, "<interface type='network'/>";
        iommu: Iommu, "<iommu model='intel'/>";
        lease: Lease, "<lease>\n  <key>k</key>\n</lease>";
        memballoon: Memballoon, "<memballoon model='none'/>";
        memory: MemoryDevice, "<memory model='dimm'/>";
        nvram: NvramDevice, "<nvram>\n  <address type='spapr-vio' reg='0x00003000'/>\n</nvram>";
        panic: Panic, "<panic model='isa'/>";
        parallel: Parallel(Serial), "<parallel type='pty'/>";
        pstore: Pstore, "<pstore backend='acpi-erst'/>";
        redirdev: Redirdev, "<redirdev bus='usb' type='spicevmc'/>";
        redirfilter: Redirfilter, "<redirfilter>\n  <usbdev allow='no'/>\n</redirfilter>";
        rng: Rng, "<rng model='virtio'/>";
        serial: Serial, "<serial type='pty'/>";
        shmem: Shmem, "<shmem name='s'/>";
        smartcard: Smartcard, "<smartcard mode='host'/>";
        sound: Sound, "<sound model='ich9'/>";
        tpm: Tpm, "<tpm model='tpm-crb'/>";
        video: Video, "<video>\n  <model type='virtio'/>\n</video>";
        vsock: Vsock, "<vsock model='virtio'/>";
        watchdog: Watchdog, "<watchdog model='itco' action='reset'/>";
    }
}

#[test]
fn every_section_of_a_network_that_can_be_updated_is_a_document_of_its_own() {
    let bridge = alone::<Bridge>("<bridge name='virbr7' stp='on' delay='0'/>");
    let domain = alone::<NetworkDomain>("<domain name='example.com' localOnly='yes'/>");
    let forward = alone::<Forward>("<forward mode='nat'/>");
    alone::<ForwardInterface>("<interface dev='eth0'/>");
    alone::<ForwardPf>("<pf dev='eth0'/>");
    alone::<PortGroup>("<portgroup name='sales' default='yes'/>");
    let ip = alone::<NetworkIp>("<ip address='192.0.2.1' prefix='24'/>");
    alone::<DhcpRange>("<range start='192.0.2.2' end='192.0.2.9'/>");
    alone::<DhcpHost>("<host mac='52:54:00:00:00:01' ip='192.0.2.2'/>");
    alone::<DnsHost>("<host ip='192.0.2.2'>\n  <hostname>web</hostname>\n</host>");
    alone::<DnsTxt>("<txt name='a' value='b'/>");
    alone::<DnsSrv>("<srv service='ldap' protocol='tcp'/>");
    let route = alone::<Route>("<route address='198.51.100.0' prefix='24' gateway='192.0.2.2'/>");
    let network = Network {
        bridge: Some(bridge),
        domain: Some(domain),
        forward: Some(forward),
        ip: vec![ip],
        route: vec![route],
        ..Network::default()
    };
    assert_eq!(Network::from_xml_strict(&network.to_xml()).expect("valid"), network);
}

#[test]
fn a_cpu_to_compare_is_a_guests_or_a_hosts() {
    alone::<domain::Cpu>(
        "<cpu mode='custom' match='exact'>\n  <model fallback='forbid'>Skylake-Client</model>\n</cpu>",
    );
    let host = "<cpu>\n  <arch>x86_64</arch>\n  <model>Skylake-Client</model>\n  <feature name='vmx'/>\n</cpu>";
    let cpu = alone::<HostCpu>(host);
    let capabilities = Capabilities::from_xml_strict(&format!("<capabilities><host>{host}</host></capabilities>"));
    assert_eq!(capabilities.expect("valid").host.and_then(|host| host.cpu), Some(cpu));
}

#[test]
fn a_source_that_was_found_makes_a_pool() {
    let found = "<sources><source><device path='/dev/sda3'/><name>vg0</name><format type='lvm2'/></source></sources>";
    let source = PoolSources::from_xml_strict(found).expect("valid").source.remove(0);
    assert_eq!(PoolSource::from_xml_strict(&source.to_xml()).expect("valid"), source);
    let pool = StoragePool { source: Some(source), ..StoragePool::default() }.to_xml();
    assert!(pool.contains("<name>vg0</name>"), "{pool}");
}

#[test]
fn a_source_to_ask_a_server_about_is_a_document() {
    alone::<PoolSource>("<source>\n  <host name='nfs.example.com'/>\n  <format type='nfs'/>\n</source>");
}
