//! What a host is and can do.

use std::collections::BTreeSet;

use kvm_core::{Bytes, Capabilities, Feature, GuestKind, NumaNode, ProcessUser};
use kvm_xml::DomainCapabilities;
use kvm_xml::capabilities::{Cell, GuestArch, Host, Machine};
use kvm_xml::domain_capabilities::EnumValues;

use crate::config::Kind;
use crate::document;
use crate::stats::kibibytes;
use crate::task::{Failure, Task};

/// Reads the capabilities, once for each connection.
pub(crate) fn read(task: &Task<'_>) -> Result<Capabilities, Failure> {
    let known = &task.session().capabilities;
    if let Some(capabilities) = known.get() {
        return Ok(capabilities.clone());
    }
    let capabilities = ask(task)?;
    Ok(known.get_or_init(|| capabilities).clone())
}

fn ask(task: &Task<'_>) -> Result<Capabilities, Failure> {
    let connection = task.connection();
    let doc: kvm_xml::Capabilities = document::read(task, &connection.capabilities()?)?;
    let node = connection.node_info()?;
    let host = doc.host.as_ref();
    let is_test = task.address().kind() == Kind::Test;
    let mut capabilities = Capabilities {
        target: task.address().canonical().into(),
        host_uuid: host.and_then(|host| host.uuid),
        host_name: connection.hostname()?,
        driver: if is_test { "Test".into() } else { connection.driver_type()? },
        // A host without an emulator has none.
        hypervisor_version: connection.hyp_version().ok().and_then(version),
        library_version: version(connection.lib_version()?),
        arch: host.and_then(|host| host.cpu.as_ref()?.arch).map(|arch| arch.to_string()),
        cpus: Some(node.cpus),
        memory: Some(kibibytes(node.memory)),
        guests: doc.guest.iter().flat_map(guest_kinds).collect(),
        numa: host.map(numa).unwrap_or_default(),
        runs_as: host.and_then(runs_as),
        features: if is_test { test_features() } else { qemu_features() },
    };
    if !is_test {
        let more = firmware_features(task, &capabilities);
        capabilities.features.extend(more);
    }
    Ok(capabilities)
}

/// libvirt packs a version as `major * 1000000 + minor * 1000 + release`.
fn version(packed: u32) -> Option<String> {
    (packed > 0).then(|| format!("{}.{}.{}", packed / 1_000_000, packed / 1000 % 1000, packed % 1000))
}

fn numa(host: &Host) -> Vec<NumaNode> {
    let cells = host.topology.iter().filter_map(|topology| topology.cells.as_ref()).flat_map(|cells| &cells.cell);
    let node = |cell: &Cell| {
        let cpus = cell.cpus.iter().flat_map(|cpus| &cpus.cpu).filter_map(|cpu| cpu.id);
        let distances = cell.distances.iter().flat_map(|distances| &distances.sibling);
        Some(NumaNode {
            number: cell.id?,
            memory: cell.memory.as_ref().and_then(|memory| memory.bytes()).map(Bytes::new),
            cpus: cpus.collect(),
            distances: distances.filter_map(|sibling| Some((sibling.id?, sibling.value?))).collect(),
        })
    };
    let mut nodes: Vec<_> = cells.filter_map(node).collect();
    nodes.sort_by_key(|node| node.number);
    nodes
}

/// The label that the driver of Unix permissions gives machines: `+64055:+994`.
fn runs_as(host: &Host) -> Option<ProcessUser> {
    let model = host.secmodel.iter().find(|model| model.model.as_deref() == Some("dac"))?;
    let (user, group) = model.baselabel.iter().find_map(|label| label.value.as_deref()?.split_once(':'))?;
    let number = |text: &str| text.trim().trim_start_matches('+').parse().ok();
    Some(ProcessUser { uid: number(user)?, gid: number(group)? })
}

fn guest_kinds(guest: &kvm_xml::capabilities::Guest) -> Vec<GuestKind> {
    let (Some(os_type), Some(arch)) = (guest.os_type, guest.arch.as_ref()) else { return Vec::new() };
    let Some(name) = arch.name else { return Vec::new() };
    arch.domain
        .iter()
        .filter_map(|domain| {
            // What is said of one hypervisor goes before what is said of the architecture.
            let machines = if domain.machine.is_empty() { &arch.machine } else { &domain.machine };
            Some(GuestKind {
                os_type: os_type.to_string(),
                arch: name.to_string(),
                virt_type: domain.r#type?.to_string(),
                emulator: emulator(arch, domain.emulator.as_ref()),
                machines: machine_names(machines),
                max_vcpus: machines.iter().filter_map(|machine| machine.max_cpus).max(),
            })
        })
        .collect()
}

fn emulator(arch: &GuestArch, own: Option<&String>) -> Option<String> {
    own.or(arch.emulator.as_ref()).cloned()
}

fn machine_names(machines: &[Machine]) -> Vec<String> {
    let names: BTreeSet<_> = machines.iter().flat_map(|m| [&m.value, &m.canonical]).flatten().cloned().collect();
    names.into_iter().collect()
}

fn qemu_features() -> BTreeSet<Feature> {
    [
        Feature::Autostart,
        Feature::ManagedSave,
        Feature::Reset,
        Feature::Statistics,
        Feature::LeaseAddresses,
        Feature::AgentAddresses,
        Feature::ArpAddresses,
        Feature::SerialConsole,
        Feature::Screenshot,
        Feature::Snapshots,
        Feature::Checkpoints,
        Feature::AgentCommands,
        Feature::BlockJobs,
    ]
    .into()
}

