//! Differences are named as libvirt's documentation names things.

use kvm_xml::{Document, Domain, Network, diff};

fn changes(before: &str, after: &str) -> Vec<String> {
    let domain = |inner: &str| Domain::from_xml(&format!("<domain>{inner}</domain>")).expect("well-formed");
    diff(&domain(before), &domain(after)).iter().map(ToString::to_string).collect()
}

fn disk(name: &str, file: &str) -> String {
    format!("<disk type='file'><source file='{file}'/><target dev='{name}'/></disk>")
}

#[test]
fn a_changed_value_is_named_by_its_path() {
    assert_eq!(changes("<vcpu>2</vcpu>", "<vcpu>4</vcpu>"), ["vcpu.value: 2 -> 4"]);
    assert_eq!(changes("<title>a</title>", ""), ["title: removed a"]);
    assert_eq!(changes("<features/>", "<features><acpi/></features>"), ["features.acpi: added"]);
}

#[test]
fn disks_are_told_apart_by_their_target() {
    let before = format!("<devices>{}{}</devices>", disk("vda", "/a"), disk("vdb", "/b"));
    let after = format!("<devices>{}{}{}</devices>", disk("vdb", "/b2"), disk("vdc", "/c"), disk("vda", "/a"));
    assert_eq!(
        changes(&before, &after),
        [
            "devices.disk[vdb].source.file: /b -> /b2",
            "devices.disk[vdc]: added type=file, source.file=/c, target.dev=vdc"
        ]
    );
}

#[test]
fn interfaces_are_told_apart_by_their_address() {
    let nic = |mac: &str, model: &str| format!("<interface><mac address='{mac}'/><model type='{model}'/></interface>");
    let before =
        format!("<devices>{}{}</devices>", nic("52:54:00:00:00:01", "e1000"), nic("52:54:00:00:00:02", "virtio"));
    let after = format!("<devices>{}</devices>", nic("52:54:00:00:00:02", "e1000e"));
    assert_eq!(
        changes(&before, &after),
        [
            "devices.interface[52:54:00:00:00:01]: removed mac.address=52:54:00:00:00:01, model.type=e1000",
            "devices.interface[52:54:00:00:00:02].model.type: virtio -> e1000e"
        ]
    );
}

#[test]
fn an_empty_text_is_no_text() {
    let before = Domain::from_xml("<domain><cpu><model fallback='allow'/></cpu></domain>").expect("well-formed");
    let mut after = before.clone();
    let model = after.cpu.as_mut().and_then(|cpu| cpu.model.as_mut()).expect("a model");
    model.value = Some(String::new());
    assert_eq!(after, before);
    assert_eq!(diff(&before, &after), []);
}

#[test]
fn lists_without_a_name_go_by_number() {
    let boot = |devices: &[&str]| {
        format!("<os>{}</os>", devices.iter().map(|dev| format!("<boot dev='{dev}'/>")).collect::<String>())
    };
    assert_eq!(changes(&boot(&["hd", "cdrom"]), &boot(&["network", "cdrom"])), ["os.boot[0].dev: hd -> network"]);
    assert_eq!(changes(&boot(&["hd"]), &boot(&["hd", "fd"])), ["os.boot[1]: added dev=fd"]);
}

#[test]
fn spelling_and_order_are_no_difference() {
    let before = "<name>a</name><vcpu>2</vcpu><devices><disk><address domain='0x0000' slot='0x01'/></disk></devices>";
    let after = "<vcpu> 02 </vcpu><devices><disk><address slot='1' domain='0'/></disk></devices><name>a</name>";
    assert_eq!(changes(before, after), [] as [&str; 0]);
}

#[test]
fn unknown_parts_and_values_are_compared_too() {
    let before = "<future a='1'/><devices new='x'><disk device='tape'/></devices>";
    let after = "<devices new='y'><disk device='drum'/></devices>";
    assert_eq!(
        changes(before, after),
        ["devices.disk[0].device: tape -> drum", "devices.new: x -> y", "future: removed <future a='1'/>"]
    );
}

