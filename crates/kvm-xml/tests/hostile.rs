//! Documents made to do harm are refused quickly, with one harmless line.

use kvm_xml::{Document, Domain, Fragment, Network, ParseOptions, XmlError, diff};

fn check(error: &XmlError, what: &str) {
    let line = error.to_string();
    assert!(line.len() < 1000, "{what}: {} bytes", line.len());
    assert!(!line.chars().any(char::is_control), "{what}: {line:?}");
}

#[test]
fn what_is_not_well_formed_is_refused() {
    let broken = [
        "",
        " ",
        "no markup",
        "<domain>",
        "<domain/><domain/>",
        "<domain/>text",
        "</domain>",
        "<domain></name></domain>",
        "<domain><name></domain>",
        "<domain a='1' a='2'/>",
        "<domain type='kvm' type='kvm'/>",
        "<domain a='1'b='2'/>",
        "<domain a=1/>",
        "<domain a/>",
        "<domain a='<'/>",
        "<domain a='1/>",
        "<domain a='&unknown;'/>",
        "<domain a='&#0;'/>",
        "<domain a='&#xD800;'/>",
        "<domain a='&#+65;'/>",
        "<domain a='&amp'/>",
        "<domain><name>&bad;</name></domain>",
        "<domain><name>&#1;</name></domain>",
        "<domain><name>]]></name></domain>",
        "<domain><!-- a -- b --></domain>",
        "<domain><![CDATA[</domain>",
        "<domain><1/></domain>",
        "<domain><a\u{7F}\u{202E}/></domain>",
        "<domain 1='a'/>",
        "<domain><a:b/></domain>",
        "<domain a:b='c'/>",
        "<domain><a:b:c xmlns:a='urn:a'/></domain>",
        "<domain><x><y></x></y></domain>",
        "<domain>\u{1}</domain>",
        "<domain>\u{FFFE}</domain>",
        "<domain/><!DOCTYPE domain>",
        "<?xml version='1.0' encoding='ISO-8859-1'?><domain/>",
        "<network/>",
        "<Domain/>",
    ];
    for text in broken {
        match Domain::from_xml(text) {
            Ok(domain) => panic!("{text:?} was read as {domain:?}"),
            Err(error) => check(&error, text),
        }
    }
}

#[test]
fn document_types_and_entities_are_refused() {
    let laughs = "<!DOCTYPE domain [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]><domain><name>&b;</name></domain>";
    let outside = "<!DOCTYPE domain SYSTEM 'file:///etc/passwd'><domain/>";
    for text in [laughs, outside] {
        let error = Domain::from_xml(text).expect_err(text);
        assert_eq!(error.message(), "a document type is not allowed");
    }
}

#[test]
fn depth_is_limited_for_known_and_unknown_elements() {
    for name in ["backingStore", "unknown", "x:y"] {
        let deep = |levels: usize| {
            let (open, close) = (format!("<{name}>").repeat(levels), format!("</{name}>").repeat(levels));
            format!("<domain xmlns:x='urn:x'><devices><disk>{open}{close}</disk></devices></domain>")
        };
        assert!(Domain::from_xml(&deep(253)).is_ok(), "{name}");
        let error = Domain::from_xml(&deep(254)).expect_err(name);
        assert!(error.message().contains("more than 256 deep"), "{error}");
        check(&error, name);
        check(&Domain::from_xml(&deep(20_000)).expect_err(name), name);
    }
}

#[test]
fn size_is_limited_and_the_limit_can_be_moved() {
    let text = format!("<network><name>{}</name></network>", "a".repeat(ParseOptions::MAX_BYTES));
    check(&Network::from_xml(&text).expect_err("too large"), "too large");
    let options = ParseOptions { max_bytes: 2 * ParseOptions::MAX_BYTES, ..ParseOptions::LENIENT };
    assert!(Network::from_xml_with(&text, &options).is_ok());
}

#[test]
fn attributes_and_namespaces_are_limited() {
    let many = |count: usize, prefix: &str| (0..count).map(|n| format!(" {prefix}a{n}='{n}'")).collect::<String>();
    for prefix in ["", "xmlns:"] {
        assert!(Domain::from_xml(&format!("<domain{}/>", many(200, prefix))).is_ok());
        check(&Domain::from_xml(&format!("<domain{}/>", many(20_000, prefix))).expect_err("many"), "many attributes");
        check(&Domain::from_xml(&format!("<domain><x{}/></domain>", many(20_000, prefix))).expect_err("many"), "many");
    }
}

