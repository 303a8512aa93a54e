//! Turning guests off.

use std::time::Duration;

use kvm_core::{ErrorKind, PowerAction, VmState};
use kvm_vm::{ShutdownOptions, ShutdownOutcome, Then, shutdown};
use tokio_util::sync::CancellationToken;

use crate::support::{Bench, said};

const MINUTE: Duration = Duration::from_secs(60);

async fn stop(bench: &Bench, name: &str, then: Then) -> kvm_core::Result<ShutdownOutcome> {
    let id = bench.vm(name).await.id;
    let options = ShutdownOptions { timeout: MINUTE, then };
    shutdown(&bench.host, &id, &options, &*bench.clock, &CancellationToken::new()).await
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_obeys_is_off_in_the_end() {
    let bench = Bench::new();
    assert_eq!(stop(&bench, "build-01", Then::Fail).await.unwrap(), ShutdownOutcome::Obeyed);
    assert_eq!(bench.vm("build-01").await.state, VmState::Off);
}

#[tokio::test(start_paused = true)]
async fn a_deaf_guest_is_left_alone_or_switched_off_as_asked() {
    let bench = Bench::new();
    let e = stop(&bench, "deaf", Then::Fail).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Timeout, "{}", said(&e));
    assert!(bench.vm("deaf").await.state.is_active());

    let bench = Bench::new();
    assert_eq!(stop(&bench, "deaf", Then::PowerOff).await.unwrap(), ShutdownOutcome::PoweredOff);
    assert_eq!(bench.vm("deaf").await.state, VmState::Off);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_off_cannot_be_shut_down() {
    let bench = Bench::new();
    assert_eq!(stop(&bench, "db", Then::PowerOff).await.unwrap_err().kind(), ErrorKind::InvalidState);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_wait_says_that_the_guest_may_still_obey() {
    let bench = Bench::new();
    let id = bench.vm("deaf").await.id;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let options = ShutdownOptions { timeout: MINUTE, then: Then::PowerOff };
    let e = shutdown(&bench.host, &id, &options, &*bench.clock, &cancel).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Cancelled);
    assert!(e.detail().unwrap().contains("may still"));
    assert!(bench.vm("deaf").await.state.is_active());
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_goes_off_in_the_last_moment_obeyed() {
    let bench = Bench::new();
    let id = bench.vm("deaf").await.id;
    // The plug is pulled by somebody else at the very call in which we would pull it.
    bench.mock.inject(kvm_mock::Fault::next(kvm_mock::Method::Power, ErrorKind::InvalidState).after_effect());
    let e = bench.host.hypervisor.power(&id, PowerAction::PowerOff).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidState);
    assert_eq!(bench.vm("deaf").await.state, VmState::Off);
}
