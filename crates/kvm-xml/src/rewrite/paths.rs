//! Sockets, pipes and files of the host behind character devices, and log files.

use super::draft::{Draft, Names};
use super::policy::Paths;
use super::told::{Reason, Warning};
use crate::diff::item_path;
use crate::domain::{ChannelTargetType, CharLog, CharSource, CharType, Devices, Domain, ListenType};

/// The host's end of a character device.
pub(super) struct End<'a> {
    pub(super) path: String,
    pub(super) kind: &'a mut Option<CharType>,
    pub(super) source: &'a mut Vec<CharSource>,
    pub(super) log: &'a mut Option<CharLog>,
    /// libvirt makes a socket when none is named.
    own_socket: bool,
}

/// Visits the ends of all character devices but redirected USB devices, which are devices of the host.
pub(super) fn ends(domain: &mut Domain, visit: &mut dyn FnMut(End<'_>)) {
    let Some(Devices { serial, parallel, console, channel, smartcard, rng, .. }) = &mut domain.devices else {
        return;
    };
    for (list, ports) in [("devices.serial", serial), ("devices.parallel", parallel), ("devices.console", console)] {
        for (index, port) in ports.iter_mut().enumerate() {
            let path = item_path(list, port, index);
            visit(End {
                path,
                kind: &mut port.r#type,
                source: &mut port.source,
                log: &mut port.log,
                own_socket: false,
            });
        }
    }
    for (index, channel) in channel.iter_mut().enumerate() {
        let path = item_path("devices.channel", channel, index);
        let own_socket = channel.target.as_ref().is_some_and(|target| target.r#type == Some(ChannelTargetType::Virtio));
        visit(End { path, kind: &mut channel.r#type, source: &mut channel.source, log: &mut channel.log, own_socket });
    }
    for (index, card) in smartcard.iter_mut().enumerate() {
        let path = item_path("devices.smartcard", card, index);
        visit(End { path, kind: &mut card.r#type, source: &mut card.source, log: &mut card.log, own_socket: false });
    }
    for (index, rng) in rng.iter_mut().enumerate() {
        let path = format!("{}.backend", item_path("devices.rng", rng, index));
        if let Some(backend) = &mut rng.backend {
            visit(End {
                path,
                kind: &mut backend.r#type,
                source: &mut backend.source,
                log: &mut backend.log,
                own_socket: false,
            });
        }
    }
}

pub(super) fn paths(draft: &mut Draft<'_, '_>) {
    if draft.policy.paths == Paths::Keep {
        return;
    }
    let rule =
        Rule { paths: draft.policy.paths, names: draft.names(), another_machine: draft.policy.makes_another_machine() };
    let warnings = &mut draft.warnings;
    ends(&mut draft.domain, &mut |end| rule.end(end, warnings));
    if let Some(devices) = &mut draft.domain.devices {
        rule.others(devices);
    }
    draft.record(Reason::HostPath);
}

struct Rule {
    paths: Paths,
    names: Names,
    another_machine: bool,
}

impl Rule {
    fn end(&self, end: End<'_>, warnings: &mut Vec<Warning>) {
        let End { path, kind, source, log, own_socket } = end;
        if log.as_ref().is_some_and(|log| log.file.is_some()) {
            self.log(log);
        }
        match *kind {
            Some(CharType::Unix | CharType::File | CharType::Pipe) => {}
            Some(CharType::Dev) => return detach(kind, source, path, warnings),
            Some(CharType::Tcp | CharType::Udp) => {
                let bound = source.iter().filter(|source| source.mode.as_deref() == Some("bind"));
                for port in bound.filter_map(|source| source.service.clone()).filter(|_| self.another_machine) {
                    warnings.push(Warning::HostPort { path: path.clone(), port });
                }
                return;
            }
            _ => return,
        }
        let Some(named) = source.iter().find_map(|source| source.path.clone()) else { return };
        let is_client = source.iter().any(|source| source.mode.as_deref() == Some("connect"));
        if own_socket
            && *kind == Some(CharType::Unix)
            && !is_client
            && (self.paths == Paths::Drop || is_libvirts(&named))
        {
            source.iter_mut().for_each(|source| source.path = None);
        } else if self.paths == Paths::Drop {
            detach(kind, source, path, warnings);
        } else if is_client {
            warnings.push(Warning::HostPath { path, host_path: named });
        } else {
            source
                .iter_mut()
                .filter_map(|source| source.path.as_mut())
                .for_each(|path| *path = self.names.rename(path));
        }
    }

    fn log(&self, log: &mut Option<CharLog>) {
        match self.paths {
            Paths::Rename => {
                if let Some(file) = log.as_mut().and_then(|log| log.file.as_mut()) {
                    *file = self.names.rename(file);
                }
            }
            Paths::Keep | Paths::Drop => *log = None,
        }
    }

    /// The log of an interface's helper, sockets on which graphics listen, where the guest's last words are kept. libvirt
    /// does without, or finds a place.
    fn others(&self, devices: &mut Devices) {
        for backend in devices.interface.iter_mut().filter_map(|interface| interface.backend.as_mut()) {
            backend.log_file = self.path(backend.log_file.take());
        }
        for graphics in &mut devices.graphics {
            graphics.socket = self.path(graphics.socket.take());
            for listen in graphics.listen_el.iter_mut().filter(|listen| listen.r#type == Some(ListenType::Socket)) {
                listen.socket = self.path(listen.socket.take());
            }
        }
        if let Some(store) = &mut devices.pstore {
            store.path = self.path(store.path.take());
        }
    }

    fn path(&self, path: Option<String>) -> Option<String> {
        path.filter(|path| self.paths == Paths::Rename && !is_libvirts(path)).map(|path| self.names.rename(&path))
    }
}

/// Leaves a pseudo terminal in the place of a path, which the device cannot be without.
fn detach(kind: &mut Option<CharType>, source: &mut Vec<CharSource>, path: String, warnings: &mut Vec<Warning>) {
    let end = source.iter().find_map(|source| source.path.clone()).unwrap_or_default();
    warnings.push(Warning::Detached { path, end });
    *kind = Some(CharType::Pty);
    source.clear();
}

/// Whether libvirt itself has chosen a path, by the number or the name of the machine.
fn is_libvirts(path: &str) -> bool {
    ["/libvirt/qemu/channel/", "/libvirt/qemu/run/channel/", "/libvirt/qemu/domain-", "/libvirt/qemu/lib/"]
        .iter()
        .any(|folder| path.contains(folder))
}
