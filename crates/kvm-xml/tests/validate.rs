//! What libvirt 11.3 or QEMU 10.0 refuses is an error, what they take is none. Each case was tried with both.

use kvm_xml::{
    Document, Domain, Network, Presence, Problem, ProblemKind, Reference, Severity, StoragePool, not_looked,
};

/// A machine that libvirt takes, with `top` in it and `devices`.
fn machine(top: &str, devices: &str) -> Domain {
    let text = format!(
        "<domain type='qemu'><name>a</name><memory>262144</memory><vcpu>4</vcpu><os><type>hvm</type></os>{top}\
         <devices>{devices}</devices></domain>"
    );
    Domain::from_xml(&text).expect("well-formed")
}

fn disk(name: &str, bus: &str, inner: &str) -> String {
    format!("<disk type='file'><source file='/{name}'/><target dev='{name}' bus='{bus}'/>{inner}</disk>")
}

fn nic(inner: &str) -> String {
    format!("<interface type='user'>{inner}</interface>")
}

fn pci(slot: u8, function: u8, rest: &str) -> String {
    format!("<address type='pci' domain='0x0000' bus='0x00' slot='{slot:#04x}' function='{function:#x}' {rest}/>")
}

fn drive(unit: u8) -> String {
    format!("<address type='drive' controller='0' bus='0' target='0' unit='{unit}'/>")
}

/// One problem, by its severity, kind and path.
#[track_caller]
fn only(problems: &[Problem], severity: Severity, kind: ProblemKind, path: &str) {
    let [problem] = problems else { panic!("{path}: {problems:#?}") };
    assert_eq!((problem.severity, problem.kind, &*problem.path), (severity, kind, path), "{problem}");
    assert!(problem.to_string().starts_with(&format!("{path}: ")) && !problem.message.ends_with('.'), "{problem}");
}

#[track_caller]
fn error(top: &str, devices: &str, kind: ProblemKind, path: &str) {
    only(&machine(top, devices).validate(&not_looked), Severity::Error, kind, path);
}

#[track_caller]
fn warning(top: &str, devices: &str, kind: ProblemKind, path: &str) {
    only(&machine(top, devices).validate(&not_looked), Severity::Warning, kind, path);
}

#[track_caller]
fn fine(top: &str, devices: &str) {
    assert_eq!(machine(top, devices).validate(&not_looked), []);
}

use ProblemKind::{Conflict, Duplicate, Ignored, Missing, Name, OutOfRange, Undefined, Unknown};

#[test]
fn a_machine_has_a_type_a_name_memory_and_a_kind() {
    let problems = Domain::default().validate(&not_looked);
    assert_eq!(
        problems.iter().map(|problem| &*problem.path).collect::<Vec<_>>(),
        ["type", "name", "os.type", "memory"]
    );
    assert!(problems.iter().all(|problem| problem.kind == Missing && problem.severity == Severity::Error));
    fine("", "");
}

#[test]
fn names_are_as_libvirt_takes_them() {
    let named = |name: &str| Domain { name: Some(name.into()), ..machine("", "") }.validate(&not_looked);
    for name in [".", "..", "a/b", "a\nb"] {
        only(&named(name), Severity::Error, Name, "name");
    }
    only(&named(""), Severity::Error, Missing, "name");
    for name in ["a\tb", " ", "a\u{85}b"] {
        only(&named(name), Severity::Warning, Name, "name");
    }
    for name in ["a b", "-a", "ä"] {
        assert_eq!(named(name), []);
    }
}

