//! What becomes of each part of a machine when it is cloned, replicated, restored, moved or made a template.

mod disks;
mod documents;
mod host;
mod identity;
mod network;

use kvm_xml::rewrite::policy::{Files, HostDevices, Name};
use kvm_xml::rewrite::{Facts, Mapped, Place, Policy, RewriteError, Rewritten, Uplink, Warning, rewrite};
use kvm_xml::value::MacAddr;
use kvm_xml::{Document, Domain};
use std::fmt::Debug;
use std::path::Path;
use uuid::{Uuid, uuid};

const NEW_UUID: Uuid = uuid!("0a4e7c52-9f1d-4d0e-8c35-51b0c9d1a1c4");
const NEW_GENID: Uuid = uuid!("11111111-2222-4333-8444-555555555555");

/// The five operations.
const OPERATIONS: [(&str, Policy); 5] = [
    ("clone", Policy::CLONE),
    ("replica", Policy::REPLICA),
    ("restore", Policy::RESTORE),
    ("move", Policy::MOVE),
    ("template", Policy::TEMPLATE),
];

fn testdata(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/xml");
    std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A running machine with everything that identifies one.
fn identity() -> Domain {
    Domain::from_xml_strict(&testdata("domain-identity.xml")).expect("valid")
}

/// A machine with these devices.
fn machine(devices: &str) -> Domain {
    let text = format!("<domain><name>web</name><devices>{devices}</devices></domain>");
    Domain::from_xml_strict(&text).expect("valid")
}

fn mac(last: u8) -> MacAddr {
    MacAddr([0x52, 0x54, 0, 0xff, 0, last])
}

/// Another host that has what the machine needs, under other names.
fn facts() -> Facts<'static> {
    let mut last = 0;
    Facts {
        uuid: Some(NEW_UUID),
        genid: Some(NEW_GENID),
        place: Place::OtherHost,
        mac: Box::new(move || {
            last += 1;
            Some(mac(last))
        }),
        network: Box::new(|uplink| {
            Some(match uplink {
                Uplink::Network(name) => format!("{name}-there"),
                Uplink::Bridge(name) | Uplink::Device(name) => format!("{name}t"),
            })
        }),
        listen: Box::new(|_| Some("198.51.100.1".to_owned())),
        reaches: Box::new(|source| source.file.as_deref() != Some("/iso/here-only.iso")),
        host_device: Box::new(|_| Mapped::Yes),
        ..Facts::default()
    }
}

/// The facts for a policy: a new name for what becomes another machine, the same host for what is restored.
fn facts_for(policy: &Policy) -> Facts<'static> {
    let name = (policy.name == Name::New).then(|| "copy".to_owned());
    let place = if policy.disks == Files::Keep { Place::SameHost } else { Place::OtherHost };
    Facts { name, place, ..facts() }
}

/// Rewrites with [`facts_for`] the policy.
fn copy(domain: &Domain, policy: &Policy) -> Rewritten {
    let copy = rewrite(domain, policy, &mut facts_for(policy)).unwrap_or_else(|error| panic!("{error}"));
    told_completely(domain, &copy);
    copy
}

fn refusal(domain: &Domain, policy: &Policy, facts: &mut Facts<'_>) -> RewriteError {
    rewrite(domain, policy, facts).expect_err("has to be refused")
}

/// Checks what `read` finds after each of the five operations: clone, replica, restore, move, template.
fn row<T: Debug, E: Debug + PartialEq<T> + PartialEq>(read: impl Fn(&Domain) -> T, expected: [E; 5]) {
    let domain = identity();
    for ((name, policy), expected) in OPERATIONS.into_iter().zip(expected) {
        let copy = copy(&domain, &policy);
        assert!(expected == read(&copy.domain), "{name}: expected {expected:?}, found {:?}", read(&copy.domain));
    }
}

/// The same for warnings that `pick` knows, by their number.
fn warned(facts: impl Fn(&Policy) -> Facts<'static>, pick: impl Fn(&Warning) -> bool, expected: [usize; 5]) {
    let domain = identity();
    for ((name, policy), expected) in OPERATIONS.into_iter().zip(expected) {
        let copy = rewrite(&domain, &policy, &mut facts(&policy)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = copy.warnings.iter().filter(|warning| pick(warning)).count();
        assert_eq!(found, expected, "{name}: {:?}", copy.warnings);
    }
}

/// Every difference between the two documents is among the changes.
fn told_completely(before: &Domain, copy: &Rewritten) {
    // Differences are named by MAC addresses, so these are compared first and put back.
    let mut after = copy.domain.clone();
    let told: Vec<_> = copy.changes.iter().map(|edit| &edit.change).collect();
    assert!(told.iter().all(|change| change.before != change.after || change.before.as_deref() == Some("***")));
    // Where items were taken out the others have moved up, so the list is not compared.
    let taken_out = told.iter().filter(|change| change.path.ends_with(']') && change.after.is_none());
    let lists: Vec<&str> = taken_out.filter_map(|change| Some(change.path.rsplit_once('[')?.0)).collect();
    let interfaces = after.devices.iter_mut().flat_map(|devices| &mut devices.interface);
    for (new, old) in interfaces.zip(before.interfaces()) {
        if new.mac_address() != old.mac_address() {
            assert!(told.iter().any(|change| change.path.ends_with(".mac.address")));
            new.mac.clone_from(&old.mac);
            if let Some(address) = new.mac.as_mut() {
                address.current_address = None;
            }
        }
    }
    for change in kvm_xml::diff(before, &after) {
        if lists.iter().any(|list| change.path.starts_with(list)) {
            continue;
        }
        let found = told.iter().any(|told| {
            change.path == told.path || change.path.starts_with(&told.path) || told.path.starts_with(&change.path)
        });
        assert!(found, "{change} is not told");
    }
}

/// The policy that refuses nothing and finds nothing, for tests of one field.
fn only(change: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = Policy { hostdev: HostDevices::Keep, ..Policy::KEEP };
    change(&mut policy);
    policy
}
