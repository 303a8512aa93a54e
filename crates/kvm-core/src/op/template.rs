//! The test that every plan has to pass: fail, die, and repeat at each of its steps.
//!
//! Whatever happens at whatever moment, in the end the world equals the one before the operation or the one after it,
//! never a third one.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::{
    Catalogue, Direction, Executor, Hook, MemoryStore, Moment, OpId, OpStatus, Plan, RunContext, Store, Verdict,
};
use crate::{Error, ErrorKind, Host, Result, SeededEntropy, Silent, SystemClock};

/// A world with a plan, made anew for each run and always the same.
#[async_trait]
pub trait Scenario: Sync {
    /// Makes the world and the plan.
    async fn begin(&self) -> Result<(Host, Plan)>;

    /// Describes everything of the world that the operation could have touched.
    async fn inventory(&self, host: &Host) -> Result<String>;

    /// Which engine's steps the plan has.
    fn catalogue(&self) -> Catalogue;
}

/// What a run of the template covered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Steps of the plan.
    pub steps: usize,
    /// Worlds that were made and compared.
    pub runs: usize,
}

/// Runs a plan with every fault at every step. The error says which fault at which step left what behind.
pub async fn check(scenario: &dyn Scenario) -> Result<Coverage> {
    let (before, after, names) = reference(scenario).await?;
    let reversible = scenario.begin().await?.1.reversible;
    let mut bench = Bench { scenario, before, after, runs: 2 };
    for (step, name) in names.iter().enumerate() {
        for moment in [Moment::Before, Moment::After] {
            bench.failing(Fault { moment, step, verdict: Verdict::Fail }, name).await?;
            bench.dying(Fault { moment, step, verdict: Verdict::Die }, name).await?;
        }
        bench.repeating(Fault { moment: Moment::After, step, verdict: Verdict::Repeat }, name).await?;
        if step < reversible {
            bench.undoing(step, &names).await?;
        }
    }
    Ok(Coverage { steps: names.len(), runs: bench.runs })
}

/// The world before, the world after, and the names of the steps.
async fn reference(scenario: &dyn Scenario) -> Result<(String, String, Vec<&'static str>)> {
    let (host, plan) = scenario.begin().await?;
    let before = scenario.inventory(&host).await?;
    let names = plan.steps.iter().map(|s| s.name()).collect();
    let rig = Rig::new(scenario, host, []);
    rig.run(plan).await?;
    let after = scenario.inventory(&rig.host).await?;
    if before == after {
        return Err(Error::internal("the plan changes nothing that the inventory shows"));
    }
    Ok((before, after, names))
}

struct Bench<'a> {
    scenario: &'a dyn Scenario,
    before: String,
    after: String,
    runs: usize,
}

impl Bench<'_> {
    async fn begin(&mut self, faults: impl IntoIterator<Item = Fault>) -> Result<(Rig, Plan)> {
        self.runs += 1;
        let (host, plan) = self.scenario.begin().await?;
        Ok((Rig::new(self.scenario, host, faults), plan))
    }

    /// The step fails: either all is undone, or a resume after the point of no return gets to the end.
    async fn failing(&mut self, fault: Fault, name: &str) -> Result<()> {
        let (rig, plan) = self.begin([fault]).await?;
        let committed = fault.commits(plan.reversible);
        let error = rig.run(plan).await.err().ok_or_else(|| fault.broke(name, "did not fail"))?;
        if error.kind() != ErrorKind::Internal || !error.message().starts_with("injected") {
            return Err(fault.broke(name, "failed elsewhere").with_source(error));
        }
        let status = rig.status().await?;
        match (committed, status) {
            (false, OpStatus::Undone) => self.expect(&rig, End::Before, fault, name).await,
            (true, OpStatus::NeedsAttention) => {
                rig.finish(Direction::Forward).await?;
                self.expect(&rig, End::After, fault, name).await
            }
            (_, other) => Err(fault.broke(name, &format!("is {} afterwards", other.as_str()))),
        }
    }

    /// The process dies: whoever comes next can go on, and before the point of no return also go back.
    async fn dying(&mut self, fault: Fault, name: &str) -> Result<()> {
        for direction in [Direction::Forward, Direction::Back] {
            let (rig, plan) = self.begin([fault]).await?;
            let committed = fault.commits(plan.reversible);
            rig.run(plan).await.err().ok_or_else(|| fault.broke(name, "did not die"))?;
            match (direction, committed) {
                (Direction::Forward, _) => {
                    rig.finish(direction).await?;
                    self.expect(&rig, End::After, fault, name).await?;
                }
                (Direction::Back, false) => {
                    rig.finish(direction).await?;
                    self.expect(&rig, End::Before, fault, name).await?;
                }
                (Direction::Back, true) => match rig.finish(direction).await {
                    Err(e) if e.kind() == ErrorKind::InvalidState => {}
                    _ => return Err(fault.broke(name, "went back after the point of no return")),
                },
            }
        }
        Ok(())
    }

    /// The step happens twice.
    async fn repeating(&mut self, fault: Fault, name: &str) -> Result<()> {
        let (rig, plan) = self.begin([fault]).await?;
        rig.run(plan).await?;
        self.expect(&rig, End::After, fault, name).await
    }

    /// The step fails, and each undo that follows happens twice, or the process dies before or after it.
    async fn undoing(&mut self, failing: usize, names: &[&str]) -> Result<()> {
        let fail = Fault { moment: Moment::After, step: failing, verdict: Verdict::Fail };
        for step in 0..=failing {
            for (moment, verdict) in [
                (Moment::AfterUndo, Verdict::Repeat),
                (Moment::BeforeUndo, Verdict::Die),
                (Moment::AfterUndo, Verdict::Die),
            ] {
                let fault = Fault { moment, step, verdict };
                let (rig, plan) = self.begin([fail, fault]).await?;
                rig.run(plan).await.err().ok_or_else(|| fail.broke(names[failing], "did not fail"))?;
                if rig.status().await?.is_open() {
                    rig.finish(Direction::Back).await?;
                }
                self.expect(&rig, End::Before, fault, names[step]).await?;
            }
        }
        Ok(())
    }

    async fn expect(&self, rig: &Rig, end: End, fault: Fault, name: &str) -> Result<()> {
        let found = self.scenario.inventory(&rig.host).await?;
        let wanted = match end {
            End::Before => &self.before,
            End::After => &self.after,
        };
        if found == *wanted {
            return Ok(());
        }
        Err(fault.broke(name, &format!("left a third world\n--- expected ({end:?})\n{wanted}\n--- found\n{found}")))
    }
}

