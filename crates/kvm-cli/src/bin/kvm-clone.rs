//! `kvm-clone`: virtual machines copied from host to host, with a command line of its own.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use kvm_cli::copy;
use kvm_core::Error;

fn main() -> ExitCode {
    if copy::answer_completion() {
        return ExitCode::SUCCESS;
    }
    let args = copy::Args::of_command_line();
    let mut printer = args.printer();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            let error = Error::internal("the runtime cannot start").with_source(e);
            printer.error(&error);
            return ExitCode::from(kvm_cli::exit_code(error.kind()));
        }
    };
    let code = runtime.block_on(copy::run(args, &mut printer));
    // Not waited for: a thread that reads the terminal, or a host that hangs, would hold the process.
    runtime.shutdown_background();
    kvm_cli::settle();
    ExitCode::from(code)
}
