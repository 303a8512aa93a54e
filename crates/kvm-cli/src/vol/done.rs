//! What the verbs that move volumes have in common.

use kvm_core::op::Plan;
use kvm_core::{ErrorKind, Holes, Result};
use kvm_vm::{Verify, VolumeRef};
use serde::Serialize;

use crate::operation::{DoneForm, PlanView, agree};
use crate::printer::{Outcome, Page, Printer};
use crate::session::{Connection, Session};

/// How a volume is transferred.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Way {
    /// Send zeros where there are holes; without it holes stay holes and cost nothing.
    #[arg(long)]
    no_sparse: bool,
    /// Read what has arrived once more and compare; takes about twice as long.
    #[arg(long)]
    verify: bool,
}

impl Way {
    pub(super) fn holes(self) -> Holes {
        if self.no_sparse { Holes::Fill } else { Holes::Keep }
    }

    pub(super) fn verify(self) -> Verify {
        if self.verify { Verify::ReadBack } else { Verify::Count }
    }
}

/// A volume that an operation has made, or read.
#[derive(Debug, Serialize)]
struct Moved {
    volume: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(flatten)]
    done: DoneForm,
    #[serde(skip)]
    what: String,
}

impl Outcome for Moved {
    fn text(&self, page: &mut Page<'_>) {
        self.done.text(&self.what, page);
    }
}

/// What is done with a plan about a volume.
pub(super) struct Deed<'a> {
    pub(super) connection: &'a Connection,
    pub(super) volume: &'a VolumeRef,
    pub(super) file: Option<String>,
    /// What is said when it is done.
    pub(super) what: String,
    pub(super) dry_run: bool,
    /// Whether something is lost that has to be agreed to.
    pub(super) destroys: bool,
}

impl Deed<'_> {
    /// Shows the plan, asks when something is lost, and carries it out.
    pub(super) async fn carry_out(
        self,
        plan: Plan,
        session: &Session,
        printer: &mut Printer,
    ) -> Result<Option<ErrorKind>> {
        if self.dry_run {
            return printer.show(&PlanView::of(&plan));
        }
        if self.destroys {
            agree(&plan, session, printer).await?;
        }
        let done = session.carry_out(self.connection, plan).await?;
        let volume = self.volume.as_text();
        printer.show(&Moved { volume, file: self.file, done: DoneForm::of(&done), what: self.what })
    }
}
