//! Where things stand, and that the map says so.

use std::collections::BTreeSet;

use super::tree::Tree;
use crate::report::Finding;

const MAP: &str = "ARCHITECTURE.md";
const README: &str = "README.md";
/// About four printed pages.
const MAP_LINES: usize = 240;
/// Words that look like one of our crates and are none: the project itself.
const NOT_A_CRATE: &[&str] = &["kvm-manager"];

/// A reader trusts the map only if nothing is missing from it.
pub(super) fn every_crate_is_on_the_map(tree: &Tree) -> Vec<Finding> {
    let named = names(tree.text(MAP));
    let crates = tree.crates().filter(|name| !named.contains(*name));
    let mut findings: Vec<Finding> =
        crates.map(|name| Finding::new(MAP, 0, format!("does not name the crate {name}"))).collect();
    let beside = tree.packages().filter(|path| !path.contains('/'));
    for path in beside.filter(|path| !tree.text(MAP).contains(&format!("{path}/"))) {
        findings.push(Finding::new(MAP, 0, format!("does not name {path}/")));
    }
    findings
}

/// A map that shows rooms which do not exist sends its reader the wrong way.
pub(super) fn the_map_names_no_ghosts(tree: &Tree) -> Vec<Finding> {
    let crates: BTreeSet<&str> = tree.crates().collect();
    let packages: BTreeSet<String> = tree
        .ending("/Cargo.toml")
        .flat_map(|(_, text)| text.lines())
        .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        .map(str::to_owned)
        .collect();
    names(tree.text(MAP))
        .into_iter()
        .filter(|name| !crates.contains(name.as_str()) && !packages.contains(name))
        .filter(|name| !NOT_A_CRATE.contains(&name.as_str()))
        .map(|name| Finding::new(MAP, 0, format!("names {name}, which does not exist")))
        .collect()
}

/// Nobody reads a long map.
pub(super) fn the_map_is_short(tree: &Tree) -> Vec<Finding> {
    match tree.text(MAP).lines().count() {
        lines if lines > MAP_LINES => {
            vec![Finding::new(MAP, 0, format!("has {lines} lines, {MAP_LINES} are four pages"))]
        }
        _ => Vec::new(),
    }
}

/// Who looks for a library finds it in the README.
pub(super) fn every_crate_is_in_the_readme(tree: &Tree) -> Vec<Finding> {
    let named = names(tree.text(README));
    let missing = tree.crates().filter(|name| !named.contains(*name));
    missing.map(|name| Finding::new(README, 0, format!("has no line about {name}"))).collect()
}

/// `foo.rs` beside `foo/`: ten open files that are all called `mod.rs` cannot be told apart.
pub(super) fn no_mod_rs(tree: &Tree) -> Vec<Finding> {
    let found = tree.ending("/mod.rs");
    found.map(|(path, _)| Finding::new(path, 0, "a module is foo.rs beside foo/, never mod.rs")).collect()
}

/// Every word of the form `kvm-something`.
fn names(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .map(|word| word.trim_end_matches('-'))
        .filter(|word| word.len() > "kvm-".len() && word.starts_with("kvm-"))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: (&str, &str) = ("crates/kvm-a/Cargo.toml", "[package]\nname = \"kvm-a\"\n");

    #[test]
    fn a_crate_that_the_map_forgets_is_found() {
        let tree = Tree::of(&[MANIFEST, ("ARCHITECTURE.md", "only kvm-ab\n")]);
        assert_eq!(every_crate_is_on_the_map(&tree).len(), 1);
        let tree = Tree::of(&[MANIFEST, ("ARCHITECTURE.md", "- `kvm-a`: data\n")]);
        assert_eq!(every_crate_is_on_the_map(&tree), []);
    }

    #[test]
    fn a_package_beside_the_crates_that_the_map_forgets_is_found() {
        let package = ("lab/Cargo.toml", "[package]\nname = \"kvm-lab\"\n");
        let tree = Tree::of(&[package, ("ARCHITECTURE.md", "a lab\n")]);
        assert_eq!(every_crate_is_on_the_map(&tree).len(), 1);
        let tree = Tree::of(&[package, ("ARCHITECTURE.md", "the lab is in lab/\n")]);
        assert_eq!(every_crate_is_on_the_map(&tree), []);
    }

    #[test]
    fn a_crate_that_only_the_map_knows_is_found() {
        let tree = Tree::of(&[MANIFEST, ("ARCHITECTURE.md", "kvm-a, kvm-gone, kvm-manager")]);
        let found = the_map_names_no_ghosts(&tree);
        assert_eq!(found.len(), 1);
        assert!(found[0].text.contains("kvm-gone"), "{found:?}");
    }

    #[test]
    fn a_map_of_five_pages_is_found() {
        let tree = Tree::of(&[("ARCHITECTURE.md", &"line\n".repeat(300))]);
        assert_eq!(the_map_is_short(&tree).len(), 1);
    }

    #[test]
    fn a_crate_that_the_readme_forgets_is_found() {
        let tree = Tree::of(&[MANIFEST, ("README.md", "nothing")]);
        assert_eq!(every_crate_is_in_the_readme(&tree).len(), 1);
    }

    #[test]
    fn mod_rs_is_found() {
        let tree = Tree::of(&[("crates/kvm-a/src/x/mod.rs", "")]);
        assert_eq!(no_mod_rs(&tree).len(), 1);
    }
}