#[test]
fn secrets_are_not_shown() {
    let vnc = |passwd: &str| format!("<devices><graphics type='vnc' passwd='{passwd}'/></devices>");
    assert_eq!(changes(&vnc("one"), &vnc("two")), ["devices.graphics[vnc].passwd: *** -> ***"]);
    assert_eq!(changes("<devices/>", &vnc("two")), ["devices.graphics[vnc]: added type=vnc, passwd=***"]);
}

#[test]
fn one_item_that_is_taken_out_of_the_middle_is_one_removal() {
    let lists: &[(&str, [&str; 3], &str)] = &[
        (
            "devices",
            ["<rng><rate bytes='1'/></rng>", "<rng><rate bytes='2'/></rng>", "<rng><rate bytes='3'/></rng>"],
            "devices.rng[1]",
        ),
        (
            "devices",
            [
                "<controller type='usb' index='0'/>",
                "<controller type='scsi' index='0'/>",
                "<controller type='scsi' index='1'/>",
            ],
            "devices.controller[scsi:0]",
        ),
        (
            "devices",
            [
                "<filesystem><target dir='a'/></filesystem>",
                "<filesystem><target dir='b'/></filesystem>",
                "<filesystem><target dir='c'/></filesystem>",
            ],
            "devices.filesystem[b]",
        ),
        (
            "devices",
            [
                "<channel><target name='a'/></channel>",
                "<channel><target name='b'/></channel>",
                "<channel><target name='c'/></channel>",
            ],
            "devices.channel[b]",
        ),
        (
            "devices",
            [
                "<serial><target port='0'/></serial>",
                "<serial><target port='1'/></serial>",
                "<serial><target port='2'/></serial>",
            ],
            "devices.serial[1]",
        ),
        (
            "devices",
            [
                "<graphics type='vnc' port='5900'/>",
                "<graphics type='vnc' port='5901'/>",
                "<graphics type='vnc' port='5902'/>",
            ],
            "devices.graphics[vnc]",
        ),
        ("os", ["<boot dev='hd'/>", "<boot dev='cdrom'/>", "<boot dev='network'/>"], "os.boot[1]"),
        (
            "cputune",
            ["<vcpupin vcpu='0' cpuset='0'/>", "<vcpupin vcpu='1' cpuset='0'/>", "<vcpupin vcpu='2' cpuset='0'/>"],
            "cputune.vcpupin[1]",
        ),
        ("metadata", ["<a xmlns='urn:a'/>", "<b xmlns='urn:b'/>", "<c xmlns='urn:c'/>"], "metadata[urn:b]"),
        ("devices", ["<future n='1'/>", "<future n='2'/>", "<future n='3'/>"], "devices.future[1]"),
    ];
    for (around, [a, b, c], path) in lists {
        let before = format!("<{around}>{a}{b}{c}</{around}>");
        let after = format!("<{around}>{a}{c}</{around}>");
        let gone = changes(&before, &after);
        assert!(gone.len() == 1 && gone[0].starts_with(&format!("{path}: removed")), "{path}: {gone:?}");
        let come = changes(&after, &before);
        assert!(come.len() == 1 && come[0].starts_with(&format!("{path}: added")), "{path}: {come:?}");
    }
}

#[test]
fn host_devices_are_told_apart_by_where_they_are() {
    let pci = |slot: &str, driver: &str| {
        let address = format!("<address domain='0x0000' bus='0x01' slot='{slot}' function='0x0'/>");
        format!("<hostdev type='pci'><driver name='{driver}'/><source>{address}</source></hostdev>")
    };
    let usb = "<hostdev type='usb'><source><vendor id='0x1234'/><product id='0xabcd'/></source></hostdev>";
    let before = format!("<devices>{}{}{usb}</devices>", pci("0x00", "vfio"), pci("0x10", "vfio"));
    let after = format!("<devices>{}</devices>", pci("0x10", "kvm"));
    let changes = changes(&before, &after);
    assert_eq!(changes[1], "devices.hostdev[pci:0000:01:10:0].driver.name: vfio -> kvm");
    assert!(changes[0].starts_with("devices.hostdev[pci:0000:01:00:0]: removed"), "{changes:?}");
    assert!(changes[2].starts_with("devices.hostdev[usb:1234:abcd]: removed"), "{changes:?}");
}

