//! The content of a volume on another host, through this program.

use kvm_core::op::StepContext;
use kvm_core::{Error, ErrorKind, Holes, Host, Result};

use super::digest::ContentDigest;
use super::pump::{Told, digest, reader, unless_cancelled, writer};
use super::resource;
use crate::spec::VolumeRef;

/// Copies what a volume holds, as it is stored, into one that holds nothing yet, on the same host or another. Holes stay
/// holes. What has arrived is read once more and compared.
///
/// Nobody may write to either of them meanwhile. Progress is told, and a cancel ends it between two pieces.
///
/// `Corrupt` when both sides differ afterwards; `Unsupported` when a host cannot reach into its volumes; `NotFound`,
/// `NoSpace`, `Busy`, `Unavailable`, `Timeout`, `Cancelled`.
pub async fn copy_content(from: (&Host, &VolumeRef), to: (&Host, &VolumeRef), cx: &StepContext<'_>) -> Result<()> {
    let (mut source, kept) = reader(from.0, from.1, Holes::Keep).await?;
    let length = source.length();
    let (mut sink, taken) = writer(to.0, to.1, length, kept).await?;
    if kept != taken {
        // The reader's holes are not the writer's: they are sent as zeros.
        source = reader(from.0, from.1, taken).await?.0;
    }
    let (mut sent, mut told) = (ContentDigest::new(), Told::new(format!("copy {}", from.1), length, cx));
    let send = async {
        while let Some(piece) = source.next().await? {
            sent.add(&piece);
            let length = piece.length();
            sink.write(piece).await?;
            told.more(length);
        }
        sink.finish().await
    };
    unless_cancelled(cx, send).await?;
    let (mut back, _) = reader(to.0, to.1, Holes::Keep).await?;
    let mut told = Told::new(format!("verify {}", to.1), length, cx);
    let arrived = unless_cancelled(cx, digest(&mut *back, length, &mut told)).await?;
    if arrived == sent.finish() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Corrupt, format!("volumes {} and {} differ after the copy", from.1, to.1))
        .on(resource(to.1))
        .with_detail("somebody writes to one of them, or a disk or its memory is broken"))
}