#[test]
fn two_disks_are_told_apart() {
    let twice = disk("vda", "virtio", "") + &disk("vda", "virtio", "").replace("'/vda'", "'/other'");
    error("", &twice, Duplicate, "devices.disk[vda].target.dev");
    let with = |inner: &str| disk("sda", "scsi", inner) + &disk("sdb", "scsi", inner);
    warning("", &with("<serial>A</serial>"), Duplicate, "devices.disk[sdb].serial");
    warning("", &with("<wwn>5000c50015ea71ad</wwn>"), Duplicate, "devices.disk[sdb].wwn");
    error("", &with(&drive(1)), Duplicate, "devices.disk[sdb].address");
    let same = "<disk><source file='/a'/><target dev='vda'/></disk><disk><source file='/a'/><target dev='vdb'/></disk>";
    warning("", same, Duplicate, "devices.disk[vdb].source");
    fine("", &same.replace("<source", "<shareable/><source"));
    fine("", &(disk("sda", "sata", &drive(0)) + &disk("sdb", "scsi", &drive(0))));
}

#[test]
fn a_disk_without_an_address_stands_where_its_name_says() {
    let devices = disk("sda", "sata", &drive(1)) + &disk("sdb", "sata", "");
    error("", &devices, Duplicate, "devices.disk[sdb].target.dev");
    fine("", &(disk("sda", "sata", &drive(1)) + &disk("sdc", "sata", "")));
}

#[test]
fn a_disk_has_a_name_that_fits_its_bus() {
    let of = |device: &str, name: &str, bus: &str| {
        format!("<disk type='file' device='{device}'><source file='/a'/><target dev='{name}' bus='{bus}'/></disk>")
    };
    for (device, name, bus, path) in [
        ("disk", "fda", "virtio", "target.dev"),
        ("disk", "vda", "fdc", "target.bus"),
        ("cdrom", "fda", "fdc", "target.dev"),
        ("floppy", "vda", "fdc", "target.dev"),
        ("floppy", "fda", "ide", "target.bus"),
        ("cdrom", "vda", "virtio", "target.bus"),
    ] {
        error("", &of(device, name, bus), Conflict, &format!("devices.disk[{name}].{path}"));
    }
    for name in ["vda1", "vd1", "vdA"] {
        error("", &of("disk", name, "virtio"), Name, &format!("devices.disk[{name}].target.dev"));
    }
    for (name, bus) in [("vda", "sata"), ("hda", "virtio"), ("vda", "usb")] {
        warning("", &of("disk", name, bus), Conflict, &format!("devices.disk[{name}].target.dev"));
    }
    for (device, name, bus) in [("floppy", "fda", "fdc"), ("cdrom", "sda", "sata"), ("disk", "sda", "usb")] {
        fine("", &of(device, name, bus));
    }
    error("", &of("lun", "sda", "scsi"), Conflict, "devices.disk[sda].device");
    error("", "<disk><source file='/a'/></disk>", Missing, "devices.disk[0].target.dev");
}

#[test]
fn a_disk_has_a_source_and_a_drive_may_be_empty() {
    error("", "<disk><target dev='vda'/></disk>", Missing, "devices.disk[vda].source");
    error("", "<disk type='block'><source/><target dev='vda'/></disk>", Missing, "devices.disk[vda].source");
    error("", "<disk type='network'><target dev='vda'/></disk>", Missing, "devices.disk[vda].source");
    let volume = "<disk type='volume'><source volume='v'/><target dev='vda'/></disk>";
    error("", volume, Missing, "devices.disk[vda].source");
    fine("", "<disk device='cdrom'><target dev='sda' bus='sata'/></disk>");
    let tune = "<iotune><total_iops_sec>1</total_iops_sec><read_iops_sec>1</read_iops_sec></iotune>";
    error("", &disk("vda", "virtio", tune), Conflict, "devices.disk[vda].iotune");
}

