//! What people make by hand, and the names and numbers that are free for it.

use kvm_xml::domain::{
    Channel, Controller, ControllerType, DeviceBoot, Disk, DiskBus, DiskFormat, DomainType, Graphics, Interface, Serial,
};
use kvm_xml::value::{DiskName, Memory, Unit};
use kvm_xml::{Document, Domain, not_looked};
use proptest::prelude::*;

fn named(name: &str) -> DiskName {
    name.parse().expect("a disk name")
}

fn domain(inner: &str) -> Domain {
    Domain::from_xml(&format!("<domain>{inner}</domain>")).expect("well-formed")
}

fn with_disks(disks: &str) -> Domain {
    domain(&format!("<devices>{disks}</devices>"))
}

#[test]
fn a_machine_is_made_in_a_few_lines_and_nothing_is_wrong_with_it() {
    let mut machine = Domain::kvm("web").memory(Memory::new(2, Unit::GiB)).vcpus(2);
    let name = machine.free_target(DiskBus::Virtio);
    machine = machine.disk(Disk { boot: Some(DeviceBoot::turn(1)), ..Disk::file(name, "/a.qcow2", DiskFormat::Qcow2) });
    let name = machine.free_target(DiskBus::Sata);
    machine = machine
        .disk(Disk::cdrom(name, Some("/a.iso".into())).on(DiskBus::Sata))
        .interface(Interface::network("default"));
    machine.devices_mut().graphics.push(Graphics::vnc());
    machine.devices_mut().serial.push(Serial::pty());
    machine.devices_mut().channel.push(Channel::guest_agent());
    assert_eq!(machine.validate(&not_looked), []);
    assert_eq!(
        machine.to_xml(),
        "<domain type='kvm'>
  <name>web</name>
  <memory unit='GiB'>2</memory>
  <vcpu>2</vcpu>
  <os>
    <type>hvm</type>
  </os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/a.qcow2'/>
      <target dev='vda' bus='virtio'/>
      <boot order='1'/>
    </disk>
    <disk type='file' device='cdrom'>
      <driver name='qemu' type='raw'/>
      <source file='/a.iso'/>
      <target dev='sda' bus='sata'/>
      <readonly/>
    </disk>
    <interface type='network'>
      <source network='default'/>
      <model type='virtio'/>
    </interface>
    <serial type='pty'/>
    <channel type='unix'>
      <target type='virtio' name='org.qemu.guest_agent.0'/>
    </channel>
    <graphics type='vnc' autoport='yes' listen='127.0.0.1'/>
  </devices>
</domain>
"
    );
    assert_eq!(Domain::from_xml_strict(&machine.to_xml()), Ok(machine));
}

#[test]
fn disks_and_interfaces_say_where_they_lead() {
    let block = Disk::block(named("vdb"), "/dev/sdx").to_xml();
    assert!(block.contains("type='block'") && block.contains("<source dev='/dev/sdx'/>"), "{block}");
    let volume = Disk::volume(named("sdb"), "fast", "a.img", DiskFormat::Raw).to_xml();
    assert!(volume.contains("<source pool='fast' volume='a.img'/>") && volume.contains("bus='scsi'"), "{volume}");
    let empty = Disk::cdrom(named("sda"), None).to_xml();
    assert!(!empty.contains("<source"), "{empty}");
    assert!(Interface::bridge("br0").to_xml().contains("<source bridge='br0'/>"));
    assert!(Interface::user().to_xml().contains("<interface type='user'>"));
    assert!(Domain::of_type(DomainType::Qemu, "a").to_xml().contains("<domain type='qemu'>"));
}

#[test]
fn names_count_like_letters() {
    let name = |number| DiskName::nth(DiskBus::Virtio, number).to_string();
    assert_eq!([0, 1, 25, 26, 27, 701, 702].map(name), ["vda", "vdb", "vdz", "vdaa", "vdab", "vdzz", "vdaaa"]);
    let buses = [DiskBus::Fdc, DiskBus::Ide, DiskBus::Sata, DiskBus::Scsi, DiskBus::Usb, DiskBus::Xen, DiskBus::Uml];
    assert_eq!(buses.map(|bus| DiskName::nth(bus, 0).to_string()), ["fda", "hda", "sda", "sda", "sda", "xvda", "ubda"]);
    for (name, number, partition) in
        [("vda", Some(0), None), ("vda1", Some(0), Some("1")), ("vd1", None, Some("1")), ("vdA", None, None)]
    {
        assert_eq!((named(name).number(), named(name).partition()), (number, partition), "{name}");
    }
    assert_eq!(named("vdzzzzzzzzzzzzz").number(), None);
    assert_eq!(named("ioemu:hdb").number(), Some(1));
}

