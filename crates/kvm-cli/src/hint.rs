//! What to do about an error: known at the edge, where flags and commands have names.

use kvm_core::text::shell_word as word;
use kvm_core::{Error, ErrorKind, Resource};

use crate::environment;

/// A line or a few that say what to do; `None` when nothing is known that would work.
#[must_use]
pub(crate) fn of(error: &Error) -> Option<String> {
    let operation = error.operation().unwrap_or_default();
    match (error.kind(), operation, error.resource()) {
        (ErrorKind::Unavailable, "find-host", _) => Some(
            "install libvirt (Debian: apt install libvirt-daemon-system), or name a host: kvmctl -c qemu+ssh://HOST/system …\n\
             to try it without any: kvmctl -c mock:///demo vm list"
                .to_owned(),
        ),
        (_, "connect", Some(Resource::Host(host))) => connect(error.kind(), host),
        (ErrorKind::Denied, operation, Some(Resource::Host(host))) if LOGIN.contains(&operation) => {
            Some(login(operation, host))
        }
        (ErrorKind::AlreadyExists, "trust-host-key", Some(Resource::Host(host))) => Some(forget(host)),
        (ErrorKind::Denied, "confirm", Some(Resource::Host(_))) => Some(
            "with --fingerprint SHA256:… nothing is asked: the key that has it is taken, and no other".to_owned(),
        ),
        (ErrorKind::NotFound, "resolve-alias", _) => {
            Some("add the host to hosts.toml, or give its target: kvmctl help targets".to_owned())
        }
        (ErrorKind::Busy, "console", _) => Some("--take-over disconnects whoever has it open".to_owned()),
        (ErrorKind::Denied, "confirm", _) => {
            Some("run it again with --yes when that is what you want".to_owned())
        }
        (ErrorKind::Denied, "pass-directory", Some(Resource::File(place))) => Some(format!(
            "let that user through: sudo chmod a+x {}; kvmctl doctor VM says what else would do",
            word(place)
        )),
        (ErrorKind::Denied, "open-image", Some(Resource::File(_))) => {
            Some("kvmctl doctor VM says how that user may open it".to_owned())
        }
        (ErrorKind::InvalidState, "viewer-password", _) => {
            Some("set it for the next start with --only config, then power-cycle it".to_owned())
        }
        (ErrorKind::NotFound, "find-device", Some(Resource::Vm(name))) => {
            let name = word(name);
            Some(format!("kvmctl disk list {name}, kvmctl nic list {name} and kvmctl device list {name} show what it has"))
        }
        (_, "plug-live", _) => Some("--only config changes the configuration, from the next start".to_owned()),
        (_, "check-images", Some(Resource::Vm(name))) => {
            Some(format!("kvmctl disk graph {} shows who uses which image", word(name)))
        }
        (_, "check-images", Some(Resource::Snapshot(name))) => {
            Some(format!("kvmctl disk graph {} shows who uses which image", owner(name)))
        }
        (ErrorKind::Busy, "copy-machine", Some(Resource::Vm(name))) => Some(format!(
            "try again when it is done; if its computer has died, finish it there with kvmctl op resume, or give it up: \
             kvmctl snap delete {} {}",
            word(name),
            kvm_vm::COPYING
        )),
        (ErrorKind::NotFound, "find-snapshot", Some(Resource::Snapshot(name))) => {
            Some(format!("kvmctl snap list {} shows what it has", owner(name)))
        }
        (ErrorKind::NotFound, "find-checkpoint", Some(Resource::Checkpoint(name))) => {
            Some(format!("kvmctl checkpoint list {} shows what it has", owner(name)))
        }
        (ErrorKind::AlreadyExists, _, Some(Resource::Snapshot(name))) => {
            Some(format!("choose another name; kvmctl snap list {} shows what it has", owner(name)))
        }
        (ErrorKind::InvalidState, "revert-snapshot", Some(Resource::Vm(name))) => {
            Some(format!("kvmctl checkpoint delete {} NAME, the last one first", word(name)))
        }
        (ErrorKind::NoSpace, "take-snapshot", _) => {
            Some("make room in the pool, or keep the disks alone: --disk-only".to_owned())
        }
        (ErrorKind::NoSpace, "delete-snapshot", _) => Some("make room in the pool first".to_owned()),
        (ErrorKind::NoSpace, "make-copy", Some(Resource::Pool(_))) => {
            Some("make room in that pool, or choose another one: --pool NAME".to_owned())
        }
        (ErrorKind::NoSpace, _, Some(Resource::File(_))) => Some("make room there, or choose another place".to_owned()),
        // Not from a later look at a VM that was found: what it lacks is then something of its own.
        (ErrorKind::NotFound, "", Some(Resource::Vm(_))) => Some("kvmctl vm list shows what is there".to_owned()),
        (ErrorKind::NotFound, _, Some(Resource::Pool(name))) => Some(format!(
            "kvmctl pool list shows what is there; to make it: kvmctl pool create {} --target /var/lib/libvirt/images",
            word(name)
        )),
        (ErrorKind::NotFound, _, Some(Resource::Volume(_))) => Some("kvmctl vol list POOL shows what is there".to_owned()),
        (ErrorKind::NotFound, _, Some(Resource::Network(_))) => {
            Some("kvmctl net list shows what is there; without one: --network user".to_owned())
        }
        (ErrorKind::NotFound, _, Some(Resource::Operation(_))) => Some("kvmctl op list shows them".to_owned()),
        (ErrorKind::InvalidState, "finish-or-undo", Some(Resource::Operation(id))) => {
            Some(format!("kvmctl op undo {id} takes it back; kvmctl op resume {id} does the rest"))
        }
        (ErrorKind::InvalidState, "finish", Some(Resource::Operation(id))) => {
            Some(format!("kvmctl op resume {id} does the rest"))
        }
        (ErrorKind::AlreadyExists, _, Some(Resource::Secret(id))) => {
            Some(format!("kvmctl secret list says whether something needs it, kvmctl secret delete {} deletes it", word(id)))
        }
        (ErrorKind::NotFound, _, Some(Resource::Secret(_))) => Some("kvmctl secret list shows what is there".to_owned()),
        (ErrorKind::AlreadyExists, "keep-identity", _) => {
            Some("with --fresh it gets a uuid and MAC addresses of its own".to_owned())
        }
        (ErrorKind::AlreadyExists, "export", Some(Resource::File(_))) => {
            Some("choose another name for the package, or remove that file".to_owned())
        }
        (ErrorKind::AlreadyExists, _, Some(Resource::Vm(name))) => {
            Some(format!("choose another name, or look at that one: kvmctl vm show {}", word(name)))
        }
        (ErrorKind::AlreadyExists, _, Some(Resource::Network(name))) => {
            Some(format!("choose another name, or look at that one: kvmctl net show {}", word(name)))
        }
        (ErrorKind::AlreadyExists, "upload", Some(Resource::Volume(_))) | (ErrorKind::AlreadyExists, _, Some(Resource::File(_))) => {
            Some("choose another name, or replace that one: --overwrite".to_owned())
        }
        (ErrorKind::AlreadyExists, "copy", Some(Resource::Volume(_))) => Some("choose another name for the copy".to_owned()),
        (ErrorKind::AlreadyExists, _, Some(Resource::Volume(name))) => Some(format!(
            "name the new one differently (vm create: --disk SIZE,name=NAME), or plug that one in: --disk volume={}",
            word(name)
        )),
        (ErrorKind::InvalidInput, "check-place", _) => Some(
            "use a volume of a pool, or allow its directory: allowed_paths in section [policy] of config.toml \
             (kvmctl help configuration)"
                .to_owned(),
        ),
        (_, "check-image", _) => Some(
            "look at it with qemu-img info -f FORMAT; --accept-image (disk attach, vm create) takes it as it is, and so does \
             foreign_images = \"accept\" in section [policy] of config.toml"
                .to_owned(),
        ),
        (ErrorKind::InvalidInput, "complete-network", Some(Resource::Field(field))) => {
            Some(format!("say it with --{field}, or choose another --mode; kvmctl net create --help begins with examples"))
        }
        (ErrorKind::InvalidInput, "read-arguments", _) => {
            Some("--help behind a command explains it; alone it lists the commands".to_owned())
        }
        (ErrorKind::NoSpace, ..) => Some(
            "ask for less, use another pool (--disk SIZE,pool=NAME), or thin provisioning with --allow-overcommit".to_owned(),
        ),
        (ErrorKind::InvalidState, "preflight", Some(Resource::Vm(_))) => {
            Some("the same command with --dry-run shows every check".to_owned())
        }
        (ErrorKind::InvalidState, "delete", Some(Resource::Vm(name))) => Some(format!(
            "--power-off deletes a VM that runs; kvmctl vm protect --off {} lifts a protection",
            word(name)
        )),
        (ErrorKind::InvalidState, _, Some(Resource::Pool(name))) => {
            Some(format!("kvmctl pool show {} shows its state", word(name)))
        }
        (ErrorKind::InvalidState, "copy" | "resize" | "shrink" | "wipe" | "replace", Some(Resource::Volume(_))) => Some(
            "stop the VM, and discard its saved state if it has one; the disk of a running VM grows with: \
             kvmctl disk resize VM TARGET SIZE"
                .to_owned(),
        ),
        (ErrorKind::InvalidState, "download", Some(Resource::Volume(_))) => {
            Some("stop the VM first, or read the volume all the same: --in-use".to_owned())
        }
        (ErrorKind::InvalidState, _, Some(Resource::Network(name))) => {
            Some(format!("kvmctl net show {} shows its state", word(name)))
        }
        (ErrorKind::Busy, _, Some(Resource::Vm(_))) => Some("wait for it, or see who it is: kvmctl op list".to_owned()),
        (ErrorKind::Internal, ..) => Some("this is a bug; please report it with the output of the same command and -v".to_owned()),
        _ => None,
    }
}