#[test]
fn two_devices_are_not_in_one_place() {
    error(
        "",
        &(disk("vda", "virtio", &pci(5, 0, "")) + &nic(&pci(5, 0, ""))),
        Duplicate,
        "devices.interface[0].address",
    );
    fine("", &(nic(&pci(5, 0, "")) + &nic(&pci(5, 1, ""))));
    let single = nic(&pci(5, 0, "multifunction='off'")) + &nic(&pci(5, 1, ""));
    error("", &single, Conflict, "devices.interface[0].address.multifunction");
    fine("", &nic(&pci(1, 1, "")));
    let usb = |bus: u8, name: &str| disk(name, "usb", &format!("<address type='usb' bus='{bus}' port='1'/>"));
    let controller = "<controller type='usb' index='0' model='qemu-xhci'/>";
    error("", &format!("{controller}{}{}", usb(0, "sda"), usb(0, "sdb")), Duplicate, "devices.disk[sdb].address");
    error("", &format!("{controller}{}", usb(3, "sda")), Undefined, "devices.disk[sda].address.bus");
    fine("", &usb(0, "sda"));
    let channel = |name: &str, port: u8| {
        let address = format!("<address type='virtio-serial' controller='0' bus='0' port='{port}'/>");
        format!("<channel type='unix'><target type='virtio' name='{name}'/>{address}</channel>")
    };
    error("", &(channel("a", 1) + &channel("b", 1)), Duplicate, "devices.channel[b].address");
    fine("", &(channel("a", 0) + &channel("b", 0)));
}

#[test]
fn each_turn_in_the_boot_order_is_taken_once() {
    let boot = |order: u8| format!("<boot order='{order}'/>");
    error("", &(disk("vda", "virtio", &boot(1)) + &nic(&boot(1))), Duplicate, "devices.interface[0].boot.order");
    fine("", &(disk("vda", "virtio", &boot(1)) + &nic(&boot(7))));
    let mut mixed = machine("", &disk("vda", "virtio", &boot(1)));
    mixed.os.as_mut().expect("has one").boot.push(kvm_xml::domain::BootDevice::default());
    only(&mixed.validate(&not_looked), Severity::Error, Conflict, "os.boot");
}

#[test]
fn aliases_and_acpi_indexes_are_unique() {
    let alias = |name: &str| format!("<alias name='{name}'/>");
    error(
        "",
        &(disk("vda", "virtio", &alias("ua-a")) + &nic(&alias("ua-a"))),
        Duplicate,
        "devices.interface[0].alias.name",
    );
    fine("", &(disk("vda", "virtio", &alias("a")) + &nic(&alias("a"))));
    error("", &(nic("<acpi index='4'/>") + &nic("<acpi index='4'/>")), Duplicate, "devices.interface[1].acpi.index");
}

#[test]
fn interfaces_have_an_address_of_their_own_and_lead_somewhere() {
    let mac = |address: &str| nic(&format!("<mac address='{address}'/>"));
    let (a, group) = ("52:54:00:00:00:01", "53:54:00:00:00:01");
    warning("", &(mac(a) + &mac(a)), Duplicate, &format!("devices.interface[{a}].mac.address"));
    error("", &mac(group), Conflict, &format!("devices.interface[{group}].mac.address"));
    for (kind, field) in [("network", "network"), ("bridge", "bridge"), ("direct", "dev")] {
        let path = format!("devices.interface[0].source.{field}");
        error("", &format!("<interface type='{kind}'/>"), Missing, &path);
        error("", &format!("<interface type='{kind}'><source/></interface>"), Missing, &path);
    }
}

#[test]
fn controllers_are_numbered() {
    let two = "<controller type='scsi' index='1'/><controller type='scsi' index='1'/>";
    error("", two, Duplicate, "devices.controller[scsi:1].index");
    fine(
        "",
        "<controller type='scsi' index='0'/><controller type='scsi' index='4'/><controller type='usb' index='0'/>",
    );
    let companions = "<controller type='usb' index='0' model='ich9-ehci1'/><controller type='usb' index='0' \
        model='ich9-uhci1'><master startport='0'/></controller>";
    fine("", companions);
    let off = "<controller type='usb' index='0' model='none'/>";
    error("", &format!("{off}<input type='tablet' bus='usb'/>"), Undefined, "devices.input[0]");
    error("", &format!("{off}{}", disk("sda", "usb", "")), Undefined, "devices.disk[sda]");
    fine("", off);
}

