//! The checks of this repository, as `cargo xtask COMMAND`.
//!
//! What continuous integration runs is what a contributor runs: `cargo xtask ci`. The single
//! checks are commands of their own, so that an editor or a commit hook can run one of them.
#![forbid(unsafe_code)]

mod ci;
mod deps;
mod dist;
mod program;
mod report;
mod tidy;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  ci [STAGE...]    every check of the Rust side, or only the named stages
  tidy             rules about files and text that no compiler knows
  deps [--bless]   which crate may depend on which; --bless rewrites docs/crate-graph.txt
  dist             kvmctl, kvm-clone and the static helper, built for release into the target directory's dist/
  lab [--no-run]   the tests that need a running lab (lab/up.sh); --no-run only builds them
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let passed = match arguments.as_slice() {
        ["ci", stages @ ..] => ci::run(stages),
        ["tidy"] => tidy::run(),
        ["deps"] => deps::run(deps::Graph::Compare),
        ["deps", "--bless"] => deps::run(deps::Graph::Bless),
        ["dist"] => dist::run(),
        ["lab"] => ci::lab(ci::Lab::Run),
        ["lab", "--no-run"] => ci::lab(ci::Lab::BuildOnly),
        _ => {
            report::error(USAGE);
            return ExitCode::from(2);
        }
    };
    match passed {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
