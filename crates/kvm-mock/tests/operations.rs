//! What operations promise, with steps that put marks into a little world.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use async_trait::async_trait;
use kvm_core::op::template::{Scenario, check};
use kvm_core::op::{
    Already, Catalogue, Direction, Executor, Hook, LockKey, MemoryStore, Moment, OpStatus, Plan, PlanLine, Probe,
    RunContext, Step, StepContext, Store, Verdict,
};
use kvm_core::{Error, ErrorKind, Host, Progress, Reporter, Result, SeededEntropy, Silent, SystemClock, VmId};
use kvm_mock::Mock;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// Marks by name, and how often each was put.
type Marks = Arc<Mutex<BTreeMap<String, u32>>>;

/// Where steps that come out of a journal find their world again.
static WORLDS: LazyLock<Mutex<HashMap<u64, Marks>>> = LazyLock::new(Mutex::default);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Mark {
    world: u64,
    name: String,
    habit: Habit,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Habit {
    Good,
    Fine,
    ForgetsToUndo,
    CountsUndos,
    WaitsForCancel,
}

impl Mark {
    fn marks(&self) -> Marks {
        WORLDS.lock().unwrap_or_else(PoisonError::into_inner)[&self.world].clone()
    }
}

#[async_trait]
impl Step for Mark {
    fn name(&self) -> &'static str {
        "mark"
    }

    fn title(&self) -> String {
        format!("mark {}", self.name)
    }

    fn to_json(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|e| Error::internal("no JSON").with_source(e))
    }

    fn already(&self) -> Already {
        if self.habit == Habit::Fine { Already::Fine } else { Already::Conflict }
    }

    async fn probe(&self, _: &StepContext<'_>) -> Result<Probe> {
        Ok(if self.marks().lock().unwrap().contains_key(&self.name) { Probe::Done } else { Probe::Pending })
    }

    async fn apply(&self, cx: &StepContext<'_>) -> Result<()> {
        if self.habit == Habit::WaitsForCancel {
            cx.cancel.cancelled().await;
            return Err(Error::new(ErrorKind::Cancelled, "gave up waiting"));
        }
        self.marks().lock().unwrap().insert(self.name.clone(), 1);
        Ok(())
    }

    async fn undo(&self, _: &StepContext<'_>) -> Result<()> {
        let marks = self.marks();
        let mut marks = marks.lock().unwrap();
        match self.habit {
            Habit::ForgetsToUndo => {}
            Habit::CountsUndos => *marks.entry("undos".into()).or_default() += 1,
            _ => drop(marks.remove(&self.name)),
        }
        Ok(())
    }
}

fn decode(_: &str, data: &Value) -> Result<Box<dyn Step>> {
    let mark: Mark = serde_json::from_value(data.clone()).map_err(|e| Error::internal("not a mark").with_source(e))?;
    Ok(Box::new(mark))
}

fn catalogue() -> Catalogue {
    Catalogue::new().with("toy.", decode)
}

/// One world, its host and its journals.
struct Toy {
    world: u64,
    marks: Marks,
    host: Host,
    store: MemoryStore,
}

impl Toy {
    fn new() -> Self {
        let marks = Marks::default();
        let mut worlds = WORLDS.lock().unwrap_or_else(PoisonError::into_inner);
        let world = worlds.len() as u64;
        worlds.insert(world, marks.clone());
        let host = Mock::empty(Arc::new(SystemClock)).unwrap().host();
        Self { world, marks, host, store: MemoryStore::new() }
    }

    fn plan(&self, names: &[(&str, Habit)], reversible: usize) -> Plan {
        let mark = |&(name, habit): &(&str, Habit)| Mark { world: self.world, name: name.into(), habit };
        Plan {
            kind: "toy.mark",
            title: "mark".into(),
            target: "mock:///empty".into(),
            locks: vec![self.key()],
            lines: vec![PlanLine::new("put", "mark", "all")],
            steps: names.iter().map(|m| Box::new(mark(m)) as Box<dyn Step>).collect(),
            reversible,
        }
    }

    fn key(&self) -> LockKey {
        let capabilities = serde_json::json!("mock:///empty");
        LockKey {
            host: serde_json::from_value(capabilities).unwrap(),
            vm: VmId::parse("8fbf2b8e-3b3c-4b1e-9a51-000000000001").unwrap(),
        }
    }

    fn executor(&self) -> Executor {
        Executor::new(Arc::new(self.store.clone()), catalogue(), "test")
    }

    fn dying(&self, moment: Moment, step: usize) -> Executor {
        let entropy = Arc::new(SeededEntropy::new(7));
        self.executor().with_time(Arc::new(SystemClock), entropy).with_hook(Arc::new(DiesAt(moment, step)))
    }

    async fn run(&self, executor: &Executor, plan: Plan) -> Result<kvm_core::op::Outcome> {
        let cancel = CancellationToken::new();
        executor.run(plan, RunContext { host: &self.host, reporter: &Silent, cancel: &cancel }).await
    }

