//! The firmware's variables and the TPM.

use super::draft::{Draft, File};
use super::facts::{Content, Location};
use super::policy::{Files, Tpm};
use super::told::{How, Reason, Refusal, RewriteError, Warning};
use crate::diff::item_path;
use crate::domain::{DiskType, TpmBackendType, TpmSourceType};

/// Template and format stay: the copy holds the same variables in the same form.
pub(super) fn nvram(draft: &mut Draft<'_, '_>) -> Result<(), RewriteError> {
    let Some(nvram) = draft.source.os.as_ref().and_then(|os| os.nvram.as_ref()) else { return Ok(()) };
    let files = draft.policy.nvram;
    if files == Files::Keep {
        return Ok(());
    }
    let kind = nvram.r#type.unwrap_or(DiskType::File);
    let from = match (&nvram.value, &nvram.source) {
        (Some(path), _) => Location::File(path.clone()),
        (None, Some(source)) => match Location::of(kind, source) {
            Some(location) => location,
            None if (draft.facts.reaches)(source) && !draft.policy.makes_another_machine() => return Ok(()),
            None => {
                let problem = "the firmware's variables are on a server";
                let fix = "move them into a file; they are not copied from servers";
                return Err(RewriteError::new(Refusal::Unreachable, "os.nvram.source", problem, fix));
            }
        },
        // libvirt names the file after the machine.
        (None, None) => return Ok(()),
    };
    let to = draft.place(&File { content: Content::Nvram, path: "os.nvram", from: &from, files, how: How::AsIs })?;
    if let Some(nvram) = draft.domain.os.as_mut().and_then(|os| os.nvram.as_mut()) {
        match (to, &mut nvram.value) {
            (Location::File(path), Some(value)) => *value = path,
            (to, value) => {
                *value = None;
                to.put(&mut nvram.r#type, nvram.source.get_or_insert_default());
                nvram.r#type.get_or_insert(DiskType::File);
            }
        }
    }
    draft.record(Reason::Placed);
    Ok(())
}

/// libvirt keeps the state of an emulated TPM by the machine's uuid, unless the document says where.
pub(super) fn tpm(draft: &mut Draft<'_, '_>) -> Result<(), RewriteError> {
    let tpms = draft.source.devices.as_ref().map_or(&[][..], |devices| &devices.tpm);
    for (index, tpm) in tpms.iter().enumerate() {
        let Some(backend) = tpm.backend.as_ref().filter(|backend| backend.r#type == Some(TpmBackendType::Emulator))
        else {
            continue;
        };
        let path = item_path("devices.tpm", tpm, index);
        let place = match draft.policy.tpm {
            Tpm::Keep => continue,
            Tpm::Fresh => {
                draft.warnings.push(Warning::FreshTpm { path: path.clone() });
                None
            }
            Tpm::Copy => {
                let secret = backend.encryption.as_ref().and_then(|encryption| encryption.secret);
                if let Some(secret) = secret.filter(|secret| !(draft.facts.secret_exists)(*secret)) {
                    let problem = format!("the state is encrypted, and the target has not the secret {secret}");
                    let fix = "define the secret there, or start with an empty TPM";
                    let field = format!("{path}.backend.encryption");
                    return Err(RewriteError::new(Refusal::SecretMissing, field, problem, fix));
                }
                if draft.policy.makes_another_machine() {
                    draft.warnings.push(Warning::SameTpm { path: path.clone() });
                }
                let state = backend.source.as_ref().and_then(|source| source.path.clone());
                state.map(|state| copy_state(draft, &format!("{path}.backend.source"), state)).transpose()?
            }
        };
        let backend = draft.domain.devices_mut().tpm[index].backend.get_or_insert_default();
        match place {
            Some(state) => backend.source.get_or_insert_default().path = Some(state),
            None => {
                let named = |source: &crate::domain::TpmSource| source.r#type != Some(TpmSourceType::Unix);
                backend.source.take_if(|source| named(source));
            }
        }
    }
    draft.record(if draft.policy.tpm == Tpm::Copy { Reason::Placed } else { Reason::FreshTpm });
    Ok(())
}

fn copy_state(draft: &mut Draft<'_, '_>, path: &str, state: String) -> Result<String, RewriteError> {
    let files = if draft.policy.makes_another_machine() { Files::Rename } else { Files::Place };
    let from = Location::File(state);
    match draft.place(&File { content: Content::Tpm, path, from: &from, files, how: How::AsIs })? {
        Location::File(state) | Location::Block(state) => Ok(state),
        Location::Volume { .. } => {
            let problem = "the state of a TPM cannot lie in a pool";
            Err(RewriteError::new(Refusal::Facts, path, problem, "give a path"))
        }
    }
}
