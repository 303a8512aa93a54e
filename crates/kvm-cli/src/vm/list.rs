//! `kvmctl vm list`.

use kvm_core::{Result, Selector, VmFilter, VmSummary};
use kvm_vm::{WideColumns, WideRow};
use serde::Serialize;

use crate::args::selector;
use crate::printer::{self, Cell, Column, Outcome, Page, Table};
use crate::session::Session;

const NARROW: [&str; 4] = ["name", "state", "cpus", "memory"];
const WIDE: [&str; 8] = ["name", "state", "cpus", "memory", "cpu", "address", "tags", "host"];

const COLUMNS: [Column; 13] = [
    Column::left("name", "NAME"),
    Column::left("id", "ID"),
    Column::left("state", "STATE"),
    Column::right("cpus", "CPUS"),
    Column::right("memory", "MEMORY"),
    Column::right("max-memory", "MAX MEMORY"),
    Column::right("cpu", "CPU%"),
    Column::left("address", "ADDRESS"),
    Column::wide("tags", "TAGS"),
    Column::left("autostart", "AUTOSTART"),
    Column::left("persistent", "PERSISTENT"),
    Column::left("saved", "SAVED"),
    Column::wide("host", "HOST"),
];

/// Arguments of `vm list`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl vm list -w\n  kvmctl vm list --select state=running,tag=web\n  kvmctl vm list --select state=off -o json | jq -r '.[].name'",
    after_long_help = "Columns: name, id, state, cpus, memory, max-memory, cpu, address, tags, autostart, persistent, saved, host.\n\
        What has no bulk source (cpu, address, tags) is asked for only when it is shown, in parallel, for 2 s at most.\n\n\
        Library: kvm_core::Hypervisor::list, kvm_vm::select, kvm_vm::wide"
)]
pub struct Args {
    /// Those for which this holds, such as state=running,name~^db (see `kvmctl help selectors`).
    #[arg(long, value_name = "SELECTOR", value_parser = selector)]
    select: Option<Selector>,
    /// More columns: load, address, tags, host.
    #[arg(short, long)]
    wide: bool,
    /// These columns, in this order.
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', conflicts_with = "wide")]
    columns: Vec<String>,
    /// No headings.
    #[arg(long)]
    no_header: bool,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct List {
    rows: Vec<Row>,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    no_header: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    summary: VmSummary,
    host: String,
    /// Only what was asked for; `null` is what is not known.
    #[serde(flatten)]
    wide: Option<WideRow>,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<List> {
    let asked: Vec<String> = match (args.columns.is_empty(), args.wide) {
        (false, _) => args.columns,
        (true, true) => WIDE.map(str::to_owned).to_vec(),
        (true, false) => NARROW.map(str::to_owned).to_vec(),
    };
    let columns = printer::choose(&COLUMNS, &asked)?;
    let shown = |key: &str| columns.iter().any(|column| column.key == key);
    let wanted = WideColumns { tags: shown("tags"), addresses: shown("address"), cpu: shown("cpu") };
    let connection = session.host().await?;
    let vms = match &args.select {
        Some(selector) => kvm_vm::select(&connection.host, selector).await?,
        None => connection.host.hypervisor.list(&VmFilter::all()).await?,
    };
    let wide: Vec<Option<WideRow>> = match wanted == WideColumns::default() {
        true => vms.iter().map(|_| None).collect(),
        false => kvm_vm::wide(&connection.host, &vms, wanted, &*session.clock).await.into_iter().map(Some).collect(),
    };
    let host = connection.label();
    let rows = vms.into_iter().zip(wide).map(|(summary, wide)| Row { summary, host: host.clone(), wide }).collect();
    Ok(List { rows, columns, no_header: args.no_header })
}

impl Row {
    fn cell(&self, column: &Column) -> Cell {
        let (vm, wide) = (&self.summary, self.wide.as_ref());
        let yes_no = |is: bool| if is { "yes" } else { "no" };
        match column.key {
            "name" => Cell::new(vm.name.as_str()),
            "id" => Cell::new(vm.id),
            "state" => Cell::state(vm.state),
            "cpus" => Cell::maybe(vm.vcpus),
            "memory" => Cell::maybe(vm.memory),
            "max-memory" => Cell::maybe(vm.max_memory),
            "cpu" => Cell::maybe(wide.and_then(|w| w.cpu_percent).map(|cpu| format!("{cpu:.1}"))),
            // The others stand in `vm show` and in JSON.
            "address" => Cell::maybe(wide.and_then(|w| w.addresses.as_ref()?.first()).map(|a| a.address)),
            "tags" => Cell::maybe(
                wide.and_then(|w| w.tags.as_ref())
                    .map(|tags| tags.iter().map(|tag| tag.as_str()).collect::<Vec<_>>().join(", ")),
            ),
            "autostart" => Cell::maybe(vm.autostart.map(yes_no)),
            "persistent" => Cell::new(yes_no(vm.persistent)),
            "saved" => Cell::new(yes_no(vm.has_saved_state)),
            "host" => Cell::new(&self.host),
            _ => Cell::default(),
        }
    }
}

impl Outcome for List {
    fn text(&self, page: &mut Page<'_>) {
        let mut table = Table::new(&self.columns);
        for row in &self.rows {
            table.row(self.columns.iter().map(|column| row.cell(column)).collect());
        }
        page.table(&if self.no_header { table.without_header() } else { table });
    }
}
