//! What is written here is read here, and by programs that everybody has.

use std::cell::Cell;
use std::fs::File;

use kvm_archive::{
    Adapter, Appliance, ApplianceDisk, ApplianceFirmware, ApplianceNic, BundleImage, Controller, GuestSystem, Machine,
    Package, unwatched, write_bundle, write_ova,
};
use kvm_core::{Bytes, Error, ErrorKind};
use kvm_image::{Disk, Expect, Format, check, inspect};

use crate::build::Desk;

fn disk_bytes(seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; 3 << 20];
    bytes[100_000..400_000].iter_mut().zip(0_u32..).for_each(|(byte, i)| *byte = seed ^ (i / 17) as u8);
    *bytes.last_mut().unwrap() = seed;
    bytes
}

fn appliance(disks: &[Vec<u8>]) -> Appliance {
    let disk = |bytes: &Vec<u8>| ApplianceDisk {
        capacity: Bytes::new(bytes.len() as u64),
        controller: Controller::Scsi,
        file: None,
    };
    Appliance {
        name: Some("web".into()),
        description: None,
        system: GuestSystem::Linux,
        vcpus: 2,
        memory: Bytes::from_mib(512),
        firmware: ApplianceFirmware::Uefi,
        disks: disks.iter().map(disk).collect(),
        nics: vec![ApplianceNic { network: Some("default".into()), adapter: Adapter::Paravirtual }],
        left: Vec::new(),
    }
}

/// What a guest would see of an image.
fn seen(image: &dyn kvm_image::ReadAt, format: Format) -> Vec<u8> {
    assert_eq!(check(&inspect(image).unwrap(), &Expect::format(format)).unwrap(), format);
    let mut disk = Disk::open(image, format).unwrap();
    let mut bytes = vec![0; disk.size().get() as usize];
    disk.read(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn an_appliance_is_read_as_it_was_written() {
    let desk = Desk::new();
    let (path, disks) = (desk.dir.path().join("web.ova"), [disk_bytes(1), disk_bytes(2)]);
    let mut opened: Vec<_> = disks.iter().map(|bytes| Disk::open(bytes, Format::Raw).unwrap()).collect();
    let out = File::create(&path).unwrap();
    write_ova(out, "web", appliance(&disks), &mut opened, &desk.staging(), &mut unwatched).unwrap();
    let package = desk.open(&path).unwrap();
    assert!(package.is_verified());
    let Machine::Appliance(read) = package.machine() else { panic!("{package:?}") };
    assert_eq!((read.vcpus, read.firmware, read.disks.len()), (2, ApplianceFirmware::Uefi, 2));
    for (described, bytes) in read.disks.iter().zip(&disks) {
        let content = package.content(&described.file.as_ref().unwrap().name).unwrap();
        assert!(seen(content, Format::Vmdk) == *bytes);
    }
    // The document is the first member, the manifest the second: so a reader can begin before it has all.
    let mut archive = tar::Archive::new(File::open(&path).unwrap());
    let names: Vec<_> = archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
    assert_eq!(names, ["web.ovf", "web.mf", "web-disk1.vmdk", "web-disk2.vmdk"]);
}

#[test]
fn a_bundle_is_read_as_it_was_written() {
    let desk = Desk::new();
    let (path, bytes) = (desk.dir.path().join("web.tar.zst"), disk_bytes(7));
    let disk = Disk::open(&bytes, Format::Raw).unwrap();
    let mut images = [BundleImage { target: "vda".into(), disk }];
    write_bundle(File::create(&path).unwrap(), "<domain/>", &mut images, &mut unwatched).unwrap();
    let package = desk.open(&path).unwrap();
    assert!(package.is_verified());
    let Machine::Bundle { definition, index } = package.machine() else { panic!("{package:?}") };
    assert_eq!((definition.as_str(), index.disks().len()), ("<domain/>", 1));
    let disk = &index.disks()[0];
    assert_eq!((disk.target.as_str(), disk.capacity), ("vda", Bytes::new(bytes.len() as u64)));
    assert!(seen(package.content(&disk.file).unwrap(), Format::Qcow2) == bytes);
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let desk = Desk::new();
    let (ova, bundle, bytes) = (desk.dir.path().join("a.ova"), desk.dir.path().join("a.tar.zst"), disk_bytes(3));
    let disks = [bytes];
    let mut opened = vec![Disk::open(&disks[0], Format::Raw).unwrap()];
    write_ova(File::create(&ova).unwrap(), "a", appliance(&disks), &mut opened, &desk.staging(), &mut unwatched)
        .unwrap();
    let mut images = [BundleImage { target: "vda".into(), disk: opened.remove(0) }];
    write_bundle(File::create(&bundle).unwrap(), "<domain/>", &mut images, &mut unwatched).unwrap();
    for path in [ova, bundle] {
        let good = std::fs::read(&path).unwrap();
        desk.open_bytes(&good).unwrap();
        for i in 0..200 {
            let mut bad = good.clone();
            let at = i * good.len() / 200;
            bad[at] ^= 1 << (i % 8);
            // What no digest covers, padding and times, may differ: then everything is as it was.
            if let Ok(package) = desk.open_bytes(&bad) {
                assert_eq!(
                    package.machine(),
                    desk.open_bytes(&good).unwrap().machine(),
                    "byte {at} of {}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn who_watches_can_end_it() {
    let desk = Desk::new();
    let (path, disks) = (desk.dir.path().join("web.ova"), [disk_bytes(1)]);
    let stop = || Error::new(ErrorKind::Cancelled, "enough");
    let calls = Cell::new(0);
    let mut watch = |_: &_, done: Bytes, _| {
        calls.set(calls.get() + 1);
        if done > Bytes::new(1000) { Err(stop()) } else { Ok(()) }
    };
    let mut opened = [Disk::open(&disks[0], Format::Raw).unwrap()];
    let out = File::create(&path).unwrap();
    let error = write_ova(out, "web", appliance(&disks), &mut opened, &desk.staging(), &mut watch).unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Cancelled, "enough"));
    let out = File::create(&path).unwrap();
    write_ova(out, "web", appliance(&disks), &mut opened, &desk.staging(), &mut unwatched).unwrap();
    let error = Package::open(&path, &desk.staging(), &mut watch).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(calls.get() >= 2);
}
