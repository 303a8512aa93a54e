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
    on_hosts(1, limit, async |hosts| test(&hosts[0]).await);
}

/// As [`on_a_host`], with two hosts for machines that move.
///
/// # Panics
/// When the test does, when it takes longer than `limit`, and when the lab has not two hosts.
pub fn on_two_hosts(limit: Duration, test: impl AsyncFnOnce(&LabHost, &LabHost)) {
    on_hosts(2, limit, async |hosts| test(&hosts[0], &hosts[1]).await);
}

fn on_hosts(count: usize, limit: Duration, test: impl AsyncFnOnce(&[LabHost])) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap_or_else(|e| panic!("no runtime: {e}"));
    runtime.block_on(async {
        let hosts = Lab::open().take_hosts(count).await;
        let ended = timeout(limit, AssertUnwindSafe(test(&hosts)).catch_unwind()).await;
        let mut tidied = Ok(());
        for host in &hosts {
            tidied = AssertUnwindSafe(host.tidy_up()).catch_unwind().await.and(tidied);
        }
        match ended {
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => panic!("the test has not ended after {limit:?}"),
            Ok(Ok(())) => tidied.unwrap_or_else(|panic| resume_unwind(panic)),
        }
    });
}
