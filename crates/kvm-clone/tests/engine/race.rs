//! Several who want the same name at the same moment: one gets it, and nothing of the others is left.

#![expect(clippy::print_stdout, reason = "what was found is for people, and for the script that adds it up")]

use std::sync::Arc;

use async_trait::async_trait;
use kvm_clone::CloneSpec;
use kvm_core::op::{Executor, Hook, MemoryStore, Moment, Plan, RunContext, Store as _, Verdict};
use kvm_core::{Entropy as _, ErrorKind, Result, SeededEntropy, Silent};
use kvm_vm::{DeleteOptions, Volumes, plan_delete};
use tokio_util::sync::CancellationToken;

use crate::support::{Pair, WRITTEN, picture, said};

/// Lets others go first, now and then.
#[derive(Debug)]
struct Hesitates(SeededEntropy);

#[async_trait]
impl Hook for Hesitates {
    async fn at(&self, _: Moment, _: usize, _: &str) -> Verdict {
        for _ in 0..self.0.uuid().as_bytes()[0] % 8 {
            tokio::task::yield_now().await;
        }
        Verdict::Continue
    }
}

/// A program of its own: with its own journals and locks, or with those of the others.
struct Contestant {
    executor: Executor,
    store: MemoryStore,
    plan: Plan,
    patience: u8,
}

async fn contestant(pair: &Pair, seed: u64, store: MemoryStore, plan: Plan) -> Contestant {
    let ids = Arc::new(SeededEntropy::new(seed));
    let executor = Executor::new(Arc::new(store.clone()), pair.catalogue(), "test")
        .with_time(pair.clock.clone(), ids.clone())
        .with_hook(Arc::new(Hesitates(SeededEntropy::new(seed + 1))));
    Contestant { executor, store, plan, patience: ids.uuid().as_bytes()[1] % 16 }
}

/// All at once. How each ended, in their order.
async fn race(pair: &Arc<Pair>, contestants: Vec<Contestant>) -> Vec<(Result<()>, MemoryStore)> {
    let run = |Contestant { executor, store, plan, patience }: Contestant| {
        let pair = Arc::clone(pair);
        tokio::spawn(async move {
            for _ in 0..patience {
                tokio::task::yield_now().await;
            }
            let cancel = CancellationToken::new();
            let host = if plan.kind == "clone.vm" { &pair.there } else { &pair.here };
            let ran = executor.run(plan, RunContext { host, reporter: &Silent, cancel: &cancel }).await;
            (ran.map(drop), store)
        })
    };
    let mut ended = Vec::new();
    for task in contestants.into_iter().map(run).collect::<Vec<_>>() {
        ended.push(task.await.unwrap());
    }
    for (_, store) in &ended {
        assert_eq!(store.unfinished().await.unwrap(), [], "an operation is left open");
    }
    ended
}

/// Whether the long form is asked for, and from where chance comes.
#[expect(clippy::disallowed_methods, reason = "whoever runs the tests says so in no other way")]
pub(crate) fn extent() -> (bool, u64) {
    let number = |text: String| text.parse().unwrap_or_else(|e| panic!("KVM_PROOF_SEED: {e}: {text}"));
    let is_long = std::env::var("KVM_PROOF").is_ok_and(|form| form == "long");
    (is_long, std::env::var("KVM_PROOF_SEED").map_or(1, number))
}

fn rounds() -> (u64, u64) {
    let (is_long, seed) = extent();
    (if is_long { 200 } else { 40 }, seed)
}

fn spec() -> CloneSpec {
    CloneSpec { name: Some("twin".parse().unwrap()), ..CloneSpec::default() }
}

