//! `kvmctl backup create`.

use kvm_clone::{BackupSpec, Base, Compress, Parallel, PointId, SyncedImage, Track, WhileRunning, plan_backup};
use kvm_core::{Bandwidth, Bytes, Consistency, ErrorKind, Result};
use serde::Serialize;

use super::Store;
use crate::operation::{DoneForm, PlanView};
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `backup create`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl backup create web /srv/backup\n  kvmctl backup create web lab2:/srv/backup --bandwidth 50M\n  \
        kvmctl backup create lab1/web lab2:/srv/backup --dry-run",
    after_long_help = "STORE is a directory that is there already: /DIR on the VM's own host, HOST:/DIR on another one. The point becomes \
        STORE/VM/TIME with one whole image for each disk, domain.xml, the UEFI variables, the state of an emulated TPM and manifest.json \
        with the digests of all of them. It has that name only when everything is there, was read back and compared, and survives a power cut.\n\
        The newest point of the same VM is built upon: what both share is not sent, and takes no space twice where the store's file system \
        can share blocks (XFS, Btrfs). Every point is whole nevertheless: any can be deleted, and an image is used without kvmctl by \
        copying it or with qemu-img convert.\n\
        A VM that runs goes on meanwhile. Its disks are held at one moment by a snapshot, with its file systems in order where its guest \
        agent answers. The stored definition has the passwords of screens, and the state of a TPM has its keys: the store is readable for \
        its owner alone. Where that state cannot be stored the plan says why, and the backup is made without it.\n\
        kvm-helper is put into the login's .cache on both hosts, also for --dry-run. Ctrl-C takes everything back.\n\n\
        Library: kvm_clone::plan_backup, kvm_core::op::Executor::run"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    #[command(flatten)]
    store: Store,
    /// Send everything, upon no earlier point.
    #[arg(long)]
    full: bool,
    /// Refuse to back up a VM that runs.
    #[arg(long)]
    only_off: bool,
    /// Most that is sent per second, such as 100M or 1Gbit/s.
    #[arg(long, value_name = "RATE", value_parser = Bandwidth::parse)]
    bandwidth: Option<Bandwidth>,
    /// Send everything as it is; without it what a sample shows to shrink is compressed.
    #[arg(long)]
    no_compress: bool,
    /// How many disks are sent at a time where helpers carry them, from 1 to 8; 1 if left out.
    #[arg(long, value_name = "N")]
    parallel: Option<Parallel>,
    /// Have the VM's qcow2 images remember what is written from now on, so that the next copy reads only that.
    #[arg(long)]
    track: bool,
    /// Write SHA256SUMS as well, with which sha256sum --check checks the point.
    #[arg(long)]
    sha256: bool,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let spec = BackupSpec {
        base: if args.full { Base::Nothing } else { Base::Newest },
        running: if args.only_off { WhileRunning::Refuse } else { WhileRunning::Snapshot },
        limit: args.bandwidth.unwrap_or(Bandwidth::UNLIMITED),
        compression: if args.no_compress { Compress::Never } else { Compress::Auto },
        parallel: args.parallel.unwrap_or_default(),
        track: if args.track { Track::Yes } else { Track::No },
        sums: args.sha256,
        tool: concat!("kvmctl ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let (source, vm) = args.vm.find(session).await?;
    let (store, directory) = (args.store.open(&source, session).await?, args.store.directory());
    let cx = session.plan_context();
    let backup = plan_backup(&source.host, &store.host, directory, &vm, &spec, &cx, &*session.clock).await?;
    if args.dry_run {
        return printer.show(&PlanView::of(&backup.plan));
    }
    let done = session.carry_out(&source, backup.plan).await?;
    printer.show(&Created {
        name: vm.name.as_str().to_owned(),
        host: store.label(),
        store: directory.to_string(),
        backup: format!("{}/{}", backup.vm, backup.point),
        consistency: backup.consistency,
        based_on: backup.based_on,
        done: DoneForm::of(&done),
        images: backup.tally.images().into_iter().map(Image::of).collect(),
    })
}

/// What was sent of a disk.
#[derive(Serialize)]
struct Image {
    disk: String,
    length_bytes: Bytes,
    /// How much of it the point that it is made upon has not.
    changed_bytes: Bytes,
    sent_bytes: Bytes,
    /// How much was not read, because a bitmap says that it has not changed.
    spared_bytes: Bytes,
}

impl Image {
    fn of(SyncedImage { disk, moved }: SyncedImage) -> Self {
        Self {
            disk,
            length_bytes: moved.length,
            changed_bytes: moved.changed,
            sent_bytes: moved.sent,
            spared_bytes: moved.spared,
        }
    }
}

/// A point that was made.
#[derive(Serialize)]
struct Created {
    name: String,
    host: String,
    store: String,
    backup: String,
    consistency: Consistency,
    based_on: Option<PointId>,
    #[serde(flatten)]
    done: DoneForm,
    images: Vec<Image>,
}

impl Outcome for Created {
    fn text(&self, page: &mut Page<'_>) {
        let what = format!("{} backed up as {} in {} on {}", self.name, self.backup, self.store, self.host);
        self.done.text(&what, page);
    }
}
