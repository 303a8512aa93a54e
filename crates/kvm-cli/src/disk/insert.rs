//! `kvmctl disk insert`, and what it says, which is what `disk eject` says.

use kvm_core::{Impact, Result, VmSummary};
use kvm_vm::{ImageRef, MediaChange};
use kvm_xml::value::DiskName;
use serde::Serialize;

use crate::device::{Reach, when};
use crate::printer::{Outcome, Page};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `disk insert`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl disk insert web iso/debian.iso\n  kvmctl disk insert web /srv/iso/tools.iso --target sdb",
    after_long_help = "What is in the drive is taken out.\n\nLibrary: kvm_vm::insert"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// POOL/VOLUME, or a path.
    #[arg(value_name = "IMAGE")]
    image: ImageRef,
    /// The drive, such as sda; not needed when there is one only.
    #[arg(long, value_name = "NAME")]
    target: Option<DiskName>,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Serialize)]
pub(super) struct Changed {
    vm: String,
    target: String,
    source: Option<String>,
    old_source: Option<String>,
    documents: Impact,
}

impl Changed {
    pub(super) fn of(vm: VmSummary, change: MediaChange) -> Self {
        Self {
            vm: vm.name.into(),
            target: change.target.to_string(),
            source: change.after,
            old_source: change.before,
            documents: change.impact,
        }
    }
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Changed> {
    let (connection, vm) = args.vm.find(session).await?;
    let (target, impact) = (args.target.as_ref(), args.reach.impact());
    let policy = session.plan_context().policy;
    let change = kvm_vm::insert(&connection.host, &vm, target, &args.image, impact, policy).await?;
    Ok(Changed::of(vm, change))
}

impl Outcome for Changed {
    fn text(&self, page: &mut Page<'_>) {
        let (drive, when) = (format!("drive {} of {}", self.target, self.vm), when(self.documents));
        match (&self.source, &self.old_source) {
            (Some(source), _) => page.done(format_args!("{drive} has {source}{when}")),
            (None, Some(old)) => page.done(format_args!("{drive} is empty{when}; it had {old}")),
            (None, None) => page.done(format_args!("{drive} is empty{when}, as it was")),
        }
    }
}