/// The test driver makes up addresses, the same for every source; the network's range is at least one that a lease
/// could have come from.
fn test_features() -> BTreeSet<Feature> {
    [
        Feature::Autostart,
        Feature::ManagedSave,
        Feature::Reset,
        Feature::LeaseAddresses,
        Feature::Screenshot,
        Feature::Snapshots,
        Feature::Checkpoints,
    ]
    .into()
}

/// What depends on the files and programs that the host has beside its emulator.
fn firmware_features(task: &Task<'_>, host: &Capabilities) -> Vec<Feature> {
    let Some(guest) = host.arch.as_deref().and_then(|arch| host.best_guest(arch)) else { return Vec::new() };
    let asked = task
        .connection()
        .domain_capabilities(None, Some(&guest.arch), None, Some(&guest.virt_type), 0)
        .map_err(Failure::from)
        .and_then(|xml| document::read::<DomainCapabilities>(task, &xml));
    let caps = match asked {
        Ok(caps) => caps,
        Err(failure) => {
            tracing::debug!(error = %task.explain(failure), "no domain capabilities");
            return Vec::new();
        }
    };
    let mut features = Vec::new();
    if caps.os.as_ref().is_some_and(|os| offers(&os.r#enum, "firmware", "efi")) {
        features.push(Feature::Uefi);
    }
    let tpm = caps.devices.as_ref().and_then(|devices| devices.tpm.as_ref());
    if tpm.is_some_and(|tpm| offers(&tpm.r#enum, "backendModel", "emulator")) {
        features.push(Feature::Tpm);
    }
    features
}

fn offers(choices: &[EnumValues], name: &str, value: &str) -> bool {
    choices.iter().any(|choice| choice.name.as_deref() == Some(name) && choice.value.iter().any(|v| v == value))
}

#[cfg(test)]
mod tests {
    use kvm_xml::Document;

    use super::*;

    #[test]
    fn a_version_is_unpacked() {
        assert_eq!(version(11_003_000).as_deref(), Some("11.3.0"));
        assert_eq!(version(10_000_002).as_deref(), Some("10.0.2"));
        assert_eq!(version(0), None);
    }

    #[test]
    fn nodes_have_memory_cpus_and_distances() {
        let cell = |id: u32, cpus: &str, distances: &str| {
            format!(
                "<cell id='{id}'><memory unit='KiB'>1024</memory><distances>{distances}</distances><cpus>{cpus}</cpus></cell>"
            )
        };
        let near = "<sibling id='0' value='10'/><sibling id='1' value='21'/>";
        // One without CPUs has memory alone.
        let cells = cell(1, "", "") + &cell(0, "<cpu id='0'/><cpu id='1'/><cpu id='4'/>", near);
        let doc =
            format!("<capabilities><host><topology><cells num='2'>{cells}</cells></topology></host></capabilities>");
        let nodes = numa(kvm_xml::Capabilities::from_xml(&doc).unwrap().host.as_ref().unwrap());
        assert_eq!(
            nodes.iter().map(|node| (node.number, node.cpus.as_str())).collect::<Vec<_>>(),
            [(0, "0-1,4"), (1, "")]
        );
        assert_eq!(nodes[0].memory, Some(Bytes::from_mib(1)));
        assert_eq!(nodes[0].distances, [(0, 10), (1, 21)].into());
        assert_eq!(nodes[1].distances, [].into());
    }

    #[test]
    fn machines_run_as_the_user_of_the_label_by_unix_permissions() {
        let host = |models: &str| {
            let doc = format!("<capabilities><host>{models}</host></capabilities>");
            runs_as(kvm_xml::Capabilities::from_xml(&doc).unwrap().host.as_ref().unwrap())
        };
        let apparmor = "<secmodel><model>apparmor</model><doi>0</doi></secmodel>";
        let dac = "<secmodel><model>dac</model><doi>0</doi><baselabel type='kvm'>+64055:+994</baselabel></secmodel>";
        assert_eq!(host(&format!("{apparmor}{dac}")), Some(ProcessUser { uid: 64055, gid: 994 }));
        assert_eq!(host(apparmor), None);
        assert_eq!(host(&dac.replace("+64055:+994", "qemu")), None);
    }

    #[test]
    fn each_hypervisor_of_an_architecture_is_a_kind_of_guest() {
        let doc = kvm_xml::Capabilities::from_xml(
            "<capabilities><guest><os_type>hvm</os_type><arch name='x86_64'><emulator>/usr/bin/qemu</emulator>\
             <machine canonical='pc-q35-10.0' maxCpus='4096'>q35</machine><machine maxCpus='255'>isapc</machine>\
             <domain type='qemu'/><domain type='kvm'><emulator>/usr/bin/kvm</emulator></domain></arch></guest>\
             </capabilities>",
        )
        .unwrap();
        let kinds: Vec<_> = doc.guest.iter().flat_map(guest_kinds).collect();
        assert_eq!(kinds.len(), 2);
        assert_eq!(kinds[0].emulator.as_deref(), Some("/usr/bin/qemu"));
        assert_eq!(kinds[1].emulator.as_deref(), Some("/usr/bin/kvm"));
        assert_eq!(kinds[0].machines, ["isapc", "pc-q35-10.0", "q35"]);
        assert_eq!(kinds[0].max_vcpus, Some(4096));
    }
}
