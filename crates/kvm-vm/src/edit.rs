//! Changing a machine's stored document by hand.

use std::fmt;

use kvm_core::{Error, ErrorKind, Existing, Host, Resource, Result, View, VmId, VmRef, check_definition};
use kvm_xml::{Change, Document as _, Domain, diff};

use crate::import::{Refusal, Trust, check_numbers, contradictions, refuse, unreadable, untrusted};
use crate::place::Places;
use crate::policy::Policy;

/// How an edit is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EditOptions {
    /// With [`Trust::Checked`], what the document had before may stay, and nothing may be added that an import would
    /// refuse.
    pub trust: Trust,
}

/// The document as it goes into an editor: what the next start will use, with its secrets, so that none is lost when it
/// is stored again. Treat the text as a secret. `NotFound`.
pub async fn edit_text(host: &Host, id: &VmId) -> Result<String> {
    Ok(host.hypervisor.definition(id, View::CONFIG.with_secrets()).await?.to_xml())
}

/// Reads an edited document and checks it, without changing anything.
///
/// `before` is the text as [`edit_text`] gave it. `InvalidInput` names the element that cannot be read, is not allowed, or
/// must not change: a machine's uuid never changes, its name does by renaming it. `NotFound`.
pub async fn prepare_edit(
    host: &Host,
    id: &VmId,
    before: &str,
    after: &str,
    options: &EditOptions,
    policy: &Policy,
) -> Result<Edit> {
    // What this version does not know and was there before is none of the editor's doing.
    let strict = Domain::from_xml_strict(before).is_ok() && options.trust == Trust::Checked;
    let before = Domain::from_xml(before).map_err(|e| unreadable(&e))?;
    let after = if strict { Domain::from_xml_strict(after) } else { Domain::from_xml(after) };
    let after = after.map_err(|e| unreadable(&e))?;

    let vm = host.hypervisor.find(&VmRef::Id(*id)).await?;
    check_identity(&before, &after)?;
    check_definition(&after)?;
    let host_info = host.hypervisor.capabilities().await?;
    let changes = diff(&before, &after);
    if !changes.is_empty() {
        check_numbers(&after, &host_info, policy)?;
    }
    if options.trust == Trust::Checked && !changes.is_empty() {
        let places = Places::read(host, &policy.allowed_paths).await?;
        let mut was = known_refusals(untrusted(&before, &host_info, &places).await)?;
        was.extend(contradictions(&before));
        let mut is = untrusted(&after, &host_info, &places).await?;
        is.extend(contradictions(&after));
        let new: Vec<_> = is.into_iter().filter(|refusal| !was.contains(refusal)).collect();
        refuse(&new)?;
    }
    Ok(Edit { id: *id, before, after, changes, is_live: vm.state.is_active() })
}

/// A disk that has gone missing does not keep anybody from mending the document.
fn known_refusals(refusals: Result<Vec<Refusal>>) -> Result<Vec<Refusal>> {
    match refusals {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidState) => Ok(Vec::new()),
        other => other,
    }
}

fn check_identity(before: &Domain, after: &Domain) -> Result<()> {
    if before.uuid != after.uuid {
        return Err(Error::invalid("uuid", "a machine's uuid never changes")
            .with_detail("to make a copy, export the document and import it with a fresh identity"));
    }
    if before.name != after.name {
        return Err(Error::invalid("name", "a machine is not renamed by editing its document")
            .with_detail("rename it: that also looks at its snapshots"));
    }
    Ok(())
}

/// An edited document that may be stored. Its `Display` says what changes, one line each.
#[derive(Clone, Debug)]
pub struct Edit {
    id: VmId,
    before: Domain,
    after: Domain,
    changes: Vec<Change>,
    is_live: bool,
}

impl Edit {
    /// What changes; empty when nothing does.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Whether the machine runs, so that the change takes effect at its next start.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// Stores the document. `InvalidState` when somebody else changed it in the meantime; `InvalidInput` when the
    /// hypervisor refuses it; `NotFound`.
    pub async fn apply(self, host: &Host) -> Result<()> {
        let now = host.hypervisor.definition(&self.id, View::CONFIG.with_secrets()).await?;
        if !diff(&self.before, &now).is_empty() {
            return Err(Error::new(ErrorKind::InvalidState, "the definition was changed by somebody else meanwhile")
                .on(Resource::Vm(self.id.to_string()))
                .with_detail("edit it again, beginning with what is there now"));
        }
        if self.changes.is_empty() {
            return Ok(());
        }
        host.hypervisor.define(&self.after, Existing::Replace).await.map(drop)
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, change) in self.changes.iter().enumerate() {
            let line = change.to_string();
            write!(f, "{}{}", if i == 0 { "" } else { "\n" }, kvm_core::text::printable(&line))?;
        }
        Ok(())
    }
}