#[test]
fn dhcp_hosts_without_a_mac_go_by_their_id_or_name() {
    let network = |hosts: &str| {
        let dhcp = format!("<ip family='ipv6' address='2001:db8::1'><dhcp>{hosts}</dhcp></ip>");
        Network::from_xml(&format!("<network>{dhcp}</network>")).expect("well-formed")
    };
    let (a, b) = ("<host name='a' ip='2001:db8::2'/>", "<host id='0:4:7e:7d:f0:7d:a8:bc' name='b' ip='2001:db8::3'/>");
    let lines = diff(&network(&format!("{a}{b}")), &network(b));
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].path, "ip[2001:db8::1].dhcp.host[a]");
    let lines = diff(&network(&format!("{a}{b}")), &network(a));
    assert_eq!(lines[0].path, "ip[2001:db8::1].dhcp.host[0:4:7e:7d:f0:7d:a8:bc]");
}

#[test]
fn metadata_is_compared_by_program_and_part() {
    let app = |inner: &str| {
        format!("<metadata><app:vm xmlns:app='urn:app'>{inner}</app:vm><o:os xmlns:o='urn:os' id='debian'/></metadata>")
    };
    let before = app("<app:tag>a</app:tag>\n  <app:tag>b</app:tag><app:owner since='1'>me</app:owner>");
    let after = app("<app:tag>b</app:tag><app:owner since='2'>you</app:owner><app:new/>");
    assert_eq!(
        changes(&before, &after),
        [
            "metadata[urn:app].app:tag[0]: removed <app:tag>a</app:tag>",
            "metadata[urn:app].app:owner.since: 1 -> 2",
            "metadata[urn:app].app:owner: me -> you",
            "metadata[urn:app].app:new: added <app:new/>",
        ]
    );
    assert_eq!(changes(&before, &before.replace('\n', "")), [] as [&str; 0]);
}

#[test]
fn comments_and_layout_of_unknown_parts_are_no_difference() {
    let before = "<!-- one --><future a='1' b=\"2\"><!-- two --><x>&#65;</x></future><vcpu>many</vcpu>";
    let after = "<future b='2' a='1'>\n  <x><![CDATA[A]]></x>\n</future><vcpu >many</vcpu>";
    assert_eq!(changes(before, after), [] as [&str; 0]);
    assert_eq!(changes("<vcpu>many</vcpu>", "<vcpu>few</vcpu>"), ["vcpu.value: many -> few"]);
}

#[test]
fn each_change_is_one_line() {
    let change = changes("<description>a\nb</description>", "<description>it's \u{202e}c</description>");
    assert_eq!(change, ["description: a\\nb -> it's \\u{202e}c"]);
    let change = changes("<metadata><a xmlns='urn:a'>1\n2</a></metadata>", "<metadata/>");
    assert_eq!(change, ["metadata[urn:a]: removed <a xmlns='urn:a'>1\\n2</a>"]);
}

#[test]
fn unknown_attributes_that_are_called_like_a_password_are_not_shown() {
    let before = "<devices><future password='one'/></devices><new passwd='a'/>";
    let after = "<devices><future password='two'/></devices>";
    assert_eq!(changes(before, after), ["devices.future.password: *** -> ***", "new: removed <new passwd='***'/>"]);
}

#[test]
fn unknown_attributes_beside_a_value_are_compared() {
    assert_eq!(changes("<title a='1'>x</title>", "<title a='2'>x</title>"), ["title.a: 1 -> 2"]);
    assert_eq!(changes("<on_crash a='1'>new</on_crash>", "<on_crash>new</on_crash>"), ["on_crash.a: removed 1"]);
}
