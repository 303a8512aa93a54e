//! The stages, cheapest first.

use std::io;
use std::path::Path;

use super::tally::Tally;
use crate::program::{self, Output};
use crate::workspace;
use crate::{deps, tidy};

/// The package whose tests need a running lab; the `tests` stage leaves it out.
const LAB_PACKAGE: &str = "kvm-lab";
/// How cargo-nextest runs them: few at a time and with longer deadlines.
const LAB_PROFILE: &str = "lab";

/// One check.
pub(super) struct Stage {
    pub(super) name: &'static str,
    pub(super) run: fn(&Path) -> io::Result<Outcome>,
}

/// How a stage ended.
pub(super) enum Outcome {
    Passed { remark: String, tally: Tally },
    Skipped { reason: String },
    Failed { output: String, tally: Tally },
}

impl Outcome {
    fn passed(remark: impl Into<String>) -> Self {
        let (remark, tally) = (remark.into(), Tally::default());
        Self::Passed { remark, tally }
    }

    pub(super) fn failed(output: String) -> Self {
        let tally = Tally::default();
        Self::Failed { output, tally }
    }

    /// The outcome of a program that prints nothing worth keeping when it succeeds.
    fn of(output: Output) -> Self {
        match output.succeeded {
            true => Self::passed(""),
            false => Self::failed(output.text),
        }
    }

    /// The outcome of a program that runs tests.
    fn of_tests(output: Output, runner: &str) -> Self {
        let tally = Tally::read(&output.text);
        match output.succeeded {
            true => Self::Passed { remark: format!("{tally} ({runner})"), tally },
            false => Self::Failed { output: output.text, tally },
        }
    }
}

const fn stage(name: &'static str, run: fn(&Path) -> io::Result<Outcome>) -> Stage {
    Stage { name, run }
}

pub(super) const STAGES: &[Stage] = &[
    stage("fmt", fmt),
    stage("tidy", tidy),
    stage("deps", deps),
    stage("licences", licences),
    stage("clippy", clippy),
    stage("features", features),
    stage("tests", tests),
    stage("doctests", doctests),
    stage("docs", docs),
];

pub(super) const LAB: Stage = stage("lab", lab);
pub(super) const LAB_BUILD: Stage = stage("lab-build", lab_build);

/// Names the files only: `cargo fmt --all` shows and mends the rest.
fn fmt(root: &Path) -> io::Result<Outcome> {
    program::cargo(root, &["fmt", "--all", "--check", "--message-format", "short"], &[]).map(Outcome::of)
}

fn tidy(_: &Path) -> io::Result<Outcome> {
    let report = tidy::check()?;
    let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    Ok(match (problems.is_empty(), report.notes.len()) {
        (false, _) => Outcome::failed(problems.join("\n")),
        (true, 0) => Outcome::passed(""),
        (true, notes) => Outcome::passed(format!("{notes} notes, see cargo xtask tidy")),
    })
}

fn deps(_: &Path) -> io::Result<Outcome> {
    let findings = deps::check(deps::Graph::Compare)?;
    let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
    Ok(match findings.is_empty() {
        true => Outcome::passed(""),
        false => Outcome::failed(findings.join("\n")),
    })
}

/// Licences, bans and sources; advisories need a database from the network and are left out.
fn licences(root: &Path) -> io::Result<Outcome> {
    if !program::has_subcommand(root, "deny") {
        return Ok(Outcome::Skipped {
            reason: "cargo-deny is not installed (cargo install --locked cargo-deny)".to_owned(),
        });
    }
    let arguments = ["deny", "--all-features", "check", "licenses", "bans", "sources"];
    program::cargo(root, &arguments, &[]).map(Outcome::of)
}

fn clippy(root: &Path) -> io::Result<Outcome> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    program::cargo(root, &arguments, &[]).map(Outcome::of)
}

/// Features only add: each package that has some also builds alone, without any and with all of them.
fn features(root: &Path) -> io::Result<Outcome> {
    let packages = workspace::packages(root)?;
    let mut checked = Vec::new();
    for (name, _) in packages.iter().filter(|(_, package)| package.has_features) {
        for switch in ["--no-default-features", "--all-features"] {
            let arguments = ["clippy", "--package", name, switch, "--", "-D", "warnings"];
            let output = program::cargo(root, &arguments, &[])?;
            if !output.succeeded {
                return Ok(Outcome::failed(format!("{name} {switch}:\n{}", output.text)));
            }
        }
        checked.push(name.as_str());
    }
    Ok(match checked.is_empty() {
        true => Outcome::Skipped { reason: "no package has features".to_owned() },
        false => Outcome::passed(checked.join(", ")),
    })
}

fn tests(root: &Path) -> io::Result<Outcome> {
    let mut selection = vec!["--workspace"];
    if workspace::packages(root)?.contains_key(LAB_PACKAGE) {
        selection.extend(["--exclude", LAB_PACKAGE]);
    }
    run_tests(root, "default", &selection)
}

fn doctests(root: &Path) -> io::Result<Outcome> {
    let arguments = ["test", "--workspace", "--doc", "--no-fail-fast"];
    let output = program::cargo(root, &arguments, &[])?;
    Ok(Outcome::of_tests(output, "cargo test"))
}

fn docs(root: &Path) -> io::Result<Outcome> {
    let environment = [("RUSTDOCFLAGS", "-D warnings")];
    program::cargo(root, &["doc", "--workspace", "--no-deps"], &environment).map(Outcome::of)
}

fn lab(root: &Path) -> io::Result<Outcome> {
    let kvmctl = build_kvmctl(root)?;
    match kvmctl.succeeded {
        true => run_tests(root, LAB_PROFILE, &["--package", LAB_PACKAGE]),
        false => Ok(Outcome::of(kvmctl)),
    }
}

/// The tests of the lab run `kvmctl`, which finds the helper beside it; no dependency of theirs has cargo build a program.
fn build_kvmctl(root: &Path) -> io::Result<Output> {
    program::cargo(
        root,
        &["build", "--package", "kvm-cli", "--package", "kvm-helper", "--features", "kvm-cli/failpoints"],
        &[],
    )
}

fn lab_build(root: &Path) -> io::Result<Outcome> {
    let kvmctl = build_kvmctl(root)?;
    if !kvmctl.succeeded {
        return Ok(Outcome::of(kvmctl));
    }
    let outcome = run_tests(root, LAB_PROFILE, &["--package", LAB_PACKAGE, "--no-run"])?;
    Ok(match outcome {
        Outcome::Passed { .. } => Outcome::passed(""),
        other => other,
    })
}

/// Runs tests with cargo-nextest, or with cargo's own runner where that is not installed.
fn run_tests(root: &Path, profile: &str, selection: &[&str]) -> io::Result<Outcome> {
    let (runner, command): (_, &[&str]) = match program::has_subcommand(root, "nextest") {
        true => ("cargo nextest", &["nextest", "run", "--profile", profile]),
        false => (
            "cargo test, without deadlines: cargo-nextest is not installed",
            &["test", "--no-fail-fast", "--lib", "--bins", "--tests", "--examples"],
        ),
    };
    let output = program::cargo(root, &[command, selection].concat(), &[])?;
    Ok(Outcome::of_tests(output, runner))
}
