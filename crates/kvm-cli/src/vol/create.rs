//! `kvmctl vol create`.

use std::path::{Path, PathBuf};

use kvm_core::{Bytes, ErrorKind, Passphrase, Result, VolumeInfo};
use kvm_vm::{
    Compat, Encrypted, ImageRef, Lazy, Preallocation, Qcow2Options, Subclusters, VolumeFormat, VolumeRef, VolumeSpec,
};
use serde::Serialize;
use zeroize::Zeroizing;

use super::done::Deed;
use crate::args::one_of;
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;

/// Arguments of `vol create`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vol create default/data.qcow2 20G\n  kvmctl vol create fast/data.raw 20G --format raw --preallocation full\n  \
        kvmctl vol create default/test.qcow2 --backing default/base.qcow2\n  kvmctl vol create default/safe.qcow2 20G --encrypt",
    after_long_help = "An encrypted volume is a qcow2 image with LUKS inside. Its passphrase is generated, or read from the first line of a \
        file; the host keeps it as a private secret, which even its administrators cannot read back through libvirt, and nothing here \
        ever shows it. Machines find the secret by themselves (disk attach, vm create), and it is forgotten with the volume. What a \
        download or an export makes of such a volume stays encrypted, and the passphrase is not in it: keep your own, where you \
        want to open the volume elsewhere. Clone, convert and resize refuse.\n\n\
        Library: kvm_vm::create_volume, kvm_vm::plan_encrypted_volume"
)]
pub struct Args {
    /// Pool and name.
    #[arg(value_name = "POOL/VOLUME", value_parser = VolumeRef::parse_new)]
    volume: VolumeRef,
    /// Size that a guest sees; that of the image below if left out.
    #[arg(value_name = "SIZE", value_parser = kvm_core::parse_size, required_unless_present = "backing")]
    size: Option<Bytes>,
    /// Format; qcow2 where the pool has formats.
    #[arg(long, value_parser = one_of!(VolumeFormat))]
    format: Option<VolumeFormat>,
    /// What it takes at once.
    #[arg(long, default_value = "off", value_name = "WHAT", value_parser = one_of!(Preallocation))]
    preallocation: Preallocation,
    /// Image that it holds only the differences to: POOL/VOLUME, or a path.
    #[arg(long, value_name = "IMAGE", value_parser = ImageRef::parse)]
    backing: Option<ImageRef>,
    #[command(flatten)]
    qcow2: Qcow2Flags,
    /// Encrypt what is in it (LUKS); the host keeps the passphrase.
    #[arg(long, conflicts_with_all = ["backing", "preallocation"])]
    encrypt: bool,
    /// The passphrase: the first line of this file, - for standard input; one that nobody sees if left out.
    #[arg(long, value_name = "FILE", requires = "encrypt", conflicts_with_all = ["backing", "preallocation"])]
    passphrase_file: Option<PathBuf>,
    /// Show the plan of an encrypted volume and do nothing.
    #[arg(long, requires = "encrypt", conflicts_with_all = ["backing", "preallocation"])]
    dry_run: bool,
    /// Print the XML that would be given to the host and do nothing.
    #[arg(long, conflicts_with = "backing")]
    print_xml: bool,
}

/// What only qcow2 images have.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Qcow2Flags {
    /// In what pieces a qcow2 image grows: a power of two from 512 to 2M.
    #[arg(long, value_name = "SIZE", value_parser = kvm_core::parse_size)]
    cluster_size: Option<Bytes>,
    /// Version of the qcow2 image.
    #[arg(long, value_name = "VERSION", value_parser = one_of!(Compat))]
    compat: Option<Compat>,
    /// Write reference counts late: quicker, but a check is due after a crash.
    #[arg(long)]
    lazy_refcounts: bool,
    /// Allocate clusters in parts: for large clusters.
    #[arg(long)]
    extended_l2: bool,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Created(VolumeInfo);

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let Qcow2Flags { cluster_size, compat, lazy_refcounts, extended_l2 } = args.qcow2;
    let spec = VolumeSpec {
        volume: args.volume,
        size: args.size,
        format: args.format,
        preallocation: args.preallocation,
        backing: args.backing,
        qcow2: Qcow2Options {
            cluster_size,
            compat,
            lazy_refcounts: if lazy_refcounts { Lazy::Yes } else { Lazy::No },
            extended_l2: if extended_l2 { Subclusters::Yes } else { Subclusters::No },
        },
        encrypted: if args.encrypt { Encrypted::Yes } else { Encrypted::No },
    };
    if args.print_xml {
        return printer.raw(kvm_vm::volume_document(&spec)?.as_bytes()).map(|()| None);
    }
    let connection = session.host().await?;
    if args.encrypt {
        let passphrase = match &args.passphrase_file {
            Some(file) => Some(read_passphrase(file).await?),
            None => None,
        };
        let plan = kvm_vm::plan_encrypted_volume(&connection.host, &spec, passphrase, &session.plan_context()).await?;
        let what = format!("volume {} created, encrypted", spec.volume);
        let (file, dry_run, destroys) = (None, args.dry_run, false);
        let deed = Deed { connection: &connection, volume: &spec.volume, file, what, dry_run, destroys };
        return deed.carry_out(plan, session, printer).await;
    }
    let made = kvm_vm::create_volume(&connection.host, &spec, session.plan_context().policy).await?;
    printer.show(&Created(made))
}

/// The first line of a file, without its end.
async fn read_passphrase(file: &Path) -> Result<Passphrase> {
    let text = Zeroizing::new(crate::text::read_user_file(file).await?);
    Passphrase::parse(text.lines().next().unwrap_or_default())
}

impl Outcome for Created {
    fn text(&self, page: &mut Page<'_>) {
        page.done(format_args!("volume {}/{} created, {}", self.0.pool, self.0.name, self.0.capacity));
    }
}
