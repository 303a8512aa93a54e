//! Volumes that become files of this machine.

use std::ffi::OsString;
use std::path::PathBuf;

use kvm_core::op::{LockKey, Plan, PlanLine, Step};
use kvm_core::{Entropy, Error, ErrorKind, Existing, Holes, Host, Resource, Result};

use super::{Uses, Verify, content, is_medium, local};
use crate::spec::VolumeRef;
use crate::step::{DownloadVolume, PublishFile};

/// A volume that is to become a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// The volume.
    pub volume: VolumeRef,
    /// The file on this machine; absolute.
    pub file: PathBuf,
    /// Whether a file of this name gives way.
    pub existing: Existing,
    /// What becomes of the volume's holes.
    pub holes: Holes,
    /// Whether the file is read once more and compared with what came.
    pub verify: Verify,
    /// What if a machine works on the volume.
    pub in_use: InUse,
}

/// What if a machine works on a volume that is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InUse {
    /// It is not read: parts of the result would be of different times.
    Refuse,
    /// It is read all the same.
    Allow,
}

/// Plans a file with what is in a volume.
///
/// The file appears under its name when it is complete and on disk, and in place of another one only when that gives way;
/// until then it has a name of its own beside it, and is removed if the operation fails. Of an image with a format this is
/// its file as it is, without what it lies upon; the plan says so.
///
/// `NotFound`; `AlreadyExists` for a file that does not give way; `InvalidState` when an active machine uses the volume;
/// `Unsupported` for one that is reached over the network.
pub async fn plan_download(host: &Host, wanted: &Download, entropy: &dyn Entropy) -> Result<Plan> {
    content(host)?;
    let volume = &wanted.volume;
    let about = host.storage.find_volume(&volume.pool, &volume.volume).await?;
    about.host_path()?;
    if wanted.in_use == InUse::Refuse && !is_medium(&about) {
        Uses::read(host, &about).await?.refuse_active(volume, "download")?;
    }
    let shown = wanted.file.display().to_string();
    let replaces = local::exists(&wanted.file).await?;
    if replaces && wanted.existing == Existing::Reject {
        return Err(Error::new(ErrorKind::AlreadyExists, format!("there is a file {shown} already"))
            .on(Resource::File(shown))
            .during("download"));
    }
    let Some(name) = wanted.file.file_name() else {
        return Err(Error::invalid("file", format!("{shown} is not the name of a file")));
    };
    let mut partial = OsString::from(".");
    partial.push(name);
    partial.push(format!(".{:08x}.partial", entropy.uuid().as_fields().0));
    let partial = wanted.file.with_file_name(partial);

    let format = about.format.as_deref().filter(|format| *format != "raw");
    let note = format.map_or_else(String::new, |format| format!(", {format}"));
    let mut lines =
        vec![PlanLine::new("download", "volume", volume.as_text()).note(format!("{} on disk{note}", about.allocation))];
    if let Some(below) = &about.backing {
        lines.push(PlanLine::new("leave", "backing file", below.as_str()).note("the file is of no use without it"));
    }
    lines.push(PlanLine::new(if replaces { "replace" } else { "create" }, "file", shown));
    let replace = wanted.existing == Existing::Replace;
    let steps: Vec<Box<dyn Step>> = vec![
        Box::new(DownloadVolume {
            volume: volume.clone(),
            partial: partial.clone(),
            file: wanted.file.clone(),
            holes: wanted.holes,
            verify: wanted.verify,
        }),
        Box::new(PublishFile { partial, file: wanted.file.clone(), replace }),
    ];
    let info = host.hypervisor.capabilities().await?;
    Ok(Plan {
        kind: "vol.download",
        title: format!("download {volume} from {}", info.target),
        target: info.target.clone(),
        locks: vec![LockKey::volume(info.host_key(), &volume.pool, &volume.volume)],
        lines,
        steps,
        // What was there before cannot be brought back.
        reversible: if replace { 1 } else { 2 },
    })
}
