//! How an embedder tests its own code: against the simulated host, without any backend in the code.

use std::sync::Arc;
use std::time::Duration;

use kvm_core::{Clock, Host, HypervisorExt, MockWorld, PowerAction, Result, VmFilter, VmState};
use kvm_mock::{Mock, TokioClock};

/// The embedder's own code: shuts down whatever runs, and says which guests did not obey within a minute.
async fn quiet_night(host: &Host, clock: &dyn Clock) -> Result<Vec<String>> {
    let mut awake = Vec::new();
    for vm in host.hypervisor.list(&VmFilter { states: vec![VmState::Running] }).await? {
        if host.hypervisor.shutdown_and_wait(&vm.id, Duration::from_secs(60), clock).await.is_err() {
            awake.push(vm.name.to_string());
        }
    }
    Ok(awake)
}

/// A simulated host on a clock that jumps to the next thing that somebody waits for: minutes pass at once.
fn demo() -> (Mock, Arc<TokioClock>) {
    let clock = Arc::new(TokioClock::starting_at("2030-01-01T00:00:00Z".parse().unwrap()));
    (Mock::open(&MockWorld::Demo, None, clock.clone()).unwrap(), clock)
}

#[tokio::test(start_paused = true)]
async fn a_quiet_night_leaves_nothing_running() {
    let (mock, clock) = demo();
    assert!(quiet_night(&mock.host(), &*clock).await.unwrap().is_empty());
    let running = VmFilter { states: vec![VmState::Running] };
    assert!(mock.host().hypervisor.list(&running).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn guests_that_do_not_obey_are_named() {
    let (mock, clock) = demo();
    mock.hold(PowerAction::Shutdown);
    let awake = quiet_night(&mock.host(), &*clock).await.unwrap();
    assert!(!awake.is_empty());
}