/// The VM of a snapshot or checkpoint, as a word for the shell.
fn owner(name: &str) -> String {
    word(name.split_once('/').map_or(name, |(vm, _)| vm))
}

fn connect(kind: ErrorKind, host: &str) -> Option<String> {
    let local = host.starts_with("qemu:///");
    let login = Login::of(host);
    match kind {
        ErrorKind::Denied if local => Some(
            "join the group libvirt and log in again: sudo usermod -aG libvirt $USER\n\
             your own VMs need no permission: kvmctl -c qemu:///session vm list"
                .to_owned(),
        ),
        ErrorKind::Denied => Some(match login {
            Some(login) => format!(
                "is whoever logs in there in the group libvirt? {}\n\
                 does its SSH server let sockets through? AllowStreamLocalForwarding yes in /etc/ssh/sshd_config",
                login.ssh("id")
            ),
            None if !host.contains("://") => "join the group libvirt on that host".to_owned(),
            None => "check the certificates in --pki DIR: cacert.pem, clientcert.pem, clientkey.pem".to_owned(),
        }),
        ErrorKind::Unavailable if host == "qemu:///system" => Some(
            "is libvirtd running? sudo systemctl start libvirtd (or virtqemud.socket)\n\
             kvmctl doctor looks for the cause"
                .to_owned(),
        ),
        ErrorKind::Unavailable if host == "qemu:///session" && environment::is_root() => {
            Some("root has no session; use qemu:///system, or run kvmctl as an ordinary user".to_owned())
        }
        ErrorKind::Unavailable if host == "qemu:///session" => {
            Some("libvirt starts it by itself where it is installed; kvmctl doctor looks for the cause".to_owned())
        }
        ErrorKind::Unavailable | ErrorKind::Timeout => Some(match login {
            Some(login) => format!("can you log in, and does libvirt answer there? {}", login.ssh("virsh version")),
            None => "is the host up, and does libvirtd listen there? kvmctl doctor looks for the cause".to_owned(),
        }),
        ErrorKind::Unsupported => Some(
            "build it with the feature libvirt, or try the simulated host: kvmctl -c mock:///demo vm list".to_owned(),
        ),
        _ => None,
    }
}

