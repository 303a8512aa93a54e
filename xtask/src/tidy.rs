//! Rules about files and text that no compiler knows.
//!
//! Each rule is a function from the [`Tree`] to findings, so that its tests plant a violation in a
//! tree of three lines and see it found.

mod docs;
mod layout;
mod manifests;
mod rust;
mod source;
mod tree;
mod words;

use std::io;

use crate::report::{self, Finding};
use crate::workspace;
use tree::Tree;

type Rule = fn(&Tree) -> Vec<Finding>;

const RULES: &[Rule] = &[
    layout::every_crate_is_on_the_map,
    layout::the_map_names_no_ghosts,
    layout::the_map_is_short,
    layout::every_crate_is_in_the_readme,
    layout::no_mod_rs,
    manifests::package_is_named_after_its_folder,
    manifests::inherit_from_the_workspace,
    manifests::versions_stand_in_the_root,
    manifests::locked_crates_come_from_crates_io,
    manifests::locked_crates_are_not_banned,
    source::unsafe_code_is_forbidden,
    source::libvirt_stays_in_its_crate,
    source::lib_rs_holds_docs_and_exports,
    source::long_files_say_why,
    source::programs_start_in_known_places,
    source::tests_do_not_sleep,
    source::nothing_is_left_undone,
    docs::decisions_are_listed,
    docs::links_lead_somewhere,
    docs::named_paths_exist,
    words::the_project_speaks_of_itself,
];

/// What tidy found: problems fail the check, notes do not.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) problems: Vec<Finding>,
    pub(crate) notes: Vec<Finding>,
}

/// Runs every rule, prints what was found and answers whether nothing is wrong.
pub(crate) fn run() -> bool {
    match check() {
        Ok(report) => {
            for note in &report.notes {
                report::line(format_args!("note: {note}"));
            }
            report.problems.iter().for_each(report::line);
            report.problems.is_empty()
        }
        Err(error) => {
            report::error(format_args!("tidy: {error}"));
            false
        }
    }
}

/// Applies every rule to the repository.
///
/// # Errors
/// When a file or directory cannot be read.
pub(crate) fn check() -> io::Result<Report> {
    let tree = Tree::read(&workspace::root())?;
    let mut problems: Vec<Finding> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    problems.sort();
    Ok(Report { problems, notes: source::worth_a_thought(&tree) })
}
