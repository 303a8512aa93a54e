//! Whether a point is still what it was.

use kvm_core::{Error, ErrorKind, Host, Result};
use kvm_wire::Keep;

use super::list::{read_manifest, resolve};
use super::manifest::{Manifest, StoredFile};
use super::place::{Point, PointId, PointRef, StoreDir, inside};
use crate::transfer::{Session, Watch};

/// What was found of a file.
#[derive(Debug)]
pub enum Verdict {
    /// All of it was read, and it is what the manifest says.
    Matches,
    /// It is something else, or missing. The text says in what.
    Differs(String),
    /// It could not be read: nothing is known.
    Unknown(Error),
}

/// A file of a point, and what was found.
#[derive(Debug)]
pub struct FileVerdict {
    /// The file.
    pub file: StoredFile,
    /// What was found.
    pub verdict: Verdict,
}

/// Reads every file of a point and compares it with what the manifest says.
///
/// A file that is damaged, missing or unreadable is no error, but a [`Verdict`]. Errors are those of the point: `NotFound`,
/// a manifest that is wrong, a host that cannot be reached; `Cancelled`.
pub async fn verify_backup(
    host: &Host,
    directory: &StoreDir,
    point: &PointRef,
    watch: Watch<'_>,
) -> Result<(PointId, Manifest, Vec<FileVerdict>)> {
    tokio::select! {
        biased;
        () = watch.cancel.cancelled() => Err(Error::new(ErrorKind::Cancelled, "the verification was cancelled")),
        verified = verify(host, directory, point, watch) => verified,
    }
}

async fn verify(
    host: &Host,
    directory: &StoreDir,
    point: &PointRef,
    watch: Watch<'_>,
) -> Result<(PointId, Manifest, Vec<FileVerdict>)> {
    let mut session = Session::open(&*host.transport).await?;
    let place = resolve(&mut session, directory, point).await?;
    let manifest = read_manifest(&mut session, &place).await?;
    let mut verdicts = Vec::new();
    for file in manifest.files() {
        let verdict = look(&mut session, &place, file, watch).await?;
        verdicts.push(FileVerdict { file: file.clone(), verdict });
    }
    Ok((place.point, manifest, verdicts))
}

async fn look(session: &mut Session, point: &Point, file: &StoredFile, watch: Watch<'_>) -> Result<Verdict> {
    let title = format!("verify {point}/{}", file.file);
    let watch = Watch { title: &title, ..watch };
    // What was remembered of it is not asked: a disk that forgets bits changes no times.
    match session.digest(&inside(&point.whole(), &file.file), Keep::Forget, Some(watch)).await {
        Ok((digest, size)) if digest == file.digest && size == file.size => Ok(Verdict::Matches),
        Ok((_, size)) if size != file.size => Ok(Verdict::Differs(format!("it has {size}, not {}", file.size))),
        Ok((digest, _)) => Ok(Verdict::Differs(format!("its digest is {digest}, not {}", file.digest))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Verdict::Differs("it is missing".to_owned())),
        // Without a conversation nothing more can be asked.
        Err(e) if matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => Err(e),
        Err(e) => Ok(Verdict::Unknown(e)),
    }
}
