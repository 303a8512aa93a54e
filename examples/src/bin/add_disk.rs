//! Adds a disk to a machine, for its next start: `add_disk [TARGET [NAME [IMAGE]]]`.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example prints")]

use kvm_core::{Existing, Result, View, VmName, VmRef};
use kvm_xml::diff;
use kvm_xml::domain::{Disk, DiskBus, DiskFormat};
use kvm_xml::value::DiskName;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let host = kvm_examples::open(&args.next().unwrap_or_else(|| "mock:///demo".into())).await?;
    let name = VmName::parse(&args.next().unwrap_or_else(|| "db.prod".into()))?;
    let image = args.next().unwrap_or_else(|| "/var/lib/libvirt/images/more.qcow2".into());

    // What runs may have disks that the stored document has not, so the name is free in both.
    let vm = host.hypervisor.find(&VmRef::Name(name)).await?;
    let live = host.hypervisor.definition(&vm.id, View::LIVE).await?;
    let before = host.hypervisor.definition(&vm.id, View::CONFIG.with_secrets()).await?;
    let target = DiskName::free(DiskBus::Virtio, [&live, &before]);
    let after = before.clone().disk(Disk::file(target, image, DiskFormat::Qcow2));
    for change in diff(&before, &after) {
        println!("{change}");
    }
    host.hypervisor.define(&after, Existing::Replace).await?;

    // What the hypervisor made of it: QEMU's chooses an address.
    let stored = host.hypervisor.definition(&vm.id, View::CONFIG.with_secrets()).await?;
    println!("stored: {} disks, {} other differences", stored.disks().len(), diff(&after, &stored).len());
    Ok(())
}