    async fn finish(&self, id: &kvm_core::op::OpId, direction: Direction) -> Result<kvm_core::op::Outcome> {
        let cancel = CancellationToken::new();
        let cx = RunContext { host: &self.host, reporter: &Silent, cancel: &cancel };
        self.executor().finish(id, direction, cx).await
    }

    fn names(&self) -> Vec<String> {
        self.marks.lock().unwrap().keys().cloned().collect()
    }
}

#[derive(Debug)]
struct DiesAt(Moment, usize);

#[async_trait]
impl Hook for DiesAt {
    async fn at(&self, moment: Moment, step: usize, _: &str) -> Verdict {
        if (moment, step) == (self.0, self.1) { Verdict::Die } else { Verdict::Continue }
    }
}

const ABC: [(&str, Habit); 3] = [("a", Habit::Good), ("b", Habit::Good), ("c", Habit::Good)];

#[tokio::test]
async fn a_plan_that_succeeds_does_every_step_and_closes_its_journal() {
    let toy = Toy::new();
    let outcome = toy.run(&toy.executor(), toy.plan(&ABC, 3)).await.unwrap();
    assert_eq!(toy.names(), ["a", "b", "c"]);
    assert_eq!(toy.store.view(&outcome.operation).await.unwrap().status, OpStatus::Succeeded);
    assert!(toy.store.unfinished().await.unwrap().is_empty());
    assert_eq!(toy.finish(&outcome.operation, Direction::Back).await.unwrap_err().kind(), ErrorKind::InvalidState);
}

