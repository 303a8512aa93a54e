//! Network interfaces.

use super::*;
use kvm_xml::domain::InterfaceTarget;
use kvm_xml::rewrite::Refusal;
use kvm_xml::rewrite::policy;

fn macs(domain: &Domain) -> Vec<Option<MacAddr>> {
    domain.interfaces().iter().map(kvm_xml::domain::Interface::mac_address).collect()
}

#[test]
fn a_clone_has_other_addresses_and_a_template_none() {
    let old = vec![Some(MacAddr([0x52, 0x54, 0, 0, 0, 1])), Some(MacAddr([0x52, 0x54, 0, 0, 0, 2]))];
    let new = vec![Some(mac(1)), Some(mac(2))];
    row(macs, [new, old.clone(), old.clone(), old, vec![None, None]]);
}

#[test]
fn an_address_is_given_once_and_never_one_that_the_machine_has() {
    let mut offers =
        [mac(9), MacAddr([0x52, 0x54, 0, 0, 0, 2]), MacAddr([1; 6]), MacAddr([0; 6]), mac(9), mac(8)].into_iter();
    let mut facts = Facts { mac: Box::new(move || offers.next()), ..facts() };
    let copy = rewrite(&identity(), &Policy::CLONE, &mut facts).expect("two of them will do");
    assert_eq!(macs(&copy.domain), [Some(mac(9)), Some(mac(8))]);
}

#[test]
fn an_allocator_that_has_none_is_refused() {
    for give in [None, Some(mac(1))] {
        let error = refusal(&identity(), &Policy::CLONE, &mut Facts { mac: Box::new(move || give), ..facts() });
        assert_eq!(error.kind, Refusal::Facts);
        assert!(error.field.ends_with(".mac.address"), "{error}");
    }
}

#[test]
fn kept_addresses_of_a_clone_are_warned_of_where_both_hear_each_other() {
    let policy = Policy { mac: policy::Mac::Keep, ..Policy::CLONE };
    let shared = |facts: &mut Facts<'_>| {
        let copy = rewrite(&identity(), &policy, facts).expect("has all it needs");
        copy.warnings.into_iter().filter(|warning| matches!(warning, Warning::MacShared { .. })).count()
    };
    assert_eq!(shared(&mut facts()), 2);
    let only_bridges = |uplink: Uplink<'_>| matches!(uplink, Uplink::Bridge(_));
    assert_eq!(shared(&mut Facts { shares_network: Box::new(only_bridges), ..facts() }), 1);
    warned(facts_for, |warning| matches!(warning, Warning::MacShared { .. }), [0; 5]);
}

#[test]
fn a_change_of_address_is_named_by_the_old_one() {
    let copy = copy(&identity(), &Policy::CLONE);
    let told = copy.changes.iter().find(|edit| edit.change.path.ends_with(".mac.address")).expect("is told");
    assert_eq!(
        told.change.to_string(),
        "devices.interface[52:54:00:00:00:01].mac.address: 52:54:00:00:00:01 -> 52:54:00:ff:00:01"
    );
}

#[test]
fn filters_and_ports_of_switches_follow_the_address() {
    let filter = |domain: &Domain| {
        let filter = domain.interfaces()[0].filterref.as_ref().expect("is kept");
        filter.parameter.get(1).and_then(|parameter| parameter.value.clone()).unwrap_or_default()
    };
    let old = "52:54:00:00:00:01";
    row(filter, ["52:54:00:ff:00:01", old, old, old, ""]);
    let port = |domain: &Domain| {
        let port = domain.interfaces()[1].virtualport.as_ref().expect("is kept");
        port.parameters.as_ref().is_some_and(|parameters| parameters.interfaceid.is_some())
    };
    row(port, [false, true, true, true, false]);
    warned(facts_for, |warning| matches!(warning, Warning::FilteredAddress { .. }), [1, 0, 0, 0, 1]);
}

#[test]
fn the_device_on_the_host_is_taken_out() {
    row(|domain| domain.interfaces()[0].target.clone(), [const { None::<InterfaceTarget> }; 5]);
    row(|domain| domain.interfaces()[0].source.as_ref().and_then(|source| source.portid.clone()).is_some(), [false; 5]);
}

#[test]
fn networks_and_bridges_have_the_targets_names() {
    let network = |domain: &Domain| domain.interfaces()[0].source.as_ref().and_then(|source| source.network.clone());
    let there = "default-there";
    row(move |domain| network(domain).expect("is kept"), [there, there, "default", there, there]);
    let bridge = |domain: &Domain| domain.interfaces()[1].source.as_ref().and_then(|source| source.bridge.clone());
    row(move |domain| bridge(domain).expect("is kept"), ["br0t", "br0t", "br0", "br0t", "br0t"]);
}

#[test]
fn a_network_that_the_target_lacks_is_refused_by_name() {
    let missing = |uplink: Uplink<'_>| (!matches!(uplink, Uplink::Bridge("br0"))).then(|| uplink.name().to_owned());
    let error = refusal(&identity(), &Policy::MOVE, &mut Facts { network: Box::new(missing), ..facts() });
    assert_eq!(error.kind, Refusal::NetworkMissing);
    assert_eq!(error.field, "devices.interface[52:54:00:00:00:02].source.bridge");
    assert!(error.problem.contains("'br0'"), "{error}");
}

#[test]
fn host_interfaces_and_networks_of_graphics_are_mapped_too() {
    let domain = machine(
        "<interface type='direct'><source dev='eth0' mode='bridge'/></interface>
         <graphics type='vnc'><listen type='network' network='default'/></graphics>",
    );
    let copy = copy(&domain, &Policy::MOVE).domain;
    assert_eq!(copy.interfaces()[0].source.as_ref().and_then(|source| source.dev.as_deref()), Some("eth0t"));
    assert_eq!(copy.graphics()[0].listen_el[0].network.as_deref(), Some("default-there"));
}

#[test]
fn forwarded_ports_of_a_clone_are_warned_of() {
    let domain = machine(
        "<interface type='user'><portForward proto='tcp'><range start='2022' to='22'/></portForward></interface>",
    );
    let warnings = copy(&domain, &Policy::CLONE).warnings;
    assert_eq!(warnings.iter().filter(|warning| matches!(warning, Warning::HostPort { .. })).count(), 1);
}
