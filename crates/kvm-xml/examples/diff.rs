//! Says what differs between two machines' documents: `diff FILE FILE`. Exit status: 0 the same, 1 different, 2 trouble.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use kvm_xml::{Document, Domain, diff};
use std::process::ExitCode;

fn main() -> ExitCode {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let [before, after] = files.as_slice() else {
        eprintln!("diff FILE FILE");
        return ExitCode::from(2);
    };
    match (read(before), read(after)) {
        (Ok(before), Ok(after)) => {
            let changes = diff(&before, &after);
            for change in &changes {
                println!("{change}");
            }
            ExitCode::from(u8::from(!changes.is_empty()))
        }
        (Err(message), _) | (_, Err(message)) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn read(file: &str) -> Result<Domain, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    Domain::from_xml(&text).map_err(|error| format!("{file}: {error}"))
}