/// What keeps a login from happening.
const LOGIN: [&str; 5] = ["host-key-unknown", "host-key-changed", "host-key-revoked", "compare-host-key", "login"];

fn login(operation: &str, host: &str) -> String {
    match operation {
        "host-key-unknown" => {
            let place = Login::of(host).map_or_else(|| host.to_owned(), |login| login.place());
            format!("compare the fingerprint with the host's own, then: kvmctl host trust {place}")
        }
        "host-key-changed" => forget(host),
        "host-key-revoked" | "compare-host-key" => "somebody may be listening in; ask whoever runs the host".to_owned(),
        _ => {
            let key =
                "name the key with --identity FILE (kvm-clone: --ssh-key FILE), or give it to your agent with ssh-add";
            Login::of(host)
                .map_or_else(|| key.to_owned(), |login| format!("can you log in? {}\n{key}", login.ssh("true")))
        }
    }
}

/// How an old key is forgotten and the new one trusted.
fn forget(host: &str) -> String {
    let (known_as, place) = match Login::of(host) {
        Some(login) => (login.known_as(), login.place()),
        None => ("HOST".to_owned(), host.to_owned()),
    };
    format!(
        "if it was changed on purpose: ssh-keygen -R {known_as} (with -f FILE for your --known-hosts file), \
         then: kvmctl host trust {place}"
    )
}

