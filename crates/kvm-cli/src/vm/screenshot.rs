//! `kvmctl vm screenshot`.

use std::path::PathBuf;

use kvm_core::{Error, ErrorKind, Result, ScreenshotFormat, Transport as _, VmId};
use kvm_ssh::LocalTransport;
use serde::Serialize;

use crate::environment;
use crate::picture;
use crate::printer::{Outcome, Page};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `vm screenshot`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm screenshot web web.png\n  kvmctl vm screenshot web second.png --screen 1",
    after_long_help = "Library: kvm_core::Console::screenshot"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// PNG file to write.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Which screen; 0 is the first.
    #[arg(long, value_name = "N", default_value_t = 0)]
    screen: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct Taken {
    name: String,
    id: VmId,
    file: PathBuf,
    size_bytes: usize,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Taken> {
    let (connection, vm) = args.vm.find(session).await?;
    let unsupported = || Error::new(ErrorKind::Unsupported, "this host takes no pictures of screens");
    let console = connection.host.hypervisor.console().ok_or_else(unsupported)?;
    let shot = console.screenshot(&vm.id, args.screen).await.map_err(|e| e.during("screenshot"))?;
    let png = match shot.format {
        ScreenshotFormat::Png => shot.data,
        ScreenshotFormat::Ppm => picture::ppm_to_png(&shot.data)?,
        other => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("pictures of the form {other:?} are not known here"),
            ));
        }
    };
    let file = environment::absolute(args.file)?;
    LocalTransport::new().write_file(&file, &png, 0o644).await?;
    Ok(Taken { name: vm.name.into(), id: vm.id, file, size_bytes: png.len() })
}

impl Outcome for Taken {
    fn text(&self, page: &mut Page<'_>) {
        page.done(format_args!("screen of {} saved to {}", self.name, self.file.display()));
    }
}
