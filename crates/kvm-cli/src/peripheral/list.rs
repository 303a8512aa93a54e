//! `kvmctl device list`.

use kvm_core::{Result, Which};
use serde::Serialize;

use crate::device::{documents, note, presence};
use crate::list::{ListArgs, columns};
use crate::printer::{Cell, Column, Outcome, Page, Table};
use crate::session::Session;
use crate::vm::show_devices::Other;
use crate::vms::One;

const COLUMNS: [Column; 4] = [
    Column::left("device", "DEVICE"),
    Column::left("model", "MODEL"),
    Column::left("documents", "WHERE"),
    Column::wide("detail", "DETAIL"),
];

/// Arguments of `device list`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl device list web\n  kvmctl device list web -o json\n  kvmctl device list web --columns \
        device,detail",
    after_long_help = "Columns: device (what tells it apart: kvmctl device detach takes it), model, documents, detail. WHERE says whether \
        a device is in the running VM (live), in its configuration (config), or in both. Places for PCI devices are left out.\n\n\
        Library: kvm_core::Peripheral::of"
)]
pub struct Args {
    #[command(flatten)]
    vm: One,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    device: Other,
    documents: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct List {
    devices: Vec<Row>,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    args: ListArgs,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<List> {
    let columns = columns(&COLUMNS, &args.list)?;
    let (connection, vm) = args.vm.find(session).await?;
    let mut devices: Vec<(Vec<Which>, Other)> = Vec::new();
    for (which, document) in documents(&connection.host, &vm).await? {
        for device in Other::of(&document) {
            note(&mut devices, which, device, Other::is);
        }
    }
    let devices = devices.into_iter().map(|(there, device)| Row { device, documents: presence(&there) }).collect();
    Ok(List { devices, columns, args: args.list })
}

impl Outcome for List {
    fn text(&self, page: &mut Page<'_>) {
        let mut table = Table::new(&self.columns);
        for Row { device, documents } in &self.devices {
            let cell = |column: &Column| match column.key {
                "device" => Cell::new(&device.device),
                "model" => Cell::maybe(device.model.as_deref()),
                "documents" => Cell::new(documents),
                _ => Cell::maybe(device.detail.as_deref()),
            };
            table.row(self.columns.iter().map(cell).collect());
        }
        page.table(&self.args.finish(table));
    }
}
