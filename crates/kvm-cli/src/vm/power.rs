//! What all changes of the power state have in common.

use kvm_core::{Error, ErrorKind, PowerAction, Result};
use serde::Serialize;

use crate::printer::Printer;
use crate::session::Session;
use crate::vms::{Deed, Several, Would};

/// A change of the power state that was accepted.
#[derive(Debug, Serialize)]
pub(super) struct Accepted {
    action: PowerAction,
    #[serde(skip)]
    words: &'static str,
}

impl Accepted {
    /// `words` say what happened, after the VM's name.
    pub(super) fn new(action: PowerAction, words: &'static str) -> Self {
        Self { action, words }
    }
}

impl Deed for Accepted {
    fn words(&self) -> String {
        self.words.to_owned()
    }
}

/// Asks for a change of the power state of each.
pub(super) async fn change(
    vms: &Several,
    session: &Session,
    printer: &mut Printer,
    action: PowerAction,
    words: &'static str,
) -> Result<Option<ErrorKind>> {
    if vms.dry_run {
        return printer.show(&Would::new(action.as_str(), vms.find(session).await?));
    }
    let batch = vms
        .each(session, async |connection, vm| {
            connection.host.hypervisor.power(&vm.id, action).await?;
            Ok(Accepted::new(action, words))
        })
        .await?;
    printer.show(&batch)
}

/// As [`change`], for what guests lose data by: who described the VMs instead of naming them is asked first.
pub(super) async fn change_with_loss(
    vms: &Several,
    session: &Session,
    printer: &mut Printer,
    action: PowerAction,
    words: &'static str,
) -> Result<Option<ErrorKind>> {
    if !vms.dry_run && !vms.is_by_name() && !session.yes {
        let picked = vms.find(session).await?;
        for name in &picked {
            printer.preview(&format!("  {action}  {}", kvm_core::text::printable(&name.label)));
        }
        let answer =
            printer.ask(&format!("Guests lose what they did not write. {action} {} VMs? [y/N] ", picked.len())).await?;
        if !matches!(answer.as_str(), "y" | "Y" | "yes") {
            return Err(Error::new(ErrorKind::Cancelled, "nothing was done"));
        }
    }
    change(vms, session, printer, action, words).await
}