#[test]
fn some_devices_are_there_once() {
    for (device, path) in [
        ("<graphics type='vnc'/>", "devices.graphics[vnc].type"),
        ("<filesystem><source dir='/a'/><target dir='x'/></filesystem>", "devices.filesystem[x].target.dir"),
        ("<channel><target type='virtio' name='a'/></channel>", "devices.channel[a].target.name"),
        ("<serial type='pty'><target port='1'/></serial>", "devices.serial[1].target.port"),
        ("<tpm model='tpm-crb'><backend type='emulator'/></tpm>", "devices.tpm[1]"),
        (
            "<hostdev type='usb'><source><vendor id='1'/><product id='2'/></source></hostdev>",
            "devices.hostdev[usb:0001:0002].source",
        ),
    ] {
        error("", &device.repeat(2), Duplicate, path);
        fine("", device);
    }
    error("", "<vsock><cid address='2'/></vsock>", OutOfRange, "devices.vsock.cid.address");
}

#[test]
fn cpus_are_as_many_as_there_are() {
    let mut more = machine("", "");
    more.vcpu.as_mut().expect("has one").current = Some(5);
    only(&more.validate(&not_looked), Severity::Error, OutOfRange, "vcpu.current");
    error("<vcpus><vcpu id='9' enabled='yes'/></vcpus>", "", OutOfRange, "vcpus.vcpu[9]");
    error("<cpu><topology sockets='1' cores='3' threads='1'/></cpu>", "", Conflict, "cpu.topology");
    fine("<cpu><topology sockets='1' dies='2' cores='2' threads='1'/></cpu>", "");
    error("<cpu><feature name='vmx'/><feature name='vmx'/></cpu>", "", Duplicate, "cpu.feature[vmx]");
}

#[test]
fn pins_are_for_cpus_and_threads_that_are_there() {
    let tune = |inner: &str| format!("<iothreads>2</iothreads><cputune>{inner}</cputune>");
    warning(&tune("<vcpupin vcpu='7' cpuset='0'/>"), "", Ignored, "cputune.vcpupin[7]");
    error(&tune(&"<vcpupin vcpu='1' cpuset='0'/>".repeat(2)), "", Duplicate, "cputune.vcpupin[1]");
    error(&tune("<vcpusched vcpus='2-7' scheduler='batch'/>"), "", Undefined, "cputune.vcpusched[2-7]");
    let overlap = "<vcpusched vcpus='1' scheduler='batch'/><vcpusched vcpus='0-2' scheduler='batch'/>";
    error(&tune(overlap), "", Duplicate, "cputune.vcpusched[0-2]");
    error(&tune("<iothreadpin iothread='5' cpuset='0'/>"), "", Undefined, "cputune.iothreadpin[5]");
    error(&tune(&"<iothreadpin iothread='2' cpuset='0'/>".repeat(2)), "", Duplicate, "cputune.iothreadpin[2]");
    error(&tune("<iothreadsched iothreads='1-5' scheduler='batch'/>"), "", Undefined, "cputune.iothreadsched[1-5]");
    fine(&tune("<iothreadpin iothread='2' cpuset='0'/><iothreadsched iothreads='1-2' scheduler='batch'/>"), "");
}

#[test]
fn io_threads_are_defined_once_before_they_are_used() {
    let ids = |ids: &str| format!("<iothreads>2</iothreads><iothreadids>{ids}</iothreadids>");
    error(&ids("<iothread id='3'/><iothread id='3'/>"), "", Duplicate, "iothreadids.iothread[3]");
    error(&ids("<iothread id='0'/>"), "", OutOfRange, "iothreadids.iothread[0]");
    let disk = |id: u8| format!("<disk><driver iothread='{id}'/><source file='/a'/><target dev='vda'/></disk>");
    error("", &disk(1), Undefined, "devices.disk[vda].driver.iothread");
    error("<iothreads>2</iothreads>", &disk(4), Undefined, "devices.disk[vda].driver.iothread");
    fine("<iothreads>2</iothreads>", &disk(2));
    let controller = "<controller type='scsi' index='0'><driver iothread='4'/></controller>";
    error("", controller, Undefined, "devices.controller[scsi:0].driver.iothread");
}

