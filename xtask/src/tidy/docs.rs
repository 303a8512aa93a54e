//! Prose rots unless something reads it: links, paths and the list of decisions.

use std::collections::BTreeSet;

use super::tree::Tree;
use crate::report::Finding;

const DECISIONS: &str = "docs/decisions/";
const DECISION_LIST: &str = "docs/decisions/README.md";
/// A span in backticks that starts like this names a file of the repository.
const OURS: &[&str] = &[
    ".cargo/",
    ".ci/",
    ".config/",
    "benches/",
    "crates/",
    "docs/",
    "examples/",
    "fuzz/",
    "lab/",
    "scripts/",
    "testdata/",
    "web/",
    "xtask/",
];

/// Every decision is in the list, and no two have the same number.
pub(super) fn decisions_are_listed(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut numbers = BTreeSet::new();
    for (path, _) in tree.ending(".md") {
        let Some(name) = path.strip_prefix(DECISIONS).filter(|_| path != DECISION_LIST) else {
            continue;
        };
        if !tree.text(DECISION_LIST).contains(&format!("({name})")) {
            findings.push(Finding::new(DECISION_LIST, 0, format!("does not list {name}")));
        }
        let number = name.split('-').next().unwrap_or_default();
        if number.len() != 4 || number.parse::<u16>().is_err() {
            findings.push(Finding::new(path, 0, "a decision is called NNNN-what-it-is-about.md"));
        } else if !numbers.insert(number) {
            findings.push(Finding::new(path, 0, format!("the number {number} is taken")));
        }
    }
    findings
}

/// Every relative link of a document leads to a file or directory.
pub(super) fn links_lead_somewhere(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending(".md") {
        for (index, line) in text.lines().enumerate() {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            for target in targets {
                let file = target.split('#').next().unwrap_or_default();
                if file.is_empty() || target.contains(':') {
                    continue;
                }
                if !resolve(path, file).is_some_and(|file| tree.has(&file)) {
                    let text = format!("links to {target}, which does not exist");
                    findings.push(Finding::new(path, index + 1, text));
                }
            }
        }
    }
    findings
}

/// Resolves a relative link; `None` when it leaves the repository.
fn resolve(from: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Every path in backticks exists.
pub(super) fn named_paths_exist(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    // What was true at a release stays in the list of changes.
    let documents = tree.ending(".md").filter(|(path, _)| *path != "CHANGELOG.md");
    for (path, text) in documents {
        for (index, line) in text.lines().enumerate() {
            for span in line.split('`').skip(1).step_by(2) {
                // `scripts/test.sh --no-lab` names a file and then says how to call it.
                let name = span.split_whitespace().next().unwrap_or_default();
                let pattern = name.contains(['*', '<', '{', '…']);
                let ours = OURS.iter().any(|start| name.starts_with(start));
                if ours && !pattern && !tree.has(name.trim_end_matches('/')) {
                    let text = format!("names {name}, which does not exist");
                    findings.push(Finding::new(path, index + 1, text));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_that_is_not_listed_is_found() {
        let list = (DECISION_LIST, "[licence](0001-licence.md)\n");
        let one = ("docs/decisions/0001-licence.md", "");
        assert_eq!(decisions_are_listed(&Tree::of(&[list, one])), []);
        let two = ("docs/decisions/0002-yaml.md", "");
        assert_eq!(decisions_are_listed(&Tree::of(&[list, one, two])).len(), 1);
    }

    #[test]
    fn a_decision_without_a_number_of_its_own_is_found() {
        let list = (DECISION_LIST, "(0001-a.md) (0001-b.md) (c.md)");
        let tree = Tree::of(&[
            list,
            ("docs/decisions/0001-a.md", ""),
            ("docs/decisions/0001-b.md", ""),
            ("docs/decisions/c.md", ""),
        ]);
        assert_eq!(decisions_are_listed(&tree).len(), 2);
    }

    #[test]
    fn a_link_to_nowhere_is_found() {
        let text = "[a](b.md) [c](../README.md#top) [d](https://example.org) [e](#f)\n[g](h.md)";
        let tree = Tree::of(&[("docs/a.md", text), ("docs/b.md", ""), ("README.md", "")]);
        let found = links_lead_somewhere(&tree);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 2);
    }

    #[test]
    fn a_link_out_of_the_repository_is_found() {
        let tree = Tree::of(&[("README.md", "[a](../elsewhere/b.md)")]);
        assert_eq!(links_lead_somewhere(&tree).len(), 1);
    }

    #[test]
    fn a_path_that_does_not_exist_is_found() {
        let text = "`scripts/test.sh --no-lab`, `crates/<name>`, `docs/*.md`, `lab/up.sh`";
        let tree = Tree::of(&[("README.md", text), ("scripts/test.sh", "")]);
        let found = named_paths_exist(&tree);
        assert_eq!(found.len(), 1);
        assert!(found[0].text.contains("lab/up.sh"), "{found:?}");
    }
}
