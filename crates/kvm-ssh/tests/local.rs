//! This machine keeps the contract of transports.
#![allow(missing_docs, reason = "tests")]

#[path = "ssh/bench.rs"]
mod bench;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kvm_contract::{Arguments, Time, TransportBench, TransportRig};
use kvm_core::Result;
use kvm_ssh::LocalTransport;

fn main() {
    kvm_contract::run_transport(Local, "", &Arguments::from_args()).exit();
}

struct Local;

#[async_trait]
impl TransportRig for Local {
    fn time(&self) -> Time {
        Time::Real
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(60)
    }

    async fn bench(&self, _: &'static str) -> Result<TransportBench> {
        Ok(bench::bench(Arc::new(LocalTransport::with_helper("/bin/cat")), ()).await)
    }
}
