//! `kvmctl snap show`.

use kvm_core::{Result, SnapshotKind};
use serde::Serialize;

use super::{Existing, Snapshot, time};
use crate::printer::{Outcome, Page};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `snap show`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl snap show web before-upgrade\n  kvmctl snap show web before-upgrade -o json | jq .disks",
    after_long_help = "Library: kvm_core::Snapshots::list"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    #[command(flatten)]
    existing: Existing,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Shown(Snapshot);

pub(super) async fn run(args: Args, session: &Session) -> Result<Shown> {
    let (connection, vm) = args.vm.find(session).await?;
    let found = kvm_vm::find_snapshot(&connection.host, &vm, &args.existing.snapshot).await?;
    Ok(Shown(found.into()))
}

impl Outcome for Shown {
    fn text(&self, page: &mut Page<'_>) {
        let Snapshot { info, kind } = &self.0;
        let memory = match (info.memory, &info.memory_file) {
            (None, _) => "not kept".to_owned(),
            (Some(SnapshotKind::External), Some(file)) => format!("in {file}"),
            (Some(kind), _) => kind.to_string(),
        };
        let disk = |disk: &kvm_core::SnapshotDisk| {
            let image = disk.image.as_ref().map(|image| format!(" in {image}")).unwrap_or_default();
            let overlay = disk.overlay.as_ref().map(|overlay| format!(", went on in {overlay}")).unwrap_or_default();
            format!("{}  {}{image}{overlay}", disk.disk, disk.kind)
        };
        let disks: Vec<_> = info.disks.iter().map(disk).collect();
        page.fields(&[
            ("name", Some(info.name.as_str().to_owned())),
            ("description", Some(info.description.clone().unwrap_or_default())),
            ("created", time(info.created)),
            ("kind", Some(kind.to_string())),
            ("current", Some(if info.current { "yes" } else { "no" }.to_owned())),
            ("parent", Some(info.parent.as_ref().map_or("none".to_owned(), |name| name.as_str().to_owned()))),
            ("state", Some(info.state.to_string())),
            ("memory", Some(memory)),
            ("disks", Some(disks.join("\n"))),
        ]);
    }
}
