//! Networks and bridges that a machine is plugged into.

use std::time::Duration;

use kvm_core::{ErrorKind, Host, MigrationMode, NetworkName, Result};
use kvm_xml::domain::{Interface, InterfaceType};

use super::Subject;
use super::finding::{Check, Finding, Verdict};

/// How long a look at one device of the host may take.
const LOOK: Duration = Duration::from_secs(10);

pub(super) async fn check(subject: &Subject<'_>) -> Result<Vec<Finding>> {
    let mut findings: Vec<Finding> = Vec::new();
    for interface in subject.document.devices.iter().flat_map(|devices| &devices.interface) {
        let Some(finding) = plug(subject, interface).await? else { continue };
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    if subject.mode == MigrationMode::Offline {
        // It starts when somebody has seen to them.
        for finding in findings.iter_mut().filter(|finding| finding.verdict == Verdict::Refusal) {
            finding.verdict = Verdict::Warning;
        }
    }
    Ok(findings)
}

async fn plug(subject: &Subject<'_>, interface: &Interface) -> Result<Option<Finding>> {
    let source = interface.source.as_ref();
    Ok(match interface.r#type {
        Some(InterfaceType::Network) => match source.and_then(|source| source.network.as_deref()) {
            Some(name) => Some(network(subject, name).await?),
            None => None,
        },
        Some(InterfaceType::Bridge) => match source.and_then(|source| source.bridge.as_deref()) {
            Some(name) => Some(device(subject.destination, "bridge", name).await),
            None => None,
        },
        Some(InterfaceType::Direct) => match source.and_then(|source| source.dev.as_deref()) {
            Some(name) => Some(device(subject.destination, "device", name).await),
            None => None,
        },
        Some(InterfaceType::Hostdev) => Some(
            Finding::refusal(Check::Networks, "a network device is a device of the host itself")
                .fix("detach it first, and attach one of the destination's afterwards"),
        ),
        Some(InterfaceType::User) => {
            Some(Finding::warning(Check::Networks, "user-mode networking opens anew: its connections break"))
        }
        _ => None,
    })
}

async fn network(subject: &Subject<'_>, name: &str) -> Result<Finding> {
    let there = |state: &str| format!("network {} {state} on the destination", kvm_core::text::printable(name));
    let found = match NetworkName::adopt(name) {
        Ok(name) => subject.destination.networks.find(&name).await,
        Err(e) => return Ok(Finding::unknown(Check::Networks, there("cannot be looked up")).why(e.to_string())),
    };
    Ok(match found {
        Ok(found) if found.active => Finding::ok(Check::Networks, there("is active")),
        Ok(_) => Finding::refusal(Check::Networks, there("is not active")).fix("start it there: kvmctl net start"),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            Finding::refusal(Check::Networks, there("does not exist")).fix("make it there: kvmctl net create")
        }
        Err(e) => return Err(e),
    })
}

/// A device of the host's own network, which only its operating system knows.
async fn device(host: &Host, what: &str, name: &str) -> Finding {
    let shown = kvm_core::text::printable(name);
    let path = format!("/sys/class/net/{name}");
    // A name with a slash is none of a network device.
    let seen = match name.contains('/') || name.starts_with('.') {
        true => None,
        false => host.transport.run(&["test", "-e", &path], LOOK).await.ok().map(|output| output.success()),
    };
    match seen {
        Some(true) => Finding::ok(Check::Networks, format!("{what} {shown} is there on the destination")),
        Some(false) => Finding::refusal(Check::Networks, format!("{what} {shown} does not exist on the destination"))
            .fix("make it there, or plug the VM in elsewhere"),
        None => Finding::unknown(Check::Networks, format!("{what} {shown} cannot be seen from here"))
            .why("the destination is reached without a login to its system"),
    }
}