#[derive(Clone, Copy, Debug)]
enum End {
    Before,
    After,
}

#[derive(Clone, Copy, Debug)]
struct Fault {
    moment: Moment,
    step: usize,
    verdict: Verdict,
}

impl Fault {
    /// Whether an irreversible step has happened when this fault strikes.
    fn commits(self, reversible: usize) -> bool {
        self.step > reversible || (self.step == reversible && self.moment == Moment::After)
    }

    fn broke(self, name: &str, why: &str) -> Error {
        Error::internal(format!("{:?} at {:?} of step {} ({name}): {why}", self.verdict, self.moment, self.step))
    }
}

/// One world, with an executor that obeys faults and one that does not.
struct Rig {
    host: Host,
    store: MemoryStore,
    catalogue: Catalogue,
    faults: Vec<Fault>,
}

impl Rig {
    fn new(scenario: &dyn Scenario, host: Host, faults: impl IntoIterator<Item = Fault>) -> Self {
        Self { host, store: MemoryStore::new(), catalogue: scenario.catalogue(), faults: faults.into_iter().collect() }
    }

    fn executor(&self) -> Executor {
        Executor::new(Arc::new(self.store.clone()), self.catalogue.clone(), "test")
            .with_time(Arc::new(SystemClock), Arc::new(SeededEntropy::new(1)))
    }

    async fn run(&self, plan: Plan) -> Result<OpId> {
        let cancel = CancellationToken::new();
        let executor = self.executor().with_hook(Arc::new(Faults(self.faults.clone())));
        Ok(executor.run(plan, self.context(&cancel)).await?.operation)
    }

    async fn finish(&self, direction: Direction) -> Result<()> {
        let cancel = CancellationToken::new();
        let id = self.only().await?.0;
        self.executor().finish(&id, direction, self.context(&cancel)).await.map(drop)
    }

    async fn status(&self) -> Result<OpStatus> {
        Ok(self.only().await?.1)
    }

    async fn only(&self) -> Result<(OpId, OpStatus)> {
        let mut all = self.store.unfinished().await?;
        all.extend(self.store.finished().await?);
        match all.as_slice() {
            [one] => Ok((one.header.id.clone(), one.status)),
            _ => Err(Error::internal("a run makes exactly one journal")),
        }
    }

    fn context<'a>(&'a self, cancel: &'a CancellationToken) -> RunContext<'a> {
        RunContext { host: &self.host, reporter: &Silent, cancel }
    }
}

struct Faults(Vec<Fault>);

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faults({:?})", self.0)
    }
}

#[async_trait]
impl Hook for Faults {
    async fn at(&self, moment: Moment, step: usize, _: &str) -> Verdict {
        self.0
            .iter()
            .find(|fault| fault.moment == moment && fault.step == step)
            .map_or(Verdict::Continue, |fault| fault.verdict)
    }
}
