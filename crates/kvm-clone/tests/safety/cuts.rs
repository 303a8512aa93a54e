//! The link is cut at any byte: what has arrived is not sent again, and what is there in the end is whole.

use std::fs::File;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use kvm_core::{ErrorKind, Progress, Reporter, Silent};
use kvm_wire::FrameKind;

use crate::bench::{BLOCK, Extent, LENGTH, Place, noise, told, transfer, transfer_telling, update_telling};
use crate::track::Track;
use crate::way::{End, Fault, Leg};

/// The silence after which a way is taken for cut; what is set in earnest is longer.
const STALL: Duration = Duration::from_millis(250);
const ENDS: [End; 3] = [End::Reset, End::BlackHole, End::Close];

/// Twenty-five places in what goes over a way: in the first bytes, around frames, in the middle, around the last ones.
fn offsets(track: &Track) -> Vec<u64> {
    let of = |kind: FrameKind| track.frames.iter().filter(move |frame| frame.1 == kind).map(|frame| frame.0);
    let blocks: Vec<u64> = of(FrameKind::Block).collect();
    let mut messages: Vec<u64> = of(FrameKind::Message).collect();
    // The greeting at the end gives the session back: all is done by then, and whether it arrives changes nothing.
    let (all, last) = (messages.pop().unwrap(), *messages.last().unwrap());
    let (first, second, end) = (blocks[0], blocks[1], *blocks.last().unwrap());
    let behind = messages.iter().copied().find(|at| *at > end).unwrap_or(all);
    let mut offsets = vec![0, 1, 2, 4, 5, 6, 20];
    // The message before the blocks, the first block's header, its fixed part, its digests, its data.
    offsets.extend([first - 1, first, first + 3, first + 5, first + 11, first + 200, first + BLOCK / 2]);
    offsets.extend([second - 1, second, second + 1, all / 2, all / 2 + 1, end + BLOCK / 2]);
    offsets.extend([behind - 1, behind + 2, last + 3, all - 1, all]);
    assert_eq!(offsets.len(), 25);
    offsets
}

/// Cuts one way at one place, and goes on. Says what is wrong.
async fn cut(leg: Leg, at: u64, end: End, image: &[u8]) -> Result<(), String> {
    let (here, there) = (Place::new(), Place::new());
    here.write("source", image);
    let fault = Fault::Cut { leg, at, end };
    let (source, target) = match leg {
        Leg::ToHelper => (here.way(), there.faulty(fault, STALL)),
        Leg::FromHelper => (here.faulty(fault, STALL), there.way()),
    };
    let begun = Instant::now();
    let ended = transfer(&source, &target, false).await;
    let took = begun.elapsed();
    if here.read("source") != image {
        return Err("the source is another one".into());
    }
    let kind = ended.as_ref().err().map(kvm_core::Error::kind);
    let expected = if end == End::BlackHole { ErrorKind::Timeout } else { ErrorKind::Unavailable };
    // What the source says last can be all that was to be said.
    let is_last = leg == Leg::FromHelper && at == source.passed().from_helper.bytes && kind.is_none();
    if kind != Some(expected) && !is_last {
        return Err(format!("it ended with {ended:?}"));
    }
    if took > STALL * 4 + Duration::from_secs(5) {
        return Err(format!("it took {took:?} to notice"));
    }
    // Nothing is published before its last question is through.
    let is_published = there.names().contains(&"copy".to_owned());
    let asked = target.passed().to_helper;
    if is_published {
        let is_asked = is_last || (leg == Leg::ToHelper && at == asked.bytes && asked.blocks == LENGTH / BLOCK);
        return match is_asked && there.read("copy") == image {
            true => Ok(()),
            false => Err("something was published too early".into()),
        };
    }
    let delivered = asked.blocks * BLOCK;
    let again = transfer(&here.way(), &there.way(), true).await.map_err(|e| format!("it does not go on: {e:?}"))?;
    let sent_again = (again.data.get() + delivered).saturating_sub(LENGTH);
    if sent_again >= BLOCK {
        return Err(format!("{sent_again} bytes that had arrived were sent again"));
    }
    if there.names() != ["copy"] || there.read("copy") != image {
        return Err("the copy is not whole".into());
    }
    Ok(())
}

