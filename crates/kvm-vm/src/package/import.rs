//! Machines in.

use std::sync::Arc;

use kvm_archive::{ApplianceDisk, Machine, MemberName, Package};
use kvm_core::op::PlanLine;
use kvm_core::{Bytes, Error, ErrorKind, Host, Reporter, Resource, Result};
use kvm_image::{Expect, Format};
use kvm_xml::{Document as _, Domain};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::{Filling, PackageImport, Source, appliance, bundle, told};
use crate::chain::disk_graph;
use crate::create::{CreatePlan, Disk, NewMachine, check_free_name, disk, plan_new};
use crate::import::{ImportOptions, Moved, Trust, plan_document, unreadable};
use crate::place::Places;
use crate::policy::PlanContext;
use crate::volume::content;

/// Plans to take a machine in from a package, which may be from anybody: its disks become new volumes, then it is defined.
///
/// The package is read whole and verified before the plan is made. Its disks are read here and written anew, as complete
/// images of the pool's format, so that no other program ever opens what came from outside. An appliance becomes a
/// machine as [`plan_create`](crate::plan_create) would make it; the document of a bundle may have what
/// [`plan_import`](crate::plan_import) lets a stranger's have.
///
/// Errors are those of these two, and: `Corrupt` when the package is damaged, `InvalidInput` when it has what no package
/// may have, `Unsupported` for what is not read. `Cancelled` when that is asked for while it is read.
pub async fn plan_package_import(
    host: &Host,
    wanted: &PackageImport,
    cx: &PlanContext<'_>,
    reporter: &dyn Reporter,
    cancel: &CancellationToken,
) -> Result<CreatePlan> {
    content(host)?;
    let (file, staging) = (wanted.file.clone(), wanted.staging.clone());
    let package = told("verify", reporter, cancel, move |watch| Package::open(&file, &staging, watch)).await?;
    let package = Arc::new(package);
    let source =
        Source { file: wanted.file.clone(), staging: wanted.staging.clone(), open: Some(Arc::clone(&package)) };
    let note =
        if package.is_verified() { "all its digests hold" } else { "it has no digests: damage would not be seen" };
    let lines = vec![PlanLine::new("read", "package", wanted.file.display().to_string()).note(note)];
    match package.machine() {
        Machine::Appliance(appliance) => {
            let (mut files, mut fillings) = (Vec::new(), Vec::new());
            for disk in &appliance.disks {
                let filling = match appliance::member(disk)? {
                    Some((member, format)) => Some(filling(&package, &source, member, format).await?),
                    None => None,
                };
                files.push((ApplianceDisk::clone(disk), filling.as_ref().map(|filling| filling.size)));
                fillings.push(filling);
            }
            let (spec, more) = appliance::specify(host, appliance, &files, wanted).await?;
            let lines = lines.into_iter().chain(more).collect();
            plan_new(host, &spec, cx, NewMachine { kind: "vm.import", verb: "import", lines, fillings }).await
        }
        Machine::Bundle { definition, index } => {
            let mut fillings = Vec::new();
            for disk in index.disks() {
                fillings.push(filling(&package, &source, disk.file.clone(), Format::Qcow2).await?);
            }
            let mut document = Domain::from_xml_strict(definition).map_err(|e| unreadable(&e))?;
            if let Some(name) = &wanted.name {
                document.name = Some(name.as_str().to_owned());
            }
            let name = document.name.as_deref().unwrap_or_default().parse()?;
            check_free_name(host, &name).await?;
            let sizes: Vec<_> = fillings.iter().map(|filling| filling.size).collect();
            let disks = bundle::disks(&document, index, &sizes, wanted)?;
            let places = Places::read(host, &cx.policy.allowed_paths).await?;
            let graph = disk_graph(host).await?;
            let overcommit = wanted.allow_overcommit;
            let asked = disk::Wanted { vm: &name, disks: &disks, graph: &graph, overcommit, entropy: cx.entropy };
            let disks = disk::resolve(host, &asked, &places, cx.policy).await?;
            bundle::place(&mut document, &disks)?;
            bundle::connect(&mut document, wanted);
            let options = ImportOptions {
                name: None,
                identity: wanted.identity,
                trust: Trust::Checked,
                autostart: wanted.autostart,
                start: wanted.start,
            };
            let judged = bundle::without_disks(&document);
            let moved = moved(&disks, fillings, lines)?;
            plan_document(host, document, Some(&judged), &options, cx, moved).await
        }
    }
}

/// What the disks of a bundle become.
fn moved(disks: &[Disk], fillings: Vec<Filling>, lines: Vec<PlanLine>) -> Result<Moved> {
    let mut moved = Moved { lines, ..Moved::default() };
    for (disk, filling) in disks.iter().zip(fillings) {
        moved.paths.push(disk.at.host_path()?.clone());
        moved.lines.extend(disk.new_line());
        moved.steps.extend(disk.new_volume().into_iter().flat_map(|new| filling.steps(new, disk.volume_format())));
    }
    Ok(moved)
}

/// Judges a disk by its own header. `Corrupt` and `InvalidInput` say what speaks against it.
async fn filling(package: &Arc<Package>, source: &Source, member: MemberName, format: Format) -> Result<Filling> {
    let (package, name) = (Arc::clone(package), member.clone());
    let judged = spawn_blocking(move || judge(&package, &name, format)).await;
    let size = judged.map_err(|e| Error::internal("a disk was not looked at").with_source(e))??;
    Ok(Filling { source: source.clone(), member, format, size })
}

/// The size of a disk that may be read.
pub(crate) fn judge(package: &Package, member: &MemberName, format: Format) -> Result<Bytes> {
    let on = || Resource::Field(member.as_str().to_owned());
    let missing = || Error::new(ErrorKind::Corrupt, format!("the package has no {member}")).on(on());
    let content = package.content(member).ok_or_else(missing)?;
    let judged = kvm_image::inspect_as(content, Some(format)).and_then(|seen| {
        kvm_image::check(&seen, &Expect::format(format))?;
        Ok(seen.virtual_size.unwrap_or(Bytes::ZERO))
    });
    let size = judged.map_err(|e| Error::from(e).on(on()))?;
    // What a guest sees is made of sectors.
    Ok(Bytes::new(size.get().next_multiple_of(512)))
}
