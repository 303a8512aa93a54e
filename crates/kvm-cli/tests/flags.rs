//! No flag is taken and then ignored: one that needs another one is refused without it, whatever else is asked for.
//!
//! clap lets a requirement go where the required flag conflicts with something that was given. `--dry-run`, which needs
//! `--encrypt`, was so accepted beside `--backing`, and something was made.

use std::collections::BTreeSet;

use clap::builder::{Arg, Command};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, CommandFactory as _};

/// One of these is fine for nearly every argument.
const VALUES: &[&str] = &[
    "x",
    "1",
    "/x",
    "x/y",
    "10M",
    "5s",
    "x=y",
    "vda",
    "tpm",
    "up",
    "mock:///x",
    "host:/x",
    "192.0.2.1",
    "192.0.2.0/24",
    "192.0.2.1=x",
    "192.0.2.1-192.0.2.9",
    "52:54:00:00:00:01",
    "0000:00:02.0",
    "2030-01-01T00:00:00Z",
    "00000000-0000-4000-8000-000000000001",
    "0123abcd",
    "watchdog",
    "watchdog=i6300esb",
    "qemu:///system",
];

/// The words by which an argument is given behind others; none where no value is found that it takes.
fn words(command: &Command, before: &[String], arg: &Arg) -> Option<Vec<String>> {
    let flag = arg.get_long().map(|long| format!("--{long}")).or_else(|| arg.get_short().map(|it| format!("-{it}")));
    if !matches!(arg.get_action(), ArgAction::Set | ArgAction::Append) {
        return Some(flag.into_iter().collect());
    }
    let possible = arg.get_possible_values();
    let values = possible.iter().map(|value| value.get_name()).chain(VALUES.iter().copied());
    let given = values.map(|value| match &flag {
        Some(flag) => vec![format!("{flag}={value}")],
        None => vec![value.to_owned()],
    });
    given.into_iter().find(|words| {
        let error = parse(command, &[before, words].concat()).err();
        error.is_none_or(|e| !matches!(e.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation))
    })
}

fn parse(command: &Command, words: &[String]) -> Result<(), clap::Error> {
    let words = std::iter::once("x".to_owned()).chain(words.iter().cloned());
    command.clone().try_get_matches_from(words).map(drop)
}

/// What is missing, as clap calls it.
fn missing(command: &Command, words: &[String]) -> Vec<String> {
    match parse(command, words) {
        Err(e) if e.kind() == ErrorKind::MissingRequiredArgument => match e.get(ContextKind::InvalidArg) {
            Some(ContextValue::Strings(missing)) => missing.clone(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// Adds the command lines of a command that leave a requirement out and are accepted. Counts the requirements.
fn look(command: &Command, path: &str, ignored: &mut Vec<String>, requirements: &mut usize) {
    for sub in command.get_subcommands() {
        look(sub, &format!("{path} {}", sub.get_name()), ignored, requirements);
    }
    if command.has_subcommands() {
        return;
    }
    let (required, others): (Vec<_>, Vec<_>) = command.get_arguments().partition(|arg| arg.is_required_set());
    let mut base = Vec::new();
    for arg in required {
        base.extend(words(command, &base, arg).unwrap_or_else(|| panic!("{path}: no value for {arg}")));
    }
    let others = others.into_iter().filter_map(|arg| Some((arg, words(command, &base, arg)?)));
    let others: Vec<Given<'_>> = others.collect();
    let line =
        |parts: &[&Given<'_>]| [&base[..], &parts.iter().flat_map(|part| part.1.clone()).collect::<Vec<_>>()].concat();
    // Where one of several is required, each of them is a start.
    let starts: Vec<Vec<&Given<'_>>> = match parse(command, &base) {
        Ok(()) => vec![vec![]],
        Err(_) => others.iter().map(|other| vec![other]).filter(|start| parse(command, &line(start)).is_ok()).collect(),
    };
    let anyway = missing(command, &base);
    for arg in &others {
        let lines = starts.iter().map(|start| &start[..]).chain([&[][..]]).map(|start| line(&[start, &[arg]].concat()));
        let needed = lines.flat_map(|line| missing(command, &line)).filter(|it| !anyway.contains(it));
        let needed: BTreeSet<_> = needed.collect();
        *requirements += needed.len();
        for start in starts.iter().filter(|_| !needed.is_empty()) {
            for beside in others.iter().filter(|other| other.0.get_id() != arg.0.get_id()) {
                let parts = [&start[..], &[arg], &[beside]].concat();
                let is_satisfied = parts.iter().any(|(part, _)| needed.contains(&part.to_string()));
                if !is_satisfied && parse(command, &line(&parts)).is_ok() {
                    ignored.push(format!("{path} {}: without {needed:?}", line(&parts).join(" ")));
                }
            }
        }
    }
}

/// An argument, and the words by which it is given.
type Given<'a> = (&'a Arg, Vec<String>);

#[test]
fn a_flag_that_needs_another_one_is_refused_without_it() {
    let (mut ignored, mut requirements) = (Vec::new(), 0);
    for mut command in [kvm_cli::Args::command(), kvm_cli::copy::Args::command()] {
        command.build();
        let name = command.get_name().to_owned();
        look(&command, &name, &mut ignored, &mut requirements);
    }
    assert!(requirements >= 15, "{requirements}: the test has gone blind");
    assert!(ignored.is_empty(), "{}", ignored.join("\n"));
}