#[tokio::test]
async fn cut_anywhere_in_any_way_a_transfer_goes_on_where_it_was() {
    let extent = Extent::asked_for();
    let image = noise(LENGTH, extent.seed);
    let (here, there) = (Place::new(), Place::new());
    here.write("source", &image);
    let (source, target) = (here.way(), there.way());
    transfer(&source, &target, false).await.unwrap();
    for (leg, track, name) in [
        (Leg::ToHelper, target.passed().to_helper, "R7 the way to the target"),
        (Leg::FromHelper, source.passed().from_helper, "R7 the way from the source"),
    ] {
        let mut wrong = Vec::new();
        let offsets = offsets(&track);
        // The short form cuts each of the ways in every place, in one of the three manners.
        let of = |number: usize| if extent.is_long { ENDS.to_vec() } else { vec![ENDS[number % 3]] };
        let cases: Vec<_> =
            offsets.iter().enumerate().flat_map(|(number, at)| of(number).into_iter().map(|end| (*at, end))).collect();
        for (at, end) in &cases {
            if let Err(why) = cut(leg, *at, *end, &image).await {
                wrong.push(format!("{end:?} at {at} of {} {leg:?}: {why}", track.bytes));
            }
        }
        eprintln!("{}", wrong.join("\n"));
        told(name, cases.len() - wrong.len(), cases.len(), "cuts noticed, gone on, nothing twice, whole in the end");
    }
}

/// Lets go of a file as soon as it is said that somebody waits for it.
#[derive(Debug)]
struct LetsGo(Mutex<Option<File>>);

impl Reporter for LetsGo {
    fn report(&self, progress: &Progress) {
        if let Progress::Warning { message } = progress {
            assert!(message.contains("is waited for"), "{message}");
            drop(self.0.lock().unwrap().take());
        }
    }
}

/// The helper on a host that was cut off holds the partial file until it notices that.
#[tokio::test]
async fn whoever_goes_on_waits_for_the_helper_of_the_attempt_before() {
    let image = noise(LENGTH, 1);
    let (here, there) = (Place::new(), Place::new());
    here.write("source", &image);
    let fault = Fault::Cut { leg: Leg::ToHelper, at: LENGTH / 2, end: End::Reset };
    transfer(&here.way(), &there.faulty(fault, STALL), false).await.unwrap_err();
    let held = File::open(there.path("copy.partial")).unwrap();
    held.lock().unwrap();
    // One that stays is another program's.
    let refused = transfer(&here.way(), &there.patient(STALL), true).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Busy);
    let lets_go = LetsGo(Mutex::new(Some(held)));
    let again = transfer_telling(&here.way(), &there.way(), true, &lets_go).await.unwrap();
    assert!(lets_go.0.lock().unwrap().is_none(), "nobody was told");
    assert!(again.data.get() < LENGTH, "all of it was sent again");
    assert_eq!(there.read("copy"), image);
}

/// What changed of an image waits beside its copy, held by the helper that was cut off; the copy is what it was.
#[tokio::test]
async fn an_update_that_was_cut_goes_on_once_the_helper_before_lets_go_and_sends_the_rest() {
    let (old, new) = (noise(LENGTH, 1), noise(LENGTH, 2));
    for (at, end) in [(BLOCK + 5000, End::Reset), (LENGTH / 2, End::Close), (LENGTH - BLOCK, End::BlackHole)] {
        let (here, there) = (Place::new(), Place::new());
        here.write("source", &new);
        there.write("copy", &old);
        let cut = there.faulty(Fault::Cut { leg: Leg::ToHelper, at, end }, STALL);
        update_telling(&here.way(), &cut, false, &Silent).await.unwrap_err();
        let delivered = cut.passed().to_helper.blocks * BLOCK;
        assert!(delivered > 0 && there.read("copy") == old, "{end:?} at {at}: {delivered}");
        let held = File::open(there.path("copy.sync")).unwrap();
        held.lock().unwrap();
        let refused = update_telling(&here.way(), &there.patient(STALL), true, &Silent).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Busy, "{end:?} at {at}");
        let lets_go = LetsGo(Mutex::new(Some(held)));
        let again = update_telling(&here.way(), &there.way(), true, &lets_go).await.unwrap();
        assert!(lets_go.0.lock().unwrap().is_none(), "nobody was told");
        let sent_again = (again.wire.get() + delivered).saturating_sub(LENGTH);
        assert!(sent_again < BLOCK, "{end:?} at {at}: {sent_again} bytes that had arrived were sent again");
        assert!(there.names() == ["copy"] && there.read("copy") == new, "{end:?} at {at}: {:?}", there.names());
    }
}
