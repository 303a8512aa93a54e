//! `kvmctl backup verify`.

use kvm_clone::{FileVerdict, Verdict, Watch, verify_backup};
use kvm_core::op::Pace;
use kvm_core::{Bytes, ErrorKind, Result};
use serde::Serialize;

use super::Which;
use crate::printer::{Cell, Column, Outcome, Page, Printer, Table};
use crate::session::Session;

const COLUMNS: [Column; 4] = [
    Column::left("file", "FILE"),
    Column::right("size", "SIZE"),
    Column::left("verdict", "VERDICT"),
    Column::wide("why", "WHY"),
];

/// Arguments of `backup verify`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl backup verify lab2:/srv/backup web\n  \
        kvmctl backup verify /srv/backup web/2026-11-22T07-35-00Z\n  kvmctl backup verify /srv/backup web -o json",
    after_long_help = "Every file is read as a whole. There are three answers for each: it matches, it differs (or is missing), or it could not \
        be checked. The exit code is 10 when one differs, else that of the first that could not be checked, else 0.\n\n\
        Library: kvm_clone::verify_backup"
)]
pub struct Args {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Serialize)]
struct Row {
    file: String,
    size_bytes: Bytes,
    verdict: &'static str,
    why: Option<String>,
}

impl Row {
    fn of(it: &FileVerdict) -> Self {
        let (verdict, why) = match &it.verdict {
            Verdict::Matches => ("matches", None),
            Verdict::Differs(why) => ("differs", Some(why.clone())),
            Verdict::Unknown(e) => ("unknown", Some(e.to_string())),
        };
        Self { file: it.file.file.clone(), size_bytes: it.file.size, verdict, why }
    }
}

#[derive(Debug, Serialize)]
struct Verified {
    backup: String,
    verdict: &'static str,
    files: Vec<Row>,
}

pub(super) async fn run(args: Args, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let Which { store, point } = &args.which;
    let host = store.host(session).await?;
    let (pace, cancel) = (Pace::default(), &session.cancel);
    let watch = Watch { reporter: &session.progress, title: "", clock: &*session.clock, cancel, pace: &pace };
    let verified = verify_backup(&host.host, store.directory(), point, watch).await;
    session.progress.over();
    let (id, _, verdicts) = verified?;
    let differs = verdicts.iter().any(|it| matches!(it.verdict, Verdict::Differs(_)));
    let unknown = verdicts.iter().find_map(|it| match &it.verdict {
        Verdict::Unknown(e) => Some(e.kind()),
        _ => None,
    });
    let (verdict, code) = match (differs, unknown) {
        (true, _) => ("differs", Some(ErrorKind::Corrupt)),
        (false, Some(kind)) => ("unknown", Some(kind)),
        (false, None) => ("matches", None),
    };
    let files = verdicts.iter().map(Row::of).collect();
    printer.show(&Verified { backup: format!("{}/{id}", point.vm), verdict, files })?;
    Ok(code)
}

impl Outcome for Verified {
    fn text(&self, page: &mut Page<'_>) {
        let mut table = Table::new(&COLUMNS);
        for row in &self.files {
            table.row(vec![
                Cell::new(&row.file),
                Cell::new(row.size_bytes),
                Cell::new(row.verdict),
                Cell::new(row.why.as_deref().unwrap_or_default()),
            ]);
        }
        page.table(&table);
    }
}
