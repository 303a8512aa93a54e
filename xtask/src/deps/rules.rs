//! The allowed arrows, as data. Arrows point down: data, vocabulary, providers, engines, surfaces.

use std::collections::BTreeMap;

use crate::report::Finding;
use crate::workspace::{Kind, Package};

/// What one package may depend on among ours.
struct Rule {
    package: &'static str,
    /// In the code that ships.
    may: May,
    /// In tests, besides `may`.
    tests: &'static [&'static str],
}

enum May {
    Only(&'static [&'static str]),
    /// Every library: all crates that are neither a surface nor a package beside `crates/`.
    Libraries,
    /// The libraries and the surfaces.
    Anything,
}

const fn only(package: &'static str, may: &'static [&'static str], tests: &'static [&'static str]) -> Rule {
    Rule { package, may: May::Only(may), tests }
}

const MODEL: &[&str] = &["kvm-core", "kvm-xml"];

#[rustfmt::skip] // one line per package reads as the table that it is
const RULES: &[Rule] = &[
    // data
    only("kvm-xml-derive", &[], &["kvm-xml"]),
    only("kvm-xml", &["kvm-xml-derive"], &[]),
    only("kvm-wire", &[], &[]),
    // vocabulary
    only("kvm-core", &["kvm-xml"], &[]),
    only("kvm-contract", MODEL, &[]),
    // providers
    only("kvm-mock", &["kvm-core", "kvm-xml", "kvm-wire"], &["kvm-contract"]),
    only("kvm-libvirt", MODEL, &["kvm-contract"]),
    only("kvm-ssh", &["kvm-core", "kvm-wire"], &["kvm-contract"]),
    // engines
    only("kvm-image", MODEL, &["kvm-mock"]),
    only("kvm-archive", &["kvm-core", "kvm-image"], &[]),
    only("kvm-vm", &["kvm-core", "kvm-xml", "kvm-image", "kvm-archive"], &["kvm-mock"]),
    only("kvm-clone", &["kvm-core", "kvm-xml", "kvm-image", "kvm-vm", "kvm-wire"], &["kvm-mock", "kvm-helper"]),
    only("kvm-metrics", MODEL, &["kvm-mock"]),
    only("kvm-sched", MODEL, &["kvm-mock"]),
    only("kvm-fleet", MODEL, &["kvm-mock"]),
    // surfaces
    only("kvm-helper", &["kvm-wire", "kvm-image"], &[]),
    only("kvm-agent", &["kvm-wire"], &[]),
    Rule { package: "kvm-cli", may: May::Libraries, tests: &[] },
    Rule { package: "kvm-server", may: May::Libraries, tests: &[] },
    // packages beside crates/
    Rule { package: "kvm-examples", may: May::Libraries, tests: &[] },
    Rule { package: "kvm-benches", may: May::Anything, tests: &[] },
    Rule { package: "kvm-lab", may: May::Anything, tests: &[] },
    only("xtask", &[], &[]),
];

/// Crates that compose the others and are depended on by nobody but tests and benches.
const SURFACES: &[&str] = &["kvm-cli", "kvm-server", "kvm-helper", "kvm-agent"];
const BESIDE_CRATES: &[&str] = &["kvm-examples", "kvm-benches", "kvm-lab", "xtask"];

/// Where somebody else's crate may be used in code that ships.
struct Wall {
    theirs: &'static str,
    place: Place,
    reason: &'static str,
}

enum Place {
    OnlyIn(&'static [&'static str]),
    NotIn(&'static [&'static str]),
    Nowhere,
}

const DATA: &[&str] = &["kvm-xml", "kvm-xml-derive", "kvm-wire"];

#[rustfmt::skip]
const WALLS: &[Wall] = &[
    Wall { theirs: "virt", place: Place::OnlyIn(&["kvm-libvirt"]), reason: "libvirt's types stay behind the traits" },
    Wall { theirs: "virt-sys", place: Place::OnlyIn(&["kvm-libvirt"]), reason: "libvirt's types stay behind the traits" },
    Wall { theirs: "russh", place: Place::OnlyIn(&["kvm-ssh"]), reason: "the SSH library stays behind the transport trait" },
    Wall { theirs: "russh-sftp", place: Place::OnlyIn(&["kvm-ssh"]), reason: "the SSH library stays behind the transport trait" },
    Wall { theirs: "tokio", place: Place::NotIn(DATA), reason: "data crates do no input or output" },
    Wall { theirs: "clap", place: Place::OnlyIn(SURFACES), reason: "a command line belongs to a surface" },
    Wall { theirs: "serde_yaml", place: Place::Nowhere, reason: "unmaintained; serde-saphyr reads and writes YAML here" },
    Wall { theirs: "serde_yml", place: Place::Nowhere, reason: "unsound; serde-saphyr reads and writes YAML here" },
];

/// Returns every dependency that the rules and walls do not allow.
pub(super) fn check(packages: &BTreeMap<String, Package>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, package) in packages {
        let Some(rule) = RULES.iter().find(|rule| rule.package == name) else {
            findings.push(broken(name, "no rule says what it may depend on"));
            continue;
        };
        for dependency in &package.dependencies {
            let (to, kind) = (dependency.name.as_str(), dependency.kind);
            if packages.contains_key(to) && !allowed(rule, to, kind) {
                findings.push(broken(name, &format!("may not depend on {to}{}", shown(kind))));
            }
            let wall = WALLS.iter().find(|wall| wall.theirs == to);
            if let Some(wall) = wall.filter(|wall| !open(wall, name, kind)) {
                findings.push(broken(name, &format!("may not use {to}: {}", wall.reason)));
            }
            if to == "kvm-libvirt" && SURFACES.contains(&name.as_str()) && kind == Kind::Normal {
                let text = "must ask for kvm-libvirt as optional: it also builds without libvirt";
                findings.push(broken(name, text));
            }
        }
    }
    findings
}

