//! What holds for every input, not only for those that somebody thought of.

use kvm_core::{
    Bandwidth, Bytes, ConnectOptions, DiskPath, HostName, MacAddr, NetworkName, PoolName, Selector, SnapshotName, Tag,
    Target, VmId, VmName, VmRef, VolumeName, parse_duration, parse_memory, parse_size, text,
};
use proptest::prelude::*;

/// Text in which the characters that matter are as frequent as the others.
fn hostile() -> impl Strategy<Value = String> {
    let special = prop::sample::select(
        "/.-~:*%?#&=@[]{}\\'\"`$;|<> \t\r\n\0\u{7f}\u{85}\u{a0}\u{ad}\u{200b}\u{200c}\u{200d}\u{2028}\u{202e}\u{2066}\
         \u{feff}\u{fe0f}\u{fffe}\u{301}ае数م🐧"
            .chars()
            .collect::<Vec<_>>(),
    );
    prop::collection::vec(prop_oneof![special, prop::char::range('a', 'z'), any::<char>()], 0..24)
        .prop_map(|chars| chars.into_iter().collect())
}

/// Characters that a URI may hold: unreserved, its own delimiters, and percent escapes.
fn is_uri_text(uri: &str) -> bool {
    let bytes = uri.as_bytes();
    uri.bytes().enumerate().all(|(i, b)| match b {
        b'%' => bytes.get(i + 1..i + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)),
        b'-' | b'.' | b'_' | b'~' | b'/' | b':' | b'@' | b'?' | b'&' | b'=' | b'+' | b'[' | b']' => true,
        b => b.is_ascii_alphanumeric(),
    })
}

macro_rules! name_properties {
    ($($test:ident: $type:ty;)*) => {
        proptest! {$(
            #[test]
            fn $test(text in hostile()) {
                if let Ok(name) = <$type>::parse(&text) {
                    prop_assert_eq!(name.as_str(), &text);
                    prop_assert_eq!(name.to_string(), text.clone());
                    prop_assert_eq!(<$type>::parse_mixed_script(&text).ok(), Some(name.clone()));
                    prop_assert_eq!(<$type>::adopt(&text).ok(), Some(name));
                }
                if let Ok(name) = <$type>::adopt(&text) {
                    let json = serde_json::to_string(&name).unwrap();
                    prop_assert_eq!(&serde_json::from_str::<$type>(&json).unwrap(), &name);
                    prop_assert!(!text.contains(['/', '\0']) && text != "." && text != "..");
                }
            }
        )*}
    };
}

name_properties! {
    what_parses_as_a_vm_name_is_adopted_unchanged: VmName;
    what_parses_as_a_pool_name_is_adopted_unchanged: PoolName;
    what_parses_as_a_volume_name_is_adopted_unchanged: VolumeName;
    what_parses_as_a_network_name_is_adopted_unchanged: NetworkName;
    what_parses_as_a_snapshot_name_is_adopted_unchanged: SnapshotName;
}

