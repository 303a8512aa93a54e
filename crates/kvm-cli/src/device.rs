//! What the verbs of devices have in common: which documents they change, and what they say afterwards.

use clap::ValueEnum;
use kvm_core::op::Plan;
use kvm_core::{ErrorKind, Host, Impact, Result, View, VmSummary, Which};
use kvm_xml::Domain;
use serde::Serialize;

use crate::operation::{DoneForm, PlanView};
use crate::printer::{Outcome, Page, Printer};
use crate::session::{Connection, Session};

/// Which of a VM's documents a verb changes.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Reach {
    /// Change the running VM or its configuration alone; without it both, as far as they are there.
    #[arg(long, value_enum, value_name = "WHAT")]
    only: Option<Only>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Only {
    /// The running VM, until it stops.
    Live,
    /// The configuration, from the next start.
    Config,
}

impl Reach {
    /// The library's word; `None` leaves the choice to it.
    pub(crate) fn impact(self) -> Option<Impact> {
        self.only.map(|only| match only {
            Only::Live => Impact::Live,
            Only::Config => Impact::Config,
        })
    }
}

/// When a change takes effect, in words behind what was done.
pub(crate) fn when(impact: Impact) -> &'static str {
    match impact {
        Impact::Live => ", until it stops",
        Impact::Config => ", in its configuration",
        Impact::Both => "",
    }
}

/// A device that came or went.
#[derive(Debug, Serialize)]
pub(crate) struct Plugged {
    vm: String,
    id: kvm_core::VmId,
    device: String,
    #[serde(flatten)]
    done: DoneForm,
    #[serde(skip)]
    what: String,
}

impl Outcome for Plugged {
    fn text(&self, page: &mut Page<'_>) {
        self.done.text(&self.what, page);
    }
}

/// What is done with a plan about a device.
pub(crate) struct Deed<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) vm: &'a VmSummary,
    /// The device by its short name: a target, a MAC address.
    pub(crate) device: String,
    /// What is said when it is done.
    pub(crate) what: String,
    pub(crate) dry_run: bool,
}

impl Deed<'_> {
    /// Shows the plan, or carries it out.
    pub(crate) async fn carry_out(
        self,
        plan: Plan,
        session: &Session,
        printer: &mut Printer,
    ) -> Result<Option<ErrorKind>> {
        if self.dry_run {
            return printer.show(&PlanView::of(&plan));
        }
        let done = session.carry_out(self.connection, plan).await?;
        let (vm, id) = (self.vm.name.as_str().to_owned(), self.vm.id);
        printer.show(&Plugged { vm, id, device: self.device, done: DoneForm::of(&done), what: self.what })
    }
}

/// The documents that a VM has: what runs first, then what is configured.
pub(crate) async fn documents(host: &Host, vm: &VmSummary) -> Result<Vec<(Which, Domain)>> {
    let views = [(Which::Live, View::LIVE, vm.state.is_active()), (Which::Config, View::CONFIG, vm.persistent)];
    let mut documents = Vec::new();
    for (which, view, _) in views.into_iter().filter(|(_, _, exists)| *exists) {
        documents.push((which, host.hypervisor.definition(&vm.id, view).await?));
    }
    Ok(documents)
}

/// Notes that a document has a device; one that was seen in another document, and is the same, stands in both.
pub(crate) fn note<T>(seen: &mut Vec<(Vec<Which>, T)>, which: Which, device: T, is_same: impl Fn(&T, &T) -> bool) {
    // Of several that nothing tells apart each document has its own.
    match seen.iter_mut().find(|(there, other)| is_same(other, &device) && !there.contains(&which)) {
        Some((there, _)) => there.push(which),
        None => seen.push((vec![which], device)),
    }
}

/// In which documents a device is, in one word.
pub(crate) fn presence(there: &[Which]) -> &'static str {
    match there {
        [Which::Live] => Impact::Live.as_str(),
        [Which::Config] => Impact::Config.as_str(),
        _ => Impact::Both.as_str(),
    }
}
