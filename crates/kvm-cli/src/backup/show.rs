//! `kvmctl backup show`.

use kvm_clone::{Manifest, backup_point};
use kvm_core::Result;
use serde::Serialize;

use super::Which;
use crate::printer::{Outcome, Page};
use crate::session::Session;

/// Arguments of `backup show`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl backup show lab2:/srv/backup web\n  kvmctl backup show /srv/backup web/2026-11-22T07-35-00Z\n  \
        kvmctl backup show /srv/backup web -o json | jq .disks",
    after_long_help = "Library: kvm_clone::backup_point"
)]
pub struct Args {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Serialize)]
pub(super) struct Shown {
    backup: String,
    #[serde(flatten)]
    manifest: Manifest,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Shown> {
    let Which { store, point } = &args.which;
    let host = store.host(session).await?;
    let (id, manifest) = backup_point(&host.host, store.directory(), point).await?;
    Ok(Shown { backup: format!("{}/{id}", point.vm), manifest })
}

impl Outcome for Shown {
    fn text(&self, page: &mut Page<'_>) {
        let Manifest { point, vm, uuid, host, consistency, based_on, tool, nvram, tpm, disks, .. } = &self.manifest;
        let disk = |disk: &kvm_clone::StoredDisk| {
            let (file, allocated) = (&disk.stored.file, disk.allocated);
            format!("{}  {file}, {}, {} on disk", disk.target, disk.virtual_size, allocated)
        };
        let file = |file: &Option<kvm_clone::StoredFile>| file.as_ref().map_or("none".to_owned(), |it| it.file.clone());
        page.fields(&[
            ("backup", Some(self.backup.clone())),
            ("vm", Some(vm.as_str().to_owned())),
            ("uuid", Some(uuid.to_string())),
            ("host", Some(host.clone())),
            ("time", Some(format!("{:.0}", point.time()))),
            ("consistency", Some(consistency.to_string())),
            ("based on", Some(based_on.map_or("nothing".to_owned(), |base| base.to_string()))),
            ("made by", Some(tool.clone())),
            ("nvram", Some(file(nvram))),
            ("tpm", Some(file(tpm))),
            ("disks", Some(disks.iter().map(disk).collect::<Vec<_>>().join("\n"))),
        ]);
    }
}
