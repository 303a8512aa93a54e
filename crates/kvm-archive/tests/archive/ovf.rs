//! Documents of other programs, and our own.

use kvm_archive::{
    Adapter, Appliance, ApplianceDisk, ApplianceFile, ApplianceFirmware, ApplianceNic, Controller, GuestSystem,
    MemberName, read_ovf, write_ovf,
};
use kvm_core::{Bytes, ErrorKind};
use kvm_image::Format;
use proptest::prelude::*;

use crate::build::{one_disk, ovf};

#[test]
fn a_document_of_vmware_is_read() {
    let machine = read_ovf(include_str!("vmware.ovf")).unwrap();
    assert_eq!(machine.name.as_deref(), Some("shop db"));
    assert_eq!(machine.description.as_deref(), Some("Orders & stock"));
    assert_eq!((machine.system, machine.firmware), (GuestSystem::Linux, ApplianceFirmware::UefiSecure));
    assert_eq!((machine.vcpus, machine.memory), (4, Bytes::from_gib(8)), "of the configuration that is the default");
    let disks: Vec<_> = machine.disks.iter().map(|d| (d.controller, d.capacity, d.file.is_some())).collect();
    assert_eq!(disks, [(Controller::Scsi, Bytes::from_gib(40), true), (Controller::Scsi, Bytes::from_gib(100), false)]);
    assert_eq!(machine.disks[0].file.as_ref().unwrap().length, Some(Bytes::new(1_234_944)));
    let nics: Vec<_> = machine.nics.iter().map(|n| (n.network.as_deref(), n.adapter)).collect();
    assert_eq!(nics, [(Some("VM Network"), Adapter::Paravirtual), (Some("backup"), Adapter::E1000e)]);
    assert_eq!(machine.left, ["the medium in CD/DVD drive 1"]);
}

#[test]
fn a_document_of_virtualbox_is_read() {
    let machine = read_ovf(include_str!("virtualbox.ovf")).unwrap();
    assert_eq!((machine.name.as_deref(), machine.system), (Some("desk"), GuestSystem::Windows));
    assert_eq!((machine.vcpus, machine.memory, machine.firmware), (1, Bytes::from_mib(4096), ApplianceFirmware::Uefi));
    let disks: Vec<_> = machine.disks.iter().map(|d| (d.controller, d.capacity)).collect();
    assert_eq!(disks, [(Controller::Sata, Bytes::new(53_687_091_200))]);
    assert_eq!(machine.nics, [ApplianceNic { network: Some("NAT".into()), adapter: Adapter::E1000 }]);
}

#[test]
fn what_cannot_be_meant_is_refused_and_says_why() {
    let disk = |attributes: &str| {
        ovf(
            "<File ovf:id='f' ovf:href='d.vmdk'/>",
            &format!("<Disk ovf:diskId='d' ovf:format='vmdk' {attributes}/>"),
            "<Item><rasd:HostResource>ovf:/disk/d</rasd:HostResource><rasd:InstanceID>3</rasd:InstanceID>\
             <rasd:ResourceType>17</rasd:ResourceType></Item>",
        )
    };
    read_ovf(&disk("ovf:capacity='5' ovf:fileRef='f'")).unwrap();
    for (text, kind) in [
        (disk("ovf:fileRef='f'"), ErrorKind::Corrupt),
        (disk("ovf:capacity='5' ovf:fileRef='gone'"), ErrorKind::Corrupt),
        (disk("ovf:capacity='-5'"), ErrorKind::Corrupt),
        (disk("ovf:capacity='18446744073709551615' ovf:capacityAllocationUnits='byte * 2^30'"), ErrorKind::Corrupt),
        (disk("ovf:capacity='5' ovf:capacityAllocationUnits='furlongs'"), ErrorKind::Corrupt),
        (disk("ovf:capacity='${size}'"), ErrorKind::Corrupt),
        (disk("ovf:capacity='5' ovf:parentRef='x'"), ErrorKind::Unsupported),
        (one_disk().replace("href='d.vmdk'", "href='http://example.org/d.vmdk'"), ErrorKind::Unsupported),
        (one_disk().replace("href='d.vmdk'", "href='d.vmdk' ovf:compression='gzip'"), ErrorKind::Unsupported),
        (one_disk().replace("href='d.vmdk'", "href='d.vmdk' ovf:chunkSize='100'"), ErrorKind::Unsupported),
        (one_disk().replace("href='d.vmdk'", "href='/etc/shadow'"), ErrorKind::InvalidInput),
        (one_disk().replace("vmdk.html", "vhdx.html"), ErrorKind::Unsupported),
        (one_disk().replace("<VirtualSystem ", "<VirtualSystem ovf:id='a'/><VirtualSystem "), ErrorKind::Unsupported),
        ("<Envelope/>".into(), ErrorKind::Unsupported),
        ("<domain/>".into(), ErrorKind::Corrupt),
        (format!("<!DOCTYPE x>{}", one_disk()), ErrorKind::InvalidInput),
        (format!("{}<!--{}-->", one_disk(), "x".repeat(1 << 20)), ErrorKind::InvalidInput),
    ] {
        let error = read_ovf(&text).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}: {}", &text[..text.len().min(2000)]);
        assert_eq!(error.message(), error.to_string());
    }
}

