//! What `known_hosts` says, held against `ssh-keygen -F`, which is what other tools go by.

use std::time::Duration;

use kvm_core::Transport as _;
use proptest::prelude::*;

use super::*;
use crate::LocalTransport;

fn known(text: &str) -> KnownHosts {
    let mut known = KnownHosts::default();
    known.add(Path::new("known_hosts"), text);
    known
}

fn standing(text: &str, host: &str, port: u16, key: &[u8]) -> Standing {
    known(text).standing(&entry_name(host, port), "ssh-ed25519", key)
}

// "AAAA" is three zero bytes, "AQEB" three ones.
const KEY: &[u8] = &[0, 0, 0];
const OTHER: &[u8] = &[1, 1, 1];

#[test]
fn a_key_is_known_under_each_name_of_its_line_and_no_other() {
    let text = "# a comment\n\n  kvm1,kvm1.example.com\tssh-ed25519  AAAA a comment\r\n";
    for host in ["kvm1", "KVM1.example.com"] {
        assert_eq!(standing(text, host, 22, KEY), Standing::Known, "{host}");
    }
    for (host, port) in [("kvm", 22), ("kvm11", 22), ("example.com", 22), ("kvm1", 2222)] {
        assert_eq!(standing(text, host, port, KEY), Standing::Unknown, "{host}:{port}");
    }
}

#[test]
fn another_port_is_another_host() {
    let text = "[kvm1]:2222 ssh-ed25519 AAAA";
    assert_eq!(standing(text, "kvm1", 2222, KEY), Standing::Known);
    assert_eq!(standing(text, "kvm1", 22, KEY), Standing::Unknown);
}

#[test]
fn a_changed_key_names_all_places_and_a_key_of_another_type_is_unknown() {
    let text = "kvm1 ssh-ed25519 AQEB\nkvm1 ssh-rsa AgIC\nkvm* ssh-ed25519 AwMD";
    let Standing::Changed(recorded) = standing(text, "kvm1", 22, KEY) else { panic!("not changed") };
    let places: Vec<_> = recorded.iter().map(|r| r.place.as_str()).collect();
    assert_eq!(places, ["known_hosts:1", "known_hosts:3"]);
    assert_eq!(recorded[0].key, OTHER);
    assert_eq!(known(text).standing("kvm1", "ecdsa-sha2-nistp256", KEY), Standing::Unknown);
}

#[test]
fn one_of_several_keys_of_a_type_is_enough() {
    let text = "kvm1 ssh-ed25519 AQEB\nkvm1 ssh-ed25519 AAAA";
    assert_eq!(standing(text, "kvm1", 22, KEY), Standing::Known);
}

#[test]
fn wildcards_match_and_a_negation_wins_wherever_it_stands() {
    let text = "*.example.com,!db.example.com,192.0.2.? ssh-ed25519 AAAA";
    assert_eq!(standing(text, "a.example.com", 22, KEY), Standing::Known);
    assert_eq!(standing(text, "192.0.2.7", 22, KEY), Standing::Known);
    assert_eq!(standing(text, "192.0.2.77", 22, KEY), Standing::Unknown);
    assert_eq!(standing(text, "db.example.com", 22, KEY), Standing::Unknown);
    assert_eq!(standing("!db,* ssh-ed25519 AAAA", "db", 22, KEY), Standing::Unknown);
    assert_eq!(standing("!db ssh-ed25519 AAAA", "web", 22, KEY), Standing::Unknown, "a negation alone names nobody");
}

#[test]
fn a_revoked_key_is_refused_even_where_another_line_trusts_it() {
    let text = "kvm1 ssh-ed25519 AAAA\n@revoked * ssh-ed25519 AAAA\n";
    assert_eq!(standing(text, "kvm1", 22, KEY), Standing::Revoked("known_hosts:2".into()));
    assert_eq!(
        standing(text, "kvm1", 22, OTHER),
        Standing::Changed(vec![Recorded { key: KEY.to_vec(), place: "known_hosts:1".into() }])
    );
    assert_eq!(standing("@revoked kvm2 ssh-ed25519 AAAA", "kvm1", 22, KEY), Standing::Unknown);
}

#[test]
fn an_authority_signs_for_its_hosts_and_is_no_host_key() {
    let known = known("@cert-authority *.example.com,!x.example.com ssh-ed25519 AAAA");
    assert!(known.is_authority("a.example.com", KEY) && known.has_authority("a.example.com"));
    assert!(!known.is_authority("a.example.com", OTHER));
    assert!(!known.has_authority("x.example.com") && !known.has_authority("example.com"));
    assert_eq!(known.standing("a.example.com", "ssh-ed25519", KEY), Standing::Unknown);
}

#[test]
fn lines_that_cannot_be_read_give_no_trust() {
    for line in [
        "kvm1",
        "kvm1 ssh-ed25519",
        "kvm1 ssh-ed25519 A!AA",
        "@other kvm1 ssh-ed25519 AAAA",
        "@revoked",
        "|1|AAAA ssh-ed25519 AAAA",
        "|1|??|?? ssh-ed25519 AAAA",
        "|2|AAAA|AAAA ssh-ed25519 AAAA",
        "#kvm1 ssh-ed25519 AAAA",
    ] {
        assert_eq!(standing(line, "kvm1", 22, KEY), Standing::Unknown, "{line}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_empty_and_one_that_cannot_be_read_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(KnownHosts::read(&[dir.path().join("none")]).await.unwrap().lines.is_empty());
    assert!(KnownHosts::read(&[dir.path().to_owned()]).await.is_err());
}

/// The lines of a file that `ssh-keygen` finds for a name.
fn keygen(file: &Path, name: &str) -> Vec<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let argv = ["ssh-keygen", "-F", name, "-f", file.to_str().unwrap()];
    let output = runtime.block_on(LocalTransport::new().run(&argv, Duration::from_secs(30))).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let found = text.lines().filter_map(|line| line.split("found: line ").nth(1));
    found.map(|rest| rest.split(' ').next().unwrap().parse().unwrap()).collect()
}

const REAL: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

#[test]
fn names_that_ssh_keygen_has_hashed_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("known_hosts");
    std::fs::write(&path, format!("kvm1 {REAL}\n[kvm2]:2222 {REAL}\n")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let argv = ["ssh-keygen", "-H", "-f", path.to_str().unwrap()];
    assert!(runtime.block_on(LocalTransport::new().run(&argv, Duration::from_secs(30))).unwrap().success());
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("|1|") && !text.contains("kvm"), "{text}");
    let known = known(&text);
    for (name, found) in [("kvm1", 1), ("[kvm2]:2222", 1), ("kvm2", 0), ("kvm3", 0)] {
        assert_eq!(known.of(name, Marker::Key).count(), found, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_lines_of_a_host_are_those_that_ssh_keygen_finds(
        lists in proptest::collection::vec(proptest::collection::vec("!?[ab*?.]{1,4}", 1..4), 1..12),
        name in "[ab.]{1,4}",
    ) {
        let text: String = lists.iter().map(|list| format!("{} {REAL}\n", list.join(","))).collect();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_hosts");
        std::fs::write(&path, &text).unwrap();
        let known = known(&text);
        let ours: Vec<_> = known.of(&name, Marker::Key).map(|line| line.number).collect();
        prop_assert_eq!(ours, keygen(&path, &name), "{} in {}", name, text);
    }
}
