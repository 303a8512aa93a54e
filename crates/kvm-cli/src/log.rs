//! The structured log: one line per step of an operation, with the fields of an audit trail.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use kvm_core::{Error, ErrorKind, Resource, Result};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer, Registry};

use crate::args::{Global, LogFormat};

/// The target of the audit trail.
const AUDIT: &str = "kvm::audit";

/// A log that is wanted.
#[derive(Debug)]
pub(crate) struct Log {
    /// From which level on; the audit trail is complete in any case.
    pub(crate) level: LevelFilter,
    pub(crate) format: LogFormat,
    /// To the end of this file, or else to standard error.
    pub(crate) file: Option<PathBuf>,
}

/// Starts the log where it was asked for; without that nothing is set up.
pub(crate) fn start(global: &Global) -> Result<()> {
    if global.log_format.is_none() && global.log_file.is_none() && global.verbose < 2 {
        return Ok(());
    }
    let level = match global.verbose {
        0 => LevelFilter::WARN,
        1 | 2 => LevelFilter::INFO,
        3 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let format = global.log_format.unwrap_or(LogFormat::Text);
    write(Some(Log { level, format, file: global.log_file.clone() }))
}

/// Starts a log, if one is wanted.
pub(crate) fn write(log: Option<Log>) -> Result<()> {
    let Some(Log { level, format, file }) = log else { return Ok(()) };
    let writer = match &file {
        Some(path) => {
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(|e| {
                Error::new(ErrorKind::Denied, format!("cannot write the log to {}", path.display()))
                    .on(Resource::File(path.display().to_string()))
                    .with_source(e)
            })?;
            BoxMakeWriter::new(Arc::<File>::new(file))
        }
        None => BoxMakeWriter::new(io::stderr),
    };
    let filter = Targets::new().with_default(level).with_target(AUDIT, LevelFilter::INFO.max(level));
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    let layer = match format {
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
        LogFormat::Text => layer.boxed(),
    };
    let subscriber = Registry::default().with(layer.with_filter(filter));
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|e| Error::internal("there are two logs").with_source(e))
}
