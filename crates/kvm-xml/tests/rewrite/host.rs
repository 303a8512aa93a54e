//! What belongs to a host: ports, paths, devices, CPU and firmware.

use super::*;
use kvm_xml::DomainCapabilities;
use kvm_xml::domain::{CharType, InterfaceType};
use kvm_xml::rewrite::policy;
use kvm_xml::rewrite::{HostDevice, Refusal};

#[test]
fn ports_of_graphics_are_left_to_libvirt() {
    let read = |domain: &Domain| {
        let graphics = &domain.graphics()[0];
        (graphics.port, graphics.websocket, graphics.autoport.is_some_and(kvm_xml::value::YesNo::is_yes))
    };
    let auto = (Some(-1), Some(-1), true);
    row(read, [auto, auto, (Some(5901), Some(5701), false), auto, auto]);
}

#[test]
fn a_websocket_is_not_added() {
    let domain = machine("<graphics type='vnc' port='5901'/>");
    assert_eq!(copy(&domain, &Policy::CLONE).domain.graphics()[0].websocket, None);
}

#[test]
fn graphics_listen_where_the_target_can() {
    let read = |domain: &Domain| {
        let graphics = &domain.graphics()[0];
        assert_eq!(graphics.listen, graphics.listen_el[0].address);
        graphics.listen.clone().expect("is kept")
    };
    let (here, there) = ("192.0.2.7", "198.51.100.1");
    row(read, [there, there, here, there, there]);
    let nowhere = |policy: &Policy| Facts { listen: Box::new(|_| None), ..facts_for(policy) };
    warned(nowhere, |warning| matches!(warning, Warning::ListenDropped { .. }), [1, 1, 0, 1, 1]);
}

#[test]
fn passwords_are_not_copied_into_another_machine() {
    let read = |domain: &Domain| {
        let graphics = &domain.graphics()[0];
        assert_eq!(graphics.passwd.is_some(), graphics.passwd_valid_to.is_some());
        graphics.passwd.is_some()
    };
    row(read, [false, true, true, true, false]);
    warned(facts_for, |warning| matches!(warning, Warning::PasswordDropped { .. }), [1, 0, 0, 0, 1]);
    let asked = Policy { password: policy::Password::Keep, ..Policy::CLONE };
    assert!(read(&copy(&identity(), &asked).domain));
}

#[test]
fn sockets_that_libvirt_made_are_left_to_it() {
    let path = |domain: &Domain| domain.channels()[0].source[0].path.is_some();
    row(path, [false, false, true, false, false]);
}

