//! The frame of a test: a runtime, a host, a deadline, and order afterwards.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::timeout;

use crate::host::LabHost;
use crate::lab::Lab;

/// The longest that a test may take on its host; less than what the test runner allows, which kills without tidying up.
const LIMIT: Duration = Duration::from_secs(420);

/// Runs a test on a host that nobody else uses meanwhile, and puts the host in order afterwards, come what may.
///
/// # Panics
/// When the test does, when it takes longer than seven minutes, and when there is no lab.
pub fn on_a_host(test: impl AsyncFnOnce(&LabHost)) {
    on_a_host_within(LIMIT, test);
}

/// As [`on_a_host`], with another deadline than seven minutes.
///
/// # Panics
/// When the test does, when it takes longer than `limit`, and when there is no lab.
pub fn on_a_host_within(limit: Duration, test: impl AsyncFnOnce(&LabHost)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap_or_else(|e| panic!("no runtime: {e}"));
    runtime.block_on(async {
        let host = Lab::open().take_host().await;
        let ended = timeout(limit, AssertUnwindSafe(test(&host)).catch_unwind()).await;
        let tidied = AssertUnwindSafe(host.tidy_up()).catch_unwind().await;
        match ended {
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => panic!("the test has not ended after {limit:?}"),
            Ok(Ok(())) => tidied.unwrap_or_else(|panic| resume_unwind(panic)),
        }
    });
}
