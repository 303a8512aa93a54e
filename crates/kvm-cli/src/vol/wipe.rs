//! `kvmctl vol wipe`.

use clap::ValueEnum;
use kvm_core::{ErrorKind, Result, WipePattern};
use kvm_vm::VolumeRef;
use serde::Serialize;

use crate::operation::confirm;
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;

/// Arguments of `vol wipe`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vol wipe default/data.raw\n  kvmctl vol wipe default/data.raw --pattern random\n  \
        kvmctl vol wipe default/data.raw --yes",
    after_long_help = "The volume stays, of the same length, and is plain bytes afterwards. On flash storage, and on file systems that copy \
        on write, old data may outlive this.\n\nLibrary: kvm_vm::wipe_volume"
)]
pub struct Args {
    /// Pool and name.
    #[arg(value_name = "POOL/VOLUME")]
    volume: VolumeRef,
    /// What it is overwritten with.
    #[arg(long, value_enum, default_value_t = Pattern::Zero)]
    pattern: Pattern,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Pattern {
    /// Zeros, once.
    Zero,
    /// Random bytes, once; the host needs the program scrub.
    Random,
    /// Four passes as the NNSA asks for; the host needs scrub.
    Nnsa,
    /// The device is told that nothing is needed any longer.
    Trim,
}

#[derive(Serialize)]
struct Wiped {
    volume: String,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let pattern = match args.pattern {
        Pattern::Zero => WipePattern::Zero,
        Pattern::Random => WipePattern::Random,
        Pattern::Nnsa => WipePattern::Nnsa,
        Pattern::Trim => WipePattern::Trim,
    };
    let connection = session.host().await?;
    let (about, uses) = kvm_vm::volume_uses(&connection.host, &args.volume).await?;
    let volume = args.volume.as_text();
    if !session.yes {
        let uses = uses.map(|uses| format!(", {uses}")).unwrap_or_default();
        printer.preview(&format!(
            "wipe volume {} on {}\n  overwrite  data  {}  {} on disk{uses}",
            kvm_core::text::printable(&volume),
            connection.label(),
            kvm_core::text::printable(about.place().unwrap_or_default()),
            about.allocation
        ));
    }
    confirm(session, printer, "Type the volume's name to wipe it: ", about.name.as_str()).await?;
    kvm_vm::wipe_volume(&connection.host, &args.volume, pattern).await?;
    printer.show(&Wiped { volume })
}

impl Outcome for Wiped {
    fn text(&self, page: &mut Page<'_>) {
        page.done(format_args!("volume {} wiped", self.volume));
    }
}
