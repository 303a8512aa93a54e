//! What all lists have in common.

use kvm_core::Result;

use crate::printer::{self, Column, Table};

/// Flags of lists.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ListArgs {
    /// These columns, in this order.
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    columns: Vec<String>,
    /// No headings.
    #[arg(long)]
    no_header: bool,
}

impl ListArgs {
    /// The table with or without its headings.
    pub(crate) fn finish(&self, table: Table) -> Table {
        if self.no_header { table.without_header() } else { table }
    }
}

/// The columns that were asked for, or all.
pub(crate) fn columns(known: &[Column], args: &ListArgs) -> Result<Vec<Column>> {
    match args.columns.is_empty() {
        true => Ok(known.to_vec()),
        false => printer::choose(known, &args.columns),
    }
}
