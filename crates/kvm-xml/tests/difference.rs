//! Differences are named as libvirt's documentation names things.

use kvm_xml::{Document, Domain, diff};

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
        ["devices.disk[0].device: tape -> drum", "devices.new: x -> y", ": removed <future a='1'/>"]
    );
}

#[test]
fn secrets_are_not_shown() {
    let vnc = |passwd: &str| format!("<devices><graphics type='vnc' passwd='{passwd}'/></devices>");
    assert_eq!(changes(&vnc("one"), &vnc("two")), ["devices.graphics[vnc].passwd: *** -> ***"]);
    assert_eq!(changes("<devices/>", &vnc("two")), ["devices.graphics[vnc]: added type=vnc, passwd=***"]);
}