#[tokio::test(start_paused = true)]
async fn of_several_clones_to_one_name_exactly_one_wins() {
    let (rounds, seed) = rounds();
    let (mut held, mut by_files, mut by_locks) = (0, 0, 0);
    for round in 0..rounds {
        let pair = Arc::new(match round % 2 {
            0 => Pair::with_helpers().await.unwrap(),
            _ => Pair::new().await.unwrap(),
        });
        let before = picture(&pair.here, &pair.source).await.unwrap();
        let (count, shared) = (2 + (round + seed) % 7, MemoryStore::new());
        let mut contestants = Vec::new();
        for number in 0..count {
            // Of one original, or of several; from one program's state, or from several ones'.
            let vm = if round % 3 == 0 && number % 2 == 1 { "top" } else { "web" };
            let store = if round % 4 < 2 { shared.clone() } else { MemoryStore::new() };
            let plan = pair.plan(vm, &spec()).await.unwrap().plan;
            contestants.push(contestant(&pair, seed * 1000 + round * 10 + number, store, plan).await);
        }
        let ended = race(&pair, contestants).await;
        let won = ended.iter().filter(|(end, _)| end.is_ok()).count();
        for error in ended.iter().filter_map(|(end, _)| end.as_ref().err()) {
            match error.kind() {
                ErrorKind::AlreadyExists => by_files += 1,
                ErrorKind::Busy => by_locks += 1,
                _ => panic!("round {round}: {}", said(error)),
            }
        }
        // What is there is the winner's, and all of it.
        let twin = kvm_vm::resolve(&pair.there, "twin").await.unwrap();
        let files: Vec<_> = pair.target.files().unwrap().into_keys().collect();
        let is_of_top = files == ["/var/lib/images/twin.qcow2"];
        assert!(is_of_top || files == ["/var/lib/images/twin-data.raw", "/var/lib/images/twin.qcow2"], "{files:?}");
        for path in files.iter().filter(|_| !is_of_top) {
            assert_eq!(pair.target.read_at(path, WRITTEN.0, WRITTEN.1.len()).unwrap(), WRITTEN.1, "{path}");
        }
        assert_eq!(twin.name.as_str(), "twin");
        assert_eq!(picture(&pair.here, &pair.source).await.unwrap(), before, "round {round}");
        held += u64::from(won == 1);
    }
    println!("PROOF R11 one name {held}/{rounds} exactly one of 2 to 8 won, nothing of the others was left");
    assert_eq!(held, rounds);
    assert!(by_files > 0 && by_locks > 0, "{by_files} lost for a file, {by_locks} for a lock");
}

#[tokio::test(start_paused = true)]
async fn a_clone_and_the_deletion_of_its_original_are_one_after_the_other() {
    let (rounds, seed) = rounds();
    let (mut held, mut cloned, mut deleted) = (0, 0, 0);
    for round in 0..rounds {
        let pair = Arc::new(Pair::with_helpers().await.unwrap());
        let empty = picture(&pair.there, &pair.target).await.unwrap();
        let clone = pair.plan("web", &spec()).await.unwrap().plan;
        let options = DeleteOptions { volumes: Volumes::Delete, ..DeleteOptions::default() };
        let delete = plan_delete(&pair.here, &pair.vm("web").await, &options).await.unwrap();
        let store = MemoryStore::new();
        let mut contestants = Vec::new();
        for (number, plan) in [clone, delete].into_iter().enumerate() {
            contestants.push(contestant(&pair, seed * 1000 + round * 10 + number as u64, store.clone(), plan).await);
        }
        let ended = race(&pair, contestants).await;
        let is_there = kvm_vm::resolve(&pair.there, "twin").await.is_ok();
        assert_eq!(is_there, ended[0].0.is_ok(), "round {round}");
        match is_there {
            true => {
                let data = "/var/lib/images/twin-data.raw";
                assert_eq!(pair.target.read_at(data, WRITTEN.0, WRITTEN.1.len()).unwrap(), WRITTEN.1);
            }
            false => assert_eq!(picture(&pair.there, &pair.target).await.unwrap(), empty, "round {round}"),
        }
        assert_eq!(kvm_vm::resolve(&pair.here, "web").await.is_err(), ended[1].0.is_ok(), "round {round}");
        assert!(is_there || ended[1].0.is_ok(), "round {round}: nobody got through");
        held += u64::from(ended.iter().all(|(end, _)| {
            end.as_ref().err().is_none_or(|e| matches!(e.kind(), ErrorKind::Busy | ErrorKind::NotFound))
        }));
        cloned += u64::from(is_there);
        deleted += u64::from(ended[1].0.is_ok());
    }
    println!("PROOF R11 clone and delete {held}/{rounds} whole or nothing: {cloned} cloned, {deleted} deleted");
    assert_eq!(held, rounds);
    assert!(cloned > 0 && deleted > 0);
}
