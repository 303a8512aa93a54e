//! `kvmctl`: virtual machines on libvirt hosts from the command line.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use kvm_cli::{Args, Printer};
use kvm_core::Error;

fn main() -> ExitCode {
    if kvm_cli::answer_completion() {
        return ExitCode::SUCCESS;
    }
    let args = Args::of_command_line();
    let mut printer = Printer::new(&args.global);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            let error = Error::internal("the runtime cannot start").with_source(e);
            printer.error(&error);
            return ExitCode::from(kvm_cli::exit_code(error.kind()));
        }
    };
    let code = runtime.block_on(kvm_cli::run(args, &mut printer));
    // Not waited for: a thread that reads the terminal, or a host that hangs, would hold the process.
    runtime.shutdown_background();
    kvm_cli::settle();
    ExitCode::from(code)
}