#[test]
fn numa_cells_hold_each_cpu_once_and_all_memory() {
    let numa = |cells: &str| format!("<cpu><numa>{cells}</numa></cpu>");
    let cell = |id: u8, cpus: &str| format!("<cell id='{id}' cpus='{cpus}' memory='131072'/>");
    fine(&numa(&(cell(0, "0-1") + &cell(1, "2-3"))), "");
    error(&numa(&(cell(0, "0-1") + &cell(1, "2-5"))), "", OutOfRange, "cpu.numa");
    warning(&numa(&(cell(0, "0-1") + &cell(1, "2"))), "", OutOfRange, "cpu.numa");
    error(&numa(&(cell(0, "0-2") + &cell(1, "2-3"))), "", Duplicate, "cpu.numa.cell[1].cpus");
    error(&numa(&(cell(0, "0-1") + &cell(0, "2-3"))), "", Duplicate, "cpu.numa.cell[0]");
    error(&numa(&(cell(0, "0-1") + &cell(2, "2-3"))), "", OutOfRange, "cpu.numa.cell[2]");
    warning(&numa(&cell(0, "0-3")), "", Ignored, "memory");
    let tune = "<numatune><memnode cellid='4' mode='strict' nodeset='0'/></numatune>";
    error(&format!("{tune}{}", numa(&(cell(0, "0-1") + &cell(1, "2-3")))), "", Undefined, "numatune.memnode[4]");
}

#[test]
fn memory_fits_its_bounds() {
    warning("<currentMemory>362144</currentMemory>", "", OutOfRange, "current_memory");
    error("<maxMemory slots='1'>1024</maxMemory>", "", OutOfRange, "max_memory");
    let numa = "<cpu><numa><cell id='0' cpus='0-3' memory='262144'/></numa></cpu>";
    let dimm =
        |node: u8| format!("<memory model='dimm'><target><size>131072</size><node>{node}</node></target></memory>");
    let most = |slots: u8| format!("<maxMemory slots='{slots}'>1048576</maxMemory>{numa}");
    error(numa, &dimm(0), Missing, "max_memory");
    error(&most(1), &dimm(0).repeat(2), OutOfRange, "max_memory.slots");
    error(&most(2), &dimm(3), Undefined, "devices.memory[0].target.node");
    fine(&most(2), &dimm(0).repeat(2));
}

#[test]
fn what_the_host_does_not_have_is_asked_for() {
    let uuid = "6f1c1a40-5b0e-4c3c-9d3b-0d6f7d1f4b7a";
    let devices = format!(
        "<disk type='volume'><source pool='fast' volume='a'/><target dev='vda'/>\
         <encryption format='luks'><secret type='passphrase' uuid='{uuid}'/></encryption></disk>\
         <disk type='network'><source protocol='rbd' name='p/i'><auth username='u'><secret type='ceph' usage='c'/></auth></source>\
         <target dev='vdb'/></disk>\
         <interface type='network'><source network='lan'/><filterref filter='clean'/></interface>\
         <tpm><backend type='emulator'><encryption secret='{uuid}'/></backend></tpm>"
    );
    let paths = |look: &dyn Fn(Reference<'_>) -> Presence| -> Vec<String> {
        let problems = machine("", &devices).validate(look);
        assert!(problems.iter().all(|problem| problem.kind == Unknown && problem.severity == Severity::Error));
        problems.into_iter().map(|problem| problem.path).collect()
    };
    let rest = [
        "devices.disk[vda].encryption.secret",
        "devices.disk[vdb].source.auth.secret",
        "devices.tpm[0].backend.encryption",
        "devices.interface[0].source.network",
        "devices.interface[0].filterref.filter",
    ];
    let with = |first: &'static str| [&[first][..], &rest].concat();
    assert_eq!(paths(&|_| Presence::Absent), with("devices.disk[vda].source.pool"));
    let only_the_pool = |reference: Reference<'_>| match reference {
        Reference::Pool("fast") => Presence::There,
        _ => Presence::Absent,
    };
    assert_eq!(paths(&only_the_pool), with("devices.disk[vda].source.volume"));
    assert_eq!(paths(&|_| Presence::There), [] as [&str; 0]);
    assert_eq!(paths(&not_looked), [] as [&str; 0]);
}

