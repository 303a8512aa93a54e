//! Rules about Rust code. They look at it without comments and literals.

use super::rust::{code, first_test_line, is_test_file, lines_with};
use super::tree::Tree;
use crate::report::Finding;

const LIBVIRT: &str = "crates/kvm-libvirt/";
/// Where code that crosses into C may stand: one file per family of calls.
const FFI: &[&str] = &["crates/kvm-libvirt/src/ffi/", "crates/kvm-libvirt/src/ffi.rs"];
const FORBID: &str = "#![forbid(unsafe_code)]";
/// The files that may start programs, each with its reason.
const PROCESSES: &str = "xtask/processes.txt";
const THINK: usize = 600;
const JUSTIFY: usize = 1000;
/// How a file of more than [`JUSTIFY`] lines explains itself near its top.
const LONG: &str = "Long on purpose:";

/// Memory safety is proved by the compiler everywhere but at the border to C.
pub(super) fn unsafe_code_is_forbidden(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending(".rs") {
        if is_crate_root(path) && !path.starts_with(LIBVIRT) && !text.contains(FORBID) {
            findings.push(Finding::new(path, 0, format!("lacks {FORBID}")));
        }
        if !FFI.iter().any(|ffi| path.starts_with(ffi)) {
            for line in lines_with(&code(text), "unsafe") {
                let text = "unsafe code stands only in kvm-libvirt/src/ffi";
                findings.push(Finding::new(path, line, text));
            }
        }
    }
    findings
}

/// Whether the file is where the compiler starts to read a library or a program.
fn is_crate_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        [.., "src", "lib.rs" | "main.rs"] => true,
        [.., "src", "bin", name] => name.ends_with(".rs"),
        _ => false,
    }
}

/// Everybody else sees the traits, so that libvirt can be left out of a build.
pub(super) fn libvirt_stays_in_its_crate(tree: &Tree) -> Vec<Finding> {
    let outside = tree.ending(".rs").filter(|(path, _)| !path.starts_with(LIBVIRT));
    let mut findings = Vec::new();
    for (path, text) in outside {
        let code = code(text);
        for word in ["virt::", "virt_sys::"] {
            for line in lines_with(&code, word) {
                findings.push(Finding::new(path, line, "only kvm-libvirt names libvirt's crate"));
            }
        }
    }
    findings
}

/// `lib.rs` is the table of contents of a library.
pub(super) fn lib_rs_holds_docs_and_exports(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let libraries = tree.ending("/src/lib.rs").filter(|(path, _)| path.starts_with("crates/"));
    for (path, text) in libraries {
        let code = code(text);
        // The functions of a procedural macro must stand at the root of their crate.
        if code.contains("#[proc_macro") {
            continue;
        }
        for word in ["fn", "struct", "enum", "trait", "impl"] {
            for line in lines_with(&code, word) {
                let text = format!("lib.rs holds docs and exports only, not a `{word}`");
                findings.push(Finding::new(path, line, text));
            }
        }
    }
    findings
}

/// A file that nobody can hold in the head says why it must be one file.
pub(super) fn long_files_say_why(tree: &Tree) -> Vec<Finding> {
    let long = tree.ending(".rs").filter(|(_, text)| text.lines().count() > JUSTIFY);
    let silent = long.filter(|(_, text)| !text.lines().take(40).any(|line| line.contains(LONG)));
    silent
        .map(|(path, text)| {
            let lines = text.lines().count();
            Finding::new(path, 0, format!("has {lines} lines and no \"{LONG} …\" at its top"))
        })
        .collect()
}

/// Files long enough to think about, which is no mistake yet.
pub(super) fn worth_a_thought(tree: &Tree) -> Vec<Finding> {
    let lines = tree.ending(".rs").map(|(path, text)| (path, text.lines().count()));
    lines
        .filter(|(_, lines)| *lines > THINK)
        .map(|(path, lines)| Finding::new(path, 0, format!("has {lines} lines; is it two things?")))
        .collect()
}

/// A program gets an argument list, a deadline and no shell: few places may start one.
pub(super) fn programs_start_in_known_places(tree: &Tree) -> Vec<Finding> {
    let places: Vec<(usize, &str)> = tree
        .text(PROCESSES)
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.starts_with('#') && !line.trim().is_empty())
        .filter_map(|(index, line)| Some((index + 1, line.split_whitespace().next()?)))
        .collect();
    let mut used = vec![false; places.len()];
    let mut findings = Vec::new();
    for (path, text) in tree.ending(".rs") {
        let starts = lines_with(&code(text).replace("clap::Command::new", ""), "Command::new");
        if starts.is_empty() {
            continue;
        }
        match places.iter().position(|(_, place)| path.starts_with(place)) {
            Some(index) => used[index] = true,
            None => findings.extend(
                starts
                    .into_iter()
                    .map(|line| Finding::new(path, line, format!("starts a program, but is not in {PROCESSES}"))),
            ),
        }
    }
    let idle = places.iter().zip(used).filter(|(_, used)| !used);
    findings
        .extend(idle.map(|((line, place), _)| Finding::new(PROCESSES, *line, format!("{place} starts no program"))));
    findings
}

