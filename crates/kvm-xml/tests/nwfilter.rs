//! Values of network filters: variables beside addresses and numbers, names beside numbers, and the order of entries.

use kvm_xml::nwfilter::{ArpOpcode, EtherType, FilterIp, FilterMask, FilterRule, OrVariable};
use kvm_xml::{Document, NetworkFilter};
use serde_json::json;

fn rule(inner: &str) -> FilterRule {
    let text = format!("<filter name='f'><rule action='accept' direction='in'>{inner}</rule></filter>");
    let filter = NetworkFilter::from_xml_strict(&text).unwrap_or_else(|error| panic!("{inner}: {error}"));
    filter.rule.into_iter().next().expect("there is one")
}

/// What strict reading says about a rule.
fn refusal(inner: &str) -> String {
    let text = format!("<filter name='f'><rule action='accept' direction='in'>{inner}</rule></filter>");
    NetworkFilter::from_xml_strict(&text).expect_err(inner).to_string()
}

#[test]
fn a_variable_can_stand_for_any_value() {
    let rule =
        rule("<tcp srcmacaddr='$MAC' srcipaddr='$IP[1]' srcipmask='$MASK' dstportstart='$PORTS[@2]' dscp='0x2e'/>");
    let tcp = &rule.tcp[0];
    let mac = tcp.srcmacaddr.as_ref().and_then(OrVariable::variable).expect("a variable");
    assert_eq!((mac.name(), mac.access()), ("MAC", None));
    let ip = tcp.srcipaddr.as_ref().and_then(OrVariable::variable).expect("a variable");
    assert_eq!((ip.name(), ip.access()), ("IP", Some("1")));
    let port = tcp.dstportstart.as_ref().and_then(OrVariable::variable).expect("a variable");
    assert_eq!((port.name(), port.access()), ("PORTS", Some("@2")));
    assert_eq!(tcp.dscp, Some(46.into()));
}

#[test]
fn variables_may_have_spaces_where_libvirt_takes_them() {
    let rule = rule("<udp srcportstart='$  PORTS[ @0 ]  '/>");
    let variable = rule.udp[0].srcportstart.as_ref().and_then(OrVariable::variable).expect("a variable");
    assert_eq!((variable.name(), variable.access()), ("PORTS", Some("@0")));
    assert_eq!(variable.as_str(), "$  PORTS[ @0 ]  ");
    for text in ["$", "$ ", "$A B", "$A[", "$A[]", "$A[@]", "$A[x]", "$A [1]", "$A[1]x", "$A[@ 1]"] {
        let error = refusal(&format!("<udp srcportstart='{text}'/>"));
        assert!(error.contains("is not a variable such as $IP"), "{text}: {error}");
    }
}

#[test]
fn addresses_masks_and_names_are_read_in_all_forms() {
    let rule = rule(
        "<ip srcmacaddr='1:2:3:a:B:C' srcipaddr='10.1.2.3' srcipmask='255.255.0.0' dstipmask='24' protocol='UDP'/>\
         <ip protocol='0x11'/>",
    );
    let [one, two] = &rule.ip[..] else { panic!("two elements") };
    assert_eq!(one.srcmacaddr.as_ref().map(ToString::to_string).as_deref(), Some("01:02:03:0a:0b:0c"));
    let address = one.srcipaddr.as_ref().and_then(OrVariable::value).and_then(FilterIp::address);
    assert_eq!(address, Some([10, 1, 2, 3].into()));
    assert!(matches!(one.srcipmask.as_ref().and_then(OrVariable::value), Some(FilterMask::Bits(_))));
    assert_eq!(one.dstipmask, Some(FilterMask::Prefix(24).into()));
    assert_eq!(one.protocol.as_ref().map(ToString::to_string).as_deref(), Some("udp"));
    assert_eq!(two.protocol.as_ref().map(ToString::to_string).as_deref(), Some("17"));
}

#[test]
fn odd_spellings_stay_until_they_are_changed() {
    let text = "<filter name='f'>\n  <rule action='drop' direction='out' statematch='FALSE'>\n    \
                <arp srcmacaddr='1:2:3:4:5:6' hwtype='0x01' opcode='reply'/>\n  </rule>\n</filter>\n";
    let mut filter = NetworkFilter::from_xml_strict(text).expect("valid");
    assert_eq!(filter.to_xml(), text);
    assert!(filter.rule[0].statematch.is_some_and(|statematch| !statematch.0));
    filter.rule[0].arp[0].opcode = Some(ArpOpcode::Number(9).into());
    assert_eq!(filter.to_xml(), text.replace("reply", "9"));
}