#[test]
fn other_paths_are_renamed_in_a_clone_and_dropped_elsewhere() {
    let socket = |domain: &Domain| domain.channels()[1].source[0].path.clone().unwrap_or_default();
    row(socket, ["/run/agents/copy.sock", "", "/run/agents/web.sock", "", ""]);
    let serial = |domain: &Domain| {
        let source = domain.serials()[1].source.first().and_then(|source| source.path.clone());
        (domain.serials()[1].r#type, source.unwrap_or_default())
    };
    let (file, pty) = (Some(CharType::File), (Some(CharType::Pty), String::new()));
    let named = |path: &str| (file, path.to_owned());
    row(serial, [named("/var/log/vm/copy.log"), pty.clone(), named("/var/log/vm/web.log"), pty.clone(), pty]);
    warned(facts_for, |warning| matches!(warning, Warning::Detached { .. }), [0, 1, 0, 1, 1]);
}

#[test]
fn log_files_are_renamed_in_a_clone_and_dropped_elsewhere() {
    let log = |domain: &Domain| domain.serials()[1].log.as_ref().and_then(|log| log.file.clone()).unwrap_or_default();
    row(log, ["/var/log/vm/copy-serial.log", "", "/var/log/vm/web-serial.log", "", ""]);
}

#[test]
fn a_port_that_two_machines_would_listen_on_is_warned_of() {
    let domain = machine("<serial type='tcp'><source mode='bind' host='0.0.0.0' service='4555'/></serial>");
    let port = Warning::HostPort { path: "devices.serial[0]".into(), port: "4555".into() };
    assert!(copy(&domain, &Policy::CLONE).warnings.contains(&port));
    assert!(!copy(&domain, &Policy::MOVE).warnings.iter().any(|warning| matches!(warning, Warning::HostPort { .. })));
}

#[test]
fn what_the_host_serves_is_warned_of() {
    let domain = machine(
        "<filesystem type='mount'><source dir='/srv/share'/><target dir='tag'/></filesystem>
         <interface type='vhostuser'><source type='unix' path='/run/ovs.sock' mode='client'/></interface>",
    );
    let warnings = copy(&domain, &Policy::CLONE).warnings;
    assert_eq!(warnings.iter().filter(|warning| matches!(warning, Warning::HostPath { .. })).count(), 2);
}

#[test]
fn the_vsock_gets_a_free_context() {
    let read = |domain: &Domain| {
        let cid = domain.devices.as_ref().and_then(|devices| devices.vsock.as_ref()?.cid.as_ref()).expect("is kept");
        (cid.address, cid.auto.is_some_and(kvm_xml::value::YesNo::is_yes))
    };
    row(read, [(None, true), (None, true), (Some(42), false), (None, true), (None, true)]);
}

#[test]
fn devices_of_the_host_are_refused_dropped_or_kept_when_the_target_has_none() {
    let domain = identity();
    for (policy, refused) in [(Policy::CLONE, true), (Policy::MOVE, true), (Policy::REPLICA, false)] {
        let mut facts = Facts { host_device: Box::new(|_| Mapped::No), ..facts() };
        match rewrite(&domain, &policy, &mut facts) {
            Err(error) => {
                assert!(refused, "{error}");
                assert_eq!(
                    (error.kind, error.field.as_str()),
                    (Refusal::HostDevice, "devices.hostdev[pci:0000:06:02:0]")
                );
            }
            Ok(copy) => {
                assert!(!refused);
                assert!(copy.domain.hostdevs().is_empty());
                assert_eq!(copy.domain.devices.as_ref().expect("is kept").redirdev.len(), 1, "SPICE brings its own");
                let warned =
                    copy.warnings.iter().filter(|warning| matches!(warning, Warning::HostDeviceDropped { .. }));
                assert_eq!(warned.count(), 4);
                let told = copy.changes.iter().filter(|edit| edit.change.path.starts_with("devices.hostdev["));
                assert_eq!(told.count(), 4, "an alias and three devices");
            }
        }
    }
    let none = |policy: &Policy| Facts { host_device: Box::new(|_| Mapped::No), ..facts_for(policy) };
    let kept = rewrite(&domain, &Policy::RESTORE, &mut none(&Policy::RESTORE)).expect("stays where it is");
    assert_eq!(kept.domain.hostdevs().len(), 3);
    let template = rewrite(&domain, &Policy::TEMPLATE, &mut none(&Policy::TEMPLATE)).expect("drops them");
    assert!(template.domain.hostdevs().is_empty());
}

#[test]
fn a_mapped_device_is_the_targets() {
    let map = |device: HostDevice<'_>| match device {
        HostDevice::Hostdev(device) => {
            let address = device.source.as_mut().and_then(|source| source.address.as_mut());
            address.map_or(Mapped::No, |address| {
                address.bus = Some(9);
                Mapped::Yes
            })
        }
        _ => Mapped::No,
    };
    let drop = Policy { hostdev: policy::HostDevices::Drop, ..Policy::MOVE };
    let copy =
        rewrite(&identity(), &drop, &mut Facts { host_device: Box::new(map), ..facts() }).expect("the rest is dropped");
    let buses: Vec<_> =
        copy.domain.hostdevs().iter().map(|device| device.source.as_ref()?.address.as_ref()?.bus).collect();
    assert_eq!(buses, [Some(9), Some(9)], "the USB device has no address");
    let told: Vec<_> = copy.changes.iter().map(|edit| edit.change.to_string()).collect();
    // A device is known by its address, so another one takes its place.
    for change in ["[pci:0000:06:02:0]: removed", "[pci:0000:09:02:0]: added", "[usb:1234:beef]: removed"] {
        assert!(told.iter().any(|told| told.starts_with(&format!("devices.hostdev{change}"))), "{change}: {told:?}");
    }
}

