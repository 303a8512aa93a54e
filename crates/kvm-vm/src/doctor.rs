//! Why a host does not work, and what to do about it.

use std::fmt;

use kvm_core::{Capabilities, Clock, Error, ErrorKind, Host, ProcessUser, Scope, Target, Transport, Via, VmSummary};
use serde::Serialize;

mod connection;
mod disk;
mod iommu;
mod kvm;
mod reach;
mod resource;
mod system;

use system::System;

/// Why a host's operating system was not looked at.
const SIMULATED: &str = "the host is simulated";
const NO_SYSTEM: &str = "the host's operating system cannot be asked from here";

/// What is to be examined.
#[derive(Clone, Copy, Debug)]
pub struct Patient<'a> {
    /// The host as it was asked for.
    pub target: &'a Target,
    /// The connection, or why there is none.
    pub host: Result<&'a Host, &'a Error>,
    /// The way to the host's operating system, where there is one.
    pub transport: Option<&'a dyn Transport>,
    /// The machine whose disks are looked at; `None` means those of all.
    pub vm: Option<&'a VmSummary>,
}

/// What was found in one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// How it is.
    pub status: Status,
    /// What is so, in one line.
    pub what: String,
    /// Why, or what follows from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What mends it: a command, or what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Check {
    /// Whether libvirt answers, and in which version.
    Libvirt,
    /// Whether the user is in the groups that give access.
    Groups,
    /// Whether the CPU has virtualisation that is switched on.
    Cpu,
    /// Whether `/dev/kvm` is there, and the user that QEMU runs as may use it.
    Kvm,
    /// Whether guests may run guests.
    Nested,
    /// Whether devices of the host can be given to guests.
    Iommu,
    /// Whether there is a QEMU for the host's architecture, and whether it uses the hardware.
    Emulator,
    /// Whether the default pool is there, active, and has room.
    Pool,
    /// Whether the default network is there and active.
    Network,
    /// Whether the user that QEMU runs as gets to the images of machines.
    Disks,
}

impl Check {
    /// The name used in tables and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Libvirt => "libvirt",
            Self::Groups => "groups",
            Self::Cpu => "cpu",
            Self::Kvm => "kvm",
            Self::Nested => "nested",
            Self::Iommu => "iommu",
            Self::Emulator => "emulator",
            Self::Pool => "pool",
            Self::Network => "network",
            Self::Disks => "disks",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How something is; later ones are worse, so the worst finding is the maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It could not be looked at, or makes no sense for this target.
    Skipped,
    /// As it should be.
    Ok,
    /// Machines run, but not as well as they could.
    Warn,
    /// Machines do not run.
    Fail,
}

impl Status {
    /// The name used in tables and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Finding {
    fn new(check: Check, status: Status, what: impl Into<String>) -> Self {
        Self { check, status, what: what.into(), why: None, fix: None }
    }

    fn ok(check: Check, what: impl Into<String>) -> Self {
        Self::new(check, Status::Ok, what)
    }

    fn skipped(check: Check, why: impl Into<String>) -> Self {
        Self::new(check, Status::Skipped, "not looked at").why(why)
    }

    fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

/// Looks at everything that a host needs, in the order in which it needs it. Nothing is changed, and nothing that goes
/// wrong is an error: it is a finding.
///
/// The host's operating system is asked with `id`, `stat`, `test`, `readlink`, `getfacl`, and `setpriv` for what the user may
/// do that QEMU runs as, and by reading files below `/proc`, `/sys` and `/etc/libvirt`.
pub async fn diagnose(patient: &Patient<'_>, clock: &dyn Clock) -> Vec<Finding> {
    let scope = match patient.target {
        Target::Qemu { scope, .. } => Some(*scope),
        Target::Mock(_) | Target::Test(_) => None,
    };
    let capabilities = match patient.host {
        Ok(host) => match connection::ask(host, clock).await {
            Ok(capabilities) => Ok(capabilities),
            Err(e) => Err(e),
        },
        Err(e) => Err(connection::Refusal::of(e)),
    };
    let runs_as = capabilities.as_ref().ok().and_then(|host| host.runs_as);
    let system = system(patient, runs_as);
    let mut findings = Vec::new();
    findings.extend(connection::libvirt(patient.target, &capabilities, system.as_ref()).await);
    let capabilities = capabilities.ok();
    findings.extend(hardware(scope, system.as_ref(), capabilities.as_ref()).await);
    let host = patient.host.ok().filter(|_| capabilities.is_some());
    findings.push(iommu::finding(host, system.as_ref()).await);
    findings.extend(resource::findings(host, patient.target).await);
    let no_system = scope.map_or(SIMULATED, |_| NO_SYSTEM);
    findings.extend(disk::findings(host, system.as_ref(), no_system, patient.vm, clock).await);
    findings
}

/// Why a machine could not be started, where the reason is that the user QEMU runs as does not get to an image of one of its
/// disks: `Denied`, naming the directory or file, from `refused`, which is otherwise given back as it is.
pub async fn explain_start(patient: &Patient<'_>, vm: &VmSummary, refused: Error, clock: &dyn Clock) -> Error {
    // libvirt sees it itself, or QEMU ends at once.
    if !matches!(refused.kind(), ErrorKind::Denied | ErrorKind::InvalidState) {
        return refused;
    }
    let Ok(host) = patient.host else { return refused };
    let runs_as = host.hypervisor.capabilities().await.ok().and_then(|host| host.runs_as);
    match system(patient, runs_as) {
        Some(system) => disk::explain(host, &system, vm, refused, clock).await,
        None => refused,
    }
}

fn system<'a>(patient: &Patient<'a>, runs_as: Option<ProcessUser>) -> Option<System<'a>> {
    match (patient.target, patient.transport) {
        (Target::Qemu { scope, .. }, Some(transport)) => Some(System::new(transport, *scope, runs_as)),
        _ => None,
    }
}

async fn hardware(
    scope: Option<Scope>,
    system: Option<&System<'_>>,
    capabilities: Option<&Capabilities>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    match (scope, system) {
        (None, _) => findings.extend([Check::Cpu, Check::Kvm, Check::Nested].map(|c| Finding::skipped(c, SIMULATED))),
        (Some(_), None) => {
            findings.extend([Check::Cpu, Check::Kvm, Check::Nested].map(|c| Finding::skipped(c, NO_SYSTEM)));
        }
        (Some(_), Some(system)) => findings.extend(kvm::findings(system).await),
    }
    findings.push(kvm::emulator(capabilities));
    findings
}

/// The target as a command needs it.
fn is_local(target: &Target) -> bool {
    matches!(target, Target::Qemu { via: Via::Local, .. })
}