proptest! {
    #[test]
    fn printable_text_is_inert_and_stays_so(input in hostile(), limit in 0_usize..40) {
        let shown = text::printable(&input).to_string();
        let acts = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
        prop_assert!(!shown.contains(acts));
        prop_assert_eq!(text::printable(&shown).to_string(), shown.clone());
        let cut = text::printable_within(&input, limit).to_string();
        prop_assert!(cut.chars().count() <= limit);
        if shown.chars().count() <= limit {
            prop_assert_eq!(cut, shown);
        }
    }

    #[test]
    fn no_parser_panics_and_every_refusal_is_short(input in hostile()) {
        let refusals = [
            Tag::parse(&input).err(),
            HostName::parse(&input).err(),
            MacAddr::parse(&input).err(),
            VmId::parse(&input).err(),
            VmRef::parse(&input).err(),
            DiskPath::parse(&input).err(),
            Target::parse(&input).err(),
            Selector::parse(&input).err(),
            Bandwidth::parse(&input).err(),
            parse_size(&input).err(),
            parse_memory(&input).err(),
            parse_duration(&input).err(),
        ];
        for e in refusals.into_iter().flatten() {
            prop_assert!(e.message().len() < 1024, "{}", e);
            prop_assert_eq!(text::printable(e.message()).to_string(), e.message());
        }
    }

    #[test]
    fn the_exact_form_of_a_size_is_read_back(sectors in 1..=Bytes::VOLUME_MAX.get() / 512) {
        let size = Bytes::new(sectors * 512);
        prop_assert_eq!(parse_size(&format!("{size:#}")).unwrap(), size);
        prop_assert_eq!(parse_size(&size.get().to_string()).unwrap(), size);
    }

    #[test]
    fn the_form_for_people_is_within_half_of_its_last_digit(sectors in 2..=Bytes::VOLUME_MAX.get() / 1024) {
        let size = Bytes::new(sectors * 512);
        let shown = size.to_string().replace(' ', "");
        let read = parse_size(&shown).unwrap().get();
        prop_assert!(read.abs_diff(size.get()) <= size.get() / 19 + 512, "{} as {}", size.get(), shown);
    }

    #[test]
    fn sizes_with_units_are_what_they_say(n in 1_u64..1000, power in 1_u32..=4) {
        let unit = ["K", "M", "G", "T"][power as usize - 1];
        prop_assert_eq!(parse_size(&format!("{n}{unit}")).unwrap().get(), n << (10 * power));
        let decimal = n * 1000_u64.pow(power);
        prop_assert_eq!(parse_size(&format!("{n}{unit}B")).unwrap().get(), decimal.next_multiple_of(512).max(512));
    }

    #[test]
    fn a_limit_is_written_so_that_it_is_read_back(rate in Bandwidth::MIN.get()..=Bandwidth::MAX.get()) {
        let limit = Bandwidth::parse(&format!("{rate}B/s")).unwrap();
        prop_assert_eq!(Bandwidth::parse(&format!("{limit:#}")).unwrap(), limit);
    }

    #[test]
    fn ids_are_read_back(bytes in any::<[u8; 16]>()) {
        let id = VmId::from_entropy(bytes);
        prop_assert_eq!(VmId::parse(&id.to_string()).unwrap(), id);
        prop_assert_eq!(VmRef::parse(&id.to_string()).unwrap(), VmRef::Id(id));
    }

    #[test]
    fn new_mac_addresses_are_good_ones(bytes in any::<[u8; 3]>()) {
        let mac = MacAddr::kvm_oui(bytes);
        prop_assert_eq!(MacAddr::parse(&mac.to_string()).unwrap(), mac);
    }

    #[test]
    fn no_text_of_a_user_reaches_the_uri_unescaped(
        prefix in prop::sample::select(vec![
            "qemu:///system", "qemu+ssh://", "qemu+ssh://root@h/system", "qemu+tls://", "test:///", "",
        ]),
        middle in prop_oneof![Just(String::new()), hostile(), "[a-z0-9@:.%\\[\\]_-]{0,12}", "\\PC{0,12}"],
        suffix in prop::sample::select(vec!["", ".xml", "/system", "@h/system"]),
        file in prop_oneof![hostile(), "\\PC{0,24}"],
    ) {
        let Ok(target) = Target::parse(&format!("{prefix}{middle}{suffix}")) else { return Ok(()) };
        prop_assert_eq!(Target::parse(&target.to_string()).unwrap(), target.clone());
        for which in 0..5 {
            let path = |n| (n == which).then(|| format!("/{file}").into());
            let options =
                ConnectOptions { socket: path(1), identity: path(2), known_hosts: path(3), pki: path(4) };
            if let Ok(uri) = target.libvirt_uri(&options) {
                prop_assert!(is_uri_text(&uri), "{}", uri);
                prop_assert!(uri.matches('?').count() <= 1 && !uri.contains('#'), "{}", uri);
                prop_assert!(!uri.contains("command=") && !uri.contains("netcat="), "{}", uri);
            }
        }
    }
}
