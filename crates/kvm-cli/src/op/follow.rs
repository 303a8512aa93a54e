//! `kvmctl op follow`.

use std::time::Duration;

use kvm_core::op::{OpId, OpStatus, StepState, Store as _};
use kvm_core::{Error, ErrorKind, Resource, Result};
use serde::Serialize;

use super::One;
use crate::printer::{Outcome, Page, Printer};
use crate::session::Session;

/// How often the journal is looked at; its owner is another process.
const LOOK: Duration = Duration::from_millis(250);

/// Arguments of `op follow`.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  kvmctl op follow 7f3a1b2c\n  kvmctl op follow 7f3a1b2c -o json",
    after_long_help = "Prints each step as it begins and ends, until the operation ends or its owner is gone. The exit code is that of\n\
        the operation's error.\n\nLibrary: kvm_core::op::Store::view"
)]
pub struct Args {
    #[command(flatten)]
    one: One,
}

/// A step that changed, or the end.
#[derive(Debug, Serialize)]
struct News {
    operation: OpId,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<StepState>,
    title: String,
    status: OpStatus,
}

impl Outcome for News {
    fn text(&self, page: &mut Page<'_>) {
        let state = self.state.map_or(self.status.as_str(), super::word);
        page.line(format_args!("{state:11}  {}", self.title));
    }
}

impl Args {
    pub(super) fn operation(self) -> OpId {
        self.one.operation
    }
}

pub(super) async fn run(operation: OpId, session: &Session, printer: &mut Printer) -> Result<Option<ErrorKind>> {
    let store = session.store()?;
    let mut seen = Vec::new();
    loop {
        let view = store.view(&operation).await?;
        seen.resize(view.steps.len(), StepState::Pending);
        for (i, (was, is)) in seen.iter_mut().zip(&view.steps).enumerate().filter(|(_, (was, is))| *was != *is) {
            *was = *is;
            let title = view.header.steps.get(i).map(|step| step.title.clone()).unwrap_or_default();
            printer.item(&News {
                operation: operation.clone(),
                step: Some(i),
                state: Some(*is),
                title,
                status: view.status,
            })?;
        }
        if view.status != OpStatus::Running {
            let title = view.header.title.clone();
            printer.item(&News {
                operation: operation.clone(),
                step: None,
                state: None,
                title,
                status: view.status,
            })?;
            return match view.error {
                None => Ok(None),
                Some(e) => Err(Error::new(e.kind, e.message).on(Resource::Operation(operation.to_string()))),
            };
        }
        if printer.is_closed() {
            return Ok(None);
        }
        session.clock.sleep(LOOK).await;
    }
}
