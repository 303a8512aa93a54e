//! Definitions: stored, forgotten, renamed, annotated.

use kvm_core::{Error, ErrorKind, Existing, Keep, Resource, Result, VmId, VmName, VmNotes, VmState, check_definition};
use kvm_xml::Document;
use virt::sys;

use crate::config::Kind;
use crate::document::{looked_again, refused};
use crate::error::{LibvirtError, optional};
use crate::libvirt::{Libvirt, vm_resource};
use crate::machine::Machine;
use crate::power;
use crate::task::{Failure, Task};

impl Libvirt {
    pub(crate) async fn store_definition(&self, doc: &kvm_xml::Domain, existing: Existing) -> Result<VmId> {
        check_definition(doc)?;
        // The check has seen to it that both are there.
        let name = VmName::adopt(doc.name.as_deref().unwrap_or_default())?;
        let id = VmId::from(doc.uuid.unwrap_or_default());
        let xml = doc.to_xml();
        // The first definition after an update may have the host examine its emulators, which takes a while.
        self.work("define", Resource::Vm(name.as_str().into()), move |task| {
            check_place(task, &id, &name, existing)?;
            task.connection()
                .define_domain_xml(&xml)
                .map_err(|e| looked_again(e, || check_place(task, &id, &name, existing), |e| refused(task, e)))?;
            Ok(id)
        })
        .await
    }

    pub(crate) async fn begin_transient(&self, doc: &kvm_xml::Domain) -> Result<VmId> {
        check_definition(doc)?;
        let name = VmName::adopt(doc.name.as_deref().unwrap_or_default())?;
        let id = VmId::from(doc.uuid.unwrap_or_default());
        let xml = doc.to_xml();
        self.work("start", Resource::Vm(name.as_str().into()), move |task| {
            check_place(task, &id, &name, Existing::Reject)?;
            let is_test = task.address().kind() == Kind::Test;
            // The test driver knows no such flags, and its guests do nothing that could come in between.
            let flags = match is_test {
                true => sys::VIR_DOMAIN_NONE,
                false => sys::VIR_DOMAIN_START_PAUSED | sys::VIR_DOMAIN_START_AUTODESTROY,
            };
            let created = task.connection().create_domain_xml(&xml, flags);
            let domain = created.map_err(|e| {
                let taken = || check_place(task, &id, &name, Existing::Reject);
                looked_again(e, taken, |e| power::not_started(task, e))
            })?;
            if is_test {
                domain.suspend()?;
            }
            Ok(id)
        })
        .await
    }

    pub(crate) async fn forget_definition(&self, id: &VmId, keep: Keep) -> Result<()> {
        let id = *id;
        self.work("undefine", vm_resource(&id), move |task| {
            let machine = task.machine(&id)?;
            check_off(task, &machine)?;
            let flags = undefine_flags(task.address().kind(), keep);
            machine
                .domain
                .undefine_flags(flags)
                .map_err(|e| looked_again(e, || check_off(task, &machine), Failure::Libvirt))
        })
        .await
    }

    pub(crate) async fn change_name(&self, id: &VmId, name: &VmName) -> Result<()> {
        let (id, name) = (*id, name.clone());
        self.ask("rename", vm_resource(&id), move |task| {
            let machine = task.machine(&id)?;
            let check = || {
                // A saved state refers to the machine by its name.
                match machine.state()? {
                    VmState::Off => {}
                    state => return Err(task.invalid_state(format!("is {state}")).into()),
                }
                if machine.domain.num_snapshots(0)? > 0 {
                    return Err(task.invalid_state("has snapshots").into());
                }
                check_name_free(task, name.as_str())
            };
            check()?;
            machine.domain.rename(name.as_str(), 0).map(drop).map_err(|e| looked_again(e, check, Failure::Libvirt))
        })
        .await
    }

