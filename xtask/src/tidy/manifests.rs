//! What every `Cargo.toml` says, and what `Cargo.lock` may hold.

use super::tree::Tree;
use crate::report::Finding;

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Who knows the name of a crate knows its folder.
pub(super) fn package_is_named_after_its_folder(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in tree.crates() {
        let path = format!("crates/{name}/Cargo.toml");
        let line = format!("name = \"{name}\"");
        if !tree.text(&path).lines().any(|l| l == line) {
            findings.push(Finding::new(&path, 0, format!("does not name its package {name}")));
        }
    }
    findings
}

/// One version, one edition, one licence and one set of lints for all of us.
pub(super) fn inherit_from_the_workspace(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in tree.packages() {
        let path = format!("{package}/Cargo.toml");
        let text = tree.text(&path);
        for key in ["version", "edition", "rust-version", "license"] {
            if !has_line(text, &format!("{key}.workspace = true")) {
                findings.push(Finding::new(&path, 0, format!("lacks `{key}.workspace = true`")));
            }
        }
        if !section(text, "[lints]").any(|(_, line)| line == "workspace = true") {
            findings.push(Finding::new(&path, 0, "does not take the lints of the workspace"));
        }
        if !text.lines().any(|line| line.starts_with("description = \"")) {
            findings.push(Finding::new(&path, 0, "has no description"));
        }
    }
    findings
}

/// Two crates that ask for different versions of a third get both of them.
pub(super) fn versions_stand_in_the_root(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in tree.packages() {
        let path = format!("{package}/Cargo.toml");
        let mut asks = false;
        for (index, line) in tree.text(&path).lines().enumerate() {
            if line.starts_with('[') {
                asks = line.contains("dependencies");
            }
            let plain = line.split_once('=').is_some_and(|(key, value)| {
                let word = key.trim().chars().all(|c| c.is_alphanumeric() || "-_".contains(c));
                word && value.trim().starts_with('"') && !matches!(key.trim(), "package" | "path")
            });
            if asks && (plain || line.contains("version =")) {
                let text = "versions of other people's crates stand in the root Cargo.toml";
                findings.push(Finding::new(&path, index + 1, text));
            }
        }
    }
    findings
}

/// What is built here must be obtainable by everybody.
pub(super) fn locked_crates_come_from_crates_io(tree: &Tree) -> Vec<Finding> {
    let lines = tree.text("Cargo.lock").lines().enumerate();
    lines
        .filter_map(|(index, line)| Some((index, line.strip_prefix("source = \"")?)))
        .filter(|(_, source)| source.strip_suffix('"') != Some(REGISTRY))
        .map(|(index, source)| {
            let text = format!("comes from somewhere else than crates.io: {source}");
            Finding::new("Cargo.lock", index + 1, text)
        })
        .collect()
}

/// The bans of `deny.toml` hold also where cargo-deny, which knows more of them, is not installed.
pub(super) fn locked_crates_are_not_banned(tree: &Tree) -> Vec<Finding> {
    let bans: Vec<Ban<'_>> = tree.text("deny.toml").lines().filter_map(Ban::read).collect();
    let mut findings = Vec::new();
    let mut name = "";
    for (index, line) in tree.text("Cargo.lock").lines().enumerate() {
        if let Some(value) = value(line, "name = ") {
            name = value;
        } else if let Some(version) = value(line, "version = ")
            && bans.iter().any(|ban| ban.holds(name, version))
        {
            let text = format!("{name} {version} is banned in deny.toml");
            findings.push(Finding::new("Cargo.lock", index + 1, text));
        }
    }
    findings
}

/// One line of the list of bans: `{ crate = "name:<1.2.3", … }`.
struct Ban<'a> {
    name: &'a str,
    versions: &'a str,
}