#[test]
fn long_and_strange_input_is_not_repeated_in_full() {
    let long = "é".repeat(5000);
    check(&Domain::from_xml_strict(&format!("<domain {long}='1'/>")).expect_err("long"), "long name");
    check(&Domain::from_xml_strict(&format!("<domain type='{long}'/>")).expect_err("long"), "long value");
    check(&Domain::from_xml_strict("<domain type='a&#9;&#10;\u{202E}'/>").expect_err("odd"), "odd value");
    check(&Domain::from_xml(&format!("<{long}/>")).expect_err("long"), "long root");
    check(&Domain::from_xml(&format!("<domain><{long}>")).expect_err("long"), "long element");
}

#[test]
fn a_fragment_is_one_piece_of_well_formed_xml() {
    for good in ["<a/>", " <a b='c'>d</a> ", "<!-- c -->", "<?pi x?>", "a &amp; b", "<a:b xmlns:a='urn:a'/>"] {
        assert!(Fragment::parse(good).is_ok(), "{good}");
    }
    for bad in ["", "<a>", "<a/><b/>", "a<b/>", "</a>", "<a:b/>", "<!DOCTYPE a>", "a & b", "<a b='1' b='2'/>"] {
        assert!(Fragment::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_set_of_cpus_that_names_everything_many_times_is_cheap() {
    let text = format!("<domain><vcpu cpuset='{}0'>1</vcpu></domain>", "0-4294967295,".repeat(60_000));
    let domain = Domain::from_xml(&text).expect("well-formed");
    let cpus = domain.vcpu.and_then(|vcpu| vcpu.cpuset).expect("a set");
    assert_eq!(cpus.iter(2).collect::<Vec<_>>(), [0, 1]);
}

/// Does everything with a document that there is to do.
fn use_up(text: &str) {
    let domain = Domain::from_xml(text).expect("well-formed");
    let mut other = domain.clone();
    assert_eq!(diff(&domain, &other), []);
    other.redact();
    let written = domain.to_xml();
    let options = ParseOptions { max_bytes: usize::MAX, ..ParseOptions::LENIENT };
    assert!(Domain::from_xml_with(&written, &options).expect("written by us") == domain);
    assert!(!format!("{domain:?}").is_empty());
    let json = serde_json::to_value(&domain).expect("a value");
    assert!(serde_json::from_value::<Domain>(json).expect("of ours") == domain);
}

#[test]
fn the_deepest_document_fits_the_stack_of_a_thread() {
    // What a thread of Rust's gets.
    const STACK: usize = 2 << 20;
    for name in ["backingStore", "unknown", "x:y"] {
        let (open, close) = (format!("<{name}>").repeat(250), format!("</{name}>").repeat(250));
        let text = format!("<domain xmlns:x='urn:x'><devices><disk>{open}{close}</disk></devices></domain>");
        let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || use_up(&text));
        assert!(thread.expect("a thread").join().is_ok(), "{name}");
    }
}

#[test]
fn much_of_anything_takes_time_in_proportion() {
    // Work that grows with the square of these would go on for minutes.
    let room = ParseOptions::MAX_BYTES / 4;
    let many = |part: &str| part.repeat(room / part.len());
    let numbered = |part: &dyn Fn(usize) -> String| {
        let mut text = String::new();
        for part in (0..).map(part) {
            if text.len() + part.len() > room {
                break;
            }
            text.push_str(&part);
        }
        text
    };
    let inside = [
        many("<memory>1</memory>"),
        many("<new/>"),
        "<sysinfo/>".repeat(20_000),
        "<sysinfo/><seclabel/>".repeat(10_000),
        "<seclabel/><new/><sysinfo/>".repeat(10_000),
        many("<!-- c -->"),
        many("&amp;"),
        many("a<new/>"),
        many("<![CDATA[ ]]> "),
        numbered(&|number| format!("<n{number}/>")),
        numbered(&|number| format!("<iothreads>0{number}</iothreads>")),
        format!("<cpu>{}</cpu>", numbered(&|number| format!("<feature name='f{number}'/>"))),
        format!("<qemu:commandline xmlns:qemu='urn:other'>{}</qemu:commandline>", many("<qemu:arg/>")),
        format!("<description>{}</description>", many("&lt;")),
        format!("<title>{}</title>", many("<b/>")),
    ];
    for inside in inside {
        use_up(&format!("<domain>{inside}</domain>"));
    }
    let disks = |count: usize| format!("<domain><devices>{}</devices></domain>", "<disk/>".repeat(count));
    use_up(&disks(1_000));
    check(&Domain::from_xml(&disks(100_000)).expect_err("too many"), "many disks");
    let attributes = numbered(&|number| format!(" a{number}='1'"));
    check(&Domain::from_xml(&format!("<domain{attributes}/>")).expect_err("too many"), "many attributes");
}