#[test]
fn devices_of_the_host_are_found_in_every_list() {
    let lists = [
        "<interface type='hostdev'><source><address type='pci' bus='6'/></source></interface>",
        "<disk type='nvme'><source type='pci' namespace='1'><address bus='1'/></source><target dev='vda'/></disk>",
        "<tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>",
        "<input type='evdev'><source dev='/dev/input/event1'/></input>",
        "<hostdev mode='subsystem' type='scsi_host'><source protocol='vhost' wwpn='naa.5123456789abcde0'/></hostdev>",
    ];
    for devices in lists {
        let error =
            refusal(&machine(devices), &Policy::CLONE, &mut Facts { host_device: Box::new(|_| Mapped::No), ..facts() });
        assert_eq!(error.kind, Refusal::HostDevice, "{devices}");
        let drop = Policy { hostdev: policy::HostDevices::Drop, ..Policy::CLONE };
        let mut facts = Facts { host_device: Box::new(|_| Mapped::No), ..facts() };
        let copy = rewrite(&machine(devices), &drop, &mut facts).expect("is dropped");
        assert!(!copy.domain.to_xml().contains("<source"), "{}", copy.domain.to_xml());
    }
}

#[test]
fn an_interface_that_is_dropped_costs_no_address() {
    let domain = machine(
        "<interface type='hostdev'><mac address='52:54:00:00:00:01'/><source><address type='pci' bus='6'/></source></interface>
         <interface type='user'><mac address='52:54:00:00:00:02'/></interface>",
    );
    let drop = Policy { hostdev: policy::HostDevices::Drop, ..Policy::CLONE };
    let copy =
        rewrite(&domain, &drop, &mut Facts { host_device: Box::new(|_| Mapped::No), ..facts() }).expect("is dropped");
    let left: Vec<_> = copy.domain.interfaces().iter().map(|nic| (nic.r#type, nic.mac_address())).collect();
    assert_eq!(left, [(Some(InterfaceType::User), Some(mac(1)))]);
}

/// The target of the test data: x86_64 with KVM, 288 virtual CPUs, `qemu64` but not `Snowridge`.
fn target() -> DomainCapabilities {
    DomainCapabilities::from_xml_strict(&testdata("domain-capabilities.xml")).expect("valid")
}

fn placed(inner: &str) -> Result<Rewritten, RewriteError> {
    let domain = Domain::from_xml(&format!("<domain type='kvm'><name>web</name>{inner}</domain>")).expect("valid");
    let (target, machines) = (target(), ["pc-q35-7.2".to_owned(), "q35".to_owned()]);
    let mut facts =
        Facts { capabilities: Some(&target), machines: Some(&machines), file_exists: Box::new(|_| false), ..facts() };
    rewrite(&domain, &Policy::MOVE, &mut facts)
}

#[test]
fn a_machine_that_the_target_cannot_run_is_refused_by_field() {
    let cases = [
        ("<os><type machine='pc-q35-99.0'>hvm</type></os>", "os.type.machine"),
        ("<os><type arch='aarch64'>hvm</type></os>", "os.type.arch"),
        ("<vcpu>300</vcpu>", "vcpu.value"),
        ("<cpu mode='maximum'/>", "cpu.mode"),
        ("<cpu mode='custom'><model>Snowridge</model></cpu>", "cpu.model.value"),
        ("<cpu><model>Unheard</model></cpu>", "cpu.model.value"),
        ("<os firmware='bios'/>", "os.firmware"),
        ("<os><loader>/nowhere.fd</loader></os>", "os.loader.value"),
    ];
    for (inner, field) in cases {
        let error = placed(inner).expect_err(inner);
        assert_eq!((error.kind, error.field.as_str()), (Refusal::Unsupported, field), "{inner}");
    }
    assert!(
        placed("<cpu mode='custom'><model>Snowridge</model></cpu>").is_err_and(|error| error.problem.contains("mpx"))
    );
}

#[test]
fn a_machine_that_the_target_can_run_is_placed() {
    let cases = [
        "<os><type arch='x86_64' machine='q35'>hvm</type></os>",
        "<vcpu>288</vcpu>",
        "<cpu mode='custom'><model>qemu64</model></cpu>",
        "<os><loader type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader></os>",
    ];
    for inner in cases {
        assert!(placed(inner).is_ok(), "{inner}");
    }
}

#[test]
fn the_hypervisor_has_to_be_there() {
    let domain = Domain::from_xml("<domain type='xen'><name>a</name></domain>").expect("valid");
    let target = target();
    let error = refusal(&domain, &Policy::MOVE, &mut Facts { capabilities: Some(&target), ..facts() });
    assert_eq!((error.kind, error.field.as_str()), (Refusal::Unsupported, "type"));
}

#[test]
fn chosen_firmware_and_the_emulator_are_the_targets() {
    let copy = placed(
        "<os firmware='efi'><loader type='pflash'>/there/CODE.fd</loader><nvram template='/there/VARS.fd'>/nv/web_VARS.fd</nvram></os>
         <devices><emulator>/opt/qemu</emulator></devices>",
    )
    .expect("libvirt chooses");
    let os = copy.domain.os.as_ref().expect("is kept");
    assert_eq!(os.loader.as_ref().and_then(|loader| loader.value.clone()), None);
    let nvram = os.nvram.as_ref().expect("is kept");
    assert_eq!((nvram.template.as_deref(), nvram.value.as_deref()), (None, Some("/nv/web_VARS.fd")));
    let emulator = copy.domain.devices.as_ref().and_then(|devices| devices.emulator.as_deref());
    assert_eq!(emulator, Some("/usr/bin/qemu-system-x86_64"));
}

#[test]
fn the_hosts_cpu_and_an_unknown_target_are_warned_of() {
    let warnings = placed("<cpu mode='host-passthrough'/>").expect("can be run").warnings;
    assert_eq!(warnings, [Warning::HostCpu { path: "cpu.mode".into() }]);
    warned(facts_for, |warning| matches!(warning, Warning::Unchecked { .. }), [1, 1, 0, 1, 0]);
}

#[test]
fn nothing_is_assumed_of_another_host() {
    let mut facts = Facts { uuid: Some(NEW_UUID), genid: Some(NEW_GENID), ..Facts::other_host() };
    assert_eq!(refusal(&identity(), &Policy::REPLICA, &mut facts).kind, Refusal::Unreachable);
    let nic = machine("<interface type='bridge'><source bridge='br0'/></interface>");
    assert_eq!(refusal(&nic, &Policy::MOVE, &mut Facts::other_host()).kind, Refusal::NetworkMissing);
    let screens = machine(
        "<graphics type='vnc' listen='127.0.0.1'/><graphics type='spice' listen='192.0.2.7'/>
         <disk type='file' device='cdrom'><source file='/x.iso'/><target dev='sda'/></disk>",
    );
    let copy = rewrite(&screens, &Policy::MOVE, &mut Facts::other_host()).expect("needs nothing of the host");
    let listens: Vec<_> = copy.domain.graphics().iter().map(|graphics| graphics.listen.as_deref()).collect();
    assert_eq!(listens, [Some("127.0.0.1"), None]);
    assert!(copy.domain.disks()[0].source.is_none());
}

#[test]
fn what_the_target_lacks_is_warned_of() {
    let bare = |policy: &Policy| Facts {
        file_exists: Box::new(|_| false),
        secret_exists: Box::new(|_| false),
        ..facts_for(policy)
    };
    let (policy, mut facts) = (Policy::REPLICA, bare(&Policy::REPLICA));
    let warnings = rewrite(&identity(), &policy, &mut facts).expect("is only warned of").warnings;
    assert!(
        warnings
            .iter()
            .any(|warning| matches!(warning, Warning::FileMissing { path, .. } if path == "os.loader.value"))
    );
    assert!(warnings.iter().any(|warning| matches!(warning, Warning::SecretMissing { .. })));
    assert!(warnings.contains(&Warning::RawArguments { path: "qemu_commandline".into() }));
}
