//! Whether libvirt answers, and why not.

use std::time::Duration;

use kvm_core::{Capabilities, Clock, Error, ErrorKind, Host, Scope, Target};

use super::system::System;
use super::{Check, Finding, Status, is_local};
use crate::parallel::within;

/// How long libvirt may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Sockets of libvirt's system daemons, the modular one first.
const SOCKETS: [&str; 2] = ["/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock"];
/// The programs of libvirt's daemons.
const DAEMONS: [&str; 2] = ["/usr/sbin/virtqemud", "/usr/sbin/libvirtd"];
/// The oldest libvirt that has all that is needed.
const OLDEST: u32 = 9;

/// Why there is no connection.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    kind: ErrorKind,
    message: String,
}

impl Refusal {
    pub(super) fn of(error: &Error) -> Self {
        let source = std::error::Error::source(error).map(|s| format!(": {s}")).unwrap_or_default();
        Self { kind: error.kind(), message: format!("{error}{source}") }
    }
}

/// What the host says of itself, when it answers.
pub(super) async fn ask(host: &Host, clock: &dyn Clock) -> Result<Capabilities, Refusal> {
    match within(clock, ANSWER, host.hypervisor.capabilities()).await {
        Some(Ok(capabilities)) => Ok(capabilities),
        Some(Err(e)) => Err(Refusal::of(&e)),
        None => Err(Refusal { kind: ErrorKind::Timeout, message: "no answer within 10 s".into() }),
    }
}

pub(super) async fn libvirt(
    target: &Target,
    answer: &Result<Capabilities, Refusal>,
    system: Option<&System<'_>>,
) -> Vec<Finding> {
    match answer {
        Ok(host) => vec![version(host, target), groups(target, system, true).await],
        Err(refusal) => vec![reason(target, refusal, system).await, groups(target, system, false).await],
    }
}

fn version(host: &Capabilities, target: &Target) -> Finding {
    let unknown = || "in an unknown version".to_owned();
    let library = host.library_version.clone();
    let what = format!(
        "{} answers: libvirt {}, {} {}",
        host.host_name,
        library.clone().unwrap_or_else(unknown),
        host.driver,
        host.hypervisor_version.clone().unwrap_or_else(unknown)
    );
    let major = library.and_then(|v| v.split('.').next()?.parse::<u32>().ok());
    if host.driver == "QEMU" && major.is_some_and(|m| m < OLDEST) {
        return Finding::new(Check::Libvirt, Status::Warn, what)
            .why(format!("some operations need libvirt {OLDEST}.0 or newer"))
            .fix("update libvirt on the host");
    }
    match target {
        Target::Qemu { scope: Scope::Session, .. } => Finding::ok(Check::Libvirt, what)
            .why("a session: this user's machines only, no bridges, and none starts when the host boots"),
        _ => Finding::ok(Check::Libvirt, what),
    }
}

async fn reason(target: &Target, refusal: &Refusal, system: Option<&System<'_>>) -> Finding {
    let failed =
        Finding::new(Check::Libvirt, Status::Fail, format!("{target} cannot be used")).why(refusal.message.clone());
    let scope = match target {
        Target::Qemu { scope, .. } => *scope,
        Target::Mock(_) | Target::Test(_) => return failed,
    };
    match (refusal.kind, is_local(target)) {
        (ErrorKind::Denied, true) if scope == Scope::System => {
            failed.fix("sudo usermod --append --groups libvirt \"$USER\", then log out and in again")
        }
        (ErrorKind::Denied, false) => failed.fix("check the key, the certificate or the user's groups on the host"),
        (ErrorKind::Timeout, true) if scope == Scope::System => {
            failed.fix("sudo systemctl restart libvirtd.service, or virtqemud.service where that is used")
        }
        (ErrorKind::Unavailable | ErrorKind::NotFound, true) => failed.fix(start(scope, system).await),
        (ErrorKind::Unavailable | ErrorKind::Timeout, false) => {
            failed.fix("check that the host is on and reachable, and that libvirt runs there")
        }
        _ => failed,
    }
}

/// How to get a local daemon to answer: install it, or start it.
async fn start(scope: Scope, system: Option<&System<'_>>) -> &'static str {
    const INSTALL_SYSTEM: &str = "sudo apt install libvirt-daemon-system qemu-system";
    const INSTALL_SESSION: &str = "sudo apt install libvirt-daemon qemu-system";
    let Some(system) = system else { return "start libvirt on the host" };
    let mut installed = None;
    for daemon in DAEMONS {
        if system.exists(daemon).await.unwrap_or(false) {
            installed = Some(daemon);
            break;
        }
    }
    match (installed, scope) {
        (None, Scope::System) => INSTALL_SYSTEM,
        (None, Scope::Session) => INSTALL_SESSION,
        (Some("/usr/sbin/virtqemud"), Scope::System) => "sudo systemctl enable --now virtqemud.socket",
        (Some(_), Scope::System) => "sudo systemctl enable --now libvirtd.socket",
        (Some(_), Scope::Session) => "check that XDG_RUNTIME_DIR is set and its directory is yours",
    }
}

/// Groups matter where they are the only key: at the sockets of this machine's system daemon.
async fn groups(target: &Target, system: Option<&System<'_>>, connected: bool) -> Finding {
    let Some(system) = system.filter(|s| is_local(target) && s.scope == Scope::System) else {
        return Finding::skipped(Check::Groups, "this target needs none");
    };
    let user = match system.user(None).await {
        Ok(Some(user)) => user,
        Ok(None) => return Finding::skipped(Check::Groups, "the user is not known to the host"),
        Err(e) => return Finding::skipped(Check::Groups, e.to_string()),
    };
    if user.uid == 0 {
        return Finding::ok(Check::Groups, "root needs none");
    }
    if user.group_names.contains("libvirt") {
        return Finding::ok(Check::Groups, format!("{} is in the group libvirt", user.name));
    }
    if connected {
        return Finding::ok(Check::Groups, format!("{} is not in the group libvirt and does not need it", user.name));
    }
    let mut has_socket = false;
    for socket in SOCKETS {
        has_socket |= system.exists(socket).await.unwrap_or(false);
    }
    let missing = Finding::new(Check::Groups, Status::Fail, format!("{} is not in the group libvirt", user.name))
        .fix(format!("sudo usermod --append --groups libvirt {}, then log out and in again", user.name));
    if has_socket { missing.why("only its members and root may use the system's socket") } else { missing }
}
