//! Tables without lines: aligned columns that fit the terminal.

use anstyle::Style;
use kvm_core::text::printable;
use kvm_core::{Error, Result, VmState};
use tabled::builder::Builder;
use tabled::settings::object::Columns;
use tabled::settings::{Alignment, Padding, Style as Lines, Width};
use unicode_width::UnicodeWidthStr as _;

use super::look::{self, Look};

/// Blanks between columns.
const GAP: usize = 2;
/// A column that is cut keeps this much.
const KEEP: usize = 8;

/// On which side of its column a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// What the user calls it in `--columns`.
    pub key: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// Where its values stand.
    pub align: Align,
    /// Whether its values may be cut when the terminal is too narrow. What people copy is never cut.
    pub cut: bool,
}

impl Column {
    /// A column of text that is never cut.
    #[must_use]
    pub const fn left(key: &'static str, title: &'static str) -> Self {
        Self { key, title, align: Align::Left, cut: false }
    }

    /// A column of numbers.
    #[must_use]
    pub const fn right(key: &'static str, title: &'static str) -> Self {
        Self { key, title, align: Align::Right, cut: false }
    }

    /// A column of text that gives way when the terminal is narrow.
    #[must_use]
    pub const fn wide(key: &'static str, title: &'static str) -> Self {
        Self { key, title, align: Align::Left, cut: true }
    }
}

/// One value.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: Option<String>,
    style: Style,
}

impl Cell {
    /// A value; text from outside is made visible when the table is drawn.
    #[must_use]
    pub fn new(text: impl ToString) -> Self {
        Self { text: Some(text.to_string()), style: Style::new() }
    }

    /// A value that may not be known.
    #[must_use]
    pub fn maybe(text: Option<impl ToString>) -> Self {
        text.map_or_else(Self::default, Self::new)
    }

    /// A state, in its colour.
    #[must_use]
    pub fn state(state: VmState) -> Self {
        Self { text: Some(state.to_string()), style: look::of_state(state) }
    }
}

/// Rows under headings.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    header: bool,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new(), header: true }
    }

    /// The same without headings.
    #[must_use]
    pub fn without_header(mut self) -> Self {
        self.header = false;
        self
    }

    /// Adds a row; it has one cell per column.
    pub fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    pub(super) fn render(&self, look: &Look) -> String {
        let shown = |cell: &Cell| match &cell.text {
            Some(text) => printable(text).to_string(),
            None => look.unknown().to_owned(),
        };
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(shown).collect()).collect();
        if rows.is_empty() && !self.header {
            return String::new();
        }
        let heading = |i: usize| if self.header { self.columns[i].title.width() } else { 0 };
        let mut widths: Vec<usize> = (0..self.columns.len())
            .map(|i| rows.iter().map(|row| row[i].width()).max().unwrap_or(0).max(heading(i)))
            .collect();
        if let Some(terminal) = look.width {
            self.fit(&mut widths, terminal);
        }
        let mut builder = Builder::new();
        if self.header {
            builder.push_record(self.columns.iter().map(|column| column.title));
        }
        for (row, cells) in rows.iter().zip(&self.rows) {
            builder
                .push_record(row.iter().zip(cells).map(|(text, Cell { style, .. })| format!("{style}{text}{style:#}")));
        }
        let mut table = builder.build();
        table.with(Lines::empty()).with(Padding::new(0, GAP, 0, 0));
        for (i, column) in self.columns.iter().enumerate() {
            table.modify(
                Columns::one(i),
                match column.align {
                    Align::Left => Alignment::left(),
                    Align::Right => Alignment::right(),
                },
            );
            if column.cut {
                table.modify(Columns::one(i), Width::truncate(widths[i]).suffix(look.ellipsis()));
            }
        }
        table.to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    /// Takes from the widest column that may be cut, until the row fits or nothing is left to take.
    fn fit(&self, widths: &mut [usize], terminal: usize) {
        let gaps = GAP * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > terminal {
            let widest =
                (0..widths.len()).filter(|i| self.columns[*i].cut && widths[*i] > KEEP).max_by_key(|i| widths[*i]);
            let Some(widest) = widest else { return };
            widths[widest] -= 1;
        }
    }
}

/// The columns that were asked for, in that order; `InvalidInput` with the known ones for any other.
pub(crate) fn choose(known: &[Column], asked: &[String]) -> Result<Vec<Column>> {
    asked
        .iter()
        .map(|key| {
            known.iter().find(|column| column.key.eq_ignore_ascii_case(key)).copied().ok_or_else(|| {
                let keys: Vec<_> = known.iter().map(|column| column.key).collect();
                Error::invalid("columns", format!("no column named {}", printable(key)))
                    .with_detail(format!("one of {}", keys.join(", ")))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] =
        [Column::left("name", "NAME"), Column::right("cpus", "CPUS"), Column::wide("tags", "TAGS")];

    fn table() -> Table {
        let mut table = Table::new(&COLUMNS);
        table.row(vec![Cell::new("web\u{1b}"), Cell::new(4), Cell::new("a, b")]);
        table.row(vec![Cell::new("数据库"), Cell::maybe(None::<u32>), Cell::new("a long list of tags")]);
        table
    }

    #[test]
    fn columns_are_aligned_by_what_the_terminal_shows() {
        let expected = "NAME       CPUS  TAGS\nweb\\u{1b}     4  a, b\n数据库        –  a long list of tags\n";
        assert_eq!(table().render(&Look::pipe()), expected);
    }

    #[test]
    fn a_narrow_terminal_cuts_what_nobody_copies() {
        let look = Look::pipe().as_wide_as(30);
        let text = table().render(&look);
        assert!(text.contains("数据库") && text.contains("a long list …"), "{text}");
        let look = Look::pipe().as_wide_as(3);
        assert!(table().render(&look).contains("a long …"));
    }

    #[test]
    fn states_are_coloured_and_no_line_ends_in_blanks() {
        let mut table = Table::new(&[Column::left("state", "STATE"), Column::wide("tags", "TAGS")]).without_header();
        table.row(vec![Cell::state(VmState::Running), Cell::new("")]);
        assert_eq!(table.render(&Look::pipe()), "\u{1b}[32mrunning\u{1b}[0m\n");
    }

    #[test]
    fn an_unknown_column_is_refused_with_the_known_ones() {
        let e = choose(&COLUMNS, &["NAME".into(), "colour".into()]).unwrap_err();
        assert_eq!((e.message(), e.detail()), ("no column named colour", Some("one of name, cpus, tags")));
        assert_eq!(choose(&COLUMNS, &["tags".into(), "name".into()]).unwrap()[0].key, "tags");
    }
}
