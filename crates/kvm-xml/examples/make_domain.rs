//! Makes a machine from a name, an image and a network, and prints it: `make_domain NAME IMAGE [NETWORK]`.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use kvm_xml::domain::{Channel, DeviceBoot, Disk, DiskBus, DiskFormat, Features, Graphics, Interface, Serial};
use kvm_xml::value::{Memory, Unit};
use kvm_xml::{Document, Domain, not_looked};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), Some(image)) = (arguments.next(), arguments.next()) else {
        eprintln!("make_domain NAME IMAGE [NETWORK]");
        return ExitCode::from(2);
    };
    let network = arguments.next().unwrap_or_else(|| "default".into());

    let mut domain = Domain::kvm(name).memory(Memory::new(2, Unit::GiB)).vcpus(2);
    domain.features = Some(Features { acpi: true, ..Features::default() });
    let target = domain.free_target(DiskBus::Virtio);
    let disk = Disk { boot: Some(DeviceBoot::turn(1)), ..Disk::file(target, image, DiskFormat::Qcow2) };
    domain = domain.disk(disk).interface(Interface::network(network));
    let devices = domain.devices_mut();
    devices.serial.push(Serial::pty());
    devices.channel.push(Channel::guest_agent());
    devices.graphics.push(Graphics::vnc());

    let problems = domain.validate(&not_looked);
    for problem in &problems {
        eprintln!("{problem}");
    }
    print!("{}", domain.to_xml());
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