fn network(inner: &str) -> Vec<Problem> {
    Network::from_xml(&format!("<network><name>n</name>{inner}</network>")).expect("well-formed").validate()
}

fn dhcp(inner: &str) -> Vec<Problem> {
    network(&format!("<ip address='192.0.2.1' netmask='255.255.255.0'><dhcp>{inner}</dhcp></ip>"))
}

#[test]
fn dhcp_ranges_lie_in_the_network() {
    let range = |start: &str, end: &str| format!("<range start='192.0.{start}' end='192.0.{end}'/>");
    let path = |start: &str| format!("ip[192.0.2.1].dhcp.range[192.0.{start}]");
    assert_eq!(dhcp(&(range("2.10", "2.20") + &range("2.21", "2.254"))), []);
    for (start, end) in [("3.10", "3.20"), ("2.10", "3.20"), ("2.20", "2.10"), ("2.0", "2.1"), ("2.9", "2.255")] {
        let problems = dhcp(&range(start, end));
        only(problems.get(..1).unwrap_or_default(), Severity::Error, OutOfRange, &path(start));
    }
    only(&dhcp("<range start='192.0.2.4'/>"), Severity::Error, Missing, &path("2.4"));
    only(&dhcp(&(range("2.10", "2.20") + &range("2.15", "2.30"))), Severity::Warning, Duplicate, &path("2.15"));
    only(&dhcp(&range("2.1", "2.30")), Severity::Warning, Conflict, &path("2.1"));
}

#[test]
fn dhcp_hosts_are_told_apart() {
    let host =
        |mac: u8, name: &str, ip: &str| format!("<host mac='52:54:00:00:00:{mac:02x}' name='{name}' ip='192.0.{ip}'/>");
    let path = |mac: u8, field: &str| format!("ip[192.0.2.1].dhcp.host[52:54:00:00:00:{mac:02x}].{field}");
    let a = host(1, "a", "2.5");
    assert_eq!(dhcp(&(a.clone() + &host(2, "b", "2.6"))), []);
    for (other, field, mac) in
        [(host(1, "b", "2.6"), "mac", 1), (host(2, "a", "2.6"), "name", 2), (host(2, "b", "2.5"), "ip", 2)]
    {
        only(&dhcp(&(a.clone() + &other)), Severity::Warning, Duplicate, &path(mac, field));
    }
    only(&dhcp(&host(1, "a", "3.5")), Severity::Warning, OutOfRange, &path(1, "ip"));
    only(&dhcp(&host(1, "a", "2.1")), Severity::Warning, Conflict, &path(1, "ip"));
    only(&dhcp("<host ip='192.0.2.4'/>"), Severity::Error, Missing, "ip[192.0.2.1].dhcp.host[0]");
    only(&dhcp("<host name='a'/>"), Severity::Error, Missing, "ip[192.0.2.1].dhcp.host[a].ip");
    let group = dhcp("<host mac='53:54:00:00:00:01' ip='192.0.2.4'/>");
    only(&group, Severity::Error, Conflict, "ip[192.0.2.1].dhcp.host[53:54:00:00:00:01].mac");
}

