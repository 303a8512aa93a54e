//! What a backend does not do: a list of cases, checked in beside its tests, each with its reason.

use std::collections::BTreeSet;

/// The cases that a backend skips.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Skips(BTreeSet<String>);

impl Skips {
    /// Reads lines of `group::case  # reason`. Empty lines and lines that begin with `#` say nothing. Every problem is
    /// in the result, so that one look mends them all.
    pub(crate) fn parse(text: &str, known: &BTreeSet<String>) -> (Self, Vec<String>) {
        let (mut skips, mut problems, mut last) = (BTreeSet::new(), Vec::new(), "");
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, reason) = line.split_once('#').unwrap_or((line, ""));
            let name = name.trim();
            if reason.trim().is_empty() {
                problems.push(format!("{name}: no reason is given"));
            }
            if !known.contains(name) {
                problems.push(format!("{name}: there is no such case"));
            } else if !skips.insert(name.to_owned()) {
                problems.push(format!("{name}: it stands there twice"));
            }
            if name < last {
                problems.push(format!("{name}: it stands after {last}; keep the list sorted"));
            }
            last = name;
        }
        (Self(skips), problems)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let known = ["a::b", "a::c"].map(str::to_owned).into();
        Skips::parse(text, &known).1
    }

    #[test]
    fn a_sorted_list_with_reasons_is_in_order() {
        assert_eq!(problems("# why\n\na::b  # not there\na::c # neither\n"), Vec::<String>::new());
    }

    #[test]
    fn unknown_doubled_unsorted_and_unexplained_lines_are_named() {
        assert_eq!(problems("a::x # r").len(), 1);
        assert_eq!(problems("a::b # r\na::b # r").len(), 1);
        assert_eq!(problems("a::c # r\na::b # r").len(), 1);
        assert_eq!(problems("a::b").len(), 1);
    }
}
