//! Where a host's libvirt listens, and a way to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kvm_core::{Dial, Error, ErrorKind, Resource, Result, Scope, Transport};

use crate::relay::SocketRelay;

/// Where the daemons of the system listen.
const SYSTEM: &str = "/run/libvirt";
/// The modular daemon for QEMU, and the single one of old: the socket and the program of each.
const DAEMONS: [(&str, &str); 2] = [("virtqemud-sock", "virtqemud"), ("libvirt-sock", "libvirtd")];
/// How long a small program may take on the host.
const LOOK: Duration = Duration::from_secs(10);
/// How long a daemon may take until it listens.
const START: Duration = Duration::from_secs(30);

/// Connects to the libvirt of a host through its transport and gives the connection a socket on this machine, in a private
/// directory below `parent` (see [`SocketRelay::open`]). No program is run in between.
///
/// `socket` is its place on the host; without it the usual ones are tried. In [`Scope::Session`] the user's own daemon is
/// started when none listens, as libvirt's client would do.
///
/// `Unavailable` when nobody listens, `Denied` when the socket refuses the user; `Unsupported` for root's own session, which
/// libvirt does not have.
pub async fn relay_libvirt(
    transport: Arc<dyn Transport>,
    scope: Scope,
    socket: Option<&Path>,
    parent: &Path,
) -> Result<SocketRelay> {
    let usual = |directory: PathBuf| {
        let sockets = DAEMONS.map(|(socket, _)| directory.join(socket)).to_vec();
        (Some(directory), sockets)
    };
    let (directory, sockets) = match (socket, scope) {
        (Some(socket), _) => (None, vec![socket.to_owned()]),
        (None, Scope::System) => usual(PathBuf::from(SYSTEM)),
        (None, Scope::Session) => usual(session_directory(&*transport).await?),
    };
    let to: Vec<Dial> = sockets.iter().cloned().map(Dial::Unix).collect();
    let opened = SocketRelay::open(Arc::clone(&transport), to.clone(), parent).await;
    let refused = match opened {
        Err(e) if e.kind() == ErrorKind::Unavailable => e,
        opened => return opened,
    };
    if scope == Scope::Session
        && let Some(directory) = directory
    {
        start_daemon(&*transport, &directory).await?;
        return SocketRelay::open(transport, to, parent).await;
    }
    Err(why(&*transport, &sockets, refused).await)
}

/// The directory in which the daemons of whoever logs in listen.
async fn session_directory(transport: &dyn Transport) -> Result<PathBuf> {
    let uid = say(transport, &["id", "-u"]).await?;
    let uid: u32 = uid.parse().map_err(|_| Error::new(ErrorKind::Corrupt, "the host does not say who logs in"))?;
    if uid == 0 {
        return Err(Error::new(ErrorKind::Unsupported, "root has no libvirt session; use the system's"));
    }
    let runtime = PathBuf::from(format!("/run/user/{uid}"));
    if transport.run(&["test", "-d", &text(&runtime)], LOOK).await?.success() {
        return Ok(runtime.join("libvirt"));
    }
    // Where nobody made such a directory libvirt goes by the user's cache.
    let account = say(transport, &["getent", "passwd", &uid.to_string()]).await?;
    match account.split(':').nth(5).filter(|home| home.starts_with('/')) {
        Some(home) => Ok(Path::new(home).join(".cache/libvirt")),
        None => Err(Error::new(ErrorKind::NotFound, "whoever logs in has no home on the host")),
    }
}

/// Starts the user's daemon; it ends by itself when it had nothing to do for two minutes.
async fn start_daemon(transport: &dyn Transport, directory: &Path) -> Result<()> {
    // libvirt adds its own folder to what it is told.
    let runtime = format!("XDG_RUNTIME_DIR={}", text(directory.parent().unwrap_or(directory)));
    for (_, program) in DAEMONS {
        match transport.run(&[program, "--version"], LOOK).await {
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
            Ok(_) => {}
        }
        let started = transport.run(&["env", &runtime, program, "--daemon", "--timeout=120"], START).await?;
        if started.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&started.stderr);
        let said = kvm_core::text::printable_within(said.trim(), 200).to_string();
        return Err(Error::new(ErrorKind::Unavailable, format!("{program} does not start")).with_detail(said));
    }
    Err(Error::new(ErrorKind::NotFound, "the host has no libvirt daemon for users; install libvirt there"))
}

/// What it means that no socket took us. SSH servers have one word for a socket that is not there, nobody's, or forbidden,
/// so it is looked at.
async fn why(transport: &dyn Transport, sockets: &[PathBuf], refused: Error) -> Error {
    let listed: Vec<_> = sockets.iter().map(|socket| text(socket)).collect();
    for socket in &listed {
        match transport.run(&["test", "-S", socket], LOOK).await {
            // The host itself is out of reach, which was said already.
            Err(_) => return refused,
            Ok(there) if !there.success() => continue,
            Ok(_) => {}
        }
        let may_write = transport.run(&["test", "-w", socket], LOOK).await.is_ok_and(|output| output.success());
        let host = Resource::Host(socket.clone());
        return match may_write {
            false => Error::new(ErrorKind::Denied, format!("{socket} refuses this user")).on(host).with_source(refused),
            true => {
                let text = format!("nobody answers at {socket}, or the host's SSH server keeps us from it");
                Error::new(ErrorKind::Unavailable, text)
                    .with_detail("AllowStreamLocalForwarding has to be yes in its sshd_config")
                    .on(host)
                    .with_source(refused)
            }
        };
    }
    Error::new(ErrorKind::Unavailable, format!("libvirt does not listen at {}", listed.join(" nor ")))
        .on(Resource::Host(listed.join(", ")))
        .with_source(refused)
}

async fn say(transport: &dyn Transport, argv: &[&str]) -> Result<String> {
    let output = transport.run(argv, LOOK).await?;
    match output.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(Error::new(ErrorKind::Unavailable, format!("{} does not work on the host", argv.join(" ")))),
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
