//! `kvmctl man`: manual pages of both programs, for packagers.

use std::path::PathBuf;

use clap::CommandFactory as _;
use kvm_core::{Error, ErrorKind, Resource, Result};

use crate::printer::Printer;

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory for the pages; made when it is not there.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Writes a page for each command.
pub(crate) fn run(args: &Args, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let written = std::fs::create_dir_all(&args.dir)
        .and_then(|()| clap_mangen::generate_to(crate::args::Args::command(), &args.dir))
        .and_then(|()| clap_mangen::generate_to(crate::copy::Args::command(), &args.dir));
    written.map_err(|e| {
        Error::new(ErrorKind::Denied, format!("cannot write the pages to {}", args.dir.display()))
            .on(Resource::File(args.dir.display().to_string()))
            .with_source(e)
    })?;
    printer.note(&format!("man pages written to {}", args.dir.display()));
    Ok(None)
}
