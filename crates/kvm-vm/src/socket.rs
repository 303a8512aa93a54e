//! Whether a machine's name has room in the paths of the sockets that libvirt makes for the machine.
//!
//! libvirt's QEMU driver puts the running number and the first characters of the name into them
//! (`virDomainDefGetShortName`, `qemuDomainSetPrivatePaths`), and refuses to start a machine whose monitor or channel
//! would get a path that is too long for the system. Twenty characters are up to 80 bytes, so a name in Chinese or of
//! emoji can be too long where a longer one in Latin letters is not.

use kvm_core::op::PlanLine;
use kvm_core::{Capabilities, Error, Result, Scope, Target, VmName};
use kvm_xml::Domain;
use kvm_xml::domain::{Channel, ChannelTargetType, CharType};

/// The channel of the guest agent.
pub(crate) const AGENT: &str = "org.qemu.guest_agent.0";
/// The longest path of a Unix socket on Linux: `sun_path` without the NUL at its end.
const LONGEST_PATH: usize = 107;
/// How many characters of the name are in a path.
const CHARACTERS: usize = 20;
/// The running number that is kept room for, with what stands between it and the name.
const NUMBER: usize = "9999-".len();
/// The first version that keeps channels in the directory of running state; before, with what outlives a boot.
const SHORT_CHANNEL_PATHS: u32 = 10;

/// How many bytes of a name the paths on a host have room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    /// Without it the machine cannot start.
    monitor: usize,
    /// For the name and the channel's own, which follows it in a path.
    channel: usize,
}

impl Room {
    fn on(host: &Capabilities) -> Self {
        let is_session = matches!(Target::parse(&host.target), Ok(Target::Qemu { scope: Scope::Session, .. }));
        let major = host.library_version.as_deref().and_then(|version| version.split('.').next()?.parse::<u32>().ok());
        let is_old = major.is_some_and(|major| major < SHORT_CHANNEL_PATHS);
        // A session's directories are the user's, of whom nothing is known here: what is usual has to do.
        let (monitor, channel) = match (is_session, is_old) {
            (false, false) => ("/var/lib/libvirt/qemu/domain-", "/run/libvirt/qemu/channel/"),
            (false, true) => ("/var/lib/libvirt/qemu/domain-", "/var/lib/libvirt/qemu/channel/target/domain-"),
            (true, false) => {
                ("/home/somebody/.config/libvirt/qemu/lib/domain-", "/run/user/99999/libvirt/qemu/run/channel/")
            }
            (true, true) => (
                "/home/somebody/.config/libvirt/qemu/lib/domain-",
                "/home/somebody/.config/libvirt/qemu/channel/target/domain-",
            ),
        };
        let left = |before: &str, after: &str| LONGEST_PATH - before.len() - NUMBER - after.len();
        Self { monitor: left(monitor, "/monitor.sock"), channel: left(channel, "/") }
    }
}

/// The bytes of a name that stand in paths.
fn bytes_in_path(name: &VmName) -> usize {
    name.as_str().chars().take(CHARACTERS).map(char::len_utf8).sum()
}

/// `InvalidInput` for the name of a machine that the host could define but never start.
pub(crate) fn check_name(name: &VmName, host: &Capabilities) -> Result<()> {
    let (bytes, room) = (bytes_in_path(name), Room::on(host).monitor);
    if bytes <= room {
        return Ok(());
    }
    Err(Error::invalid("name", format!("VM name \"{name}\" is too long to be started; use a shorter one")).with_detail(
        format!(
            "its first {CHARACTERS} characters take {bytes} bytes, and the path of the VM's monitor has room for {room}"
        ),
    ))
}

