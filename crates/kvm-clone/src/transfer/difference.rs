//! In what two images differ, by their digests.

use std::collections::BTreeMap;
use std::ops::Range;

use kvm_core::{Error, ErrorKind, Result};
use kvm_wire::{Digest, FrameKind, GROUP_LEAVES, LEAF_SIZE, Reply, Request, Span, groups_in, leaves_in};

use super::{Session, failure, unexpected};

/// Groups whose leaves are compared at a time: their digests take 8 KiB each.
const AT_A_TIME: usize = 256;

/// What the source's image has that the target's has not.
pub(super) struct Difference {
    /// The digest of the source's whole image.
    pub(super) root: Digest,
    /// How long it is.
    pub(super) length: u64,
    /// How much of it was not read, because a bitmap says that it has not changed.
    pub(super) spared: u64,
    /// The digest of the target's, and whether it was known without reading it.
    pub(super) there: (Digest, bool),
    /// The parts that differ, in order.
    pub(super) spans: Vec<Span>,
}

/// Has both sides compute the digests of their images, and finds what of the source's the target has not. Where the
/// target's is shorter, zeros are what it has behind its end.
pub(super) async fn difference(
    source: &mut Session,
    scan_source: &Request,
    target: &mut Session,
    scan_target: &Request,
) -> Result<Difference> {
    let (here, there) = tokio::try_join!(source.ask(scan_source), target.ask(scan_target))?;
    let Reply::Scanned { root, length, spared, .. } = here else { return Err(unexpected(&here)) };
    let Reply::Scanned { root: other, length: other_length, was_saved, .. } = there else {
        return Err(unexpected(&there));
    };
    let differs = root != other;
    let mut difference = Difference { root, length, spared, there: (other, was_saved), spans: Vec::new() };
    if differs {
        difference.spans = spans(source, length, target, other_length).await?;
    }
    Ok(difference)
}

/// Finds out what is missing in what the target has of an earlier attempt. The source is still the one that was scanned.
pub(super) async fn missing(source: &mut Session, found: &Difference, target: &mut Session) -> Result<Vec<Span>> {
    let there = target.ask(&Request::ScanPartial).await?;
    let Reply::Scanned { root, length, .. } = there else { return Err(unexpected(&there)) };
    match root == found.root {
        true => Ok(Vec::new()),
        false => spans(source, found.length, target, length).await,
    }
}

/// What of the image that the source has scanned is not in the one that the target has scanned, by their lengths.
async fn spans(source: &mut Session, length: u64, target: &mut Session, other_length: u64) -> Result<Vec<Span>> {
    let mut spans = Vec::new();
    let (ours, theirs) = tokio::try_join!(runs(source, &Request::Groups), runs(target, &Request::Groups))?;
    let groups: Vec<u64> = differing(0..groups_in(length), &ours, &theirs).collect();
    for groups in groups.chunks(AT_A_TIME) {
        let asked = |groups: Vec<u64>| Request::Leaves { groups };
        let known = groups.iter().copied().filter(|group| *group < groups_in(other_length)).collect();
        let (ask_ours, ask_theirs) = (asked(groups.to_vec()), asked(known));
        let (ours, theirs) = tokio::try_join!(runs(source, &ask_ours), runs(target, &ask_theirs))?;
        for group in groups {
            let leaves = group * GROUP_LEAVES..((group + 1) * GROUP_LEAVES).min(leaves_in(length));
            differing(leaves, &ours, &theirs).for_each(|leaf| add(&mut spans, leaf, length));
        }
    }
    Ok(spans)
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

/// By their numbers; those that are not there are zeros.
type Digests = BTreeMap<u64, Digest>;

/// In which of these numbers they differ.
fn differing<'a>(numbers: Range<u64>, ours: &'a Digests, theirs: &'a Digests) -> impl Iterator<Item = u64> + 'a {
    let of = |digests: &Digests, number| digests.get(&number).copied().unwrap_or(Digest::ZERO);
    numbers.filter(move |number| of(ours, *number) != of(theirs, *number))
}

/// The digests of an answer with their numbers.
async fn runs(session: &mut Session, request: &Request) -> Result<Digests> {
    session.output.say(request).await?;
    let most = match request {
        Request::Leaves { groups } => groups.len() as u64 * GROUP_LEAVES,
        _ => u64::MAX,
    };
    let mut all = Digests::new();
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
    fn what_is_not_named_is_zeros_on_either_side() {
        let digest = |n: u8| Digest::from_bytes([n; Digest::SIZE]);
        let ours = Digests::from([(1, digest(1)), (3, digest(3))]);
        let theirs = Digests::from([(0, digest(9)), (1, digest(1)), (3, digest(4)), (9, digest(5))]);
        assert_eq!(differing(0..5, &ours, &theirs).collect::<Vec<_>>(), [0, 3]);
    }

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
