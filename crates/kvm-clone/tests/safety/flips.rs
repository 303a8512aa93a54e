//! Bits that are flipped on the way or where they lie: each is found, and nothing with one gets a name.

use std::sync::Arc;
use std::time::Duration;

use kvm_core::ErrorKind;
use kvm_wire::FrameKind;

use crate::bench::{Dice, Extent, Place, noise, told, transfer};
use crate::track::Track;
use crate::way::{Fault, Leg};

/// One block and a part of one.
const LENGTH: u64 = 3 << 16;
const STALL: Duration = Duration::from_secs(30);

/// Where a bit may be flipped: blocks with all that stands before their data, and the digest of the whole where it is
/// said. Everything else that is said is guarded by the connection alone.
fn payloads(track: &Track, leg: Leg) -> Vec<(Leg, FrameKind, usize, usize, usize)> {
    let ends = track.frames.iter().skip(1).map(|frame| frame.0).chain([track.bytes]);
    let mut numbers = [0usize; 2];
    let mut places = Vec::new();
    for ((begin, kind), end) in track.frames.iter().zip(ends) {
        let (begin, end) = (usize::try_from(*begin).unwrap() + 5, usize::try_from(end).unwrap());
        let number = &mut numbers[usize::from(*kind == FrameKind::Block)];
        match kind {
            FrameKind::Block => places.push((leg, *kind, *number, 0, end - begin)),
            _ => {
                let text = String::from_utf8_lossy(&track.kept[begin..end]).into_owned();
                let key = "\"root\":\"";
                if let Some(at) = text.find(key).map(|at| at + key.len())
                    && text.as_bytes()[at..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count() == 64
                {
                    places.push((leg, *kind, *number, at, at + 64));
                }
            }
        }
        *number += 1;
    }
    places
}

/// A clean run, and what went over both ways.
async fn clean(image: &[u8]) -> (Track, Track) {
    let (here, there) = (Place::new(), Place::new());
    here.write("source", image);
    let (source, target) = (here.way().recording(), there.way().recording());
    transfer(&source, &target, false).await.unwrap();
    assert_eq!(there.names(), ["copy"]);
    (source.passed().from_helper, target.passed().to_helper)
}

/// The message with which all is read back. After it the copy gets its name, and the session is given back.
fn finish(to: &Track) -> usize {
    to.number_of(FrameKind::Message) - 3
}

#[tokio::test]
async fn every_bit_that_is_flipped_on_the_way_or_before_the_end_is_found() {
    let extent = Extent::asked_for();
    let mut dice = Dice::new(extent.seed);
    let image = noise(LENGTH, extent.seed);
    let (from, to) = clean(&image).await;
    let places = [payloads(&from, Leg::FromHelper), payloads(&to, Leg::ToHelper)].concat();
    assert!(places.iter().any(|place| place.1 == FrameKind::Message && place.0 == Leg::FromHelper), "{places:?}");
    assert!(places.iter().any(|place| place.1 == FrameKind::Message && place.0 == Leg::ToHelper), "{places:?}");
    let finish = finish(&to);
    let rounds = if extent.is_long { 1000 } else { 150 };
    let (mut on_the_way, mut at_rest, mut wrong) = (0, 0, Vec::new());
    let (here, there) = (Place::new(), Place::new());
    here.write("source", &image);
    for round in 0..2 * rounds {
        let is_at_rest = round % 2 == 1;
        let fault = if is_at_rest {
            let (partial, byte, bit) = (there.path("copy.partial"), dice.below(LENGTH), dice.below(8) as u8);
            Fault::Before { message: finish, act: Arc::new(move || Place::flip(&partial, byte, bit)) }
        } else {
            let (leg, kind, number, begin, end) = places[dice.below(places.len() as u64) as usize];
            let byte = begin + dice.below((end - begin) as u64) as usize;
            // A digit whose fifth bit is flipped is the same one, written in another way.
            let bit = dice.below(if kind == FrameKind::Message { 4 } else { 8 }) as u8;
            Fault::Flip { leg, kind, number, byte, bit }
        };
        let is_from_source = matches!(fault, Fault::Flip { leg: Leg::FromHelper, .. });
        let (source, target) = match is_from_source {
            true => (here.faulty(fault.clone(), STALL), there.way()),
            false => (here.way(), there.faulty(fault.clone(), STALL)),
        };
        let ended = transfer(&source, &target, false).await;
        let kind = ended.as_ref().err().map(kvm_core::Error::kind);
        // What cannot even be read is no block, which the helper calls a wrong input.
        let is_found = matches!(kind, Some(ErrorKind::Corrupt | ErrorKind::InvalidInput));
        match is_found && !there.names().contains(&"copy".to_owned()) {
            true if is_at_rest => at_rest += 1,
            true => on_the_way += 1,
            false => wrong.push(format!("{fault:?}: {ended:?}, {:?}", there.names())),
        }
        there.remove("copy");
        there.remove("copy.partial");
    }
    eprintln!("{}", wrong.join("\n"));
    told("R6 on the way", on_the_way, rounds, "flipped bits found, nothing published");
    told("R6 in the new image", at_rest, rounds, "flipped bits found, nothing published");
}

#[tokio::test]
async fn a_flipped_bit_is_repaired_by_the_next_attempt() {
    let image = noise(LENGTH, 7);
    let (here, there) = (Place::new(), Place::new());
    here.write("source", &image);
    let finish = finish(&clean(&image).await.1);
    let partial = there.path("copy.partial");
    let fault = Fault::Before { message: finish, act: Arc::new(move || Place::flip(&partial, 70_000, 3)) };
    transfer(&here.way(), &there.faulty(fault, STALL), false).await.unwrap_err();
    let again = transfer(&here.way(), &there.way(), true).await.unwrap();
    assert_eq!(again.data.get(), 1 << 16, "the damaged leaf alone is sent again");
    assert!(there.read("copy") == image);
}

#[tokio::test]
async fn clean_runs_raise_no_alarm() {
    let extent = Extent::asked_for();
    let rounds = if extent.is_long { 1000 } else { 50 };
    let (here, there) = (Place::new(), Place::new());
    let mut held = 0;
    for round in 0..rounds {
        // Lengths that end within a leaf, holes, and a good deal of nothing.
        let image = [noise(1 + (round * 7919) % LENGTH, round), vec![0; (round as usize * 31) % 70_000]].concat();
        here.write("source", &image);
        held += usize::from(transfer(&here.way(), &there.way(), false).await.is_ok() && there.read("copy") == image);
        there.remove("copy");
    }
    told("R6 clean runs", held, rounds as usize, "without an alarm");
}
