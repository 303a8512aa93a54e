//! What the rewriting of a document needs to know, and why it could not be done.

use std::cell::RefCell;
use std::collections::BTreeSet;

use kvm_core::{Error, ErrorKind, Host, MacAddr, Resource, Result, VmSummary};
use kvm_vm::{PlanContext, unused_mac};
use kvm_xml::Domain;
use kvm_xml::rewrite::{Attached, Facts, Location, Place, Refusal, RewriteError};
use kvm_xml::value::MacAddr as XmlMac;

use crate::place::{self, Images};
use crate::spec::CloneSpec;
use crate::survey::Survey;

/// The file of UEFI variables that a document names.
pub(crate) fn variables_of(document: &Domain) -> Option<&str> {
    document.os.as_ref()?.nvram.as_ref()?.value.as_deref()
}

/// What belongs to the machine beside its document.
pub(crate) async fn attached(source: &Host, vm: &VmSummary) -> Result<Attached> {
    let snapshots = match source.hypervisor.snapshots() {
        Some(snapshots) => snapshots.list(&vm.id).await?.len(),
        None => 0,
    };
    let checkpoints = match source.hypervisor.checkpoints() {
        Some(checkpoints) => checkpoints.list(&vm.id).await?.len(),
        None => 0,
    };
    Ok(Attached { snapshots, checkpoints, starts_with_host: vm.autostart == Some(true), ..Attached::default() })
}

/// What the rewriting of the document needs to know of both hosts.
pub(crate) fn facts<'a>(
    survey: &'a Survey<'_>,
    images: &'a Images,
    spec: &'a CloneSpec,
    cx: &'a PlanContext<'_>,
) -> Facts<'a> {
    let given = RefCell::new(BTreeSet::<MacAddr>::new());
    let [here, there] = &survey.graphs;
    let taken = |path: &str| survey.volumes.contains(path);
    let is_same_host = survey.is_same_host();
    Facts {
        name: spec.name.as_ref().map(|name| name.as_str().to_owned()),
        uuid: Some(cx.entropy.uuid()),
        genid: Some(cx.entropy.uuid()),
        place: if is_same_host { Place::SameHost } else { Place::OtherHost },
        machines: survey.machines(),
        mac: Box::new(move || {
            let mac = unused_mac(cx.entropy, &[here, there], &mut given.borrow_mut());
            Some(XmlMac(mac.octets()))
        }),
        name_taken: Box::new(|name| survey.has_name(name)),
        network: Box::new(|uplink| survey.uplink(uplink, &spec.uplinks)),
        shares_network: Box::new(|uplink| survey.shares(uplink)),
        locate: Box::new(move |request| place::locate(images, taken, request)),
        location_taken: Box::new(move |location| matches!(location, Location::File(path) if taken(path))),
        reaches: Box::new(|source| survey.reaches(source)),
        file_exists: Box::new(|path| survey.has_file(path)),
        secret_exists: Box::new(|secret| survey.has_secret(secret)),
        ..match is_same_host {
            true => Facts::default(),
            false => Facts::other_host(),
        }
    }
}

/// Why the document could not be made.
pub(crate) fn refused(error: &RewriteError) -> Error {
    let kind = match error.kind {
        Refusal::NameTaken | Refusal::LocationTaken => ErrorKind::AlreadyExists,
        Refusal::NetworkMissing | Refusal::SecretMissing => ErrorKind::NotFound,
        Refusal::Facts => ErrorKind::InvalidInput,
        _ => ErrorKind::Unsupported,
    };
    // Nothing is replaced here.
    let fix = if error.kind == Refusal::NameTaken { "choose another name" } else { &error.fix };
    Error::new(kind, error.problem.clone()).on(Resource::Field(error.field.clone())).with_detail(fix.to_owned())
}