/// How the programs of OpenSSH are told where an SSH target is.
struct Login<'a> {
    user_at_host: &'a str,
    host: &'a str,
    port: Option<&'a str>,
}

impl<'a> Login<'a> {
    fn of(target: &'a str) -> Option<Self> {
        let place = target.strip_prefix("qemu+ssh://")?.split('/').next()?;
        let is_port = |port: &&str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let port = place.rsplit_once(':').map(|(_, port)| port).filter(is_port);
        let user_at_host = port.map_or(place, |port| &place[..place.len() - port.len() - 1]);
        let host = user_at_host.rsplit_once('@').map_or(user_at_host, |(_, host)| host);
        Some(Self { user_at_host, host, port })
    }

    fn ssh(&self, command: &str) -> String {
        let port = self.port.map(|port| format!("-p {port} ")).unwrap_or_default();
        format!("ssh {port}{} {command}", self.user_at_host)
    }

    /// How `kvmctl host trust` is told where it is.
    fn place(&self) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}{port}", self.user_at_host)
    }

    /// The name under which `known_hosts` has it.
    fn known_as(&self) -> String {
        match self.port {
            Some(port) if port != "22" => format!("'[{}]:{port}'", self.host),
            _ => self.host.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect_error(kind: ErrorKind, host: &str) -> String {
        of(&Error::new(kind, "x").on(Resource::Host(host.into())).during("connect")).unwrap()
    }

    #[test]
    fn each_way_not_to_connect_has_its_own_advice() {
        assert!(connect_error(ErrorKind::Denied, "qemu:///system").contains("group libvirt"));
        assert!(connect_error(ErrorKind::Unavailable, "qemu:///system").contains("systemctl start libvirtd"));
        let text = connect_error(ErrorKind::Denied, "qemu+ssh://root@kvm1:2222/system");
        assert!(text.contains("ssh -p 2222 root@kvm1 id"), "{text}");
        let text = connect_error(ErrorKind::Unavailable, "qemu+ssh://kvm1/system");
        assert!(text.ends_with("ssh kvm1 virsh version"), "{text}");
        assert!(connect_error(ErrorKind::Unavailable, "qemu+tls://kvm1/system").contains("listen"));
    }

    #[test]
    fn each_way_not_to_log_in_has_its_own_advice() {
        for (operation, part) in [
            ("host-key-unknown", "kvmctl host trust root@kvm1:2222"),
            ("host-key-changed", "ssh-keygen -R '[kvm1]:2222'"),
            ("login", "ssh -p 2222 root@kvm1 true"),
        ] {
            for (host, part) in [("qemu+ssh://root@kvm1:2222/system", part), ("lab", "")] {
                let e = Error::new(ErrorKind::Denied, "x").on(Resource::Host(host.into())).during(operation);
                let text = of(&e).unwrap();
                assert!(text.contains(part), "{text}");
            }
        }
    }
}
