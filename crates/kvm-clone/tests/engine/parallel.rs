//! Several images on their way at a time.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use kvm_clone::{CloneSpec, Compress, Parallel, SyncSpec, plan_sync};
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{Catalogue, Direction, Hook, Moment, OpStatus, Plan, RunContext, Store as _, Verdict};
use kvm_core::{Bandwidth, Bytes, Clock as _, ErrorKind, Host, OnProgress, Progress, Reporter, Result, StepOutcome};
use kvm_mock::{Fault, Method};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::{Pair, picture, said};

/// What is written into the images, in MiB: the first is there first.
const WRITTEN: [(&str, usize); 3] = [("one", 2), ("two", 4), ("three", 6)];
/// The copy of the second.
const TWO: &str = "/var/lib/images/trio-clone-two.raw";
/// All of it, at one MiB per second.
const ALL: Duration = Duration::from_secs(12);

/// A machine with three disks, on two hosts with helpers.
async fn trio() -> Pair {
    let pair = Pair::with_helpers().await.unwrap();
    for (name, mib) in WRITTEN {
        pair.source.write_at(&format!("/images/{name}.raw"), 8 << 20, &content(name, mib)).unwrap();
    }
    pair
}

fn content(name: &str, mib: usize) -> Vec<u8> {
    // No block is like another one, and none is zeros.
    let line = |number: usize| format!("{name:>6} {number:>8}\n").into_bytes();
    (0..mib << 16).flat_map(line).collect()
}

/// So many at a time, at one MiB per second over all.
fn at_once(count: u8) -> CloneSpec {
    CloneSpec {
        parallel: Parallel::new(count).unwrap(),
        limit: Bandwidth::parse("1M").unwrap(),
        compression: Compress::Never,
        ..CloneSpec::default()
    }
}

async fn plan(pair: &Pair, count: u8) -> Plan {
    pair.plan("trio", &at_once(count)).await.unwrap().plan
}

async fn run(pair: &Pair, plan: Plan, reporter: &dyn Reporter, cancel: &CancellationToken) -> Result<()> {
    pair.executor().run(plan, RunContext { host: &pair.there, reporter, cancel }).await.map(drop)
}

fn assert_whole(pair: &Pair, begins: &str) {
    for (name, mib) in WRITTEN {
        let path = format!("/var/lib/images/{begins}{name}.raw");
        let there = pair.target.read_at(&path, 8 << 20, mib << 20).unwrap();
        assert!(there == content(name, mib), "{path}");
    }
}

async fn pictures(pair: &Pair) -> (String, String) {
    (picture(&pair.here, &pair.source).await.unwrap(), picture(&pair.there, &pair.target).await.unwrap())
}

/// How many steps were under way at the same time at most.
#[derive(Default)]
struct Most {
    now: BTreeSet<usize>,
    most: usize,
}

impl Most {
    fn note(&mut self, progress: &Progress) {
        match progress {
            Progress::Step { step, outcome: StepOutcome::Started, .. } => _ = self.now.insert(*step),
            Progress::Step { step, .. } => _ = self.now.remove(step),
            _ => {}
        }
        self.most = self.most.max(self.now.len());
    }
}