#[tokio::test]
async fn what_was_there_before_is_a_conflict_and_is_never_undone() {
    let toy = Toy::new();
    toy.marks.lock().unwrap().insert("b".into(), 9);
    let error = toy.run(&toy.executor(), toy.plan(&ABC, 3)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(*toy.marks.lock().unwrap(), BTreeMap::from([("b".into(), 9)]));
}

#[tokio::test]
async fn what_may_be_there_before_is_skipped_and_never_undone() {
    let toy = Toy::new();
    toy.marks.lock().unwrap().insert("a".into(), 9);
    let steps = [("a", Habit::Fine), ("b", Habit::Good), ("b", Habit::Good)];
    assert_eq!(toy.run(&toy.executor(), toy.plan(&steps, 3)).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(*toy.marks.lock().unwrap(), BTreeMap::from([("a".into(), 9)]));
}

#[tokio::test]
async fn a_cancel_before_the_point_of_no_return_undoes_everything() {
    let toy = Toy::new();
    let plan = toy.plan(&[("a", Habit::Good), ("b", Habit::WaitsForCancel)], 2);
    let cancel = CancellationToken::new();
    let canceller = CancelsAt { token: cancel.clone(), step: 1 };
    let cx = RunContext { host: &toy.host, reporter: &canceller, cancel: &cancel };
    assert_eq!(toy.executor().run(plan, cx).await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(toy.names().is_empty());
    assert_eq!(toy.store.finished().await.unwrap()[0].status, OpStatus::Cancelled);
}

#[tokio::test]
async fn a_cancel_reaches_the_step_that_is_the_point_of_no_return_as_long_as_it_has_not_happened() {
    let toy = Toy::new();
    let plan = toy.plan(&[("a", Habit::Good), ("b", Habit::WaitsForCancel)], 1);
    let cancel = CancellationToken::new();
    let canceller = CancelsAt { token: cancel.clone(), step: 1 };
    let cx = RunContext { host: &toy.host, reporter: &canceller, cancel: &cancel };
    assert_eq!(toy.executor().run(plan, cx).await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(toy.names().is_empty());
    assert_eq!(toy.store.finished().await.unwrap()[0].status, OpStatus::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn another_process_can_ask_for_the_cancel() {
    let toy = Toy::new();
    let plan = toy.plan(&[("a", Habit::Good), ("b", Habit::WaitsForCancel)], 2);
    let executor = toy.executor();
    let run = toy.run(&executor, plan);
    let ask = async {
        // The journal stands as soon as the first step is polled.
        tokio::task::yield_now().await;
        let id = toy.store.unfinished().await.unwrap()[0].header.id.clone();
        toy.store.request_cancel(&id).await.unwrap();
    };
    let (result, ()) = tokio::join!(run, ask);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(toy.names().is_empty());
}

#[tokio::test]
async fn a_cancel_after_the_point_of_no_return_does_not_stop_the_rest() {
    let toy = Toy::new();
    let cancel = CancellationToken::new();
    let canceller = CancelsAt { token: cancel.clone(), step: 1 };
    let cx = RunContext { host: &toy.host, reporter: &canceller, cancel: &cancel };
    toy.executor().run(toy.plan(&ABC, 1), cx).await.unwrap();
    assert_eq!(toy.names(), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_second_operation_on_the_same_machine_is_busy() {
    let toy = Toy::new();
    let plan = toy.plan(&[("a", Habit::WaitsForCancel)], 1);
    let cancel = CancellationToken::new();
    let (executor, reporter) = (toy.executor(), Silent);
    let cx = RunContext { host: &toy.host, reporter: &reporter, cancel: &cancel };
    let other = async {
        tokio::task::yield_now().await;
        let error = toy.run(&executor, toy.plan(&ABC, 3)).await.unwrap_err();
        let id = toy.store.unfinished().await.unwrap()[0].header.id.clone();
        assert!(error.detail().unwrap().contains(id.as_str()), "{error:?}");
        assert_eq!(toy.finish(&id, Direction::Back).await.unwrap_err().kind(), ErrorKind::Busy);
        cancel.cancel();
        error.kind()
    };
    let (first, second) = tokio::join!(executor.run(plan, cx), other);
    assert_eq!((first.unwrap_err().kind(), second), (ErrorKind::Cancelled, ErrorKind::Busy));
}

#[tokio::test]
async fn the_next_operation_undoes_an_interrupted_one_before_its_point_of_no_return() {
    let toy = Toy::new();
    toy.run(&toy.dying(Moment::After, 1), toy.plan(&ABC, 3)).await.unwrap_err();
    assert_eq!(toy.names(), ["a", "b"]);
    assert_eq!(toy.store.unfinished().await.unwrap()[0].status, OpStatus::Interrupted);
    let outcome = toy.run(&toy.executor(), toy.plan(&[("d", Habit::Good)], 1)).await.unwrap();
    assert_eq!(outcome.recovered.iter().map(|(_, status)| *status).collect::<Vec<_>>(), [OpStatus::Undone]);
    assert_eq!(toy.names(), ["d"]);
}

#[tokio::test]
async fn the_next_operation_resumes_an_interrupted_one_after_its_point_of_no_return() {
    let toy = Toy::new();
    toy.run(&toy.dying(Moment::Before, 2), toy.plan(&ABC, 1)).await.unwrap_err();
    let outcome = toy.run(&toy.executor(), toy.plan(&[("d", Habit::Good)], 1)).await.unwrap();
    assert_eq!(outcome.recovered.iter().map(|(_, status)| *status).collect::<Vec<_>>(), [OpStatus::Succeeded]);
    assert_eq!(toy.names(), ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn an_operation_of_an_unknown_engine_is_left_for_a_program_that_knows_it() {
    let toy = Toy::new();
    toy.run(&toy.dying(Moment::After, 0), toy.plan(&ABC, 3)).await.unwrap_err();
    let stranger = Executor::new(Arc::new(toy.store.clone()), Catalogue::new(), "test");
    let error = toy.run(&stranger, toy.plan(&[("d", Habit::Good)], 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(toy.store.unfinished().await.unwrap()[0].status, OpStatus::Interrupted);
    assert_eq!(toy.names(), ["a"]);
}

/// Cancels when a step begins.
#[derive(Debug)]
struct CancelsAt {
    token: CancellationToken,
    step: usize,
}

impl Reporter for CancelsAt {
    fn report(&self, progress: &Progress) {
        if matches!(progress, Progress::Step { step, .. } if *step == self.step) {
            self.token.cancel();
        }
    }
}

/// The template's view of a toy.
struct Marking {
    steps: Vec<(&'static str, Habit)>,
    reversible: usize,
    toys: Mutex<Vec<Toy>>,
}

impl Marking {
    fn new(steps: &[(&'static str, Habit)], reversible: usize) -> Self {
        Self { steps: steps.to_vec(), reversible, toys: Mutex::default() }
    }
}

#[async_trait]
impl Scenario for Marking {
    async fn begin(&self) -> Result<(Host, Plan)> {
        let toy = Toy::new();
        let made = (toy.host.clone(), toy.plan(&self.steps, self.reversible));
        self.toys.lock().unwrap().push(toy);
        Ok(made)
    }

    async fn inventory(&self, host: &Host) -> Result<String> {
        let toys = self.toys.lock().unwrap();
        let toy = toys.iter().find(|t| Arc::ptr_eq(&t.host.hypervisor, &host.hypervisor)).unwrap();
        Ok(format!("{:?}", toy.marks.lock().unwrap()))
    }

    fn catalogue(&self) -> Catalogue {
        catalogue()
    }
}

#[tokio::test]
async fn good_steps_pass_the_template_wherever_the_point_of_no_return_is() {
    for reversible in 0..=3 {
        let coverage = check(&Marking::new(&ABC, reversible)).await.unwrap();
        assert_eq!(coverage.steps, 3);
        assert!(coverage.runs >= 3 * 7, "{coverage:?}");
    }
}

#[tokio::test]
async fn the_template_finds_an_undo_that_forgets_and_one_that_counts() {
    for habit in [Habit::ForgetsToUndo, Habit::CountsUndos] {
        let error = check(&Marking::new(&[("a", habit), ("b", Habit::Good)], 2)).await.unwrap_err();
        assert!(error.message().contains("left a third world"), "{error:?}");
    }
}
