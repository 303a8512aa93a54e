//! Strict reading refuses what this crate does not know and says what would be valid.

use kvm_xml::{Document, Domain, Network};

/// Path and message of the refusal.
fn refusal(inner: &str) -> (String, String) {
    let error = Domain::from_xml_strict(&format!("<domain>{inner}</domain>")).expect_err(inner);
    (error.path(), error.message().to_owned())
}

#[test]
fn each_kind_of_mistake_is_named_where_it_is() {
    let cases = [
        ("<vcpu>many</vcpu>", "domain.vcpu", "'many' is not a number from 1 to 65535"),
        ("<vcpu>0</vcpu>", "domain.vcpu", "'0' is not a number from 1 to 65535"),
        ("<vcpu>+1</vcpu>", "domain.vcpu", "'+1' is not a number from 1 to 65535"),
        ("<uuid>{6f1c1a40-5b0e-4c3c-9d3b-0d6f7d1f4b7a}</uuid>", "domain.uuid", "is not a uuid"),
        ("<on_crash>explode</on_crash>", "domain.on_crash", "'explode' is not one of destroy, restart, preserve,"),
        ("<name>a</name><name>b</name>", "domain.name", "it is there twice"),
        ("<os/><os/>", "domain.os", "the element is there twice"),
        ("<nmae>a</nmae>", "domain.nmae", "unknown element; the one around it may have name, uuid,"),
        ("<name x='1'>a</name>", "domain.name", "unknown attribute 'x'; it may have none"),
        ("<name><b/></name>", "domain.name.b", "unknown element; the one around it has only text"),
        ("<devices>text</devices>", "domain.devices", "text 'text' where only elements may be"),
        ("<devices><disk typ='file'/></devices>", "domain.devices.disk", "unknown attribute 'typ'; it may have type,"),
        (
            "<devices><disk type='tape'/></devices>",
            "domain.devices.disk.type",
            "'tape' is not one of file, block, dir,",
        ),
        (
            "<devices><graphics port='-2'/></devices>",
            "domain.devices.graphics.port",
            "'-2' is not a number from -1 to 65535",
        ),
        ("<name/>", "domain.name", "'' is not a line of text"),
        ("<devices><emulator>qemu</emulator></devices>", "domain.devices.emulator", "'qemu' is not an absolute path"),
        (
            "<devices><disk><source file='a.img'/></disk></devices>",
            "domain.devices.disk.source.file",
            "'a.img' is not an absolute path",
        ),
        (
            "<devices><disk><source><host name='a b'/></source></disk></devices>",
            "domain.devices.disk.source.host.name",
            "'a b' is not the name or address of a host",
        ),
        (
            "<devices><interface><mac address='01:00:5e:00:00:01'/></interface></devices>",
            "domain.devices.interface.mac.address",
            "is not the MAC address of one interface, not of a group",
        ),
        (
            "<devices><interface><source dev='eth 0'/></interface></devices>",
            "domain.devices.interface.source.dev",
            "a device",
        ),
        ("<os><type machine='q35 '/></os>", "domain.os.type.machine", "'q35 ' is not a name: letters,"),
        ("<devices><disk><source pool='a/b'/></disk></devices>", "domain.devices.disk.source.pool", "without / and"),
        ("<x:y xmlns:x='urn:x'/>", "domain.x:y", "unknown element"),
        ("<features><acpi>no</acpi></features>", "domain.features.acpi", "'no' is not an empty element"),
    ];
    for (inner, path, message) in cases {
        let (at, said) = refusal(inner);
        assert_eq!(at, path, "{inner}");
        assert!(said.contains(message), "{inner}: {said}");
    }
}

#[test]
fn a_place_is_given_in_lines_and_characters() {
    let error = Domain::from_xml_strict("<domain>\n  <name>ö</name><vcpu>x</vcpu>\n</domain>").expect_err("x");
    assert_eq!((error.line(), error.column()), (2, 23));
    assert!(error.to_string().starts_with("line 2, column 23: domain.vcpu: 'x' is not"), "{error}");
}

#[test]
fn lenient_reading_takes_all_of_it() {
    let text = "<domain><vcpu>many</vcpu><os><kernel>here</kernel></os><nmae/><name x='1'>a</name><devices>text<disk typ='x' type='tape'/></devices></domain>";
    let domain = Domain::from_xml(text).expect("well-formed");
    assert_eq!(domain.vcpu.as_ref().and_then(|vcpu| vcpu.value), None);
    assert_eq!(domain.os.as_ref().and_then(|os| os.kernel.as_deref()), Some("here"));
    assert_eq!(Domain::from_xml(&domain.to_xml()).expect("well-formed"), domain);
}

#[test]
fn metadata_may_have_anything_also_in_strict_reading() {
    let text = "<network><name>n</name><metadata><a:b xmlns:a='urn:a' c='d'>e</a:b></metadata></network>";
    assert!(Network::from_xml_strict(text).is_ok());
}

#[test]
fn a_generation_id_may_be_left_to_libvirt() {
    let domain = Domain::from_xml_strict("<domain><name>a</name><genid/></domain>").expect("valid");
    assert_eq!(domain.genid.as_ref().map(|genid| genid.value), Some(None));
    assert!(domain.to_xml().contains("<genid/>"));
}
