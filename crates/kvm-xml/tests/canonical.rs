//! Documents that say the same have one form, others have not.

use kvm_xml::{Document, Domain, Network, diff};

fn domain(inner: &str) -> Domain {
    Domain::from_xml(&format!("<domain type='kvm'>{inner}</domain>")).expect("well-formed")
}

#[track_caller]
fn same(a: &str, b: &str) {
    let (a, b) = (domain(a), domain(b));
    assert_eq!(a.canonical(), b.canonical());
    assert_eq!(a, b);
    assert_eq!(a.digest(), b.digest());
    assert_eq!(diff(&a, &b), []);
}

#[track_caller]
fn different(a: &str, b: &str) {
    let (a, b) = (domain(a), domain(b));
    assert_ne!(a.canonical(), b.canonical());
    assert_ne!(a, b);
    assert_ne!(a.digest(), b.digest());
}

#[test]
fn the_form_is_as_documented() {
    let text = "\n<vcpu x='1'> 02 </vcpu>\n<!-- c --><name>a &amp; b</name><zoo/><new b='2' a='1'> <i/> </new>\
        <memory unit='k'>0512</memory><features><acpi></acpi></features>\
        <devices><disk device='tape' type='file'><target bus='virtio' dev='vda'/></disk></devices>";
    assert_eq!(
        domain(text).canonical(),
        "<domain type='kvm'><name>a &amp; b</name><memory unit='KiB'>512</memory><vcpu x='1'>2</vcpu>\
         <features><acpi/></features>\
         <devices><disk device='tape' type='file'><target bus='virtio' dev='vda'/></disk></devices>\
         <new a='1' b='2'><i/></new><zoo/></domain>"
    );
}

#[test]
fn spelling_order_layout_and_comments_do_not_count() {
    same(
        "<name>a</name><uuid>6F1C1A40-5B0E-4C3C-9D3B-0D6F7D1F4B7A</uuid>",
        "<uuid> 6f1c1a405b0e4c3c9d3b0d6f7d1f4b7a</uuid>\n<name>a</name>",
    );
    same("<vcpu current='1' placement='static'>2</vcpu>", "<vcpu placement=\"static\"\n current=' 01'>2</vcpu>");
    same("<memory unit='K'>5</memory>", "<memory unit='KiB'> 5 </memory>");
    same("<a/><b/>", "<b></b><!-- c --><a/>");
    same("<future><x a='1' b='&#65;'/>t&amp;</future>", "<future><x b='A' a='1'></x><![CDATA[t&]]></future>");
}

#[test]
fn everything_else_counts() {
    different("<name>a</name>", "<name>a </name>");
    different("<memory unit='GiB'>1</memory>", "<memory unit='MiB'>1024</memory>");
    different("<os><boot dev='hd'/><boot dev='cdrom'/></os>", "<os><boot dev='cdrom'/><boot dev='hd'/></os>");
    different("<features><acpi/></features>", "<features/>");
    different("<vcpu>many</vcpu>", "<vcpu>few</vcpu>");
    different("<vcpu>many</vcpu>", "<vcpu/>");
    different("<name x='1'>a</name>", "<name>a</name>");
    different("<name new='1'>a</name>", "<name new='2'>a</name>");
    different("<future n='1'/><future n='2'/>", "<future n='2'/><future n='1'/>");
    different("<future>a<x/></future>", "<future><x/>a</future>");
    different("<devices new='1'/>", "<devices/>");
    different("<metadata><a xmlns='urn:1'/></metadata>", "<metadata><a xmlns='urn:2'/></metadata>");
}

#[test]
fn prefixes_that_are_declared_outside_come_along() {
    let with = |uri: &str| {
        let text = format!("<domain xmlns:n='{uri}'><devices n:mark='1'/><metadata><n:a/></metadata></domain>");
        Domain::from_xml(&text).expect("well-formed")
    };
    assert_ne!(with("urn:1"), with("urn:2"));
    let form = with("urn:1").canonical();
    assert_eq!(Domain::from_xml(&form).expect("well-formed").canonical(), form);
    assert!(form.contains("<devices n:mark='1' xmlns:n='urn:1'/>"), "{form}");
}

#[test]
fn a_value_that_was_cleared_leaves_nothing_behind() {
    let mut cleared = domain("<vcpu current=' 5'>2</vcpu>");
    cleared.vcpu.as_mut().expect("there").current = None;
    assert_eq!(cleared, domain("<vcpu>2</vcpu>"));
    assert_eq!(diff(&cleared, &domain("<vcpu>2</vcpu>")), []);
}

#[test]
fn namespaces_of_libvirt_have_their_usual_prefix_and_are_declared_once() {
    let with = |prefix: &str| {
        let uri = "http://libvirt.org/schemas/network/dnsmasq/1.0";
        let options = format!("<{prefix}:options><{prefix}:option value='a'/></{prefix}:options>");
        Network::from_xml(&format!("<network xmlns:{prefix}='{uri}'>{options}</network>")).expect("well-formed")
    };
    assert_eq!(with("x"), with("dnsmasq"));
    assert_eq!(
        with("x").canonical(),
        "<network xmlns:dnsmasq='http://libvirt.org/schemas/network/dnsmasq/1.0'><dnsmasq:options>\
         <dnsmasq:option value='a'/></dnsmasq:options></network>"
    );
}

#[test]
fn the_digest_is_the_sum_of_the_canonical_form() {
    // printf "<domain><name>a</name></domain>" | sha256sum
    let digest = Domain { name: Some("a".into()), ..Domain::default() }.digest();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "e14d0e6d4bc81908c068b3b500d8300f3ba19bbd8cefce86b17002ddf830b8a8");
}

#[test]
fn white_space_around_a_stray_text_is_layout_however_it_is_spelt() {
    same("&#9;text<name>a</name>", " text\n<name>a</name>");
    different("te&#9;xt<name>a</name>", "text<name>a</name>");
    same("two<name>a</name>texts", "<name>a</name>two\n  texts");
}

#[test]
fn an_empty_section_of_text_is_nothing() {
    same("<on_crash><![CDATA[]]></on_crash><new><![CDATA[]]></new>", "<on_crash/><new/>");
}

#[test]
fn texts_that_become_one_are_as_they_were() {
    let mut domain = domain("<devices>one<tpm/>two</devices>");
    domain.devices.as_mut().expect("devices").tpm.clear();
    assert_eq!(Domain::from_xml(&domain.to_xml()).expect("well-formed"), domain);
}