/// Takes out the channels whose sockets would keep the machine from starting, and gives a line of the plan for each.
pub(crate) fn leave_out_channels(document: &mut Domain, name: &VmName, host: &Capabilities) -> Vec<PlanLine> {
    let (bytes, room) = (bytes_in_path(name), Room::on(host).channel);
    let channels = document.devices.iter_mut().flat_map(|devices| {
        devices.channel.extract_if(.., |channel| named_by_libvirt(channel).is_some_and(|own| bytes + own.len() > room))
    });
    let line = |channel: Channel| {
        let own = named_by_libvirt(&channel).unwrap_or_default();
        let room = room.saturating_sub(own.len());
        let lost = match own {
            AGENT => "no guest agent then (addresses, freezing, commands)",
            _ => "not there for the guest then",
        };
        PlanLine::new("leave out", "channel", own).note(format!(
            "{lost}: the name's first {CHARACTERS} characters take {bytes} bytes, its socket's path has room for {room}"
        ))
    };
    channels.map(line).collect()
}

/// The name of a channel for which libvirt chooses the path of a socket.
fn named_by_libvirt(channel: &Channel) -> Option<&str> {
    let target = channel.target.as_ref()?;
    let is_socket = channel.r#type == Some(CharType::Unix) && target.r#type == Some(ChannelTargetType::Virtio);
    let has_path = channel.source.iter().any(|source| source.path.is_some());
    // libvirt's own word for a channel without a name.
    (is_socket && !has_path).then(|| target.name.as_deref().unwrap_or("unknown.sock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(target: &str, library: &str) -> Capabilities {
        Capabilities {
            target: target.into(),
            host_uuid: None,
            host_name: "test".into(),
            driver: "QEMU".into(),
            hypervisor_version: None,
            library_version: Some(library.into()),
            arch: None,
            cpus: None,
            memory: None,
            guests: Vec::new(),
            numa: vec![],
            runs_as: None,
            features: std::collections::BTreeSet::new(),
        }
    }

    /// The paths, written out as libvirt makes them, are as long as the system allows.
    #[test]
    fn the_room_is_what_a_path_leaves() {
        for (target, library, monitor, channel) in [
            (
                "qemu:///system",
                "11.3.0",
                "/var/lib/libvirt/qemu/domain-9999-NAME/monitor.sock",
                "/run/libvirt/qemu/channel/9999-NAME/org.qemu.guest_agent.0",
            ),
            (
                "qemu+ssh://root@kvm1/system",
                "9.0.0",
                "/var/lib/libvirt/qemu/domain-9999-NAME/monitor.sock",
                "/var/lib/libvirt/qemu/channel/target/domain-9999-NAME/org.qemu.guest_agent.0",
            ),
            (
                "qemu:///session",
                "11.3.0",
                "/home/somebody/.config/libvirt/qemu/lib/domain-9999-NAME/monitor.sock",
                "/run/user/99999/libvirt/qemu/run/channel/9999-NAME/org.qemu.guest_agent.0",
            ),
        ] {
            let room = Room::on(&host(target, library));
            let longest = |path: &str, room: usize| path.len() - "NAME".len() + room;
            assert_eq!(longest(monitor, room.monitor), 107, "{target} {library}");
            assert_eq!(longest(channel, room.channel - AGENT.len()), 107, "{target} {library}");
        }
    }

    #[test]
    fn no_name_of_plain_letters_is_too_long_anywhere() {
        let name = VmName::parse(&"a".repeat(200)).unwrap();
        for target in ["qemu:///system", "qemu:///session", "mock:///demo"] {
            for library in ["9.0.0", "11.3.0"] {
                let host = host(target, library);
                let xml = format!("<channel type='unix'><target type='virtio' name='{AGENT}'/></channel>");
                let xml = format!("<domain type='kvm'><devices>{xml}</devices></domain>");
                let mut document = <Domain as kvm_xml::Document>::from_xml(&xml).unwrap();
                check_name(&name, &host).unwrap();
                assert_eq!(leave_out_channels(&mut document, &name, &host), [], "{target} {library}");
            }
        }
    }
}
