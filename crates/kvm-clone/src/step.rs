//! The steps of a copy.

use kvm_core::op::{Peer, Step, StepContext};
use kvm_core::{Error, ErrorKind, Host, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::backup::{
    BeginPoint, HidePoint, PublishPoint, RemovePoint, StoreDocument, StoreFile, StoreTpm, WriteManifest, WriteSums,
};
use crate::linked::StayFrozen;
use crate::moving::{Arrive, GuardArrival, LeaveHost, MarkLeaving, StopForMove};
use crate::prove::RunTrial;
use crate::replace::SetAside;
use crate::restore::{Redefine, RestoreFile, RestoreTpm};
use crate::sysprep::PrepareGuest;
use crate::trial::ForgetTrial;

mod image;
mod promote;
pub(crate) mod record;
mod redefine;
mod release;
mod stage;
mod tpm;
mod track;
mod transfer;
mod variables;
mod whole;

pub(crate) use image::CopyImage;
pub(crate) use promote::{Promote, SettleImage};
pub(crate) use redefine::{DropImage, NoteDigests, NoteSource, RedefineReplica};
pub(crate) use release::ReleaseMoment;
pub(crate) use stage::{ApplyImage, BeginApplying, ClaimReplica, StageImage, WAITING};
pub(crate) use tpm::{CopyTpm, Directory, MOST as TPM_MOST, TpmPlace};
pub(crate) use track::{ForgetTracks, TRACK, TrackChanges};
pub(crate) use transfer::TransferImage;
pub(crate) use variables::{ApplyVariables, CopyVariables, StageVariables};
pub(crate) use whole::{Whole, document as whole_document};

/// Both hosts of a copy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ends {
    pub(crate) source: Peer,
    pub(crate) target: Peer,
}

impl Ends {
    /// The source and the target, whichever of them the operation is finished from.
    pub(crate) async fn open(&self, cx: &StepContext<'_>) -> Result<(Host, Host)> {
        Ok((cx.peer(&self.source).await?, cx.peer(&self.target).await?))
    }
}

/// Makes a step again from its name and its journal form, so that an operation can be finished after a crash:
///
/// ```
/// let catalogue = kvm_core::op::Catalogue::new().with("clone.", kvm_clone::decode);
/// ```
///
/// Steps of `kvm-vm`, which are part of a copy, are made as well. `Unsupported` when no step has this name, `Corrupt`
/// when it is not in this form.
pub fn decode(name: &str, data: &Value) -> Result<Box<dyn Step>> {
    match name {
        CopyImage::NAME => read::<CopyImage>(name, data),
        BeginPoint::NAME => read::<BeginPoint>(name, data),
        StoreDocument::NAME => read::<StoreDocument>(name, data),
        StoreTpm::NAME => read::<StoreTpm>(name, data),
        StoreFile::NAME => read::<StoreFile>(name, data),
        WriteManifest::NAME => read::<WriteManifest>(name, data),
        WriteSums::NAME => read::<WriteSums>(name, data),
        PublishPoint::NAME => read::<PublishPoint>(name, data),
        HidePoint::NAME => read::<HidePoint>(name, data),
        RemovePoint::NAME => read::<RemovePoint>(name, data),
        RestoreTpm::NAME => read::<RestoreTpm>(name, data),
        RestoreFile::NAME => read::<RestoreFile>(name, data),
        Redefine::NAME => read::<Redefine>(name, data),
        TransferImage::NAME => read::<TransferImage>(name, data),
        CopyVariables::NAME => read::<CopyVariables>(name, data),
        CopyTpm::NAME => read::<CopyTpm>(name, data),
        ReleaseMoment::NAME => read::<ReleaseMoment>(name, data),
        TrackChanges::NAME => read::<TrackChanges>(name, data),
        ForgetTracks::NAME => read::<ForgetTracks>(name, data),
        StageImage::NAME => read::<StageImage>(name, data),
        ClaimReplica::NAME => read::<ClaimReplica>(name, data),
        BeginApplying::NAME => read::<BeginApplying>(name, data),
        ApplyImage::NAME => read::<ApplyImage>(name, data),
        StageVariables::NAME => read::<StageVariables>(name, data),
        ApplyVariables::NAME => read::<ApplyVariables>(name, data),
        RedefineReplica::NAME => read::<RedefineReplica>(name, data),
        NoteDigests::NAME => read::<NoteDigests>(name, data),
        NoteSource::NAME => read::<NoteSource>(name, data),
        DropImage::NAME => read::<DropImage>(name, data),
        SettleImage::NAME => read::<SettleImage>(name, data),
        RunTrial::NAME => read::<RunTrial>(name, data),
        PrepareGuest::NAME => read::<PrepareGuest>(name, data),
        ForgetTrial::NAME => read::<ForgetTrial>(name, data),
        Promote::NAME => read::<Promote>(name, data),
        SetAside::NAME => read::<SetAside>(name, data),
        StayFrozen::NAME => read::<StayFrozen>(name, data),
        StopForMove::NAME => read::<StopForMove>(name, data),
        MarkLeaving::NAME => read::<MarkLeaving>(name, data),
        GuardArrival::NAME => GuardArrival::decode(data),
        LeaveHost::NAME => read::<LeaveHost>(name, data),
        Arrive::NAME => read::<Arrive>(name, data),
        _ => kvm_vm::decode(name, data),
    }
}

fn read<T: Step + DeserializeOwned + 'static>(name: &str, data: &Value) -> Result<Box<dyn Step>> {
    let step: T = serde_json::from_value(data.clone()).map_err(|e| {
        Error::new(ErrorKind::Corrupt, format!("the journal's step {name} cannot be read")).with_source(e)
    })?;
    Ok(Box::new(step))
}

pub(crate) fn to_json(step: &impl Serialize) -> Result<Value> {
    serde_json::to_value(step).map_err(|e| Error::internal("the step has no JSON form").with_source(e))
}

/// `NotFound` is good news for whoever removes something.
pub(crate) fn unless_gone(result: Result<()>) -> Result<()> {
    match result {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
