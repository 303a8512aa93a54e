//! What is configured and waits for the next start.

use kvm_core::{Host, Result, View, VmSummary};
use kvm_xml::domain::{Channel, CharType, Cpu, CpuModeName, Devices, Disk, Interface, Serial};
use kvm_xml::{Change, Domain, diff};

/// How the configuration of a running machine differs from what runs: before is what runs, after what the next start
/// uses. Empty when nothing waits, and for a machine that is off.
///
/// What a hypervisor adds to a machine only while it runs (names and addresses of devices, ports that it chose, the
/// expanded CPU model) is no difference. `NotFound`.
pub async fn pending(host: &Host, vm: &VmSummary) -> Result<Vec<Change>> {
    if !vm.state.is_active() || !vm.persistent {
        return Ok(Vec::new());
    }
    let mut live = host.hypervisor.definition(&vm.id, View::LIVE).await?;
    let mut config = host.hypervisor.definition(&vm.id, View::CONFIG).await?;
    match &mut config.cpu {
        // The default model, which the live document spells out.
        None => live.cpu = None,
        // The host made a model of it at the start, and will do so again.
        Some(cpu) if matches!(cpu.mode, Some(CpuModeName::HostModel)) => {
            live.cpu.iter_mut().chain([cpu]).for_each(any_model);
        }
        // The live document has what the model implies as well.
        Some(cpu) => {
            if let Some(live) = &mut live.cpu {
                live.feature.retain(|feature| cpu.feature.iter().any(|asked| asked.name == feature.name));
            }
        }
    }
    chosen_ports(&mut live, &config);
    Ok(differences(live, config))
}

/// The differences between two documents of a machine, without what is true of one run only.
pub(crate) fn differences(before: Domain, after: Domain) -> Vec<Change> {
    diff(&comparable(before), &comparable(after))
}

/// The processor without its model.
fn any_model(cpu: &mut Cpu) {
    (cpu.mode, cpu.r#match, cpu.model, cpu.vendor) = (None, None, None, None);
    cpu.feature.clear();
}

/// The document without what is true of one run only.
fn comparable(mut domain: Domain) -> Domain {
    domain.id = None;
    domain.seclabel.clear();
    domain.resource = None;
    domain.vcpus = None;
    if let Some(cpu) = &mut domain.cpu {
        cpu.check = None;
    }
    if let Some(vcpu) = &mut domain.vcpu {
        // All that there are is what is plugged in when nothing is said.
        vcpu.current = vcpu.current.filter(|current| Some(*current) != vcpu.value);
    }
    if let Some(devices) = &mut domain.devices {
        strip(devices);
    }
    domain
}

fn strip(devices: &mut Devices) {
    devices.disk.iter_mut().for_each(disk);
    devices.interface.iter_mut().for_each(interface);
    devices.serial.iter_mut().chain(&mut devices.console).chain(&mut devices.parallel).for_each(serial);
    devices.channel.iter_mut().for_each(channel);
    // Names and places of devices that have nothing else of the kind.
    macro_rules! unplaced {
        ($($list:ident)*) => {$(
            for device in &mut devices.$list {
                device.alias = None;
                device.address = None;
            }
        )*};
    }
    unplaced!(controller filesystem input sound video hostdev redirdev watchdog rng panic shmem tpm memory);
    if let Some(balloon) = &mut devices.memballoon {
        balloon.alias = None;
        balloon.address = None;
    }
}

fn disk(disk: &mut Disk) {
    disk.alias = None;
    disk.address = None;
    disk.backing_store = None;
    disk.mirror = None;
    if let Some(source) = &mut disk.source {
        source.index = None;
    }
}

fn interface(nic: &mut Interface) {
    nic.alias = None;
    nic.address = None;
    // The host's name of it, unless somebody gave it one: those are its own choice.
    nic.target = None;
    if let Some(source) = &mut nic.source {
        source.portid = None;
        if source.network.is_some() {
            source.bridge = None;
        }
    }
}

/// Ports that the host chose because the configuration leaves them open.
fn chosen_ports(live: &mut Domain, config: &Domain) {
    let configured = |kind| config.devices.as_ref()?.graphics.iter().find(|other| other.r#type == kind);
    for graphics in live.devices.iter_mut().flat_map(|devices| &mut devices.graphics) {
        let Some(asked) = configured(graphics.r#type) else { continue };
        let is_open = |port: Option<i32>| port.is_none_or(|port| port < 0);
        let pairs = [
            (&mut graphics.port, asked.port),
            (&mut graphics.tls_port, asked.tls_port),
            (&mut graphics.websocket, asked.websocket),
        ];
        for (port, asked) in pairs {
            if is_open(asked) {
                *port = asked;
            }
        }
    }
}

fn serial(serial: &mut Serial) {
    serial.alias = None;
    serial.address = None;
    serial.tty = None;
    if serial.r#type == Some(CharType::Pty) {
        serial.source.clear();
    }
}

fn channel(channel: &mut Channel) {
    channel.alias = None;
    channel.address = None;
    channel.source.clear();
    if let Some(target) = &mut channel.target {
        target.state = None;
    }
}
