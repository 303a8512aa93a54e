//! Who the machine is: name, uuid, generation, where it comes from, how it is labelled.

use super::draft::Draft;
use super::names::clone_name;
use super::policy::{Genid, Identity, Lineage, Name, Seclabel};
use super::told::{Reason, Refusal, RewriteError, Warning};
use crate::domain::{DeviceSeclabel, Domain, SeclabelType, SystemEntry, SystemEntryName};
use crate::error::XmlError;
use crate::fragment::Fragment;
use crate::metadata::Metadata;
use uuid::Uuid;

pub(super) fn name(draft: &mut Draft<'_, '_>) -> Result<(), RewriteError> {
    let refuse = |kind, problem: String, fix: &str| Err(RewriteError::new(kind, "name", problem, fix));
    let taken = |name: &str| (draft.facts.name_taken)(name);
    let (given, old) = (draft.facts.name.clone(), draft.source.name.clone());
    let new = match (draft.policy.name, given, &old) {
        (Name::Keep, None, _) => return Ok(()),
        (_, Some(given), _) => given,
        (Name::New, None, Some(old)) => clone_name(old, taken),
        (Name::New | Name::Replace, None, _) => {
            return refuse(Refusal::Facts, "the copy has no name".into(), "give it one");
        }
    };
    if matches!(new.as_str(), "" | "." | "..") || new.contains(|c: char| c == '/' || c.is_control()) {
        return refuse(Refusal::Facts, format!("'{new}' is no name"), "use one without slashes and control characters");
    }
    let is_new = draft.policy.name != Name::Keep;
    let is_the_original = is_new && old.as_ref() == Some(&new) && !draft.is_elsewhere();
    if is_the_original || (draft.policy.name == Name::New && taken(&new)) {
        return refuse(
            Refusal::NameTaken,
            format!("a machine has the name '{new}'"),
            "choose another name, or replace it",
        );
    }
    draft.domain.name = Some(new);
    draft.record(Reason::Named);
    Ok(())
}

pub(super) fn uuid(draft: &mut Draft<'_, '_>) -> Result<(), RewriteError> {
    let new = match draft.policy.uuid {
        Identity::Keep => return Ok(()),
        Identity::Drop => None,
        Identity::New => Some(unused(draft.facts.uuid, draft.source.uuid, "uuid")?),
    };
    let new_text = new.map(|uuid| uuid.to_string());
    draft.domain.uuid = new;
    for system in draft.domain.sysinfo.iter_mut().filter_map(|sysinfo| sysinfo.system.as_mut()) {
        // libvirt demands that the SMBIOS uuid is that of the machine; clouds make the serial number of it too.
        let is_old = |value: &Option<String>| {
            let value = value.as_deref().and_then(|value| value.trim().parse().ok());
            value.is_some() && value == draft.source.uuid
        };
        let follows = |entry: &SystemEntry| match entry.name {
            Some(SystemEntryName::Uuid) => true,
            Some(SystemEntryName::Serial) => is_old(&entry.value),
            _ => false,
        };
        match &new_text {
            Some(new) => {
                system.entry.iter_mut().filter(|entry| follows(entry)).for_each(|entry| {
                    entry.value = Some(new.clone());
                });
            }
            None => system.entry.retain(|entry| !follows(entry)),
        }
    }
    if let Some(devices) = &mut draft.domain.devices {
        devices.memory.iter_mut().for_each(|module| module.uuid = None);
    }
    draft.record(Reason::Identity);
    Ok(())
}

pub(super) fn genid(draft: &mut Draft<'_, '_>) -> Result<(), RewriteError> {
    let Some(old) = &draft.source.genid else { return Ok(()) };
    match draft.policy.genid {
        Genid::Keep => {}
        Genid::AtPromotion => draft.warnings.push(Warning::GenidAtPromotion),
        Genid::New => {
            draft.domain.genid = Some(unused(draft.facts.genid, old.value, "genid")?.into());
            draft.record(Reason::Generation);
        }
    }
    Ok(())
}

/// The value from the facts, if it can be a new one.
fn unused(given: Option<Uuid>, old: Option<Uuid>, field: &str) -> Result<Uuid, RewriteError> {
    let refuse = |problem: &str| Err(RewriteError::new(Refusal::Facts, field, problem, "give one that was never used"));
    match given {
        None => refuse("the copy needs another"),
        Some(new) if new.is_nil() => refuse("the one given is nil"),
        Some(new) if Some(new) == old => refuse("the one given is that of the original"),
        Some(new) => Ok(new),
    }
}

/// This product's element holds notes of people in its attributes, which are kept, and lineage in its content.
pub(super) fn lineage(draft: &mut Draft<'_, '_>) -> Result<(), RewriteError> {
    if draft.policy.lineage == Lineage::Keep {
        return Ok(());
    }
    let lineage = draft.facts.lineage.as_deref().unwrap_or_default();
    set_lineage(&mut draft.domain, lineage).map_err(|error| {
        let problem = format!("the lineage is no XML: {}", error.message());
        RewriteError::new(Refusal::Facts, "metadata", problem, "give well-formed elements")
    })?;
    draft.record(Reason::Lineage);
    Ok(())
}

fn set_lineage(domain: &mut Domain, lineage: &str) -> Result<(), XmlError> {
    let (uri, prefix) = (Metadata::NAMESPACE, Metadata::PREFIX);
    let ours = domain.metadata.as_ref().and_then(|metadata| metadata.get(uri));
    if lineage.is_empty() && !ours.is_some_and(Fragment::has_attributes) {
        if let Some(metadata) = &mut domain.metadata {
            metadata.remove(uri);
        }
        return Ok(());
    }
    let xml = ours.and_then(|element| element.with_content(lineage));
    let xml = xml.unwrap_or_else(|| format!("<{prefix}:notes xmlns:{prefix}='{uri}'>{lineage}</{prefix}:notes>"));
    domain.metadata.get_or_insert_default().set(uri, &xml)
}

pub(super) fn seclabel(draft: &mut Draft<'_, '_>) {
    if draft.policy.seclabel == Seclabel::Keep {
        return;
    }
    let chosen = |label: &DeviceSeclabel| !label.label.is_empty();
    draft.domain.seclabel.retain(|label| label.r#type != Some(SeclabelType::Static));
    for disk in draft.domain.devices.iter_mut().flat_map(|devices| &mut devices.disk) {
        let mut below = disk.backing_store.as_deref_mut();
        let mut sources = vec![disk.source.as_mut()];
        while let Some(image) = below {
            sources.push(image.source.as_mut());
            below = image.backing_store.as_deref_mut();
        }
        sources.into_iter().flatten().for_each(|source| source.seclabel.retain(|label| !chosen(label)));
    }
    super::paths::ends(&mut draft.domain, &mut |end| {
        end.source.iter_mut().for_each(|source| source.seclabel.retain(|label| !chosen(label)));
    });
    draft.record(Reason::Relabelled);
}
