//! `kvmctl host devices`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kvm_core::text::printable;
use kvm_core::{ErrorKind, Result};
use kvm_vm::{GroupMember, HostDevice, HostDeviceKind, host_devices};
use serde::Serialize;

use crate::list::{ListArgs, columns};
use crate::op;
use crate::printer::{Cell, Column, Outcome, Page, Printer, Table};
use crate::session::Session;

/// Arguments of `host devices`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl host devices\n  kvmctl host devices --type pci --columns address,driver,sr-iov\n  kvmctl host devices --iommu",
    after_long_help = "Without --type: pci, usb, mdev, net and storage. Columns: address, type, class, device, driver, group, used-by, \
        numa, sr-iov, makes, name.\n\n\
        USED BY are the VMs whose live or stored definition names the device.\n\nLibrary: kvm_vm::host_devices"
)]
pub struct Args {
    /// Only devices of these types: pci, usb, mdev, net, storage, scsi, drm, other.
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = parse_kind)]
    types: Vec<HostDeviceKind>,
    /// By IOMMU groups: what can only be given away together.
    #[arg(long, conflicts_with_all = ["types", "columns"])]
    iommu: bool,
    #[command(flatten)]
    list: ListArgs,
}

fn parse_kind(text: &str) -> Result<HostDeviceKind> {
    text.parse()
}

/// What a list without `--type` has.
const USUAL: [HostDeviceKind; 5] =
    [HostDeviceKind::Pci, HostDeviceKind::Usb, HostDeviceKind::Mdev, HostDeviceKind::Net, HostDeviceKind::Storage];

const COLUMNS: [Column; 11] = [
    Column::left("address", "ADDRESS"),
    Column::left("type", "TYPE"),
    Column::wide("class", "CLASS"),
    Column::wide("device", "DEVICE"),
    Column::left("driver", "DRIVER"),
    Column::right("group", "GROUP"),
    Column::left("used-by", "USED BY"),
    Column::right("numa", "NUMA"),
    Column::wide("sr-iov", "SR-IOV"),
    Column::wide("makes", "MAKES"),
    Column::wide("name", "NAME"),
];
/// How many of them are shown unless some are chosen.
const SHOWN: usize = 7;

/// Does what was asked.
pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let chosen = columns(&COLUMNS, &args.list)?;
    let chosen = if chosen.len() == COLUMNS.len() { chosen[..SHOWN].to_vec() } else { chosen };
    let mut devices = host_devices(&session.host().await?.host).await?;
    let all = devices.len();
    match (args.iommu, args.types.is_empty()) {
        (true, _) => devices.retain(|device| device.iommu_group.is_some()),
        (false, true) => devices.retain(|device| USUAL.contains(&device.kind)),
        (false, false) => devices.retain(|device| args.types.contains(&device.kind)),
    }
    let others = all - devices.len();
    op::answer(&Listed { devices, others, iommu: args.iommu, columns: chosen, args: args.list }, session, printer).await
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Listed {
    devices: Vec<HostDevice>,
    #[serde(skip)]
    others: usize,
    #[serde(skip)]
    iommu: bool,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    args: ListArgs,
}

impl Outcome for Listed {
    fn text(&self, page: &mut Page<'_>) {
        match (self.devices.is_empty(), self.iommu) {
            (true, true) => {
                page.line("no device is in an IOMMU group: the IOMMU is off, or there is none (kvmctl doctor)")
            }
            (true, false) => page.line(format_args!("no such devices; the host has {} of other types", self.others)),
            (false, true) => page.block(groups(&self.devices)),
            (false, false) => {
                let mut table = Table::new(&self.columns);
                for device in &self.devices {
                    table.row(self.columns.iter().map(|column| cell(device, column.key)).collect());
                }
                page.table(&self.args.finish(table));
            }
        }
    }
}

fn cell(device: &HostDevice, column: &str) -> Cell {
    match column {
        "address" => Cell::maybe(device.address.as_ref()),
        "type" => Cell::new(device.kind),
        "class" => Cell::maybe(device.class.map(|class| class.name())),
        "device" => Cell::maybe(title(device)),
        "driver" => Cell::maybe(device.driver.as_ref()),
        "group" => Cell::maybe(device.iommu_group.as_ref().map(|group| group.number)),
        "used-by" => Cell::new(users(device)),
        "numa" => Cell::maybe(device.numa_node),
        "sr-iov" => Cell::new(functions(device)),
        "makes" => Cell::new(makes(device)),
        _ => Cell::new(&device.name),
    }
}

/// What people call it: vendor and product, or the numbers of both.
fn title(device: &HostDevice) -> Option<String> {
    let names = [&device.vendor, &device.product].into_iter().flatten();
    let named: Vec<_> = names.filter_map(|identity| identity.name.clone().or_else(|| identity.id.clone())).collect();
    let title = if named.is_empty() { device.mediated_type.clone() } else { Some(named.join(" ")) };
    title.or_else(|| device.size.map(|size| size.to_string()))
}

fn users(device: &HostDevice) -> String {
    device.used_by.iter().map(|user| user.vm.to_string()).collect::<Vec<_>>().join(", ")
}

fn functions(device: &HostDevice) -> String {
    let physical = device.virtual_functions.as_ref().map(|functions| match functions.max {
        Some(max) => format!("{} of {max} virtual functions", functions.addresses.len()),
        None => format!("{} virtual functions", functions.addresses.len()),
    });
    let part = device.physical_function.map(|of| format!("virtual function of {of}"));
    physical.or(part).unwrap_or_default()
}

fn makes(device: &HostDevice) -> String {
    let types = device.mediated_types.iter().map(|kind| match kind.available {
        Some(left) => format!("{} ({left} left)", kind.id),
        None => kind.id.clone(),
    });
    types.collect::<Vec<_>>().join(", ")
}

/// Each group, and below it its members.
fn groups(devices: &[HostDevice]) -> String {
    let mut groups: BTreeMap<u32, Vec<&HostDevice>> = BTreeMap::new();
    for device in devices {
        if let Some(group) = &device.iommu_group {
            groups.entry(group.number).or_default().push(device);
        }
    }
    let mut text = String::new();
    for (number, members) in groups {
        let _ = writeln!(text, "group {number}");
        for device in members {
            let class = device.class.map_or("", |class| class.name());
            let driver = device.driver.as_deref().map_or_else(String::new, |driver| format!("[{driver}]"));
            let users = users(device);
            let user = if users.is_empty() { String::new() } else { format!("used by {users}") };
            let address = device.address.as_ref().map_or_else(|| device.name.to_string(), ToString::to_string);
            let parts = [address, class.to_owned(), title(device).unwrap_or_default(), driver, user];
            let line = parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join("  ");
            let _ = writeln!(text, "  {}", printable(&line));
        }
        // What is in the group, but not among the devices that the host tells of.
        let strangers = devices.iter().filter_map(|device| device.iommu_group.as_ref()).filter(|g| g.number == number);
        let known = |other: &GroupMember| other.class.is_some() || other.product.is_some();
        for other in strangers.take(1).flat_map(|group| &group.others).filter(|other| !known(other)) {
            let _ = writeln!(text, "  {}", other.address);
        }
    }
    text
}
