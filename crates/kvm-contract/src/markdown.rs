//! The contract as a page to read.

use crate::case::{Case, host_cases, transport_cases};

/// The page `docs/contracts.md`, made from the cases.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(
        "# What every backend promises\n\n\
         Each sentence is a case of `kvm-contract`, which runs against the simulated host, libvirt's test driver and real\n\
         QEMU. The doc comments of the traits in `kvm-core` say the same call by call. What a backend skips stands in its\n\
         `tests/contract-skips.txt`.\n\n\
         This page is generated: `cargo run -p kvm-contract --example contracts` prints it.\n",
    );
    let rows = host_cases().map(row).chain(transport_cases().map(row));
    let mut group = "";
    for (its_group, name, rule) in rows {
        if its_group != group {
            group = its_group;
            page += &format!("\n## {group}\n\n| rule | case |\n|---|---|\n");
        }
        page += &format!("| {} | `{name}` |\n", rule.replace('|', "\\|"));
    }
    page
}

fn row<C>(case: &Case<C>) -> (&'static str, &'static str, String) {
    (case.group, case.name, case.rule.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own_and_a_sentence() {
        let mut names = BTreeSet::new();
        for (group, name, rule) in host_cases().map(row).chain(transport_cases().map(row)) {
            assert!(names.insert((group, name)), "{group}::{name} is there twice");
            assert!(rule.ends_with('.') && rule.starts_with(char::is_uppercase), "{group}::{name}: {rule}");
        }
    }

    #[test]
    fn groups_are_in_one_piece() {
        let groups: Vec<_> =
            host_cases().map(|case| case.group).chain(transport_cases().map(|case| case.group)).collect();
        let mut pieces = groups.clone();
        pieces.dedup();
        assert_eq!(pieces.len(), groups.into_iter().collect::<BTreeSet<_>>().len());
    }
}
