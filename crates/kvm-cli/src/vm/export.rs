//! `kvmctl vm export`.

use std::path::{Path, PathBuf};

use kvm_core::{Error, ErrorKind, Result, Secrets, Transport as _};
use kvm_ssh::LocalTransport;
use kvm_vm::{PackageExport, PackageForm};
use serde::Serialize;

use crate::environment;
use crate::op;
use crate::operation::{DoneForm, PlanView, note_differences};
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;
use crate::vms::One;

/// Arguments of `vm export`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm export web > web.xml\n  kvmctl vm export web web.ova\n  kvmctl vm export web web.tar.zst --dry-run",
    after_long_help = "Without a package the definition alone, as libvirt has it for the next start, elements of other programs included.\n\n\
        A package is one file with the VM, which has to be off, and its disks. Its name says which form it has: .ova is an appliance for \
        VMware, VirtualBox and all others, whose disks are compressed VMDK; .tar.zst is a bundle, which keeps the whole definition, \
        with qcow2 disks, for `vm import`. Both have the digests of all their parts. UEFI variables and the state of a TPM are not part \
        of them.\n\n\
        Library: kvm_vm::export, kvm_vm::plan_package_export"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    /// Write the VM with its disks to this file, which ends in .ova or .tar.zst.
    #[arg(value_name = "PACKAGE", conflicts_with = "file")]
    package: Option<PathBuf>,
    /// Include passwords; the result is then itself a secret.
    #[arg(long)]
    secrets: bool,
    /// Write to this file, which only its owner can read.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Show the plan of a package and do nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Exported {
    name: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    xml: Option<String>,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let secrets = if args.secrets { Secrets::Show } else { Secrets::Hide };
    if let Some(package) = &args.package {
        let form = form(package)?;
        if form == PackageForm::Ova && args.secrets {
            return Err(Error::invalid("secrets", "an appliance has no place for passwords; write a bundle"));
        }
        let wanted = PackageExport { file: environment::absolute(package.clone())?, form, secrets };
        return pack(&args, &wanted, session, printer).await;
    }
    if args.dry_run {
        return Err(Error::invalid("dry-run", "only a package has a plan; name a file that ends in .ova or .tar.zst"));
    }
    let (connection, vm) = args.vm.find(session).await?;
    let xml = kvm_vm::export(&connection.host, &vm.id, secrets).await?;
    let (name, id) = (vm.name.as_str().to_owned(), vm.id.to_string());
    match args.file {
        Some(file) => {
            let file = environment::absolute(file)?;
            LocalTransport::new().write_file(&file, xml.as_bytes(), 0o600).await?;
            printer.show(&Exported { name, id, file: Some(file), xml: None })
        }
        None if printer.format() == crate::args::Format::Table => printer.raw(xml.as_bytes()).map(|()| None),
        None => printer.show(&Exported { name, id, file: None, xml: Some(xml) }),
    }
}

/// The form that a file's name asks for.
fn form(file: &Path) -> Result<PackageForm> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    match () {
        () if name.ends_with(".ova") => Ok(PackageForm::Ova),
        () if name.ends_with(".tar.zst") => Ok(PackageForm::Bundle),
        () => Err(Error::invalid("package", "the file of a package ends in .ova or .tar.zst")
            .with_detail("--file writes the definition alone; an OVF document and its disks are what is in an .ova")),
    }
}

/// A VM that was written with its disks.
#[derive(Serialize)]
struct Packed {
    name: String,
    id: String,
    file: PathBuf,
    #[serde(rename = "size_bytes")]
    size: kvm_core::Bytes,
    #[serde(flatten)]
    done: DoneForm,
}

async fn pack(
    args: &Args,
    wanted: &PackageExport,
    session: &Session,
    printer: &mut Printer,
) -> Result<Option<ErrorKind>> {
    let (connection, vm) = args.vm.find(session).await?;
    op::refuse_interrupted(session, &connection, vm.name.as_str(), Some(vm.id)).await?;
    let plan = kvm_vm::plan_package_export(&connection.host, &vm, wanted).await?;
    if args.dry_run {
        return printer.show(&PlanView::of(&plan));
    }
    note_differences(&plan, printer);
    let done = DoneForm::of(&session.carry_out(&connection, plan).await?);
    let file = wanted.file.clone();
    let size = kvm_core::Bytes::new(std::fs::metadata(&file).map_or(0, |about| about.len()));
    printer.show(&Packed { name: vm.name.as_str().to_owned(), id: vm.id.to_string(), file, size, done })
}

impl Outcome for Packed {
    fn text(&self, page: &mut Page<'_>) {
        self.done.text(&format!("{} exported to {} ({})", self.name, self.file.display(), self.size), page);
    }
}

impl Outcome for Exported {
    fn text(&self, page: &mut Page<'_>) {
        if let Some(file) = &self.file {
            page.done(format_args!("{} exported to {}", self.name, file.display()));
        }
    }
}
