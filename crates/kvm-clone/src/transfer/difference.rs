//! In what two images differ, by their digests.

use kvm_core::{Error, ErrorKind, Result};
use kvm_wire::{Digest, FrameKind, GROUP_LEAVES, LEAF_SIZE, Reply, Request, Span};

use super::{Session, failure, unexpected};

/// Groups whose leaves are compared at a time: their digests take 8 KiB each.
const AT_A_TIME: usize = 256;

/// Has both sides compute the digests of their images, and finds what of the source's the target has not.
///
/// Gives the digest of the source's whole image, and the parts that differ, in order.
pub(super) async fn difference(
    source: &mut Session,
    scan_source: &Request,
    target: &mut Session,
    scan_target: &Request,
) -> Result<(Digest, Vec<Span>)> {
    let (here, there) = tokio::try_join!(source.ask(scan_source), target.ask(scan_target))?;
    let (Reply::Scanned { root, length, .. }, Reply::Scanned { root: other, length: other_length, .. }) =
        (&here, &there)
    else {
        return Err(unexpected(&here));
    };
    if length != other_length {
        return Err(Error::new(ErrorKind::InvalidState, "both images have not the same length")
            .with_detail(format!("{length} bytes here, {other_length} there")));
    }
    if root == other {
        return Ok((*root, Vec::new()));
    }
    let (ours, theirs) = tokio::try_join!(digests(source, &Request::Groups), digests(target, &Request::Groups))?;
    let groups: Vec<u64> = differing(&ours, &theirs).collect();
    let mut spans = Vec::new();
    for groups in groups.chunks(AT_A_TIME) {
        let request = Request::Leaves { groups: groups.to_vec() };
        let (ours, theirs) = tokio::try_join!(runs(source, &request), runs(target, &request))?;
        let theirs: std::collections::BTreeMap<u64, Digest> = theirs.into_iter().collect();
        for (leaf, digest) in ours {
            if theirs.get(&leaf) != Some(&digest) {
                add(&mut spans, leaf, *length);
            }
        }
    }
    Ok((*root, spans))
}

/// Adds a leaf to what differs, to the part before it where they touch.
fn add(spans: &mut Vec<Span>, leaf: u64, length: u64) {
    let offset = leaf * LEAF_SIZE;
    let more = LEAF_SIZE.min(length.saturating_sub(offset));
    match spans.last_mut() {
        Some(last) if last.offset + last.length == offset => last.length += more,
        _ => spans.push(Span { offset, length: more }),
    }
}

/// Where two lists differ.
fn differing<'a>(ours: &'a [Digest], theirs: &'a [Digest]) -> impl Iterator<Item = u64> + 'a {
    let both = ours.iter().zip(theirs);
    (0..).zip(both).filter(|(_, (ours, theirs))| ours != theirs).map(|(number, _)| number)
}

/// All digests of an answer, which begin at the first.
async fn digests(session: &mut Session, request: &Request) -> Result<Vec<Digest>> {
    Ok(runs(session, request).await?.into_iter().map(|(_, digest)| digest).collect())
}

/// The digests of an answer with their numbers.
async fn runs(session: &mut Session, request: &Request) -> Result<Vec<(u64, Digest)>> {
    session.output.say(request).await?;
    let most = match request {
        Request::Leaves { groups } => groups.len() as u64 * GROUP_LEAVES,
        _ => u64::MAX,
    };
    let mut all = Vec::new();
    loop {
        let frame = session.input.frame().await?;
        let damaged = |e| Error::new(ErrorKind::Corrupt, "digests from a host cannot be read").with_source(e);
        if frame.kind() == FrameKind::Digests {
            let run = frame.as_digests().map_err(damaged)?;
            all.extend((run.first..).zip(run.digests));
            if all.len() as u64 > most {
                return Err(Error::new(ErrorKind::Corrupt, "a host sent more digests than it was asked for"));
            }
            continue;
        }
        match frame.as_reply().map_err(damaged)? {
            Reply::Progress { .. } => {}
            Reply::Done => return Ok(all),
            Reply::Error { kind, message, file, cause } => return Err(failure(kind, &message, file, cause)),
            other => return Err(unexpected(&other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_that_touch_are_one_part_and_the_last_ends_with_the_image() {
        let mut spans = Vec::new();
        let length = 10 * LEAF_SIZE + 100;
        for leaf in [0, 1, 3, 9, 10] {
            add(&mut spans, leaf, length);
        }
        let parts: Vec<_> = spans.iter().map(|span| (span.offset / LEAF_SIZE, span.length)).collect();
        assert_eq!(parts, [(0, 2 * LEAF_SIZE), (3, LEAF_SIZE), (9, LEAF_SIZE + 100)]);
    }
}
