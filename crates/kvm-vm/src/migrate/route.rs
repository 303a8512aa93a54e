//! How the hosts reach each other.

use kvm_core::{MigrationMode, Route, Target, Via};

use super::finding::{Check, Finding};
use super::storage::Storage;
use super::{AtTimeout, Lead, Subject};

/// Chooses who leads, and says so.
pub(super) fn choose(subject: &Subject<'_>, storage: &Storage, findings: &mut Vec<Finding>) -> Route {
    let options = subject.options;
    let is_live = subject.mode == MigrationMode::Live;
    let route = match options.lead {
        Lead::Auto | Lead::Client => Route::Client,
        lead => match peer(subject) {
            Some(target) if lead == Lead::Source => Route::Source(target),
            Some(target) => Route::Tunnel(target),
            None => {
                findings.push(
                    Finding::refusal(Check::Route, "the source cannot reach the destination under its target")
                        .why(format!("{} means another host there", subject.there.target))
                        .fix("say how the source reaches it (--peer qemu+ssh://HOST/system), or lead from here"),
                );
                return Route::Client;
            }
        },
    };
    if matches!(route, Route::Tunnel(_)) && !storage.copied.is_empty() {
        findings.push(
            Finding::refusal(Check::Route, "disks do not go through a tunnel")
                .fix("copy them without one (--tls encrypts them, too), or share them"),
        );
    }
    let name = &subject.there.host_name;
    let is_ambiguous = name.is_empty() || name == "localhost" || name.starts_with("localhost.");
    if is_live && options.data_host.is_none() && is_ambiguous && !matches!(route, Route::Tunnel(_)) {
        findings.push(
            Finding::refusal(Check::Route, format!("the destination calls itself {name:?}"))
                .why("that is where the source would send the data")
                .fix("say where the source reaches it: --data-host ADDRESS"),
        );
    }
    if is_live && options.timeout.is_some_and(|timeout| timeout.then == AtTimeout::PostCopy) {
        let what = "after a switch to post-copy there is no way back";
        findings.push(Finding::warning(Check::Route, what).why("the VM is lost when the hosts lose each other then"));
    }
    findings.push(match &route {
        Route::Client => Finding::ok(Check::Route, "led from here, over the connections to both hosts")
            .why("it is given up when this program ends; data goes from host to host"),
        Route::Source(target) | Route::Tunnel(target) => {
            Finding::unknown(Check::Route, format!("the source logs in at {target} with keys of its own"))
                .why("nobody here can see whether they are accepted")
        }
    });
    route
}

/// The destination as the source reaches it; `None` when its target leads elsewhere from there.
fn peer(subject: &Subject<'_>) -> Option<Target> {
    let target = subject.options.peer.clone().or_else(|| Target::parse(&subject.there.target).ok())?;
    let is_local = matches!(target, Target::Qemu { via: Via::Local, .. } | Target::Test(_));
    (!is_local).then_some(target)
}