#[test]
fn values_out_of_range_are_refused() {
    let cases = [
        ("<tcp dscp='64'/>", "'64' is not a number from 0 to 63"),
        ("<tcp srcportstart='65536'/>", "'65536' is not a number from 0 to 65535"),
        ("<vlan vlanid='0x1000'/>", "is not a number from 0 to 4095"),
        ("<mac protocolid='1535'/>", "'1535' is not arp, rarp, ipv4, ipv6, vlan or a number from 1536 to 65535"),
        ("<mac protocolid='ipx'/>", "'ipx' is not arp,"),
        ("<ip srcipmask='129'/>", "'129' is not a number of bits"),
        ("<ip srcipaddr='10.1.2'/>", "'10.1.2' is not an IP address"),
        ("<ipv6 srcipaddr='12345::1'/>", "is not an IP address"),
        ("<ipv6 srcipaddr='::1.2.3'/>", "is not an IP address"),
        ("<tcp state='NEW,NONE'/>", "is not NONE, or NEW"),
        ("<tcp flags='SYN'/>", "is not flags such as"),
        ("<tcp flags='SYN/'/>", "is not flags such as"),
        ("<tcp ipsetflags='src,src,src,src,src,src,src'/>", "is not up to six times"),
        ("<tcp ipset='a/b'/>", "is not the name of an IP set"),
        ("<arp gratuitous='maybe'/>", "is not true, yes or 1"),
        ("<arp opcode='Hello'/>", "is not Request, Reply"),
    ];
    for (inner, message) in cases {
        let error = refusal(inner);
        assert!(error.contains(message), "{inner}: {error}");
    }
}

#[test]
fn a_chain_is_named_after_its_protocol() {
    for chain in ["root", "mac", "arp-xyz", "ipv6:a.b_c", "rarp12345678"] {
        let text = format!("<filter name='f' chain='{chain}' priority='-1000'/>");
        NetworkFilter::from_xml_strict(&text).unwrap_or_else(|error| panic!("{chain}: {error}"));
    }
    for chain in ["", "Root", "ip", "rooted", "arp xyz", "arp1234567890"] {
        let text = format!("<filter name='f' chain='{chain}'/>");
        let error = NetworkFilter::from_xml_strict(&text).expect_err(chain).to_string();
        assert!(error.contains("is not root or a name that starts with mac"), "{chain}: {error}");
    }
}

#[test]
fn rules_and_references_keep_their_order_among_each_other() {
    let text = "<filter name='f'>\n  <rule action='drop' direction='in'/>\n  <filterref filter='a'/>\n  \
                <rule action='accept' direction='out'/>\n  <filterref filter='b'/>\n</filter>\n";
    let filter = NetworkFilter::from_xml_strict(text).expect("valid");
    assert_eq!((filter.rule.len(), filter.filterref.len()), (2, 2));
    assert_eq!(filter.to_xml(), text);
}

#[test]
fn a_value_and_a_variable_are_one_scalar_in_json() {
    let rule =
        rule("<mac srcmacaddr='$MAC' protocolid='0x800'/><mac protocolid='arp' dstmacaddr='52:54:00:00:00:01'/>");
    let value = serde_json::to_value(&rule).expect("serialises");
    assert_eq!(value["mac"][0]["srcmacaddr"], json!("$MAC"));
    assert_eq!(value["mac"][0]["protocolid"], json!(2048));
    assert_eq!(value["mac"][1]["protocolid"], json!("arp"));
    assert_eq!(value["mac"][1]["dstmacaddr"], json!("52:54:00:00:00:01"));
    let back: FilterRule = serde_json::from_value(value).expect("valid");
    assert_eq!(back, rule);
    assert_eq!(back.mac[0].protocolid, Some(EtherType::Number(0x800).into()));
}

#[test]
fn values_are_read_from_text_and_shown_as_text() {
    let value: OrVariable<u16> = "443".parse().expect("a number");
    assert_eq!(value, 443.into());
    let variable: OrVariable<u16> = "$PORTS[1]".parse().expect("a variable");
    assert_eq!(variable.to_string(), "$PORTS[1]");
    assert!(variable.value().is_none() && "x".parse::<OrVariable<u16>>().is_err());
    assert_eq!(serde_json::to_value(&variable).expect("serialises"), json!("$PORTS[1]"));
    assert_eq!(serde_json::from_value::<OrVariable<u16>>(json!("443")).expect("valid"), value);
}