#[tokio::test(start_paused = true)]
async fn as_many_are_under_way_as_were_asked_for_and_all_keep_one_limit_together() {
    for (count, expected) in [(1, 1), (2, 2), (3, 3), (8, 3)] {
        let pair = trio().await;
        let plan = plan(&pair, count).await;
        let (seen, begun) = (Mutex::new(Most::default()), Instant::now());
        let reporter = OnProgress(|progress: &Progress| seen.lock().unwrap().note(progress));
        run(&pair, plan, &reporter, &CancellationToken::new()).await.unwrap();
        let took = begun.elapsed();
        assert!(took >= ALL.mul_f64(0.95) && took <= ALL.mul_f64(1.05), "{count} at a time: {took:?}");
        assert_eq!(seen.lock().unwrap().most, expected, "{count} at a time");
        assert_whole(&pair, "trio-clone-");
        pair.assert_nothing_open().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_that_goes_wrong_stops_the_others_and_nothing_is_left() {
    let pair = trio().await;
    let (plan, before, begun) = (plan(&pair, 3).await, pictures(&pair).await, Instant::now());
    let told = Mutex::new(0);
    let reporter = OnProgress(|progress: &Progress| {
        if let Progress::Moved { .. } = progress {
            let mut told = told.lock().unwrap();
            *told += 1;
            // All are under way: each has told of its first block.
            if *told == 3 {
                pair.target.inject(Fault::next(Method::Helper, ErrorKind::NoSpace));
            }
        }
    });
    let error = run(&pair, plan, &reporter, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{}", said(&error));
    assert!(begun.elapsed() < ALL.mul_f64(0.9), "{:?}", begun.elapsed());
    assert_eq!(pictures(&pair).await, before);
    pair.assert_nothing_open().await;
    // The journal tells why, not what became of the others because of it.
    let [view] = &pair.store.finished().await.unwrap()[..] else { panic!("one operation") };
    assert_eq!((view.status, view.error.as_ref().unwrap().kind), (OpStatus::Undone, ErrorKind::NoSpace));
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_has_made_stays_and_the_others_go() {
    // Before it begins; while they are under way.
    for is_late in [false, true] {
        let pair = trio().await;
        let plan = plan(&pair, 3).await;
        let path = Path::new(TWO);
        let make = async || pair.there.transport.write_file(path, b"not ours", 0o600).await.unwrap();
        let cancel = CancellationToken::new();
        let running = run(&pair, plan, &kvm_core::Silent, &cancel);
        let (ended, ()) = tokio::join!(running, async {
            if is_late {
                pair.clock.sleep(Duration::from_secs(3)).await;
            }
            make().await;
        });
        let error = ended.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{}", said(&error));
        let files = pair.target.files().unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), [TWO], "{is_late}");
        assert_eq!(pair.target.read_at(TWO, 0, 8).unwrap(), b"not ours");
        pair.assert_nothing_open().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_to_cancel_stops_all_and_nothing_is_left() {
    let pair = trio().await;
    let (plan, before) = (plan(&pair, 2).await, pictures(&pair).await);
    let cancel = CancellationToken::new();
    let running = run(&pair, plan, &kvm_core::Silent, &cancel);
    let (ended, asked) = tokio::join!(running, async {
        pair.clock.sleep(Duration::from_secs(5)).await;
        cancel.cancel();
        Instant::now()
    });
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!(pictures(&pair).await, before);
    pair.assert_nothing_open().await;
}

/// The process dies when a step is done, as far as the journal knows it is not.
#[derive(Debug)]
struct DiesAfter(usize);

#[async_trait]
impl Hook for DiesAfter {
    async fn at(&self, moment: Moment, step: usize, _: &str) -> Verdict {
        if moment == Moment::After && step == self.0 { Verdict::Die } else { Verdict::Continue }
    }
}

#[tokio::test(start_paused = true)]
async fn a_resume_skips_what_is_done_and_sends_of_the_others_what_is_missing() {
    let pair = trio().await;
    let plan = plan(&pair, 3).await;
    let (cancel, begun) = (CancellationToken::new(), Instant::now());
    let cx = RunContext { host: &pair.there, reporter: &kvm_core::Silent, cancel: &cancel };
    let dying = pair.executor().with_hook(Arc::new(DiesAfter(0)));
    dying.run(plan, cx).await.unwrap_err();
    let first = begun.elapsed();
    let [view] = &pair.store.unfinished().await.unwrap()[..] else { panic!("one operation") };
    assert_eq!(view.status, OpStatus::Interrupted);
    let begun = Instant::now();
    pair.executor().finish(&view.header.id, Direction::Forward, cx).await.unwrap();
    let second = begun.elapsed();
    // At one MiB per second each block more would be seen; what was under way is sent again.
    let both = first + second;
    assert!(both <= ALL + Duration::from_secs(3), "{first:?} and {second:?}");
    assert!(first > Duration::from_secs(4) && second > Duration::from_secs(3), "{first:?} and {second:?}");
    assert_whole(&pair, "trio-clone-");
    pair.assert_nothing_open().await;
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_does_not_say_how_many_is_finished_one_after_the_other() {
    let pair = trio().await;
    let plan = plan(&pair, 3).await;
    for step in plan.steps.iter().filter(|step| step.name() == "transfer-image") {
        let mut data = step.to_json().unwrap();
        assert_eq!(step.at_once().get(), 3);
        assert!(data.as_object_mut().unwrap().remove("at_once").is_some());
        assert_eq!(kvm_clone::decode(step.name(), &data).unwrap().at_once().get(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sync_sends_several_images_at_a_time_and_what_changed_of_them_as_well() {
    let pair = trio().await;
    let spec = || {
        let CloneSpec { parallel, limit, compression, .. } = at_once(3);
        SyncSpec { parallel, limit, compression, ..SyncSpec::at(pair.clock.now()) }
    };
    let plan = async || plan_sync(&pair.here, &pair.there, &pair.vm("trio").await, &spec(), &pair.cx()).await.unwrap();
    let (seen, sync, begun) = (Mutex::new(Most::default()), plan().await, Instant::now());
    let reporter = OnProgress(|progress: &Progress| seen.lock().unwrap().note(progress));
    run(&pair, sync.plan, &reporter, &CancellationToken::new()).await.unwrap();
    let took = begun.elapsed();
    assert!(took >= ALL.mul_f64(0.95) && took <= ALL.mul_f64(1.05), "{took:?}");
    assert_eq!(seen.lock().unwrap().most, 3);
    let images = sync.tally.images();
    assert_eq!(images.iter().map(|image| image.disk.as_str()).collect::<Vec<_>>(), ["vda", "vdb", "vdc"]);
    for (image, (_, mib)) in images.iter().zip(WRITTEN) {
        assert!(image.moved.changed >= Bytes::from_mib(mib as u64), "{images:?}");
    }
    assert_whole(&pair, "");
    // What changed goes as the whole did; simulated hosts apply nothing, so that is for real ones to show.
    let stages = plan().await.plan.steps;
    let stages: Vec<_> = stages.iter().filter(|step| step.name() == "stage-image").collect();
    assert_eq!(stages.iter().map(|step| step.at_once().get()).collect::<Vec<_>>(), [3; 3]);
}

/// A clone with several images on their way, whose every step is made to fail.
struct Cloning(tokio::sync::Mutex<Option<Pair>>);

#[async_trait]
impl Scenario for Cloning {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let pair = Pair::with_helpers().await?;
        let spec = CloneSpec { parallel: Parallel::new(2)?, ..CloneSpec::default() };
        let plan = pair.plan("trio", &spec).await?.plan;
        let host = pair.there.clone();
        *self.0.lock().await = Some(pair);
        Ok((host, plan))
    }

    async fn inventory(&self, _: &Host) -> Result<String> {
        let pair = self.0.lock().await;
        let (here, there) = pictures(pair.as_ref().unwrap()).await;
        Ok(here + &there)
    }

    fn catalogue(&self) -> Catalogue {
        self.0.try_lock().unwrap().as_ref().unwrap().catalogue()
    }
}

#[tokio::test(start_paused = true)]
async fn a_clone_of_several_images_at_a_time_survives_a_failure_at_every_step() {
    assert_eq!(check(&Cloning(tokio::sync::Mutex::new(None))).await.unwrap().steps, 4);
}