/// A test that sleeps is slow on a good day and wrong on a bad one.
pub(super) fn tests_do_not_sleep(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending(".rs") {
        let code = code(text);
        let from = match is_test_file(path) {
            true => 0,
            false => first_test_line(&code),
        };
        let mut lines = Vec::new();
        for word in ["sleep(", "sleep_until("] {
            lines.extend(lines_with(&code, word));
        }
        // `clock.sleep(…)` of a clock that the test itself moves is no sleep.
        let own = |line: &usize| {
            let text = code.lines().nth(line - 1).unwrap_or_default();
            text.contains(".sleep") || text.contains("fn sleep")
        };
        lines.retain(|line| *line >= from && !own(line));
        findings.extend(
            lines
                .into_iter()
                .map(|line| Finding::new(path, line, "tests do not sleep: wait for the event, or move the clock")),
        );
    }
    findings
}

/// What is merged is finished.
pub(super) fn nothing_is_left_undone(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending(".rs") {
        let code = code(text);
        for word in ["todo!", "unimplemented!", "#[ignore"] {
            for line in lines_with(&code, word) {
                findings.push(Finding::new(path, line, format!("`{word}` is left in the code")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "crates/kvm-a/src/lib.rs";

    fn one(path: &str, text: &str) -> Tree {
        Tree::of(&[(path, text)])
    }

    #[test]
    fn a_crate_root_that_does_not_forbid_unsafe_code_is_found() {
        assert_eq!(unsafe_code_is_forbidden(&one(ROOT, "//! docs\n")).len(), 1);
        assert_eq!(unsafe_code_is_forbidden(&one(ROOT, "#![forbid(unsafe_code)]\n")), []);
        assert_eq!(unsafe_code_is_forbidden(&one("crates/kvm-a/src/bin/b.rs", "")).len(), 1);
        assert_eq!(unsafe_code_is_forbidden(&one("crates/kvm-libvirt/src/lib.rs", "")), []);
    }

    #[test]
    fn unsafe_code_outside_the_border_is_found() {
        let block = "// unsafe in a comment\nlet x = unsafe { y };\n";
        let found = unsafe_code_is_forbidden(&one("crates/kvm-a/src/b.rs", block));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 2);
        let outside = "crates/kvm-libvirt/src/connection.rs";
        assert_eq!(unsafe_code_is_forbidden(&one(outside, block)).len(), 1);
        let inside = "crates/kvm-libvirt/src/ffi/events.rs";
        assert_eq!(unsafe_code_is_forbidden(&one(inside, block)), []);
    }

    #[test]
    fn libvirts_crate_outside_its_place_is_found() {
        let text = "use virt::domain::Domain;\nuse kvm_libvirt::Libvirt;\n";
        let found = libvirt_stays_in_its_crate(&one("crates/kvm-cli/src/a.rs", text));
        assert_eq!(found.len(), 1);
        assert_eq!(libvirt_stays_in_its_crate(&one("crates/kvm-libvirt/src/a.rs", text)), []);
    }

    #[test]
    fn code_in_lib_rs_is_found() {
        let text = "//! fn in docs\nmod a;\npub use a::B;\npub fn c() {}\n";
        assert_eq!(lib_rs_holds_docs_and_exports(&one(ROOT, text)).len(), 1);
        let text = "#[proc_macro_derive(X)]\npub fn c() {}\n";
        assert_eq!(lib_rs_holds_docs_and_exports(&one(ROOT, text)), []);
    }

    #[test]
    fn a_long_file_without_a_reason_is_found() {
        let body = "x\n".repeat(1001);
        assert_eq!(long_files_say_why(&one("a.rs", &body)).len(), 1);
        let reasoned = format!("//! Long on purpose: one table.\n{body}");
        assert_eq!(long_files_say_why(&one("a.rs", &reasoned)), []);
        assert_eq!(worth_a_thought(&one("a.rs", &"x\n".repeat(601))).len(), 1);
    }

    #[test]
    fn a_program_started_in_an_unknown_place_is_found() {
        let start = ("crates/kvm-vm/src/a.rs", "Command::new(\"qemu-img\")");
        assert_eq!(programs_start_in_known_places(&Tree::of(&[start])).len(), 1);
        let clap = ("crates/kvm-cli/src/a.rs", "clap::Command::new(\"kvmctl\")");
        assert_eq!(programs_start_in_known_places(&Tree::of(&[clap])), []);
        let allowed = (PROCESSES, "# why\ncrates/kvm-vm/src/a.rs  because\n");
        assert_eq!(programs_start_in_known_places(&Tree::of(&[start, allowed])), []);
    }

    #[test]
    fn a_permission_to_start_programs_that_nobody_needs_is_found() {
        let stale = (PROCESSES, "crates/kvm-gone/  because\n");
        let found = programs_start_in_known_places(&Tree::of(&[stale]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 1);
    }

    #[test]
    fn a_test_that_sleeps_is_found() {
        let text = "sleep(a);\n#[cfg(test)]\nmod tests {\n tokio::time::sleep(b);\n clock.sleep(c);\n}\n";
        let found = tests_do_not_sleep(&one("crates/kvm-a/src/b.rs", text));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 4);
        let found = tests_do_not_sleep(&one("crates/kvm-a/tests/b.rs", "thread::sleep(a);"));
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn unfinished_code_is_found() {
        let text = "todo!()\n#[ignore = \"slow\"]\nunimplemented!()\n// todo!()\n";
        assert_eq!(nothing_is_left_undone(&one("a.rs", text)).len(), 3);
    }
}
