//! A real SSH server keeps the contract of transports.
#![allow(missing_docs, reason = "tests")]

#[path = "ssh/bench.rs"]
mod bench;
#[path = "ssh/sshd.rs"]
mod sshd;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kvm_contract::{Arguments, Time, TransportBench, TransportRig};
use kvm_core::Result;

fn main() {
    kvm_contract::run_transport(Remote, "", &Arguments::from_args()).exit();
}

struct Remote;

#[async_trait]
impl TransportRig for Remote {
    fn time(&self) -> Time {
        Time::Real
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(60)
    }

    async fn bench(&self, _: &'static str) -> Result<TransportBench> {
        let sshd = sshd::Sshd::start("").await;
        let mut options = sshd.options();
        // Any program that sends back what it gets.
        options.helper = Some("/bin/cat".into());
        options.helper_directory = Some(sshd.path("helper"));
        let transport = sshd.transport(&options);
        Ok(bench::bench(Arc::new(transport), sshd).await)
    }
}
