//! Which crate depends on which: measured against the rules, and against the checked-in graph.
//!
//! The rules ([`rules`]) say which arrows are allowed at all. The graph in `docs/crate-graph.txt`
//! says which exist: a new arrow is then a line in a diff that somebody reviews.

mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::{fs, io};

use crate::report::{self, Finding};
use crate::workspace::{self, Kind, Package};

const GRAPH: &str = "docs/crate-graph.txt";
const HEADER: &str = "\
# Which of our packages depends on which. Written by `cargo xtask deps --bless`;
# `cargo xtask deps` fails while this file and the manifests differ.
";

/// What to do with the checked-in graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Graph {
    Compare,
    Bless,
}

/// Checks the dependencies, prints what is wrong and answers whether nothing is.
pub(crate) fn run(graph: Graph) -> bool {
    match check(graph) {
        Ok(findings) => {
            findings.iter().for_each(report::line);
            findings.is_empty()
        }
        Err(error) => {
            report::error(format_args!("deps: {error}"));
            false
        }
    }
}

/// Returns every arrow that breaks a rule or is missing from the checked-in graph.
///
/// # Errors
/// When cargo's metadata or the graph cannot be read, or the graph cannot be written.
pub(crate) fn check(graph: Graph) -> io::Result<Vec<Finding>> {
    let root = workspace::root();
    let packages = workspace::packages(&root)?;
    let mut findings = rules::check(&packages);
    let drawn = draw(&packages);
    let path = root.join(GRAPH);
    match graph {
        Graph::Bless => fs::write(path, drawn)?,
        Graph::Compare => {
            let checked_in = match fs::read_to_string(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
                other => other?,
            };
            findings.extend(compare(&checked_in, &drawn));
        }
    }
    Ok(findings)
}

/// Draws one line per arrow between our packages, and one for a package that has none.
fn draw(packages: &BTreeMap<String, Package>) -> String {
    let mut lines = BTreeSet::new();
    for (name, package) in packages {
        // The same crate may be asked for twice, once for the tests: the stronger need counts.
        let mut arrows: BTreeMap<&str, Kind> = BTreeMap::new();
        for dependency in &package.dependencies {
            if packages.contains_key(&dependency.name) && dependency.name != *name {
                let kind = arrows.entry(&dependency.name).or_insert(dependency.kind);
                *kind = dependency.kind.min(*kind);
            }
        }
        if arrows.is_empty() {
            lines.insert(name.clone());
        }
        for (to, kind) in arrows {
            let remark = match kind {
                Kind::Normal => "",
                Kind::Optional => " (optional)",
                Kind::Build => " (build)",
                Kind::Tests => " (tests)",
            };
            lines.insert(format!("{name} -> {to}{remark}"));
        }
    }
    let mut text = HEADER.to_owned();
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn compare(checked_in: &str, drawn: &str) -> Vec<Finding> {
    let set = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    let (old, new) = (set(checked_in), set(drawn));
    let finding =
        |what: &str, line: &String| Finding::new(GRAPH, 0, format!("{what}: {line} (cargo xtask deps --bless)"));
    let added = new.difference(&old).map(|line| finding("new", line));
    let gone = old.difference(&new).map(|line| finding("gone", line));
    added.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn package(dependencies: &[(&str, Kind)]) -> Package {
        let dependencies = dependencies.iter().map(|(name, kind)| Dependency { name: (*name).to_owned(), kind: *kind });
        Package { dependencies: dependencies.collect(), ..Package::default() }
    }

    fn world(packages: &[(&str, Package)]) -> BTreeMap<String, Package> {
        let owned = packages.iter().cloned();
        owned.map(|(name, p)| (name.to_owned(), p)).collect()
    }

    #[test]
    fn the_graph_shows_our_arrows_with_their_kind_and_nothing_else() {
        let drawn = draw(&world(&[
            ("base", package(&[("serde", Kind::Normal)])),
            ("top", package(&[("base", Kind::Optional)])),
            ("twice", package(&[("base", Kind::Tests), ("base", Kind::Normal)])),
        ]));
        let lines: Vec<&str> = drawn.lines().filter(|l| !l.starts_with('#')).collect();
        assert_eq!(lines, ["base", "top -> base (optional)", "twice -> base"]);
    }

    #[test]
    fn a_new_arrow_and_a_vanished_arrow_are_both_found() {
        let found = compare("# old\na -> b\n", "# new\na -> c\n");
        let texts: Vec<&str> = found.iter().map(|f| f.text.as_str()).collect();
        assert!(texts[0].starts_with("new: a -> c"), "{texts:?}");
        assert!(texts[1].starts_with("gone: a -> b"), "{texts:?}");
        assert!(compare("# old\na -> b\n", "# new\na -> b\n").is_empty());
    }
}
