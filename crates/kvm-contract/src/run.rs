//! Running the suite.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use kvm_core::Error;
use libtest_mimic::{Arguments, Conclusion, Failed, Trial};

use crate::case::{Case, Failure, Outcome, chain, host_cases, transport_cases};
use crate::cx::Cx;
use crate::rig::{Rig, Setup, Time, TransportBench, TransportRig};
use crate::skip::Skips;

/// Runs all cases about hosts against a backend, as a test program that takes the arguments of `cargo test`.
///
/// `skips` is the text of a file that is checked in: lines of `group::case  # reason`, sorted. A skipped case shows as
/// ignored. The run fails when the list names a case that does not exist, gives no reason, or names a case that would
/// pass.
///
/// ```no_run
/// # fn example(rig: impl kvm_contract::Rig) {
/// let args = kvm_contract::Arguments::from_args();
/// kvm_contract::run(rig, "", &args).exit();
/// # }
/// ```
pub fn run(rig: impl Rig, skips: &str, args: &Arguments) -> Conclusion {
    let rig = Arc::new(rig);
    let prepared = host_cases().map(|case| {
        let rig = Arc::clone(&rig);
        Prepared::of(case, move || in_time(rig.time(), rig.limit(), on_host(&*rig, case)))
    });
    conclude(prepared.collect(), skips, args)
}

/// As [`run`], with all cases about transports.
pub fn run_transport(rig: impl TransportRig, skips: &str, args: &Arguments) -> Conclusion {
    let rig = Arc::new(rig);
    let prepared = transport_cases().map(|case| {
        let rig = Arc::clone(&rig);
        Prepared::of(case, move || in_time(rig.time(), rig.limit(), on_transport(&*rig, case)))
    });
    conclude(prepared.collect(), skips, args)
}

async fn on_host<R: Rig>(rig: &R, case: &Case) -> Outcome {
    let planted = (case.planted)();
    let setup = Setup { group: case.group, case: case.name, planted: planted.clone() };
    let bench = rig.bench(&setup).await.map_err(|e| unusable(&e))?;
    let cx = Cx::new(bench, planted);
    let outcome = (case.run)(&cx).await;
    // A backend that cannot be cleaned up is broken as well, but the case's own failure says more.
    let finished = cx.finish().await.map_err(|e| unusable(&e));
    outcome.and(finished)
}

async fn on_transport<R: TransportRig>(rig: &R, case: &Case<TransportBench>) -> Outcome {
    let bench = rig.bench(case.name).await.map_err(|e| unusable(&e))?;
    (case.run)(&bench).await
}

fn unusable(e: &Error) -> Failure {
    Failure::new(format_args!("the rig failed: {}", chain(e)))
}

/// Runs a case in a runtime of its own.
fn in_time(time: Time, limit: Duration, case: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(time == Time::Paused)
        .build()
        .map_err(|e| Failure::new(format_args!("no runtime: {e}")))?;
    runtime.block_on(async {
        let late = || Failure::new(format_args!("the case has not ended within {} s", limit.as_secs()));
        tokio::time::timeout(limit, case).await.unwrap_or_else(|_| Err(late()))
    })
}

/// A case with everything that it needs.
#[derive(Clone)]
struct Prepared {
    group: &'static str,
    name: String,
    run: Arc<dyn Fn() -> Outcome + Send + Sync>,
}

impl Prepared {
    fn of<C>(case: &Case<C>, run: impl Fn() -> Outcome + Send + Sync + 'static) -> Self {
        Self { group: case.group, name: case.full_name(), run: Arc::new(run) }
    }
}

fn conclude(cases: Vec<Prepared>, skips: &str, args: &Arguments) -> Conclusion {
    let known = cases.iter().map(|case| case.name.clone()).collect::<BTreeSet<_>>();
    let (skips, problems) = Skips::parse(skips, &known);
    let skipped: Vec<_> = cases.iter().filter(|case| skips.contains(&case.name)).cloned().collect();
    let mut trials: Vec<_> = cases
        .into_iter()
        .map(|case| {
            let ignored = skips.contains(&case.name);
            Trial::test(case.name, move || (case.run)().map_err(fail)).with_kind(case.group).with_ignored_flag(ignored)
        })
        .collect();
    trials.push(Trial::test("skips::the_list_is_in_order", move || match &*problems {
        [] => Ok(()),
        problems => Err(problems.join("\n").into()),
    }));
    trials.push(Trial::test("skips::every_skip_is_needed", move || every_skip_is_needed(&skipped)));
    libtest_mimic::run(args, trials)
}

/// A case that is skipped and would pass shows that the backend has learnt something: the list is to say so.
fn every_skip_is_needed(skipped: &[Prepared]) -> Result<(), Failed> {
    let passed = skipped.iter().filter(|case| (case.run)().is_ok());
    let list = passed.fold(String::new(), |mut list, case| {
        let _ = write!(list, "\n  {}", case.name);
        list
    });
    if list.is_empty() { Ok(()) } else { Err(format!("these pass; take them off the list:{list}").into()) }
}

fn fail(failure: Failure) -> Failed {
    failure.to_string().into()
}
