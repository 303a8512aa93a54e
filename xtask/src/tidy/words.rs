//! Words that have no place in this repository, with the reason of each.

use super::tree::Tree;
use crate::report::Finding;

struct Word {
    text: &'static str,
    reason: &'static str,
    /// Files that need the word.
    except: &'static [&'static str],
}

/// This file quotes them all.
const HERE: &str = "xtask/src/tidy/words.rs";
const OWN_PLACE: &str = "the repository knows only what is inside it";
const OWN_SOURCES: &str = "where crates and packages come from is set on the machine, not here";

#[rustfmt::skip] // a table
const WORDS: &[Word] = &[
    // .ci/run hands over test data that may lie beside the checkout and must not be copied into it.
    Word { text: "../shared", reason: OWN_PLACE, except: &[".ci/run"] },
    Word { text: "/work/", reason: OWN_PLACE, except: &[] },
    Word { text: "serde_yml", reason: "an unsound fork of serde_yaml", except: &["deny.toml", "docs/decisions/0001-licence-and-yaml.md", "xtask/src/deps/rules.rs"] },
    Word { text: "replace-with =", reason: OWN_SOURCES, except: &[] },
    Word { text: "[registries", reason: OWN_SOURCES, except: &[] },
    Word { text: "--index-url", reason: OWN_SOURCES, except: &[] },
    Word { text: "--extra-index-url", reason: OWN_SOURCES, except: &[] },
    Word { text: "GOPROXY", reason: OWN_SOURCES, except: &[] },
];

/// Finds words of somebody's workplace, and crates that must not be named.
pub(super) fn the_project_speaks_of_itself(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files().filter(|(path, _)| *path != HERE) {
        for word in WORDS.iter().filter(|word| !word.except.contains(&path)) {
            for (index, line) in text.lines().enumerate() {
                if line.match_indices(word.text).any(|(at, _)| stands_alone(line, at)) {
                    let text = format!("says `{}`: {}", word.text, word.reason);
                    findings.push(Finding::new(path, index + 1, text));
                }
            }
        }
    }
    findings
}

/// Whether a word starts here: `/work/` does not in `/var/lib/work/disk.qcow2`.
fn stands_alone(line: &str, at: usize) -> bool {
    let before = line[..at].chars().next_back();
    !before.is_some_and(|c| c.is_alphanumeric() || "_-.}/".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_workplace_are_found_also_in_comments_and_strings() {
        let text = "// see ../shared/notes\nlet x = \"/work/main\";\n/srv/work/disk.img\n";
        let found = the_project_speaks_of_itself(&Tree::of(&[("a.rs", text)]));
        let lines: Vec<usize> = found.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [1, 2]);
    }

    #[test]
    fn an_exception_holds_for_its_file_only() {
        let text = "corpus=../shared/corpus";
        assert_eq!(the_project_speaks_of_itself(&Tree::of(&[(".ci/run", text)])), []);
        assert_eq!(the_project_speaks_of_itself(&Tree::of(&[("scripts/test.sh", text)])).len(), 1);
    }

    #[test]
    fn a_mirror_is_found() {
        let tree = Tree::of(&[(".cargo/config.toml", "[source.crates-io]\nreplace-with = \"x\"\n")]);
        assert_eq!(the_project_speaks_of_itself(&tree).len(), 1);
    }
}