impl<'a> Ban<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let spec = line.trim().strip_prefix("{ crate = \"")?.split('"').next()?;
        // The exceptions of the licences look alike.
        let ban = line.contains("reason = ");
        let (name, versions) = spec.split_once(':').unwrap_or((spec, ""));
        ban.then_some(Self { name, versions })
    }

    fn holds(&self, name: &str, version: &str) -> bool {
        let versions = match self.versions.split_at_checked(1) {
            None => true,
            Some(("<", limit)) => numbers(version) < numbers(limit),
            Some(("=", exact)) => numbers(version) == numbers(exact),
            // What is not understood is no permission.
            Some(_) => true,
        };
        self.name == name && versions
    }
}

/// The first three numbers of a version; what is missing counts as zero.
fn numbers(version: &str) -> [u64; 3] {
    let mut parts = version.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.strip_prefix(key)?.strip_prefix('"')?.strip_suffix('"')
}

fn has_line(text: &str, wanted: &str) -> bool {
    text.lines().any(|line| line.trim() == wanted)
}

/// The lines below one header, up to the next.
fn section<'a>(text: &'a str, header: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    text.lines()
        .enumerate()
        .skip_while(move |(_, line)| *line != header)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with('['))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
[package]
name = \"kvm-a\"
description = \"data\"
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true

[dependencies]
serde = { workspace = true, features = [\"derive\"] }

[lints]
workspace = true
";

    fn tree(manifest: &str) -> Tree {
        Tree::of(&[("crates/kvm-a/Cargo.toml", manifest)])
    }

    #[test]
    fn a_good_manifest_passes() {
        let tree = tree(GOOD);
        assert_eq!(package_is_named_after_its_folder(&tree), []);
        assert_eq!(inherit_from_the_workspace(&tree), []);
        assert_eq!(versions_stand_in_the_root(&tree), []);
    }

    #[test]
    fn a_package_with_another_name_than_its_folder_is_found() {
        let tree = tree(&GOOD.replace("kvm-a", "a"));
        assert_eq!(package_is_named_after_its_folder(&tree).len(), 1);
    }

    #[test]
    fn own_editions_lints_and_missing_descriptions_are_found() {
        let tree = tree("[package]\nname = \"kvm-a\"\nedition = \"2021\"\n");
        assert_eq!(inherit_from_the_workspace(&tree).len(), 6);
    }

    #[test]
    fn a_version_outside_the_root_is_found() {
        let manifest = GOOD.replace("[lints]", "rand = \"0.9\"\nx = { version = \"1\" }\n[lints]");
        let lines: Vec<usize> =
            versions_stand_in_the_root(&tree(&manifest)).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [12, 13]);
    }

    #[test]
    fn a_crate_from_a_mirror_is_found() {
        let lock = "source = \"registry+https://mirror.invalid/index\"\n";
        let tree = Tree::of(&[("Cargo.lock", lock)]);
        assert_eq!(locked_crates_come_from_crates_io(&tree).len(), 1);
        let lock = format!("source = \"{REGISTRY}\"\n");
        let tree = Tree::of(&[("Cargo.lock", &lock)]);
        assert_eq!(locked_crates_come_from_crates_io(&tree), []);
    }

    #[test]
    fn banned_crates_and_versions_in_the_lock_are_found() {
        let deny = "deny = [\n    { crate = \"gone\", reason = \"x\" },\n    { crate = \"old:<1.10\", reason = \"x\" },\n    \
                    { crate = \"odd:=2.0.1\", reason = \"x\" },\n]\nexceptions = [\n    { crate = \"fine\", allow = [\"L\"] },\n]";
        let found = |name: &str, version: &str| {
            let lock = format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
            locked_crates_are_not_banned(&Tree::of(&[("deny.toml", deny), ("Cargo.lock", &lock)])).len()
        };
        assert_eq!([found("gone", "9.0.0"), found("old", "1.9.12"), found("odd", "2.0.1")], [1, 1, 1]);
        assert_eq!([found("old", "1.10.0"), found("odd", "2.0.0"), found("fine", "1.0.0")], [0, 0, 0]);
    }
}
