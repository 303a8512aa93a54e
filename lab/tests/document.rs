//! A machine's document is read, changed and stored, and libvirt and QEMU say the same about it as we do.

use kvm_core::{Entropy, Existing, Keep, PowerAction, SystemEntropy, View, VmRef};
use kvm_lab::{LabHost, on_a_host};
use kvm_xml::domain::{Disk, DiskBus, DiskFormat, Interface};
use kvm_xml::value::{DiskName, Memory, Unit};
use kvm_xml::{Document, Domain, Severity, diff, not_looked};

/// A machine without disks, as the host runs it.
fn small(name: &str) -> Domain {
    Domain::of_type(kvm_xml::domain::DomainType::Qemu, name).memory(Memory::new(64, Unit::MiB)).vcpus(2)
}

#[test]
fn a_disk_is_added_to_the_document_of_a_running_machine() {
    on_a_host(async |host| {
        let name = host.unique("document");
        let volume = |stem: &str| format!("{name}-{stem}.qcow2");
        for stem in ["a", "b"] {
            host.virsh(&["vol-create-as", "default", &volume(stem), "8M", "--format", "qcow2"]).await;
        }
        let image = |stem: &str| format!("/var/lib/libvirt/images/{}", volume(stem));
        let first = Disk::file(DiskName::nth(DiskBus::Virtio, 0), image("a"), DiskFormat::Qcow2);
        let machine = Domain { uuid: Some(SystemEntropy.uuid()), ..small(&name) };
        let machine = machine.disk(first).interface(Interface::network("default"));
        assert_eq!(machine.validate(&not_looked), []);
        let hypervisor = host.open().await.hypervisor;
        let id = hypervisor.define(&machine, Existing::Reject).await.unwrap();
        hypervisor.power(&id, PowerAction::StartPaused).await.unwrap();

        let vm = hypervisor.find(&VmRef::Id(id)).await.unwrap();
        let live = hypervisor.definition(&vm.id, View::LIVE).await.unwrap();
        let before = hypervisor.definition(&vm.id, View::CONFIG.with_secrets()).await.unwrap();
        let target = DiskName::free(DiskBus::Virtio, [&live, &before]);
        assert_eq!(target.as_str(), "vdb");
        let after = before.clone().disk(Disk::file(target, image("b"), DiskFormat::Qcow2));
        let changes = diff(&before, &after);
        assert!(changes.len() == 1 && changes[0].path == "devices.disk[vdb]", "{changes:?}");
        hypervisor.define(&after, Existing::Replace).await.unwrap();

        let stored = hypervisor.definition(&vm.id, View::CONFIG.with_secrets()).await.unwrap();
        let added: Vec<_> = diff(&after, &stored).into_iter().map(|change| change.path).collect();
        assert_eq!(added, ["devices.disk[vdb].address"], "libvirt has chosen an address and nothing else");
        assert_eq!(stored.validate(&not_looked), []);
        assert_eq!(Domain::from_xml(&stored.canonical()), Ok(stored));
        // The machine starts with it.
        hypervisor.power(&id, PowerAction::PowerOff).await.unwrap();
        hypervisor.power(&id, PowerAction::StartPaused).await.unwrap();
        let live = hypervisor.definition(&vm.id, View::LIVE).await.unwrap();
        assert_eq!(live.disks().len(), 2);
        assert_eq!(live.validate(&not_looked), []);
    });
}

/// Whether libvirt defines the document; it is gone afterwards.
async fn is_taken(host: &LabHost, document: &Domain) -> bool {
    let hypervisor = host.open().await.hypervisor;
    match hypervisor.define(document, Existing::Reject).await {
        Ok(id) => {
            hypervisor.undefine(&id, Keep::NOTHING).await.unwrap();
            true
        }
        Err(_) => false,
    }
}

#[test]
fn what_validation_calls_an_error_libvirt_refuses() {
    on_a_host(async |host| {
        let disk = |name: &str, bus: &str, inner: &str| {
            format!("<disk type='file'><source file='/{name}'/><target dev='{name}' bus='{bus}'/>{inner}</disk>")
        };
        let nic = |inner: &str| format!("<interface type='user'>{inner}</interface>");
        let pci = "<address type='pci' domain='0' bus='0' slot='5' function='0'/>";
        let boot = "<boot order='1'/>";
        let thread = "<driver name='qemu' type='raw' iothread='4'/>";
        for (top, devices) in [
            ("", String::new()),
            ("", disk("vda", "virtio", "") + &disk("vda", "virtio", "")),
            ("", disk("vda", "virtio", "") + &disk("vdb", "virtio", "")),
            ("", disk("vda", "sata", "") + &disk("sda", "sata", "")),
            ("", disk("vda", "virtio", pci) + &nic(pci)),
            ("", disk("vda", "virtio", boot) + &nic(boot)),
            ("", disk("vda", "virtio", thread)),
            ("<iothreads>4</iothreads>", disk("vda", "virtio", thread)),
            ("", disk("fda", "virtio", "")),
            ("", disk("vda1", "virtio", "")),
            ("", nic("<alias name='ua-a'/>") + &nic("<alias name='ua-a'/>")),
            ("", nic("<mac address='53:54:00:00:00:01'/>")),
            ("", "<controller type='scsi' index='0'/>".repeat(2)),
            ("<cpu><topology sockets='1' cores='3' threads='1'/></cpu>", String::new()),
            ("<cpu><numa><cell id='0' cpus='0-5' memory='65536'/></numa></cpu>", String::new()),
            ("<cputune><vcpupin vcpu='1' cpuset='0'/><vcpupin vcpu='1' cpuset='0'/></cputune>", String::new()),
        ] {
            let document = small(&host.unique("checked")).to_xml();
            let document = document.replace("</domain>", &format!("{top}<devices>{devices}</devices></domain>"));
            let document = Domain { uuid: Some(SystemEntropy.uuid()), ..Domain::from_xml(&document).unwrap() };
            let problems = document.validate(&not_looked);
            let is_fine = problems.iter().all(|problem| problem.severity < Severity::Error);
            assert_eq!(is_taken(host, &document).await, is_fine, "{problems:?}\n{}", document.to_xml());
        }
    });
}
