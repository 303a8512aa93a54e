//! The program: serves on its standard streams.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use kvm_helper::{Settings, serve};

/// Fewer changes between us and what moves our bytes.
const PIPE: usize = 1 << 20;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [] => {}
        [only] if only == "--version" => {
            let text = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"), "\n");
            return match std::io::stdout().write_all(text.as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            };
        }
        _ => return refuse("kvm-helper takes no arguments but --version"),
    }
    let (input, output) = (std::io::stdin(), std::io::stdout());
    if input.is_terminal() || output.is_terminal() {
        return refuse("kvm-helper is started by kvmctl and speaks to it over its standard streams");
    }
    let Some(settings) = settings() else {
        return refuse("kvm-helper needs to know its home: set HOME to an absolute path");
    };
    // Without the buffers of the standard library, which look for the ends of lines.
    let (Ok(input), Ok(output)) = (owned(&input), owned(&output)) else {
        return refuse("kvm-helper cannot use its standard streams");
    };
    serve(settings, input, output);
    ExitCode::SUCCESS
}

fn owned(stream: &impl AsFd) -> std::io::Result<File> {
    // Not every stream is a pipe.
    let _size = rustix::pipe::fcntl_setpipe_size(stream, PIPE);
    Ok(File::from(stream.as_fd().try_clone_to_owned()?))
}

/// Where root keeps such things, and where others do.
fn settings() -> Option<Settings> {
    if let Some(state) = directory("KVM_HELPER_STATE") {
        return Some(Settings::new(state.join("digests")));
    }
    if rustix::process::geteuid().is_root() {
        return Some(Settings::new("/var/lib/kvm-manager/digests"));
    }
    Some(Settings::new(directory("HOME")?.join(".local/state/kvm-manager/digests")))
}

#[expect(clippy::disallowed_methods, reason = "a program, which knows its user's home from nowhere else")]
fn directory(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

#[expect(clippy::print_stderr, reason = "the one thing that this program says to people")]
fn refuse(text: &str) -> ExitCode {
    eprintln!("{text}");
    ExitCode::from(2)
}