fn allowed(rule: &Rule, to: &str, kind: Kind) -> bool {
    let shipped = match rule.may {
        May::Only(names) => names.contains(&to),
        May::Libraries => !SURFACES.contains(&to) && !BESIDE_CRATES.contains(&to),
        May::Anything => !BESIDE_CRATES.contains(&to),
    };
    // A package names itself in its tests to switch on a feature of its own.
    shipped || (kind == Kind::Tests && (rule.tests.contains(&to) || rule.package == to))
}

fn open(wall: &Wall, name: &str, kind: Kind) -> bool {
    match wall.place {
        Place::OnlyIn(names) => names.contains(&name) || BESIDE_CRATES.contains(&name),
        Place::NotIn(names) => kind == Kind::Tests || !names.contains(&name),
        Place::Nowhere => false,
    }
}

fn shown(kind: Kind) -> &'static str {
    match kind {
        Kind::Tests => " in tests",
        Kind::Build => " in its build script",
        Kind::Normal | Kind::Optional => "",
    }
}

fn broken(name: &str, text: &str) -> Finding {
    Finding::new(name, 0, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    /// A workspace with these arrows; every name on either side that starts with `kvm-` is ours.
    fn findings(arrows: &[(&str, &str, Kind)]) -> Vec<String> {
        let mut packages: BTreeMap<String, Package> = BTreeMap::new();
        for (from, to, kind) in arrows {
            let dependency = Dependency { name: (*to).to_owned(), kind: *kind };
            if to.starts_with("kvm-") {
                packages.entry((*to).to_owned()).or_default();
            }
            packages.entry((*from).to_owned()).or_default().dependencies.push(dependency);
        }
        check(&packages).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn arrows_that_point_down_are_allowed() {
        let arrows = [
            ("kvm-core", "kvm-xml", Kind::Normal),
            ("kvm-mock", "kvm-contract", Kind::Tests),
            ("kvm-cli", "kvm-mock", Kind::Normal),
            ("kvm-cli", "kvm-libvirt", Kind::Optional),
            ("kvm-vm", "tokio", Kind::Normal),
            ("kvm-xml", "tokio", Kind::Tests),
            ("kvm-mock", "kvm-mock", Kind::Tests),
        ];
        assert_eq!(findings(&arrows), [""; 0]);
    }

    #[test]
    fn an_engine_that_names_a_provider_is_found() {
        let found = findings(&[("kvm-vm", "kvm-libvirt", Kind::Normal)]);
        assert_eq!(found, ["kvm-vm: may not depend on kvm-libvirt"]);
    }

    #[test]
    fn a_provider_that_names_another_in_its_tests_is_found() {
        let found = findings(&[("kvm-mock", "kvm-libvirt", Kind::Tests)]);
        assert_eq!(found, ["kvm-mock: may not depend on kvm-libvirt in tests"]);
    }

    #[test]
    fn what_is_for_tests_only_may_not_ship() {
        let found = findings(&[("kvm-vm", "kvm-mock", Kind::Normal)]);
        assert_eq!(found, ["kvm-vm: may not depend on kvm-mock"]);
    }

    #[test]
    fn a_surface_that_is_named_only_in_tests_is_allowed_where_a_rule_says_so() {
        assert_eq!(findings(&[("kvm-clone", "kvm-helper", Kind::Tests)]), [""; 0]);
        let found = findings(&[("kvm-clone", "kvm-helper", Kind::Normal)]);
        assert_eq!(found, ["kvm-clone: may not depend on kvm-helper"]);
    }

    #[test]
    fn nothing_names_a_surface() {
        let found = findings(&[("kvm-examples", "kvm-cli", Kind::Normal)]);
        assert_eq!(found, ["kvm-examples: may not depend on kvm-cli"]);
    }

    #[test]
    fn libvirt_outside_its_crate_is_found() {
        let found = findings(&[("kvm-core", "virt", Kind::Optional)]);
        assert_eq!(found, ["kvm-core: may not use virt: libvirt's types stay behind the traits"]);
    }

    #[test]
    fn a_runtime_in_a_data_crate_is_found() {
        let found = findings(&[("kvm-xml", "tokio", Kind::Normal)]);
        assert_eq!(found, ["kvm-xml: may not use tokio: data crates do no input or output"]);
    }

    #[test]
    fn a_surface_that_always_needs_libvirt_is_found() {
        let found = findings(&[("kvm-cli", "kvm-libvirt", Kind::Normal)]);
        assert!(found[0].contains("optional"), "{found:?}");
    }

    #[test]
    fn a_banned_crate_is_found_even_in_tests() {
        let found = findings(&[("kvm-core", "serde_yml", Kind::Tests)]);
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn a_package_without_a_rule_is_found() {
        let found = findings(&[("kvm-brandnew", "kvm-core", Kind::Normal)]);
        assert_eq!(found, ["kvm-brandnew: no rule says what it may depend on"]);
    }
}