#[test]
fn addresses_of_a_network_fit_together() {
    let ip = |rest: &str| network(&format!("<ip {rest}/>"));
    assert_eq!(ip("address='192.0.2.1' prefix='24'"), []);
    assert_eq!(ip("family='ipv6' address='2001:db8::1' prefix='0'"), []);
    for (rest, kind, path) in [
        ("address='192.0.2.1' prefix='24' netmask='255.255.255.0'", Conflict, "ip[192.0.2.1].prefix"),
        ("address='192.0.2.1' prefix='64'", OutOfRange, "ip[192.0.2.1].prefix"),
        ("family='ipv6' address='192.0.2.1' prefix='24'", Conflict, "ip[192.0.2.1].family"),
        ("family='ipv6' address='2001:db8::1' netmask='255.255.255.0'", Conflict, "ip[2001:db8::1].netmask"),
    ] {
        only(&ip(rest), Severity::Error, kind, path);
    }
    only(&ip("address='192.0.2.1' netmask='255.0.255.0'"), Severity::Warning, Conflict, "ip[192.0.2.1].netmask");
    let with_dhcp = |address: &str| format!("<ip address='{address}' prefix='24'><dhcp/></ip>");
    let two = network(&(with_dhcp("192.0.2.1") + &with_dhcp("198.51.100.1")));
    only(&two, Severity::Error, Duplicate, "ip[198.51.100.1].dhcp");
    let route = |gateway: &str| {
        network(&format!("<ip address='192.0.2.1' prefix='24'/><route address='10.0.0.0' prefix='8' {gateway}/>"))
    };
    assert_eq!(route("gateway='192.0.2.9'"), []);
    only(&route("gateway='198.51.100.1'"), Severity::Error, OutOfRange, "route[10.0.0.0:8].gateway");
    only(&route(""), Severity::Error, Missing, "route[10.0.0.0:8].gateway");
}

#[test]
fn a_network_forwards_in_one_way() {
    let ip = "<ip address='192.0.2.1' prefix='24'/>";
    for (inner, kind, path) in [
        ("<forward mode='nat'/>".to_owned(), Missing, "ip"),
        (format!("<forward mode='bridge'/><bridge name='br0'/>{ip}"), Conflict, "ip"),
        (format!("<forward mode='hostdev'/>{ip}"), Conflict, "ip"),
        ("<forward mode='bridge' dev='eth0'/><bridge name='br0'/>".to_owned(), Conflict, "bridge.name"),
        (
            "<forward mode='bridge'><interface dev='a'/><interface dev='a'/></forward>".to_owned(),
            Duplicate,
            "forward.interface[a]",
        ),
        (
            format!("<forward><nat><address start='10.0.0.9' end='10.0.0.1'/></nat></forward>{ip}"),
            OutOfRange,
            "forward.nat.address",
        ),
        (format!("<forward><nat><port start='9' end='1'/></nat></forward>{ip}"), OutOfRange, "forward.nat.port"),
        ("<portgroup name='a'/><portgroup name='a'/>".to_owned(), Duplicate, "portgroup[a]"),
        (
            "<portgroup name='a' default='yes'/><portgroup name='b' default='yes'/>".to_owned(),
            Duplicate,
            "portgroup[b].default",
        ),
    ] {
        only(&network(&inner), Severity::Error, kind, path);
    }
    only(&Network::default().validate(), Severity::Error, Missing, "name");
}

#[test]
fn a_pool_has_what_its_type_needs() {
    let pool = |text: &str| StoragePool::from_xml(text).expect("well-formed").validate();
    assert_eq!(pool("<pool type='dir'><name>p</name><target><path>/p</path></target></pool>"), []);
    assert_eq!(pool("<pool type='logical'><source><name>vg</name></source></pool>"), []);
    let target = "<target><path>/p</path></target>";
    for (text, path) in [
        ("<pool/>".to_owned(), "type"),
        (format!("<pool type='dir'>{target}</pool>"), "name"),
        ("<pool type='dir'><name>p</name></pool>".to_owned(), "target.path"),
        (format!("<pool type='netfs'><name>p</name><source><dir path='/e'/></source>{target}</pool>"), "source.host"),
        (format!("<pool type='netfs'><name>p</name><source><host name='h'/></source>{target}</pool>"), "source.dir"),
        (format!("<pool type='fs'><name>p</name>{target}</pool>"), "source.device"),
        ("<pool type='rbd'><name>p</name></pool>".to_owned(), "source.name"),
    ] {
        only(&pool(&text), Severity::Error, Missing, path);
    }
    let relative = "<pool type='dir'><name>p</name><target><path>p</path></target></pool>";
    only(&pool(relative), Severity::Warning, Name, "target.path");
}