    pub(crate) async fn write_notes(&self, id: &VmId, notes: &VmNotes) -> Result<()> {
        let (id, notes) = (*id, notes.clone());
        self.ask("annotate", vm_resource(&id), move |task| {
            let machine = task.machine(&id)?;
            let impact = machine.impact()?;
            let set = |kind: sys::virDomainMetadataType, text: Option<&str>, key: Option<&str>, uri: Option<&str>| {
                machine.domain.set_metadata(kind.cast_signed(), text, key, uri, impact).map_err(LibvirtError::from)
            };
            set(sys::VIR_DOMAIN_METADATA_TITLE, text_of(notes.title.as_ref().map(AsRef::as_ref)), None, None)?;
            set(
                sys::VIR_DOMAIN_METADATA_DESCRIPTION,
                text_of(notes.description.as_ref().map(AsRef::as_ref)),
                None,
                None,
            )?;
            let (prefix, namespace) = (kvm_xml::Metadata::PREFIX, kvm_xml::Metadata::NAMESPACE);
            // Reading takes one of the two; a transient machine has no configuration.
            let from = if impact & sys::VIR_DOMAIN_AFFECT_CONFIG == 0 { impact } else { sys::VIR_DOMAIN_AFFECT_CONFIG };
            let kind = sys::VIR_DOMAIN_METADATA_ELEMENT.cast_signed();
            let before = optional(machine.domain.metadata(kind, Some(namespace), from))?;
            let element = notes.bare_metadata_xml(before.as_deref())?;
            set(sys::VIR_DOMAIN_METADATA_ELEMENT, element.as_deref(), Some(prefix), Some(namespace))?;
            Ok(())
        })
        .await
    }
}

/// An empty text and none are the same to libvirt, but only none removes the element.
fn text_of(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// Checks that a definition may go where it wants to.
///
/// libvirt replaces a machine silently when name and uuid match, so this is looked at before, and again when libvirt
/// refused.
fn check_place(task: &Task<'_>, id: &VmId, name: &VmName, existing: Existing) -> Result<(), Failure> {
    let same_id = optional(task.connection().lookup_domain_by_uuid((*id).into()))?;
    match (existing, same_id) {
        (Existing::Reject, Some(other)) => {
            let detail = format!("VM {} has the uuid {id}", kvm_core::text::printable(&other.name()?));
            Err(task.already_exists().with_detail(detail).into())
        }
        (Existing::Reject, None) => check_name_free(task, name.as_str()),
        (Existing::Replace, None) => Err(task.error(ErrorKind::NotFound, format!("no VM with the uuid {id}")).into()),
        (Existing::Replace, Some(same)) if same.name()? == name.as_str() => Ok(()),
        (Existing::Replace, Some(_)) => {
            check_name_free(task, name.as_str())?;
            Err(Error::invalid("vm_name", "a definition cannot change the name; rename the VM instead").into())
        }
    }
}

fn check_name_free(task: &Task<'_>, name: &str) -> Result<(), Failure> {
    match optional(task.connection().lookup_domain_by_name(name))? {
        None => Ok(()),
        Some(_) => {
            let resource = Resource::Vm(name.into());
            Err(Error::new(ErrorKind::AlreadyExists, format!("{resource} exists already")).on(resource).into())
        }
    }
}

/// libvirt would undefine a running machine and leave it running until it is lost.
fn check_off(task: &Task<'_>, machine: &Machine) -> Result<(), Failure> {
    if machine.domain.is_active()? { Err(task.invalid_state("is running").into()) } else { Ok(()) }
}

/// Everything that the driver may keep for a machine goes, or is kept on purpose.
fn undefine_flags(kind: Kind, keep: Keep) -> sys::virDomainUndefineFlagsValues {
    let records = sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA;
    if kind == Kind::Test {
        // All that this driver keeps; it refuses flags that it does not know.
        return records;
    }
    let choose = |keep: bool, kept, gone| if keep { kept } else { gone };
    records
        | sys::VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
        | choose(keep.nvram, sys::VIR_DOMAIN_UNDEFINE_KEEP_NVRAM, sys::VIR_DOMAIN_UNDEFINE_NVRAM)
        | choose(keep.tpm, sys::VIR_DOMAIN_UNDEFINE_KEEP_TPM, sys::VIR_DOMAIN_UNDEFINE_TPM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_kept_on_purpose() {
        let flags = undefine_flags(Kind::Local, Keep { nvram: true, tpm: false });
        assert_ne!(flags & sys::VIR_DOMAIN_UNDEFINE_KEEP_NVRAM, 0);
        assert_eq!(flags & sys::VIR_DOMAIN_UNDEFINE_NVRAM, 0);
        assert_ne!(flags & sys::VIR_DOMAIN_UNDEFINE_TPM, 0);
        assert_eq!(flags & sys::VIR_DOMAIN_UNDEFINE_KEEP_TPM, 0);
    }

    #[test]
    fn the_test_driver_is_asked_only_for_what_it_knows() {
        assert_eq!(undefine_flags(Kind::Test, Keep::STATE), undefine_flags(Kind::Test, Keep::NOTHING));
    }
}