fn appliance() -> impl Strategy<Value = Appliance> {
    let name =
        "[ -~äß&<\"]{1,30}".prop_map(|name| name.trim().to_owned()).prop_filter("blank", |name| !name.is_empty());
    let systems = prop::sample::select(vec![GuestSystem::Linux, GuestSystem::Windows, GuestSystem::Other]);
    let firmwares =
        prop::sample::select(vec![ApplianceFirmware::Bios, ApplianceFirmware::Uefi, ApplianceFirmware::UefiSecure]);
    let file = (1_u64..1 << 40, prop::sample::select(vec![Format::Vmdk, Format::Qcow2, Format::Raw]));
    let disk = (1_u64..1 << 50, 0_u8..4, prop::option::of(file));
    let adapters = prop::sample::select(vec![Adapter::Paravirtual, Adapter::E1000, Adapter::E1000e]);
    let nic = (prop::option::of("[a-z&]{1,9}"), adapters);
    let (disks, nics) = (prop::collection::vec(disk, 0..20), prop::collection::vec(nic, 0..5));
    let machine = (name.clone(), prop::option::of(name), systems, 1_u32..512, 1_u64..1 << 20, firmwares, disks, nics);
    machine.prop_map(|(name, description, system, vcpus, mebibytes, firmware, disks, nics)| {
        let controllers = [Controller::Ide, Controller::Sata, Controller::Scsi, Controller::Nvme];
        let mut disks: Vec<_> = disks
            .into_iter()
            .enumerate()
            .map(|(i, (capacity, controller, file))| ApplianceDisk {
                capacity: Bytes::new(capacity),
                controller: controllers[usize::from(controller)],
                file: file.map(|(length, format)| ApplianceFile {
                    name: MemberName::parse(&format!("disk {i}.img")).unwrap(),
                    format,
                    length: Some(Bytes::new(length)),
                    populated: None,
                }),
            })
            .collect();
        disks.sort_by_key(|disk| controllers.iter().position(|c| *c == disk.controller));
        let nics = nics.into_iter().map(|(network, adapter)| ApplianceNic { network, adapter }).collect();
        let (name, memory) = (Some(name), Bytes::from_mib(mebibytes));
        Appliance { name, description, system, vcpus, memory, firmware, disks, nics, left: Vec::new() }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(machine in appliance()) {
        prop_assert_eq!(read_ovf(&write_ovf(&machine)).unwrap(), machine);
    }

    #[test]
    fn no_text_makes_the_reader_panic(at in 0_usize..3000, text in "[<>/&;='\"a-z0-9]{0,12}") {
        let mut document = include_str!("vmware.ovf").to_owned();
        let mut at = at % document.len();
        while !document.is_char_boundary(at) {
            at -= 1;
        }
        document.insert_str(at, &text);
        let _read_or_refused = read_ovf(&document);
    }
}