#[test]
fn a_free_name_is_the_first_that_no_disk_has() {
    let disks =
        "<disk><target dev='vda'/></disk><disk><target dev='vdc'/></disk><disk><target dev='hda' bus='virtio'/></disk>";
    assert_eq!(with_disks("").free_target(DiskBus::Virtio), named("vda"));
    assert_eq!(with_disks(disks).free_target(DiskBus::Virtio), named("vdb"));
    assert_eq!(with_disks(disks).free_target(DiskBus::Sata), named("sda"));
    let all: String = (0..26)
        .map(|number| format!("<disk><target dev='{}'/></disk>", DiskName::nth(DiskBus::Virtio, number)))
        .collect();
    assert_eq!(with_disks(&all).free_target(DiskBus::Virtio), named("vdaa"));
}

#[test]
fn a_name_is_free_in_the_running_and_the_stored_document() {
    let (live, stored) =
        (with_disks("<disk><target dev='vda'/></disk>"), with_disks("<disk><target dev='vdb'/></disk>"));
    assert_eq!(DiskName::free(DiskBus::Virtio, [&live, &stored]), named("vdc"));
}

#[test]
fn a_name_whose_place_is_taken_is_not_free() {
    // libvirt puts sdb at unit 1, where another disk is.
    let disks =
        "<disk><target dev='sda' bus='sata'/><address type='drive' controller='0' bus='0' target='0' unit='1'/></disk>";
    assert_eq!(with_disks(disks).free_target(DiskBus::Sata), named("sdc"));
    assert_eq!(with_disks(disks).free_target(DiskBus::Scsi), named("sdb"));
    // A disk with a name of another bus stands at its number too.
    assert_eq!(with_disks("<disk><target dev='vda' bus='sata'/></disk>").free_target(DiskBus::Sata), named("sdb"));
}

#[test]
fn free_numbers_are_the_lowest_ones() {
    let controllers = "<controller type='scsi' index='0'/><controller type='scsi' index='2'/><controller type='usb'/>";
    let machine = with_disks(controllers);
    assert_eq!(machine.free_controller_index(ControllerType::Scsi), 1);
    assert_eq!(machine.free_controller_index(ControllerType::Usb), 1);
    assert_eq!(machine.free_controller_index(ControllerType::Sata), 0);
    assert_eq!(Controller::default().index, None);

    let orders = "<disk><boot order='2'/></disk><interface><boot order='7'/></interface>";
    assert_eq!(with_disks(orders).next_boot_order(), 8);
    assert_eq!(Domain::default().next_boot_order(), 1);
}

#[test]
fn threads_without_a_number_have_the_lowest() {
    let threads = domain("<iothreads>4</iothreads><iothreadids><iothread id='2'/><iothread id='9'/></iothreadids>");
    let there: Vec<u32> = (0..12).filter(|id| threads.has_iothread(*id)).collect();
    assert_eq!((there.as_slice(), threads.free_iothread()), (&[1, 2, 3, 9][..], 4));
    assert_eq!(domain("").free_iothread(), 1);
    assert_eq!(domain("<iothreadids><iothread id='1'/></iothreadids>").free_iothread(), 2);
}

proptest! {
    #[test]
    fn numbers_and_names_go_both_ways(number in 0..u32::MAX) {
        prop_assert_eq!(DiskName::nth(DiskBus::Virtio, number).number(), Some(number));
        prop_assert_eq!(DiskName::nth(DiskBus::Xen, number).number(), Some(number));
    }

    #[test]
    fn a_free_thread_is_free_and_all_below_it_are_there(count in 0_u32..9, ids in proptest::collection::vec(1_u32..12, 0..6)) {
        let ids: String = ids.iter().map(|id| format!("<iothread id='{id}'/>")).collect();
        let machine = domain(&format!("<iothreads>{count}</iothreads><iothreadids>{ids}</iothreadids>"));
        let free = machine.free_iothread();
        prop_assert!(!machine.has_iothread(free));
        prop_assert!((1..free).all(|id| machine.has_iothread(id)));
    }
}
